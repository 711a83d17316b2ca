"""A capture on disk as a lazy sequence of frames, and what its cameras and masks say of the scene."""
