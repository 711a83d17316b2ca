"""A decoder of grids, displacements and MLPs written from docs/bitstream.md, one symbol at a time in plain integers.

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


def decode(payload: bytes, live: np.ndarray, channels: int, known, sets: list) -> np.ndarray:
    """(nz, ny, nx, C) symbols.

    ``known`` has the grid's previous residual and its reference, or None; ``sets`` are the document's, each as a
    dictionary of what its tables say.
    """
    previous, reference = known.previous, known.reference
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
                if len(known) == 10:
                    features += [0] * (9 - len(features))
                    features.append(abs(capped(reference, node, channel)))
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


def mlps_of_groups(groups: list[dict], shapes: list[tuple[int, ...]]) -> list[list[np.ndarray]]:
    """The MLP tensors of each group of a file, in 32-bit floats; where a group has none, those of the group before."""
    found: list[list[np.ndarray]] = []
    for group in groups:
        if not group["mlp"]:
            found.append(found[-1])
            continue
        symbols = integers(group["mlp"], shapes)
        found.append([np.float32(s) * t.astype(np.float32) for s, t in zip(group["mlp_steps"], symbols, strict=True)])
    return found


def decode_motion(payload: bytes, live: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """(mz, my, mx, 3) displacements of a payload whose first byte is 3 or 4."""
    nodes = [tuple(int(v) for v in node) for node in np.argwhere(live)]
    numbers = integers(payload[1:], [(3 * len(nodes),)])[0].tolist()
    left = {node: numbers[3 * k : 3 * k + 3] for k, node in enumerate(nodes)}
    values: dict[tuple, list[int]] = {}

    def walk(spacing: int, chosen: list) -> None:
        found = {}
        for node in chosen:
            weights, total = 0, [0, 0, 0]
            for offset in itertools.product((-spacing, 0, spacing), repeat=3):
                other = tuple(a + b for a, b in zip(node, offset, strict=True))
                if other in values:
                    weight = {1: 16, 2: 4, 3: 1}[sum(o != 0 for o in offset)]
                    weights += weight
                    total = [t + weight * v for t, v in zip(total, values[other], strict=True)]
            predicted = [(2 * t + weights) // (2 * weights) if weights else 0 for t in total]
            found[node] = [p + v for p, v in zip(predicted, left[node], strict=True)]
        values.update(found)

    walk(8, [node for node in nodes if all(a % 8 == 0 for a in node)])
    for spacing in (4, 2, 1):
        for parity in (7, 3, 5, 6, 1, 2, 4):
            place = tuple(spacing * (parity >> bit & 1) for bit in (2, 1, 0))
            walk(spacing, [node for node in nodes if tuple(a % (2 * spacing) for a in node) == place])
    result = np.zeros((*live.shape, 3), np.int64)
    for node, value in values.items():
        result[node] = value
        if payload[0] == 4:
            assert before is not None
            result[node] += before[node]
    return result


def motion_places(cells: tuple, block: int, resolution: tuple, frequency: int | None) -> list[list[tuple[int, int]]]:
    """Per axis (x, y, z), the lattice block of each node of a moved grid and its place therein, in 64ths."""
    axes = []
    for n_cells, n in zip(cells, resolution, strict=True):
        above, below = (n_cells, 1) if frequency is None else (256 * max(cells), frequency)
        lattice = -(-n_cells // block) + 1
        axis = []
        for i in range(n):
            place = min(64 * above * i // (below * (n - 1) * block), 64 * (lattice - 1))
            b = min(place // 64, lattice - 2)
            axis.append((b, place - 64 * b))
        axes.append(axis)
    return axes


def live_motion(cells: tuple, block: int, grids: list) -> set[tuple[int, int, int]]:
    """Live lattice nodes (x, y, z). ``grids``: resolution, frequency in 1/256 (None: coefficients) and live mask."""
    found = set()
    for resolution, frequency, live in grids:
        x, y, z = motion_places(cells, block, resolution, frequency)
        for k, j, i in np.argwhere(live):
            for corner in itertools.product((0, 1), repeat=3):
                found.add(tuple(a[n][0] + c for a, n, c in zip((x, y, z), (i, j, k), corner, strict=True)))
    return found


def moved(cells: tuple, block: int, frequency: int | None, symbols: np.ndarray, motion: np.ndarray, live: np.ndarray):
    """The symbols of one moved grid, (nz, ny, nx, C), after the displacements (mz, my, mx, 3)."""
    resolution = symbols.shape[2::-1]
    axes = motion_places(cells, block, resolution, frequency)
    result = symbols.copy()

    def value(node: list[int], channel: int) -> int:
        x, y, z = (min(max(a, 0), n - 1) for a, n in zip(node, resolution, strict=True))
        return int(symbols[z, y, x, channel])

    def bend(node: list[int], axis: int, channel: int) -> int:
        sides = [[a + step * (axis == k) for k, a in enumerate(node)] for step in (-1, 1)]
        return value(sides[0], channel) - 2 * value(node, channel) + value(sides[1], channel)

    for k, j, i in np.argwhere(live):
        own = (int(i), int(j), int(k))
        around = [axis[n] for axis, n in zip(axes, own, strict=True)]
        origin, part, still = [], [], True
        for axis, n in enumerate(resolution):
            total = 0
            for corner in itertools.product((0, 1), repeat=3):
                weight = 1
                for (_, t), c in zip(around, corner, strict=True):
                    weight *= t if c else 64 - t
                x, y, z = (b + c for (b, _), c in zip(around, corner, strict=True))
                total += weight * int(motion[z, y, x, axis])
            above, below = (cells[axis], 1) if frequency is None else (256 * max(cells), frequency)
            unit = 32768 * above
            shift = (total * (n - 1) * below + unit // 2) // unit
            still = still and shift == 0
            place = min(max(32 * own[axis] + shift, 0), 32 * (n - 1))
            below_node = min(place // 32, n - 2)
            origin.append(below_node)
            part.append(place - 32 * below_node)
        if still:
            continue
        for channel in range(symbols.shape[3]):
            total = 0
            for corner in itertools.product((0, 1), repeat=3):
                node = [o + c for o, c in zip(origin, corner, strict=True)]
                weight = 1
                for f, c in zip(part, corner, strict=True):
                    weight *= f if c else 32 - f
                inner = 2048 * value(node, channel)
                for axis, f in enumerate(part):
                    inner -= f * (32 - f) * bend(node, axis, channel)
                total += weight * inner
            result[(k, j, i, channel)] = (total + (1 << 25)) >> 26
    return result
