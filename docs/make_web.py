"""Writes the constants of the decoder in JavaScript from those of the package: ``python docs/make_web.py``.

Weights, tables, limits and the syntax of each format version are stated once, in Python. A test fails while a file in
``taichi_vvc/web/`` differs from what this makes (``tests/web/test_web_constants.py``). The version in ``package.json``
is the package's.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT)]

from taichi_vvc import _version  # noqa: E402
from taichi_vvc.bitstream import bits, chunks, colours, elements, rigs, sound, syntax, versions  # noqa: E402
from taichi_vvc.bitstream.dictionary import DICTIONARY  # noqa: E402
from taichi_vvc.bitstream.settings import MAX_DEPTH  # noqa: E402
from taichi_vvc.coding import (  # noqa: E402
    context_weights,
    contexts,
    displacements,
    integer_arrays,
    known,
    live_set,
    motion,
    motion_contexts,
    moved_masks,
    occupancy_masks,
    tables,
)
from taichi_vvc.types import FREQUENCY_UNITS  # noqa: E402

WEB = ROOT / "taichi_vvc" / "web"
DECODER = WEB / "decoder"
MADE = "// Made by docs/make_web.py from the package's constants; do not change it here.\n"


def camel(name: str) -> str:
    """A name of Python's as JavaScript writes it."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), name)


def code(value: Any) -> str:
    """A value as JavaScript."""
    return re.sub(r'"([A-Za-z]\w*)": ', r"\1: ", json.dumps(value))


