"""Colours of cameras from capture to file and back: what is planted is found, taken off, stored, and put on again."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import captures
import independent_reader
import numpy as np
import plain_cameras
import pytest
from PIL import Image
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.cli import run
from taichi_vvc.coding.headers import colour_map, numbers_of_map
from taichi_vvc.config import EncoderConfig
from taichi_vvc.encoder.colours import looks_for
from taichi_vvc.measure.evaluate import evaluate
from taichi_vvc.media.colour_maps import corrected, looks_of, shown, with_looks
from taichi_vvc.types import ColourMap, View

# The neighbours of the held-out camera, which its view hangs on most.
PLANTED = {"cam10": (1.4, 1.4, 1.4), "cam00": (1.15, 1.0, 0.8)}
CONFIG = EncoderConfig(**{**TWO_LEVELS, "key_iterations": 250, "keyint": 1})


def capture(folder: Path, planted: dict, masks: str | None = None) -> Path:
    """Twelve cameras, the last held out, two frames."""
    captures.write_capture(folder, cameras=12, frames=2, size=40, masks=masks, background=(0.25, 0.3, 0.35))
    captures.plant_colours(folder, planted)
    return folder


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return capture(tmp_path_factory.mktemp("clean"), {})


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return capture(tmp_path_factory.mktemp("planted"), PLANTED)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, clean: Path, planted: Path) -> dict[str, Path]:
    """A file of the clean capture, and of the other one without and with maps."""
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for name, source, colours in (("clean", clean, "auto"), ("off", planted, "off"), ("auto", planted, "auto")):
        made[name] = folder / f"{name}.tvvc"
        list(tv.encode(tv.open_capture(source), replace(CONFIG, colours=colours), made[name]))
    return made


def test_auto_is_on_where_cameras_differ_and_there_are_no_masks(clean: Path, planted: Path, tmp_path: Path) -> None:
    assert looks_for(tv.open_capture(clean), CONFIG) == ()
    assert looks_for(tv.open_capture(planted), replace(CONFIG, colours="off")) == ()
    assert len(looks_for(tv.open_capture(clean), replace(CONFIG, colours="on"))) == 12
    masked = tv.open_capture(capture(tmp_path, PLANTED, masks="alpha"))
    assert looks_for(masked, CONFIG) == ()
    with_masks = looks_for(masked, replace(CONFIG, colours="on"))
    assert [look.backdrop for look in with_masks] == [False] * 12
    looks = looks_for(tv.open_capture(planted), CONFIG)
    assert [look.backdrop for look in looks] == [True] * 12
    for look, camera in zip(looks, tv.open_capture(planted).cameras, strict=True):
        np.testing.assert_allclose(look.gain, PLANTED.get(camera.name, (1.0,) * 3), atol=0.05)
        assert look.offset == (0.0, 0.0, 0.0)


def test_nothing_is_fitted_to_held_out_cameras(tmp_path: Path) -> None:
    # Of cameras that are all held out but for their names, nothing may be known.
    folder = capture(tmp_path, {**PLANTED, "cam11": (0.7, 0.7, 0.7)})
    sequence = tv.open_capture(folder)
    looks = looks_for(sequence, CONFIG)
    assert sequence.cameras[11].split == "test" and looks[11].identity
    captures.plant_colours(folder, {"cam11": (0.5, 0.7, 0.9)})
    assert looks_for(tv.open_capture(folder), CONFIG) == looks


def test_with_maps_a_held_out_view_is_what_it_is_without_the_differences(
    files: dict[str, Path], clean: Path, planted: Path
) -> None:
    quality = {name: evaluate(files[name], clean)["psnr"] for name in files}
    assert quality["auto"] > quality["off"] + 1.0
    assert quality["auto"] > quality["clean"] - 0.5
    assert [files[name].read_bytes()[4] for name in ("clean", "off", "auto")] == [8, 8, 8]
    own = evaluate(files["auto"], planted, split="train")
    assert own["psnr"] > own["psnr_plain"] + 1.0
    assert evaluate(files["off"], planted, split="train")["psnr_plain"] is None
    held_out = evaluate(files["auto"], planted, split="test")
    assert held_out["psnr"] == held_out["psnr_plain"] == pytest.approx(quality["auto"])


def test_maps_are_in_the_file_once(files: dict[str, Path]) -> None:
    found = independent_reader.read_file(files["auto"].read_bytes())
    first, second = found["groups"]
    assert len(first["colours"]) < 7 * 12 and second["colours"] == b"" and second["maps"] == first["maps"]
    maps = plain_cameras.colour_maps(first["maps"], 12)
    with tv.open(files["auto"]) as stream:
        for index in (1, 0):
            looks = stream.looks_at(index)
            assert [[*gain, *offset] for gain, offset in map(numbers_of_map, looks)] == maps["numbers"]
    for name, gain in PLANTED.items():
        numbers = maps["numbers"][int(name[3:])]
        np.testing.assert_allclose(1 + np.array(numbers[:3]) / 256, gain, atol=0.05)


def test_an_encode_goes_on_with_the_maps_of_the_file(files: dict[str, Path], planted: Path, tmp_path: Path) -> None:
    data = files["auto"].read_bytes()
    with tv.open(files["auto"]) as stream:
        last = stream.info(1).bytes
    index = len(independent_reader.chunks(data)[-1][2]) + 12
    for cut in (index, index + last, index + last + 5):
        part = tmp_path / f"{cut}.tvvc"
        part.write_bytes(data[:-cut])
        list(tv.encode(tv.open_capture(planted), CONFIG, part, resume=True))
        assert part.read_bytes() == data


def test_decode_shows_what_the_camera_showed_and_render_does_not(
    files: dict[str, Path], planted: Path, tmp_path: Path
) -> None:
    file = str(files["auto"])
    assert run(["decode", file, "-o", f"{tmp_path}/own/", "--cameras", "cam10,cam03", "--frames", "0"]) == 0
    assert run(["render", file, "-o", f"{tmp_path}/free.png", "--camera", "cam10", "--frame", "0"]) == 0
    own, other = (np.array(Image.open(tmp_path / f"own/{name}/0000.png")) for name in ("cam10", "cam03"))
    free = np.array(Image.open(tmp_path / "free.png"))[..., :3]
    truth, plain = (np.array(Image.open(planted / f"images/{name}/0000.png")) for name in ("cam10", "cam03"))
    assert own.mean() == pytest.approx(truth.mean(), rel=0.04)
    assert other.mean() == pytest.approx(plain.mean(), rel=0.04)
    assert free.mean() == pytest.approx(truth.mean() / 1.4, rel=0.06)
    with tv.open(file) as stream:
        look = stream.looks_at(0)[10]
        image = tv.render(stream[0], stream.cameras[10], stream.background)
    expected = 255 * shown(image.colour, image.opacity, stream.background, look) + 0.5
    np.testing.assert_array_equal(own, expected.astype(np.uint8))


def test_info_has_the_gains(files: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", str(files["auto"]), "--json"]) == 0
    cameras = json.loads(capsys.readouterr().out)["cameras"]
    assert [round(g, 1) for g in cameras[10]["gain"]] == [1.4] * 3 and cameras[11]["gain"] == [1.0] * 3
    assert run(["info", str(files["auto"])]) == 0
    assert "(red green blue): cam10 1." in capsys.readouterr().out
    assert run(["info", str(files["off"]), "--json"]) == 0
    assert "gain" not in json.loads(capsys.readouterr().out)["cameras"][0]


def test_hashes_of_pictures_cover_the_maps(files: dict[str, Path]) -> None:
    with tv.open(files["auto"]) as stream:
        before, looks = stream.hashes(), stream.looks_at(0)
        stream.looks_at = lambda index: (replace(looks[0], backdrop=False), *looks[1:])  # type: ignore[method-assign]
        after = stream.hashes()
    assert before.symbols == after.symbols and before.pictures != after.pictures


def view_of(image: np.ndarray, look: ColourMap | None) -> View:
    height, width = image.shape[:2]
    return View(replace(captures.ring_cameras(1, (width, height))[0]), image, look=look)


def test_corrected_pictures_are_those_that_were_shown() -> None:
    rng = np.random.default_rng(1)
    scene = rng.integers(0, 256, (16, 20, 4), np.uint8)
    scene[..., 3] = 255
    look = ColourMap((1.25, 0.75, 1.0), (0.0, 0.125, -0.0625))
    picture = 255 * shown(scene[..., :3] / np.float32(255), np.ones((16, 20)), (0, 0, 0), look)
    image = np.concatenate((np.rint(picture).astype(np.uint8), scene[..., 3:]), axis=2)
    view = corrected(view_of(image, look))
    assert view.look is None and view.unknown is not None
    lost = view.unknown
    # White that is the scene's and white that is too bright for the camera are the same to it.
    assert 0.1 < lost.mean() < 0.5 and (scene[lost][:, 0] > 203).mean() + (scene[lost][:, 2] < 18).mean() > 0.95
    assert np.abs(view.image[~lost].astype(int) - scene[~lost]).max() <= 1
    plain = view_of(image, None)
    assert corrected(plain) is plain


def test_pixels_that_were_unknown_stay_so_and_empty_ones_are_not() -> None:
    image = np.full((4, 4, 4), 255, np.uint8)
    image[0, :, 3] = 0
    unknown = np.zeros((4, 4), bool)
    unknown[0, 0] = True
    view = corrected(replace(view_of(image, ColourMap((1.5, 1.5, 1.5))), unknown=unknown))
    assert view.unknown is not None and view.unknown[0].tolist() == [True, False, False, False]
    assert view.unknown[1:].all()


def test_maps_hold_for_the_background_where_it_was_filmed() -> None:
    colour, opacity = np.full((1, 2, 3), 0.4, np.float32), np.array([[1.0, 0.25]], np.float32)
    colour[0, 1] = 0.25 * 0.4 + 0.75 * 0.6
    look = ColourMap((1.5, 1.5, 1.5), (0.1, 0.1, 0.1))
    whole = shown(colour, opacity, (0.6,) * 3, look)
    np.testing.assert_allclose(whole[0, :, 0], [0.7, 1.5 * colour[0, 1, 0] + 0.1], rtol=1e-6)
    subject = shown(colour, opacity, (0.6,) * 3, replace(look, backdrop=False))
    np.testing.assert_allclose(subject[0, :, 0], [0.7, 0.25 * 0.7 + 0.75 * 0.6], rtol=1e-6)
    assert shown(colour, opacity, (0.6,) * 3, None) is colour


def test_maps_go_with_names() -> None:
    looks = (ColourMap(), ColourMap((1.5, 1.0, 1.0)))
    assert looks_of(["a", "b"], looks) == {"b": looks[1]} and looks_of(["a", "b"], ()) == {}
    views = tuple(replace(view_of(np.zeros((2, 2, 4), np.uint8), None)) for _ in range(2))
    views = tuple(replace(v, camera=replace(v.camera, name=name)) for v, name in zip(views, "ba", strict=True))
    assert [v.look for v in with_looks(views, looks_of(["a", "b"], looks))] == [looks[1], None]


def test_numbers_are_rounded_and_limited() -> None:
    assert numbers_of_map(ColourMap((1.0021, 9.0, 0.01), (0.5, -2.0, 2.0))) == ((1, 768, -192), (128, -256, 256))
    for numbers in (((16, -8, 4), (0, 2, -3)), ((768, -192, 0), (256, -256, 0))):
        assert numbers_of_map(colour_map(numbers, True)) == numbers
    assert math.isclose(colour_map(((64, 0, 0), (0, 0, 0)), True).gain[0], 1.25)
