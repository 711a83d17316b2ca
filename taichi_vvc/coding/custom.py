"""Symbols to bytes and back with contexts of your own, for representations that this codec does not know.

A context is a small integer that a function derives from symbols already decoded; symbols of one context share a
frequency table. The caller says in which order symbols are coded (passes) and which contexts they get; this module
counts, chooses tables, and codes exactly. The encoder shows the function the same arrays as the decoder will, so that
no function can see what is not there yet. It must give the same integers on every machine: integer arithmetic only.

The bytes hold neither the shape nor the passes nor the function: these belong to your own header.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from taichi_vvc.coding import small_integers, tables
from taichi_vvc.coding.entropy import RangeReader, RangeWriter
from taichi_vvc.errors import ConfigError, CorruptStream

__all__ = ["Context", "decode_with_contexts", "encode_with_contexts"]

Context = Callable[[np.ndarray, int], np.ndarray]
"""``context(known, number)``: the contexts (m,) of the m symbols of pass ``number``. ``known`` is int32 of the symbols'
shape: symbols of earlier passes, 0 elsewhere. It must not be changed."""

_DEFAULT = np.array([40, 36, 32], np.int64)  # probability indices that the first context's are stated relative to


def encode_with_contexts(symbols: np.ndarray, passes: Sequence[np.ndarray], context: Context, contexts: int) -> bytes:
    """Code integers with one magnitude table per context; signs are raw bits.

    Args:
        symbols: integers of any shape, magnitudes up to 2^20; zero where no pass comes by.
        passes: flat indices of the symbols that are coded together, in coding order, no symbol twice. Symbols of one
            pass cannot be contexts of each other.
        context: see :data:`Context`.
        contexts: how many there are; a context is in ``0 .. contexts - 1``.

    Raises:
        ConfigError: a symbol is too large, not zero though no pass codes it, or coded twice; or ``context`` returns
            something else than described.
    """
    values = np.asarray(symbols)
    if np.abs(values.astype(np.int64)).max(initial=0) > tables.LARGEST_MAGNITUDE:
        raise ConfigError(f"expected symbols up to {tables.LARGEST_MAGNITUDE}, found larger ones; use a larger step")
    places = _checked(passes, values.size)
    flat = values.astype(np.int32).reshape(-1)
    if np.count_nonzero(flat) != sum(np.count_nonzero(flat[place]) for place in places):
        raise ConfigError("expected every nonzero symbol in some pass, found others; add their indices to a pass")
    known = np.zeros(values.shape, np.int32)
    groups = []
    for number, place in enumerate(places):
        groups.append(_contexts(context, known, number, place.size, contexts))
        known.reshape(-1)[place] = flat[place]
    magnitudes = [np.abs(flat[place]) for place in places]
    counts = np.zeros((contexts, tables.ALPHABET), np.int64)
    for found, group in zip(magnitudes, groups, strict=True):
        np.add.at(counts, (group, np.minimum(found, small_integers.ESCAPE)), 1)
    indices = _fit(counts)
    every = np.concatenate(magnitudes) if magnitudes else np.zeros(0, np.int32)
    shift = small_integers.best_escape_shift(
        every[every >= small_integers.ESCAPE].astype(np.int64) - small_integers.ESCAPE
    )

    writer = RangeWriter()
    small_integers.write_side(writer, np.array([shift]))
    small_integers.write_side(writer, np.diff(indices, axis=0, prepend=_DEFAULT[None]).reshape(-1), tables.SPARSE_TABLE)
    rows = tables.context_tables(indices)
    for place, found, group in zip(places, magnitudes, groups, strict=True):
        clipped = np.minimum(found, small_integers.ESCAPE)
        for one in np.unique(group).tolist():
            writer.symbols(clipped[group == one], rows[one])
        writer.raw((flat[place][found > 0] < 0).astype(np.int64), 1)
        small_integers.write_escapes(writer, found, shift)
    return writer.payload()


def decode_with_contexts(
    payload: bytes, shape: tuple[int, ...], passes: Sequence[np.ndarray], context: Context, contexts: int
) -> np.ndarray:
    """The inverse of :func:`encode_with_contexts`: int32 of ``shape``; the other arguments as they were there.

    Raises:
        CorruptStream: the bytes do not decode with these arguments.
        ConfigError: ``context`` returns something else than described.
    """
    known = np.zeros(shape, np.int32)
    flat = known.reshape(-1)
    places = _checked(passes, flat.size)
    reader = RangeReader(payload)
    shift = int(small_integers.read_indices(reader, np.zeros(1, np.int64), 16, "an Exp-Golomb order")[0])
    steps = small_integers.read_side(reader, 3 * contexts, tables.SPARSE_TABLE).reshape(contexts, 3)
    indices = _DEFAULT + np.cumsum(steps, axis=0)
    if indices.min(initial=0) < 0 or indices.max(initial=0) >= tables.LEVELS:
        raise CorruptStream(f"expected probability indices in 0..{tables.LEVELS - 1}, found others")
    rows = tables.context_tables(indices)
    for number, place in enumerate(places):
        group = _contexts(context, known, number, place.size, contexts)
        magnitudes = np.zeros(place.size, np.int32)
        for one in np.unique(group).tolist():
            chosen = group == one
            magnitudes[chosen] = reader.symbols(int(chosen.sum()), rows[one])
        signs = 1 - 2 * reader.raw(int(np.count_nonzero(magnitudes)), 1)
        nonzero = magnitudes > 0
        magnitudes = small_integers.read_escapes(reader, magnitudes, shift)
        magnitudes[nonzero] *= signs.astype(np.int32)
        flat[place] = magnitudes
    reader.finish()
    return known


def _fit(counts: np.ndarray) -> np.ndarray:
    """(contexts, 3) probability indices for (contexts, 17) counts; a context that never occurs repeats the last."""
    indices = tables.nonincreasing(tables.best_index(*tables.decisions(counts)))
    last = _DEFAULT
    for number, seen in enumerate(counts.sum(axis=1).tolist()):
        indices[number] = last = indices[number] if seen else last
    return indices


def _checked(passes: Sequence[np.ndarray], size: int) -> list[np.ndarray]:
    places = [np.asarray(place, np.int64).reshape(-1) for place in passes]
    every = np.concatenate(places) if places else np.zeros(0, np.int64)
    if every.size and not (0 <= every.min() and every.max() < size):
        raise ConfigError(f"expected flat indices in 0..{size - 1}, found {every.min()}..{every.max()}")
    if np.unique(every).size != every.size:
        raise ConfigError("expected each symbol in one pass, found one twice; make the passes disjoint")
    return places


def _contexts(context: Context, known: np.ndarray, number: int, count: int, contexts: int) -> np.ndarray:
    view = known.view()
    view.setflags(write=False)
    found = np.asarray(context(view, number))
    if found.shape != (count,) or not np.issubdtype(found.dtype, np.integer):
        raise ConfigError(
            f"expected {count} integer contexts in pass {number}, found shape {found.shape} of {found.dtype}"
        )
    if count and not (0 <= found.min() and found.max() < contexts):
        raise ConfigError(
            f"expected contexts in 0..{contexts - 1} in pass {number}, found {found.min()}..{found.max()}"
        )
    return found.astype(np.int64)
