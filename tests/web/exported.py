"""Decoded frames for the renderer in JavaScript: what its decoder would hand over, as JSON and one file of numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import taichi_vvc as tv
from taichi_vvc.decode import Stream
from taichi_vvc.types import Camera, ColourMap, FieldLayout, GroupParameters, SymbolFrame


def camera_record(camera: Camera) -> dict[str, Any]:
    """A camera as ``web/decoder/types.js`` has it."""
    record = {name: getattr(camera, name) for name in ("name", "width", "height", "fx", "fy", "cx", "cy", "split")}
    record["rotation"] = np.asarray(camera.rotation).reshape(9).tolist()
    record["position"] = np.asarray(camera.position).tolist()
    record["distortion"] = [camera.k1, camera.k2, camera.p1, camera.p2]
    return record


def header_record(layout: FieldLayout, cameras: tuple[Camera, ...], background: tuple[float, ...]) -> dict[str, Any]:
    """A header as ``web/decoder/types.js`` has it, as far as the renderer needs it."""
    levels = [
        {"resolution": level.resolution, "channels": level.channels, "frequency": level.frequency_units}
        for level in layout.levels
    ]
    return {
        "layout": {
            "lower": layout.bounds.lower,
            "cell": layout.cell,
            "occupancy": layout.occupancy,
            "coefficients": layout.coefficients,
            "levels": levels,
            "projectionHidden": layout.projection_hidden,
            "appearance": layout.appearance,
            "colourHidden": layout.colour_hidden,
            "viewFrequencies": layout.view_frequencies,
            "stepsPerSide": layout.steps_per_side,
            "motionBlock": layout.motion_block,
            "shell": layout.shell,
            "near": layout.near,
        },
        "background": list(background),
        "cameras": [camera_record(camera) for camera in cameras],
    }


def write_frame(
    target: Path,
    header: dict[str, Any],
    frame: SymbolFrame,
    parameters: GroupParameters,
    colours: tuple[ColourMap, ...] = (),
    number: int = 0,
) -> None:
    """Writes ``target`` with ``.json`` and ``.bin``, which ``draw.js`` makes a header and a frame from."""
    arrays = [frame.occupancy.astype(np.int32), *frame.symbols]
    blob = b"".join(np.ascontiguousarray(a, "<i4").tobytes() for a in arrays)
    blob += b"".join(np.ascontiguousarray(tensor, "<f4").tobytes() for tensor in parameters.mlp)
    record = {
        "header": header,
        "number": number,
        "counts": [a.size for a in arrays],
        "mlp": [tensor.size for tensor in parameters.mlp],
        "steps": list(parameters.steps),
        "colours": [
            {"gain": list(look.gain), "offset": list(look.offset), "backdrop": look.backdrop} for look in colours
        ],
    }
    target.with_suffix(".json").write_text(json.dumps(record))
    target.with_suffix(".bin").write_bytes(blob)


def export(stream: Stream, index: int, target: Path) -> None:
    """Writes a frame of a file."""
    header = header_record(stream.header.layout, stream.cameras_at(index), stream.background)
    write_frame(target, header, stream.symbols(index), stream.parameters(index), stream.looks_at(index), index)


def export_file(file: Path, index: int, target: Path) -> None:
    """Writes a frame of the file with this name."""
    with tv.open(file) as stream:
        export(stream, index, target)
