"""Rate-distortion curves: Bjontegaard deltas, tables, plots, and crops of pictures at about equal rate.

A point is a dictionary as written by ``tvvc bench``: ``config``, ``setting``, ``bytes_per_frame``, ``psnr`` (dB),
``ssim`` and more. The extra ``bench`` installs the packages ``bjontegaard`` and ``matplotlib``.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.errors import ConfigError
from taichi_vvc.media.charts import COLOURS
from taichi_vvc.words import counted

Point = Mapping[str, Any]
Curves = Mapping[str, Sequence[Point]]

ENOUGH_POINTS = 4
ENOUGH_OVERLAP = 0.5
RATES_AGREE = 1.25  # largest factor between the rates of the two interpolations for which they agree
PSNR_AGREES = 0.5  # largest difference between their BD-PSNR, dB, for which they agree
_MARKERS = "osD^vP*X<>"


@dataclass(frozen=True)
class Delta:
    """The comparison of a curve with an anchor, over the range that both cover.

    Attributes:
        rate: BD-rate in percent by Akima interpolation; negative means fewer bytes. None where the curves share no
            range of quality, or the two interpolations disagree.
        rate_pchip: the same by PCHIP interpolation.
        psnr: BD-PSNR in dB by Akima interpolation; positive is better. None where the curves share no range of rate,
            or the two interpolations disagree.
        psnr_pchip: the same by PCHIP interpolation.
        overlap: the shared range of quality, as a share of the range that the two curves cover together.
        note: the reason for a missing or doubtful figure; "" without one.
    """

    rate: float | None
    rate_pchip: float | None
    psnr: float | None
    psnr_pchip: float | None
    overlap: float
    note: str


def require(*names: str) -> None:
    """Checks that optional packages are installed.

    Raises:
        ConfigError: one is missing; the line says how to install it.
    """
    for name in names:
        with _quiet_backend():
            try:
                import_module(name)
            except ImportError:
                raise ConfigError(
                    f"expected the package {name}, found none; install it with: pip install 'taichi_vvc[bench]'"
                ) from None


@contextlib.contextmanager
def _quiet_backend() -> Any:
    """Imports matplotlib with a backend that needs no window system; ``bjontegaard`` imports pyplot."""
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "Agg"
    try:
        yield
    finally:
        if before is None:
            del os.environ["MPLBACKEND"]
        else:
            os.environ["MPLBACKEND"] = before


def frontier(points: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    """Rates (bytes/frame) and PSNR (dB) of the Pareto-optimal points, by rising rate."""
    rates: list[float] = []
    quality: list[float] = []
    for p in sorted(points, key=lambda p: (p["bytes_per_frame"], -(p["psnr"] or -math.inf))):
        if p["psnr"] is not None and (not quality or p["psnr"] > quality[-1]):
            rates.append(float(p["bytes_per_frame"]))
            quality.append(float(p["psnr"]))
    return np.array(rates), np.array(quality)


def compare(anchor: Sequence[Point], test: Sequence[Point]) -> Delta:
    """BD-rate and BD-PSNR of ``test`` against ``anchor``.

    Interpolation needs quality to rise with rate. Points with a higher rate and no better quality than another point
    are therefore left out, with a note. Nothing is extrapolated. Where the two interpolations disagree, one of them has
    an artefact, and a note replaces the figure.

    Raises:
        ConfigError: the package ``bjontegaard`` is missing.
    """
    require("bjontegaard")
    import bjontegaard

    (ra, qa), (rt, qt) = frontier(anchor), frontier(test)
    notes = []
    for name, all_points, kept in (("anchor", anchor, ra), ("test", test, rt)):
        if len(kept) < len(all_points):
            notes.append(f"{name}: {len(all_points) - len(kept)} points left out that cost more and show no more")
        if len(kept) < ENOUGH_POINTS:
            notes.append(f"{name}: only {counted(len(kept), 'point')}")
    overlap = _overlap(qa, qt)
    if min(len(ra), len(rt)) < 2:
        return Delta(None, None, None, None, overlap, "; ".join([*notes, "too few points to compare"]))
    if overlap < ENOUGH_OVERLAP:
        notes.append(f"the curves share {100 * overlap:.0f} % of the quality that they cover")
    figures: list[float | None] = []
    for function, shared in ((bjontegaard.bd_rate, overlap), (bjontegaard.bd_psnr, _overlap(np.log(ra), np.log(rt)))):
        for method in ("akima", "pchip"):
            if shared <= 0:
                figures.append(None)
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the note says the same
                value = function(ra, qa, rt, qt, method=method, require_matching_points=False, min_overlap=0)
            figures.append(float(value) if math.isfinite(value) else None)
    rate, rate_pchip, psnr, psnr_pchip = figures
    doubt = "the interpolations disagree, since the points are too few or too flat"
    if not _agree(rate, rate_pchip, _same_rate):
        rate = rate_pchip = None
        notes.append(f"no BD-rate: {doubt}")
    if not _agree(psnr, psnr_pchip, _same_psnr):
        psnr = psnr_pchip = None
        notes.append(f"no BD-PSNR: {doubt}")
    return Delta(rate, rate_pchip, psnr, psnr_pchip, overlap, "; ".join(notes))


def _agree(akima: float | None, pchip: float | None, same: Callable[[float, float], bool]) -> bool:
    """Whether two interpolations agree by ``same``. True if neither has a figure, False if only one has."""
    if akima is None or pchip is None:
        return akima is pchip
    return same(akima, pchip)


def _same_rate(akima: float, pchip: float) -> bool:
    low, high = sorted(1 + percent / 100 for percent in (akima, pchip))
    return high <= RATES_AGREE * low


def _same_psnr(akima: float, pchip: float) -> bool:
    return abs(akima - pchip) <= PSNR_AGREES


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """The length of the intersection of two ranges, divided by that of the range that encloses both."""
    if not (a.size and b.size):
        return 0.0
    covered = max(a.max(), b.max()) - min(a.min(), b.min())
    common = min(a.max(), b.max()) - max(a.min(), b.min())
    return float(max(common, 0.0) / covered) if covered > 0 else 0.0


def points_table(curves: Curves) -> str:
    """All points as a Markdown table."""
    rows = [
        "| configuration | setting | kB/frame | PSNR, held out | SSIM | PSNR, training | seconds | free viewpoint |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, points in curves.items():
        for p in sorted(points, key=lambda p: p["bytes_per_frame"]):
            held_out = "-" if p["split"] == "train" else _number(p["psnr"], 2, " dB")
            free = "yes" if p["free_viewpoint"] else "no: the sent cameras only"
            rows.append(
                f"| {name} | {p['setting']} | {p['bytes_per_frame'] / 1000:.2f} | {held_out} | "
                f"{_number(p['ssim'], 4)} | {_number(p['psnr_train'], 2, ' dB')} | {p['seconds']:.0f} | {free} |"
            )
    return "\n".join(rows)


def delta_table(curves: Curves) -> str:
    """BD figures as a Markdown table: each curve against every later one that shows the same pictures."""
    rows = [
        "| test | anchor | BD-rate (Akima) | BD-rate (PCHIP) | BD-PSNR (Akima) | BD-PSNR (PCHIP) | overlap | note |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    names = list(curves)
    for number, name in enumerate(names):
        for anchor in names[number + 1 :]:
            if _comparable(curves[name], curves[anchor]):
                rows.append(f"| {name} | {anchor} | {delta_cells(compare(curves[anchor], curves[name]))} |")
    return "\n".join(rows)


def delta_cells(d: Delta) -> str:
    """The figures of a comparison as cells of a Markdown row."""
    return (
        f"{_number(d.rate, 1, ' %')} | {_number(d.rate_pchip, 1, ' %')} | {_number(d.psnr, 2, ' dB')} | "
        f"{_number(d.psnr_pchip, 2, ' dB')} | {100 * d.overlap:.0f} % | {d.note}"
    )


def _comparable(a: Sequence[Point], b: Sequence[Point]) -> bool:
    """Whether two curves were measured on the same kind of pictures."""
    return {p["split"] for p in a} == {p["split"] for p in b}


def _number(value: float | None, digits: int, unit: str = "") -> str:
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def plot(curves: Curves, path: str | Path, title: str) -> None:
    """Plots PSNR and SSIM over rate for all curves, as PNG or SVG by the suffix of ``path``.

    Curves that were not measured on held-out views are dashed.

    Raises:
        ConfigError: the package ``matplotlib`` is missing.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.8), layout="constrained")
    axes = figure.subplots(1, 2)
    for number, (name, points) in enumerate(curves.items()):
        ordered = sorted(points, key=lambda p: p["bytes_per_frame"])
        elsewhere = any(p["split"] != "test" for p in points)
        for axis, key in zip(axes, ("psnr", "ssim"), strict=True):
            known = [p for p in ordered if p[key] is not None]
            axis.plot(
                [p["bytes_per_frame"] / 1000 for p in known],
                [p[key] for p in known],
                marker=_MARKERS[number % len(_MARKERS)],
                linestyle="--" if elsewhere else "-",
                color=COLOURS[number % len(COLOURS)],
                label=f"{name} ({points[0]['split']} views)" if elsewhere else name,
            )
    for axis, label in zip(axes, ("PSNR [dB]", "SSIM"), strict=True):
        axis.set(xscale="log", xlabel="kB/frame, every byte counted", ylabel=label)
        axis.grid(True, which="both", alpha=0.3)
    axes[0].legend(fontsize=8)
    figure.suptitle(title, fontsize=10)
    figure.savefig(path, dpi=110)


