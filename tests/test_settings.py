"""Settings and their ranges: values just within are accepted, values just beyond are refused by name."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from taichi_vvc.config import PRESETS, EncoderConfig
from taichi_vvc.errors import ConfigError

# Setting: values within, values beyond, and what the message has to name.
RANGES: dict[str, tuple[list, list]] = {
    "lambda_rate": ([0.0, 1e-9, 3.0], [-1e-9, -1.0, math.inf, math.nan]),
    "lambda_residual": ([0.0, 1e-9, 3.0], [-1e-9, -1.0, math.inf, math.nan]),
    "key_lambda": ([1e-9, 0.7, 5.0], [0.0, -0.7, math.inf, math.nan]),
    "bitrate": ([0.1, 1e9], [0.0, -5.0, math.inf, math.nan]),
    "target_psnr": ([0.1, 99.0], [0.0, -30.0, math.inf, math.nan]),
    "background": ([(0, 0, 0), (255, 255, 255), None], [(0, 0, 256), (-1, 0, 0), (0, 0), (0, 0, 0, 0)]),
    "nodes_per_pixel": ([0.0, 0.5, 3.0], [-0.1, math.inf, math.nan]),
    "motion_blocks": ([0, 1, 64], [-1]),
    "rising": ([0.0, 0.5, 1.0], [-0.1, 1.1, math.nan]),
    "final_rate": ([0.01, 1.0], [0.0, -0.1, 1.1, math.nan]),
    "keyint": ([0, 1, 1000], [-1]),
    "part_length": ([0, 1, 1000], [-1]),
    "rate_model": (["context", "laplace"], ["huffman", ""]),
    "colours": (["auto", "on", "off"], ["yes", ""]),
    "poses": (["auto", "on", "off"], ["yes", ""]),
    "detail": (["auto", "on", "off"], ["yes", ""]),
    "seed": ([0, 2**31 - 1], [-1, 2**31]),
    "rays": ([1], [0, -1]),
    "key_iterations": ([1], [0, -1]),
    "inter_iterations": ([1], [0, -1]),
    "first_fit": ([0.1, 1.0, 3.0], [0.0, -1.0, math.inf, math.nan]),
    "occupancy_cells": ([1], [0, -1]),
    "level_channels": ([(2, 4, 6)], [(3, 4, 4), (4, 4, 0), (4, -2, 4), (4, 4), (4, 4, 4, 4), ()]),
    "level_nodes": ([(8, 16, 24)], [(8, 16), (8, 16, 24, 32), ()]),
    "level_frequencies": ([(1.0, 1.0, 2.0)], [(1.0, 1.0), (1.0,) * 4, ()]),
}


@pytest.mark.parametrize("name", RANGES)
def test_ranges(name: str) -> None:
    within, beyond = RANGES[name]
    for value in within:
        assert getattr(EncoderConfig(**{name: value}), name) == value
    for value in beyond:
        with pytest.raises(ConfigError) as caught:
            EncoderConfig(**{name: value})
        line = str(caught.value)
        assert "\n" not in line and line.startswith("expected ")
        # The setting is named, as a word that a reader knows it by.
        words = {"lambda_rate": "lambda", "lambda_residual": "lambda", "target_psnr": "target_psnr"}
        few = ("rays", "key_iterations", "inter_iterations", "occupancy_cells")
        assert (words.get(name, name) if name not in few else name.split("_")[-1].removesuffix("s")) in line


def test_all_lists_of_levels_are_of_one_length() -> None:
    with pytest.raises(ConfigError, match="as many level_nodes as level_channels and level_frequencies, at least one"):
        EncoderConfig(level_nodes=(), level_channels=(), level_frequencies=())
    two = EncoderConfig(level_nodes=(8, 12), level_channels=(4, 2), level_frequencies=(1.0, 2.0))
    assert two.level_nodes == (8, 12)


def test_there_is_one_target() -> None:
    with pytest.raises(ConfigError, match="a bitrate or a target PSNR, found both"):
        EncoderConfig(bitrate=500.0, target_psnr=30.0)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_say_what_they_are(name: str) -> None:
    preset = PRESETS[name]
    assert preset.preset == name
    settings = preset.settings()
    # What is not set is left out; the rest is plain JSON and makes the same settings again.
    assert "bitrate" not in settings and "background" not in settings
    again = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(json.dumps(settings)).items()}
    assert EncoderConfig(**again) == preset


def test_presets_are_ordered_by_effort() -> None:
    order = [PRESETS[name] for name in ("ultrafast", "fast", "medium", "slow", "placebo")]
    for field in ("key_iterations", "inter_iterations", "rays", "steps_per_side", "coefficients"):
        values = [getattr(preset, field) for preset in order]
        assert values == sorted(values) and values[0] < values[-1]
    assert all(dataclasses.replace(p, preset="", seed=1) != p for p in order)
