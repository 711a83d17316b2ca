"""The forecast of rendering time, and advice to shorten it if it is long."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import encode_tiny, tiny_preset

from taichi_vvc.cli import forecast as module
from taichi_vvc.cli import run
from taichi_vvc.cli.forecast import decodes, forecast
from taichi_vvc.words import counted, duration


@pytest.fixture(scope="module")
def coded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with tiny_preset():
        yield encode_tiny(tmp_path_factory.mktemp("coded"))[1]


def test_the_lines() -> None:
    assert forecast(100, (640, 480), 280.0, 0.05) == ["100 pictures of 640x480, about 4.7 min"]
    crowded = forecast(100, (640, 480), 280.0, 0.47)
    assert crowded[:1] == forecast(100, (640, 480), 280.0, 0.05)
    assert len(crowded) == 2 and crowded[1].startswith("47 % of the box is occupied: a file encoded with masks, or")
    # What is short needs no advice.
    assert len(forecast(100, (640, 480), 5.0, 0.47)) == 1


@pytest.mark.parametrize(
    ("shown", "kept", "count"),
    [
        ([0, 1, 2, 0, 1, 2], 8, 3),
        ([0, 1, 2, 0, 1, 2], 2, 6),
        ([0, 0, 1, 1, 2, 2], 1, 3),
        ([5] * 10, 1, 1),
    ],
)
def test_frames_are_decoded_as_often_as_they_are_forgotten(shown: list[int], kept: int, count: int) -> None:
    assert decodes(shown, kept) == count


def test_render_says_it_before_it_begins(coded: Path, tmp_path: Path, capfd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock is a second later: a second for decoding the first frame, one for a picture."""
    now = iter(range(10**6))
    monkeypatch.setattr(module.time, "perf_counter", lambda: float(next(now)))
    options = ["--path", "orbit", "--size", "16x12", "--fps", "100", "--backend", "cpu"]
    assert run(["render", str(coded), "-o", str(tmp_path / "out") + "/", *options]) == 0
    first, *_, last = capfd.readouterr().err.splitlines()
    count = int(last.split(": ")[1].split(" pictures of 16x12 at")[0])
    # Three frames are kept.
    assert count >= 10 and first == f"{count} pictures of 16x12, about {duration(count + 3)}"


def test_few_pictures_need_no_forecast() -> None:
    def never(_number: int):
        raise AssertionError("nothing is to be decoded")

    module.say_forecast(never, [0] * (module.LEAST - 1), None, (1, 1, 1), None)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.04 s"), (45.2, "45 s"), (88, "88 s"), (290, "4.8 min"), (7000, "1.9 h"), (2e5, "2.3 d")],
)
def test_spans_of_time(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_one_is_not_several() -> None:
    assert [counted(n, "frame") for n in (0, 1, 2)] == ["0 frames", "1 frame", "2 frames"]
