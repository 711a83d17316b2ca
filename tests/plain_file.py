"""From a file to all its symbols, masks and MLPs, written from docs/bitstream.md; see ``plain_decoder.py``."""

from __future__ import annotations

import itertools

import numpy as np
from independent_reader import RangeDecoder
from plain_decoder import (
    KINDS,
    NEIGHBOURS,
    ONE,
    ORDER,
    decode,
    documented_rows,
    documented_sets,
    groups,
    integers,
    probability,
)
from plain_motion import coded_nodes, decode_contexts, decode_motion, live_motion, moved, moved_mask


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


def decode_mask(
    payload: bytes, shape: tuple[int, int, int], previous: np.ndarray | None, shares: np.ndarray | None = None
) -> np.ndarray:
    """(nz, ny, nx) occupancy. ``shares``: of the moved mask, in 0..16."""
    mask = np.zeros(shape, bool)
    if not payload:
        return mask if previous is None else previous.copy()
    if previous is not None and len(payload) % 4 == 1:
        assert shares is not None
        coder, before, shift = RangeDecoder(payload[1:]), shares, 4
        rows = [row[1:] for row in documented_rows("moved mask weights") if row[0] == payload[0]]
    else:
        coder, before, shift = RangeDecoder(payload), previous, 0
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
    then = {} if before is None else {place: int(before[place]) for place in map(tuple, np.argwhere(before).tolist())}

    def bin_at(place: tuple, spacing: int, key: tuple) -> int:
        bias, *w = weights[key]
        score, behind = bias, 0
        for offset, sort in NEIGHBOURS:
            other = tuple(a + spacing * o for a, o in zip(place, offset, strict=True))
            if other in known:
                score += w[sort] * (other in now)
                if then:
                    behind += w[7 + sort] * then.get(other, 0)
            if then:
                behind += w[4 + sort] * then.get(tuple(a + o for a, o in zip(place, offset, strict=True)), 0)
        if then:
            behind += w[3] * then.get(place, 0)
        score += behind >> shift
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
        motion, shares = None, None
        if before is not None:
            if frame["motion"] and frame["motion"][0] in (5, 6):
                motion = decode_contexts(frame["motion"], coded_nodes(before["mask"], block), before["motion"])
            shares = moved_mask(before["mask"], block, motion)
        mask = decode_mask(frame["occupancy"], cells[::-1], None if before is None else before["mask"], shares)
        live = [live_nodes(mask, r, f) for r, f in zip(resolutions, frequencies, strict=True)]
        references = [None] * len(live) if before is None else list(before["symbols"])
        if frame["motion"]:
            assert before is not None
            nodes = np.zeros(tuple(-(-n // block) + 1 for n in cells[::-1]), bool)
            moving = [g for g in zip(resolutions, frequencies, live, moves, strict=True) if g[3]]
            for x, y, z in live_motion(cells, block, [g[:3] for g in moving]):
                nodes[z, y, x] = True
            if motion is not None:
                pass
            elif frame["motion"][0] in (3, 4):
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
