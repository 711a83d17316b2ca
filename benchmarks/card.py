"""What a card can do: bytes copied and operations done per second, measured with the kernel language itself."""

from measure import best
from taichi_vvc.kernels._taichi import F32, ti

from taichi_vvc.runtime import Runtime


@ti.kernel
def copy(count: ti.i32, source: F32, target: F32):
    """One read and one write per element."""
    for i in range(count):
        target[i] = source[i]


@ti.kernel
def multiply_add(count: ti.i32, turns: ti.i32, factor: ti.f32, array: F32):
    """Eight independent chains of multiply-adds per element, one read and one write."""
    for i in range(count):
        a = array[i]
        b = a + 1.0
        c = a + 2.0
        d = a + 3.0
        e = a + 4.0
        f = a + 5.0
        g = a + 6.0
        h = a + 7.0
        for _ in range(turns):
            a = a * factor + 1.0
            b = b * factor + 1.0
            c = c * factor + 1.0
            d = d * factor + 1.0
            e = e * factor + 1.0
            f = f * factor + 1.0
            g = g * factor + 1.0
            h = h * factor + 1.0
        array[i] = a + b + c + d + e + f + g + h


def rates(runtime: Runtime, elements: int, repeats: int) -> dict[str, float]:
    """Bytes per second of a copy, and floating-point operations per second."""
    source, target = runtime.zeros(elements), runtime.zeros(elements)
    turns, threads = 256, max(elements // 16, 1)

    def copying() -> None:
        copy(elements, source, target)

    def calculating() -> None:
        multiply_add(threads, turns, 0.5, target)

    copying(), calculating()
    runtime.sync()
    return {
        "bytes_per_s": 8 * elements / best(copying, repeats, runtime),
        "operations_per_s": 16 * turns * threads / best(calculating, repeats, runtime),
    }
