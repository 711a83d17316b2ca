"""Whole scenes end to end: what lies outside the bounds is coded, and no fog stands before the cameras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import halls
import numpy as np
import pytest
from backends import BACKEND, runtime
from taichi_vvc.kernels import quantize
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.capture.seen import possible_cells
from taichi_vvc.config import layout_of
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.coarse import coarser
from taichi_vvc.fit.occupancy import entered_cells, first_mask
from taichi_vvc.fit.optimize import fit_frame
from taichi_vvc.fit.prediction import Prediction, Reference
from taichi_vvc.fit.schedule import Schedule
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.measure.evaluate import evaluate
from taichi_vvc.types import GroupParameters, SymbolFrame

SMALL = tv.EncoderConfig(
    **{
        **TWO_LEVELS,
        "level_nodes": (12, 24),
        "level_channels": (4, 4),
        "steps_per_side": 64,
        "occupancy_cells": 24,
        "rays": 512,
        "key_iterations": 300,
        "inter_iterations": 60,
    }
)


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halls.write_hall(tmp_path_factory.mktemp("hall"))


@pytest.fixture(scope="module")
def encoded(hall: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    runtime()
    path = tmp_path_factory.mktemp("encoded") / "hall.tvvc"
    list(tv.encode(tv.open_capture(hall), SMALL, path))
    return path


def held_out(path: Path, capture: Path) -> float:
    return float(evaluate(path, capture, split="test", backend=BACKEND)["psnr"])


def test_held_out_views_show_the_hall(encoded: Path, hall: Path, tmp_path: Path) -> None:
    box = tmp_path / "box.tvvc"
    list(tv.encode(tv.open_capture(hall, scene="box"), SMALL, box))
    whole = held_out(encoded, hall)
    assert whole > 20.0 and whole > held_out(box, hall) + 4.0


def test_the_file_states_shell_and_near_distance(encoded: Path, hall: Path) -> None:
    scene = tv.open_capture(hall).scene
    with tv.open(encoded) as stream:
        layout = stream.header.layout
        assert all(layout.shell) and layout.near == np.float32(scene.near)
        np.testing.assert_allclose(layout.bounds.size, np.array(layout.inner) * layout.cell)
    with StreamReader(encoded) as reader:
        assert reader.version == 8


def test_nothing_stands_where_fewer_than_two_cameras_look(encoded: Path, hall: Path) -> None:
    cameras = [c for c in tv.open_capture(hall).cameras if c.split == "train"]
    with tv.open(encoded) as stream:
        possible = possible_cells(stream.header.layout, cameras)
        assert not possible.all()
        for index in range(len(stream)):
            occupied = stream.symbols(index).occupancy
            assert occupied.any() and not (occupied & ~possible).any()


def test_what_stands_in_the_hall_has_its_distance(encoded: Path, hall: Path) -> None:
    camera = next(c for c in tv.open_capture(hall).cameras if c.split == "test")
    with tv.open(encoded) as stream:
        picture = tv.render(stream[0], camera, stream.background)
    assert picture.opacity.mean() > 0.9
    # The ball is some 2.5 away, walls behind it 5 and more.
    away = float(np.linalg.norm(camera.position - [-0.5, 0.1, 0.45]))
    shown = picture.opacity > 0.5
    depth = picture.depth[shown] / picture.opacity[shown]
    assert depth.min() > 0.5 * stream.header.layout.near
    assert abs(np.quantile(depth, 0.03) - (away - 0.4)) < 0.8 and np.quantile(depth, 0.8) > away + 1.0


def test_cells_are_taken_back_for_rays_that_would_meet_nothing(hall: Path) -> None:
    sequence = tv.open_capture(hall)
    training = [c for c in sequence.cameras if c.split == "train"]
    layout = layout_of(SMALL, sequence.bounds, training, True, sequence.scene.near)
    views, ws = sequence.frame(0).views, Workspace(runtime())
    whole = first_mask(layout, views, None)
    assert not entered_cells(ws, layout, views, whole, (0.0, 0.0, 0.0)).any()
    half = whole.copy()
    half[:, :, layout.occupancy[0] // 2 :] = False
    back = entered_cells(ws, layout, views, half, (0.0, 0.0, 0.0))
    assert back.any() and not (back & half).any()


def test_a_whole_scene_begins_with_a_coarse_pass() -> None:
    whole, box = (Schedule.of(SMALL, Prediction.scratch(), kind) for kind in (True, False))
    coarse = Schedule.coarse(SMALL)
    assert coarse.iterations == whole.formed == 100 and whole.formed + whole.iterations == SMALL.key_iterations
    assert coarse.turn(0).longer > 1.0 == whole.turn(0).longer == box.turn(0).longer and box.formed == 0
    assert coarse.compactness == whole.compactness > 0.0 == box.compactness
    # Nothing is rounded in it.
    assert {turn.mode for turn in coarse} == {quantize.NOISE} and not any(turn.freeze_mlp for turn in coarse)
    assert coarse.prunes == (25, 45, 75) and whole.prunes == (30, 80)
    before = Reference(SymbolFrame((), (), np.ones((2, 2, 2), bool)), GroupParameters((), ()))
    assert Schedule.of(SMALL, Prediction.going_on(before), True).formed == 0
    assert Schedule.of(SMALL, Prediction.inter(before), True).formed == 0


def test_a_fit_tells_of_both_passes_as_one(hall: Path) -> None:
    config = replace(SMALL, key_iterations=60, background=(0, 0, 0))
    sequence, ws, told = tv.open_capture(hall), Workspace(runtime()), []
    training = [c for c in sequence.cameras if c.split == "train"]
    layout = layout_of(config, sequence.bounds, training, True, sequence.scene.near)
    views = sequence.frame(0).views
    rays = make_training_rays(ws, layout, views, first_mask(layout, views, None))
    fit_frame(ws, config, rays, Prediction.scratch(), 0, told.append)
    assert [(r.step, r.steps) for r in told] == [(n, 60) for n in range(10, 61, 10)]
    coarse, fine = told[0].field.layout, told[-1].field.layout
    assert fine == layout and coarse.levels == coarser(layout).levels != fine.levels
