"""Objects that enter a scene, cells that must not be dropped, both without masks; key frames where quality is lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import captures
import numpy as np
import pytest
from backends import down, runtime
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.config import layout_of
from taichi_vvc.encoder import groups
from taichi_vvc.encoder.frame import CodedFrame
from taichi_vvc.encoder.groups import GroupWatch
from taichi_vvc.field.render import Workspace, measure_opacity
from taichi_vvc.fit.occupancy import entered_cells, first_mask, marked_cells, missed_cells
from taichi_vvc.fit.prediction import Prediction
from taichi_vvc.fit.state import begin_fit
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.types import FieldLayout

BACKGROUND = (0.25, 0.3, 0.35)
CONFIG = tv.EncoderConfig(**{**TWO_LEVELS, "keyint": 10, "background": tuple(round(255 * c) for c in BACKGROUND)})


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captures.write_capture(tmp_path_factory.mktemp("plain"), cameras=6, frames=3, size=32, masks=None)


def balls(layout: FieldLayout, which: slice, grown: float = 0.0) -> np.ndarray:
    """The cells whose centres are in some of the scene's spheres at time 0, (nz, ny, nx) bool."""
    nx, ny, nz = layout.occupancy
    lower, size = np.asarray(layout.bounds.lower), layout.bounds.size
    z, y, x = np.indices((nz, ny, nx))
    centres = lower + (np.stack([x, y, z], -1) + 0.5) * size / [nx, ny, nz]
    inside = [((centres - c) ** 2).sum(-1) < (r + grown) ** 2 for c, r, _ in captures.spheres(0)[which]]
    return np.logical_or.reduce(inside)


def test_cells_that_something_has_come_into(plain: Path) -> None:
    sequence, ws = tv.open_capture(plain), Workspace(runtime())
    views = sequence.frame(0).views
    layout = layout_of(CONFIG, sequence.bounds, [v.camera for v in views])
    first, second = (balls(layout, slice(n, n + 1), 0.1) for n in (0, 1))
    found = entered_cells(ws, layout, views, first, BACKGROUND)
    # All of the sphere that is not in the mask, save what is hidden behind the other; and little else.
    assert (found & second & ~first).sum() > 0.6 * (balls(layout, slice(1, 2)) & ~first).sum()
    assert found.mean() < 0.2
    assert not (found & first).any()
    assert not entered_cells(ws, layout, views, first | second, BACKGROUND).any()


def test_cells_are_kept_where_pixels_would_be_left_to_the_background(plain: Path) -> None:
    sequence, ws = tv.open_capture(plain), Workspace(runtime())
    views = sequence.frame(0).views
    layout = layout_of(CONFIG, sequence.bounds, [v.camera for v in views])
    everywhere = np.ones(layout.occupancy[::-1], bool)
    training = make_training_rays(ws, layout, views, everywhere)
    field = begin_fit(ws.runtime, layout, CONFIG, everywhere, Prediction.scratch()).field
    measure_opacity(ws, field)
    first, second = (balls(layout, slice(n, n + 1), 0.1) for n in (0, 1))
    missed = missed_cells(ws, field, training, first, BACKGROUND)
    assert (missed & second).any() and not (missed & first).any()
    assert not missed_cells(ws, field, training, first | second, BACKGROUND).any()


def test_cells_of_opaque_pixels_are_kept_however_few(tmp_path: Path) -> None:
    sequence = tv.open_capture(captures.write_capture(tmp_path, cameras=6, frames=1, size=32))
    ws, views = Workspace(runtime()), sequence.frame(0).views
    layout = layout_of(CONFIG, sequence.bounds, [v.camera for v in views])
    whole = first_mask(layout, views, None)
    training = make_training_rays(ws, layout, views, whole)
    assert training.has_alpha
    field = begin_fit(ws.runtime, layout, CONFIG, whole, Prediction.scratch()).field
    measure_opacity(ws, field)
    # All that one opaque pixel's ray meets is about to be dropped.
    opaque = np.concatenate([v.image[..., 3].reshape(-1) for v in training.views]) >= 128
    candidates = down(training.candidates)[: training.count]
    lost = candidates[opaque[candidates]][:1]
    met = marked_cells(ws, layout, training.table, lost, field.occupancy, ws.runtime.zeros(whole.size))
    missed = missed_cells(ws, field, training, whole & ~met, BACKGROUND)
    assert met.any() and (missed & met).any() and not (missed & ~met).any()
    assert not missed_cells(ws, field, training, whole, BACKGROUND).any()


def test_a_group_has_lost_the_scene() -> None:
    watch = GroupWatch()
    for quality in (30.0, 30.5, 29.8):
        assert not watch.lost(quality)
        watch.observe(quality)
    # Where no key frame pays, it is tried ever more rarely.
    tried = []
    for _ in range(12):
        tried.append(watch.lost(29.4))
        watch.observe(29.4)
    assert [n for n, was in enumerate(tried) if was] == [0, 1, 3, 7]
    assert not watch.lost(29.6)


def test_a_key_frame_takes_the_place_of_a_lost_frame_if_it_pays(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime()
    sequence = tv.open_capture(plain)
    usual = [s.type for s in tv.encode(sequence, CONFIG, tmp_path / "usual.tvvc")]
    assert usual == ["key", "inter", "inter"]
    monkeypatch.setattr(groups, "_LOST", -100.0)
    for name, better, types in (("dear.tvvc", -1, usual), ("cheap.tvvc", 1, ["key"] * 3)):
        monkeypatch.setattr(CodedFrame, "cost", lambda self, _, better=better: -better * (self.group is not None))
        assert [s.type for s in tv.encode(sequence, CONFIG, tmp_path / name)] == types
    assert (tmp_path / "usual.tvvc").read_bytes() == (tmp_path / "dear.tvvc").read_bytes()
    with tv.open(tmp_path / "cheap.tvvc") as stream:
        assert stream.complete and [stream.info(i).group for i in range(3)] == [0, 1, 2]


def test_resuming_where_key_frames_are_tried(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime()
    # A little better or worse decides: what the frames before were like must be known again.
    monkeypatch.setattr(groups, "_LOST", 0.05)
    sequence, whole, part = tv.open_capture(plain), tmp_path / "whole.tvvc", tmp_path / "part.tvvc"
    config = dataclasses.replace(CONFIG, lambda_rate=1e-5)
    list(tv.encode(sequence, config, whole))
    frames = tv.encode(sequence, config, part)
    next(frames), next(frames)
    frames.close()
    list(tv.encode(sequence, config, part, resume=True))
    assert whole.read_bytes() == part.read_bytes()
