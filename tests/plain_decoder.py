"""A decoder of grids and integer arrays written from docs/bitstream.md, one symbol at a time in plain integers.

It shares no code with the package, so that equal results show that the package follows the document. The tables of
weights are read from the document itself.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import numpy as np
from independent_reader import RangeDecoder

DOCUMENT = Path(__file__).parent.parent / "docs" / "bitstream.md"

ONE = 1 << 24
QUARTERS = (65536, 77936, 92682, 110218)
ORDER = (0, 7, 3, 5, 6, 1, 2, 4)
KINDS = (0, 1, 2, 2, 2, 3, 3, 3)
THRESHOLDS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584)
SIGN_THRESHOLDS = (1, 32, 64, 128, 256, 512, 1024)
# The 26 places around a node, and which sort they are: face, edge, corner.
NEIGHBOURS = [(o, sum(map(abs, o)) - 1) for o in itertools.product((-1, 0, 1), repeat=3) if any(o)]
SIGN_WEIGHTS = ((0, 0, 0), (0, 0, 16), (32, 8, 0), (20, 4, 0))


def documented_rows(tag: str) -> list[list[int]]:
    """The rows of the tables between two marks of the document, integers only."""
    block = DOCUMENT.read_text(encoding="utf-8").split(f"<!-- {tag} begin -->")[1].split(f"<!-- {tag} end -->")[0]
    rows = re.findall(r"^\| [0-9].*\|$", block, re.MULTILINE)
    return [[int(cell) for cell in row.strip("|").split("|") if cell.strip()] for row in rows]


def documented_sets() -> list[dict]:
    """The weight sets as the document has them."""
    weights, indices = documented_rows("weights"), documented_rows("default indices")
    sets = []
    for chosen, _, _, stated in documented_rows("sets"):
        rows = [row[1:] for row in indices if row[0] == chosen]
        kinds = [(row[2:-2], row[-2], row[-1]) for row in weights if row[0] == chosen]
        sets.append({"stated": stated, "weights": kinds, "indices": rows[:3], "signs": rows[3]})
    return sets


def probability(index: int) -> int:
    odds = QUARTERS[index % 4] << (index // 4)
    return (odds << 24) // (odds + (1 << 24))


def magnitude_table(zero: int, first: int, later: int) -> list[int]:
    table, mass = [], ONE - 17
    for magnitude in range(16):
        part = mass * (zero if magnitude == 0 else first if magnitude == 1 else later) >> 24
        table.append(1 + part)
        mass -= part
    return [*table, 1 + mass]


def indexed_table(zero: int, first: int, later: int) -> list[int]:
    return magnitude_table(probability(zero), probability(first), probability(later))


def raw(coder: RangeDecoder, counts: int, bits: int) -> list[int]:
    values, shift = [0] * counts, 0
    while bits:
        part = min(bits, 11)
        for k in range(counts):
            values[k] |= coder.symbol([ONE >> part] * (1 << part)) << shift
        bits, shift = bits - part, shift + part
    return values


def escapes(coder: RangeDecoder, values: list[int], order: int) -> None:
    """Replaces the 16s by what follows."""
    where = [k for k, value in enumerate(values) if value == 16]
    table = [1 << (23 - k) for k in range(20)] + [16]
    lengths = [coder.symbol(table) + order for _ in where]
    for length in sorted(set(lengths)):
        mine = [k for k, found in zip(where, lengths, strict=True) if found == length]
        for k, low in zip(mine, raw(coder, len(mine), length), strict=True):
            values[k] = 16 + (1 << length) + low - (1 << order)


def side(coder: RangeDecoder, count: int, table: list[int] | None = None) -> list[int]:
    table = table or indexed_table(32, 33, 30)
    values = [coder.symbol(table) for _ in range(count)]
    escapes(coder, values, 0)
    where = [k for k, value in enumerate(values) if value]
    for k, negative in zip(where, raw(coder, len(where), 1), strict=True):
        values[k] *= 1 - 2 * negative
    return values


def groups(coder: RangeDecoder, keys: list[int], table_of: list[list[int]]) -> list[int]:
    found = [0] * len(keys)
    for key in sorted(set(keys)):
        for k, mine in enumerate(keys):
            if mine == key:
                found[k] = coder.symbol(table_of[key])
    return found


def bin_of(value: int, thresholds: tuple[int, ...]) -> int:
    return sum(value >= threshold for threshold in thresholds)


def decode(
    payload: bytes,
    live: np.ndarray,
    channels: int,
    previous: np.ndarray | None,
    reference: np.ndarray | None,
    sets: list[dict],
) -> np.ndarray:
    """(nz, ny, nx, C) symbols of a grid with this previous residual and this reference; ``sets`` are the document's."""
    shape = live.shape
    result = np.zeros((*shape, channels), np.int64)
    if payload == b"\x02":
        return result
    coder = RangeDecoder(payload[1:])
    order = side(coder, 1)[0]
    laplace, chosen = payload[0] & 15 == 1, sets[payload[0] >> 4]
    stated = laplace or chosen["stated"]
    statistics = list(itertools.accumulate(side(coder, channels if stated else 0), initial=24))[1:]
    nodes = [tuple(int(v) for v in node) for node in np.argwhere(live)]
    if laplace:
        for channel, scale in enumerate(statistics):
            zero = probability(scale)
            stop = ONE - ((ONE - zero) ** 2 >> 24)
            table = magnitude_table(zero, stop, stop)
            values = [coder.symbol(table) for _ in nodes]
            signs = iter(raw_signs(coder, sum(v != 0 for v in values)))
            for node, value in zip(nodes, values, strict=True):
                result[(*node, channel)] = value * next(signs) if value else 0
    else:
        sparse = indexed_table(44, 24, 26)
        indices = side(coder, 54, sparse)
        tables = []
        for k, default in enumerate(zip(*chosen["indices"], strict=True)):
            tables.append(indexed_table(*(d + i for d, i in zip(default, indices[3 * k : 3 * k + 3], strict=True))))
        right = [[ONE // 2, ONE // 2]]
        for default, change in zip(chosen["signs"], side(coder, 7, sparse), strict=True):
            p = probability(default + change)
            right.append([ONE - p, p])
        means = [(QUARTERS[k % 4] << (k // 4)) >> 16 for k in statistics]
        if not stated:
            sums = [sum(min(abs(int(previous[(*node, c)])), 15) for node in nodes) for c in range(channels)]
            means = [2048 * total // len(nodes) for total in sums]
        contextual(coder, result, live, previous, reference, chosen["weights"], means, tables, right)
    flat = [int(abs(v)) for node in nodes for v in result[node]]
    escapes(coder, flat, order)
    for k, node in enumerate(nodes):
        for channel in range(channels):
            magnitude = flat[k * channels + channel]
            result[(*node, channel)] = magnitude if result[(*node, channel)] >= 0 else -magnitude
    return result


def raw_signs(coder: RangeDecoder, count: int) -> list[int]:
    return [1 if coder.symbol([ONE // 2, ONE // 2]) else -1 for _ in range(count)]


def contextual(coder, result, live, previous, reference, weights, means, tables, right) -> None:
    shape, channels = live.shape, len(means)

    def clipped(array: np.ndarray) -> dict[tuple, list[int]]:
        return {node: [max(-15, min(15, v)) for v in array[node].tolist()] for node in np.ndindex(*shape)}

    def total(values: list[int]) -> int:
        return min(255, sum(map(abs, values)))

    # Of nodes that are not in here values count as zeros.
    known: dict[tuple, list[int]] = {}
    previous = None if previous is None else clipped(previous)
    reference = None if reference is None else clipped(reference)
    norm = 65536 // channels

    for position, parity in enumerate(ORDER):
        own_kind = KINDS[position]
        factors, prefix_weight, mean_weight = weights[own_kind]
        nodes = [
            (z, y, x)
            for z in range(parity >> 2 & 1, shape[0], 2)
            for y in range(parity >> 1 & 1, shape[1], 2)
            for x in range(parity & 1, shape[2], 2)
            if live[z, y, x]
        ]
        near: list[list[list]] = []
        totals = []
        for z, y, x in nodes:
            sorts: list[list] = [[], [], []]
            for (dz, dy, dx), sort in NEIGHBOURS:
                other = z + dz, y + dy, x + dx
                if other in known:
                    sorts[sort].append(known[other])
            near.append(sorts)
            totals.append([sum(map(total, sort)) * norm >> 12 for sort in sorts])
        own: dict[tuple, list[int]] = {node: [] for node in nodes}
        for channel in range(channels):
            keys, classes, flipped = [], [], []
            for node, sorts, sums in zip(nodes, near, totals, strict=True):
                features = [sum(abs(other[channel]) for other in sort) for sort in sorts] + sums
                if previous is not None:
                    z, y, x = node
                    around = [(z + dz, y + dy, x + dx) for (dz, dy, dx), sort in NEIGHBOURS if sort == 0]
                    features.append(abs(previous[node][channel]))
                    features.append(sum(abs(previous[other][channel]) for other in around if other in previous))
                    features.append(total(previous[node]) * norm >> 12)
                if len(factors) == 10:
                    features += [0] * (9 - len(features))
                    features.append(abs(reference[node][channel]))
                activity = means[channel] * mean_weight >> 8
                activity += sum(w * f for w, f in zip(factors, features, strict=True))
                activity += prefix_weight * (sum(map(abs, own[node])) * (65536 // (channel + 2)) >> 12)
                keys.append(bin_of(activity >> 3, THRESHOLDS))
                predicted = sum(
                    w * sum(other[channel] for other in sort)
                    for w, sort in zip(SIGN_WEIGHTS[own_kind], sorts, strict=True)
                )
                classes.append(bin_of(abs(predicted), SIGN_THRESHOLDS))
                flipped.append(predicted < 0)
            values = groups(coder, keys, tables)
            where = [k for k, value in enumerate(values) if value]
            agree = groups(coder, [classes[k] for k in where], right)
            for k, right_sign in zip(where, agree, strict=True):
                values[k] *= -1 if bool(right_sign) == flipped[k] else 1
            for node, value in zip(nodes, values, strict=True):
                result[(*node, channel)] = value
                own[node].append(max(-15, min(15, value)))
        known.update(own)


def integers(payload: bytes, shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Integer arrays of these shapes: the MLP tensors of a group."""
    coder = RangeDecoder(payload)
    table, arrays = [ONE], []
    for shape in shapes:
        size = int(np.prod(shape))
        if not side(coder, 1)[0]:
            indices = list(itertools.accumulate(side(coder, side(coder, 1)[0]), initial=24))[1:]
            table, spare = [], ONE - (len(indices) + 1)
            for index in indices:
                part = spare * probability(index) >> 24
                table.append(1 + part)
                spare -= part
            table.append(1 + spare)
        values = [0] * size
        if len(table) > 1:
            buckets = [coder.symbol(table) for _ in range(size)]
            for bucket in sorted(set(buckets)):
                where = [k for k, found in enumerate(buckets) if found == bucket]
                low, bits = (bucket, 0) if bucket < 2 else ((2 + bucket % 2) << (bucket // 2 - 1), bucket // 2 - 1)
                for k, place in zip(where, raw(coder, len(where), bits), strict=True):
                    values[k] = low + place
            where = [k for k, value in enumerate(values) if value]
            for k, negative in zip(where, raw(coder, len(where), 1), strict=True):
                values[k] *= 1 - 2 * negative
        arrays.append(np.array(values, np.int64).reshape(shape))
    return arrays
