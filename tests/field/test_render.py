"""The whole renderer and its adjoint: against the model in torch, NumPy twins, and differences."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import pytest
import reference
import torch_model
from backends import (
    BACKEND,
    down,
    field_of,
    fog,
    ints,
    look_at,
    random_grids,
    random_mlp,
    runtime,
    slope,
    small_layout,
    up,
)

from taichi_vvc.field import shading
from taichi_vvc.field.grids import Field, flat_values
from taichi_vvc.field.mlp import flatten, unflatten
from taichi_vvc.field.render import Workspace, camera_table, make_rays, measure_opacity, render, trace
from taichi_vvc.field.shading import Background, Batch, fit_rays, shade_rays
from taichi_vvc.fit.training_rays import crossing_pixels
from taichi_vvc.types import GridLevel

# The package's own name "render" is the function.
renderer = import_module("taichi_vvc.field.render")
LAYOUT = small_layout()
GRIDS, MLP = random_grids(LAYOUT, 0), random_mlp(LAYOUT, 1)
MASK = np.random.default_rng(2).random(LAYOUT.occupancy[::-1]) < 0.7
CENTRE = (-0.25, 1.5, 2.5)
CAMERAS = [look_at((2.5, 0.3, 3.6), CENTRE, (5, 4), 6.0), look_at((-1.8, 3.4, 1.2), CENTRE, (4, 4), 6.0, k1=-0.1)]
RAYS = 36
BEHIND = Background((0.9, 0.3, 0.5))


@dataclass(frozen=True)
class Shot:
    """A batch of rays that went through :func:`shade_rays`, on the host."""

    ws: Workspace
    batch: Batch
    rays: np.ndarray
    starts: np.ndarray
    samples: np.ndarray
    sample_ray: np.ndarray
    colour: np.ndarray


def background() -> np.ndarray:
    """(rays, 3)."""
    return np.tile(np.float32(BEHIND.mean), (RAYS, 1))


def set_targets(shot: Shot, pull: np.ndarray) -> None:
    """Targets from which the colours of a shot differ by ``pull`` (rays, 3)."""
    shot.ws.targets.array = up(np.pad(shot.colour - pull, ((0, 0), (0, 1))).reshape(-1))


def shoot(f: Field, seed: int | None = None, ws: Workspace | None = None) -> Shot:
    """March and shade the rays of all pixels of CAMERAS."""
    ws = ws or Workspace(runtime())
    make_rays(ws, f.layout, camera_table(ws.runtime, f.layout, CAMERAS), ints(np.arange(RAYS)), RAYS)
    total = trace(ws, f, RAYS, seed, 5)
    ws.background.array = up(background().reshape(-1))
    batch = shade_rays(ws, f, RAYS, total)
    return Shot(
        ws,
        batch,
        down(ws.rays.array, RAYS, 8),
        down(ws.starts.array, RAYS + 1),
        down(ws.samples.array, total, 4),
        down(ws.sample_ray.array, total),
        down(ws.colour.array, RAYS, 3),
    )


@pytest.fixture
def colour_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The threshold below which samples are not coloured makes the model discontinuous: not for comparisons."""
    monkeypatch.setattr(shading, "WEIGHT_THRESHOLD", 0.0)


def d_colour() -> np.ndarray:
    """Gradient of the colours, (rays, 3)."""
    return np.random.default_rng(4).standard_normal((RAYS, 3)).astype(np.float32)


