"""Cameras as mathematics: projection, lens distortion, rays, and points where rays meet.

``geometry/projection.py`` has all of it, in NumPy with 64-bit floats. ``kernels/geometry.py`` does the same for rays
on the device, in 32-bit floats. The room imports ``types`` only; it knows neither files nor devices.
"""
