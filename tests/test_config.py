"""The layout that a preset gives for a capture, and derived settings."""

from __future__ import annotations

import dataclasses

import backends
import captures
import pytest

from taichi_vvc.config import PRESETS, EncoderConfig, layout_of, pixels_per_side
from taichi_vvc.errors import ConfigError

BOUNDS = captures.BOUNDS


def cameras(width: int) -> list:
    """One camera at distance 5 from the centre, across whose picture the longest side spans 0.4 ``width`` pixels."""
    centre = [(low + high) / 2 for low, high in zip(BOUNDS.lower, BOUNDS.upper, strict=True)]
    place = (centre[0] + 5.0, centre[1], centre[2])
    return [backends.look_at(place, tuple(centre), (width, width), 0.4 * width * 5 / BOUNDS.largest_side)]


def test_grids_are_no_finer_than_the_pictures_where_the_preset_says_so() -> None:
    config = dataclasses.replace(PRESETS["slow"], nodes_per_pixel=0.5)
    assert pixels_per_side(BOUNDS, cameras(240)) == pytest.approx(96)
    few, many = layout_of(config, BOUNDS, cameras(240)), layout_of(config, BOUNDS, cameras(480))
    assert [level.resolution[0] for level in many.levels] == list(config.level_nodes)
    assert [level.resolution[0] for level in few.levels] == [n // 2 for n in config.level_nodes]
    assert max(few.occupancy) == config.occupancy_cells // 2 and max(many.occupancy) == config.occupancy_cells
    assert max(few.coefficients) == pytest.approx(max(many.coefficients) / 2, abs=1)
    # Blocks of motion are as large as before, in the bounds.
    assert 2 * few.motion_block == many.motion_block
    # Without cameras nothing is known of the pictures, and without the setting they do not matter.
    assert layout_of(config, BOUNDS).levels == many.levels
    given = dataclasses.replace(config, nodes_per_pixel=0.0)
    assert layout_of(given, BOUNDS, cameras(240)).levels == many.levels


def test_repeated_levels_count_as_often_as_they_repeat() -> None:
    config = dataclasses.replace(PRESETS["slow"], nodes_per_pixel=0.5, level_frequencies=(1.0, 1.0, 2.0))
    layout = layout_of(config, BOUNDS, cameras(480))
    assert [level.resolution[0] for level in layout.levels] == [n // 2 for n in config.level_nodes]


def test_the_mask_is_coarser_where_bytes_are_dear() -> None:
    config = dataclasses.replace(PRESETS["ultrafast"], lambda_rate=16 * 5e-4)
    usual, dear = layout_of(PRESETS["ultrafast"], BOUNDS), layout_of(config, BOUNDS)
    assert max(usual.occupancy) == PRESETS["ultrafast"].occupancy_cells and max(dear.occupancy) == 24
    assert dear.levels == usual.levels and 2 * dear.motion_block == usual.motion_block
    assert layout_of(dataclasses.replace(config, lambda_rate=1e-4), BOUNDS) == usual
    assert layout_of(dataclasses.replace(config, joint=False), BOUNDS) == usual, "lambda means nothing there"


def test_a_negative_density_of_nodes_is_refused() -> None:
    with pytest.raises(ConfigError, match="nodes_per_pixel"):
        dataclasses.replace(PRESETS["slow"], nodes_per_pixel=-1.0)


def test_schedules_are_checked() -> None:
    for name, value in (("rising", 1.5), ("final_rate", 0.0), ("key_lambda", 0.0)):
        with pytest.raises(ConfigError, match=name):
            dataclasses.replace(PRESETS["fast"], **{name: value})


def test_presets_say_their_own_names_and_other_settings_none() -> None:
    assert {name: config.preset for name, config in PRESETS.items()} == {name: name for name in PRESETS}
    assert EncoderConfig().preset not in PRESETS
