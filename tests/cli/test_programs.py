"""The command line as used by programs and shells: JSON progress, CSV on stdout, suggestions, completion."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from fractions import Fraction

import pytest
from captures import write_capture
from conftest import child_environment

from taichi_vvc.cli import COMMANDS, progress, run
from taichi_vvc.cli.encode import encode_costs
from taichi_vvc.cli.progress import emit
from taichi_vvc.config import EncoderConfig

SMALLEST = dict(
    preset="smallest",
    coefficients=6,
    level_nodes=(6,),
    level_channels=(2,),
    level_frequencies=(1.0,),
    occupancy_cells=12,
    steps_per_side=24,
    rays=128,
    key_iterations=20,
    inter_iterations=10,
)


# A child process that knows the preset: taichi looks at sys.stdout, which is not what it seems under pytest.
CHILD = (
    "import sys; from taichi_vvc import config; "
    f"config.PRESETS['smallest'] = config.EncoderConfig(**{SMALLEST!r}); "
    "from taichi_vvc.cli import main; main()"
)


def child(status: int, *arguments: object, code: str = CHILD, **environment: str) -> tuple[str, str]:
    """Runs the command line in a child process, which must end with ``status``; returns stdout and stderr."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**child_environment(), **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


def events(text: str) -> list[dict]:
    """The events on stderr; anything that is no JSON object fails."""
    found = [json.loads(line) for line in text.splitlines()]
    assert found and all(isinstance(event, dict) and "event" in event for event in found)
    return found


def test_progress_as_json(tmp_path) -> None:
    capture, output = write_capture(tmp_path / "capture", cameras=4, frames=2, size=24), tmp_path / "a.tvvc"
    arguments = ["encode", capture, "-o", output, "--preset", "smallest", "--backend", "cpu", "--csv", "-"]
    out, err = child(0, *arguments, "--progress", "json")
    found = events(err)
    assert [event["event"] for event in found][-1] == "result"
    first = next(event for event in found if event["event"] == "progress")
    assert first | {"task": "encode", "total": 2, "frame": 0, "steps": 20} == first
    assert {"done", "elapsed_s", "eta_s", "step", "psnr", "bits", "text"} <= set(first)
    items = [event for event in found if event["event"] == "item"]
    assert [(item["frame"], item["type"], item["done"]) for item in items] == [(0, "key", 1), (1, "inter", 2)]
    assert all(sum(item["components"].values()) == item["bytes"] for item in items)
    result = found[-1]
    assert (result["output"], result["frames"], result["encoded"]) == (str(output), 2, 2)
    assert result["bytes"] == output.stat().st_size
    # The same figures went to stdout as CSV, and nothing else did.
    header, *rows = (line.split(",") for line in out.splitlines())
    assert header[:3] == ["frame", "type", "bytes"]
    assert [int(row[2]) for row in rows] == [item["bytes"] for item in items]

    err = child(0, "decode", output, "-o", tmp_path / "pictures", "--backend", "cpu", "--progress=json")[1]
    result = events(err)[-1]
    folders = [str(tmp_path / "pictures" / f"cam{i:02d}") for i in range(4)]
    assert result == {
        "event": "result",
        "output": str(tmp_path / "pictures"),
        "outputs": folders,
        "frames": 2,
        "cameras": 4,
    }

    (event,) = events(child(2, "--progress", "json", *arguments)[1])
    assert event["event"] == "error" and event["exit_code"] == 2 and "exists" in event["text"]


