"""Contexts of live symbols on the device: which table the entropy coder would code each with.

The coder's own functions are in ``taichi_vvc/coding/contexts.py``.

Magnitudes lie in volumes with a border of one node, so that every node has 26 neighbours: channel c of node w of a grid
at ``(start + w) * channels + c`` for grids one behind the other, with ``start`` counted in nodes and ``base`` in
numbers. All is in integers, as in the coder; signs are not looked at.
"""

from ._taichi import F32, I32, ti
from .columns import ContextKind, ContextSettings
from .launch import kernel
from .quantize import ROUND, quantized_value

CAP = 15
TOTAL_CAP = 255
ESCAPE = 16
THRESHOLDS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597, 2584)
# Copies of every counter, so that threads side by side do not wait for each other.
COPIES = 32


@ti.func
def capped(magnitude: ti.i32) -> ti.i32:
    """A magnitude as contexts see it."""
    return ti.min(magnitude, CAP)


@ti.func
def scaled(total: ti.i32, channels: ti.i32) -> ti.i32:
    """Sixteen times the mean over channels."""
    return (total * (65536 // channels)) >> 12


@kernel
def store_magnitudes(
    count: ti.i32,
    channels: ti.i32,
    first_node: ti.i32,
    first_symbol: ti.i32,
    base: ti.i32,
    slot: ti.i32,  # counters of the grid's first channel
    parameters: F32,  # (count,) residual, symbols
    where: I32,  # (live nodes,) places in the bordered volumes
    magnitudes: I32,  # out, rounded, at most ESCAPE
    sums: I32,  # added to: (slots * COPIES,) capped magnitudes of each channel
):
    """The symbols as they would be rounded now."""
    for i in range(count):
        n = i // channels
        c = i - n * channels
        rounded = quantized_value(parameters[first_symbol + i], ROUND, 0, 0, 0)
        size = ti.min(ti.abs(ti.cast(rounded, ti.i32)), ESCAPE)
        magnitudes[base + where[first_node + n] * channels + c] = size
        if size > 0:
            ti.atomic_add(sums[(slot + c) * COPIES + n % COPIES], capped(size))


@kernel
def sum_channels(
    nodes: ti.i32,
    channels: ti.i32,
    first_node: ti.i32,
    base: ti.i32,
    start: ti.i32,
    where: I32,
    magnitudes: I32,
    totals: I32,  # out, capped magnitudes over the channels of a node, capped
):
    """All channels of a node as one. (Not with :func:`store_magnitudes`: atomics within a loop stop it on lavapipe.)"""
    for n in range(nodes):
        place = where[first_node + n]
        total = 0
        for c in range(channels):
            total += capped(magnitudes[base + place * channels + c])
        totals[start + place] = ti.min(total, TOTAL_CAP)


@kernel
def choose_tables(
    count: ti.i32,
    row: ti.i32,  # where the grid's settings begin
    settings: I32,  # :class:`ContextSettings` of ``columns.py``
    where: I32,
    magnitudes: I32,
    totals: I32,
    before: I32,  # capped magnitudes of the previous residual, as ``magnitudes``
    before_totals: I32,
    reference: F32,  # (count,) what the symbols are added to
    found: I32,  # in, out (count,) tables
    counts: I32,  # added to: (slots * (ESCAPE + 1) * COPIES,) magnitudes by table
):
    """The table of every live symbol of a grid, and how often each magnitude falls to each."""
    for i in range(count):
        channels = settings[row + ContextSettings.CHANNELS]
        first_symbol = settings[row + ContextSettings.FIRST_SYMBOL]
        base = settings[row + ContextSettings.BASE]
        start = settings[row + ContextSettings.START]
        width = settings[row + ContextSettings.WIDTH]
        area = settings[row + ContextSettings.AREA]
        shift = settings[row + ContextSettings.SHIFT]
        has_before = settings[row + ContextSettings.HAS_BEFORE]
        n = i // channels
        c = i - n * channels
        place = where[settings[row + ContextSettings.FIRST_NODE] + n]
        z = place // area
        y = (place - z * area) // width
        x = place - z * area - y * width
        # The border shifts every index by one.
        parity = ((z + 1) & 1) << 2 | ((y + 1) & 1) << 1 | ((x + 1) & 1)
        mask = settings[row + ContextSettings.MASKS + parity]
        own = ti.Vector([0, 0, 0])
        every = ti.Vector([0, 0, 0])
        faces = 0
        for dz, dy, dx in ti.static(ti.ndrange((-1, 2), (-1, 2), (-1, 2))):
            far = ti.static(abs(dz) + abs(dy) + abs(dx))
            if ti.static(far > 0):
                at = place + dz * area + dy * width + dx
                if (mask >> ti.static(abs(dz) << 2 | abs(dy) << 1 | abs(dx))) & 1:
                    own[far - 1] += capped(magnitudes[base + at * channels + c])
                    every[far - 1] += totals[start + at]
                if ti.static(far == 1):
                    if has_before == 1:
                        faces += before[base + at * channels + c]
        kind = row + ContextSettings.KINDS + settings[row + ContextSettings.KIND_OF + parity] * ContextKind.ROW
        activity = (settings[row + ContextSettings.MEANS + c] * settings[kind + ContextKind.MEAN]) >> 8
        for k in ti.static(range(3)):
            activity += own[k] * settings[kind + ContextKind.OWN + k]
            activity += scaled(every[k], channels) * settings[kind + ContextKind.EVERY + k]
        if has_before == 1:
            activity += before[base + place * channels + c] * settings[kind + ContextKind.BEFORE]
            activity += faces * settings[kind + ContextKind.BEFORE + 1]
            activity += scaled(before_totals[start + place], channels) * settings[kind + ContextKind.BEFORE + 2]
        if settings[row + ContextSettings.HAS_BENEATH] == 1:
            under = ti.cast(ti.min(ti.abs(reference[first_symbol + i]), float(CAP)), ti.i32)
            activity += under * settings[kind + ContextKind.BENEATH]
        prefix = 0
        for k in range(c):
            prefix += capped(magnitudes[base + place * channels + k])
        activity += ((prefix * (65536 // (c + 2))) >> 12) * settings[kind + ContextKind.PREFIX]
        level = activity >> 3
        table = 0
        for threshold in ti.static(THRESHOLDS):
            table += ti.cast(level >= threshold, ti.i32)
        found[first_symbol + i] = (found[first_symbol + i] & ~(31 << shift)) | table << shift
        size = magnitudes[base + place * channels + c]
        slot = settings[row + ContextSettings.SLOT]
        ti.atomic_add(counts[((slot + table) * (ESCAPE + 1) + size) * COPIES + i % COPIES], 1)


@kernel
def sum_copies(count: ti.i32, counts: I32, sums: I32):
    """Add up the copies of every counter, and clear them."""
    for i in range(count):
        total = 0
        for k in range(COPIES):
            total += counts[i * COPIES + k]
            counts[i * COPIES + k] = 0
        sums[i] = total


@kernel
def rows_of_tables(
    count: ti.i32,
    first_symbol: ti.i32,
    shift: ti.i32,
    first_table: ti.i32,
    stride: ti.i32,  # numbers per table
    found: I32,
    rows: I32,  # out (count,)
):
    """Where each symbol's table begins among the derivatives of the bits."""
    for i in range(count):
        rows[first_symbol + i] = (first_table + ((found[first_symbol + i] >> shift) & 31)) * stride
