"""The coder's choices are the cheapest: each choice is compared with its alternatives by coding all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import streams
from backends import down, runtime

from taichi_vvc.coding import choose_tables, context_weights, entropy, integer_arrays, small_integers, tables
from taichi_vvc.fit import rate


def reference_of(before: np.ndarray) -> np.ndarray:
    """Small integers for a residual to be added to."""
    return (np.arange(before.size).reshape(before.shape) * 40503 // 7 % 9 - 4).astype(np.int32)


def grids(sort: str, count: int = 60) -> Iterator[tuple[np.ndarray, np.ndarray, entropy.Known]]:
    """(symbols, live, known) of many small grids, from nearly empty to busy ones: of key frames, of frames right
    behind them (``second``), or of later ones (``third``)."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        sides = tuple(rng.integers(4, 12, 3).tolist())
        shape = (sides[0], sides[1], sides[2], int(rng.integers(1, 5)))
        now, live, before = streams.residual(shape, seed, float(rng.uniform(0.1, 2.0)))
        assert before is not None
        if now.any():
            reference = None if sort == "key" else reference_of(before)
            yield now, live, entropy.Known(before if sort == "third" else None, reference)


def bits_of(now: np.ndarray, live: np.ndarray, known: entropy.Known, model: str = "context") -> float:
    return entropy.encode_grid(now, live, known, model=model).bits


