"""Masks in the forms that segmentation programs write: palettes, labels, alpha, booleans; and soft mattes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import captures
import imageio.v3 as iio
import numpy as np
import pytest
from layouts import opened, save
from PIL import Image

from taichi_vvc.capture.sequence import MultiViewSequence, open_capture
from taichi_vvc.media.images import read_rgba

SIZE = 32
CAMERAS, FRAMES = 3, 3
VOC = [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]


def subject(camera: int, frame: int) -> np.ndarray:
    """(height, width) bool: where the scene is more than half there."""
    return captures.trace(captures.ring_cameras(CAMERAS, SIZE, 0)[camera], frame)[..., 3] >= 128


def palette(colours: list[int]) -> Callable[[Path, np.ndarray], None]:
    def write(path: Path, shown: np.ndarray) -> None:
        picture = Image.fromarray(shown.astype(np.uint8), "P")
        picture.putpalette(colours)
        picture.save(path)

    return write


def values(number: int, kind: type = np.uint8) -> Callable[[Path, np.ndarray], None]:
    return lambda path, shown: Image.fromarray((shown * number).astype(kind)).save(path)


def parts(path: Path, shown: np.ndarray) -> None:
    """Body parts: other labels in other rows."""
    labels = shown * (1 + np.arange(SIZE)[:, None] // 2)
    Image.fromarray(labels.astype(np.uint8)).save(path)


def coloured_parts(path: Path, shown: np.ndarray) -> None:
    colours = np.array([(128, 0, 0), (0, 90, 30), (10, 10, 200)], np.uint8)[np.arange(SIZE) % 3]
    Image.fromarray(np.where(shown[..., None], colours[:, None], np.uint8(0))).save(path)


def swapped(path: Path, shown: np.ndarray) -> None:
    """As optimisers leave it: black is not the first colour."""
    picture = Image.fromarray((~shown).astype(np.uint8), "P")
    picture.putpalette([128, 0, 0, 0, 0, 0])
    picture.save(path)


def see_through(path: Path, shown: np.ndarray) -> None:
    picture = Image.fromarray(shown.astype(np.uint8), "P")
    picture.putpalette([255, 255, 255, 255, 255, 255])
    picture.save(path, transparency=0)


def with_alpha(rgb: int | None) -> Callable[[Path, np.ndarray], None]:
    def write(path: Path, shown: np.ndarray) -> None:
        noise = np.random.default_rng(3).integers(0, 255, (*shown.shape, 3))
        pixels = np.zeros((*shown.shape, 4), np.uint8)
        pixels[..., :3] = noise if rgb is None else rgb
        pixels[..., 3] = shown * 255
        Image.fromarray(pixels).save(path)

    return write


def grey_alpha(path: Path, shown: np.ndarray) -> None:
    Image.fromarray(np.dstack((np.zeros_like(shown), shown)).astype(np.uint8) * np.uint8(255), "LA").save(path)


def by_pyav(path: Path, shown: np.ndarray) -> None:
    """PNG's encoder in FFmpeg: one grey value."""
    with av.open(str(path), "w", format="image2") as container:
        stream = container.add_stream("png", rate=1)
        stream.width, stream.height, stream.pix_fmt = shown.shape[1], shown.shape[0], "gray"
        frame = av.VideoFrame.from_ndarray(shown.astype(np.uint8) * np.uint8(37), format="gray")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "a palette as of VOC": palette(VOC),
    "a palette of greys": palette([0, 0, 0, 128, 128, 128]),
    "a palette of nothing but black": palette([0, 0, 0, 0, 0, 0]),
    "a palette with black last": swapped,
    "a palette with a transparent colour": see_through,
    "label 1": values(1),
    "label 2": values(2),
    "label 37": values(37),
    "half brightness": values(128),
    "white": values(255),
    "label 2 in 16 bits": values(2, np.uint16),
    "white in 16 bits": values(65535, np.uint16),
    "parts": parts,
    "coloured parts": coloured_parts,
    "one bit": lambda path, shown: Image.fromarray(shown).save(path),
    "one bit by imageio": lambda path, shown: iio.imwrite(path, shown.astype(np.uint8)),
    "one bit in a palette": palette([0, 0, 0, 255, 255, 255]),
    "label 37 by FFmpeg": by_pyav,
    "alpha beside black": with_alpha(0),
    "alpha beside white": with_alpha(255),
    "a cut-out": with_alpha(None),
    "grey and alpha": grey_alpha,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_one_mask(writer: str, tmp_path: Path) -> None:
    shown = subject(0, 0)
    save(tmp_path / "a.png", np.full((SIZE, SIZE, 3), 90, np.uint8))
    WRITERS[writer](tmp_path / "m.png", shown)
    np.testing.assert_array_equal(read_rgba(tmp_path / "a.png", tmp_path / "m.png")[..., 3], shown * np.uint8(255))


def written(folder: Path, write: Callable[[Path, int, int], None]) -> Path:
    """A capture whose masks ``write(path, camera, frame)`` writes."""
    captures.write_capture(folder, cameras=CAMERAS, frames=FRAMES, size=SIZE, masks="file", test_cameras=0)
    for camera in range(CAMERAS):
        for frame in range(FRAMES):
            path = folder / f"masks/cam{camera:02d}/{frame:04d}.png"
            path.unlink()
            write(path, camera, frame)
    return folder


def assert_masks(sequence: MultiViewSequence, expected: Callable[[int, int], np.ndarray]) -> None:
    assert sequence.has_alpha
    for frame in range(FRAMES):
        for camera, view in enumerate(sequence.frame(frame).views):
            np.testing.assert_array_equal(view.image[..., 3], expected(camera, frame), f"{camera} {frame}")


