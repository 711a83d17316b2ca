"""What belongs together when cameras dropped different frames, and videos that are turned or damaged."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import captures
import layouts
import numpy as np
import pytest

from taichi_vvc.errors import DataError
from taichi_vvc.io.footage import VideoFile
from taichi_vvc.io.moments import match, mates, same_moments, time_stamps
from taichi_vvc.io.turned import Turn, turn_of
from taichi_vvc.types import Camera

FRAMES = 12


def write_timed(path: Path, pictures: Sequence[np.ndarray], times: Sequence[int], codec: str = "libx264") -> None:
    """A video of (H, W, 3) pictures whose presentation times are ``times``, thirtieths of a second."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"crf": "4", "g": "5", "bf": "2"} if codec == "libx264" else {}
    with av.open(str(path), mode="w") as container:
        stream = container.add_stream(codec, rate=30, options=options)
        stream.pix_fmt = "yuv444p" if codec == "libx264" else "yuv420p"
        stream.height, stream.width = pictures[0].shape[:2]
        for picture, time in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_rig(folder: Path, rig: Sequence[Camera], times: dict[int, Sequence[int]], **shared: object) -> None:
    """Videos of the scene of ``captures``; ``times`` of each camera's frames, by number, thirtieths of a second."""
    records = []
    for number, camera in enumerate(rig):
        taken = times[number]
        pictures = [layouts.on_background(captures.trace(camera, t - min(map(min, times.values())))) for t in taken]
        write_timed(folder / f"{camera.name}.mp4", pictures, taken)
        records.append({"file_path": f"{camera.name}.mp4", "transform_matrix": captures.opengl(camera)})
    one = rig[0]
    document = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy, "w": one.width, "h": one.height}
    (folder / "transforms.json").write_text(json.dumps({**document, **shared, "frames": records}), encoding="utf-8")


def without(*dropped: int, frames: int = FRAMES) -> list[int]:
    return [t for t in range(frames) if t not in dropped]


