"""Masks that contradict each other: a part that two of many masks lack is kept; few cameras carve strictly."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
from backends import runtime
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.capture.agreement import agreement, settled
from taichi_vvc.capture.bounds import bounds_from_masks
from taichi_vvc.capture.hull import visual_hull, vote
from taichi_vvc.config import layout_of
from taichi_vvc.encoder.trusted_views import views_of
from taichi_vvc.errors import MasksDisagree
from taichi_vvc.field.render import Workspace
from taichi_vvc.fit.occupancy import first_mask
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.geometry.projection import project
from taichi_vvc.types import View

CELLS = (24, 24, 24)
TINY = tv.EncoderConfig(**ONE_LEVEL)
BAD = (4, 11)
NO_LENS = (0.0, 0.0, 0.0, 0.0)


def sphere_pixels(view: View, number: int, time: float = 0) -> np.ndarray:
    """(height, width) bool: where a sphere of the scene is in a picture, by its centre's projection and its size."""
    centre, radius, _ = captures.spheres(time)[number]
    camera = view.camera
    pixels, depth = project(camera, centre)
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    return np.hypot(x - pixels[0], y - pixels[1]) < 1.08 * camera.fx * radius / depth + 1.0


def lacking(view: View, number: int, time: float = 0) -> View:
    """A view whose mask lacks a sphere."""
    image = view.image.copy()
    image[sphere_pixels(view, number, time)] = 0
    return dataclasses.replace(view, image=image)


def rig(count: int = 24, size: int = 64, lens: tuple[float, ...] = NO_LENS) -> list[View]:
    return [View(c, captures.trace(c, 0, samples=1)) for c in captures.ring_cameras(count, size, 0, lens)]


def holds(number: int) -> np.ndarray:
    """(nz, ny, nx) bool: cells whose centre lies in a sphere."""
    centre, radius, _ = captures.spheres(0)[number]
    z, y, x = np.meshgrid(*(np.arange(n) + 0.5 for n in reversed(CELLS)), indexing="ij")
    points = -1.0 + 2.0 * np.stack((x, y, z), -1) / np.array(CELLS)
    return ((points - centre) ** 2).sum(-1) < radius**2


@pytest.mark.parametrize(("size", "lens"), [(64, NO_LENS), (200, NO_LENS), (64, (-0.12, 0.05, 0.003, -0.002))])
def test_what_two_of_many_masks_lack_is_kept(size: int, lens: tuple[float, ...]) -> None:
    views = rig(size=size, lens=lens)
    wrong = [lacking(v, 1) if k in BAD else v for k, v in enumerate(views)]
    part = holds(1)
    strict = visual_hull(wrong, captures.BOUNDS, CELLS)
    assert strict[part].mean() < 0.3, "a strict hull loses it"
    marked, found = settled(wrong, captures.BOUNDS)
    robust, right = (visual_hull(v, captures.BOUNDS, CELLS) for v in (marked, views))
    assert robust[part].all() and robust[right].all()
    assert (robust & ~right).sum() < 0.15 * right.sum(), "and no more than that"
    assert sorted(found.named) == list(BAD) and sum(u is not None for u in found.unknown) == 2
    for k in BAD:
        unknown, shown = marked[k].unknown, views[k].image[..., 3] >= 128
        assert unknown is not None and not (unknown & (wrong[k].image[..., 3] >= 128)).any()
        lost = shown & (wrong[k].image[..., 3] < 128)
        assert unknown[lost].mean() > 0.98
        assert unknown.sum() < (4 if size > 64 else 5) * lost.sum()
        assert 0.4 < found.lacking[k] / (lost.sum() / shown.sum()) < 2.0


def test_masks_lack_different_parts() -> None:
    views = rig()
    wrong = [lacking(v, {3: 0, 9: 1, 17: 1}[k]) if k in (3, 9, 17) else v for k, v in enumerate(views)]
    marked, found = settled(wrong, captures.BOUNDS)
    assert sorted(found.named) == [3, 9, 17]
    right = visual_hull(views, captures.BOUNDS, CELLS)
    assert visual_hull(marked, captures.BOUNDS, CELLS)[right].mean() > 0.99


def test_masks_that_agree_are_left_as_they_are() -> None:
    for count in (4, 7, 24):
        views = rig(count)
        marked, found = settled(views, captures.BOUNDS)
        assert all(a is b for a, b in zip(marked, views, strict=True)) and not found.named
        assert np.nanmin(found.explained) > 0.999


def test_few_cameras_keep_their_carving() -> None:
    views = rig(5)
    wrong = [lacking(v, 1) if k == 2 else v for k, v in enumerate(views)]
    marked, found = settled(wrong, captures.BOUNDS)
    assert all(v.unknown is None for v in marked) and not found.named
    assert np.nanmin(found.explained) < 0.95, "it is known all the same"
    strict, lenient = (vote(wrong, captures.BOUNDS, CELLS, allowed=n) for n in (0, 5))
    assert (strict.kept == lenient.kept).all()


def test_a_mask_that_shows_too_much_adds_nothing() -> None:
    views = rig()
    image = views[5].image.copy()
    image[2:20, 2:20] = 255
    wrong = [dataclasses.replace(v, image=image) if k == 5 else v for k, v in enumerate(views)]
    marked, found = settled(wrong, captures.BOUNDS)
    assert not found.named and all(v.unknown is None for v in marked)
    assert int(np.nanargmin(found.explained)) == 5 and found.explained[5] < 0.9 < np.sort(found.explained)[1]


