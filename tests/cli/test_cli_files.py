"""The command line from a capture to pictures: the files and the output of each command."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from captures import write_capture
from commands import CAMERAS, CHILD, FRAMES, SIZE, encode_tiny, expect_error, tiny_preset
from conftest import child_environment
from PIL import Image
from places import DATA

import taichi_vvc
from taichi_vvc.cli import run


@pytest.fixture(scope="module", autouse=True)
def preset() -> Iterator[None]:
    with tiny_preset():
        yield


@pytest.fixture(scope="module")
def encoded(preset, tmp_path_factory) -> tuple[Path, Path, Path]:
    return encode_tiny(tmp_path_factory.mktemp("coded"))


@pytest.fixture(scope="module")
def capture(encoded) -> Path:
    return encoded[0]


@pytest.fixture(scope="module")
def coded(encoded) -> tuple[Path, Path]:
    """A complete file of the capture, and the CSV of its encode."""
    return encoded[1:]


def test_info_matches_the_file_and_needs_nothing_heavy(coded, python) -> None:
    code = (
        "import sys; from taichi_vvc.cli import run; status = run(['info', sys.argv[1], '--json', '--frames']); "
        "assert not {'taichi', 'torch', 'constriction', 'av', 'skimage'} & set(sys.modules); sys.exit(status)"
    )
    done = python("-c", code, coded[0])
    assert done.returncode == 0, done.stderr
    info = json.loads(done.stdout)
    assert info["frames"] == FRAMES and info["complete"] is True and info["bytes"] == coded[0].stat().st_size
    assert info["fps"] == 25 and info["duration"] == pytest.approx(FRAMES / 25)
    assert [gop["first"] for gop in info["gops"]] == [0, 2]
    assert len(info["bounds"]) == 2 and all(len(corner) == 3 for corner in info["bounds"])
    assert [camera["name"] for camera in info["cameras"]] == [f"cam{i:02d}" for i in range(CAMERAS)]
    assert {camera["split"] for camera in info["cameras"]} == {"train", "test"}
    assert info["settings"]["preset"] == "tiny" and info["settings"]["keyint"] == 2
    rows = info["frame_list"]
    assert [row["type"] for row in rows] == ["key", "inter", "key"]
    for row in rows:
        parts = sum(value for name, value in row.items() if name.startswith("bytes_"))
        assert parts == row["bytes"] > 0
    assert sum(row["bytes"] for row in rows) < info["bytes"]


def test_info_as_text_fits_a_screen(coded, capfd) -> None:
    assert run(["info", str(coded[0])]) == 0
    out, err = capfd.readouterr()
    assert "3 frames" in out and "tiny" in out and len(out.splitlines()) < 40 and err == ""


def test_csv_holds_every_frame(coded) -> None:
    with coded[1].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(rows[0])
    assert names[:3] == ["frame", "type", "bytes"]
    assert names[-4:] == ["estimated_bits", "actual_bits", "psnr", "seconds"]
    assert {"bytes_coefficients", "bytes_level1", "bytes_mlp", "bytes_occupancy", "bytes_overhead"} <= set(names)
    assert [int(row["frame"]) for row in rows] == list(range(FRAMES))
    for row in rows:
        assert sum(int(row[name]) for name in names if name.startswith("bytes_")) == int(row["bytes"])
        assert float(row["psnr"]) > 10 and float(row["seconds"]) > 0


def test_verify_prints_the_hash_of_the_symbols(coded, capfd) -> None:
    assert run(["decode", str(coded[0]), "--verify"]) == 0
    with taichi_vvc.open(coded[0]) as stream:
        hashes = stream.hashes()
        assert stream.symbol_hash() == hashes.symbols != hashes.pictures
    assert capfd.readouterr().out == f"symbols sha256 {hashes.symbols}\npictures sha256 {hashes.pictures}\n"
    assert len(bytes.fromhex(hashes.pictures)) == hashlib.sha256().digest_size


def test_info_tells_the_version_of_the_file(capfd) -> None:
    for version in (1, 4):
        file = DATA / f"golden_v{version}.tvvc"
        assert run(["info", str(file), "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["version"] == version


def test_decode_writes_a_picture_per_camera_and_frame(coded, capture, tmp_path, capfd) -> None:
    out = tmp_path / "pictures"
    assert (
        run(["decode", str(coded[0]), "-o", str(out), "--cameras", "test", "--frames", "1:", "--backend", "cpu"]) == 0
    )
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*"))
    assert found == ["cam05", "cam05/0001.png", "cam05/0002.png"]
    picture = np.asarray(Image.open(out / "cam05" / "0001.png"))
    assert picture.shape == (SIZE, SIZE, 3) and picture.std() > 5
    expect_error(capfd, ["decode", coded[0], "-o", out], 2, "-y")
    expect_error(capfd, ["decode", coded[0], "-o", tmp_path / "x", "--cameras", "cam00,who"], 2, "who", "cam05")
    expect_error(capfd, ["decode", coded[0], "-o", tmp_path / "x", "--frames", "1:9"], 2, "has 3 frames")
    assert not (tmp_path / "x").exists()


def test_decode_writes_one_video_per_camera_and_says_which(coded, tmp_path, capfd) -> None:
    whole, parts = tmp_path / "v.mp4", [tmp_path / f"v_cam{i:02d}.mp4" for i in range(CAMERAS)]
    arguments = ["decode", str(coded[0]), "-o", str(whole), "--backend", "cpu"]
    assert result_line(capfd, [*arguments, "--cameras", "cam00,cam02"]) == (
        f"{parts[0]}, {parts[2]}: {FRAMES} frames of 2 cameras"
    )
    assert sorted(tmp_path.iterdir()) == [parts[0], parts[2]]
    result = result_event(capfd, [*arguments, "--cameras", "cam00,cam02", "-y"])
    assert (result["output"], result["outputs"]) == (None, [str(parts[0]), str(parts[2])])
    said = result_line(capfd, [*arguments, "-y", "--frames", "0"])
    assert said == f"{parts[0]}, {parts[1]}, {parts[2]} and {CAMERAS - 3} more: 1 frame of {CAMERAS} cameras"
    assert sorted(tmp_path.iterdir()) == parts
    result = result_event(capfd, [*arguments, "--cameras", "cam01"])
    assert (result["output"], result["outputs"]) == (str(whole), [str(whole)])
    assert frames_of_video(whole) == (FRAMES, SIZE, SIZE)


def result_line(capfd, arguments: list[str]) -> str:
    """The last line that a command says on stderr."""
    capfd.readouterr()
    assert run(arguments) == 0
    return capfd.readouterr().err.splitlines()[-1]


def result_event(capfd, arguments: list[str]) -> dict:
    """The same for programs."""
    event = json.loads(result_line(capfd, [*arguments, "--progress", "json"]))
    assert event["event"] == "result"
    return event


def frames_of_video(path: Path) -> tuple[int, int, int]:
    """(pictures, width, height)."""
    import av

    with av.open(str(path)) as container:
        pictures = list(container.decode(video=0))
    return len(pictures), pictures[0].width, pictures[0].height


def test_eval_compares_with_the_capture(coded, capture, capfd) -> None:
    capfd.readouterr()
    assert run(["eval", str(coded[0]), str(capture), "--json", "--backend", "cpu"]) == 0
    out, _ = capfd.readouterr()
    figures = json.loads(out)
    assert set(figures) == {
        "psnr",
        "psnr_foreground",
        "psnr_plain",
        "ssim",
        "flicker",
        "flicker_capture",
        "flicker_key",
        "flicker_key_capture",
        "bytes",
        "frames",
        "bytes_per_frame",
        "bitrate_kbps",
        "per_frame",
        "split",
        "cameras",
        "held_out",
        "background",
    }
    assert figures["split"] == "test" and figures["frames"] == FRAMES
    size = coded[0].stat().st_size
    assert figures["bytes"] == size and figures["bytes_per_frame"] == pytest.approx(size / FRAMES)
    assert figures["bitrate_kbps"] == pytest.approx(size * 8 / 1000 / (FRAMES / 25))
    assert 10 < figures["psnr_foreground"] < figures["psnr"] < 60 and 0 < figures["ssim"] <= 1
    rows = figures["per_frame"]
    assert [row["frame"] for row in rows] == list(range(FRAMES))
    known = {"frame", "type", "bytes", "psnr", "psnr_foreground", "ssim", "flicker", "flicker_capture"}
    assert all(set(row) == known for row in rows)
    assert figures["psnr"] == pytest.approx(np.mean([row["psnr"] for row in rows]))


def test_eval_computes_what_it_says(coded, capture, capfd) -> None:
    """The PSNR of the held-out camera, recomputed here from the capture's files and the Python API.

    The file has its cameras rounded."""
    capfd.readouterr()
    assert run(["eval", str(coded[0]), str(capture), "--json", "--backend", "cpu", "--split", "test"]) == 0
    figures = json.loads(capfd.readouterr().out)
    with taichi_vvc.open(coded[0]) as stream:
        (camera,) = (camera for camera in stream.cameras if camera.split == "test")
        for number, row in enumerate(figures["per_frame"]):
            rgba = np.asarray(Image.open(capture / "images" / camera.name / f"{number:04d}.png")) / 255.0
            truth = rgba[..., :3] * rgba[..., 3:] + np.array(figures["background"]) * (1 - rgba[..., 3:])
            shown = taichi_vvc.render(stream[number], camera, stream.background).colour
            assert row["psnr"] == pytest.approx(-10 * np.log10(np.mean((truth - shown) ** 2)), abs=0.02)


def test_eval_refuses_another_capture(coded, tmp_path, capfd) -> None:
    other = write_capture(tmp_path / "other", cameras=4, frames=1, size=SIZE)
    expect_error(capfd, ["eval", coded[0], other, "--backend", "cpu"], 3)


def test_a_closed_pipe_is_quiet(coded) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, "info", str(coded[0]), "--json", "--frames"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(60) == 1 and err == b""


def piped(*arguments: object) -> tuple[int, bytes, str]:
    """Status, stdout and stderr of the command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", CHILD, *map(str, arguments)],
        capture_output=True,
        env=child_environment(),
        timeout=300,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr.decode("utf-8")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("render", "--path", "orbit", "--size", "24x16", "--fps", "5", "--duration", "4"), (20, 24, 16)),
        (("decode", "--cameras", "cam01"), (FRAMES, SIZE, SIZE)),
    ],
)
def test_a_video_on_stdout_is_whole_and_nothing_else(coded, tmp_path, arguments, expected) -> None:
    command, *options = arguments
    status, out, err = piped(command, coded[0], "-o", "-", *options, "--backend", "cpu")
    assert status == 0 and out[:4] == b"\x1aE\xdf\xa3", err  # how Matroska begins
    (tmp_path / "piped.mkv").write_bytes(out)
    assert frames_of_video(tmp_path / "piped.mkv") == expected
    said = [line for line in err.splitlines() if " pictures of 24x16, about " not in line]
    assert len(said) == 1 and said[0].startswith("-: ")


def test_a_closed_pipe_ends_a_video_quietly(coded) -> None:
    command = ["render", coded[0], "-o", "-", "--path", "orbit", "--size", "24x16", "--backend", "cpu", "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *map(str, command)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
    )
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(120) == 1 and err == b""


def test_stdout_is_for_one_video_and_for_text(coded, capture, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.chdir(tmp_path)
    expect_error(capfd, ["decode", coded[0], "-o", "-"], 2, "one camera, found 6", "--cameras")
    expect_error(capfd, ["convert", capture, "-o", "-"], 2, "cannot go to stdout")
    expect_error(capfd, ["inspect", capture, "-o", "-"], 2, ".png")
    expect_error(capfd, ["encode", capture, "-o", "-"], 2, "cannot go to stdout")
    expect_error(capfd, ["eval", coded[0], capture, "--report", "-"], 2, "cannot go to stdout")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    expect_error(capfd, ["decode", coded[0], "-o", "-", "--cameras", "cam01"], 2, "which is a terminal")
    assert list(tmp_path.iterdir()) == []
