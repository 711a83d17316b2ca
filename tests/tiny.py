"""Encoder settings that fit a frame in about a second, for tests that do not depend on quality."""

from __future__ import annotations

from typing import Any

# One basis level; a plain dict, so that a child process can be given it.
ONE_LEVEL: dict[str, Any] = {
    "preset": "tiny",
    "coefficients": 8,
    "level_nodes": (8,),
    "level_channels": (4,),
    "level_frequencies": (1.0,),
    "occupancy_cells": 16,
    "steps_per_side": 32,
    "rays": 256,
    "key_iterations": 40,
    "inter_iterations": 20,
}

# Two levels, groups of four and of two channels, small MLPs.
TWO_LEVELS: dict[str, Any] = {
    **ONE_LEVEL,
    "level_nodes": (8, 12),
    "level_channels": (4, 2),
    "level_frequencies": (1.0, 1.0),
    "steps_per_side": 48,
    "projection_hidden": 16,
    "colour_hidden": 16,
    "view_frequencies": 1,
    "key_iterations": 60,
    "inter_iterations": 30,
}
