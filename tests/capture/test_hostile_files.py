"""Capture files that would take excessive time or memory, or run code, and file names that are impossible."""

from __future__ import annotations

import io
import pickle
import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import captures
import layouts
import numpy as np
import pytest
from commands import expect_error
from PIL import EpsImagePlugin, Image
from places import ROOT
from test_hostile_captures import LONG, is_refused_in_one_line_or_read
from test_readers_colmap import write_model
from test_readers_studio import write_object, write_smc, write_zju
from test_readers_video import write_llff

from taichi_vvc.capture.frame_rates import frame_rate
from taichi_vvc.capture.readers import safepickle
from taichi_vvc.capture.readers.footage import natural
from taichi_vvc.capture.readers.npy import load_numbers
from taichi_vvc.capture.readers.parse import short
from taichi_vvc.capture.sequence import open_capture
from taichi_vvc.errors import DataError, TvvcError
from taichi_vvc.media import images


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture whose JSON is changed by the tests; its pictures are not."""
    return captures.write_capture(tmp_path_factory.mktemp("hostile"), cameras=3, frames=1, size=32, test_cameras=0)


@pytest.fixture
def changed(good: Path) -> Any:
    """Changes the JSON and returns the capture's folder."""
    before = captures.read_document(good)

    def change(update: Callable[[dict[str, Any]], Any]) -> Path:
        document = captures.read_document(good)
        update(document)
        captures.write_document(good, document)
        return good

    yield change
    captures.write_document(good, before)


# ---- values that a file cannot hold -------------------------------------------------------------------------------

TOO_MUCH = {
    "focal length": (
        lambda d: d.update(fl_x=1e30, fl_y=1e30),
        ["camera cam00", "focal lengths of 1e-06 to 1e+09 pixels, found 1e+30"],
    ),
    "focal length of one": (lambda d: d["frames"][1].update(fl_x=1e30), ["camera cam01", "found 1e+30"]),
    "name": (lambda d: d["frames"][2].update(camera="n" * 300), ["camera nnn", "at most 255 bytes, found 300"]),
    "name of wide letters": (lambda d: d["frames"][2].update(camera="\u3042" * 86), ["at most 255 bytes, found 258"]),
    "name of half a letter": (lambda d: d["frames"][2].update(camera="\ud800"), ["camera \\xd800", "UTF-8"]),
    "bounds": (lambda d: d.update(aabb=[[-1e308] * 3, [1e308] * 3]), ["bounds of coordinates up to 1e+12"]),
    "small bounds": (lambda d: d.update(aabb=[[0] * 3, [1e-300] * 3]), ["longest side is at least 1.024e-09"]),
    "position": (lambda d: d["frames"][1]["transform_matrix"][0].__setitem__(3, 1e200), ["camera cam01", "1e+200"]),
    "principal point": (lambda d: d["frames"][0].update(cx=-1e300), ["camera cam00", "a principal point", "1e+300"]),
    "distortion": (lambda d: d["frames"][0].update(k2=1e30), ["camera cam00", "distortion up to 1e+06, found 1e+30"]),
}


@pytest.mark.parametrize("what", TOO_MUCH)
def test_inspect_and_encode_say_the_same(changed: Any, capfd: pytest.CaptureFixture, tmp_path: Path, what: str) -> None:
    change, parts = TOO_MUCH[what]
    folder = changed(change)
    expect_error(capfd, ["inspect", folder], 3, *parts)
    expect_error(capfd, ["encode", folder, "-o", tmp_path / "a.tvvc", "--backend", "cpu"], 3, *parts)
    assert not (tmp_path / "a.tvvc").exists()


# ---- numbers ------------------------------------------------------------------------------------------------------


def test_integers_of_more_digits_than_python_reads(good: Path) -> None:
    file = good / "transforms.json"
    text = file.read_text(encoding="utf-8")
    try:
        file.write_text(text.replace('"fps": 25', f'"fps": {LONG}'), encoding="utf-8")
        with pytest.raises(DataError, match=r"transforms\.json: expected JSON, found an error: .*digits"):
            open_capture(good)
    finally:
        file.write_text(text, encoding="utf-8")
    assert natural(f"cam{LONG}") > natural("cam2") and short(10**5000).startswith("a value of type int")


