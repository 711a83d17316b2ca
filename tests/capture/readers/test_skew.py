"""A calibration with skew is refused with the camera's name, by every reader whose format can state skew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import layouts
import numpy as np
import pytest
from test_readers_anipose import photograph
from test_readers_anipose import write as write_toml
from test_readers_easyvolcap import write_calibration, write_pictures
from test_readers_studio import write_inf, write_smc, write_zju

from taichi_vvc.capture.readers.rig import pinhole
from taichi_vvc.errors import DataError
from taichi_vvc.types import Camera


def _easyvolcap(folder: Path, rig: Sequence[Camera]) -> None:
    write_calibration(folder, rig)
    write_pictures(folder, rig, masks=False)


def _nhr(folder: Path, rig: Sequence[Camera]) -> None:
    write_inf(folder, rig)
    for number, camera in enumerate(rig):
        layouts.save(folder / f"img/0/img_{number:04d}.jpg", layouts.on_background(layouts.pictures(camera, 1)[0]))


def _anipose(folder: Path, rig: Sequence[Camera]) -> None:
    write_toml(folder, rig)
    photograph(folder, rig, "AB".__getitem__)


WRITERS = {
    "anipose": _anipose,
    "easyvolcap": _easyvolcap,
    "zju-mocap": write_zju,
    "nhr": _nhr,
    "dna-rendering": write_smc,
}
CAMERA = {
    "anipose": "camera A",
    "easyvolcap": "camera 00",
    "zju-mocap": "camera Camera_B1",
    "nhr": "camera 000",
    "dna-rendering": "camera 00",
}


@pytest.mark.parametrize("layout", WRITERS)
def test_a_matrix_with_skew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: str) -> None:
    rig, write, plain = layouts.rig(count=2), WRITERS[layout], layouts.intrinsics
    for skew in (0.0, 1e-9):
        monkeypatch.setattr(
            layouts, "intrinsics", lambda camera, s=skew: plain(camera) + np.outer([s, 0, 0], [0, 1, 0])
        )
        write(tmp_path / str(skew), rig)
        assert layouts.opened(tmp_path / str(skew)).layout == layout
    monkeypatch.setattr(layouts, "intrinsics", lambda camera: plain(camera) + np.outer([0.5, 0, 0], [0, 1, 0]))
    write(tmp_path / "skewed", rig)
    with pytest.raises(DataError, match=f"{CAMERA[layout]}: a skew of 0.5 in .* is not supported"):
        layouts.opened(tmp_path / "skewed")


@pytest.mark.parametrize(
    "change",
    [
        lambda k: k.__setitem__((2, 2), 2.0),
        lambda k: k.__setitem__((1, 0), 1.0),
        lambda k: k.__setitem__((0, 0), np.nan),
        lambda k: k.transpose(),
    ],
)
def test_a_matrix_that_is_no_pinhole_camera(change: Callable[[np.ndarray], np.ndarray | None]) -> None:
    k = np.array([[50.0, 0.0, 24.0], [0.0, 50.0, 20.0], [0.0, 0.0, 1.0]])
    assert pinhole(k, "here") == pinhole(k.ravel(), "here") == dict(fx=50.0, fy=50.0, cx=24.0, cy=20.0)
    changed = change(k)
    with pytest.raises(DataError, match="here: expected K to be"):
        pinhole(k if changed is None else changed, "here")