def test_cameras_that_dropped_different_frames_are_matched_by_time(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_rig(tmp_path, rig, {0: without(3), 1: without(5), 2: without(7), 3: without(9)})
    sequence = layouts.opened(tmp_path)
    shown = without(3, 5, 7, 9)
    assert len(sequence) == len(shown) and sequence.fps == 30
    for i, time in enumerate(shown):
        for view, camera in zip(sequence.frame(i).views, rig, strict=True):
            expected = layouts.on_background(captures.trace(camera, time)).astype(int)
            assert np.abs(view.image[..., :3] - expected).mean() < 1.5, (time, camera.name)
    note = next(m for m in sequence.messages if "dropped different frames" in m)
    assert "4 moments" in note and "cam00 that at 0.1 s" in note and "cam01 that at 0.166667 s" in note
    assert "\n" not in note and not [m for m in sequence.messages if "frame rate" in m or "length" in m]
    part = layouts.opened(tmp_path, frames=slice(2, 4))
    assert part.first_index == 2
    np.testing.assert_array_equal(part.frame(1).views[2].image, sequence.frame(3).views[2].image)


def test_a_camera_that_lacks_its_first_frame(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_rig(tmp_path, rig, {0: without(), 1: without(0), 2: without(), 3: without()})
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
    write_rig(tmp_path, rig, dict.fromkeys(range(4), without()))
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
    assert match(["a", "b"], [SECOND, SECOND[:1]]) is None


def test_times_that_do_not_fit_are_told_with_camera_and_time(tmp_path: Path) -> None:
    rig = layouts.rig()
    # The same mean rate, but another rhythm: half of the frames are most of a frame late.
    rhythm = [t + (20 if t >= 2 else 0) for t in range(4)]
    write_rig(tmp_path, rig, {0: [0, 1, 2, 23], 1: rhythm, 2: [0, 1, 2, 23], 3: [0, 1, 2, 23]})
    told = layouts.opened(tmp_path).messages
    assert any(("cam01" in m and "0.7" in m) for m in told), told


def test_mask_videos_that_repeat_dropped_frames(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_rig(tmp_path, rig, dict.fromkeys(range(4), without(4)))
    document = captures.read_document(tmp_path)
    for camera, record in zip(rig, document["frames"], strict=True):
        drawn = [np.repeat(captures.trace(camera, t - (t == 4))[..., 3:], 3, axis=2) for t in range(FRAMES)]
        write_timed(tmp_path / f"masks/{camera.name}.mp4", drawn, range(FRAMES))
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


def write_turned(path: Path, pictures: Sequence[np.ndarray], degrees: int) -> None:
    """A video whose container says to turn the pictures by ``degrees`` counterclockwise."""
    import av

    with av.open(str(path), mode="w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "4", "g": "5"})
        stream.pix_fmt = "yuv444p"
        stream.height, stream.width = pictures[0].shape[:2]
        stream.set_display_rotation(degrees)
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))


def turned_capture(folder: Path, rig: Sequence[Camera], degrees: int, **shared: object) -> None:
    """Pictures that are upright once they are turned by ``degrees``."""
    write_rig(folder, rig, dict.fromkeys(range(len(rig)), range(3)), **shared)
    for camera in rig:
        upright = [layouts.on_background(picture) for picture in layouts.pictures(camera)]
        write_turned(folder / f"{camera.name}.mp4", [np.rot90(u, -degrees // 90) for u in upright], degrees)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_videos_are_turned_as_players_turn_them(tmp_path: Path, degrees: int, suffix: str) -> None:
    stored = np.zeros((32, 48, 3), np.uint8)
    stored[:8, :8] = 255, 0, 0
    stored[-8:, :8] = 0, 255, 0
    file = tmp_path / f"a{suffix}"
    write_turned(file, [stored] * 2, degrees)
    video = VideoFile(file)
    expected = np.rot90(stored, degrees // 90)
    assert video.size == expected.shape[1::-1] == video[0].size() and video.stored_size == (48, 32)
    for number in range(2):
        assert np.abs(video.read(number)[..., :3].astype(int) - expected).mean() < 2
    assert np.abs(VideoFile(file, turned=False).read(1)[..., :3].astype(int) - stored).mean() < 2


@pytest.mark.parametrize("degrees", [90, 180])
def test_a_calibration_of_turned_pictures(tmp_path: Path, degrees: int) -> None:
    rig = layouts.rig()
    turned_capture(tmp_path, rig, degrees)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="transforms", masks=False, tolerance=4.0)
    told = [m for m in sequence.messages if "rotation flag" in m]
    assert len(told) == 1 and f"{degrees} degrees" in told[0] and "turned" in told[0] and "cam02 and 1 more" in told[0]


@pytest.mark.parametrize("evidence", ["size", "principal point"])
def test_a_calibration_of_stored_pixels(tmp_path: Path, evidence: str) -> None:
    rig = layouts.rig()
    write_rig(tmp_path, rig, dict.fromkeys(range(4), range(3)))
    if evidence == "principal point":
        document = captures.read_document(tmp_path)
        document.pop("w"), document.pop("h")
        captures.write_document(tmp_path, document)
    for camera in rig:
        pictures = [layouts.on_background(picture) for picture in layouts.pictures(camera)]
        write_turned(tmp_path / f"{camera.name}.mp4", pictures, 90)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="transforms", masks=False, tolerance=4.0)
    assert any("rotation flag of 90 degrees" in m and "as stored" in m for m in sequence.messages)


def test_a_size_that_fits_neither_names_the_flag(tmp_path: Path) -> None:
    turned_capture(tmp_path, layouts.rig(), 90, w=96, h=80)
    with pytest.raises(DataError, match="rotation flag of 90 degrees"):
        layouts.opened(tmp_path)


def test_display_matrices() -> None:
    one = 65536
    assert turn_of([one, 0, 0, 0, one, 0, 0, 0, 1 << 30]) == Turn() and not Turn()
    mirrored = turn_of([-one, 0, 0, 0, one, 0, 0, 0, 1 << 30])
    assert mirrored == Turn(flips_x=True) and str(mirrored) == "mirroring"
    image = np.arange(24).reshape(2, 3, 4)
    for degrees in (90, 180, 270):
        c, s = round(math.cos(math.radians(degrees))), round(math.sin(math.radians(degrees)))
        # Counterclockwise on a screen whose y grows downwards.
        turn = turn_of([c * one, -s * one, 0, s * one, c * one, 0, 0, 0, 1 << 30])
        assert turn is not None and str(turn) == f"{degrees} degrees"
        np.testing.assert_array_equal(turn(image), np.rot90(image, degrees // 90))
        assert turn.size(3, 2) == np.rot90(image, degrees // 90).shape[1::-1]
    assert turn_of([one, one, 0, -one, one, 0, 0, 0, 1 << 30]) is None
    assert turn_of([0] * 9) is None


def test_a_turn_by_other_angles_is_refused(tmp_path: Path) -> None:
    write_turned(tmp_path / "a.mp4", [np.zeros((32, 48, 3), np.uint8)] * 2, 30)
    with pytest.raises(DataError, match="0, 90, 180 or 270 degrees") as caught:
        VideoFile(tmp_path / "a.mp4")
    assert "\n" not in str(caught.value)


def overwritten(file: Path, packet: int, seed: int = 0) -> None:
    """The file with most of the picture data of a packet overwritten by noise."""
    import av

    with av.open(str(file)) as container:
        packets = [p for p in container.demux(container.streams.video[0]) if p.size]
        begin, size = packets[packet].pos, packets[packet].size
    data = bytearray(file.read_bytes())
    noise = np.random.default_rng(seed).integers(0, 256, size - size // 4, np.uint8)
    data[begin + size // 4 : begin + size] = noise.tobytes()
    file.write_bytes(data)


@pytest.mark.parametrize("packet", range(12))
@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("mpeg4", ".avi"), ("prores_ks", ".mov")])
def test_damaged_picture_data_are_told_with_camera_and_frame(
    tmp_path: Path, codec: str, suffix: str, packet: int
) -> None:
    rig = captures.ring_cameras(1, (96, 80), 0)
    pictures = [layouts.on_background(captures.trace(rig[0], t, 1)) for t in range(12)]
    file = tmp_path / f"cam05{suffix}"
    if codec == "prores_ks":
        import av

        with av.open(str(file), mode="w") as container:
            stream = container.add_stream(codec, rate=30)
            stream.width, stream.height, stream.pix_fmt = 96, 80, "yuv422p10le"
            for picture in pictures:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
    else:
        write_timed(file, pictures, range(12), codec)
    video = VideoFile(file)
    whole = [video.read(number) for number in range(12)]
    overwritten(file, packet)
    video, refused = VideoFile(file), []
    for number in range(12):
        try:
            found = video.read(number)
        except DataError as error:
            assert f"cam05{suffix}: frame {number} cannot be decoded" in str(error) and "\n" not in str(error)
            refused.append(number)
        else:
            np.testing.assert_array_equal(found, whole[number])
    assert 1 <= len(refused) <= (12 if codec == "mpeg4" else 5)
    # Any order of reading says the same.
    again = VideoFile(file)
    for number in reversed(refused):
        with pytest.raises(DataError, match=f"frame {number} cannot be decoded"):
            again.read(number)


def test_mates() -> None:
    assert mates(SECOND, SECOND[:-1]) is None and mates(SECOND[:1], SECOND) is None
    found = mates(np.delete(SECOND, 5), SECOND + 1.0)
    assert found is not None and found.tolist() == [n for n in range(90) if n != 5]