def _constants() -> dict[str, tuple[Any, str]]:
    """Name, value and description of the constants, as JavaScript has them."""
    return {
        "FORMAT_VERSION": (chunks.FORMAT_VERSION, "the newest format version"),
        "PREAMBLE_BYTES": (chunks.PREAMBLE_BYTES, "bytes before the first chunk"),
        "FRAMING": (chunks.FRAMING, "bytes of a chunk besides its payload"),
        "FIRST_WITH_SHARED_MLPS": (versions.FIRST_WITH_SHARED_MLPS, "format version"),
        "FIRST_WITH_MOVING_CAMERAS": (versions.FIRST_WITH_MOVING_CAMERAS, "format version"),
        "FIRST_WITH_SHELL": (versions.FIRST_WITH_SHELL, "format version, with colour maps too"),
        "FIRST_WITH_FULL_INDEX": (versions.FIRST_WITH_FULL_INDEX, "format version"),
        "FIRST_WITH_SOUND": (versions.FIRST_WITH_SOUND, "format version, with chunks that are passed over"),
        "FIRST_WITH_RIGS": (versions.FIRST_WITH_RIGS, "format version, with moved masks too"),
        "SOUND_RATE": (sound.RATE, "samples per second"),
        "SOUND_PACKET": (sound.PACKET, "samples of a packet"),
        "SOUND_PREROLL": (sound.PREROLL, "samples before what a decoder plays is right"),
        "OPUS_FRAMES": (sound._FRAMES, "samples of a frame in a packet, by the upper five bits of its first byte"),
        "MAX_HEADER": (syntax.MAX_HEADER, "bytes of the inflated header"),
        "MAX_CHANNELS": (syntax.MAX_CHANNELS, "of all levels together"),
        "MAX_SYMBOLS": (syntax.MAX_SYMBOLS, "of a frame"),
        "MAX_CELLS": (syntax.MAX_CELLS, "of a mask"),
        "MAX_CAMERA_NUMBER": (syntax.MAX_CAMERA_NUMBER, "magnitude of the integers of poses and lenses"),
        "MOST_CELLS_PER_STEP": (syntax.MOST_CELLS_PER_STEP, "cells that a step of the march is long at most"),
        "MAX_DEPTH": (MAX_DEPTH, "levels of lists and objects in the settings"),
        "POSITION_BIAS": (syntax.POSITION_BIAS, "positionBits less this are digits behind the point"),
        "LENS_BITS": (syntax.LENS_BITS, "digits behind the point of fx, fy, cx, cy, k1, k2, p1, p2"),
        "RUN_WIDTH": (bits.WIDTH, "bits that state the width of a run"),
        "RIG_WIDTH": (rigs.WIDTH, "bits that state the width of a column of the header"),
        "RIG_MAX_WIDTH": (rigs.MAX_WIDTH, "bits of its numbers at most"),
        "DICTIONARY": (_parts(DICTIONARY.decode()), "text that the header is compressed with, in parts"),
        "COLOUR_UNITS": (colours.COLOUR_UNITS, "gains less one and offsets are in this part of one"),
        "GAINS": (colours.GAINS, "least and largest gain less one, in units"),
        "OFFSETS": (colours.OFFSETS, "least and largest offset, in units"),
        "FREQUENCY_UNITS": (FREQUENCY_UNITS, "frequencies are in this part of one"),
        "PRECISION": (tables.PRECISION, "bits of a frequency"),
        "LARGEST": (tables.LARGEST, "magnitudes up to this have a symbol of their own"),
        "LARGEST_MAGNITUDE": (tables.LARGEST_MAGNITUDE, "no symbol is larger"),
        "PROBABILITIES": (tables.PROBABILITIES.tolist(), "per probability index, out of 2^24"),
        "EVEN": (tables.EVEN, "the probability index of one half"),
        "SIDE_TABLE": (tables.SIDE_TABLE.tolist(), "frequencies of the magnitudes of side integers"),
        "SPARSE_TABLE": (tables.SPARSE_TABLE.tolist(), "the same of those that are mostly zero"),
        "ORDER": (contexts.ORDER, "parity classes in coding order"),
        "KINDS": (contexts.KINDS, "kind of each pass of a grid"),
        "CAP": (contexts.CAP, "magnitudes count up to this in a context"),
        "TOTAL_CAP": (contexts.TOTAL_CAP, "sums over a node's channels count up to this"),
        "THRESHOLDS": (contexts.THRESHOLDS, "of activities, between tables"),
        "SIGN_THRESHOLDS": (contexts.SIGN_THRESHOLDS, "of predictions, between sign classes"),
        "SIGN_WEIGHTS": (contexts.SIGN_WEIGHTS, "per kind of pass, of a face, an edge and a corner"),
        "FIRST_MEAN": (contexts.FIRST_MEAN, "what the first channel's statistic is relative to"),
        "MEANS": (contexts.MEANS.tolist(), "the means that a stream can state, in 1/2048"),
        "MODELS": (known.MODELS, "entropy models by their number in the stream"),
        "NOTHING_CODED": (known.NOTHING_CODED[0], "the payload of a grid of zeros"),
        "BUCKETS": (integer_arrays.BUCKETS, "of magnitudes in integer arrays"),
        "FIRST_INDEX": (integer_arrays.FIRST_INDEX, "what the first index of a bucket table is relative to"),
        "FIRST_STRIDE": (occupancy_masks.FIRST_STRIDE, "spacing of the first cells of a mask"),
        "MASK_KINDS": (occupancy_masks._KINDS, "kind of each pass of a mask, by its position"),
        "BINS": (occupancy_masks.BINS, "of a mask's scores"),
        "MASK_COUNTS": (occupancy_masks._INITIAL.tolist(), "initial counts of empty and of occupied cells, per bin"),
        "MASK_UNIT": (occupancy_masks._UNIT, "what a cell adds to a count"),
        "MASK_WEIGHTS_KEY": (_by_kind(occupancy_masks._WEIGHTS_KEY), "[kind][min(spacing, 2)]: bias, face, edge, ..."),
        "MASK_WEIGHTS_INTER": (_by_kind(occupancy_masks._WEIGHTS_INTER), "the same with a mask before"),
        "MASK_WEIGHTS_MOVED": ([_by_kind(own) for own in occupancy_masks.MOVED], "with a moved mask, per weight set"),
        "SHARES": (moved_masks.SHARES, "the value of an occupied cell in a moved mask"),
        "CELL_PART": (moved_masks._PART, "parts of a cell that origins of moved masks are rounded to"),
        "LIVE_UNITS": (live_set._UNITS, "parts of a cell's edge that live sets are found in"),
        "MOTION_UNITS": (motion.UNITS, "displacements are in this part of a cell"),
        "LARGEST_MOTION": (motion.LARGEST, "magnitude of a displacement"),
        "PLACE": (motion.PLACE, "places in a block of the motion lattice are in this part of it"),
        "PART": (motion._PART, "parts of the distance between grid nodes that origins are rounded to"),
        "SPATIAL": (displacements.SPATIAL, "first byte of displacements predicted from their neighbours"),
        "TEMPORAL": (displacements.TEMPORAL, "the same of their differences to the frame before"),
        "SPATIAL_CONTEXTS": (motion_contexts.SPATIAL, "the first byte of displacements in contexts"),
        "TEMPORAL_CONTEXTS": (motion_contexts.TEMPORAL, "the same of their differences to the frame before"),
        "MOTION_THRESHOLDS": (motion_contexts.THRESHOLDS, "of what neighbours differ, between bins"),
        "MOTION_OFFSETS": (
            [motion_contexts.OFFSETS.get(spacing, 0) for spacing in range(5)],
            "added to the bin, by spacing",
        ),
        "MOTION_BINS": (motion_contexts.BINS, "of displacements; the last is for nodes without known neighbours"),
        "MOTION_UNIT": (motion_contexts._UNIT, "what a displacement adds to a count"),
        "MOTION_COUNTS": (motion_contexts._COUNTS.tolist(), "initial counts of others and of zeros, per bin"),
        "MOTION_FIRST": (motion_contexts._FIRST.tolist(), "frequency of magnitude 1 unless 0, per bin"),
        "MOTION_LATER": (motion_contexts._LATER.tolist(), "frequency of a later magnitude unless smaller, per bin"),
        "MOTION_SIGN": (motion_contexts.SIGN, "probability index of the sign that rounding says"),
        "MOTION_ESCAPES": (motion_contexts.ESCAPE_ORDER, "Exp-Golomb order of the escapes of displacements"),
        "MOTION_SPACINGS": (displacements._SPACINGS, "of the passes over displacements"),
        "MOTION_WEIGHTS": (
            _by_sort(displacements._DIRECTIONS, displacements.WEIGHTS),
            "of a face, an edge and a corner in their prediction",
        ),
    }


