"""Matching of frames by time when cameras have dropped different frames."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import captures
import layouts
import numpy as np
import pytest

from taichi_vvc.capture.readers.frame_times import match, mates, same_moments, time_stamps
from taichi_vvc.types import Camera

FRAMES = 12


def without(*dropped: int, frames: int = FRAMES) -> list[int]:
    return [t for t in range(frames) if t not in dropped]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov"])
def test_cameras_that_dropped_different_frames_are_matched_by_time(tmp_path: Path, suffix: str) -> None:
    rig = layouts.rig()
    layouts.write_rig(tmp_path, rig, {0: without(3), 1: without(5), 2: without(7), 3: without(9)}, suffix)
    sequence = layouts.opened(tmp_path)
    shown = without(3, 5, 7, 9)
    assert len(sequence) == len(shown) and sequence.fps == 30
    for i, time in enumerate(shown):
        for view, camera in zip(sequence.frame(i).views, rig, strict=True):
            expected = layouts.on_background(captures.trace(camera, time)).astype(int)
            assert np.abs(view.image[..., :3] - expected).mean() < 1.5, (time, camera.name)
    note = next(m for m in sequence.messages if "dropped different frames" in m)
    assert "4 moments" in note and "cam00 that at 0.1 s" in note and "cam01 that at 0.16" in note
    assert "\n" not in note and not [m for m in sequence.messages if "frame rate" in m or "length" in m]
    part = layouts.opened(tmp_path, frames=slice(2, 4))
    assert part.first_index == 2
    np.testing.assert_array_equal(part.frame(1).views[2].image, sequence.frame(3).views[2].image)


def test_a_camera_that_lacks_its_first_frame(tmp_path: Path) -> None:
    rig = layouts.rig()
    layouts.write_rig(tmp_path, rig, {0: without(), 1: without(0), 2: without(), 3: without()})
    # As if written by a recorder that keeps its clock.
    sequence = layouts.opened(tmp_path)
    expected = layouts.on_background(captures.trace(rig[1], 1)).astype(int)
    assert len(sequence) == FRAMES - 1
    assert np.abs(sequence.frame(0).views[1].image[..., :3] - expected).mean() < 1.5
    expected = layouts.on_background(captures.trace(rig[0], 1)).astype(int)
    assert np.abs(sequence.frame(0).views[0].image[..., :3] - expected).mean() < 1.5
    assert any("cam01 that at 0 s" in m for m in sequence.messages)


def test_ordinary_videos_are_taken_as_they_are(tmp_path: Path) -> None:
    rig = layouts.rig()
    layouts.write_rig(tmp_path, rig, dict.fromkeys(range(4), without()))
    sequence = layouts.opened(tmp_path)
    assert len(sequence) == FRAMES and sequence.fps == 30
    assert [entry.image.number for entry in sequence.entries[7]] == [7] * 4
    assert [m for m in sequence.messages if "camera" in m and "cameras move" not in m] == []


SECOND = np.arange(90) / 30


def test_jitter_below_half_a_frame_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    found = match(["a", "b"], [SECOND, SECOND + rng.uniform(-0.2, 0.2, 90) / 30])
    assert found is not None and found.notes == () and found.rate == pytest.approx(30, rel=0.01)
    assert (found.frames == np.arange(90)[:, None]).all()


def test_a_constant_offset_is_a_start_and_is_told() -> None:
    found = match(["a", "b", "c"], [SECOND, SECOND + 5.0, SECOND])
    assert found is not None and (found.frames == np.arange(90)[:, None]).all()
    assert len(found.notes) == 1 and "camera b starts 5 s after camera a" in found.notes[0]
    late = match(["a", "b"], [SECOND, np.delete(SECOND, 40) + 2 / 30])
    assert late is not None and (late.frames[:40] == np.arange(40)[:, None]).all()
    assert (late.frames[40:, 0] == np.arange(41, 90)).all() and (late.frames[40:, 1] == np.arange(40, 89)).all()


def test_gaps_and_rates_that_do_not_fit() -> None:
    rng = np.random.default_rng(1)
    dropped = [np.sort(rng.choice(90, 80, replace=False)) for _ in range(5)]
    found = match(list("abcde"), [SECOND[d] for d in dropped])
    common = sorted(set.intersection(*(set(d.tolist()) for d in dropped)))
    assert found is not None and found.rate == pytest.approx(30)
    assert [[d[n] for d, n in zip(dropped, row, strict=True)] for row in found.frames] == [[t] * 5 for t in common]
    assert match(["a", "b"], [SECOND, SECOND * 1.2]) is None, "25 against 30 frames/s"
    long = np.arange(1800.0)
    assert match(["a", "b"], [long / 30, long * 1001 / 30000]) is None, "drifts apart by 1.8 frames"
    assert match(["a", "b"], [SECOND, np.round(SECOND, 3)]) is not None, "Matroska's milliseconds"
    assert match(["a", "b"], [SECOND, SECOND[:1]]) is None


def test_times_that_do_not_fit_are_told_with_camera_and_time(tmp_path: Path) -> None:
    rig = layouts.rig()
    # The same mean rate, but another rhythm: half of the frames are most of a frame late.
    rhythm = [t + (20 if t >= 2 else 0) for t in range(4)]
    layouts.write_rig(tmp_path, rig, {0: [0, 1, 2, 23], 1: rhythm, 2: [0, 1, 2, 23], 3: [0, 1, 2, 23]})
    told = layouts.opened(tmp_path).messages
    assert any(("cam01" in m and "0.7" in m) for m in told), told


def test_mask_videos_that_repeat_dropped_frames(tmp_path: Path) -> None:
    rig = layouts.rig()
    layouts.write_rig(tmp_path, rig, dict.fromkeys(range(4), without(4)))
    document = captures.read_document(tmp_path)
    for camera, record in zip(rig, document["frames"], strict=True):
        drawn = [np.repeat(captures.trace(camera, t - (t == 4))[..., 3:], 3, axis=2) for t in range(FRAMES)]
        layouts.write_timed(tmp_path / f"masks/{camera.name}.mp4", drawn, range(FRAMES))
        record["mask_path"] = f"masks/{camera.name}.mp4"
    captures.write_document(tmp_path, document)
    view = layouts.opened(tmp_path).frame(FRAMES - 2).views[0]
    assert np.abs(view.image[..., 3].astype(int) - captures.trace(rig[0], FRAMES - 1)[..., 3]).mean() < 3


def test_names_that_are_time_stamps() -> None:
    stems = [f"{1612345678901 + 33 * i + i % 3}" for i in range(30)]
    stamps = time_stamps(stems)
    assert stamps is not None and stamps[1] - stamps[0] == 34
    other = time_stamps([s for i, s in enumerate(stems) if i != 10])
    assert other is not None
    found = match(["a", "b"], [stamps, other], "")
    assert found is not None and len(found.frames) == 29 and found.frames[10].tolist() == [11, 10]
    assert time_stamps(["7", "1234", "99999", "100000"]) is None and time_stamps(["a", "b", "c", "d"]) is None


def test_image_sequences_with_time_stamps_are_matched_by_them(tmp_path: Path) -> None:
    rig = layouts.rig()
    records = layouts_easyvolcap(tmp_path, rig)
    dropped = {0: 2, 1: 4, 2: 4, 3: 4}
    for number, files in records.items():
        files[dropped[number]].unlink()
    sequence = layouts.opened(tmp_path)
    assert len(sequence) == FRAMES - 2
    names = [[entry.image.name for entry in row] for row in sequence.entries]
    assert all(len(set(row)) == 1 for row in names) and len({row[0] for row in names}) == FRAMES - 2
    assert any("00 that at" in m and "01 that at" in m for m in sequence.messages)


def layouts_easyvolcap(folder: Path, rig: Sequence[Camera]) -> dict[int, list[Path]]:
    """A capture whose pictures are named by microseconds."""
    files = {}
    intri, extri = ["%YAML:1.0", "names:"], ["%YAML:1.0", "names:"]
    for number in range(len(rig)):
        intri.append(f'  - "{number:02d}"')
        extri.append(f'  - "{number:02d}"')
    for number, camera in enumerate(rig):
        rotation, translation = layouts.world_to_camera(camera)
        for text, name, value in (
            (intri, "K", layouts.intrinsics(camera)),
            (extri, "Rot", rotation),
            (extri, "T", translation.reshape(3, 1)),
        ):
            rows, columns = value.shape
            numbers = ", ".join(repr(float(v)) for v in value.ravel())
            text.append(f"{name}_{number:02d}: !!opencv-matrix\n  rows: {rows}\n  cols: {columns}\n  dt: d")
            text.append(f"  data: [{numbers}]")
        files[number] = [folder / f"images/{number:02d}/{1700000000000000 + 40000 * t}.png" for t in range(FRAMES)]
        for time, file in enumerate(files[number]):
            layouts.save(file, layouts.on_background(captures.trace(camera, time)))
    (folder / "intri.yml").write_text("\n".join(intri), encoding="utf-8")
    (folder / "extri.yml").write_text("\n".join(extri), encoding="utf-8")
    return files


def test_times_that_differ_by_rounding_are_one_moment(tmp_path: Path) -> None:
    captures.write_capture(tmp_path, cameras=4, frames=3, size=24, test_cameras=0)
    document = captures.read_document(tmp_path)
    writers = [lambda t: t, lambda t: float(np.float32(t)), lambda t: round(t, 6), lambda t: t + 1e-17]
    for number, record in enumerate(document["frames"]):
        record["time"] = writers[number // 3](record["time"] / 3)
    captures.write_document(tmp_path, document)
    sequence = layouts.opened(tmp_path)
    assert len(sequence) == 3 and sequence.times == pytest.approx([0, 1 / 3, 2 / 3], abs=1e-6)
    for i in range(3):
        assert [entry.image.stem for entry in sequence.entries[i]] == [f"{i:04d}"] * 4


@pytest.mark.parametrize(
    "times",
    [
        [1.6e12 + 33 * i for i in range(20)],
        [1.6e9 + i / 1000 for i in range(20)],
        [i / 200_000 for i in range(200_001)],
        [0.0, 0.0333, 0.0334, 0.0667],
        [5.0],
    ],
    ids=["milliseconds since 1970", "seconds since 1970", "very many", "uneven", "one"],
)
def test_times_that_are_frames_stay_apart(times: list[float]) -> None:
    assert same_moments(times) == times


def test_mates() -> None:
    assert mates(SECOND, SECOND[:-1]) is None and mates(SECOND[:1], SECOND) is None
    found = mates(np.delete(SECOND, 5), SECOND + 1.0)
    assert found is not None and found.tolist() == [n for n in range(90) if n != 5]
