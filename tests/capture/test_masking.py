"""``tvvc mask``'s work: masks of a figure that walks on a patterned set, whose true masks and shadow are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import stage
from layouts import save
from PIL import Image

from taichi_vvc.capture import plates as plates_module
from taichi_vvc.capture.consensus import consensus
from taichi_vvc.capture.foreground import BACKGROUND, SUBJECT, UNSURE, Plate, changed
from taichi_vvc.capture.masking import from_plates, make_masks, prepare
from taichi_vvc.capture.plates import median_plates, read_plates
from taichi_vvc.capture.sequence import MultiViewSequence, open_capture
from taichi_vvc.errors import DataError

pytest.importorskip("cv2", reason="OpenCV (extra mask) is not installed")

Masks = list[list[np.ndarray]]


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Masks, Masks]:
    folder = tmp_path_factory.mktemp("stage")
    return folder, *stage.write_stage(folder)


@pytest.fixture(scope="module")
def capture(staged: tuple[Path, Masks, Masks]) -> MultiViewSequence:
    return open_capture(staged[0])


def names(sequence: MultiViewSequence) -> dict[str, str]:
    return {camera.name: camera.name for camera in sequence.cameras}


def made(sequence: MultiViewSequence, folder: Path, plates: Sequence[Plate]) -> Masks:
    """The masks as a reader of the written capture sees them."""
    prepare(folder, False)
    make_masks(sequence, folder, names(sequence), from_plates(plates))
    return [[view.image[..., 3] > 0 for view in frame.views] for frame in open_capture(folder)]


def naive(sequence: MultiViewSequence, plates: Sequence[Plate], threshold: int = 25) -> Masks:
    """The masks of a plain threshold on the difference."""
    return [
        [
            np.abs(view.image[..., :3].astype(int) - plate.image).max(-1) > threshold
            for view, plate in zip(frame.views, plates, strict=True)
        ]
        for frame in sequence
    ]


def share(masks: Masks, of: Masks) -> float:
    """The share of the pixels ``of`` that the masks show."""
    pairs = [pair for a, b in zip(masks, of, strict=True) for pair in zip(a, b, strict=True)]
    return sum(int((m & o).sum()) for m, o in pairs) / sum(int(o.sum()) for _, o in pairs)


@pytest.mark.parametrize("kind", ["plate", "median"])
def test_masks_are_near_the_truth_and_have_no_shadow(
    staged: tuple[Path, Masks, Masks], capture: MultiViewSequence, tmp_path: Path, kind: str
) -> None:
    folder, truth, shadows = staged
    if kind == "plate":
        plates = read_plates(folder / "empty", capture, names(capture))
    else:
        plates, lines = median_plates(capture)
        assert lines == []
    found, plain = made(capture, tmp_path / "out", plates), naive(capture, plates)
    alone = [[changed(v.image[..., :3], p) == SUBJECT for v, p in zip(f.views, plates, strict=True)] for f in capture]
    assert stage.iou(found, truth) > 0.75 > stage.iou(plain, truth)
    assert stage.iou(found, truth) > stage.iou(alone, truth) + 0.1, "the other views know more"
    assert share(plain, shadows) > 0.8 and share(alone, shadows) < 0.05 and share(found, shadows) < 0.4


def test_what_one_view_has_alone_goes_and_holes_are_filled(
    staged: tuple[Path, Masks, Masks], capture: MultiViewSequence
) -> None:
    truth = staged[1][3]
    labels = [np.where(mask, np.uint8(SUBJECT), np.uint8(BACKGROUND)) for mask in truth]
    rows, columns = np.nonzero(truth[2])
    middle = int(np.median(rows)), int(np.median(columns))
    hole = np.zeros(truth[2].shape, bool)
    hole[middle[0] - 2 : middle[0] + 2, middle[1] - 2 : middle[1] + 2] = True
    speck = np.zeros(truth[2].shape, bool)
    speck[4:9, 4:9] = True
    assert truth[2][hole].all() and not truth[2][speck].any()
    labels[2] = labels[2].copy()
    labels[2][hole], labels[2][speck] = BACKGROUND, SUBJECT
    found = consensus(capture.cameras, labels, capture.bounds)
    assert found.agreed and found.masks[2][hole].all() and not found.masks[2][speck].any()
    for mask, right in zip(found.masks, truth, strict=True):
        assert stage.iou([[mask]], [[right]]) > 0.9
    # What a view is unsure about belongs to the subject where the others show it, and only there.
    unsure = [label.copy() for label in labels]
    unsure[2][:] = UNSURE
    filled = consensus(capture.cameras, unsure, capture.bounds).masks[2]
    assert filled[truth[2]].mean() > 0.9 and filled[~truth[2]].mean() < 0.08


def test_a_held_out_view_has_no_say(staged: tuple[Path, Masks, Masks], capture: MultiViewSequence) -> None:
    # So few cameras that none may be overruled.
    cameras = capture.cameras[2:]
    labels = [np.where(mask, np.uint8(SUBJECT), np.uint8(BACKGROUND)) for mask in staged[1][3][2:]]
    assert [camera.split for camera in cameras] == ["train"] * 5 + ["test"]
    before = consensus(cameras, labels, capture.bounds).masks
    top = int(np.nonzero(labels[-1])[0].min())
    labels[-1] = labels[-1].copy()
    labels[-1][: top + 10] = BACKGROUND
    after = consensus(cameras, labels, capture.bounds).masks
    for a, b in zip(before[:-1], after[:-1], strict=True):
        np.testing.assert_array_equal(a, b)
    assert not after[-1][: top + 9].any()


def test_views_that_contradict_each_other_are_not_believed(
    staged: tuple[Path, Masks, Masks], capture: MultiViewSequence
) -> None:
    # Each camera shows the figure where it is at another time.
    labels = [staged[1][(3 * k) % 12][k] * np.uint8(SUBJECT) for k in range(len(capture.cameras))]
    found = consensus(capture.cameras, labels, capture.bounds)
    assert not found.agreed and found.explained < 0.6
    for mask, label in zip(found.masks, labels, strict=True):
        np.testing.assert_array_equal(mask, label == SUBJECT)


def test_empty_masks_stay_empty(capture: MultiViewSequence) -> None:
    labels = [np.zeros((camera.height, camera.width), np.uint8) for camera in capture.cameras]
    found = consensus(capture.cameras, labels, capture.bounds)
    assert found.agreed and not any(mask.any() for mask in found.masks)


def test_another_exposure_is_no_subject(staged: tuple[Path, Masks, Masks], capture: MultiViewSequence) -> None:
    view = capture.frame(0).views[0]
    plate = read_plates(staged[0] / "empty", capture, names(capture))[0]
    darker = np.rint(0.85 * view.image[..., :3]).astype(np.uint8)
    here, there = changed(view.image[..., :3], plate), changed(darker, plate)
    assert stage.iou([[there == SUBJECT]], [[here == SUBJECT]]) > 0.85
    assert (there == BACKGROUND).mean() > 0.85


def test_median_is_the_same_in_any_number_of_passes(
    capture: MultiViewSequence, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = replace(capture, entries=tuple(row[:1] for row in capture.entries), cameras=capture.cameras[:1])
    whole = median_plates(part)[0][0].image
    held: list[int] = []
    partition = np.partition

    def watched(samples: np.ndarray, *rest: object, **more: object) -> np.ndarray:
        base = samples
        while isinstance(base.base, np.ndarray):
            base = base.base
        held.append(base.nbytes)
        return partition(samples, *rest, **more)

    limit = 11 * 96 * 3 * 9  # nine rows of eleven samples
    monkeypatch.setattr(plates_module, "MEMORY", limit)
    monkeypatch.setattr(plates_module.np, "partition", watched)
    np.testing.assert_array_equal(median_plates(part)[0][0].image, whole)
    assert held and max(held) <= limit


def test_a_figure_that_stays_is_told(tmp_path: Path) -> None:
    stage.write_stage(tmp_path / "still", cameras=3, frames=5, size=32, still=True)
    with pytest.raises(DataError, match=r"nothing moves in 5 frames: .* by --plate"):
        median_plates(open_capture(tmp_path / "still"))
    with pytest.raises(DataError, match=r"expected at least 3 frames .* found 2; .* by --plate"):
        median_plates(open_capture(tmp_path / "still", frames=slice(0, 2)))
    # Half of the time it is here, else there: either may be the background.
    stage.write_stage(tmp_path / "moves", cameras=3, frames=4, size=32)
    sequence = open_capture(tmp_path / "moves")
    turns = replace(sequence, entries=tuple(sequence.entries[k] for k in (0, 2, 0, 2, 0, 2, 0)))
    turns = replace(turns, times=tuple(map(float, range(7))), indices=range(7))
    _, lines = median_plates(turns)
    assert len(lines) == 1 and "cam00, cam01, cam02" in lines[0] and "--plate" in lines[0]


def test_plates_that_are_missing_or_of_another_size_are_named(
    staged: tuple[Path, Masks, Masks], capture: MultiViewSequence, tmp_path: Path
) -> None:
    for camera in capture.cameras[:6]:
        image = np.asarray(Image.open(staged[0] / "empty" / f"{camera.name}.png"))
        save(tmp_path / f"{camera.name}.png", image)
    with pytest.raises(DataError, match=r"no plate of 2 of 8 cameras: cam06, cam07; .* such as cam06\.png"):
        read_plates(tmp_path, capture, names(capture))
    for camera in capture.cameras[6:]:
        save(tmp_path / f"{camera.name}.jpg", np.zeros((32, 48, 3), np.uint8))
    with pytest.raises(DataError, match=r"cam06\.jpg 48x32 in place of 96x96, cam07\.jpg 48x32"):
        read_plates(tmp_path, capture, names(capture))
    with pytest.raises(DataError, match="no such folder"):
        read_plates(tmp_path / "none", capture, names(capture))


def test_plates_are_reduced_with_the_pictures(staged: tuple[Path, Masks, Masks], tmp_path: Path) -> None:
    small = open_capture(staged[0], downscale=2, frames=slice(0, 2))
    plates = read_plates(staged[0] / "empty", small, names(small))
    assert plates[0].image.shape == (48, 48, 3)
    found = made(small, tmp_path / "out", plates)
    assert found[0][0].shape == (96, 96), "masks have the size of the stored pictures"
    assert stage.iou(found, staged[1][:2]) > 0.6
