"""Small charts as SVG text, for the player and for reports, and sheets of pictures beside each other.

The SVG text needs no scripts, no fonts and no files beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from PIL import Image, ImageDraw

from taichi_vvc.media.pictures import to_bytes

COLOURS = ("#3b6ea8", "#e08e2b", "#5a9e57", "#b5524f", "#7d66ab", "#8a6d5c", "#c779b4", "#7f7f7f")
_MARGIN = (44.0, 8.0, 10.0, 22.0)  # left, right, top, bottom
DIFFERENCE_GAIN = 4
_CAPTION_HEIGHT = 18  # pixels
_FINEST = 256  # bars of the timeline; longer files show the largest frame of each stretch


def timeline(sizes: Sequence[int], keys: Sequence[bool], current: int, width: int = 260, height: int = 56) -> str:
    """Bits per frame as bars for the player, key frames in another colour, a mark at frame ``current``."""
    count = len(sizes)
    bars = min(count, _FINEST)
    edges = [count * k // bars for k in range(bars + 1)]
    peak = max(sizes, default=1) or 1
    step = width / max(bars, 1)
    paths: dict[bool, list[str]] = {False: [], True: []}
    for k in range(bars):
        part = range(edges[k], edges[k + 1])
        tall = max(sizes[i] for i in part) / peak * (height - 12)
        bar = f"M{k * step:.1f},{height - tall:.1f}h{max(step - 0.4, 0.6):.1f}V{height}h-{max(step - 0.4, 0.6):.1f}z"
        paths[any(keys[i] for i in part)].append(bar)
    at = (current + 0.5) / max(count, 1) * width
    kind = "key" if keys[current] else "inter"
    return (
        f'<div class="tvvc-timeline" data-frame="{current}" style="padding:0 1em">'
        f'<svg viewBox="0 0 {width} {height}" width="100%" preserveAspectRatio="none" role="img">'
        f'<path d="{"".join(paths[False])}" fill="{COLOURS[0]}"/><path d="{"".join(paths[True])}" fill="{COLOURS[1]}"/>'
        f'<path d="M{at:.1f},0V{height}" stroke="#d22" stroke-width="1.5"/></svg>'
        f'<div style="font-size:0.75em;opacity:0.8">frame {current} ({kind}): {sizes[current] * 8 / 1000:.1f} kbit '
        f'<span style="color:{COLOURS[1]}">&#9632;</span> key <span style="color:{COLOURS[0]}">&#9632;</span> inter'
        "</div></div>"
    )


def lines(series: Mapping[str, Sequence[float | None]], title: str, width: int = 640, height: int = 200) -> str:
    """One line per series over the frame number; None leaves a gap."""
    known = [value for values in series.values() for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    pad = 0.05 * (high - low) or max(0.01 * abs(high), 1e-3)
    low, high = low - pad, high + pad
    count = max((len(values) for values in series.values()), default=1)
    left, right, top, bottom = _MARGIN
    body = [_axes(low, high, count, width, height)]
    for (name, values), colour in zip(series.items(), COLOURS, strict=False):
        points, pen = [], "M"
        for number, value in enumerate(values):
            if value is None:
                pen = "M"
                continue
            x = left + (number + 0.5) / count * (width - left - right)
            y = top + (high - value) / (high - low) * (height - top - bottom)
            points.append(f"{pen}{x:.1f},{y:.1f}h0")
            pen = "L"
        body.append(
            f'<path d="{"".join(points)}" fill="none" stroke="{colour}" stroke-width="2" stroke-linecap="round">'
            f"<title>{escape(name)}</title></path>"
        )
    return _framed(body, title, list(series), width, height)


def stacked(series: Mapping[str, Sequence[float]], title: str, width: int = 640, height: int = 220) -> str:
    """One bar per frame, made of the values of all series."""
    count = max((len(values) for values in series.values()), default=0)
    totals = [sum(values[k] for values in series.values()) for k in range(count)]
    high = max(totals, default=1) or 1
    left, right, top, bottom = _MARGIN
    step = (width - left - right) / max(count, 1)
    body = [_axes(0.0, high, count, width, height)]
    below = [0.0] * count
    for (name, values), colour in zip(series.items(), _repeated(len(series)), strict=False):
        path = []
        for k, value in enumerate(values):
            y = height - bottom - (below[k] + value) / high * (height - top - bottom)
            tall = value / high * (height - top - bottom)
            path.append(f"M{left + (k + 0.08) * step:.2f},{y:.2f}h{0.84 * step:.2f}v{tall:.2f}h-{0.84 * step:.2f}z")
            below[k] += value
        body.append(f'<path d="{"".join(path)}" fill="{colour}"><title>{escape(name)}</title></path>')
    return _framed(body, title, list(series), width, height)


def _repeated(count: int) -> list[str]:
    return [COLOURS[k % len(COLOURS)] for k in range(count)]


def _axes(low: float, high: float, count: int, width: int, height: int) -> str:
    """A few horizontal lines with their values, and frame numbers below."""
    left, right, top, bottom = _MARGIN
    raw = (high - low) / 4
    unit = 10.0 ** math.floor(math.log10(raw)) if raw > 0 else 1.0
    step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= raw)
    parts = []
    value = math.ceil(low / step) * step
    while value <= high + 1e-9 * step:
        y = top + (high - value) / (high - low) * (height - top - bottom)
        parts.append(f'<path d="M{left},{y:.1f}H{width - right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end">{value:.6g}</text>')
        value += step
    every = max(1, -(-count // 10))
    for number in range(0, count, every):
        x = left + (number + 0.5) / count * (width - left - right)
        parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="middle">{number}</text>')
    return "".join(parts)


def _framed(body: list[str], title: str, names: list[str], width: int, height: int) -> str:
    keys = " ".join(
        f'<span><b style="color:{colour}">&#9632;</b> {escape(name)}</span>'
        for name, colour in zip(names, _repeated(len(names)), strict=True)
    )
    return (
        f"<figure><figcaption>{escape(title)} {keys if len(names) > 1 else ''}</figcaption>"
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg></figure>'
    )


def side_by_side(capture: np.ndarray, decoded: np.ndarray, zoom: int = 2) -> np.ndarray:
    """Capture, decoded picture and difference beside each other, each with a caption above.

    Args:
        capture, decoded: (height, width, 3) in [0, 1], on the same background.
        zoom: integer factor by which pixels are repeated.

    Returns:
        (height * zoom + caption, 3 * width * zoom + gaps, 3) uint8. The difference is absolute, per channel, multiplied
        by :data:`DIFFERENCE_GAIN` and inverted, so that equal pixels are white.
    """
    difference = 1.0 - np.clip(np.abs(capture - decoded) * DIFFERENCE_GAIN, 0.0, 1.0)
    panels = [("capture", capture), ("decoded", decoded), (f"difference x{DIFFERENCE_GAIN} (white: none)", difference)]
    height, width = capture.shape[0] * zoom, capture.shape[1] * zoom
    gap = 4
    sheet = Image.new("RGB", (3 * width + 2 * gap, height + _CAPTION_HEIGHT), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for number, (caption, panel) in enumerate(panels):
        pixels = to_bytes(panel).repeat(zoom, 0).repeat(zoom, 1)
        sheet.paste(Image.fromarray(pixels), (number * (width + gap), _CAPTION_HEIGHT))
        draw.text((number * (width + gap) + 4, 3), caption, fill=(0, 0, 0))
    return np.asarray(sheet)