def gradients(f: Field, shot: Shot, frozen: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the flat grid values and of the flat MLP weights."""
    gradient, mlp_gradient = up(np.zeros(f.map.size)), up(np.zeros(flatten(MLP).size))
    # Targets whose squared error has the wanted gradient.
    set_targets(shot, d_colour() * RAYS / 2)
    # What an earlier batch left behind must not matter.
    for name in ("d_projection", "d_features", "features", "projection", "colour_inputs"):
        getattr(shot.ws, name).get(1).fill(float("nan"))
    errors = fit_rays(shot.ws, f, RAYS, shot.batch.samples, BEHIND, gradient, None if frozen else mlp_gradient)
    np.testing.assert_allclose(down(errors, RAYS), ((d_colour() * RAYS / 2) ** 2).sum(axis=1), rtol=1e-4)
    return down(gradient, f.map.size), down(mlp_gradient, flatten(MLP).size)


@pytest.mark.skipif(BACKEND != "cpu", reason="vector lookups are for the CPU")
def test_vector_lookups_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = small_layout(levels=(GridLevel((5, 4, 3), 4, 1.0), GridLevel((3, 4, 4), 8, 2.5)))
    f = field_of(layout, random_grids(layout, 0), random_mlp(layout, 1), MASK)
    found = []
    for fours in (True, False):
        monkeypatch.setattr(shading, "_in_fours", lambda f, fours=fours: fours)
        shot = shoot(f)
        gradient, mlp_gradient = up(np.zeros(f.map.size)), up(np.zeros(flatten(random_mlp(layout, 1)).size))
        set_targets(shot, d_colour() * RAYS)
        fit_rays(shot.ws, f, RAYS, shot.batch.samples, BEHIND, gradient, mlp_gradient)
        found.append((shot.colour, down(gradient, f.map.size), down(mlp_gradient)))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
        assert np.abs(ours).max() > 0.01


def test_samples_that_hardly_matter_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    if BACKEND != "cpu":
        pytest.skip("a GPU goes back through all samples")
    f = field_of(LAYOUT, GRIDS, MLP, MASK)
    shot = shoot(f)
    exact, few = [], []
    for found, negligible in ((exact, 0.0), (few, 1e-2)):
        monkeypatch.setattr(shading, "NEGLIGIBLE", negligible)
        found.extend(gradients(f, shot))
        found.append(len(shading._with_gradient(shot.ws, shot.batch.samples, RAYS, 1 + LAYOUT.appearance)))
    assert few[2] < exact[2] <= shot.batch.samples
    for a, b in zip(few[:2], exact[:2], strict=True):
        assert np.abs(a - b).max() < 0.01 * np.abs(b).max()
    monkeypatch.setattr(shading, "NEGLIGIBLE", 1e9)
    nothing = gradients(f, shot)
    assert not nothing[0].any()


@pytest.mark.usefixtures("colour_everything")
def test_colours_equal_those_of_the_twins() -> None:
    shot = shoot(field_of(LAYOUT, GRIDS, MLP, MASK), seed=9)
    step = max(LAYOUT.occupancy) / LAYOUT.steps_per_side
    w1, b1, w2, b2, w3, b3, w4, b4 = (t.astype(np.float64) for t in MLP)
    coloured = 0
    for r in range(RAYS):
        ray = shot.rays[r].astype(np.float64)
        offset = reference.uniform(9, 5, r)
        samples, _, margin = reference.march(ray, MASK, np.zeros(MASK.shape), step, 7.0, offset)
        assert margin > 1e-5, "the scene leaves the choice of a cell to rounding: take another seed"
        assert len(samples) == shot.starts[r + 1] - shot.starts[r]
        direction = reference.encode_direction(ray[3:6], LAYOUT.view_frequencies)
        raw, rgb = [], []
        for sample in samples:
            coefficients, basis = reference.lookup(LAYOUT, GRIDS, sample[:3])
            row = reference.perceptron(coefficients * basis, w1, b1, w2, b2)
            raw.append(row[0])
            out = reference.perceptron(np.concatenate([row[1:], direction]), w3, b3, w4, b4)
            rgb.append(1 / (1 + np.exp(-out)))
        distances = np.array([s[3] for s in samples])
        colour = reference.composite_ray(
            np.array(raw), np.array(rgb), distances, 1 / LAYOUT.steps_per_side, background()[r].astype(np.float64)
        )[0]
        # Lookups are good to 1e-5, and the density multiplies errors by up to 50 / 16 per sample.
        np.testing.assert_allclose(shot.colour[r], colour, atol=2e-4)
        coloured += bool(samples) and np.abs(colour - background()[r]).max() > 0.1
    assert coloured > 10
    assert shot.batch.coloured == shot.batch.samples == shot.starts[-1]


@pytest.mark.parametrize("threshold", [0.0, 0.1])
@pytest.mark.parametrize("frozen", [False, True])
def test_adjoint_equals_torch_autograd(frozen: bool, threshold: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shading, "WEIGHT_THRESHOLD", threshold)
    f = field_of(LAYOUT, GRIDS, MLP, MASK)
    shot = shoot(f, seed=9)
    coloured = down(shot.ws.weights.array, shot.batch.samples) > threshold
    assert coloured.sum() == shot.batch.coloured and coloured.all() == (threshold == 0)
    grids, mlp = torch_model.doubles(GRIDS), torch_model.doubles(MLP)
    colour = torch_model.rendered(
        LAYOUT, grids, mlp, shot.rays[:, 3:6], shot.samples[:, :3], shot.sample_ray, shot.starts, background(), coloured
    )
    np.testing.assert_allclose(shot.colour, colour.detach().numpy(), atol=2e-4)
    (colour * torch_model.doubles([d_colour()])[0]).sum().backward()
    found, found_mlp = gradients(f, shot, frozen)
    expected = flat_values(f.map, LAYOUT, tuple(g.astype(np.float32) for g in torch_model.gradients(grids)))
    # Float32 against float64: 1e-6 of the largest gradient on the CPU, with room for a GPU's exp and log.
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()
    assert np.abs(expected).max() > 0.01
    if frozen:
        assert not found_mlp.any()
        return
    for tensor, other in zip(unflatten(LAYOUT, found_mlp), torch_model.gradients(mlp), strict=True):
        assert np.abs(tensor - other).max() < 1e-4 * np.abs(other).max()
        assert np.abs(other).max() > 0.01


@pytest.mark.usefixtures("colour_everything")
def test_adjoint_equals_finite_differences() -> None:
    f = field_of(LAYOUT, GRIDS, MLP, MASK)
    found, found_mlp = gradients(f, shoot(f, seed=9))
    values, weights = flat_values(f.map, LAYOUT, GRIDS), flatten(MLP)
    rng = np.random.default_rng(5)

    def loss(v: np.ndarray) -> float:
        f.runtime.store(f.values, v[: len(values)].astype(np.float32))
        f.runtime.store(f.mlp, v[len(values) :].astype(np.float32))
        return float((shoot(f, seed=9).colour.astype(np.float64) * d_colour()).sum())

    at, gradient = np.concatenate([values, weights]), np.concatenate([found, found_mlp])
    slopes = []
    for part in (slice(0, len(values)), slice(len(values), None)):
        for _ in range(2):
            direction = np.zeros(len(at))
            direction[part] = rng.standard_normal(len(direction[part]))
            # Towards the gradient, so that the slope is far from 0.
            direction[part] *= np.sign(direction[part] * gradient[part])
            slopes.append((gradient @ direction, slope(loss, at, direction, 2e-3)))
    # A ReLU or two among thousands changes sides within the step, and its cubic term is left over.
    for mine, difference in slopes:
        assert mine == pytest.approx(difference, rel=0.02)
        assert abs(difference) > 1


def test_uncoloured_samples_change_little() -> None:
    dense = tuple(tensor + 3 if number == 3 else tensor for number, tensor in enumerate(MLP))
    f = field_of(LAYOUT, GRIDS, dense, MASK)
    shot = shoot(f)
    exact = torch_model.rendered(
        LAYOUT,
        torch_model.doubles(GRIDS),
        torch_model.doubles(dense),
        shot.rays[:, 3:6],
        shot.samples[:, :3],
        shot.sample_ray,
        shot.starts,
        background(),
    )
    assert 0 < shot.batch.coloured < shot.batch.samples
    # Each sample left out weighs less than the threshold.
    bound = shading.WEIGHT_THRESHOLD * np.diff(shot.starts).max() + 2e-4
    assert np.abs(shot.colour - exact.detach().numpy()).max() < bound


def test_a_workspace_can_be_reused() -> None:
    full, sparse = field_of(LAYOUT, GRIDS, MLP), field_of(LAYOUT, GRIDS, MLP, MASK & (np.arange(6) % 2 == 0))
    ws = Workspace(runtime())
    for f in (sparse, full, sparse):
        # Batches of another size may take another path through BLAS.
        np.testing.assert_allclose(shoot(f, ws=ws).colour, shoot(f).colour, atol=1e-5)


def test_measured_opacity_bounds_the_cells() -> None:
    f = field_of(LAYOUT, GRIDS, MLP, MASK)
    peak = measure_opacity(Workspace(runtime()), f)
    lowest = down(f.opacity, *MASK.shape)
    w1, b1, w2, b2 = (t.astype(np.float64) for t in MLP[:4])
    for cell in np.ndindex(*MASK.shape):
        if not MASK[cell]:
            assert peak[cell] == 0 and lowest[cell] == 0
            continue
        depths = []
        for corner in np.ndindex(2, 2, 2):
            point = np.minimum(np.add(cell, corner)[::-1], np.array(LAYOUT.occupancy) - 1e-3)
            coefficients, basis = reference.lookup(LAYOUT, GRIDS, point.astype(np.float32).astype(np.float64))
            raw = reference.perceptron(coefficients * basis, w1, b1, w2, b2)[0]
            depths.append(float(reference.density(raw)) / max(LAYOUT.occupancy))
        # Lookups are good to 1e-5 and the density's slope is 50 / 8.
        assert lowest[cell] == pytest.approx(min(depths), abs=1e-3)
        assert peak[cell] == pytest.approx(max(depths), abs=1e-3)


def test_rays_end_early_where_nothing_behind_can_be_seen() -> None:
    f = fog(LAYOUT, raw=4.0)
    free, unmeasured = shoot(f), render_unmeasured(f)
    measure_opacity(free.ws, f)
    ended = shoot(f)
    sigma = float(reference.density(np.array(4.0)))
    most = int(np.ceil(renderer.DEPTH_LIMIT / (sigma / LAYOUT.steps_per_side))) + 1
    assert np.diff(ended.starts).max() <= most < np.diff(free.starts).max()
    # What is left out is seen through an optical depth of 7, and coloured samples end at weights of 0.001.
    assert np.abs(ended.colour - free.colour).max() < np.exp(-renderer.DEPTH_LIMIT) + 1e-5
    f.measured = False
    image = render(f, CAMERAS[0])
    assert f.measured
    assert np.abs(image.colour - unmeasured).max() < np.exp(-renderer.DEPTH_LIMIT) + 1e-5


def render_unmeasured(f: Field) -> np.ndarray:
    """A picture without early ends of rays."""
    f.measured = True
    return render(f, CAMERAS[0]).colour


# What a fit is measured against


def test_crossing_pixels_are_those_whose_rays_take_a_sample() -> None:
    mask = np.zeros(MASK.shape, bool)
    mask[1:3, 2:4, 3:6] = True
    ws = Workspace(runtime())
    table = camera_table(runtime(), LAYOUT, CAMERAS)
    found = crossing_pixels(ws, LAYOUT, table, mask)
    assert found.dtype == np.int32
    shot = shoot(field_of(LAYOUT, GRIDS, MLP, mask))
    assert found.tolist() == np.flatnonzero(np.diff(shot.starts)).tolist()
    assert 3 < len(found) < RAYS
    np.testing.assert_array_equal(crossing_pixels(ws, LAYOUT, table, mask, chunk=10), found)
    some = np.random.default_rng(5).permutation(RAYS)[:20].astype(np.int32)
    among = crossing_pixels(ws, LAYOUT, table, mask, some, chunk=7)
    assert among.tolist() == [pixel for pixel in some if pixel in found]
    assert crossing_pixels(ws, LAYOUT, table, mask, some[:0]).size == 0
