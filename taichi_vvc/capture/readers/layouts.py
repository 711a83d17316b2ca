"""The table of capture layouts: how each one is recognised, and its reader. docs/capture.md describes the layouts.

A reader is imported when it is used, so that listing the layouts' names stays cheap.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from taichi_vvc.errors import ConfigError, DataError

if TYPE_CHECKING:
    from taichi_vvc.capture.readers.index import CaptureIndex

MODEL_FOLDERS = ("sparse/0", "sparse", "colmap/sparse/0", "colmap/sparse", ".")
LOOKED_AT = 1_000_000  # bytes of a file that are read to recognise it
CAMERA_MATRIX = re.compile(rb"^\s*matrix\s*=", re.MULTILINE)  # in a calibration in TOML
SPLIT_FILES = ("transforms_train.json", "transforms_val.json", "transforms_test.json")


@dataclass(frozen=True)
class Layout:
    """One way to lay out a capture.

    Attributes:
        name: the name that ``--format`` takes.
        looks_for: the files that it is recognised by, in words, for messages.
        find: returns the file (for COLMAP the scene's folder) that describes the capture at a path, or None.
        read: returns the index of the capture that such a file describes, for a selection of frames.
    """

    name: str
    looks_for: str
    find: Callable[[Path], Path | None]
    read: Callable[[Path, slice | None], CaptureIndex]


def _named(*names: str) -> Callable[[Path], Path | None]:
    """A ``find`` function for files of these names: the path itself, or a file in the folder at the path."""

    def find(path: Path) -> Path | None:
        if path.is_file():
            return path if path.name in names else None
        return next((path / name for name in names if (path / name).is_file()), None)

    return find


def _find_transforms(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() == ".json" and path.name not in SPLIT_FILES else None
    return _named("transforms.json")(path)


def _find_easyvolcap(path: Path) -> Path | None:
    file = _named("intri.yml", "extri.yml")(path)
    if file is None or not all((file.parent / name).is_file() for name in ("intri.yml", "extri.yml")):
        return None
    return file.parent / "intri.yml"


def _find_nhr(path: Path) -> Path | None:
    file = _named("CamPose.inf", "Intrinsic.inf")(path)
    return None if file is None else file.parent / "CamPose.inf"


def _find_dna(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix.lower() == ".smc" else None
    mains = [file for file in sorted(path.glob("*.smc")) if not file.stem.endswith("_annots")]
    return mains[0] if len(mains) == 1 else path if mains else None


def _find_anipose(path: Path) -> Path | None:
    """A TOML calibration in the folder or in its calibration folder; the folder itself if there are several.

    Programs keep their settings in TOML, too, so that only files with cameras count.
    """
    if path.is_file():
        return path if path.suffix.lower() == ".toml" else None
    places = [path, *(item for item in sorted(path.iterdir()) if item.is_dir() and "calib" in item.name.lower())]
    files = [file for place in places for file in sorted(place.glob("*.toml")) if "calib" in file.name.lower()]
    found = [file for file in files if _has_cameras(file)]
    return found[0] if len(found) == 1 else path if found else None


def _has_cameras(file: Path) -> bool:
    try:
        with file.open("rb") as stream:
            return CAMERA_MATRIX.search(stream.read(LOOKED_AT)) is not None
    except OSError:
        return file.is_file()  # the reader raises the error about an unreadable file


def _find_actorshq(path: Path) -> Path | None:
    """``calibration.csv`` of the folder or of its only scale (1x, 2x, 4x); the folder itself if there are several."""
    file = _named("calibration.csv")(path)
    if file is not None or path.is_file():
        return file
    found = [item / "calibration.csv" for item in sorted(path.iterdir()) if (item / "calibration.csv").is_file()]
    return found[0] if len(found) == 1 else path if found else None


def _find_colmap(path: Path) -> Path | None:
    """The scene's folder, not that of its model. A scene may be called ``sparse`` or ``colmap``, too."""
    if path.is_file():
        return path.parent if path.name in ("cameras.bin", "cameras.txt") else None
    return path if find_model(path) is not None else None


def find_model(scene: Path) -> Path | None:
    """The folder of the COLMAP model of a scene, or of its first frame's folder; of several models, the first."""
    from taichi_vvc.capture.readers.colmap_model import is_model, models_in

    frames = sorted(item for item in scene.iterdir() if item.is_dir() and item.name.startswith(("frame", "colmap_")))
    for place in (scene, *frames[:1]):
        for name in MODEL_FOLDERS:
            if is_model(place / name):
                return place / name
        if numbered := models_in(place / "sparse"):
            return min(numbered)
    return None


def _read_transforms(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.transforms import read_transforms

    return read_transforms(file, frames, [name for name in SPLIT_FILES if (file.parent / name).is_file()])


def _read_blender(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.blender import read_blender

    return read_blender(file, frames)


def _read_easyvolcap(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.easyvolcap import read_easyvolcap

    return read_easyvolcap(file, frames)


def _read_zju(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.zjumocap import read_zju_mocap

    return read_zju_mocap(file, frames)


def _read_nhr(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.nhr import read_nhr

    return read_nhr(file, frames)


def _read_dna(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.dna import read_dna_rendering

    return read_dna_rendering(file, frames)


def _read_anipose(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.anipose import read_anipose

    return read_anipose(file, frames)


def _read_actorshq(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.actorshq import read_actorshq

    return read_actorshq(file, frames)


def _read_llff(file: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.llff import read_llff

    return read_llff(file, frames)


def _read_colmap(scene: Path, frames: slice | None) -> CaptureIndex:
    from taichi_vvc.capture.readers.colmap import read_colmap

    return read_colmap(scene, find_model(scene) or scene, frames)


# In the order in which they are tried: layouts with the most specific files come first.
LAYOUTS = (
    Layout("transforms", "transforms.json", _find_transforms, _read_transforms),
    Layout("blender", "transforms_train.json", _named(*SPLIT_FILES), _read_blender),
    Layout("easyvolcap", "intri.yml with extri.yml", _find_easyvolcap, _read_easyvolcap),
    Layout("zju-mocap", "annots.npy", _named("annots.npy"), _read_zju),
    Layout("nhr", "CamPose.inf with Intrinsic.inf", _find_nhr, _read_nhr),
    Layout("dna-rendering", "one .smc", _find_dna, _read_dna),
    Layout("actorshq", "calibration.csv", _find_actorshq, _read_actorshq),
    Layout("anipose", "calibration.toml", _find_anipose, _read_anipose),
    Layout("llff", "poses_bounds.npy", _named("poses_bounds.npy"), _read_llff),
    Layout("colmap", "sparse/0 with cameras.bin or cameras.txt", _find_colmap, _read_colmap),
)


def find_layout(path: Path, format: str | None = None) -> tuple[Layout, Path]:
    """The layout of the capture at ``path`` (a folder or the file that describes it), and the file to read.

    Args:
        format: only the layout of this name.

    Raises:
        DataError: no layout fits; the line says what was looked for.
        ConfigError: there is no layout of the name ``format``.
    """
    layouts = [layout for layout in LAYOUTS if format in (None, layout.name)]
    if not layouts:
        names = ", ".join(layout.name for layout in LAYOUTS)
        raise ConfigError(f"expected a layout of {names}, found {format!r}")
    if not path.exists():
        raise DataError(f"{path}: expected a capture folder or the file that describes it, found nothing there")
    for layout in layouts:
        file = layout.find(path)
        if file is not None:
            return layout, file
    looked_for = ", ".join(layout.looks_for for layout in layouts)
    if path.is_file():
        raise DataError(
            f"{path}: expected a capture folder or the file that describes it ({looked_for}), found another"
        )
    content = sorted(item.name + ("/" if item.is_dir() else "") for item in path.iterdir())
    found = ", ".join(content[:6]) + (f" and {len(content) - 6} more" if len(content) > 6 else "")
    raise DataError(
        f"{path}: {'unknown capture layout' if format is None else f'no capture of the layout {format}'}: looked for"
        f" {looked_for}; found {found or 'an empty folder'}; see docs/capture.md"
    )
