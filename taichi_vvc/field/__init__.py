"""A field on the device: grids, MLPs, shading, marching, pictures."""
