"""Displacements of frames and what they move, written from docs/bitstream.md, section 11; see ``plain_decoder.py``."""

from __future__ import annotations

import itertools

import numpy as np
from independent_reader import RangeDecoder
from plain_decoder import ONE, bin_of, documented_rows, escapes, groups, integers, magnitude_table, probability, raw


def in_passes(nodes: list[tuple], walk) -> None:
    """Calls ``walk`` with the spacing and the nodes of each pass over a lattice."""
    walk(8, [node for node in nodes if all(a % 8 == 0 for a in node)])
    for spacing in (4, 2, 1):
        for parity in (7, 3, 5, 6, 1, 2, 4):
            place = tuple(spacing * (parity >> bit & 1) for bit in (2, 1, 0))
            walk(spacing, [node for node in nodes if tuple(a % (2 * spacing) for a in node) == place])


def near(node: tuple, spacing: int, values: dict) -> list[tuple[int, list[int]]]:
    """Weight and values of the neighbours that have some."""
    found = []
    for offset in itertools.product((-spacing, 0, spacing), repeat=3):
        other = tuple(a + b for a, b in zip(node, offset, strict=True))
        if any(offset) and other in values:
            found.append(({1: 16, 2: 4, 3: 1}[sum(o != 0 for o in offset)], values[other]))
    return found


def mean(neighbours: list, axis: int) -> int:
    whole = sum(weight for weight, _ in neighbours)
    return (2 * sum(weight * value[axis] for weight, value in neighbours) + whole) // (2 * whole) if whole else 0


def decode_motion(payload: bytes, live: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """(mz, my, mx, 3) displacements of a payload whose first byte is 3 or 4."""
    nodes = [tuple(int(v) for v in node) for node in np.argwhere(live)]
    numbers = integers(payload[1:], [(3 * len(nodes),)])[0].tolist()
    left = {node: numbers[3 * k : 3 * k + 3] for k, node in enumerate(nodes)}
    values: dict[tuple, list[int]] = {}

    def walk(spacing: int, chosen: list) -> None:
        found = {}
        for node in chosen:
            neighbours = near(node, spacing, values)
            found[node] = [mean(neighbours, axis) + left[node][axis] for axis in range(3)]
        values.update(found)

    in_passes(nodes, walk)
    result = np.zeros((*live.shape, 3), np.int64)
    for node, value in values.items():
        result[node] = value
        if payload[0] == 4:
            assert before is not None
            result[node] += before[node]
    return result


THRESHOLDS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)


def coded_nodes(mask: np.ndarray, block: int) -> np.ndarray:
    """(mz, my, mx) lattice nodes whose displacements are coded, by the mask of the frame before."""
    coded = np.zeros([-(-n // block) + 1 for n in mask.shape], bool)
    for cell in np.argwhere(mask):
        for corner in itertools.product((0, 1), repeat=3):
            coded[tuple(int(i) // block + c for i, c in zip(cell, corner, strict=True))] = True
    return coded


def decode_contexts(payload: bytes, coded: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """(mz, my, mx, 3) displacements of a payload whose first byte is 5 or 6."""
    coder = RangeDecoder(payload[1:])
    rows = documented_rows("motion bins")
    counts = [[1024 - (probability(row[1]) * 1024 >> 24), probability(row[1]) * 1024 >> 24] for row in rows]
    nodes = [tuple(int(v) for v in node) for node in np.argwhere(coded)]
    values: dict[tuple, list[int]] = {}

    def expected(node: tuple, spacing: int, axis: int) -> tuple[int, int, int]:
        neighbours = near(node, spacing, values) if spacing < 8 else []
        if not neighbours:
            return 0, 14, 0
        predicted = mean(neighbours, axis)
        whole = sum(weight for weight, _ in neighbours)
        apart = sum(weight * abs(value[axis] - predicted) for weight, value in neighbours)
        total = sum(weight * value[axis] for weight, value in neighbours)
        chosen = bin_of(16 * apart // whole, THRESHOLDS) + (spacing == 4)
        return predicted, min(chosen, 13), int(np.sign(total - predicted * whole))

    def walk(spacing: int, chosen: list) -> None:
        what = [expected(node, spacing, axis) for node in chosen for axis in range(3)]
        bins = [b for _, b, _ in what]
        tables = [
            magnitude_table((zeros << 24) // (zeros + others), probability(first), probability(later))
            for (others, zeros), (_, _, first, later) in zip(counts, rows, strict=True)
        ]
        numbers = groups(coder, bins, tables)
        for b, number in zip(bins, numbers, strict=True):
            counts[b][number == 0] += 64
        escapes(coder, numbers, 3)
        right = [ONE - probability(37), probability(37)]
        for k, (_, _, sign) in enumerate(what):
            if numbers[k] and sign:
                numbers[k] *= sign if coder.symbol(right) else -sign
        plain = [k for k, (_, _, sign) in enumerate(what) if numbers[k] and not sign]
        for k, negative in zip(plain, raw(coder, len(plain), 1), strict=True):
            numbers[k] *= 1 - 2 * negative
        whole = [p + n for (p, _, _), n in zip(what, numbers, strict=True)]
        values.update({node: whole[3 * k : 3 * k + 3] for k, node in enumerate(chosen)})

    in_passes(nodes, walk)
    result = np.zeros((*coded.shape, 3), np.int64)
    for node, value in values.items():
        result[node] = value
        if payload[0] == 6:
            assert before is not None
            result[node] += before[node]
    known = {node: result[node].tolist() for node in values}
    for node in map(tuple, np.argwhere(~coded).tolist()):
        result[node] = [mean(near(node, 1, known), axis) for axis in range(3)]
    return result


def moved_mask(mask: np.ndarray, block: int, motion: np.ndarray | None) -> np.ndarray:
    """(nz, ny, nx) shares, 0..16, of the cells that a mask covers once it has moved."""
    if motion is None:
        return 16 * mask.astype(np.int64)
    shares = np.zeros(mask.shape, np.int64)
    occupied = set(map(tuple, np.argwhere(mask).tolist()))
    for cell in np.ndindex(*mask.shape):
        places = [(64 * i + 32) // block for i in cell]
        low = [p // 64 for p in places]
        sums = [0, 0, 0]
        for corner in itertools.product((0, 1), repeat=3):
            weight = 1
            for p, b, c in zip(places, low, corner, strict=True):
                weight *= p - 64 * b if c else 64 - (p - 64 * b)
            node = tuple(b + c for b, c in zip(low, corner, strict=True))
            sums = [s + weight * int(v) for s, v in zip(sums, motion[node], strict=True)]
        # Displacements are along x, y, z, and cells (z, y, x).
        origin = [
            min(max(8 * i + (s + (1 << 16)) // (1 << 17), -8), 8 * n)
            for i, s, n in zip(cell, reversed(sums), mask.shape, strict=True)
        ]
        for corner in itertools.product((0, 1), repeat=3):
            if tuple((q >> 3) + c for q, c in zip(origin, corner, strict=True)) in occupied:
                weight = 1
                for q, c in zip(origin, corner, strict=True):
                    weight *= q % 8 if c else 8 - q % 8
                shares[cell] += weight
    return (shares + 16) >> 5


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
