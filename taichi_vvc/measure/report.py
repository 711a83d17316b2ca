"""The report of ``tvvc eval --report``: figures, charts and pictures in one self-contained HTML file."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from taichi_vvc._version import __version__
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.decode import open as open_stream
from taichi_vvc.errors import DataError
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.measure.evaluate import Figures, coded_part, means, views_with_looks
from taichi_vvc.media import charts
from taichi_vvc.media.charts import side_by_side
from taichi_vvc.media.colour_maps import shown
from taichi_vvc.media.pictures import composite
from taichi_vvc.media.video import atomic, one_line
from taichi_vvc.runtime import start
from taichi_vvc.types import FREQUENCY_UNITS, View

_SMALL = 320  # pixels; narrower pictures are shown at twice their size
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222;
  background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: 0.15rem 0.8rem; text-align: right; border-bottom: 1px solid #ddd }
th:first-child, td:first-child { text-align: left }
figure { margin: 0.5rem 0; min-width: 0 } figcaption span { margin-left: 0.8rem;
  white-space: nowrap }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem }
svg { width: 100%; height: auto; background: #fafafa } svg text { font-size: 11px; fill: #555 }
img { max-width: 100%; image-rendering: pixelated } .tables { display: flex; flex-wrap: wrap; align-items: start;
  gap: 2rem }
"""