def test_the_weight_set_is_the_cheaper_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A set is chosen by what its tables and their statement take; signs, which are left out of that, hardly matter."""
    lost = total = 0.0
    chosen = set()
    for now, live, known in grids("third", 100):
        coded = entropy.encode_grid(now, live, known)
        chosen.add(coded.payload[0] >> 4)
        alternatives = []
        for number in choose_tables.weight_sets(known):
            with monkeypatch.context() as patch:
                patch.setattr(choose_tables, "weight_sets", lambda known, number=number: [number])
                alternatives.append(bits_of(now, live, known))
        assert len(alternatives) == 2
        lost, total = lost + coded.bits - min(alternatives), total + coded.bits
    assert chosen == {5, 6}
    # 0.05 % were measured, and 1.2 % where the tables' statement did not count.
    assert lost < 0.003 * total


@pytest.mark.parametrize("sort", ["key", "second", "third"])
def test_tables_are_stated_where_that_pays(sort: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small grids together, and a large one: what is chosen, all tables as they are shipped, and all of them stated."""
    now, live, before = streams.residual((24, 20, 18, 6), 1)
    assert before is not None
    large = (
        now,
        live,
        entropy.NOTHING if sort == "key" else entropy.Known(before if sort == "third" else None, now // 2),
    )
    for cases in (list(grids(sort)), [large]):
        # One set, so that only the tables differ.
        number = choose_tables.weight_sets(cases[0][2])[0]
        with monkeypatch.context() as patch:
            patch.setattr(choose_tables, "weight_sets", lambda known, number=number: [number])
            chosen = sum(bits_of(*case) for case in cases)
            patch.setattr(choose_tables, "_worth", lambda default, fitted, hits, misses: default)
            default = sum(bits_of(*case) for case in cases)
            patch.setattr(choose_tables, "_worth", lambda default, fitted, hits, misses: fitted)
            fitted = sum(bits_of(*case) for case in cases)
        assert chosen < fitted and chosen < default * (1.005 if len(cases) > 1 else 0.99)


@pytest.mark.parametrize("what", ["magnitudes", "signs"])
def test_no_single_table_would_better_be_another(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each index of the tables exchanged: the default one for the fitted one or the other way round."""
    monkeypatch.setattr(tables, "nonincreasing", lambda indices: indices)
    name = "table_indices" if what == "magnitudes" else "_sign_indices"
    exchanged = 0
    large = *streams.residual((24, 20, 18, 2), 1)[:2], entropy.NOTHING
    # Signs that are told by their neighbours' more often than is usual.
    alike = np.where(np.random.default_rng(0).random((12, 12, 12, 1)) < 0.06, -1, 1).astype(np.int32)
    alike = alike, np.ones(alike.shape[:3], bool), entropy.NOTHING
    for now, live, known in [*grids("key", 12), *grids("second", 12), large, alike]:
        calls: list[tuple[np.ndarray, context_weights.WeightSet]] = []
        usual: Callable = getattr(choose_tables, name)

        def watched(counts, weights, usual=usual, calls=calls):
            calls.append((counts, weights))
            return usual(counts, weights)

        with monkeypatch.context() as patch:
            patch.setattr(choose_tables, name, watched)
            chosen_bits = bits_of(now, live, known)
            ((counts, weights),) = calls
            chosen = usual(counts, weights)
            if what == "magnitudes":
                hits, misses = tables.decisions(counts)
                default = weights.indices
            else:
                misses, hits = counts[1:].T
                default = np.array(weights.signs)
            fitted = tables.best_index(hits, misses)
            for place in np.ndindex(*chosen.shape):
                # Where nothing meets a table there is nothing to gain; what large differences take is only estimated.
                difference = abs(int(fitted[place] - default[place]))
                if not 0 < difference < small_integers.ESCAPE or not hits[place] + misses[place]:
                    continue
                other = chosen.copy()
                other[place] = default[place] + fitted[place] - chosen[place]
                patch.setattr(choose_tables, name, lambda counts, weights, other=other: other)
                assert chosen_bits <= bits_of(now, live, known) + 0.01
                exchanged += 1
    assert exchanged > 50


def test_the_stated_means_serve_best(monkeypatch: pytest.MonkeyPatch) -> None:
    cases, usual, bits = list(grids("key")), choose_tables.mean_indices, {}
    for shift in (-8, 0, 8):
        with monkeypatch.context() as patch:
            patch.setattr(choose_tables, "mean_indices", lambda mean, shift=shift: np.clip(usual(mean) + shift, 0, 60))
            bits[shift] = sum(bits_of(*case) for case in cases)
    assert bits[0] == min(bits.values())
    np.testing.assert_array_equal(usual(np.array([0.0, 1.0, 2048.0, 15 * 2048.0])), [0, 0, 44, 60])


def test_the_likeliest_index_costs_least() -> None:
    rng = np.random.default_rng(0)
    hits, misses = rng.integers(0, 400, (2, 200)) * (rng.random((2, 200)) < 0.8)
    costs = hits[:, None] * tables.HIT_BITS + misses[:, None] * tables.MISS_BITS
    chosen = costs[np.arange(200), tables.best_index(hits, misses)]
    # Between two indices the odds differ by 2^(1/4).
    assert (chosen <= costs.min(1) * 1.01 + 0.7).all()


def test_the_order_of_escapes_costs_least() -> None:
    for seed, largest in enumerate((1, 3, 20, 300, 5000, 1 << 19)):
        excess = np.random.default_rng(seed).integers(0, largest + 1, 30)
        costs = []
        for order in range(16):
            counter = small_integers.BitCounter()
            small_integers.write_escapes(counter, excess + small_integers.ESCAPE, order)
            # The classes' table has one bit per class, as Exp-Golomb codes have.
            costs.append(counter.bits)
        assert costs[small_integers.best_escape_shift(excess)] == min(costs)


def test_laplace_scales_cost_least(monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, strength in ((0, 0.3), (1, 1.0), (2, 4.0)):
        now, live, _ = streams.residual((8, 9, 10, 1), seed, strength)
        chosen = bits_of(now, live, entropy.NOTHING, "laplace")
        costs = []
        for scale in range(0, tables.LEVELS, 3):
            with monkeypatch.context() as patch:
                patch.setattr(choose_tables, "_laplace_scales", lambda values, scale=scale: np.array([scale]))
                costs.append(bits_of(now, live, entropy.NOTHING, "laplace"))
        # Stating a scale far from the usual one takes a few bits more.
        assert chosen <= min(costs) + 4


def test_integers_take_the_table_before_where_that_is_cheaper(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    taken = set()
    for spread in (0.6, 1.0, 1.4, 3.0, 9.0):
        for size in (10, 60, 400, 3000):
            first = np.rint(rng.normal(0, 5, 500)).astype(np.int32)
            second = np.rint(rng.normal(0, 5 * spread, size)).clip(-12, 12).astype(np.int32)
            chosen = len(entropy.encode_integers([first, second]))
            lengths = {}
            for own in (True, False):
                with monkeypatch.context() as patch:
                    usual = integer_arrays._is_cheaper

                    def forced(fitted, current, counts, own=own, usual=usual):
                        # The first array has no table before it, and one that lacks a bucket cannot be taken.
                        return own or counts.size > current.size + 1

                    patch.setattr(integer_arrays, "_is_cheaper", forced)
                    lengths[own] = len(entropy.encode_integers([first, second]))
            taken.add(lengths[True] < lengths[False])
            # A word of 32 bits is what the range coder ends with.
            assert chosen <= min(lengths.values()) + 4
    assert taken == {True, False}


@pytest.mark.parametrize("sort", ["key", "second", "third"])
@pytest.mark.parametrize("model", ["context", "laplace"])
def test_the_plan_counts_what_the_coder_writes(sort: str, model: str) -> None:
    """Bits of the symbols with their signs, of tables, statistics and escapes: all of them, and nothing twice."""
    for number, (now, live, known) in enumerate(grids(sort, 12)):
        symbols = now * 9 if number % 3 == 0 else now
        wanted = entropy.encode_grid(symbols, live, known, model=model).bits
        assert entropy.plan_rate(symbols, live, known, model=model).bits == pytest.approx(wanted, abs=0.05, rel=1e-5)


def test_signs_count_as_even_while_fitting() -> None:
    """The coder predicts the signs of smooth symbols; a fit must not be drawn to fill regions with cheap ones."""
    now = np.ones((8, 8, 8, 2), np.int32)
    live = np.ones(now.shape[:3], bool)
    coded = entropy.plan_rate(now, live)
    assert np.abs(coded.lengths - coded.lengths[:, ::-1]).max() > 2, "signs are predicted here"
    found = rate.plan_tables(runtime(), (now,), (live,), [entropy.NOTHING], "context")
    lengths = down(found.lengths).reshape(-1, 2 * found.largest + 1)
    np.testing.assert_allclose(lengths, lengths[:, ::-1], atol=1e-6)
    # The probability of a magnitude is the coder's: half of it is each sign's.
    both = np.exp2(-coded.lengths.astype(np.float64)) + np.exp2(-coded.lengths[:, ::-1].astype(np.float64))
    np.testing.assert_allclose(lengths, 1 - np.log2(both), atol=1e-4)
    assert found.bits == coded.bits, "what is reported are the coder's bits"
