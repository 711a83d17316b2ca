"""The fit of one frame on the device: training rays, rate, parameters, motion."""
