"""Encode a capture and decode it again, from Python.

    python examples/encode_decode.py [CAPTURE] [OUT.tvvc]

Without arguments it encodes two frames of the capture that comes with the package, at its lowest effort.
"""

import sys
from pathlib import Path

import taichi_vvc as tv
from taichi_vvc.capture.packaged import capture_path
from taichi_vvc.media.metrics import psnr
from taichi_vvc.media.pictures import composite


def main(capture: Path, file: Path) -> None:
    """Encodes two frames of ``capture`` into ``file`` and compares them with what the held-out cameras saw."""
    sequence = tv.open_capture(capture, frames=slice(0, 2))
    for frame in tv.encode(sequence, tv.PRESETS["ultrafast"], file, overwrite=True):
        print(f"frame {frame.index}: {frame.type}, {frame.bytes} bytes, {frame.seconds:.1f} s")

    with tv.open(file) as stream:
        for number, field in enumerate(stream.frames()):
            for view in sequence.frame(number, split="test").views:
                image = tv.render(field, view.camera, stream.background)
                quality = psnr(composite(view.image, stream.background), image.colour)
                print(f"frame {number}, camera {view.camera.name}: {quality:.2f} dB")


if __name__ == "__main__":
    arguments = [Path(argument) for argument in sys.argv[1:3]]
    main(*(arguments + [capture_path(), Path("example.tvvc")][len(arguments) :]))
