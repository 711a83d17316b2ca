"""``tvvc bench``: rate-distortion points of several configurations on one capture.

Each point is kept as a JSON file, and each encoded file is kept beside it, so that a stopped run can be resumed. A
point is reused only if the capture, the frames, the size and every setting are the same.
"""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.bitstream import StreamWriter
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.headers import header_of, layout_of_header
from taichi_vvc.config import EncoderConfig, layout_of
from taichi_vvc.decode import open as open_stream
from taichi_vvc.encode import encode
from taichi_vvc.encoder.settle import settle_background
from taichi_vvc.errors import ConfigError, DataError
from taichi_vvc.field.grids import Field
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.measure import baselines, curves
from taichi_vvc.measure.baseline_fits import independent_frames, transformed_frames
from taichi_vvc.measure.evaluate import Figures, means
from taichi_vvc.measure.evaluate import compare as compare_picture
from taichi_vvc.media.pictures import composite, to_bytes
from taichi_vvc.media.video import atomic, write_png
from taichi_vvc.runtime import start
from taichi_vvc.types import FieldLayout
from taichi_vvc.versions import version_of, versions

DEFAULT_CONFIGS = ("full", "paper", "posthoc")


@dataclass(frozen=True)
class Outcome:
    """The decoded frames of one point of a configuration, and its costs.

    Attributes:
        fields: the decoded frames, in order.
        sizes: byte counts whose sum is everything that is sent; complete once ``fields`` is exhausted.
        seconds: times of fitting, likewise.
    """

    fields: Iterator[Field]
    sizes: list[int]
    seconds: list[float]


@dataclass(frozen=True)
class Configuration:
    """One rate-distortion curve.

    Attributes:
        text: a description for the table.
        unit: the parameter in which its points differ.
        values: returns the parameter's value at each point, for a number of points and the settings.
        run: makes a point; None for the baseline of plain video.
    """

    text: str
    unit: str
    values: Callable[[int, EncoderConfig], list[float]]
    run: Callable[[Bench, float], Outcome] | None


@dataclass(frozen=True)
class Bench:
    """The inputs that all points of a run share.

    Attributes:
        sequence: the capture.
        config: the settings, with the background chosen.
        folder: the folder of the results.
        workspace: the device arrays for rendering and fitting.
    """

    sequence: MultiViewSequence
    config: EncoderConfig
    folder: Path
    workspace: Workspace

    def key(self, *more: Any) -> str:
        """A hash of everything that a kept result depends on; it is reused only if this is equal."""
        s = self.sequence
        what = [str(s.path.resolve()), list(s.indices), s.downscale, list(s.bounds.lower), list(s.bounds.upper)]
        what += [s.scene.kind, s.scene.near] if s.scene.whole or s.scene.near else []
        what += [str(s.fps), [[camera.name, camera.split] for camera in s.cameras]]
        return hashlib.sha256(json.dumps([what, self.config.settings(), *more]).encode()).hexdigest()[:16]

    def layout(self, config: EncoderConfig) -> tuple[FieldLayout, int]:
        """The field's layout as a file would state it, and the size in bytes of a file without frames."""
        s = self.sequence
        layout = layout_of(config, s.bounds, [c for c in s.cameras if c.split == "train"], s.scene.whole, s.scene.near)
        header = header_of(layout, s.cameras, config, s.fps, s.first_index, s.downscale, s.frame_step)
        path = self.folder / "files" / "empty.tvvc"
        path.unlink(missing_ok=True)
        with StreamWriter.create(path, header) as writer:
            writer.finish()
        size = path.stat().st_size
        path.unlink()
        return layout_of_header(header), size


def _geometric(first: float, last: float) -> Callable[[int, EncoderConfig], list[float]]:
    return lambda n, _config: [float(f"{v:.3g}") for v in np.geomspace(first, last, n)]


