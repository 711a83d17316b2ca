"""Videos with a rotation flag, and damaged videos."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import captures
import layouts
import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from taichi_vvc.capture.readers.footage import VideoFile
from taichi_vvc.capture.readers.rotation_flags import Turn, turn_of
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import is_turned
from taichi_vvc.types import Camera


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
    layouts.write_rig(folder, rig, dict.fromkeys(range(len(rig)), range(3)), **shared)
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
    layouts.write_rig(tmp_path, rig, dict.fromkeys(range(4), range(3)))
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


def test_an_exif_orientation_is_told(tmp_path: Path) -> None:
    captures.write_capture(tmp_path, cameras=3, frames=1, size=24)
    assert not [m for m in layouts.opened(tmp_path).messages if "EXIF" in m]
    file = tmp_path / "images/cam01/0000.png"
    with Image.open(file) as picture:
        exif = picture.getexif()
        exif[274] = 6
        picture.save(file, exif=exif)
    told = [m for m in layouts.opened(tmp_path).messages if "EXIF" in m]
    assert len(told) == 1 and "cam01" in told[0] and "cam00" not in told[0]


def test_no_picture_is_decoded_for_its_orientation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow decodes a whole PNG to look behind its pixels: a minute for a hundred large pictures, one by one."""
    captures.write_capture(tmp_path, cameras=1, frames=1, size=24)
    file = tmp_path / "images/cam00/0000.png"
    loaded = []
    monkeypatch.setattr(PngImageFile, "load", lambda self: loaded.append(self.filename))
    assert not is_turned(file) and not loaded


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
        layouts.write_timed(file, pictures, range(12), codec)
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
