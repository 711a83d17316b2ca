"""The examples as a user starts them, at their smallest settings: that they run and say what they promise.

``encode_decode.py`` and ``free_camera.py`` run in ``test_demo.py``.
"""

from __future__ import annotations

import re

import pytest
from places import ROOT

import taichi_vvc

ELSEWHERE = {"encode_decode", "free_camera"}
PARTS = {"torch_fit", "torch_scene"}  # imported by others
SAVED = r"jointly optimised: +\d+\.\d\d dB, \d+ bytes\nquantised afterwards: \d+\.\d\d dB, \d+ bytes: -?\d+ % saved"
RUNS = {
    "torch_voxels": (["--steps", "4"], SAVED),
    "torch_triplane": (["--steps", "4"], SAVED),
    "rate_distortion": (["--steps", "8"], r"lambda +kB +dB\n(\S+ +\d+\.\d +\d+\.\d\d\n){3}"),
    "own_capture": (["{folder}", "--steps", "8"], r"frame 0: key, \d+ bytes.*\nframe 1: inter, \d+ bytes"),
    "custom_context": (["--steps", "8"], r"coefficients( +\d+){4}\n(level\d +\d+( +\d+){3}\n)+together( +\d+){4}"),
}


def test_every_example_is_run_by_a_test() -> None:
    assert {path.stem for path in (ROOT / "examples").glob("*.py")} == ELSEWHERE | PARTS | RUNS.keys()


@pytest.mark.parametrize("name", RUNS)
def test_example_runs(name: str, python, tmp_path) -> None:
    arguments, expected = RUNS[name]
    folder = tmp_path / "out"
    arguments = [argument.format(folder=folder) for argument in arguments]
    # Started elsewhere: an example must not depend on where it is run, nor leave anything there.
    cwd = tmp_path / "here"
    cwd.mkdir()
    done = python(ROOT / "examples" / f"{name}.py", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    assert re.search(expected, done.stdout), done.stdout
    assert list(cwd.iterdir()) == []
    if name == "own_capture":
        assert len(taichi_vvc.open_capture(folder)) == 2
        assert (folder / "own.tvvc").is_file()
