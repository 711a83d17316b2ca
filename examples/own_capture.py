"""From pictures and camera poses in memory to a capture on disk, and to a file.

    python examples/own_capture.py [FOLDER] [--steps N]

The pictures here are drawn: a ball that rises, seen by 12 cameras. Put yours in place of ``pictures_and_poses``.
"""

import argparse
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import taichi_vvc as tv

SIZE, FOCAL = 64, 110.0  # pixels
CAMERAS, FRAMES = 12, 2


def pictures_and_poses() -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """Camera number, frame, RGBA picture (uint8), and camera-to-world matrix: x right, y down, z into the scene."""
    for camera in range(CAMERAS):
        angle, height = 2 * np.pi * camera / CAMERAS, 1.0 + camera % 2
        position = np.array([4 * np.cos(angle), 4 * np.sin(angle), height])
        forward = -position / np.linalg.norm(position)
        right = np.cross(forward, [0.0, 0.0, 1.0]) / np.linalg.norm(np.cross(forward, [0.0, 0.0, 1.0]))
        pose = np.eye(4)
        pose[:3] = np.stack([right, np.cross(forward, right), forward, position], axis=1)
        for frame in range(FRAMES):
            x, y = np.meshgrid(np.arange(SIZE) + 0.5 - SIZE / 2, np.arange(SIZE) + 0.5 - SIZE / 2)
            rays = np.stack([x / FOCAL, y / FOCAL, np.ones_like(x)], axis=-1) @ pose[:3, :3].T
            rays /= np.linalg.norm(rays, axis=-1, keepdims=True)
            to_centre = np.array([0.0, 0.0, 0.1 * frame]) - position
            along = rays @ to_centre
            inside = 0.6**2 - to_centre @ to_centre + along**2
            normal = (along - np.sqrt(np.maximum(inside, 0)))[..., None] * rays - to_centre
            colour = 0.5 + 0.5 * normal / 0.6
            rgba = np.concatenate([colour, np.ones_like(colour[..., :1])], axis=-1) * (inside > 0)[..., None]
            yield camera, frame, np.rint(rgba * 255).astype(np.uint8), pose


def main(folder: Path, steps: int) -> None:
    """Writes the capture and its .tvvc file into ``folder``."""
    records = []
    for camera, frame, picture, pose in pictures_and_poses():
        name = f"images/{camera:02d}/{frame:04d}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(folder / name)
        # The file has OpenGL axes: y up, z backwards.
        matrix = (pose * np.array([1.0, -1.0, -1.0, 1.0])).tolist()
        split = "test" if camera == 5 else "train"
        record = {"camera": f"{camera:02d}", "time": frame, "split": split}
        records.append({"file_path": name, "transform_matrix": matrix, **record})
    lens = {"fl_x": FOCAL, "fl_y": FOCAL, "cx": SIZE / 2, "cy": SIZE / 2, "w": SIZE, "h": SIZE, "fps": 25}
    document = {**lens, "aabb": [[-0.8, -0.8, -0.8], [0.8, 0.8, 0.9]], "frames": records}
    (folder / "transforms.json").write_text(json.dumps(document), encoding="utf-8")

    settings = dataclasses.replace(tv.PRESETS["ultrafast"], key_iterations=steps, inter_iterations=steps)
    for frame in tv.encode(tv.open_capture(folder), settings, folder / "own.tvvc", overwrite=True):
        print(f"frame {frame.index}: {frame.type}, {frame.bytes} bytes, {frame.psnr:.1f} dB on training rays")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("own_capture"))
    parser.add_argument("--steps", type=int, default=150, help="optimisation steps of each frame")
    arguments = parser.parse_args()
    main(arguments.folder, arguments.steps)
