"""How much of the pictures is left in exported meshes and splats, and what they take.

    python benchmarks/exports.py out.tvvc --triangles 5000,50000 --resolutions 64,128 --picture sheet.png

Each export is written by ``tvvc export``, read by trimesh or plyfile, and drawn by the rasteriser of the tests for
cameras of an orbit, which are none of those that colours come from. PSNR is that against what ``tvvc render`` shows of
the same cameras, on the pixels in which either shows the subject.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from measure import begin, parser, table, threads_of, write

import taichi_vvc as tv
from taichi_vvc.capture.camera_paths import camera_path
from taichi_vvc.cli import run
from taichi_vvc.media.video import write_png

sys.path[:0] = [str(Path(__file__).resolve().parent.parent / "tests")]


def main() -> None:
    """Read the arguments and measure."""
    from rasters import psnr_of_subject
    from read_exports import draw_export

    options_of = parser(__doc__, capture=False)
    options_of.add_argument("file", type=Path, help="a .tvvc file")
    options_of.add_argument("--frame", type=int, default=0)
    options_of.add_argument("--triangles", default="5000,50000", help="of meshes")
    options_of.add_argument("--resolutions", default="64,128", help="of splats")
    options_of.add_argument("--views", type=int, default=6, help="cameras of the orbit")
    options_of.add_argument("--picture", type=Path, help="what the first camera shows, and the exports beside it")
    options = options_of.parse_args()
    begin(options.backend, threads_of(options)[0])
    variants = [("mesh", ["--triangles", value]) for value in options.triangles.split(",")]
    variants += [("splats", ["--resolution", value]) for value in options.resolutions.split(",")]
    results = []
    with tv.open(options.file) as stream, tempfile.TemporaryDirectory() as folder:
        field, first = stream[options.frame], stream.cameras[0]
        bounds, size = stream.header.layout.bounds, (first.width, first.height)
        cameras = camera_path("orbit", stream.cameras, bounds, options.views, size)
        images = [tv.render(field, camera, stream.background) for camera in cameras]
        sheet = [images[0].colour]
        for kind, settings in variants:
            path = Path(folder) / ("m.glb" if kind == "mesh" else "s.ply")
            what = ["--as", kind, *settings, "--frames", str(options.frame), "--backend", options.backend]
            start = time.perf_counter()
            if run(["export", str(options.file), "-o", str(path), *what, "-y", "-q"]) != 0:
                raise SystemExit(1)
            seconds = time.perf_counter() - start
            drawn = [draw_export(path, camera) for camera in cameras]
            psnr = [
                psnr_of_subject(shown, image.colour, image.opacity, stream.background)
                for shown, image in zip(drawn, images, strict=True)
            ]
            sheet.append(drawn[0][0] + (1.0 - drawn[0][1][..., None]) * np.asarray(stream.background))
            results.append(
                {
                    "export": " ".join((kind, *settings)),
                    "bytes": path.stat().st_size,
                    "seconds": seconds,
                    "psnr": float(np.mean(psnr)),
                    "views": [round(value, 2) for value in psnr],
                }
            )
    table(list(results[0]), [list(result.values()) for result in results])
    if options.picture is not None:
        write_png(options.picture, np.concatenate(sheet, axis=1))
    write(options, results)


if __name__ == "__main__":
    main()
