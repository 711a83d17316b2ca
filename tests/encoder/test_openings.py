"""A key frame that goes on in a scene that moves: it is fitted as an inter frame first, and then as a key frame."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import captures
import numpy as np
import pytest
from backends import runtime
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.cli.encode import encode_costs
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.encoder import frame
from taichi_vvc.encoder.progress import Progress
from taichi_vvc.fit.optimize import FitResult
from taichi_vvc.fit.prediction import Prediction

CONFIG = tv.EncoderConfig(**{**TWO_LEVELS, "keyint": 2, "background": (255, 255, 255)})


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runtime()
    return captures.write_capture(tmp_path_factory.mktemp("capture"), cameras=6, frames=3, size=32)


def test_the_second_fit_begins_with_what_the_first_one_would_show(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[tuple[int, Prediction, np.ndarray, FitResult]] = []
    lambdas: list[float] = []
    usual = frame.fit_frame

    def watched(ws: Any, config: Any, training: Any, prediction: Prediction, number: int, tell: Any) -> FitResult:
        lambdas.append(config.lambda_rate)
        fits.append((number, prediction, training.mask, usual(ws, config, training, prediction, number, tell)))
        return fits[-1][3]

    monkeypatch.setattr(frame, "fit_frame", watched)
    path = tmp_path / "a.tvvc"
    list(tv.encode(tv.open_capture(capture), CONFIG, path))
    assert [(number, p.key, p.steady) for number, p, _, _ in fits] == [
        (0, True, False),
        (1, False, False),
        (2, False, False),
        (2, True, True),
    ]
    # Groups have two frames; what is seen in all of them may cost more.
    assert lambdas == pytest.approx([CONFIG.lambda_rate] * 3 + [CONFIG.lambda_rate * 2**-0.3])
    _, inter, _, first = fits[2]
    _, key, mask, last = fits[3]
    assert inter.reference is not None and key.reference is not None
    assert (mask == first.occupancy).all()
    with tv.open(path) as stream:
        live = live_nodes(stream.header.layout, first.occupancy)
        assert stream.info(2).type == "key"
        said = stream.symbols(2).symbols
    # What is before, moved, and the residual.
    for before, residual, begun, nodes in zip(
        inter.reference.frame.symbols, first.residuals, key.reference.frame.symbols, live, strict=True
    ):
        assert (begun[nodes] == (before + residual)[nodes]).all() and begun[nodes].any()
    # A key frame says all of its symbols.
    assert all((symbols == residual).all() for symbols, residual in zip(said, last.residuals, strict=True))
    assert key.reference.parameters is inter.reference.parameters


def test_nothing_is_held_to_a_key_frame(capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing that stands still would ever gain anything in a file of key frames."""
    held: list[int] = []
    usual = frame.held

    def watched(views: Any, before: Any) -> Any:
        held.append(len(before))
        return usual(views, before)

    monkeypatch.setattr(frame, "held", watched)
    config = dataclasses.replace(CONFIG, keyint=1)
    list(tv.encode(tv.open_capture(capture, frames=slice(0, 2)), config, tmp_path / "a.tvvc"))
    assert held == [0] * 6


def test_the_steps_of_both_fits_are_counted_on(capture: Path, tmp_path: Path) -> None:
    told: list[Progress] = []
    list(tv.encode(tv.open_capture(capture), CONFIG, tmp_path / "a.tvvc", progress=told.append))
    for number in range(3):
        steps = [(p.step, p.steps) for p in told if p.frame == number]
        assert len({all_of for _, all_of in steps}) == 1
        done = [step for step, _ in steps]
        assert done == sorted(done) and done[-1] == steps[-1][1] and len(set(done)) == len(done)


@pytest.mark.parametrize("frames, steps", [(1, 57), (2, 70)])
def test_a_first_fit_is_as_long_as_frames_pay_for(capture: Path, tmp_path: Path, frames: int, steps: int) -> None:
    """A seventh of 400 iterations for each frame, but no more than seven times ten."""
    told: list[Progress] = []
    config = dataclasses.replace(CONFIG, key_iterations=10, first_fit=7.0, inter_iterations=400)
    sequence = tv.open_capture(capture, frames=slice(0, frames))
    next(iter(tv.encode(sequence, config, tmp_path / "a.tvvc", progress=told.append)))
    assert {p.steps for p in told if p.frame == 0} == {steps}
    assert encode_costs(frames, config, Fraction(25))[0] == steps


def test_few_frames_get_three_times_the_iterations_of_a_key_frame() -> None:
    ultrafast, fast = tv.PRESETS["ultrafast"], tv.PRESETS["fast"]
    assert [ultrafast.iterations(True, True), fast.iterations(True, True)] == [2800, 3600]
    assert [ultrafast.first_fit_of(frames) for frames in (1, 42, 70, 98, 99, 1000)] == [3, 3, 5, 7, 7, 7]
    assert [fast.first_fit_of(frames) for frames in (1, 1000)] == [3, 3]
    assert [tv.PRESETS["slow"].first_fit_of(frames) for frames in (1, 1000)] == [1, 1]
