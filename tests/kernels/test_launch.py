"""Quick launches on the CPU: a launch must never use the arguments of an earlier launch."""

from __future__ import annotations

import gc
import json
import os
from threading import Thread

import numpy as np
import pytest
from taichi_vvc.kernels import geometry, mlp_cpu, shade

from taichi_vvc.field.mlp import vectors
from taichi_vvc.runtime import start


def up(values: np.ndarray, dtype: type = np.float32) -> np.ndarray:
    """An array that a kernel takes."""
    array = start("cpu").empty(np.size(values), dtype)
    array[:] = np.reshape(values, -1)
    return array


def unset(count: int) -> np.ndarray:
    """An array of NaN."""
    return up(np.full(count, np.nan))


def test_changed_numbers_and_arrays_are_seen() -> None:
    a, b = unset(8), unset(8)
    shade.fill(8, a, 1.0)
    shade.fill(4, a, 2.0)
    shade.fill(3, b, 2.0)
    assert a.tolist() == [2.0] * 4 + [1.0] * 4
    assert b[:3].tolist() == [2.0] * 3 and np.isnan(b[3:8]).all()
    a[:] = 5.0
    shade.fill(2, a, float("nan"))
    shade.fill(1, a, 7.0)
    np.testing.assert_array_equal(a[:4], [7.0, np.nan, 5.0, 5.0])


def test_an_array_in_the_place_of_a_deleted_one() -> None:
    for value in range(20):
        array = unset(1000 + value)
        shade.fill(1000, array, value)
        assert (array[:1000] == value).all()
        del array
        gc.collect()


def test_wrong_arguments_are_refused_as_taichi_does() -> None:
    array = up(np.zeros(4))
    shade.fill(4, array, 1.0)
    strided, square = np.zeros(8, np.float32)[::2], np.zeros((2, 2), np.float32)
    for wrong in (np.zeros(4), np.zeros(4, np.int32), square, strided, [1.0]):
        with pytest.raises(Exception, match=r"[Aa]rg|[Nn]on contiguous|[Tt]ype"):
            shade.fill(4, wrong, 2.0)
    with pytest.raises(Exception, match=r"[Aa]rgument|[Tt]ype"):
        shade.fill(2.5, array, 2.0)
    with pytest.raises(Exception, match=r"(?i)missing"):
        shade.fill(4, array)
    assert (array == 1.0).all()
    shade.fill(4, array, 3.0)
    assert (array == 3.0).all()


def test_each_specialisation_has_its_own_launch() -> None:
    def run(inputs: int, outputs: int) -> np.ndarray:
        x, y = up(np.ones(16 * 4)), up(np.zeros(16 * 4))
        weights = up(np.arange(2 * 8))
        mlp_cpu.perceptron_fwd(1, inputs, outputs, 1, 2, 2, 3, weights, vectors(x), vectors(y))
        return y.reshape(4, 16)[:outputs, 0]

    # Hidden unit: sum of the weights 0 .. inputs - 1 and the bias behind them.
    for _ in range(2):
        np.testing.assert_allclose(run(2, 1), [(0 + 1 + 2) * 3 + 8])
        np.testing.assert_allclose(run(3, 2), [(0 + 1 + 2 + 3) * 4 + 8, (0 + 1 + 2 + 3) * 5 + 9])


def test_threads_do_not_mix_their_launches() -> None:
    candidates = up(np.arange(1000), np.int32)
    expected = {}
    for seed in range(4):
        pixels = up(np.zeros(600), np.int32)
        geometry.draw_pixels(600, candidates, 1000, seed, 0, pixels)
        expected[seed] = pixels.copy()
    wrong = []

    def work(seed: int) -> None:
        pixels = up(np.zeros(600), np.int32)
        for _ in range(50):
            pixels[:] = 0
            geometry.draw_pixels(600, candidates, 1000, seed, 0, pixels)
            if not np.array_equal(pixels[:600], expected[seed]):
                wrong.append(seed)

    threads = [Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


AFFINITIES = """
import json, os
import numpy as np
from taichi_vvc.kernels import shade
from taichi_vvc.runtime import start
runtime = start("cpu")
array = runtime.zeros(1 << 16)
shade.fill(1 << 16, array, 1.0)
assert (array == 1).all()
tasks = [os.getpid(), *(int(name) for name in os.listdir("/proc/self/task"))]
print(json.dumps([runtime.threads, *(sorted(os.sched_getaffinity(task)) for task in tasks)]))
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="the system does not tell on which core a thread is")
def test_workers_have_cores_of_their_own(python) -> None:
    done = python("-c", AFFINITIES)
    assert done.returncode == 0, done.stderr
    threads, usable, *tasks = json.loads(done.stdout)
    assert threads == len(usable)
    alone = sorted(task[0] for task in tasks if len(task) == 1)
    if len(usable) > 1:
        # The rest of the process may go where it likes.
        assert alone == usable and usable in tasks
    # A process that may use one core has one worker.
    first = {usable[0]}
    script = f"import os; os.sched_setaffinity(0, {first})\n{AFFINITIES}"
    done = python("-c", script)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)[:2] == [1, sorted(first)]
