"""Cameras that are off: found, moved, said, stored; cameras that are right stay what they are."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from backends import runtime

import taichi_vvc as tv
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder import poses
from taichi_vvc.encoder.poses import posed, with_refined_poses, with_stored_poses
from taichi_vvc.encoder.settle import settle_background
from taichi_vvc.errors import CamerasMoved
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.geometry.alignment import displacement
from taichi_vvc.geometry.rotations import rotation_about
from taichi_vvc.measure.evaluate import coded_part

DEMO = Path(tv.__file__).parent / "data" / "walkwave_demo"
CONFIG = EncoderConfig(poses="on", key_iterations=60, inter_iterations=20, rays=256, steps_per_side=48)


@pytest.fixture(scope="module")
def right() -> MultiViewSequence:
    return tv.open_capture(DEMO, frames=slice(0, 1))


@pytest.fixture(scope="module")
def wrong(right: MultiViewSequence) -> MultiViewSequence:
    """Every training camera turned by about a pixel and a half."""
    rng, cameras = np.random.default_rng(2), []
    for camera in right.cameras:
        turn = rotation_about(rng.normal(0, 1.5 / camera.fx, 3))
        cameras.append(camera if camera.split == "test" else replace(camera, rotation=camera.rotation @ turn))
    return posed(right, cameras)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poses, "POSE_CHECK_ITERATIONS", 100)
    monkeypatch.setattr(poses, "_FITS", 2)


def off(sequence: MultiViewSequence, truth: MultiViewSequence) -> float:
    """Pixels by which training cameras are off, root mean square, what they are off in common included."""
    places = poses._corners(truth)
    pairs = zip(sequence.cameras, truth.cameras, strict=True)
    return float(np.sqrt(np.mean([displacement(b, a, places) ** 2 for a, b in pairs if b.split == "train"])))


def refined(sequence: MultiViewSequence, **changes: str | int) -> MultiViewSequence:
    config = settle_background(replace(CONFIG, **changes), sequence)  # type: ignore[arg-type]
    return with_refined_poses(Workspace(runtime()), sequence, config)


def test_cameras_move_to_where_they_stood(quick: None, right: MultiViewSequence, wrong: MultiViewSequence) -> None:
    with pytest.warns(CamerasMoved, match=r"the calibration is off: \d+ cameras of \d+ moved .* px.* gains"):
        found = refined(wrong)
    # What all are off in common cannot be seen.
    assert off(found, right) < 0.62 * off(wrong, right)
    for a, b in zip(found.cameras, wrong.cameras, strict=True):
        assert a.split == b.split and (b.split == "train" or a.same_as(b))
        assert (a.fx, a.cx, a.width) == (b.fx, b.cx, b.width)


def test_longer_fits_have_the_last_word(
    quick: None, monkeypatch: pytest.MonkeyPatch, right: MultiViewSequence, wrong: MultiViewSequence
) -> None:
    """A field that has hardly formed asks for cameras that a longer fit does not want."""
    lengths, fit = [], poses._fit

    def unsure(ws, sequence, config, cameras, tell, longer=1.0):
        lengths.append(longer)
        trial = fit(ws, sequence, config, cameras, tell, longer)
        # Every quick fit seems to be better than the one before; the longer ones differ by what is given.
        quality = 10.0 * len(lengths) if longer == 1.0 else 20.0 + (gain if cameras is not sequence.cameras else 0.0)
        return replace(trial, quality=quality)

    monkeypatch.setattr(poses, "_fit", unsure)
    gain = 0.49
    assert refined(right, poses="on") is right and lengths[-2:] == [3, 3] and set(lengths[:-2]) == {1.0}
    gain = 0.51
    with pytest.warns(CamerasMoved, match="a quick fit gains 0.5 dB"):
        assert refined(wrong, poses="on") is not wrong


def test_right_cameras_stay(quick: None, right: MultiViewSequence) -> None:
    assert refined(right) is right


@pytest.mark.parametrize("changes", [{"poses": "off"}, {"poses": "auto"}], ids=["off", "few iterations"])
def test_nothing_is_fitted_where_nobody_asks(
    monkeypatch: pytest.MonkeyPatch, wrong: MultiViewSequence, changes: dict[str, str]
) -> None:
    monkeypatch.delattr(poses, "_fit")
    assert refined(wrong, **changes) is wrong


def test_auto_looks_in_thorough_encodes(monkeypatch: pytest.MonkeyPatch, wrong: MultiViewSequence) -> None:
    monkeypatch.delattr(poses, "_fit")
    with pytest.raises(NameError):
        refined(wrong, poses="auto", key_iterations=1000)


def test_file_states_where_cameras_were_moved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, right: MultiViewSequence, wrong: MultiViewSequence
) -> None:
    """What is fitted is what is stored; an evaluation and a resumed encode see the cameras of the file."""
    found = [poses._as_stored(camera) for camera in right.cameras]
    encoder = import_module("taichi_vvc.encode")
    monkeypatch.setattr(encoder, "with_refined_poses", lambda ws, s, *others: poses._posed(s, found))
    path, both = tmp_path / "a.tvvc", posed(tv.open_capture(DEMO, frames=slice(0, 2)), wrong.cameras)
    next(iter(tv.encode(both, CONFIG, path)))
    with tv.open(path) as stream:
        stored = stream.cameras
    again = with_stored_poses(wrong, stored)
    for a, b, c in zip(again.cameras, stored, wrong.cameras, strict=True):
        assert np.array_equal(a.rotation, b.rotation if c.split == "train" else c.rotation)
        assert np.array_equal(a.position, b.position if c.split == "train" else c.position)
    assert off(again, wrong) > 0.5
    monkeypatch.delattr(encoder, "with_refined_poses")
    rest = list(tv.encode(both, CONFIG, path, resume=True))
    assert [frame.index for frame in rest] == [1]
    with tv.open(path) as stream:
        judged = coded_part(stream, DEMO)
    assert off(judged, again) < 0.01


def test_cameras_that_stand_elsewhere_are_not_the_file_s(right: MultiViewSequence) -> None:
    far = [replace(c, position=c.position + 1.0) for c in right.cameras]
    assert with_stored_poses(right, far) is right
    assert with_stored_poses(right, right.cameras) is right
    assert with_stored_poses(right, right.cameras[1:]) is right
