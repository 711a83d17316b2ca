"""Cut a capture to some cameras and frames at a smaller size, e.g. for a test or a bug report.

python benchmarks/cut_capture.py CAPTURE OUT --cameras cam00,cam05 --frames 0:4 --downscale 2
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from taichi_vvc import open_capture


def cut(capture: Path, out: Path, cameras: list[str] | None, frames: slice | None, downscale: int) -> int:
    """Write the cut capture as transforms.json and PNGs; returns its size in bytes."""
    sequence = open_capture(capture, frames=frames, downscale=downscale)
    document = {
        "fps": float(sequence.fps),
        "aabb": [list(sequence.bounds.lower), list(sequence.bounds.upper)],
        "frames": [],
    }
    size = 0
    for number, frame in enumerate(sequence):
        for view in frame.views:
            camera = view.camera
            if cameras and camera.name not in cameras:
                continue
            name = f"images/{camera.name}/{number:04d}.png"
            pose = np.eye(4)
            pose[:3, :3] = camera.rotation * np.array([1.0, -1.0, -1.0])
            pose[:3, 3] = camera.position
            record = {"file_path": name, "camera": camera.name, "time": number, "split": camera.split}
            lens = {key: round(getattr(camera, key), 8) for key in ("cx", "cy", "k1", "k2", "p1", "p2")}
            record |= {"w": camera.width, "h": camera.height, "fl_x": round(camera.fx, 8), "fl_y": round(camera.fy, 8)}
            record |= lens | {"transform_matrix": np.round(pose, 9).tolist()}
            document["frames"].append(record)
            file = out / name
            file.parent.mkdir(parents=True, exist_ok=True)
            image = view.image if sequence.has_alpha else view.image[..., :3]
            Image.fromarray(np.ascontiguousarray(image)).save(file, optimize=True)
            size += file.stat().st_size
    text = json.dumps(document, separators=(",", ":")).replace('{"file_path"', '\n{"file_path"')
    (out / "transforms.json").write_text(text + "\n", encoding="utf-8")
    return size + len(text)


def main() -> None:
    """Read the arguments and cut."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--cameras", help="names, separated by commas; default all")
    parser.add_argument("--frames", help="A:B, default all")
    parser.add_argument("--downscale", type=int, default=1)
    options = parser.parse_args()
    frames = slice(*(int(part) if part else None for part in options.frames.split(":"))) if options.frames else None
    cameras = options.cameras.split(",") if options.cameras else None
    size = cut(options.capture, options.out, cameras, frames, options.downscale)
    print(f"{options.out}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
