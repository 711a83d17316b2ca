"""The thresholds of fit and renderer: each is tested with values clearly below and above it, stated as numbers here."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from types import SimpleNamespace

import backends
import numpy as np
import pytest
from backends import runtime
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.coding.choose_tables import plan_rate
from taichi_vvc.coding.known import NOTHING
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder import frame
from taichi_vvc.encoder.progress import Listener
from taichi_vvc.encoder.quality import checked_views
from taichi_vvc.field import shading
from taichi_vvc.field.grids import Field
from taichi_vvc.field.render import Workspace, measure_opacity
from taichi_vvc.fit.colour_error import distortion_step
from taichi_vvc.fit.occupancy import entered_cells, kept_cells, missed_cells, scene_changed, watch_solid
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.media.pictures import differs
from taichi_vvc.types import Bounds, Camera, FieldLayout, FrameViews, GroupParameters, SymbolFrame, View

# A column of twelve cells along z, four by four across; every cell edge is a quarter of a unit.
COLUMN = backends.small_layout(
    bounds=Bounds((0.0, 0.0, 0.0), (1.0, 1.0, 3.0)), occupancy=(4, 4, 12), steps_per_side=48, coefficients=(3, 3, 5)
)
FULL = np.ones(COLUMN.occupancy[::-1], bool)
BELOW = (0.5, 0.5, -40.0)


def raw_of(depth: float, layout: FieldLayout = COLUMN) -> float:
    """The raw density with this optical depth per cell edge."""
    per_side = depth * max(layout.occupancy)
    return 3.0 + float(np.log(np.expm1(per_side / 50.0)))


def fog(depth: float, layout: FieldLayout = COLUMN) -> Field:
    """A field of one optical depth per cell edge everywhere."""
    return backends.fog(layout, raw_of(depth, layout))


def camera(place=BELOW, size: tuple[int, int] = (16, 16)) -> Camera:
    """It looks along the column from far below, nearly in parallel, or from elsewhere at its middle."""
    centre = (0.5, 0.5, 1.5)
    return backends.look_at(place, centre, size, 0.9 * size[0] * np.linalg.norm(np.subtract(place, centre)))


def view(alpha: int = 255, value: int = 200, place=BELOW) -> View:
    image = np.full((16, 16, 4), value, np.uint8)
    image[..., 3] = alpha
    return View(camera(place), image)


def kept(depth: float, margin: bool = False) -> np.ndarray:
    """Which layers of the column are kept of a fog that is seen from below."""
    ws = Workspace(runtime())
    training = make_training_rays(ws, COLUMN, [view()], FULL)
    return kept_cells(ws, fog(depth), training, margin)


@pytest.mark.parametrize("depth, stays", [(0.02, False), (0.08, False), (0.13, True), (0.3, True)])
def test_cells_of_some_density_are_kept(depth: float, stays: bool) -> None:
    """From an optical depth of 0.1 per edge on: it takes a tenth of the light."""
    found = kept(depth)
    assert found.any() == stays
    ws, field = Workspace(runtime()), fog(depth)
    # While motion is sought, samples are taken where something is, or everywhere if there is nothing.
    mask = FULL.copy()
    mask[:2] = False
    assert (watch_solid(ws, field, mask) == mask).all()
    np.testing.assert_allclose(measure_opacity(ws, fog(depth)), depth, rtol=1e-3)


@pytest.mark.parametrize("depth", [0.5, 1.0, 2.0])
def test_cells_behind_what_is_opaque_are_dropped(depth: float) -> None:
    """Behind an optical depth of 5: less than a hundredth of the light gets there."""
    inner = kept(depth)[:, 1:3, 1:3]
    layers = inner.any((1, 2))
    last = int(5.0 / depth)
    assert layers[:last].all()
    assert not layers[last + 2 :].any()
    # With a margin the neighbours are kept too.
    more = kept(depth, margin=True)[:, 1:3, 1:3].any((1, 2))
    assert more.sum() == layers.sum() + 1


@pytest.mark.parametrize("kept_cells_of_forty, changed", [(9, True), (11, False), (0, True), (40, False)])
def test_a_scene_has_changed_where_little_of_it_may_still_be(kept_cells_of_forty: int, changed: bool) -> None:
    before = np.zeros((4, 4, 5), bool)
    before.reshape(-1)[:40] = True
    mask = ~before
    mask.reshape(-1)[:kept_cells_of_forty] = True
    assert scene_changed(before, mask) == changed


@pytest.mark.parametrize("alpha, shown", [(0, False), (120, False), (135, True), (255, True)])
def test_pixels_that_are_more_opaque_than_not_must_meet_something(alpha: int, shown: bool) -> None:
    ws, field = Workspace(runtime()), fog(0.02)
    # Another view, of which one corner is transparent, makes it a capture with masks whatever the alpha.
    other = view(alpha)
    other.image[:2, :2, 3] = 0
    training = make_training_rays(ws, COLUMN, [other], FULL)
    measure_opacity(ws, field)
    nothing = np.zeros_like(FULL)
    found = missed_cells(ws, field, training, nothing, (1.0, 1.0, 1.0))
    assert found.any() == shown


@pytest.mark.parametrize("pixels, enough", [(1, False), (12, True)])
def test_a_few_odd_pixels_without_masks_are_noise(pixels: int, enough: bool) -> None:
    """Of a thousand pixels two may be anything."""
    ws = Workspace(runtime())
    seen = camera(size=(32, 32))
    image = np.full((32, 32, 4), 255, np.uint8)
    flat = image.reshape(-1, 4)
    middle = [32 * row + column for row in range(14, 18) for column in range(14, 18)]
    flat[middle[:pixels], :3] = 0
    found = entered_cells(ws, COLUMN, (View(seen, image),), np.zeros_like(FULL), (1.0, 1.0, 1.0))
    assert found.any() == enough


@pytest.mark.parametrize("change, clear", [(2, False), (8, False), (40, True), (90, True)])
def test_a_colour_differs_from_the_background_if_it_clearly_does(change: int, clear: bool) -> None:
    image = np.full((2, 2, 4), 100, np.uint8)
    image[0, 0, 1] += change
    assert differs(image, (100 / 255,) * 3).tolist() == [[clear, False], [False, False]]


# -- samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [2e-3, 4e-3])
def test_samples_of_little_weight_have_a_colour(weight: float) -> None:
    """Those from a thousandth on; a thin fog would be dark otherwise."""
    step = max(COLUMN.occupancy) / COLUMN.steps_per_side
    field = fog(weight / step)
    picture = tv.render(field, camera(), (0.0, 0.0, 0.0))
    opacity = picture.opacity[6:10, 6:10]
    assert 0.8 * 48 * weight < opacity.mean() < 1.1 * 48 * weight
    expected = np.asarray(backends.FOG_COLOUR) * opacity[..., None]
    np.testing.assert_allclose(picture.colour[6:10, 6:10], expected, rtol=0.02, atol=1e-3)


def test_hardly_any_light_passes_where_a_ray_ends() -> None:
    opacity = tv.render(fog(3.0), camera(), (0.0, 0.0, 0.0)).opacity[6:10, 6:10]
    assert 1 - opacity.min() < 2e-3


def test_what_is_left_out_of_the_adjoint_holds_little_of_the_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    if backends.BACKEND != "cpu":
        pytest.skip("a GPU goes back through all samples")
    gradients = []
    for negligible in (shading.NEGLIGIBLE, 0.0):
        monkeypatch.setattr(shading, "NEGLIGIBLE", negligible)
        gradients.append(gradient_of_fog(1.0, (204, 77, 140)))
    error = np.abs(gradients[0] - gradients[1]).sum() / np.abs(gradients[1]).sum()
    # 6e-6 were measured, and a hundredth where eight times as much was left out.
    assert 0 < error < 1e-3


def gradient_of_fog(depth: float, colour: tuple[int, int, int]) -> np.ndarray:
    """Of a batch of rays through a fog, for the MLPs; the pictures have nearly its colour."""
    ws, field = Workspace(runtime()), fog(depth)
    views = [view(place=(0.5 + 40 * np.sin(a), 0.5, 1.5 + 40 * np.cos(a))) for a in (0.0, 1.0, 2.0)]
    for one in views:
        one.image[..., :3] = colour
    training = make_training_rays(ws, COLUMN, views, FULL)
    gradient, mlp = runtime().zeros(field.map.size), runtime().zeros(backends.down(field.mlp).size)
    config = EncoderConfig(**{**ONE_LEVEL, "background": (255, 255, 255)})
    distortion_step(ws, field, config, training, gradient, mlp, 1, 0)
    return backends.down(mlp)


# -- the encoder -----------------------------------------------------------------------------------------------------


def test_a_magnitude_beyond_the_tables_costs_a_quarter_of_a_bit_more() -> None:
    now = np.zeros((4, 4, 4, 1), np.int32)
    now[0, 0, 0, 0] = 40
    plan = plan_rate(now, np.ones((4, 4, 4), bool), NOTHING)
    assert plan.slope == 0.25 and plan.lengths.shape[1] == 31


@pytest.mark.parametrize("fps, age, shared", [(25, 249, True), (25, 250, False), (4, 39, True), (4, 40, False)])
def test_mlps_last_for_ten_seconds(fps: int, age: int, shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Prediction] = []
    ws, weight = Workspace(runtime()), 1e-3
    config = EncoderConfig(**{**ONE_LEVEL, "motion_blocks": 0, "background": (255, 255, 255)})
    job = frame.Job(ws, SimpleNamespace(fps=Fraction(fps)), config, COLUMN, Listener())  # type: ignore[arg-type]

    def fit(ws, config, training, prediction, number, tell):
        assert config.lambda_rate == weight
        given.append(prediction)
        raise StopIteration

    monkeypatch.setattr(frame, "fit_frame", fit)
    before = Reference(SymbolFrame((), (), FULL), GroupParameters((), ()))
    task = frame.FrameTask(0, FrameViews(0, 0.0, (view(),)), FULL, 1, Prediction.going_on(before), age, weight)
    with pytest.raises(StopIteration):
        frame.code_frame(job, task)
    assert given[0].keep_mlp == shared and given[0].key and given[0].reference is before


def test_the_quality_of_a_frame_is_that_of_all_views_unless_they_are_many() -> None:
    views = [
        dataclasses.replace(view(), camera=dataclasses.replace(camera(), width=1000, height=1000)) for _ in range(9)
    ]
    assert [len(checked_views(views[:count])) for count in (3, 4, 5, 8, 9)] == [3, 4, 3, 4, 3]
