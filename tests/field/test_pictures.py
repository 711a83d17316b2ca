"""Known pictures of a field, whole, in parts and as bytes, on the backend under test."""

from __future__ import annotations

import numpy as np
import pytest
import reference
from backends import FOG_COLOUR, FOG_RAW, field_of, fog, look_at, random_grids, random_mlp, small_layout

from taichi_vvc.field.render import render, render_rgb8
from taichi_vvc.types import FieldLayout

LAYOUT = small_layout()
GRIDS, MLP = random_grids(LAYOUT, 0), random_mlp(LAYOUT, 1)
MASK = np.random.default_rng(2).random(LAYOUT.occupancy[::-1]) < 0.7
CENTRE = (-0.25, 1.5, 2.5)


def chords(layout: FieldLayout, camera) -> tuple[np.ndarray, np.ndarray]:
    """Entry distance and length within the bounds (height, width), world units, for a camera without distortion."""
    near, length = np.zeros((2, camera.height, camera.width))
    for row, column in np.ndindex(camera.height, camera.width):
        direction = camera.rotation @ [
            (column + 0.5 - camera.cx) / camera.fx, (row + 0.5 - camera.cy) / camera.fy, 1.0
        ]  # fmt: skip
        direction /= np.linalg.norm(direction)
        entry, end = reference.box_interval(camera.position - layout.bounds.lower, direction, layout.bounds.size)
        near[row, column], length[row, column] = entry, max(0.0, end - entry)
    return near, length


@pytest.mark.parametrize("position", [(2.5, 0.3, 3.6), (0.1, 1.4, 2.6)], ids=["outside", "inside"])
def test_fog_is_as_deep_as_beer_and_lambert_say(position: tuple[float, float, float]) -> None:
    layout = small_layout(steps_per_side=64)
    camera = look_at(position, (0.6, 0.9, 2.2), (11, 9), 7.0)
    image = render(fog(layout), camera, (0.1, 0.2, 0.9))
    near, length = chords(layout, camera)
    side = layout.bounds.largest_side
    sigma = float(reference.density(np.array(FOG_RAW))) / side
    opacity = 1 - np.exp(-sigma * length)
    # A chord is rounded to a whole number of steps.
    step = side / 64
    assert np.abs(image.opacity - opacity).max() < sigma * step / 2 + 1e-4
    assert image.opacity.max() > 0.3 and image.colour.dtype == np.float32
    mixed = opacity[..., None] * FOG_COLOUR + (1 - opacity)[..., None] * (0.1, 0.2, 0.9)
    assert np.abs(image.colour - mixed).max() < sigma * step / 2 + 1e-4
    hit = length > 2 * step
    # The mean of an exponential distribution cut off at the end of the chord.
    mean = 1 / sigma - length[hit] * np.exp(-sigma * length[hit]) / opacity[hit]
    assert np.abs(image.depth[hit] - near[hit] - mean).max() < step
    missed = length == 0
    assert (image.depth[missed] == 0).all() and (image.opacity[missed] == 0).all()
    np.testing.assert_allclose(image.colour[missed], np.tile([0.1, 0.2, 0.9], (missed.sum(), 1)), atol=1e-6)
    assert missed.any() == (position[0] == 2.5)


def test_the_picture_does_not_depend_on_the_chunk() -> None:
    f = field_of(LAYOUT, GRIDS, MLP, MASK)
    camera = look_at((2.5, 0.3, 3.6), CENTRE, (9, 7), 8.0)
    whole = render(f, camera)
    assert whole.opacity.max() > 0.5 > whole.opacity.min()
    for chunk in (7, 30):
        parts = render(f, camera, chunk=chunk)
        # Batches of another size may take another path through BLAS.
        np.testing.assert_allclose(parts.colour, whole.colour, atol=1e-5)
        np.testing.assert_allclose(parts.opacity, whole.opacity, atol=1e-5)
        np.testing.assert_allclose(parts.depth, whole.depth, atol=1e-4)


def test_colours_as_bytes_are_those_of_the_picture() -> None:
    f = field_of(LAYOUT, GRIDS, MLP, MASK)
    camera, background = look_at((2.5, 0.3, 3.6), CENTRE, (9, 7), 8.0), (0.0, 0.5, 1.0)
    exact = render(f, camera, background).colour.astype(np.float64) * 255
    found = render_rgb8(f, camera, background, chunk=20)
    assert found.dtype == np.uint8 and found.shape == (7, 9, 3) and found.std() > 0
    # Half a step, and what another size of parts may change.
    assert np.abs(found - exact).max() < 0.5 + 1e-2


def test_nothing_occupied_shows_the_background() -> None:
    f = fog(LAYOUT, mask=np.zeros(LAYOUT.occupancy[::-1], bool))
    image = render(f, look_at((2.5, 0.3, 3.6), CENTRE, (5, 4), 6.0), (0.25, 0.5, 0.75))
    assert (image.colour == np.array([0.25, 0.5, 0.75], np.float32)).all()
    assert not image.opacity.any() and not image.depth.any()