def test_the_time_left_weighs_frames_by_their_iterations(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    config = EncoderConfig(key_iterations=1200, inter_iterations=600, keyint=4)
    costs = encode_costs(5, config, Fraction(25))
    assert costs == [1200, 600, 600, 600, 1800]
    longer = dataclasses.replace(config, first_fit=2.0, part_length=4, keyint=2)
    assert encode_costs(5, longer, Fraction(25)) == [2400, 600, 1800, 600, 2400]
    with progress.ProgressLine(5, "encode", costs=costs) as line:
        now[0] += 40.0  # trials, compilation
        line.begin(0.0)
        now[0] += 20.0  # half of the key frame: 600 of 4800 iterations
        assert line.remaining(0.5) == "ETA 2:20"
        now[0] += 40.0  # and an inter frame: 1800
        assert line.remaining(2.0) == "ETA 1:40"
    with progress.ProgressLine(5, "encode", costs=costs) as line:
        line.begin(3.0)  # a resumed file
        now[0] += 10.0
        assert line.remaining(4.0) == "ETA 0:30"
    with progress.ProgressLine(4, "decode") as line:
        assert line.remaining(1.0) == ""
        now[0] += 5.0
        assert line.remaining(1.0) == "ETA 0:15"


@pytest.mark.parametrize("arguments", [["info", "missing.tvvc"], ["info"], ["nothing"], ["info", "--nonsense"]])
def test_errors_as_json(capfd, tmp_path, monkeypatch, arguments: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    status = run(["--progress", "json", *arguments])
    (event,) = events(capfd.readouterr().err)
    assert status > 1 and event["event"] == "error" and event["exit_code"] == status and event["text"]
    run(arguments)
    assert capfd.readouterr().err.startswith("error: "), "the form must not last"


def test_json_has_no_infinity(capfd) -> None:
    emit("progress", psnr=float("inf"), bits=1.5, text="é\n")
    err = capfd.readouterr().err
    assert err.isascii() and events(err) == [{"event": "progress", "psnr": None, "bits": 1.5, "text": "é\n"}]


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["encoed"], "did you mean encode or decode?"),
        (["rendr"], "did you mean render"),
        (["INFO"], "did you mean info?"),
        (["encode", "--presset", "fast"], "--preset"),
        (["eval", "--jsn"], "--json"),
    ],
)
def test_typing_mistakes_get_a_suggestion(capfd, arguments: list[str], meant: str) -> None:
    assert run(arguments) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert meant in line


def test_no_suggestion_where_nothing_is_near(capfd) -> None:
    assert run(["xyzzy"]) == 2
    said = capfd.readouterr().err
    assert all(name in said for name in COMMANDS)


def complete(words: str) -> set[str]:
    """What bash would be offered after ``words``, asked as its completion script asks."""
    code = "import sys; from taichi_vvc.cli import run; status = run([]); sys.exit(status or 'taichi' in sys.modules)"
    words_and_place = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    out, _err = child(0, code=code, _TVVC_COMPLETE="bash_complete", **words_and_place)
    return {line.split(",", 1)[1] for line in out.splitlines()}


def test_shell_completion() -> None:
    assert complete("tvvc en") == {"encode"}
    assert complete("tvvc encode --pre") == {"--preset", "--preview"}
    assert {"fast", "medium"} <= complete("tvvc encode --preset ")
    assert complete("tvvc help dec") == {"decode"}


@pytest.mark.parametrize(
    ("begun", "offered"),
    [("", ["file,", "plain,orbit", "plain,spiral"]), ("or", ["file,or", "plain,orbit"]), ("my/p", ["file,my/p"])],
)
def test_completion_of_a_camera_path(begun: str, offered: list[str]) -> None:
    """Files first, which bash's script takes as a sign to forget what came before."""
    words = f"tvvc render a.tvvc --path {begun}"
    environment = {"COMP_WORDS": words, "COMP_CWORD": "4", "_TVVC_COMPLETE": "bash_complete"}
    out, _err = child(0, code="from taichi_vvc.cli import main; main()", **environment)
    assert out.splitlines() == offered


@pytest.mark.parametrize("options", [[], ["--quiet"]])
def test_help_as_a_command(capfd, options: list[str]) -> None:
    def said(*arguments: str) -> str:
        assert run([*arguments]) == 0
        return capfd.readouterr().out

    assert said(*options, "help") == said("--help")
    for name in COMMANDS:
        assert said(*options, "help", name) == said(name, "--help")
    assert run([*options, "help", "encoed"]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "no command 'encoed'; did you mean encode or decode?" in line


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_scripts(capfd, monkeypatch, shell: str) -> None:
    monkeypatch.setitem(os.environ, "_TVVC_COMPLETE", f"{shell}_source")
    assert run([]) == 0
    assert "_TVVC_COMPLETE" in capfd.readouterr().out
