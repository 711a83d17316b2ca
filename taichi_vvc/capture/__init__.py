"""Captures, pictures, videos and camera paths on disk."""
