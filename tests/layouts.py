"""What the tests of capture layouts share: the known rig, its pictures and videos on disk, the comparison of rays."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import captures
import numpy as np
from PIL import Image

from taichi_vvc.capture.sequence import MultiViewSequence, open_capture
from taichi_vvc.geometry.projection import pixel_directions
from taichi_vvc.types import Camera

SIZE = (48, 40)
CAMERAS, FRAMES = 4, 3
WHITE = (1.0, 1.0, 1.0)


def rig(lens: Sequence[float] = (0.0, 0.0, 0.0, 0.0), count: int = CAMERAS) -> list[Camera]:
    """Cameras around the scene of ``captures``; none is held out."""
    return captures.ring_cameras(count, SIZE, test_cameras=0, lens=lens)


def on_background(rgba: np.ndarray, background: Sequence[float] = WHITE) -> np.ndarray:
    """(H, W, 3) uint8: straight-alpha RGBA on a plain background."""
    alpha = rgba[..., 3:] / 255.0
    rgb = rgba[..., :3] * alpha + 255.0 * np.asarray(background) * (1.0 - alpha)
    return np.rint(rgb).astype(np.uint8)


def save(path: Path, pixels: np.ndarray) -> None:
    """Write a picture; JPEG at high quality without chroma subsampling."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"quality": 97, "subsampling": 0} if path.suffix in (".jpg", ".jpeg") else {}
    Image.fromarray(pixels).save(path, **options)


def write_video(path: Path, pictures: Iterable[np.ndarray], fps: int = 30, **options: str) -> None:
    """Write an H.264 video of (H, W, 3) pictures, 4:4:4 and nearly lossless unless ``options`` say otherwise."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"crf": "4", "preset": "fast", "g": "5", **options}
    with av.open(str(path), mode="w") as container:
        stream = container.add_stream("libx264", rate=fps, options=settings)
        stream.pix_fmt = "yuv444p"
        pictures = list(pictures)
        stream.height, stream.width = pictures[0].shape[:2]
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode(None))


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


def write_rig(
    folder: Path, rig: Sequence[Camera], times: dict[int, Sequence[int]], suffix: str = ".mp4", **shared: object
) -> None:
    """Videos of the scene of ``captures``; ``times`` of each camera's frames, by number, thirtieths of a second."""
    records = []
    for number, camera in enumerate(rig):
        taken = times[number]
        pictures = [on_background(captures.trace(camera, t - min(map(min, times.values())))) for t in taken]
        write_timed(folder / f"{camera.name}{suffix}", pictures, taken)
        records.append({"file_path": f"{camera.name}{suffix}", "transform_matrix": captures.opengl(camera)})
    one = rig[0]
    document = {"fl_x": one.fx, "fl_y": one.fy, "cx": one.cx, "cy": one.cy, "w": one.width, "h": one.height}
    (folder / "transforms.json").write_text(json.dumps({**document, **shared, "frames": records}), encoding="utf-8")


def world_to_camera(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """(R, t) with x_camera = R x_world + t."""
    return camera.rotation.T, -camera.rotation.T @ camera.position


def intrinsics(camera: Camera) -> np.ndarray:
    """The 3x3 matrix K."""
    return np.array([[camera.fx, 0.0, camera.cx], [0.0, camera.fy, camera.cy], [0.0, 0.0, 1.0]])


def quaternion(rotation: np.ndarray) -> np.ndarray:
    """(w, x, y, z) of a rotation matrix: the eigenvector that the rotation's symmetric 4x4 form belongs to."""
    r = rotation
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [0, r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [0, 0, r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [0, 0, 0, r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    _values, vectors = np.linalg.eigh(k + np.triu(k, 1).T)
    q = vectors[:, -1]
    return q if q[0] >= 0 else -q


def assert_same_rays(found: Camera, truth: Camera, tolerance: float = 1e-4) -> None:
    """Origins and unit directions of a raster of pixels, corners included, agree."""
    assert (found.width, found.height) == (truth.width, truth.height)
    np.testing.assert_allclose(found.position, truth.position, atol=tolerance)
    x, y = np.meshgrid(np.linspace(0, truth.width, 7), np.linspace(0, truth.height, 7))
    pixels = np.stack((x, y), axis=-1)
    np.testing.assert_allclose(pixel_directions(found, pixels), pixel_directions(truth, pixels), atol=tolerance)


def assert_reads_back(
    sequence: MultiViewSequence,
    cameras: Sequence[Camera],
    *,
    layout: str,
    masks: bool,
    tolerance: float,
    frames: int = FRAMES,
) -> None:
    """Cameras, their order, every picture, and the right frame at the right time.

    Args:
        tolerance: of the mean absolute difference of colours where the subject is, in steps of 255.
    """
    assert sequence.layout == layout
    assert len(sequence) == frames and sequence.has_alpha == masks
    assert len(sequence.cameras) == len(cameras)
    for found, truth in zip(sequence.cameras, cameras, strict=True):
        assert_same_rays(found, truth)
    for i in range(frames):
        for view, truth in zip(sequence.frame(i).views, cameras, strict=True):
            expected = captures.trace(truth, i)
            inside = expected[..., 3] == 255
            difference = np.abs(view.image[inside][:, :3].astype(int) - expected[inside][:, :3])
            assert difference.mean() < tolerance, (i, truth.name, difference.mean())
            if masks:
                assert np.abs(view.image[..., 3].astype(int) - expected[..., 3]).mean() < 6.0
                assert (view.image[..., 3][expected[..., 3] == 255] > 200).all()


def pictures(camera: Camera, frames: int = FRAMES) -> list[np.ndarray]:
    """RGBA of the frames of a camera."""
    return [captures.trace(camera, time) for time in range(frames)]


def opened(path: Path, **options) -> MultiViewSequence:
    """The capture with the box of the scene, which most layouts do not state."""
    return open_capture(path, bounds=captures.BOUNDS, **options)
