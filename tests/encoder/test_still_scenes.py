"""Scenes that stand still, wholly or but for something small: what does not change costs next to nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
from backends import runtime
from PIL import Image
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.encoder import evidence, frame
from taichi_vvc.fit.changes import Change

CONFIG = tv.EncoderConfig(**{**TWO_LEVELS, "keyint": 20})
STILL = captures.spheres(0)
PATH = np.array([[-0.75, -0.6, 0.7], [-0.7, -0.45, 0.7], [-0.65, -0.3, 0.7], [-0.6, -0.15, 0.7], [-0.55, 0.0, 0.7]])
RADIUS = 0.12


def still(time: float) -> list[Any]:
    return STILL


def with_ball(time: float) -> list[Any]:
    return [*STILL, (PATH[int(time)], RADIUS, np.array([0.95, 0.85, 0.1]))]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    def written(spheres: Callable[[float], list[Any]], masks: str | None, noise: float = 0.0, frames: int = 5) -> Path:
        monkeypatch.setattr(captures, "spheres", spheres)
        folder = captures.write_capture(tmp_path / "capture", cameras=7, frames=frames, size=40, masks=masks)
        rng = np.random.default_rng(4)
        for path in sorted(folder.glob("images/*/*.png")) if noise else []:
            image = np.asarray(Image.open(path)).astype(float)
            image[..., :3] += rng.normal(0, noise, image[..., :3].shape)
            Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8)).save(path)
        return folder

    return written


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> list[Change | None]:
    """What was found to change in each frame that was asked for."""
    found: list[Change | None] = []
    usual = evidence.find_change

    def keeping(*arguments: Any) -> Change | None:
        found.append(usual(*arguments))
        return found[-1]

    monkeypatch.setattr(evidence, "find_change", keeping)
    return found


@pytest.mark.parametrize("masks, noise", [("alpha", 0.0), (None, 0.0), (None, 2.0)])
def test_a_scene_that_stands_still_costs_its_framing(
    write: Callable[..., Path], tmp_path: Path, masks: str | None, noise: float
) -> None:
    runtime()
    frames = list(tv.encode(tv.open_capture(write(still, masks, noise, frames=4)), CONFIG, tmp_path / "a"))
    assert [f.type for f in frames] == ["key", "inter", "inter", "inter"]
    # The first inter frame adds to the key frame.
    assert frames[1].bytes > 60
    assert all(f.bytes < 60 for f in frames[2:]), [f.bytes for f in frames]
    assert all(f.psnr > frames[1].psnr - 0.1 for f in frames[2:])
    with tv.open(tmp_path / "a") as stream:
        one, other = stream.symbols(1), stream.symbols(3)
        assert all((a == b).all() for a, b in zip(one.symbols, other.symbols, strict=True))
        assert (one.occupancy == other.occupancy).all()


def cell_of(point: np.ndarray, stream: tv.Stream) -> tuple[int, int, int]:
    layout = stream.header.layout
    x, y, z = ((point - np.asarray(layout.bounds.lower)) / layout.cell).astype(int)
    return z, y, x


@pytest.mark.parametrize("masks", ["alpha", None])
def test_a_small_thing_that_moves_is_found_and_nothing_else(
    write: Callable[..., Path], changes: list[Change | None], tmp_path: Path, masks: str | None
) -> None:
    runtime()
    frames = list(tv.encode(tv.open_capture(write(with_ball, masks)), CONFIG, tmp_path / "a"))
    assert len(changes) == len(frames) - 2
    with tv.open(tmp_path / "a") as stream:
        for number, change in enumerate(changes, 2):
            assert change is not None
            for place in PATH[number - 1], PATH[number]:
                assert change.cells[cell_of(place, stream)], f"frame {number}"
            assert change.cells.mean() < 0.15
            # What may not change has not.
            before, after = stream.symbols(number - 1), stream.symbols(number)
            assert (before.occupancy == after.occupancy)[~change.cells].all()
            free = live_nodes(stream.header.layout, change.cells)
            assert any(r.any() for r in after.residuals)
            assert not any((r.any(-1) & ~may).any() for r, may in zip(after.residuals, free, strict=True))
            assert frames[number].bytes > 60


def test_a_stopped_encode_goes_on_with_the_same_bytes(
    write: Callable[..., Path], changes: list[Change | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ball stands still at times: what was noticed and what not must be known again."""
    runtime()
    errors: list[list[np.ndarray]] = []
    usual = evidence.Evidence.observe

    def keeping(self: evidence.Evidence, *arguments: Any) -> None:
        usual(self, *arguments)
        errors.append(self.errors)

    monkeypatch.setattr(evidence.Evidence, "observe", keeping)
    sequence = tv.open_capture(write(lambda time: with_ball([0, 1, 1, 2, 2][int(time)]), None, 1.0))
    whole, part = tmp_path / "whole", tmp_path / "part"
    list(tv.encode(sequence, CONFIG, whole))
    told = [None if c is None else bool(c.cells.any()) for c in changes]
    assert True in told and False in told
    of_whole = [errors.pop(0) for _ in range(5)]
    frames = tv.encode(sequence, CONFIG, part)
    for _ in range(4):
        next(frames)
    frames.close()
    errors.clear()
    list(tv.encode(sequence, CONFIG, part, resume=True))
    assert whole.read_bytes() == part.read_bytes()
    # Those of four frames that are rendered again, and of the last one.
    for ours, theirs in zip(errors, of_whole, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("seconds, sent", [(0.16, False), (0.12, True)])
def test_a_group_opens_with_what_is_there(
    write: Callable[..., Path], tmp_path: Path, seconds: float, sent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No picture changes where a group begins in a scene that stands still, and the group needs no other but for MLPs
    that are younger than so many ``seconds``."""
    runtime()
    monkeypatch.setattr(frame, "_MLP_SECONDS", seconds)
    sequence = tv.open_capture(write(still, None, 2.0, frames=4), fps=25)
    config = tv.EncoderConfig(**{**TWO_LEVELS, "keyint": 3})
    assert [f.type for f in tv.encode(sequence, config, tmp_path / "a")] == ["key", "inter", "inter", "key"]
    with tv.open(tmp_path / "a") as stream, tv.open(tmp_path / "a") as other:
        before, opening, alone = stream.symbols(2), stream.symbols(3), other.symbols(3)
        assert any(r.any() for r in stream.symbols(1).residuals)
        live = live_nodes(stream.header.layout, before.occupancy)
        for m, a, b, c, d in zip(live, before.symbols, opening.symbols, opening.residuals, alone.symbols, strict=True):
            assert a[m].any() and (a[m] == b[m]).all() and (b == c).all() and (b == d).all()
        assert (before.occupancy == opening.occupancy).all()
        assert stream.parameters(2).steps == stream.parameters(3).steps
        for a, b in zip(stream.parameters(2).mlp, stream.parameters(3).mlp, strict=True):
            assert np.array_equal(a, b)
    with StreamReader(tmp_path / "a") as reader:
        assert bool(reader.groups[1].mlp) == sent


def test_a_stopped_encode_opens_the_same_group(write: Callable[..., Path], tmp_path: Path) -> None:
    runtime()
    sequence = tv.open_capture(write(with_ball, None, 1.0))
    config, whole, part = tv.EncoderConfig(**{**TWO_LEVELS, "keyint": 3}), tmp_path / "whole", tmp_path / "part"
    assert [f.type for f in tv.encode(sequence, config, whole)][2:] == ["inter", "key", "inter"]
    frames = tv.encode(sequence, config, part)
    for _ in range(3):
        next(frames)
    frames.close()
    list(tv.encode(sequence, config, part, resume=True))
    assert whole.read_bytes() == part.read_bytes()
    with tv.open(whole) as stream:
        # The group opens with the ball in its new place and all else as it was.
        before, opening = stream.symbols(2), stream.symbols(3)
        moved = [(a != b).any(-1) for a, b in zip(before.symbols, opening.symbols, strict=True)]
        assert (
            any(m.any() for m in moved)
            and np.mean(moved[-1][live_nodes(stream.header.layout, before.occupancy)[-1]]) < 0.5
        )
