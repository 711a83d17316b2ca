"""DNA-Rendering's layout: ``<take>.smc`` with pictures and ``<take>_annots.smc`` with calibration and masks, both HDF5.

``Camera_5mp/<id>/color/<frame>`` and ``Camera_12mp/...`` are encoded pictures. ``Mask/<id>/mask/<frame>`` are encoded
masks, of which the largest channel counts. ``Camera_Parameter/<id of two digits>`` has ``K``, ``D`` (k1 k2 p1 p2 k3)
and ``RT``, which is **camera to world** with OpenCV axes. Pictures keep the distortion of the lens; colour calibration
is not applied.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.capture.readers.footage import Clip, natural
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.rig import RigCamera, index_rig, pinhole
from taichi_vvc.errors import DataError
from taichi_vvc.media.images import decode_rgba, encoded_size

GROUPS = ("Camera_5mp", "Camera_12mp")
FPS = Fraction(15)
MOST_NUMBERS = 1000  # of one matrix of the calibration
MOST_BYTES = 1 << 30  # of one encoded picture
# Held out by the data set's own benchmark.
TEST_CAMERAS = frozenset((3, 5, 7, 8, 11, 15, 17, 19, 21, 23, 27, 29, 31, 33, 35, 39, 41, 45))


class SmcFile:
    """An HDF5 file that opens at its first use and stays open; may be used from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """For other processes, which open the file for themselves."""
        return SmcFile, (self.path,)

    def use(self, action: Callable[[Any], Any]) -> Any:
        """Calls ``action`` with the open HDF5 file and returns its result.

        Raises:
            DataError: the file cannot be read, or lacks what ``action`` needs.
        """
        h5py = _h5py(self.path)
        with self._lock:
            try:
                if self._file is None:
                    self._file = h5py.File(self.path, "r")
                return action(self._file)
            except FileNotFoundError:
                raise DataError(f"{self.path}: expected an .smc file, found no such file") from None
            except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
                line = " ".join(str(error).split())
                raise DataError(f"{self.path}: expected a DNA-Rendering file, cannot read it: {line}") from None


@dataclass(frozen=True)
class SmcPicture:
    """An encoded picture inside an :class:`SmcFile`; see :class:`taichi_vvc.media.images.Picture`."""

    file: SmcFile
    item: str
    lossy = True

    @property
    def name(self) -> str:
        """Path of the data set inside the file."""
        return self.item

    def __str__(self) -> str:
        return f"{self.file.path}:{self.item}"

    def size(self) -> tuple[int, int]:
        """(width, height), pixels."""
        return encoded_size(self._data(), str(self))

    def read(self) -> np.ndarray:
        """(height, width, 4) uint8."""
        return decode_rgba(self._data(), str(self))

    def _data(self) -> bytes:
        return self.file.use(lambda file: np.asarray(_content(file, self.item, MOST_BYTES), np.uint8).tobytes())


def read_dna_rendering(file: Path, frames: slice | None = None) -> CaptureIndex:
    """Index the take whose main file is ``file``; its annotations lie beside it. The benchmark's views are held out.

    Raises:
        DataError: h5py is not installed, or a file is missing or not of this layout.
    """
    if file.is_dir():
        raise DataError(f"{file}: expected one take, found several .smc files; name the one to read")
    if file.stem.endswith("_annots"):
        file = file.with_name(file.stem.removesuffix("_annots") + file.suffix)
    main, annotations = SmcFile(file), SmcFile(file.with_name(f"{file.stem}_annots{file.suffix}"))
    if not file.is_file():
        raise DataError(f"{file}: expected the take's main file there, found no such file")
    if not annotations.path.is_file():
        raise DataError(f"{annotations.path}: expected the take's calibration and masks there, found no such file")
    rig = []
    for group, camera, numbers in main.use(_cameras):
        clip = Clip(tuple(SmcPicture(main, f"{group}/{camera}/color/{number}") for number in numbers))
        found = annotations.use(partial(_annotations, camera))
        masks = Clip(tuple(SmcPicture(annotations, f"Mask/{camera}/mask/{number}") for number in found["masks"]))
        pose = found["RT"]
        rig.append(
            RigCamera(
                f"{int(camera):02d}",
                pose[:3, :3],
                pose[:3, 3],
                clip=clip,
                distortion=tuple(found["D"].ravel().tolist()),
                masks=masks if found["masks"] else None,
                split="test" if int(camera) in TEST_CAMERAS else "train",
                **pinhole(found["K"], f"{file}: camera {int(camera):02d}"),
            )
        )
    if not rig:
        raise DataError(f"{file}: expected cameras in {' or '.join(GROUPS)}, found none")
    return index_rig(file, "dna-rendering", rig, frames, fps=FPS)


def _cameras(file: Any) -> list[tuple[str, str, list[str]]]:
    """(group, camera, frame numbers) of every camera, in order."""
    return [
        (group, camera, sorted(file[group][camera]["color"], key=natural))
        for group in GROUPS
        if group in file
        for camera in sorted(file[group], key=natural)
        if camera.isdecimal()
    ]


def _content(group: Any, key: str, most: int) -> Any:
    """The whole content of a data set of at most ``most`` values.

    The limit is needed since a data set that was never written takes no space in the file, whatever its size.
    """
    item = group[key]
    if item.size is None or item.size > most:
        raise ValueError(f"{item.name} with {item.size} values, more than {most}")
    return item[()]


def _annotations(camera: str, file: Any) -> dict[str, Any]:
    parameters = file["Camera_Parameter"][f"{int(camera):02d}"]
    found = {key: np.asarray(_content(parameters, key, MOST_NUMBERS), np.float64) for key in ("K", "D", "RT")}
    if found["K"].shape != (3, 3) or found["RT"].shape not in ((4, 4), (3, 4)):
        raise ValueError(f"K of shape {found['K'].shape} and RT of shape {found['RT'].shape} of camera {camera}")
    masks = file["Mask"][camera]["mask"] if "Mask" in file and camera in file["Mask"] else ()
    return {**found, "masks": sorted(masks, key=natural)}


def _h5py(path: Path) -> Any:
    try:
        import h5py
    except ImportError:
        raise DataError(
            f'{path}: reading .smc files needs h5py, which is not installed; pip install "taichi_vvc[hdf5]"'
        ) from None
    return h5py
