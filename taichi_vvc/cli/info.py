"""``tvvc info``: describes the content of a file. Imports neither Taichi nor the entropy coder, and needs no GPU."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import click

from taichi_vvc.bitstream import Sound, StreamReader
from taichi_vvc.bitstream.colours import COLOUR_UNITS, parse_colours
from taichi_vvc.bitstream.numbering import frame_step_of
from taichi_vvc.cli.options import common_options
from taichi_vvc.cli.text import echo, printable
from taichi_vvc.types import FREQUENCY_UNITS, Bounds
from taichi_vvc.words import counted, some


@click.command(epilog="Example:  tvvc info out.tvvc --json --frames")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--frames", "with_frames", is_flag=True, help="List every frame with its bytes by component.")
@common_options
def command(file: Path, as_json: bool, with_frames: bool) -> None:
    """Say what is in FILE, without decoding it."""
    with StreamReader(file) as reader:
        described = describe(reader, with_frames)
    if as_json:
        text = json.dumps(described, indent=2, ensure_ascii=False, allow_nan=False)
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        # Characters that stdout cannot encode are written as JSON's escapes.
        narrow = text.encode(encoding, "ignore").decode(encoding) != text
        click.echo(json.dumps(described, indent=2, allow_nan=False) if narrow else text)
    else:
        echo(_as_text(described))


def describe(reader: StreamReader, with_frames: bool = False) -> dict[str, Any]:
    """The report of ``tvvc info --json``, as plain JSON values.

    ``frame_list`` is present only ``with_frames``, and ``gain`` and ``offset`` of cameras, how they show colours, only
    where the file has colour maps. The bytes by component sum to the frame's ``bytes``, which include
    the group's parameters on a key frame.

    Raises:
        CorruptStream: ``with_frames``, and a frame is damaged.
    """
    header, layout = reader.header, reader.header.layout
    count = len(reader.frames)
    settings = json.loads(header.settings)
    pieces = settings.pop("pieces", None)
    described: dict[str, Any] = {
        "version": reader.version,
        "frames": count,
        "fps": float(header.fps),
        "duration": float(count / header.fps),
        "bytes": reader.size,
        "gops": [],
        "complete": reader.complete,
        "bounds": [
            list(layout.lower),
            [
                low + layout.cell * (cells - 2 * shell)
                for low, cells, shell in zip(layout.lower, layout.cells, layout.shell, strict=True)
            ],
        ],
        "cameras": [],
        "settings": settings,
        "pieces": pieces,
        "first_frame": header.first_frame,
        "frame_step": frame_step_of(header),
        "downscale": header.downscale,
        "background": list(header.background),
        "library": header.library,
        "header_bytes": reader.header_bytes,
        "layout": {
            "coefficients": list(layout.coefficients),
            "levels": [
                {
                    "resolution": list(level.resolution),
                    "channels": level.channels,
                    "frequency": level.frequency / FREQUENCY_UNITS,
                }
                for level in layout.levels
            ],
            "occupancy": list(layout.cells),
            "shell": list(layout.shell),
            "near": layout.near,
        },
        "sound": _sound(reader),
    }
    colours = _colours(reader)
    for number, camera in enumerate(header.cameras):
        lens = header.intrinsics[camera.intrinsics]
        record: dict[str, Any] = {"name": camera.name, "split": camera.split}
        record |= {"width": lens.width, "height": lens.height}
        if colours:
            record |= {"gain": colours[number][0], "offset": colours[number][1]}
        described["cameras"].append(record)
    for group in reader.groups:
        described["gops"].append({"first": group.first_frame, "frames": 0, "bytes": group.size})
    for frame in reader.frames:
        described["gops"][frame.group]["frames"] += 1
        described["gops"][frame.group]["bytes"] += frame.size
    if with_frames:
        described["frame_list"] = [_frame(reader, number) for number in range(count)]
    return described


def _colours(reader: StreamReader) -> list[tuple[list[float], list[float]]]:
    """Gain and offset (red, green, blue) of each camera in the file's first group; nothing where it has no maps."""
    coded = reader.read_colours(0) if reader.groups else b""
    if not coded:
        return []
    maps, _ = parse_colours(coded, len(reader.header.cameras), f"{reader.path}: group 0")
    return [([1 + g / COLOUR_UNITS for g in gain], [o / COLOUR_UNITS for o in offset]) for gain, offset in maps]


def _frame(reader: StreamReader, number: int) -> dict[str, Any]:
    entry, parts = reader.frames[number], reader.components(number)
    by_part = {f"bytes_{part}": size for part, size in parts.items()}
    return {"frame": number, "type": entry.type, "bytes": sum(parts.values()), **by_part, "offset": entry.offset}


