"""A grid decoder written from docs/bitstream.md, one symbol at a time in plain Python integers.

It shares no code with the package: what both decode is what the document says.
"""

from __future__ import annotations

import itertools

import numpy as np
from independent_reader import RangeDecoder

ONE = 1 << 24
QUARTERS = (65536, 77936, 92682, 110218)
ORDER = (0, 7, 3, 5, 6, 1, 2, 4)
KINDS = (0, 1, 2, 2, 2, 3, 3, 3)
THRESHOLDS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584)
SIGN_THRESHOLDS = (1, 32, 64, 128, 256, 512, 1024)
SIGN_WEIGHTS = ((0, 0, 0), (0, 0, 16), (32, 8, 0), (20, 4, 0))
KEY = (
    (72, 68, 66, 64, 62, 61, 59, 57, 54, 51, 49, 46, 43, 39, 34, 28, 21, 14),
    (21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 21, 20, 20, 19, 18, 16),
    (22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 22, 21, 21, 20, 18, 16),
)
INTER = (
    (75, 67, 65, 62, 59, 57, 54, 52, 48, 46, 43, 39, 35, 31, 27, 21, 15, 8),
    (28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 28, 27, 27, 26, 24, 22, 20, 18),
    (32, 32, 31, 31, 31, 31, 30, 30, 30, 30, 30, 30, 29, 27, 24, 22, 19, 17),
)
SIGNS = (34, 36, 38, 39, 42, 47, 54)


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


def decode(payload: bytes, live: np.ndarray, channels: int, previous: np.ndarray | None, weights: list) -> np.ndarray:
    """(nz, ny, nx, C) symbols. ``weights``: the document's weight sets, per set and kind (known, prefix, mean)."""
    shape = live.shape
    result = np.zeros((*shape, channels), np.int64)
    if payload == b"\x02":
        return result
    coder = RangeDecoder(payload[1:])
    order = side(coder, 1)[0]
    statistics = list(itertools.accumulate(side(coder, channels), initial=24))[1:]
    nodes = [tuple(int(v) for v in node) for node in np.argwhere(live)]
    if payload[0] & 15 == 1:
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
        for k, default in enumerate(zip(*(KEY if previous is None else INTER), strict=True)):
            tables.append(indexed_table(*(d + i for d, i in zip(default, indices[3 * k : 3 * k + 3], strict=True))))
        right = [[ONE // 2, ONE // 2]]
        for default, change in zip(SIGNS, side(coder, 7, sparse), strict=True):
            p = probability(default + change)
            right.append([ONE - p, p])
        means = [(QUARTERS[k % 4] << (k // 4)) >> 16 for k in statistics]
        contextual(coder, result, live, previous, weights[payload[0] >> 4], means, tables, right)
    flat = [int(abs(v)) for node in nodes for v in result[node]]
    escapes(coder, flat, order)
    for k, node in enumerate(nodes):
        for channel in range(channels):
            magnitude = flat[k * channels + channel]
            result[(*node, channel)] = magnitude if result[(*node, channel)] >= 0 else -magnitude
    return result


def raw_signs(coder: RangeDecoder, count: int) -> list[int]:
    return [1 if coder.symbol([ONE // 2, ONE // 2]) else -1 for _ in range(count)]


def contextual(coder, result, live, previous, weights, means, tables, right) -> None:
    shape, channels = live.shape, len(means)
    decoded: set[int] = set()

    def within(node) -> bool:
        return all(0 <= a < n for a, n in zip(node, shape, strict=True))

    def capped(array, node, channel) -> int:
        return max(-15, min(15, int(array[(*node, channel)])))

    def total(array, node) -> int:
        return min(255, sum(abs(capped(array, node, c)) for c in range(channels)))

    for position, parity in enumerate(ORDER):
        own_kind = KINDS[position]
        known, prefix_weight, mean_weight = weights[own_kind]
        nodes = [
            (z, y, x)
            for z in range(parity >> 2 & 1, shape[0], 2)
            for y in range(parity >> 1 & 1, shape[1], 2)
            for x in range(parity & 1, shape[2], 2)
            if live[z, y, x]
        ]
        near: list[list[list]] = []
        for node in nodes:
            sorts: list[list] = [[], [], []]
            for offset in itertools.product((-1, 0, 1), repeat=3):
                other = tuple(a + b for a, b in zip(node, offset, strict=True))
                sort = sum(map(abs, offset)) - 1
                if sort >= 0 and within(other):
                    klass = (other[0] & 1) << 2 | (other[1] & 1) << 1 | other[2] & 1
                    if klass in decoded:
                        sorts[sort].append(other)
            near.append(sorts)
        for channel in range(channels):
            keys, classes, flipped = [], [], []
            for node, sorts in zip(nodes, near, strict=True):
                norm = 65536 // channels
                features = [sum(abs(capped(result, other, channel)) for other in sort) for sort in sorts]
                features += [sum(total(result, other) for other in sort) * norm >> 12 for sort in sorts]
                if previous is not None:
                    features.append(abs(capped(previous, node, channel)))
                    faces = 0
                    for axis, step in itertools.product(range(3), (-1, 1)):
                        other = tuple(a + step * (axis == k) for k, a in enumerate(node))
                        if within(other):
                            faces += abs(capped(previous, other, channel))
                    features.append(faces)
                    features.append(total(previous, node) * norm >> 12)
                activity = means[channel] * mean_weight >> 8
                activity += sum(w * f for w, f in zip(known, features, strict=True))
                before = sum(abs(capped(result, node, c)) for c in range(channel))
                activity += prefix_weight * (before * (65536 // (channel + 2)) >> 12)
                keys.append(bin_of(activity >> 3, THRESHOLDS))
                predicted = sum(
                    w * sum(capped(result, other, channel) for other in sort)
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
        decoded.add(parity)
