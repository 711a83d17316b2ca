"""Estimates of an encode: the counts that they are derived from, and their dependence on capture and settings."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import captures
import halls
import numpy as np
import pytest

from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.cli import run
from taichi_vvc.cli.inspect import estimates_as_text
from taichi_vvc.config import PRESETS
from taichi_vvc.measure.estimate import estimate, machine_speed, work_of
from taichi_vvc.runtime import cores
from taichi_vvc.types import Bounds, View


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=8, frames=3, size=64)


def views(size: int = 96) -> list[View]:
    return [View(camera, captures.trace(camera, 0, samples=1)) for camera in captures.ring_cameras(6, size)]


def test_rays_are_those_that_meet_the_subject() -> None:
    seen = views()
    covered = np.mean([(view.image[..., 3] > 0).mean() for view in seen if view.camera.split == "train"])
    work = work_of(PRESETS["fast"], captures.BOUNDS, seen)
    # The hull is larger than the subject: by a cell or two at the preset's resolution.
    assert covered * 96**2 < work.rays_per_view < 1.6 * covered * 96**2
    assert (work.pixels, work.training_views) == (6 * 96**2, 5)


def test_samples_fill_the_chord_through_the_hull() -> None:
    opaque = [View(view.camera, np.full_like(view.image, 255)) for view in views()]
    config = dataclasses.replace(PRESETS["fast"], steps_per_side=24)
    work = work_of(config, captures.BOUNDS, opaque)
    # The mean chord of a convex body over parallel rays from all sides is 4 V / S; here all rays of all pixels come
    # from a few sides and near, so only about.
    chord = 4 * 2.0**3 / (6 * 2.0**2)
    assert work.samples_per_ray == pytest.approx(chord / (2.0 / 24), rel=0.25)
    finer = work_of(dataclasses.replace(PRESETS["fast"], steps_per_side=48), captures.BOUNDS, opaque)
    assert finer.samples_per_ray == pytest.approx(2 * work.samples_per_ray, rel=0.03)
    assert work.symbols == work.grid_values, "without masks every symbol is live"
    assert work_of(config, captures.BOUNDS, views()).symbols < work.symbols


def test_a_plain_background_takes_no_bytes(tmp_path: Path) -> None:
    plain = open_capture(captures.write_capture(tmp_path / "plain", frames=1, masks=None)).frame(0).views
    masked = open_capture(captures.write_capture(tmp_path / "masked", frames=1)).frame(0).views
    work, least = (work_of(PRESETS["fast"], captures.BOUNDS, seen) for seen in (plain, masked))
    assert work.shown_per_view < 0.5 * work.rays_per_view
    # The hull is larger than the subject.
    assert 0.3 * least.rays_per_view < work.shown_per_view < least.shown_per_view == least.rays_per_view


def test_estimates_follow_what_is_asked_for(capture: Path) -> None:
    sequence = open_capture(capture)
    rows = {row.preset: row for row in estimate(sequence, speed=1.0, cores=1)}
    assert list(rows) == list(PRESETS)
    seconds = [row.seconds for row in rows.values()]
    assert seconds == sorted(seconds) and seconds[-1] > 20 * seconds[0] > 0
    memory = [row.memory for row in rows.values()]
    assert memory == sorted(memory) and 1e8 < memory[0] and memory[-1] < 4e9

    def fast(frames: slice | None = None, speed: float = 1.0, cores: int = 1, **changes: object):
        config = dataclasses.replace(PRESETS["fast"], **changes)
        (row,) = estimate(open_capture(capture, frames=frames), {"mine": config}, speed=speed, cores=cores)
        return row

    plain = fast()
    assert plain.preset == "mine" and plain.size == rows["fast"].size
    single = fast(slice(0, 1))
    assert single.seconds < plain.seconds < 3 * single.seconds and single.size < plain.size < 3 * single.size
    every_key = fast(keyint=1)
    assert every_key.seconds > plain.seconds and every_key.size > plain.size
    assert 0.45 * plain.size < fast(lambda_rate=2e-3).size < 0.65 * plain.size
    assert fast(speed=2.0).seconds < 0.6 * plain.seconds
    assert plain.seconds > fast(cores=2).seconds > fast(cores=64).seconds > 0.3 * plain.seconds


def test_a_capture_without_training_cameras_has_no_estimate(capture: Path) -> None:
    sequence = open_capture(capture)
    entries = tuple(
        tuple(dataclasses.replace(e, camera=dataclasses.replace(e.camera, split="test")) for e in row)
        for row in sequence.entries
    )
    assert estimate(dataclasses.replace(sequence, entries=entries), speed=1.0) == []


def test_an_empty_frame_costs_next_to_nothing() -> None:
    empty = [View(view.camera, np.zeros_like(view.image)) for view in views(32)]
    work = work_of(PRESETS["ultrafast"], captures.BOUNDS, empty)
    assert (work.symbols, work.rays_per_view, work.samples_per_ray) == (0, 0.0, 0.0)
    aside = Bounds((30.0, 30.0, 30.0), (31.0, 31.0, 31.0))
    assert work_of(PRESETS["ultrafast"], aside, views(32)).samples_per_ray >= 0.0


def test_the_machine_is_measured() -> None:
    assert 0.001 < machine_speed() < 1000 and len(cores()) >= 1


def test_inspect_shows_and_prints_them(capture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", str(capture), "--json", "--downscale", "2"]) == 0
    small = json.loads(capsys.readouterr().out)
    assert small["cameras"][0]["width"] == 32
    assert [row["preset"] for row in small["estimates"]] == list(PRESETS)
    assert all(row.keys() == {"preset", "seconds", "memory", "size"} for row in small["estimates"])
    assert run(["inspect", str(capture)]) == 0
    out = capsys.readouterr().out
    assert re.search(r"\n  fast +\d+(\.\d+)? (s|min|h|d) +\d+\.\d GB +\d+(\.\d+)? (kB|MB)\n", out), out


@pytest.mark.parametrize(
    ("seconds", "size", "shown"),
    [
        (4.234, 812, "4.2 s    0.3 GB   0.81 kB"),
        (89.0, 34_567, "89 s    0.3 GB     35 kB"),
        (5000.0, 1_234_567, "83 min    0.3 GB    1.2 MB"),
        (90_000.0, 98_765_432, "25 h    0.3 GB     99 MB"),
        (1_234_567.0, 1e9, "14 d    0.3 GB   1000 MB"),
    ],
)
def test_no_more_digits_than_an_estimate_has(seconds: float, size: float, shown: str) -> None:
    row = {"preset": "fast", "seconds": seconds, "memory": 3e8, "size": size}
    assert estimates_as_text({"estimates": [row]}).endswith(shown)


def test_a_whole_scene_has_estimates_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hall = halls.write_hall(tmp_path / "hall", cameras=6, frames=3)
    whole, box = (open_capture(hall, scene=scene) for scene in ("whole", "box"))
    assert whole.scene.whole and not box.scene.whole
    works = [work_of(PRESETS["fast"], s.bounds, s.frame(0).views, s.scene) for s in (whole, box)]
    # Every ray of a whole scene meets something.
    assert works[0].rays_per_view == works[0].pixels / 6 > works[1].rays_per_view
    assert works[0].samples_per_ray > works[1].samples_per_ray and works[0].whole and not works[1].whole

    def fast(sequence, frames: int, **changes: object):
        config = dataclasses.replace(PRESETS["fast"], **changes)
        (row,) = estimate(
            dataclasses.replace(sequence, indices=sequence.indices[:frames], entries=sequence.entries[:frames]),
            {"mine": config},
            speed=1.0,
            cores=1,
        )
        return row

    key, three = fast(whole, 1), fast(whole, 3)
    assert key.seconds > 2 * fast(box, 1).seconds
    # Inter frames are fitted where something changes.
    assert three.seconds - key.seconds < key.seconds and three.size - key.size < 0.5 * key.size
    assert run(["inspect", str(hall), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["scene"] == "whole" and [row["preset"] for row in found["estimates"]] == list(PRESETS)


def test_looking_whether_cameras_are_right_takes_time(capture: Path) -> None:
    sequence = open_capture(capture, frames=slice(0, 1))

    def seconds(preset: str, poses: str) -> float:
        config = dataclasses.replace(PRESETS[preset], poses=poses, first_fit=1.0)
        return estimate(sequence, {preset: config}, speed=1.0, cores=1)[0].seconds

    assert seconds("fast", "auto") > 1.1 * seconds("fast", "off")
    # Reading the pictures is timed.
    assert seconds("ultrafast", "auto") == pytest.approx(seconds("ultrafast", "off"), rel=0.1)
    assert seconds("ultrafast", "on") > 1.3 * seconds("ultrafast", "off")
