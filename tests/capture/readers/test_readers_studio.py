"""Layouts of studio data sets: ZJU-MoCap, NHR and ReRF, DNA-Rendering."""

from __future__ import annotations

import builtins
import io
import json
import os
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import captures
import layouts
import numpy as np
import pytest
from PIL import Image

from taichi_vvc.capture.readers.safepickle import load_npy_object
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import DataError
from taichi_vvc.types import Camera

LENS = (-0.1, 0.03, 0.004, -0.003)

# ---- ZJU-MoCap ----------------------------------------------------------------------------------------------------


def write_zju(folder: Path, rig: Sequence[Camera], masks: str = "mask") -> dict[str, Any]:
    cams: dict[str, list] = {"K": [], "R": [], "T": [], "D": []}
    for camera in rig:
        rotation, translation = layouts.world_to_camera(camera)
        cams["K"].append(layouts.intrinsics(camera))
        cams["R"].append(rotation)
        cams["T"].append(1000.0 * translation[:, None])  # millimetres
        cams["D"].append(np.array([[camera.k1], [camera.k2], [camera.p1], [camera.p2], [0.0]]))
    ims = []
    for time in range(layouts.FRAMES):
        ims.append({"ims": [f"Camera_B{i + 1}/{time:06d}.jpg" for i in range(len(rig))], "kpts2d": np.ones((4, 25, 3))})
    for i, camera in enumerate(rig):
        for time, frame in enumerate(layouts.pictures(camera)):
            name = f"Camera_B{i + 1}/{time:06d}"
            layouts.save(folder / f"{name}.jpg", layouts.on_background(frame))
            parts = np.where(frame[..., 3] > 127, 5 + frame[..., 0] % 3, 0).astype(np.uint8)  # labels of body parts
            layouts.save(folder / masks / f"{name}.png", parts)
    annotations = {"cams": cams, "ims": ims}
    np.save(folder / "annots.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
    return annotations


@pytest.mark.parametrize("masks", ["mask", "mask_cihp"])
def test_zju_mocap(tmp_path: Path, masks: str) -> None:
    rig = layouts.rig(LENS)
    write_zju(tmp_path, rig, masks)
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="zju-mocap", masks=True, tolerance=4.0)
    assert [camera.name for camera in sequence.cameras] == [f"Camera_B{i}" for i in (1, 2, 3, 4)]
    assert set(np.unique(sequence.frame(0).views[0].image[..., 3])) == {0, 255}, "labels are no grey values"