def _lambdas(lowest: float, highest: float) -> Callable[[int, EncoderConfig], list[float]]:
    """Lambdas at even ratios, from ``lowest`` to ``highest`` times the preset's."""
    return lambda n, config: [float(f"{config.lambda_rate * f:.3g}") for f in np.geomspace(lowest, highest, n)]


def _qualities(points: int, _config: EncoderConfig) -> list[float]:
    return [float(f"{100 - 50 * f:.4g}") for f in np.geomspace(0.004, 0.1, points)]


def _encoded(bench: Bench, name: str, config: EncoderConfig) -> tuple[Path, float]:
    """The .tvvc file of an encode, made now or in an earlier run, and the seconds that it took."""
    stem = f"{name}-{bench.key(config.settings())}"
    path, note = (bench.folder / "files" / f"{stem}{ending}" for ending in (".tvvc", ".json"))
    if not (path.exists() and note.exists()):
        began = time.monotonic()
        with atomic(path) as temporary:
            for _ in encode(bench.sequence, config, temporary, overwrite=True):
                pass
        _write_json(note, {"seconds": time.monotonic() - began, "settings": config.settings()})
    return path, float(json.loads(note.read_text(encoding="utf-8"))["seconds"])


def _file(
    name: str,
    change: Callable[[EncoderConfig, float], EncoderConfig],
    count: Callable[[Path], int] = lambda path: path.stat().st_size,
) -> Callable[[Bench, float], Outcome]:
    """The ``run`` of a configuration that is a .tvvc file; ``count`` returns the number of bytes to report for it."""

    def run(bench: Bench, value: float) -> Outcome:
        path, seconds = _encoded(bench, name, change(bench.config, value))

        def fields() -> Iterator[Field]:
            with open_stream(path) as stream:
                yield from stream.frames()

        return Outcome(fields(), [count(path)], [seconds])

    return run


def _from_fields(bench: Bench, header: int, frames: Iterator[tuple[Field, int]]) -> Outcome:
    outcome = Outcome(iter(()), [header], [])

    def fields() -> Iterator[Field]:
        began = time.monotonic()
        for field, size in frames:
            outcome.sizes.append(size)
            outcome.seconds.append(time.monotonic() - began)
            yield field
            began = time.monotonic()

    return replace(outcome, fields=fields())


def _intra(bench: Bench, value: float) -> Outcome:
    config = baselines.scaled(bench.config, value)
    layout, header = bench.layout(config)
    return _from_fields(bench, header, independent_frames(bench.workspace, layout, config, bench.sequence))


def _transformed(bench: Bench, value: float) -> Outcome:
    layout, header = bench.layout(bench.config)
    frames = transformed_frames(bench.workspace, layout, bench.config, bench.sequence, value)
    return _from_fields(bench, header, frames)


# These ranges make all curves cover about the same quality, without which they cannot be compared.
_LAPLACE_LAMBDAS = _lambdas(1 / 16, 4)
_STEPS = _geometric(0.6, 4.0)

CONFIGURATIONS: dict[str, Configuration] = {
    "full": Configuration(
        "the default: joint fit, context coder", "lambda", _lambdas(0.25, 16), _file("full", baselines.with_lambda)
    ),
    "still": Configuration(
        "the same without motion", "lambda", _lambdas(0.25, 16), _file("still", baselines.without_motion)
    ),
    "laplace": Configuration(
        "joint fit and coding by one Laplace distribution per grid and channel",
        "lambda",
        _LAPLACE_LAMBDAS,
        _file("laplace", baselines.with_laplace),
    ),
    "paper": Configuration(
        "the same, the coefficient grid fitted and counted as sent whole with every frame",
        "lambda",
        _LAPLACE_LAMBDAS,
        _file("paper", baselines.as_the_paper, baselines.bytes_with_whole_coefficients),
    ),
    "posthoc": Configuration(
        "fit without rate, rounded afterwards, context coder", "step", _STEPS, _file("posthoc", baselines.with_step)
    ),
    "dynamic": Configuration(
        "fit without rate but with the paper's L1 term on basis residuals, rounded afterwards, packed by LZMA",
        "step",
        _STEPS,
        _file("dynamic", baselines.with_sparse_residual, baselines.bytes_with_lzma),
    ),
    "dif-intra": Configuration(
        "every frame a field of its own, float32, LZMA", "grid scale", _geometric(0.35, 1.0), _intra
    ),
    "rerf-like": Configuration(
        "fit without rate, residuals by 3-D DCT and a quality-scaled table", "quality", _qualities, _transformed
    ),
    "simulcast": Configuration(
        "the training cameras as HEVC; no free viewpoint",
        "CRF",
        lambda n, _config: [float(round(v)) for v in np.linspace(18, 42, n)],
        None,
    ),
}


