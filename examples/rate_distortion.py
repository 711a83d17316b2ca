"""A rate-distortion curve: the same frame at three values of lambda, as a table.

    python examples/rate_distortion.py [CAPTURE] [--steps N]

Without a capture it encodes one frame of the one that comes with the package. More steps give better curves.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path

import numpy as np

import taichi_vvc as tv
from taichi_vvc.capture.packaged import capture_path
from taichi_vvc.media.metrics import composite, psnr

LAMBDAS = (2e-3, 5e-4, 1e-4)


def main(capture: Path, steps: int, frame: int = 0) -> None:
    """Prints bytes and PSNR, on the held-out views or else on all, for each lambda."""
    sequence = tv.open_capture(capture, frames=slice(frame, frame + 1))
    settings = dataclasses.replace(tv.PRESETS["ultrafast"], key_iterations=steps)
    views = sequence.frame(0, split="test").views or sequence.frame(0).views
    print("lambda    kB     dB")
    with tempfile.TemporaryDirectory() as folder:
        for number, weight in enumerate(LAMBDAS):
            file = Path(folder) / f"{number}.tvvc"
            list(tv.encode(sequence, dataclasses.replace(settings, lambda_rate=weight), file))
            with tv.open(file) as stream:
                field = stream[0]
                pictures = [tv.render(field, view.camera, stream.background) for view in views]
                behind = stream.background
            pairs = zip(views, pictures, strict=True)
            quality = np.mean([psnr(composite(view.image, behind), picture.colour) for view, picture in pairs])
            print(f"{weight:<6g} {file.stat().st_size / 1000:5.1f}  {quality:5.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture", type=Path, nargs="?", default=capture_path())
    parser.add_argument("--steps", type=int, default=300, help="optimisation steps of each fit")
    arguments = parser.parse_args()
    main(arguments.capture, arguments.steps)