def equal_rate(curves: Curves) -> dict[str, Point]:
    """One point of each curve that allows free viewpoints, chosen so that their rates differ as little as possible."""
    free = {name: points for name, points in curves.items() if points and points[0]["free_viewpoint"]}

    def nearest(target: float) -> dict[str, Point]:
        return {name: min(points, key=lambda p: distance(p, target)) for name, points in free.items()}

    def distance(point: Point, target: float) -> float:
        return abs(math.log(point["bytes_per_frame"] / target))

    targets = [float(p["bytes_per_frame"]) for points in free.values() for p in points]
    best = min(targets, key=lambda t: sum(distance(p, t) for p in nearest(t).values()), default=0.0)
    return nearest(best)


def crop_around(alpha: np.ndarray) -> tuple[slice, slice]:
    """(rows, columns) of the upper half of a mask's (H, W) subject, about square; the whole picture if it is empty."""
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    if not rows.size:
        return slice(None), slice(None)
    side = max((rows[-1] - rows[0] + 2) // 2, 8)
    middle = (columns[0] + columns[-1]) // 2
    left = max(0, min(middle - side // 2, alpha.shape[1] - side))
    return slice(rows[0], rows[0] + side), slice(left, left + side)


def crops(pictures: Mapping[str, np.ndarray], area: tuple[slice, slice], path: str | Path) -> None:
    """One crop of several (H, W, 3) pictures side by side, each under its label.

    Raises:
        ConfigError: the package ``matplotlib`` is missing.
    """
    require("matplotlib")
    from matplotlib.figure import Figure

    columns = min(len(pictures), 4)
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(2.6 * columns, 2.9 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).reshape(-1)
    for axis in axes:
        axis.axis("off")
    for axis, (label, picture) in zip(axes, pictures.items(), strict=False):
        axis.imshow(np.clip(picture[area], 0, 1) if picture.dtype != np.uint8 else picture[area])
        axis.set_title(label, fontsize=8)
    figure.savefig(path, dpi=110)