def _as_text(info: dict[str, Any]) -> str:
    count, size = info["frames"], info["bytes"]
    splits = [camera["split"] for camera in info["cameras"]]
    cameras = f"{splits.count('train')} fitted, {splits.count('test')} held out"
    sizes = sorted({f"{camera['width']}x{camera['height']}" for camera in info["cameras"]})
    lower, upper = map(tuple, info["bounds"])
    box = Bounds(lower, upper).corners()
    levels = ", ".join(
        f"{'x'.join(map(str, level['resolution']))} of {level['channels']} channels"
        for level in info["layout"]["levels"]
    )
    rate = f", {size / 1000 / count:.2f} kB/frame, {size * 8 / 1000 / info['duration']:.0f} kbit/s" if count else ""
    lines = [
        f"format      version {info['version']}, written by {info['library']}",
        f"frames      {counted(count, 'frame')} at {info['fps']:g} fps, {info['duration']:.3f} s"
        + ("" if info["complete"] else "  (incomplete: the encode was stopped, or the index is damaged)"),
        f"bytes       {size}{rate}",
        f"groups      {len(info['gops'])}, first frames {some([str(gop['first']) for gop in info['gops']], 8)}",
        f"bounds      {box}",
        *_around(info["layout"]),
        f"cameras     {cameras}, {some(sizes, 8)} pixels",
        *_gains(info["cameras"]),
        f"capture     {_part(info)}",
        f"field       coefficients {'x'.join(map(str, info['layout']['coefficients']))}, levels {levels}",
        *_sound_line(info["sound"]),
        *_table("settings", info["settings"]),
    ]
    for row in info.get("frame_list", []):
        parts = "  ".join(f"{name.removeprefix('bytes_')} {row[name]}" for name in row if name.startswith("bytes_"))
        lines.append(f"frame {row['frame']:5}  {row['type']:5}  {row['bytes']:8}  {parts}")
    return "\n".join(map(printable, lines))


def _around(layout: dict[str, Any]) -> list[str]:
    """A line about what lies around the bounds and before cameras; none where nothing does."""
    parts = []
    if any(layout["shell"]):
        parts.append(
            f"{' '.join(map(str, layout['shell']))} cells (x y z) on either side hold what lies around the bounds"
        )
    if layout["near"]:
        parts.append(f"nothing nearer to a camera than {layout['near']:g}")
    return [f"            {'; '.join(parts)}"] if parts else []


def _sound(reader: StreamReader) -> dict[str, Any] | None:
    """The sound of a file for ``tvvc info``; None for a file without, or whose sound is damaged."""
    if not reader.sounds:
        return None
    first = reader.read_sound(0)
    last = reader.read_sound(len(reader.sounds) - 1)
    sound = Sound(first.channels, first.skip, (b"",) * (last.number + len(last.packets)))
    size = sum(entry.size for entry in reader.sounds)
    return {"codec": "opus", "channels": sound.channels, "seconds": sound.seconds, "bytes": size}


def _sound_line(found: dict[str, Any] | None) -> list[str]:
    """The line of ``tvvc info`` about the sound."""
    if found is None:
        return []
    seconds = found["seconds"]
    rate = found["bytes"] * 8 / 1000 / seconds if seconds else 0.0
    return [f"sound       Opus, {counted(found['channels'], 'channel')}, {seconds:.3f} s, {rate:.0f} kbit/s"]


def _gains(cameras: list[dict[str, Any]]) -> list[str]:
    """A line about the cameras with colour maps, the strongest first; none for a file without maps."""
    if not cameras or "gain" not in cameras[0]:
        return []
    mapped = [camera for camera in cameras if any(g != 1 for g in camera["gain"]) or any(camera["offset"])]
    mapped.sort(key=lambda camera: -max(abs(math.log(g)) for g in camera["gain"]))
    shown = [f"{camera['name']} {' '.join(f'{g:.2f}' for g in camera['gain'])}" for camera in mapped] or ["all alike"]
    return [f"colours     gains of {counted(len(mapped), 'camera')} (red green blue): {some(shown, 4)}"]


def _part(info: dict[str, Any]) -> str:
    """The selection of the capture's frames and the image size, as text."""
    step, scale = info["frame_step"], info["downscale"]
    ending = "th" if step % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(step % 10, "th")
    size = f"reduced {scale} times" if scale > 1 else "at full size"
    if info["pieces"] is not None:
        return f"several pieces, joined, {size}"
    every = f", every {step}{ending}" if step > 1 else ""
    return f"from frame {info['first_frame']}{every}, {size}"


def _table(title: str, values: dict[str, Any], columns: int = 2) -> list[str]:
    """Names and values in columns, to be read column by column."""
    cells = [(name, _plain(value)) for name, value in values.items()]
    rows = -(-len(cells) // columns)
    parts = [cells[start : start + rows] for start in range(0, len(cells), rows or 1)]
    widths = [[max(len(cell[k]) for cell in part) for k in (0, 1)] for part in parts]
    lines = []
    for row in range(rows):
        shown = [
            f"{part[row][0]:{wide}}  {part[row][1]:{high}}"
            for part, (wide, high) in zip(parts, widths, strict=True)
            if row < len(part)
        ]
        lines.append(f"{title if row == 0 else '':12}{'    '.join(shown)}".rstrip())
    return lines


def _plain(value: Any) -> str:
    return "/".join(map(str, value)) if isinstance(value, list) else str(value)
