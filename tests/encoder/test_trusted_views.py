"""Masks that are empty although other masks show the subject, and frames without any subject."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import captures
import numpy as np
import pytest
from backends import runtime
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.encoder.groups import GroupWatch
from taichi_vvc.errors import DataError, MaskIgnored
from taichi_vvc.types import View

TINY = tv.EncoderConfig(**TWO_LEVELS)


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> MultiViewSequence:
    runtime()
    folder = tmp_path_factory.mktemp("masks") / "capture"
    return tv.open_capture(captures.write_capture(folder, cameras=6, frames=3, size=32))


@pytest.fixture(scope="module")
def usual(sequence: MultiViewSequence, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """PSNR of each frame with all masks as they are."""
    return [s.psnr for s in tv.encode(sequence, TINY, tmp_path_factory.mktemp("usual") / "a.tvvc")]


@pytest.mark.parametrize("frame", [0, 1])
def test_one_empty_mask_does_not_blank_the_frame(
    sequence: MultiViewSequence, usual: list[float], frame: int, tmp_path: Path
) -> None:
    name = next(c.name for c in sequence.cameras if c.split == "train")
    changed = captures.Emptied(sequence, lambda i, v: i == frame and v.camera.name == name)
    with pytest.warns(MaskIgnored, match=f"frame {frame}: the mask of {name} is empty") as told:
        found = [s.psnr for s in tv.encode(changed, TINY, tmp_path / "a.tvvc")]
    assert sum(w.category is MaskIgnored for w in told) == 1
    assert found == pytest.approx(usual, abs=1.5)
    with tv.open(tmp_path / "a.tvvc") as stream:
        assert stream.symbols(frame).occupancy.any()


def test_an_empty_stage_is_believed(sequence: MultiViewSequence, tmp_path: Path) -> None:
    changed = captures.Emptied(sequence, lambda i, v: i == 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", MaskIgnored)
        list(tv.encode(changed, TINY, tmp_path / "a.tvvc"))
    with tv.open(tmp_path / "a.tvvc") as stream:
        assert [bool(stream.symbols(i).occupancy.any()) for i in range(3)] == [True, False, True]


def test_a_camera_that_sees_nobody_does_not_make_the_figure_infinite(
    sequence: MultiViewSequence, usual: list[float], tmp_path: Path
) -> None:
    # A camera far away, which looks past everything.
    first = next(c for c in sequence.cameras if c.split == "train")
    aside = dataclasses.replace(first, name="aside", position=np.array([500.0, 0.0, 0.0]))

    class WithAnother(captures.Emptied):
        def frame(self, i: int, split: str | None = None):
            views = super().frame(i, split)
            blank = View(aside, np.zeros_like(views.views[0].image))
            return dataclasses.replace(views, views=(*views.views, blank))

    found = [s.psnr for s in tv.encode(WithAnother(sequence, lambda i, v: False), TINY, tmp_path / "a.tvvc")]
    assert found == pytest.approx(usual, abs=1.5)


@pytest.mark.parametrize("sort", ["empty masks", "masks that have no place in common"])
def test_nothing_is_replaced_by_a_file_that_cannot_begin(
    sequence: MultiViewSequence, sort: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.tvvc"
    path.write_bytes(b"precious")
    changed = sequence
    if sort == "empty masks":
        changed = captures.Emptied(sequence, lambda i, v: i == 0)
    else:
        bounds = dataclasses.replace(sequence.bounds, lower=(0.9, 0.9, 0.9), upper=(1.0, 1.0, 1.0))
        changed = dataclasses.replace(sequence, bounds=bounds)
        masks = [v.image[..., 3].any() for v in changed.frame(0).views]
        assert any(masks)
    with pytest.raises(DataError, match=f"frame 0: expected something inside the bounds, found {sort}"):
        list(tv.encode(changed, TINY, path, overwrite=True))
    assert path.read_bytes() == b"precious"


def test_a_key_frames_lead_is_no_loss() -> None:
    watch = GroupWatch()
    watch.observe(35.4)
    # A key frame has less lambda and a longer fit: that alone is no reason to try another.
    for quality in (34.6, 34.3, 34.2):
        assert not watch.lost(quality)
        watch.observe(quality)
    assert watch.lost(33.5)
    watch.observe(float("inf"))
    assert watch.lost(33.5) and not watch.lost(34.2)
