"""Quick launches on the backend under test: a launch must never use the arguments of an earlier launch."""

from __future__ import annotations

import gc

import numpy as np
import pytest
from backends import down, ints, runtime, up
from taichi_vvc.kernels import launch, shade


def test_changed_numbers_and_arrays_are_seen() -> None:
    a, b = up(np.zeros(8)), up(np.zeros(8))
    for value, count in ((1.0, 8), (2.0, 4), (3.5, 3)):
        shade.fill(count, a, value)
        shade.fill(count, b, -value)
    assert down(a).tolist()[:8] == [3.5] * 3 + [2.0] + [1.0] * 4
    assert down(b).tolist()[:8] == [-3.5] * 3 + [-2.0] + [-1.0] * 4


def test_an_array_in_the_place_of_a_deleted_one() -> None:
    for value in range(12):
        array = up(np.zeros(500 + value))
        shade.fill(500, array, value)
        assert (down(array)[:500] == value).all()
        del array
        gc.collect()


def test_an_array_of_another_type_is_refused() -> None:
    array, wrong = up(np.zeros(4)), ints(np.full(4, 7))
    shade.fill(4, array, 1.0)
    with pytest.raises(Exception, match=r"(?i)arg|type"):
        shade.fill(4, wrong, 2.0)
    shade.fill(4, array, 3.0)
    assert down(wrong)[:4].tolist() == [7] * 4 and down(array)[:4].tolist() == [3.0] * 4


def test_arrays_of_the_host_are_taken_as_well() -> None:
    # On a GPU Taichi copies them there and back; the next launch has the device's own again.
    array, host = up(np.zeros(4)), np.zeros(4, np.float32)
    shade.fill(4, array, 1.0)
    shade.fill(4, host, 2.0)
    shade.fill(2, array, 3.0)
    assert host.tolist() == [2.0] * 4 and down(array)[:4].tolist() == [3.0, 3.0, 1.0, 1.0]


@pytest.mark.skipif(not launch._KNOWN, reason="launches are kept prepared with Taichi 1.7 only")
def test_a_second_launch_does_not_pass_through_taichi(monkeypatch: pytest.MonkeyPatch) -> None:
    array = up(np.zeros(4))
    shade.fill(4, array, 1.0)

    def plain(*_arguments: object) -> None:
        raise AssertionError("expected a quick launch")

    monkeypatch.setattr(shade.fill, "_plain", plain)
    shade.fill(4, array, 2.0)
    runtime().sync()
    assert down(array)[:4].tolist() == [2.0] * 4
