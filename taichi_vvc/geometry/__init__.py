"""Cameras as mathematics: projection, lenses, rays, rotations. Knows no files and no device."""