@pytest.mark.parametrize(
    "rate", ["1e999999999", "1e-999999999", LONG, "1/1e999999999", f"1/{LONG}", 1e300, 10**4000, "nan"]
)
def test_rates_that_would_take_for_ever(changed: Any, rate: Any) -> None:
    assert frame_rate(rate) is None
    with pytest.raises(DataError, match='"fps" to be a positive number or a ratio'):
        open_capture(changed(lambda document: document.update(fps=rate)))


def test_rates_are_what_they_were() -> None:
    rates = {
        "30000/1001": Fraction(30000, 1001),
        "29.97": Fraction(2997, 100),
        25: 25,
        0.1: Fraction(1, 10),
        "2.5e1": 25,
        "29.970029970029970": Fraction(30000, 1001),
    }
    assert {text: frame_rate(text) for text in rates} == rates


# ---- names --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 300, "a\0b", "\ud800", ".", "/", "", "a" * 5000 + ".mp4"])
@pytest.mark.parametrize("key", ["file_path", "mask_path"])
def test_names_that_no_file_has(changed: Any, key: str, name: str) -> None:
    for named in (True, False):

        def change(document: dict[str, Any], named: bool = named) -> None:
            document["frames"][1][key] = name
            if not named:
                [record.pop("camera", None) for record in document["frames"]]

        is_refused_in_one_line_or_read(changed(change))


def test_names_in_annotations_and_models(tmp_path: Path) -> None:
    rig = layouts.rig(count=2)
    annotations = write_zju(tmp_path / "zju", rig)
    for name in ("y" * 5000, "a\0b", "", ".", "/x"):
        annotations["ims"][1]["ims"][0] = name
        np.save(tmp_path / "zju/annots.npy", annotations, allow_pickle=True)  # type: ignore[arg-type]
        with pytest.raises(DataError, match=r"images are missing|below its folder"):
            layouts.opened(tmp_path / "zju")
    write_model(tmp_path / "scene/sparse/0", rig, ["z" * 5000, f"sub/{'z' * 5000}"], "PINHOLE", "bin")
    layouts.save(tmp_path / "scene/images/cam00.png", layouts.pictures(rig[0], 1)[0])
    with pytest.raises(DataError, match="images named like the cameras"):
        layouts.opened(tmp_path / "scene")


def test_a_message_is_one_line_of_a_readable_length() -> None:
    text = str(TvvcError("first\nsecond\x1b[31m\u2028" + "n" * 9000 + "end"))
    assert text.startswith("first\\x0asecond\\x1b[31m\\x2028nnn") and text.endswith("nend")
    assert len(text) < 1100 and text.isprintable()


# ---- arrays and pickles -------------------------------------------------------------------------------------------