def _parts(text: str, size: int = 60) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def _by_sort(directions: np.ndarray, weights: np.ndarray) -> list[int]:
    """Of a face, an edge and a corner."""
    return [int(weights[np.abs(directions).sum(1) == axes][0]) for axes in (1, 2, 3)]


def _by_kind(weights: dict[tuple[int, int], tuple[int, ...]]) -> list[list[Any]]:
    return [[weights.get((kind, spacing)) for spacing in range(3)] for kind in range(4)]


def constants_text() -> str:
    """``constants.js``."""
    lines = ["/** The numbers that the format states: limits, weights, thresholds. */", MADE]
    for name, (value, text) in _constants().items():
        line = f"export const {name} = {code(value)};"
        lines.append(f"/** {text} */\n{_wrapped(line)}")
    return "\n".join(lines) + "\n"


def _wrapped(line: str, width: int = 118) -> str:
    """A statement with breaks after commas, so that no line is too long."""
    out, indent = [], ""
    while len(indent) + len(line) > width and ", " in line[: width - len(indent)]:
        cut = line.rindex(", ", 0, width - len(indent)) + 1
        out.append(indent + line[:cut])
        line, indent = line[cut + 1 :], "  "
    return "\n".join([*out, indent + line])


def weights_text() -> str:
    """``context_weights.js``."""
    lines = ["/** How known magnitudes add up to a context, and the tables that go with each weight set. */", MADE]
    lines.append("/** The weight sets, by their number in the stream. */\nexport const SETS = [")
    for chosen in context_weights.SETS:
        lines.append("  {")
        flags = ("previous", "reference", "stated")
        lines.append("    " + ", ".join(f"{name}: {code(getattr(chosen, name))}" for name in flags) + ",")
        lines.append("    kinds: [")
        for kind in chosen.kinds:
            lines.append(f"      {{ known: {code(kind.known)}, prefix: {kind.prefix}, mean: {kind.mean} }},")
        lines.append("    ],")
        for name in ("zero", "first", "later", "signs"):
            lines.append(f"    {name}: {code(getattr(chosen, name))},")
        lines.append("  },")
    return "\n".join([*lines, "];"]) + "\n"