class Report:
    """Collects the figures of every picture of an evaluation, and writes the page."""

    def __init__(self, file: str | Path, capture: str | Path, format: str | None = None) -> None:
        """Prepares a report about a .tvvc ``file`` and its ``capture``; ``format``: the capture's layout, or None."""
        self._file, self._capture, self._format = Path(file), Path(capture), format
        self._pictures: list[tuple[int, str, str, Figures]] = []

    def add(self, frame: int, view: View, figures: Figures) -> None:
        """Records one picture's figures; for the argument ``observe`` of ``evaluate``."""
        self._pictures.append((frame, view.camera.name, view.camera.split, figures))

    def write(self, path: str | Path, figures: dict[str, Any]) -> None:
        """Writes the page.

        The worst and the median picture are decoded and rendered again, since keeping all pictures during the
        evaluation would take the memory of the whole capture.

        Args:
            path: the HTML file.
            figures: what the evaluation returned.

        Raises:
            DataError: no picture was added, or the file cannot be written.
            StreamError: the .tvvc file cannot be decoded.
        """
        if not self._pictures:
            raise DataError("expected figures of at least one picture for a report, found none")
        with StreamReader(self._file) as reader:
            parts = [reader.components(number) for number in range(len(reader.frames))]
            settings = _settings(reader)
        # Without masks there are no figures of the foreground.
        quality = [row for row in _QUALITY if row[1] != "psnr_foreground" or figures[row[1]] is not None]
        name, frames = escape(self._file.name), _frames(figures["per_frame"], quality)
        page = "\n".join(
            (
                f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>',
                '<meta name="viewport" content="width=device-width, initial-scale=1">',
                f"<style>{_STYLE}</style></head><body>",
                f"<h1>{name} against {escape(self._capture.resolve().name)}</h1>",
                _summary(figures, quality),
                '<h2>Over time</h2><div class="charts">',
                *_charts(figures["per_frame"], parts, quality),
                "</div>",
                f"<h2>Pictures</h2>{self._sheets(figures['background'])}",
                f'<h2>Cameras and frames</h2><div class="tables">{self._cameras(quality)}{frames}</div>',
                f"<h2>Settings of the file</h2>{settings}",
                f"<p>Written by taichi_vvc {escape(__version__)}.</p></body></html>\n",
            )
        )
        with atomic(path) as temporary, one_line(path):
            temporary.write_text(page, encoding="utf-8")

    def _cameras(self, quality: list[_Measure]) -> str:
        rows = []
        for name, split in dict.fromkeys((camera, split) for _, camera, split, _ in self._pictures):
            own = means([figures for _, camera, _, figures in self._pictures if camera == name])
            kind = "held out" if split == "test" else "fitted"
            rows.append([name, kind, *_cells(own, quality)])
        return _table(["camera", "", *_heads(quality)], rows)

    def _sheets(self, background: Sequence[float]) -> str:
        ordered = sorted(
            (picture for picture in self._pictures if math.isfinite(picture[3].psnr)), key=lambda p: p[3].psnr
        )
        if not ordered:
            return "<p>All pictures agree exactly.</p>"
        chosen = [("Worst", ordered[0]), ("Median", ordered[len(ordered) // 2])]
        parts = []
        with open_stream(self._file) as stream:
            sequence = coded_part(stream, self._capture, self._format)
            workspace = Workspace(start())
            for title, (frame, camera, _, figures) in chosen:
                view = next(v for v in views_with_looks(stream, sequence, frame) if v.camera.name == camera)
                image = render(stream[frame], view.camera, stream.background, workspace=workspace)
                decoded = shown(image.colour, image.opacity, stream.background, view.look)
                truth = composite(view.image, background)
                sheet = side_by_side(truth, decoded, 2 if truth.shape[1] < _SMALL else 1)
                parts.append(
                    f"<figure><figcaption>{title} by PSNR: frame {frame}, camera {escape(camera)}, "
                    f"{_number(figures.psnr, 2)} dB, SSIM {_number(figures.ssim, 4)}</figcaption>"
                    f'<img alt="capture, decoded, difference" src="{_embedded(sheet)}"></figure>'
                )
        return "\n".join(parts)


_Measure = tuple[str, str, int]
"""Head of a column, key of the figures, digits."""
_QUALITY: tuple[_Measure, ...] = (
    ("PSNR, dB", "psnr", 2),
    ("foreground, dB", "psnr_foreground", 2),
    ("SSIM", "ssim", 4),
)

_STEADY = {
    "flicker": "flicker, levels",
    "flicker_capture": "of the capture",
    "flicker_key": "at key frames",
    "flicker_key_capture": "of the capture",
}
"""Keys of the figures about still pixels, and the heads of their columns."""


def _heads(quality: list[_Measure]) -> list[str]:
    return [head for head, _, _ in quality]


def _cells(row: dict[str, Any], quality: list[_Measure]) -> list[str]:
    return [_number(row[key], digits) for _, key, digits in quality]


def _charts(per_frame: list[dict[str, Any]], parts: list[dict[str, int]], quality: list[_Measure]) -> list[str]:
    names = {"psnr": "all pixels", "psnr_foreground": "foreground"}
    kinds = {"file": "flicker", "capture": "flicker_capture"}
    still = {name: [row[key] for row in per_frame] for name, key in kinds.items()}
    drawn = {names[key]: [row[key] for row in per_frame] for _, key, _ in quality if key in names}
    return [
        charts.lines(drawn, "PSNR per frame, dB"),
        charts.lines({"SSIM": [row["ssim"] for row in per_frame]}, "SSIM per frame"),
        *([] if all(row["flicker"] is None for row in per_frame) else [charts.lines(still, "Change of still pixels")]),
        charts.stacked({name: [part[name] for part in parts] for name in parts[0]}, "Bytes per frame by component"),
    ]


def _summary(figures: dict[str, Any], quality: list[_Measure]) -> str:
    cameras = {"test": "held out", "train": "fitted", "all": "all"}[figures["split"]]
    return _table(
        ["cameras", *_heads(quality), *_STEADY.values(), "frames", "bytes", "kB/frame", "kbit/s"],
        [
            [
                cameras,
                *_cells(figures, quality),
                *(_number(figures[key], 2) for key in _STEADY),
                str(figures["frames"]),
                str(figures["bytes"]),
                f"{figures['bytes_per_frame'] / 1000:.2f}",
                f"{figures['bitrate_kbps']:.0f}",
            ]
        ],
    )


def _frames(per_frame: list[dict[str, Any]], quality: list[_Measure]) -> str:
    rows = [[str(row["frame"]), row["type"], str(row["bytes"]), *_cells(row, quality)] for row in per_frame]
    return _table(["frame", "type", "bytes", *_heads(quality)], rows)


def _settings(reader: StreamReader) -> str:
    header, layout = reader.header, reader.header.layout
    rows = [
        ["written by", header.library],
        ["frame rate", f"{float(header.fps):g} per second"],
        ["part of the capture", f"from frame {header.first_frame}, reduced {header.downscale} times"],
        ["background", ", ".join(map(str, header.background))],
        ["coefficients", "x".join(map(str, layout.coefficients))],
    ]
    for number, level in enumerate(layout.levels, 1):
        nodes = "x".join(map(str, level.resolution))
        rows.append(
            [
                f"level {number}",
                f"{nodes} nodes, {level.channels} channels, frequency {level.frequency / FREQUENCY_UNITS:g}",
            ]
        )
    for name, value in json.loads(header.settings).items():
        rows.append([name, json.dumps(value) if not isinstance(value, str) else value])
    return _table(["setting", "value"], rows)


def _table(head: list[str], rows: list[list[str]]) -> str:
    def line(tag: str, cells: list[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table><thead>{line('th', head)}</thead><tbody>{''.join(line('td', row) for row in rows)}</tbody></table>"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def _embedded(pixels: np.ndarray) -> str:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode()}"