def header(shape: str, kind: str = "<f8") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (64 - (len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "start",
    [
        *(
            header(shape)
            for shape in ("(1000000000000, 17)", "(-1, 17)", "(2, 17, 0, 99999999999999999999)", "(True,)")
        ),
        *(header("(2, 17)", kind) for kind in ("|O", "<c16", "|V99999999", "<U9999999")),
        *(header(shape) for shape in ("'x'", "()", "(" * 90 + ")" * 90, f"({'9' * 4500},)")),
    ],
)
def test_headers_of_arrays_that_promise_more_than_there_is(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "poses_bounds.npy").write_bytes(start + b"\0" * 100)
    with pytest.raises(DataError, match="expected an array of numbers"):
        load_numbers(tmp_path / "poses_bounds.npy")
    is_refused_in_one_line_or_read(tmp_path)


@pytest.mark.parametrize("kind", [np.float32, np.int16, ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_are_read_as_numpy_reads_them(tmp_path: Path, kind: Any, order: Any) -> None:
    values = np.array(np.arange(34).reshape(2, 17), kind, order=order)
    np.save(tmp_path / "a.npy", values)
    np.testing.assert_array_equal(load_numbers(tmp_path / "a.npy"), values)


@pytest.mark.parametrize("value", [0.0, -1.0, 1e-320, 1e30, 1e200, -1e308, np.nan, np.inf])
def test_numbers_in_poses_bounds(tmp_path: Path, value: float) -> None:
    write_llff(tmp_path, layouts.rig(count=3))
    rows = np.load(tmp_path / "poses_bounds.npy")
    for column in range(17):
        hostile = rows.copy()
        hostile[1, column] = value
        np.save(tmp_path / "poses_bounds.npy", hostile)
        is_refused_in_one_line_or_read(tmp_path)


@pytest.mark.parametrize("value", [0.0, 1e-320, 1e30, 1e200, -1e308, np.nan, np.inf])
def test_numbers_in_binary_models(tmp_path: Path, value: float) -> None:
    rig = layouts.rig(count=3)
    write_model(tmp_path / "sparse/0", rig, [f"{c.name}.png" for c in rig], "OPENCV", "bin")
    for camera in rig:
        layouts.save(tmp_path / f"images/{camera.name}.png", layouts.on_background(layouts.pictures(camera, 1)[0]))
    assert len(open_capture(tmp_path).cameras) == 3
    for name, start in (("cameras", 8 + 24), ("images", 8 + 4)):
        file = tmp_path / f"sparse/0/{name}.bin"
        whole = file.read_bytes()
        for number in range(8 if name == "cameras" else 7):
            at = start + 8 * number
            file.write_bytes(whole[:at] + struct.pack("<d", value) + whole[at + 8 :])
            is_refused_in_one_line_or_read(tmp_path)
        file.write_bytes(whole)


def test_data_sets_that_were_never_written(tmp_path: Path) -> None:
    """HDF5 stores nothing for them, and a reader would allocate all."""
    h5py = pytest.importorskip("h5py", reason="h5py (extra hdf5) is not installed")
    write_smc(tmp_path, layouts.rig(count=2))
    for key, shape in (("K", (1 << 20, 1 << 20)), ("D", (1 << 31,)), ("RT", None)):
        with h5py.File(tmp_path / "0012_01_annots.smc", "r+") as file:
            group = file["Camera_Parameter/01"]
            before = group[key][()]
            del group[key]
            if shape is None:
                group[key] = h5py.Empty("f8")
            else:
                group.create_dataset(key, shape, "f8", chunks=True)
        with pytest.raises(DataError, match=f"Camera_Parameter/01/{key} with .* values, more than 1000"):
            layouts.opened(tmp_path)
        with h5py.File(tmp_path / "0012_01_annots.smc", "r+") as file:
            del file["Camera_Parameter/01"][key]
            file["Camera_Parameter/01"][key] = before
    with h5py.File(tmp_path / "0012_01.smc", "r+") as file:
        del file["Camera_5mp/1/color/0"]
        file.create_dataset("Camera_5mp/1/color/0", (1 << 40,), "u1", chunks=True)
    with pytest.raises(DataError, match=r"color/0 with .* values, more than"):
        layouts.opened(tmp_path)


def bomb(levels: int) -> Any:
    """Lists that contain the same list ten times, nested: some hundred bytes as a pickle, 10 ** levels values."""
    value: Any = [0] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


def itself() -> list:
    value: list = []
    value.append(value)
    return value


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("value", [bomb(25), bomb(7), {"cams": bomb(20), "ims": [1]}, itself(), 1 << 300])
def test_a_pickle_that_means_more_than_it_says(tmp_path: Path, value: Any, protocol: int) -> None:
    write_object(tmp_path / "annots.npy", value, protocol)
    with pytest.raises(DataError, match=r"more than 4194304 values|nested too deeply|more than 64 bits"):
        safepickle.load_npy_object(tmp_path / "annots.npy")


def test_a_pickle_that_numbers_its_values_as_it_likes(tmp_path: Path) -> None:
    np.save(tmp_path / "annots.npy", np.array([None], object), allow_pickle=True)
    start = (tmp_path / "annots.npy").read_bytes().split(b"\x80")[0]
    for number in (1 << 20, (1 << 32) - 1):
        program = pickle.PROTO + b"\x02" + pickle.NONE + pickle.LONG_BINPUT + struct.pack("<I", number) + pickle.STOP
        (tmp_path / "annots.npy").write_bytes(start + program)
        with pytest.raises(DataError, match="numbered values out of order"):
            safepickle.load_npy_object(tmp_path / "annots.npy")


@pytest.mark.parametrize("key", ["K", "R", "T", "D"])
@pytest.mark.parametrize("value", [7, 1e308, "x", [], {}, np.float64(2), np.zeros(()), np.full((3, 3), 1e200), bomb(3)])
def test_values_in_annotations(tmp_path: Path, key: str, value: Any) -> None:
    annotations = write_zju(tmp_path, layouts.rig(count=2))
    for whole in (True, False):
        cams = {**annotations["cams"], key: value if whole else [value, *annotations["cams"][key][1:]]}
        np.save(tmp_path / "annots.npy", {**annotations, "cams": cams}, allow_pickle=True)  # type: ignore[arg-type]
        is_refused_in_one_line_or_read(tmp_path)


# ---- pictures -----------------------------------------------------------------------------------------------------


def png_of(width: int, height: int) -> bytes:
    """The header of a PNG of that size and the beginning of its data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    start = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + chunk(b"IDAT", zlib.compress(b"\0" * 100))


@pytest.mark.filterwarnings("ignore")  # of Pillow; open_capture keeps them back
@pytest.mark.parametrize("size", [(13000, 13000), (11586, 11586), (60000, 60000), (1 << 27, 2)])
def test_pictures_of_too_many_pixels_are_refused_by_their_header(tmp_path: Path, size: tuple[int, int]) -> None:
    folder = captures.write_capture(tmp_path, cameras=2, frames=1, size=32, test_cameras=0)
    (folder / "images/cam01/0000.png").write_bytes(png_of(*size))
    for options in ({}, {"bounds": captures.BOUNDS}):
        with pytest.raises(DataError, match=r"0000\.png: expected at most 134217728 pixels, found"):
            open_capture(folder, **options)
    with pytest.raises(DataError, match="expected at most 134217728 pixels"):
        images.read_rgba(folder / "images/cam00/0000.png", folder / "images/cam01/0000.png")
    is_refused_in_one_line_or_read(folder)


def test_the_largest_picture_is_not_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png_of(8192, 16384))
    with pytest.warns(Image.DecompressionBombWarning):  # of Pillow, at its own limit; open_capture keeps it back
        assert images.image_size(tmp_path / "a.png") == (8192, 16384)


def test_only_the_formats_of_the_documentation_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **options: started.append(arguments))
    monkeypatch.setattr(EpsImagePlugin, "has_ghostscript", lambda: True)
    for kind in ("EPS", "GIF", "ICO", "TGA", "PCX"):
        file = io.BytesIO()
        Image.new("RGB", (8, 8)).save(file, kind)
        (tmp_path / "a.png").write_bytes(file.getvalue())
        with pytest.raises(DataError, match=r"a\.png: expected an image in PNG, JPEG, .* or PPM, found none of them"):
            images.read_rgba(tmp_path / "a.png")
    assert not started
    documented = (ROOT / "docs/capture.md").read_text(encoding="utf-8")
    for kind in images.FORMATS:
        options = {"lossless": True} if kind == "WEBP" else {}
        Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "b.png", kind, **options)
        assert abs(int(images.read_rgba(tmp_path / "b.png")[0, 0, 0]) - 255) < 3
        assert kind in documented.upper()


@pytest.mark.filterwarnings("ignore")  # of Pillow; open_capture keeps them back
@pytest.mark.parametrize("kind", images.FORMATS)
def test_damaged_pictures_get_one_line(kind: str, capfd: pytest.CaptureFixture) -> None:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (9, 11, 3), np.uint8)).save(file, kind)
    whole = file.getvalue()
    refused = 0
    for at in range(min(len(whole), 120)):
        for value in (0, 255):
            data = whole[:at] + bytes([value]) + whole[at + 1 :]
            try:
                images.encoded_size(data, "here")
                images.decode_rgba(data, "here")
            except DataError as error:
                refused += 1
                assert str(error).startswith("here: ") and str(error).isprintable()
    assert refused > 5
    assert capfd.readouterr() == ("", "")
