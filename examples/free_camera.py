"""Render a file from a camera that circles the subject while time runs, colour and depth beside each other.

    python examples/free_camera.py FILE.tvvc OUT.mp4

``tvvc render`` does the same for colour; this shows the parts that it is made of.
"""

import sys
from pathlib import Path

import numpy as np

import taichi_vvc as tv
from taichi_vvc.capture.camera_paths import camera_path
from taichi_vvc.media.video import VideoWriter

PICTURES = 48
SIZE = (192, 192)


def main(file: Path, video: Path) -> None:
    """Writes ``video``: one turn around the subject, the frames of ``file`` repeating meanwhile."""
    with tv.open(file) as stream, VideoWriter(video, stream.fps) as writer:
        bounds = stream.header.layout.bounds
        cameras = camera_path("orbit", stream.cameras, bounds, PICTURES, SIZE)
        for number, camera in enumerate(cameras):
            image = tv.render(stream[number % len(stream)], camera, stream.background)
            distance = np.linalg.norm(camera.position - (np.array(bounds.lower) + np.array(bounds.upper)) / 2)
            nearness = np.where(image.opacity > 0.5, np.clip(1.5 - image.depth / distance, 0.0, 1.0), 0.0)
            writer.add(np.concatenate((image.colour, np.repeat(nearness[..., None], 3, axis=2)), axis=1))
    print(f"{video}: {PICTURES} pictures")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("expected: free_camera.py FILE.tvvc OUT.mp4")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