@pytest.mark.parametrize("writer", WRITERS)
def test_a_capture_of_such_masks(writer: str, tmp_path: Path) -> None:
    folder = written(tmp_path, lambda path, camera, frame: WRITERS[writer](path, subject(camera, frame)))
    sequence = open_capture(folder)
    assert_masks(sequence, lambda camera, frame: subject(camera, frame) * np.uint8(255))
    said = " ".join(sequence.messages)
    if "label 2" in writer or "parts" in writer or "37" in writer or "VOC" in writer:
        assert said.startswith("the masks are read as labels (values ") and said.count(";") == 0
    elif "alpha" in writer or "cut-out" in writer or "transparent" in writer:
        assert said == "the masks are read from their alpha"
    elif "white" in writer or "one" in writer:
        assert not said


def soft(camera: int, frame: int) -> np.ndarray:
    return captures.trace(captures.ring_cameras(CAMERAS, SIZE, 0)[camera], frame)[..., 3]


def test_a_soft_matte_is_left_as_it_is(tmp_path: Path) -> None:
    def write(path: Path, camera: int, frame: int) -> None:
        picture = Image.fromarray(soft(camera, frame))
        (picture.convert("P") if camera == 1 else picture.convert("RGB") if camera == 2 else picture).save(path)

    sequence = open_capture(written(tmp_path, write))
    assert_masks(sequence, soft)
    assert not sequence.messages


@pytest.mark.parametrize("empty", [0, 1, 2])
def test_an_almost_empty_matte_is_no_label_mask(empty: int, tmp_path: Path) -> None:
    """What is left of a matte where nobody is does not become the subject: not in one frame, not in a whole camera."""
    rest = np.zeros((SIZE, SIZE), np.uint8)
    rest[5:9, 3:20] = 1
    rest[6, 4:12] = 3

    def expected(camera: int, frame: int) -> np.ndarray:
        return rest // (3 if frame == 2 else 1) if frame == empty or camera == 1 else soft(camera, frame)

    sequence = open_capture(written(tmp_path, lambda path, c, f: Image.fromarray(expected(c, f)).save(path)))
    assert_masks(sequence, expected)
    assert sequence.messages == (
        "masks that look empty beside those of the other cameras, brightest values of 255: cam01 3",
    )


def test_a_frame_that_the_subject_fills_keeps_the_kind(tmp_path: Path) -> None:
    """A cut-out without a transparent pixel is all subject, not a picture to be taken for brightness."""

    def expected(camera: int, frame: int) -> np.ndarray:
        return np.ones((SIZE, SIZE), bool) if frame == 1 else subject(camera, frame)

    folder = written(tmp_path, lambda path, c, f: with_alpha(None)(path, expected(c, f)))
    assert_masks(open_capture(folder), lambda camera, frame: expected(camera, frame) * np.uint8(255))


def test_a_dark_matte_is_told_of(tmp_path: Path) -> None:
    def dark(camera: int, frame: int) -> np.ndarray:
        return (soft(camera, frame) * 0.5).astype(np.uint8) + (np.arange(SIZE) % 5).astype(np.uint8)

    sequence = open_capture(written(tmp_path, lambda path, c, f: Image.fromarray(dark(c, f)).save(path)))
    assert_masks(sequence, dark)
    assert "white (255) where the subject is, found at most: cam00 131" in sequence.messages[0]


@pytest.mark.parametrize("empty", [None, 0])
def test_a_dark_matte_of_16_bits_is_told_of(empty: int | None, tmp_path: Path) -> None:
    """Numbers of instances, such as 1000, are next to nothing of 65535; a frame where nobody is tells nothing."""

    def write(path: Path, camera: int, frame: int) -> None:
        dark = empty is None or frame == empty
        save_deep(path, subject(camera, frame) * (1000 if dark else 65535))

    told = [m for m in open_capture(written(tmp_path, write)).messages if "white (255)" in m]
    assert len(told) == (empty is None)


def save_deep(path: Path, numbers: np.ndarray) -> None:
    Image.fromarray(numbers.astype(np.uint16)).save(path)


def test_schp_masks_of_easyvolcap(tmp_path: Path) -> None:
    """``mask-schp/`` has palettes or labels of body parts."""
    from layouts import intrinsics, world_to_camera

    rig = captures.ring_cameras(CAMERAS, SIZE, 0)
    intri, extri = ["%YAML:1.0", "---"], ["%YAML:1.0", "---"]

    def matrix(name: str, rows: np.ndarray) -> str:
        rows = np.atleast_2d(rows)
        data = ", ".join(f"{v:.10g}" for v in rows.ravel())
        shape = f"   rows: {rows.shape[0]}\n   cols: {rows.shape[1]}\n   dt: d\n   data: [ {data} ]"
        return f"{name}: !!opencv-matrix\n{shape}"

    for number, camera in enumerate(rig):
        rotation, translation = world_to_camera(camera)
        intri.append(matrix(f"K_{number:02d}", intrinsics(camera)))
        extri += [matrix(f"Rot_{number:02d}", rotation), matrix(f"T_{number:02d}", translation[:, None])]
        for frame in range(FRAMES):
            save(tmp_path / f"images/{number:02d}/{frame:06d}.png", captures.trace(camera, frame)[..., :3])
            path = tmp_path / f"mask-schp/{number:02d}/{frame:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            palette(VOC)(path, subject(number, frame))
    (tmp_path / "intri.yml").write_text("\n".join(intri) + "\n")
    (tmp_path / "extri.yml").write_text("\n".join(extri) + "\n")
    sequence = opened(tmp_path)
    assert sequence.layout == "easyvolcap"
    assert_masks(sequence, lambda camera, frame: subject(camera, frame) * np.uint8(255))
