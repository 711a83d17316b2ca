"""Points and rays that the host gives see what pictures show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from places import ROOT

import taichi_vvc as tv
from taichi_vvc.errors import MemoryLimitExceeded
from taichi_vvc.field.probes import look_along, optical_depths
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.geometry.projection import pixel_directions

GOLDEN: Path = ROOT / "tests" / "data" / "golden_v6.tvvc"


@pytest.fixture(scope="module")
def stream():
    with tv.open(GOLDEN) as opened:
        yield opened


def rays_of(stream, camera) -> tuple[np.ndarray, np.ndarray]:
    """Origins (cells) and directions of all pixels."""
    layout = stream.header.layout
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    directions = pixel_directions(camera, np.stack((x, y), -1)).reshape(-1, 3)
    corner = np.asarray(layout.bounds.lower) - layout.cell * np.asarray(layout.shell)
    return np.broadcast_to((camera.position - corner) / layout.cell, directions.shape), directions


def test_rays_see_what_a_picture_shows(stream) -> None:
    field, camera = stream[0], stream.cameras[1].resized(48, 48)
    ws = Workspace(field.runtime)
    image = tv.render(field, camera, (0.0, 0.0, 0.0), workspace=ws)
    seen = look_along(ws, field, *rays_of(stream, camera), np.full(48 * 48, np.inf))
    assert image.opacity.max() > 0.9
    np.testing.assert_allclose(seen.colour.reshape(48, 48, 3), image.colour, atol=2e-4)
    np.testing.assert_allclose(seen.opacity.reshape(48, 48), image.opacity, atol=2e-4)
    hit = image.opacity > 0.5
    np.testing.assert_allclose(
        (seen.distance.reshape(48, 48) * stream.header.layout.cell)[hit], image.depth[hit], rtol=1e-4
    )


def test_a_ray_sees_nothing_behind_its_end(stream) -> None:
    field, camera = stream[0], stream.cameras[1].resized(48, 48)
    ws = Workspace(field.runtime)
    rays = rays_of(stream, camera)
    whole = look_along(ws, field, *rays, np.full(48 * 48, np.inf))
    solid = whole.opacity > 0.9
    before = look_along(ws, field, *rays, whole.distance - 2.0)
    assert solid.sum() > 50 and before.opacity[solid].mean() < 0.1


def test_optical_depths_are_those_that_rays_are_made_of(stream) -> None:
    """Samples of a ray, each looked at by itself, let through what the ray lets through."""
    field, camera = stream[0], stream.cameras[1].resized(24, 24)
    ws, layout = Workspace(field.runtime), stream.header.layout
    image = tv.render(field, camera, (0.0, 0.0, 0.0), workspace=ws)
    (row, column), cells = (12, 12), np.array(layout.occupancy)
    origins, directions = rays_of(stream, camera)
    ray = row * 24 + column
    a, b = -origins[ray] / directions[ray], (cells - origins[ray]) / directions[ray]
    near, far = np.minimum(a, b).max(), np.maximum(a, b).min()
    steps = near + (np.arange(int((far - near) / layout.march_step)) + 0.5) * layout.march_step
    places = (origins[ray] + steps[:, None] * directions[ray]).astype(np.float32)
    x, y, z = np.minimum(places.astype(int), cells - 1).T
    depths = np.where(field.mask[z, y, x], optical_depths(ws, field, places), 0.0) * layout.march_step
    assert 0.5 < image.opacity[row, column]
    assert 1.0 - np.exp(-depths.sum()) == pytest.approx(image.opacity[row, column], abs=2e-3)


def test_a_small_budget_is_refused() -> None:
    with tv.open(GOLDEN, memory_limit=1 << 20) as small, pytest.raises(MemoryLimitExceeded):
        field = small[0]
        optical_depths(Workspace(field.runtime), field, np.zeros((1, 3), np.float32))