def test_zju_mocap_names_what_is_missing(tmp_path: Path) -> None:
    annotations = write_zju(tmp_path, layouts.rig())
    (tmp_path / "Camera_B2/000001.jpg").unlink()
    with pytest.raises(DataError, match=r"1 of 12 images are missing.*000001.jpg"):
        layouts.opened(tmp_path)
    for outside in ("../../etc/passwd", "..\\..\\etc\\passwd", "/etc/passwd"):
        annotations["ims"][0]["ims"][0] = outside
        np.save(tmp_path / "annots.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
        with pytest.raises(DataError, match="below its folder"):
            layouts.opened(tmp_path)
    del annotations["cams"]["R"]
    np.save(tmp_path / "annots.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="K, R, T of every camera"):
        layouts.opened(tmp_path)


@pytest.mark.parametrize("below", ["", "images/"])
def test_zju_mocap_without_file_names_reads_the_folders(tmp_path: Path, below: str) -> None:
    rig = layouts.rig(LENS)
    annotations = write_zju(tmp_path, rig)
    if below:
        (tmp_path / below).mkdir()
        for folder in sorted(tmp_path.glob("Camera_*")):
            folder.rename(tmp_path / below / folder.name)
    for number in (2, 1):  # 10 comes after 2 in natural order only
        for folder in sorted(tmp_path.glob(f"**/Camera_B{number + 2}")):
            folder.rename(folder.with_name(f"Camera_B{number + 9}"))
    del annotations["ims"]
    np.save(tmp_path / "annots.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
    sequence = layouts.opened(tmp_path)
    layouts.assert_reads_back(sequence, rig, layout="zju-mocap", masks=True, tolerance=4.0)
    assert [camera.name for camera in sequence.cameras] == [f"Camera_B{i}" for i in (1, 2, 10, 11)]
    assert any('no "ims"' in message and "Camera_B1 to Camera_B11" in message for message in sequence.messages)

    shutil.rmtree(tmp_path / f"{below}Camera_B2")
    with pytest.raises(DataError, match=r'expected 4 folders of pictures.*"cams" in their order, found 3: Camera_B1'):
        layouts.opened(tmp_path)


def test_zju_mocap_without_file_names_or_with_others(tmp_path: Path) -> None:
    annotations = write_zju(tmp_path, layouts.rig())
    for value, told in (([], '"ims" to list.*an empty list'), ("all", '"ims" to list.*text')):
        annotations["ims"] = value
        np.save(tmp_path / "annots.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
        with pytest.raises(DataError, match=told):
            layouts.opened(tmp_path)
    del annotations["ims"]
    np.save(tmp_path / "annots.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
    (tmp_path / "Camera_B3/000001.jpg").unlink()
    with pytest.raises(
        DataError, match=r"same number of pictures of every camera, found 3 in Camera_B1.*2 in Camera_B3"
    ):
        layouts.opened(tmp_path)


class _Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def write_object(file: Path, value: Any, protocol: int = 4) -> None:
    """An object array of one element with a pickle of our own in it."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    file.write_bytes(header.getvalue() + pickle.dumps(value, protocol=protocol))


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (os.system, ("touch {}",)),
        (builtins.eval, ("open({!r}, 'w')",)),
        (builtins.open, ("{}", "w")),
        (np.load, ("{}",)),
        (getattr, ("", "join")),
    ],
    ids=["system", "eval", "open", "numpy", "getattr"],
)
def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, protocol: int, function: Any, arguments: Any) -> None:
    trace = tmp_path / "ran"
    call = _Call(function, *(a.format(str(trace)) for a in arguments))
    write_object(tmp_path / "annots.npy", {"cams": {"K": [call]}, "ims": [1]}, protocol)
    with pytest.raises(DataError, match="could run a program and is not read") as caught:
        open_capture(tmp_path)
    assert "\n" not in str(caught.value) and not trace.exists()
    # The file is what it pretends to be: NumPy itself would call the function.
    if function is builtins.open and protocol == 4:
        with (tmp_path / "annots.npy").open("rb") as stream:
            np.lib.format.read_magic(stream)
            np.lib.format.read_array_header_1_0(stream)
            pickle.load(stream)["cams"]["K"][0].close()
        assert trace.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_plain_values_and_arrays_are_read(tmp_path: Path, protocol: int) -> None:
    value = {
        "a": [1, 2.5, "text", None, True, b"bytes"],
        "t": (np.float32(0.5), np.int64(-3)),
        "m": np.arange(12.0).reshape(3, 4),
        "f": np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3)),
        "o": np.array([{"x": np.ones(2)}, "s"], object),
        "u": np.array(["cam0", "cam11"]),
    }
    write_object(tmp_path / "a.npy", np.array(value, object), protocol)
    found = load_npy_object(tmp_path / "a.npy")
    assert found["a"] == value["a"] and found["t"] == [0.5, -3]
    for key in ("m", "f", "u"):
        np.testing.assert_array_equal(found[key], value[key])
    np.testing.assert_array_equal(found["o"][0]["x"], [1, 1])


def test_damaged_pickles_get_one_line(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", {"m": np.arange(12.0), "t": "x" * 50}, allow_pickle=True)  # type: ignore[arg-type]
    whole = (tmp_path / "a.npy").read_bytes()
    for seed in range(60):
        random = np.random.default_rng(seed)
        damaged = bytearray(whole[: random.integers(1, len(whole))] if seed % 2 else whole)
        for _ in range(3):
            damaged[random.integers(len(damaged))] = random.integers(256)
        (tmp_path / "a.npy").write_bytes(bytes(damaged))
        try:
            load_npy_object(tmp_path / "a.npy")
        except DataError as error:
            assert "\n" not in str(error)


# ---- NHR and ReRF -------------------------------------------------------------------------------------------------


def write_inf(folder: Path, rig: Sequence[Camera]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    poses, lenses = [], []
    for number, camera in enumerate(rig):
        x, y, z = camera.rotation.T
        poses.append(" ".join(f"{v:.9f}" for v in np.concatenate((z, x, y, camera.position))))
        k = layouts.intrinsics(camera)
        lenses.append(f"{number}\n" + "\n".join(" ".join(f"{v:.9f}" for v in row) for row in k) + "\n")
    (folder / "CamPose.inf").write_text("\n".join(poses) + "\n", encoding="utf-8")
    (folder / "Intrinsic.inf").write_text("\n".join(lenses) + "\n", encoding="utf-8")


@pytest.mark.parametrize("unpacked", [False, True], ids=["NHR", "ReRF unpacked"])
def test_nhr_folders_per_frame(tmp_path: Path, unpacked: bool) -> None:
    rig = layouts.rig()
    write_inf(tmp_path, rig)
    for number, camera in enumerate(rig):
        for time, frame in enumerate(layouts.pictures(camera)):
            picture = f"image/{time}/img_{number:04d}.png" if unpacked else f"img/{time}/img_{number:04d}.jpg"
            mask = f"mask/{time}/img_{number:04d}.png" if unpacked else f"img/{time}/mask/img_{number:04d}.jpg"
            layouts.save(tmp_path / picture, layouts.on_background(frame))
            layouts.save(tmp_path / mask, frame[..., 3])
    layouts.assert_reads_back(layouts.opened(tmp_path), rig, layout="nhr", masks=True, tolerance=4.0)


def test_rerf_videos_with_a_missing_camera_and_normalised_bounds(tmp_path: Path) -> None:
    rig = layouts.rig(count=5)
    write_inf(tmp_path, rig)
    for number, camera in enumerate(rig):
        if number == 2:
            continue
        frames = layouts.pictures(camera)
        layouts.write_video(tmp_path / f"image/{number:03d}.mp4", [layouts.on_background(f) for f in frames])
        layouts.write_video(tmp_path / f"mask/{number:03d}.mp4", [np.repeat(f[..., 3:], 3, 2) for f in frames])
    # As ReRF's own preparation normalises: all cameras of CamPose.inf count, the missing one too.
    positions = np.array([camera.position for camera in rig])
    centre = positions.mean(0)
    scale = 2.0 / max((positions - centre).max(), -(positions - centre).min())
    lower, upper = (
        ((np.array(corner) - centre) * scale).tolist() for corner in (captures.BOUNDS.lower, captures.BOUNDS.upper)
    )
    (tmp_path / "bbox.json").write_text(json.dumps({"xyz_min": lower, "xyz_max": upper}), encoding="utf-8")
    sequence = open_capture(tmp_path)
    layouts.assert_reads_back(sequence, [*rig[:2], *rig[3:]], layout="nhr", masks=True, tolerance=4.0)
    assert [camera.name for camera in sequence.cameras] == ["000", "001", "003", "004"]
    assert sequence.bounds_source == "file" and sequence.fps == 30
    np.testing.assert_allclose(sequence.bounds.lower, captures.BOUNDS.lower, atol=1e-6)
    np.testing.assert_allclose(sequence.bounds.upper, captures.BOUNDS.upper, atol=1e-6)


def test_nhr_calibrations_that_do_not_fit(tmp_path: Path) -> None:
    rig = layouts.rig()
    write_inf(tmp_path, rig)
    for number, camera in enumerate([*rig, rig[0]]):
        layouts.save(tmp_path / f"img/0/img_{number:04d}.png", layouts.on_background(captures.trace(camera, 0)))
    with pytest.raises(DataError, match="found 4 lines and a camera 4"):
        layouts.opened(tmp_path)
    text = (tmp_path / "CamPose.inf").read_text(encoding="utf-8")
    (tmp_path / "CamPose.inf").write_text(text + "1 2 3\n", encoding="utf-8")
    with pytest.raises(DataError, match="12 numbers in each line, found 3 in line 5"):
        layouts.opened(tmp_path)
    (tmp_path / "CamPose.inf").write_text(text, encoding="utf-8")
    (tmp_path / "Intrinsic.inf").unlink()
    with pytest.raises(DataError, match=r"Intrinsic.inf: expected a calibration"):
        layouts.opened(tmp_path)


# ---- DNA-Rendering ------------------------------------------------------------------------------------------------


def encoded(pixels: np.ndarray, kind: str) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 97, "subsampling": 0} if kind == "JPEG" else {}))
    return np.frombuffer(file.getvalue(), np.uint8)


def write_smc(folder: Path, rig: Sequence[Camera], k3: float = 0.0) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py (extra hdf5) is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "0012_01.smc", "w") as main, h5py.File(folder / "0012_01_annots.smc", "w") as annotations:
        for number, camera in enumerate(rig):
            group = "Camera_5mp" if number < 3 else "Camera_12mp"
            pose = np.eye(4)
            pose[:3, :3], pose[:3, 3] = camera.rotation, camera.position
            parameters = annotations.create_group(f"Camera_Parameter/{number:02d}")
            parameters["K"], parameters["RT"] = layouts.intrinsics(camera), pose
            parameters["D"] = np.array([camera.k1, camera.k2, camera.p1, camera.p2, k3])
            parameters["Color_Calibration"] = np.eye(3)
            for time, frame in enumerate(layouts.pictures(camera)):
                main[f"{group}/{number}/color/{time}"] = encoded(layouts.on_background(frame), "JPEG")
                mask = np.repeat(frame[..., 3:], 3, axis=2)
                annotations[f"Mask/{number}/mask/{time}"] = encoded(mask, "PNG")
        main["Camera_5mp"].attrs["num_frame"] = layouts.FRAMES


def test_dna_rendering(tmp_path: Path) -> None:
    rig = layouts.rig(LENS)
    write_smc(tmp_path, rig)
    for path in (tmp_path, tmp_path / "0012_01.smc", tmp_path / "0012_01_annots.smc"):
        sequence = layouts.opened(path)
        layouts.assert_reads_back(sequence, rig, layout="dna-rendering", masks=True, tolerance=4.0)
    assert sequence.fps == 15
    assert [(c.name, c.split) for c in sequence.cameras] == [
        ("00", "train"),
        ("01", "train"),
        ("02", "train"),
        ("03", "test"),
    ]


def test_dna_rendering_does_not_ignore_k3(tmp_path: Path) -> None:
    rig = layouts.rig(LENS)
    write_smc(tmp_path, rig, k3=0.5)
    camera = layouts.opened(tmp_path).cameras[0]
    assert (camera.k1, camera.k2, camera.p1, camera.p2) == (0.0, 0.0, 0.0, 0.0), "pictures are undistorted when read"
    write_smc(tmp_path, rig, k3=1e4)
    with pytest.raises(DataError, match="camera 00: expected a lens that can be undistorted"):
        layouts.opened(tmp_path)


def test_dna_rendering_needs_its_annotations(tmp_path: Path) -> None:
    write_smc(tmp_path, layouts.rig())
    (tmp_path / "0013_01.smc").write_bytes(b"")
    with pytest.raises(DataError, match=r"found several .smc files"):
        layouts.opened(tmp_path)
    (tmp_path / "0013_01_annots.smc").write_bytes(b"")
    with pytest.raises(DataError, match="expected a DNA-Rendering file"):
        layouts.opened(tmp_path / "0013_01.smc")
    (tmp_path / "0012_01_annots.smc").unlink()
    with pytest.raises(DataError, match="calibration and masks there"):
        layouts.opened(tmp_path / "0012_01.smc")


def test_without_h5py_there_is_one_line_that_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    for name in ("a.smc", "a_annots.smc"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=r'pip install "taichi_vvc\[hdf5\]"') as caught:
        layouts.opened(tmp_path)
    assert "\n" not in str(caught.value)
