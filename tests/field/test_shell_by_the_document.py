"""Pictures of a field with a shell and a near distance by the renderer that follows the document alone."""

from __future__ import annotations

import captures
import numpy as np
import plain_picture
import pytest
from backends import runtime

import taichi_vvc as tv
from taichi_vvc.field.grids import field_of_symbols
from taichi_vvc.media.metrics import psnr
from taichi_vvc.types import Bounds, Camera, FieldLayout, GridLevel, GroupParameters, SymbolFrame

# 8 x 5 x 9 cells of 0.25 within the shell.
LAYOUT = FieldLayout(
    Bounds((-1.0, -0.625, 0.0), (1.0, 0.625, 2.25)),
    (6, 5, 7),
    (GridLevel((6, 6, 6), 4, 1.0), GridLevel((8, 8, 8), 2, 2.0)),
    (12, 9, 11),
    projection_hidden=16,
    appearance=5,
    colour_hidden=16,
    view_frequencies=1,
    steps_per_side=40,
    shell=(2, 2, 1),
    near=0.3,
)
BACKGROUND = (40, 90, 200)
SIZE = 16


@pytest.mark.parametrize("density", [0.0, 3.0])
def test_pictures_in_a_shell(density: float) -> None:
    rng = np.random.default_rng(0)
    symbols = tuple(np.rint(rng.normal(0, 3, shape)).astype(np.int32) for shape in LAYOUT.grid_shapes)
    mask = rng.random(LAYOUT.occupancy[::-1]) < 0.6
    mlp = tuple(rng.normal(0, 0.6, shape).astype(np.float32) for shape in LAYOUT.mlp_shapes)
    mlp[3][0] = density
    field = field_of_symbols(runtime(), LAYOUT, GroupParameters((0.2,) * 3, mlp), SymbolFrame(symbols, symbols, mask))
    header = {
        "cells": LAYOUT.occupancy,
        "shell": LAYOUT.shell,
        "near": LAYOUT.near,
        "lower": LAYOUT.bounds.lower,
        "cell": LAYOUT.cell,
        "levels": [{"resolution": level.resolution, "frequency": level.frequency} for level in LAYOUT.levels],
        "coefficients": LAYOUT.coefficients,
        "view_frequencies": 1,
        "steps_per_side": 40,
        "background": BACKGROUND,
    }
    volume = plain_picture.Volume(header, mask, list(symbols), [0.2] * 3, list(mlp))
    lens = [0.75 * SIZE] * 2 + [0.5 * SIZE] * 2
    # From within, and from outside through the shell.
    for place, target in (((0.1, 0.05, 1.0), (1.0, 0.3, 1.2)), ((4.0, 1.0, 2.0), (0.0, 0.0, 1.0))):
        position = np.array(place)
        camera = Camera("c", SIZE, SIZE, *lens, captures.look_at(position, np.array(target)), position)
        pose = {"rotation": camera.rotation, "position": position, "lens": [*lens, 0, 0, 0, 0]}
        ours = np.clip(tv.render(field, camera, np.array(BACKGROUND) / 255).colour, 0, 1)
        plain = plain_picture.render(volume, {"width": SIZE, "height": SIZE, **pose})
        assert ours.std() > 0.2 and psnr(plain, ours) > 90