def test_dissent_is_counted() -> None:
    wrong = [lacking(v, 1) if k in BAD else v for k, v in enumerate(rig())]
    found = vote(wrong, captures.BOUNDS, CELLS, allowed=2)
    z, y, x = np.argwhere(holds(1))[len(np.argwhere(holds(1))) // 2]
    assert found.kept[z, y, x] and found.against[z, y, x] == 2 and found.seen[z, y, x] == 24
    assert found.touched[z, y, x] == 22
    one = vote(wrong, captures.BOUNDS, CELLS, allowed=1)
    assert not one.kept[z, y, x] and found.kept[one.kept].all()
    strict = vote(wrong, captures.BOUNDS, CELLS)
    assert (strict.against == 0).all() and (strict.kept == visual_hull(wrong, captures.BOUNDS, CELLS)).all()


def test_views_without_masks_take_no_part() -> None:
    views = rig(8)
    opaque = views[2].image.copy()
    opaque[..., 3] = 255
    blank = np.zeros_like(opaque)
    mixed = [dataclasses.replace(v, image={2: opaque, 3: blank}.get(k, v.image)) for k, v in enumerate(views)]
    found = agreement(mixed, captures.BOUNDS)
    assert np.isnan(found.explained[[2, 3]]).all() and np.isfinite(np.delete(found.explained, [2, 3])).all()
    assert np.isnan(agreement([], captures.BOUNDS).explained).all()


def test_bounds_hold_what_two_masks_lack() -> None:
    views = rig(size=96)
    wrong = [lacking(v, 1) if k in BAD else v for k, v in enumerate(views)]
    found, right = bounds_from_masks([wrong]), bounds_from_masks([views])
    assert found is not None and right is not None
    centre, radius, _ = captures.spheres(0)[1]
    assert (np.asarray(found.lower) < centre - radius).all() and (np.asarray(found.upper) > centre + radius).all()
    assert (found.size < 1.15 * right.size).all()


class Changed(captures.Emptied):
    """A capture, opened, with views changed by a function of the frame and the view."""

    def __init__(self, sequence: Any, change: Callable[[int, View], View]) -> None:
        super().__init__(sequence, lambda i, v: False)
        self.change = change

    def frame(self, i: int, split: str | None = None) -> Any:
        views = self.sequence.frame(i, split)
        return dataclasses.replace(views, views=tuple(self.change(i, v) for v in views.views))


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Any:
    runtime()
    folder = captures.write_capture(tmp_path_factory.mktemp("many") / "capture", cameras=14, frames=3, size=32)
    names = ("cam04", "cam11")
    return Changed(tv.open_capture(folder), lambda i, v: lacking(v, 1, i) if v.camera.name in names else v)


def test_no_ray_is_drawn_where_a_mask_is_contradicted(sequence: Any) -> None:
    layout = layout_of(TINY, sequence.bounds, sequence.cameras)
    views = views_of(sequence, layout, 0).views
    mask = first_mask(layout, views, None)
    ws = Workspace(runtime())
    training = make_training_rays(ws, layout, views, mask)
    picked = np.zeros(sum(v.image[..., 3].size for v in training.views), bool)
    picked[ws.runtime.download(training.candidates, training.count)] = True
    first, left_out = 0, 0
    for view in training.views:
        here = picked[first : first + view.image[..., 3].size].reshape(view.image.shape[:2])
        first += here.size
        if view.unknown is not None:
            left_out += int(view.unknown.sum())
            assert here.any() and not here[view.unknown].any()
    assert left_out > 50


def test_an_encode_keeps_the_part_and_names_the_cameras_once(sequence: Any, tmp_path: Path) -> None:
    with pytest.warns(MasksDisagree, match=r"frame 0: masks lack .* of the subject \(cam\d\d \d+ %, cam\d\d ") as told:
        list(tv.encode(sequence, TINY, tmp_path / "a.tvvc"))
    lines = [str(w.message) for w in told if w.category is MasksDisagree]
    assert len(lines) == 1 and "cam04" in lines[0] and "cam11" in lines[0]
    with tv.open(tmp_path / "a.tvvc") as stream:
        occupancy = stream.symbols(0).occupancy
        cells = np.array(occupancy.shape[::-1])
        centre = captures.spheres(0)[1][0]
        x, y, z = ((centre + 1.0) / 2.0 * cells).astype(int)
        assert occupancy[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2].any()


def test_a_resumed_encode_gives_the_same_file(sequence: Any, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MasksDisagree)
        whole, parts = tmp_path / "a.tvvc", tmp_path / "b.tvvc"
        list(tv.encode(sequence, TINY, whole))
        frames = tv.encode(sequence, TINY, parts)
        next(frames)
        frames.close()
        list(tv.encode(sequence, TINY, parts, resume=True))
    assert whole.read_bytes() == parts.read_bytes()


def test_few_cameras_that_disagree_are_told_of(tmp_path: Path) -> None:
    runtime()
    folder = captures.write_capture(tmp_path / "few", cameras=5, frames=2, size=96, test_cameras=0)
    changed = Changed(tv.open_capture(folder), lambda i, v: lacking(v, 1, i) if v.camera.name == "cam02" else v)
    layout = layout_of(TINY, changed.bounds, changed.cameras)
    told: set[str] = set()
    with pytest.warns(MasksDisagree, match=r"frame 0: the masks disagree: \d+ % of what that of cam0\d shows is"):
        views_of(changed, layout, 0, told)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MasksDisagree)
        views_of(changed, layout, 1, told)
