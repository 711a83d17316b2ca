"""Playback and the player in the browser."""