def run_bench(
    sequence: MultiViewSequence,
    config: EncoderConfig,
    folder: str | Path,
    names: Sequence[str] = DEFAULT_CONFIGS,
    points: int = 4,
    *,
    backend: str = "auto",
    progress: Callable[[int, int, str], None] | None = None,
) -> dict[str, Any]:
    """Measures configurations on a capture and writes points, a table, a plot and crops into ``folder``.

    Args:
        sequence: the capture, with its selected frames and its size.
        config: the settings that the configurations start from.
        folder: created if missing; results of an earlier run with the same settings are reused.
        names: keys of :data:`CONFIGURATIONS`.
        points: number of points per curve, at least 4.
        backend: see :func:`taichi_vvc.runtime.start`.
        progress: called with the points done, those in all, and a line about the last one.

    Returns:
        The content of ``results.json``: ``points`` by configuration, and the conditions of the measurement.

    Raises:
        ConfigError: unknown names, too few points, or a missing package (bjontegaard, matplotlib, libx265).
        DataError: the capture cannot be used.
    """
    unknown = [name for name in names if name not in CONFIGURATIONS]
    if unknown or not names:
        raise ConfigError(f"expected configurations of {', '.join(CONFIGURATIONS)}, found {', '.join(unknown) or '-'}")
    if points < curves.ENOUGH_POINTS:
        raise ConfigError(f"expected {curves.ENOUGH_POINTS} or more points per curve, found {points}")
    curves.require("bjontegaard", "matplotlib")
    if not len(sequence):
        raise DataError(f"{sequence.path}: expected at least one frame, found none; check --frames")
    folder = Path(folder)
    for part in ("points", "files", "pictures"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    runtime = start(backend)
    bench = Bench(sequence, settle_background(config, sequence), folder, Workspace(runtime))
    found: dict[str, list[dict[str, Any]]] = {}
    total = len(set(names)) * points
    for name in dict.fromkeys(names):
        found[name] = []
        for number, value in enumerate(CONFIGURATIONS[name].values(points, bench.config)):
            point = _point(bench, name, number, value)
            found[name].append(point)
            if progress is not None:
                quality = "-" if point["psnr"] is None else f"{point['psnr']:.2f} dB"
                progress(
                    sum(map(len, found.values())),
                    total,
                    f"{name}  {point['setting']}  {point['bytes_per_frame'] / 1000:.2f} kB/frame  {quality}",
                )
    results = {
        "capture": sequence.path.name,
        "frames": [sequence.indices.start, sequence.indices.stop],
        "downscale": sequence.downscale,
        "preset": config.preset,
        "settings": bench.config.settings(),
        "date": date.today().isoformat(),
        "machine": {"system": platform.platform(), "backend": runtime.backend},
        "versions": {**versions(), **{name: version_of(name) for name in ("bjontegaard", "av")}},
        "points": found,
    }
    _write_json(folder / "results.json", results)
    write_summary(bench, results)
    return results


def _point(bench: Bench, name: str, number: int, value: float) -> dict[str, Any]:
    """One point, measured now or in an earlier run."""
    configuration = CONFIGURATIONS[name]
    path = bench.folder / "points" / f"{name}-{value:g}.json"
    key = bench.key(name, value)
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept.get("key") == key:
            return kept
    point: dict[str, Any] = {
        "key": key,
        "config": name,
        "setting": f"{configuration.unit} {value:g}",
        "frames": len(bench.sequence),
        "free_viewpoint": configuration.run is not None,
    }
    if configuration.run is None:
        point |= _simulcast(bench, round(value))
    else:
        outcome = configuration.run(bench, value)
        point["picture"] = f"pictures/{name}-{value:g}.png"
        point |= _measure(bench, outcome.fields, bench.folder / point["picture"])
        point |= {"bytes": sum(outcome.sizes), "seconds": sum(outcome.seconds)}
    point["bytes_per_frame"] = point["bytes"] / point["frames"]
    _write_json(path, point)
    return point


def _measure(bench: Bench, fields: Iterable[Field], picture: Path) -> dict[str, Any]:
    """Figures over the held-out views, else over the training views, and the PSNR of the training views."""
    background = bench.config.backdrop
    figures: dict[str, list[Figures]] = {"test": [], "train": []}
    for number, field in enumerate(fields):
        views = sorted(bench.sequence.frame(number).views, key=lambda v: v.camera.split != "test")
        for i, view in enumerate(views):
            colour = render(field, view.camera, background, workspace=bench.workspace).colour
            if number == i == 0:
                write_png(picture, colour)
            figures[view.camera.split].append(compare_picture(view, colour, background))
    return _figures(figures)


def _figures(figures: dict[str, list[Figures]]) -> dict[str, Any]:
    split = "test" if figures["test"] else "train"
    return {"split": split, **means(figures[split]), "psnr_train": means(figures["train"])["psnr"]}


def _simulcast(bench: Bench, crf: int) -> dict[str, Any]:
    """The training cameras' pictures as one HEVC stream each."""
    background, began = bench.config.backdrop, time.monotonic()
    frames = [bench.sequence.frame(n, "train").views for n in range(len(bench.sequence))]
    size, found = 0, []
    for row in zip(*frames, strict=True):
        sent = [to_bytes(composite(view.image, background)) for view in row]
        coded, pictures = baselines.hevc(sent, bench.sequence.fps, crf)
        size += coded
        shown = [(p / np.float32(255)).astype(np.float32) for p in pictures]
        found += [compare_picture(v, p, background) for v, p in zip(row, shown, strict=True)]
    return {"bytes": size, "seconds": time.monotonic() - began, **_figures({"test": [], "train": found})}


def write_summary(bench: Bench, results: dict[str, Any]) -> None:
    """Writes table, plot and crops from the results and their pictures."""
    points, folder = results["points"], bench.folder
    first, last = results["frames"]
    title = (
        f"{results['capture']}, frames {first}:{last}, downscale {results['downscale']}, preset {results['preset']}, "
        f"{results['machine']['backend']}, {results['date']}"
    )
    lines = [f"# {title}", "", curves.points_table(points), "", curves.delta_table(points), ""]
    (folder / "table.md").write_text("\n".join(lines), encoding="utf-8")
    for ending in ("svg", "png"):
        curves.plot(points, folder / f"curves.{ending}", title)
    chosen = curves.equal_rate(points)
    if not chosen:
        return
    from PIL import Image

    view = min(bench.sequence.frame(0).views, key=lambda v: v.camera.split != "test")
    pictures = {f"{view.camera.name}, truth": composite(view.image, bench.config.backdrop)}
    for name, point in chosen.items():
        with Image.open(folder / point["picture"]) as image:
            label = f"{name}, {point['bytes_per_frame'] / 1000:.1f} kB/frame"
            pictures[label] = np.asarray(image.convert("RGB")) / np.float32(255)
    curves.crops(pictures, curves.crop_around(view.image[..., 3] > 0), folder / "crops.png")


def _write_json(path: Path, value: Any) -> None:
    with atomic(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
