"""A decoder written from docs/bitstream.md, one symbol at a time in plain integers: from a file to all its symbols.

It shares no code with the package: what both decode is what the document says. The tables of weights are read from the
document itself.
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

    # Beyond the ends of the grid the last symbol is repeated.
    grown = np.pad(symbols, ((1, 1), (1, 1), (1, 1), (0, 0)), "edge").tolist()

    def value(node: list[int], channel: int) -> int:
        x, y, z = node
        return grown[z + 1][y + 1][x + 1][channel]

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


def decode_mask(payload: bytes, shape: tuple[int, int, int], previous: np.ndarray | None) -> np.ndarray:
    """(nz, ny, nx) occupancy."""
    mask = np.zeros(shape, bool)
    if not payload:
        return mask if previous is None else previous.copy()
    coder = RangeDecoder(payload)
    rows = documented_rows("mask weights")
    weights = {tuple(row[:2]): row[2:] for row in rows if (len(row) > 6) == (previous is not None)}
    counts: dict[tuple, list[int]] = {}
    for key, b in itertools.product(weights, range(48)):
        major = max(1, probability(32 + 2 * abs(b - 24)) * 16384 >> 24)
        minor = max(1, 16384 - major)
        counts[(*key, b)] = [minor, major] if b >= 24 else [major, minor]
    # Cells that passes are done with, those of them that are occupied, and those that were.
    known: set[tuple] = set()
    now: set[tuple] = set()
    then = set() if previous is None else set(map(tuple, np.argwhere(previous).tolist()))

    def bin_at(place: tuple, spacing: int, key: tuple) -> int:
        bias, *w = weights[key]
        score = bias
        for offset, sort in NEIGHBOURS:
            other = tuple(a + spacing * o for a, o in zip(place, offset, strict=True))
            if other in known:
                score += w[sort] * (other in now)
                if previous is not None:
                    score += w[7 + sort] * (other in then)
            if previous is not None:
                score += w[4 + sort] * (tuple(a + o for a, o in zip(place, offset, strict=True)) in then)
        if previous is not None:
            score += w[3] * (place in then)
        return min(max((score >> 3) + 24, 0), 47)

    def walk(spacing: int, kind: int, chosen: list) -> None:
        key = (kind, min(spacing, 2))
        bins = [bin_at(place, spacing, key) for place in chosen]
        frequencies = {}
        for b in set(bins):
            empty, occupied = counts[(*key, b)]
            right = min(max((occupied << 24) // (occupied + empty), 1), ONE - 1)
            frequencies[b] = [ONE - right, right]
        values = groups(coder, bins, frequencies)
        for place, b, value in zip(chosen, bins, values, strict=True):
            mask[place] = value
            now.update([place] if value else [])
            counts[(*key, b)][value] += 64
        known.update(chosen)

    cells = list(np.ndindex(*shape))
    walk(8, 3, [place for place in cells if all(a % 8 == 0 for a in place)])
    for spacing in (4, 2, 1):
        for parity, kind in zip(ORDER[1:], KINDS[1:], strict=True):
            begin = tuple(spacing * (parity >> bit & 1) for bit in (2, 1, 0))
            walk(spacing, kind - 1, [p for p in cells if tuple(a % (2 * spacing) for a in p) == begin])
    return mask


def live_nodes(mask: np.ndarray, resolution: tuple, frequency: int | None) -> np.ndarray:
    """(nz, ny, nx) nodes that a sample in an occupied cell can touch; frequency in 1/256 (None: coefficients)."""
    cells, touched = mask.shape[::-1], []
    for n_cells, n in zip(cells, resolution, strict=True):
        q, tile = (1, 64 * n_cells) if frequency is None else (frequency, 16384 * max(cells))
        axis: list[set[int]] = []
        for i in range(n_cells):
            low, high = max(0, 64 * q * i - q), min(64 * q * n_cells, 64 * q * (i + 1) + q)
            nodes: set[int] = set()
            for k in range(low // tile, (high - 1) // tile + 1):
                start, end = max(low, k * tile) - k * tile, min(high, (k + 1) * tile) - k * tile
                nodes.update(range(start * (n - 1) // tile, min(n - 1, end * (n - 1) // tile + 1) + 1))
            axis.append(nodes)
        touched.append(axis)
    live = np.zeros(resolution[::-1], bool)
    for z, y, x in np.argwhere(mask):
        live[np.ix_(sorted(touched[2][z]), sorted(touched[1][y]), sorted(touched[0][x]))] = True
    return live


def decode_file(found: dict) -> list[dict]:
    """What ``independent_reader.read_file`` found: per frame its ``mask`` and the ``symbols`` of all grids."""
    header, sets = found["header"], documented_sets()
    cells, block = tuple(header["cells"]), header["motion_block"]
    levels = header["levels"]
    channels = [sum(level["channels"] for level in levels), *(level["channels"] for level in levels)]
    resolutions = [tuple(header["coefficients"]), *(tuple(level["resolution"]) for level in levels)]
    frequencies = [None, *(round(256 * level["frequency"]) for level in levels)]
    moves = [frequency is None or frequency <= 256 for frequency in frequencies]
    frames: list[dict] = []
    for frame in found["frames"]:
        before = frames[-1] if frame["type"] == "inter" else None
        mask = decode_mask(frame["occupancy"], cells[::-1], None if before is None else before["mask"])
        live = [live_nodes(mask, r, f) for r, f in zip(resolutions, frequencies, strict=True)]
        references = [None] * len(live) if before is None else list(before["symbols"])
        motion = None
        if frame["motion"]:
            assert before is not None
            nodes = np.zeros(tuple(-(-n // block) + 1 for n in cells[::-1]), bool)
            moving = [g for g in zip(resolutions, frequencies, live, moves, strict=True) if g[3]]
            for x, y, z in live_motion(cells, block, [g[:3] for g in moving]):
                nodes[z, y, x] = True
            if frame["motion"][0] in (3, 4):
                motion = decode_motion(frame["motion"], nodes, before["motion"])
            else:
                motion = decode(frame["motion"], nodes, 3, None, None, sets)
            for k, (frequency, moving_grid) in enumerate(zip(frequencies, moves, strict=True)):
                if moving_grid:
                    references[k] = moved(cells, block, frequency, references[k], motion, live[k])
        previous = [None] * len(live) if before is None or before["key"] else before["residuals"]
        residuals = [
            decode(payload, nodes, count, p, r, sets)
            for payload, nodes, count, p, r in zip(frame["grids"], live, channels, previous, references, strict=True)
        ]
        symbols = [n if r is None else n + r for n, r in zip(residuals, references, strict=True)]
        frames.append(
            {"mask": mask, "symbols": symbols, "residuals": residuals, "motion": motion, "key": before is None}
        )
    return frames