def _element(element: Any, indent: str = "") -> str:
    """An element of a syntax table, as a call of one of the functions of ``elements.js``, or by its name."""
    for name, named in NAMED.items():
        if indent and element is named:
            return name
    if isinstance(element, elements.Structure):
        inner = indent + "  "
        fields = [f"{inner}{camel(name)}: {_element(part, inner)}," for name, part in element.fields]
        return "\n".join(["structure({", *fields, indent + "})"])
    if isinstance(element, elements.Count):
        return f"count({element.lowest}, {element.highest})"
    if isinstance(element, elements.Float):
        return f"float({json.dumps(element.code)}, {element.lowest!r}, {element.highest!r})"
    if isinstance(element, elements.Choice):
        words = [json.dumps(word) for word in element.words]
        if len(", ".join(words)) < 90:
            return f"choice([{', '.join(words)}])"
        return "\n".join(["choice([", *(f"{indent}  {word}," for word in words), f"{indent}])"])
    if isinstance(element, elements.Blob | elements.Text):
        return f"{type(element).__name__.lower()}({element.highest})"
    if isinstance(element, elements.Fixed):
        return f"fixed({element.count}, {_element(element.item, indent)})"
    if isinstance(element, elements.Several):
        return f"several({element.lowest}, {element.highest}, {_element(element.item, indent)})"
    if isinstance(element, elements.Ratio):
        return f"ratio({element.part.highest})"
    assert isinstance(element, elements.Rest), element
    return f"rest({element.highest})"


def _missing(structure: elements.Structure, newest: elements.Structure) -> list[str] | None:
    """The fields of the newest version that another one does not have; None where a field is written differently."""
    missing, own = [], dict(structure.fields)
    assert [name for name, _ in newest.fields if name in own] == list(own)
    for name, element in newest.fields:
        if name not in own:
            missing.append(camel(name))
        elif isinstance(element, elements.Structure):
            missing += _missing(own[name], element) or []  # type: ignore[arg-type]
        elif own[name] != element:
            return None
    return missing


def formats_text() -> str:
    """``formats.js``."""
    names = sorted(["blob", "choice", "count", "fixed", "float", "ratio", "rest", "several", "structure", "text"])
    lines = ["/** The syntax of chunks, and what older versions of the format do not have. */", MADE]
    lines.append(f'import {{ {", ".join(names)} }} from "./elements.js";\n')
    lines += [f"const {name} = {_element(named)};\n" for name, named in NAMED.items()]
    for name, per_version in TABLES.items():
        newest, latest = name, per_version[max(per_version)]
        lines.append(f"const {newest} = {_element(latest)};\n")
        rows = []
        for version in sorted(per_version, reverse=True):
            missing = _missing(per_version[version], latest)
            if missing is None:
                newest, latest, missing = f"{name}_{version}", per_version[version], []
                lines.append(f"const {newest} = {_element(latest)};\n")
            rows.append(f"  {version}: {{ element: {newest}, lacks: {json.dumps(missing)} }},")
        lines.append("/** How each version writes it, and the fields that it lacks. @type {Record<number, Format>} */")
        lines += [f"export const {name}{'ES' if name == 'INDEX' else 'S'} = {{", *reversed(rows), "};\n"]
    kind = '{element: import("./elements.js").Element & {fields: Record<string, any>}, lacks: string[]}'
    lines.append(f"/** @typedef {{{kind}}} Format */")
    return "\n".join(lines).rstrip("\n") + "\n"


NAMED = {"LAYOUT": syntax.LAYOUT}
"""Structures that several tables have as a field."""

TABLES = {
    "HEADER": versions.HEADERS,
    "RIG": {versions.FIRST_WITH_RIGS: rigs.FIELDS},
    "GROUP": versions.GROUPS,
    "FRAME": versions.FRAMES,
    "INDEX": versions.INDEXES,
    "SOUND": versions.SOUNDS,
}
"""How each version of the format writes each chunk."""


def package_text() -> str:
    """``package.json`` with the package's version."""
    path = WEB / "package.json"
    data = json.loads(path.read_text(encoding="utf-8"))
    # Python writes 1.0.0rc1 where npm has 1.0.0-rc1.
    data["version"] = re.sub(r"^(\d+\.\d+\.\d+)\.?([a-z].*)$", r"\1-\2", _version.__version__)
    return json.dumps(data, indent=2) + "\n"


def files() -> dict[Path, str]:
    """What this makes, by path."""
    return {
        DECODER / "constants.js": constants_text(),
        DECODER / "context_weights.js": weights_text(),
        DECODER / "formats.js": formats_text(),
        WEB / "package.json": package_text(),
    }


if __name__ == "__main__":
    for made, text in files().items():
        made.write_text(text, encoding="utf-8", newline="\n")
        print(made.relative_to(ROOT))
