"""The torch functions: values and gradients against float64 references, coded bytes, and errors of arguments."""

from __future__ import annotations

import threading

import backends
import numpy as np
import pytest
import torch
import torch_model
from captures import BOUNDS, ring_cameras
from torch.nn.functional import pad

import taichi_vvc.torch as tvt
from taichi_vvc.errors import BackendError, ConfigError, CorruptStream
from taichi_vvc.geometry.projection import pixel_directions

pytestmark = pytest.mark.skipif(backends.BACKEND != "cpu", reason="CPU tensors need the cpu backend")


def leaf(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    values = np.random.default_rng(seed).normal(size=shape) * scale
    return torch.from_numpy(values.astype(np.float32)).requires_grad_()


def points(count: int, size: tuple[float, float, float], seed: int = 9) -> torch.Tensor:
    return torch.from_numpy((np.random.default_rng(seed).random((count, 3)) * size).astype(np.float32))


def twice(grid: torch.Tensor) -> torch.Tensor:
    """A float64 copy in which an axis of one node has two equal ones, as torch's interpolation needs it."""
    return grid.double().expand(*(max(2, n) for n in grid.shape[:3]), -1)


def reference(grid: torch.Tensor, x: torch.Tensor, size, bases=(), frequencies=()) -> torch.Tensor:
    """The lookup in float64 by torch's own interpolation."""
    extent = torch.tensor(size, dtype=torch.float64)
    result = torch_model.sampled(twice(grid), x.double() / extent * 2 - 1)
    if not bases:
        return result
    tiles = [max(size) / f for f in frequencies]
    parts = [
        torch_model.sampled(twice(b), torch.remainder(x.double(), t) / t * 2 - 1)
        for b, t in zip(bases, tiles, strict=True)
    ]
    return result * torch.cat(parts, dim=1)


def assert_same_gradients(found, expected, leaves, tolerance: float = 2e-4) -> None:
    """Both scalars' gradients with respect to all leaves agree, relative to the largest."""
    ours = torch.autograd.grad(found, leaves)
    theirs = torch.autograd.grad(expected, leaves, retain_graph=True)
    for a, b in zip(ours, theirs, strict=True):
        assert float(b.abs().max()) > 0
        assert float((a - b).abs().max()) <= tolerance * float(b.abs().max())


LOOKUPS = {
    "plain": ((4, 5, 6, 4), (), ()),
    "ten channels": ((3, 4, 5, 10), (), ()),
    "plane": ((5, 1, 6, 8), (), ()),
    "product": ((4, 5, 6, 6), ((3, 4, 5, 4), (4, 4, 4, 2)), (1.0, 2.5)),
}


@pytest.mark.parametrize("case", LOOKUPS)
def test_lookup_and_its_gradients_agree_with_torch(case: str) -> None:
    shape, basis_shapes, frequencies = LOOKUPS[case]
    grid = leaf(*shape)
    bases = [leaf(*s, seed=k + 1) for k, s in enumerate(basis_shapes)]
    size = (3.0, 2.0, 5.0)
    x = points(200, size)
    found = tvt.grid_lookup(grid, x, size, bases, frequencies)
    expected = reference(grid, x, size, bases, frequencies)
    assert found.shape == (200, shape[3])
    assert torch.allclose(found.double(), expected, atol=1e-4)
    weights = torch.from_numpy(np.random.default_rng(5).normal(size=found.shape))
    assert_same_gradients((found * weights).sum(), (expected * weights).sum(), [grid, *bases])


@pytest.mark.filterwarnings("ignore:Input #0 requires gradient")
def test_lookup_passes_gradcheck() -> None:
    # Linear in the grid, so that finite differences in float32 have no error but rounding.
    x = points(6, (1.0, 1.0, 1.0))
    torch.autograd.gradcheck(
        lambda g: tvt.grid_lookup(g, x), leaf(2, 3, 2, 2), eps=0.5, atol=1e-3, rtol=1e-3, check_batched_grad=False
    )


def test_lookup_takes_samples_as_they_are_and_no_points_at_all() -> None:
    grid, x = leaf(3, 3, 3, 2), points(7, (1.0, 1.0, 1.0))
    assert torch.equal(tvt.grid_lookup(grid, x), tvt.grid_lookup(grid, pad(x, (0, 1), value=5.0)))
    nothing = tvt.grid_lookup(grid, x[:0])
    nothing.sum().backward()
    assert nothing.shape == (0, 2) and grid.grad is not None and not grid.grad.any()


def test_memory_is_shared_and_no_gradient_is_allocated_behind_our_back() -> None:
    grid = leaf(3, 3, 3, 2)
    x = points(4, (1.0, 1.0, 1.0))
    tvt.grid_lookup(grid, x)
    tvt.quantize_noise(grid)
    assert grid.grad is None and x.grad is None
    assert tvt.quantize_noise(x[:, :2].contiguous()).requires_grad is False


def packed(rays: int, seed: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Starts and samples of rays with 0 to 9 samples each."""
    counts = np.random.default_rng(seed).integers(0, 10, rays)
    counts[0] = 0
    starts = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    samples = torch.from_numpy(np.random.default_rng(seed + 1).random((int(starts[-1]), 4)).astype(np.float32))
    return starts, samples


def test_volume_rendering_and_its_gradients_agree_with_torch() -> None:
    starts, samples = packed(12)
    n, step = len(samples), 0.03
    density, colours, background = leaf(n, scale=3), leaf(n, 3, seed=1), leaf(12, 3, seed=2)
    found, passed, depth = tvt.volume_render(density, colours, samples, starts, background, step)

    # Depth and transmittance are what rays see whose colours are distances, or whose background alone is white.
    extra = torch.cat([colours.double(), samples[:, 3:].double(), torch.zeros(n, 1, dtype=torch.float64)], dim=1)
    behind = torch.cat([background.double(), torch.zeros(12, 1), torch.ones(12, 1)], dim=1)
    rows = []
    for r in range(12):
        own = slice(int(starts[r]), int(starts[r + 1]))
        tau = 50 * torch.nn.functional.softplus(density[own].double() - 3) * step
        left = torch.exp(-torch.cumsum(torch.cat([torch.zeros(1, dtype=torch.float64), tau]), 0))
        rows.append((left[:-1] * -torch.expm1(-tau)) @ extra[own] + left[-1] * behind[r])
    expected = torch.stack(rows)
    assert torch.allclose(found.double(), expected[:, :3], atol=1e-5)
    assert torch.allclose(depth.double(), expected[:, 3], atol=1e-5)
    assert torch.allclose(passed.double(), expected[:, 4], atol=1e-5)

    w = torch.from_numpy(np.random.default_rng(8).normal(size=(12, 5)))
    leaves = [density, colours, background]
    whole = (torch.cat([found, depth[:, None], passed[:, None]], dim=1) * w).sum()
    assert_same_gradients(whole, (expected * w).sum(), leaves, 1e-3)
    # Each output alone, since torch then hands over no gradient for the others.
    for number, columns in ((0, slice(0, 3)), (2, slice(3, 4)), (1, slice(4, 5))):
        alone = tvt.volume_render(density, colours, samples, starts, background, step)[number].reshape(12, -1)
        some = [density, colours, background] if number == 0 else [density]
        assert_same_gradients((alone * w[:, columns]).sum(), (expected[:, columns] * w[:, columns]).sum(), some, 1e-3)


def test_rays_and_samples_lie_where_the_cameras_look() -> None:
    camera = ring_cameras(3, (9, 7), lens=(0.05, 0.0, 0.001, 0.0))[1]
    rays = tvt.pixel_rays(ring_cameras(3, (9, 7), lens=(0.05, 0.0, 0.001, 0.0))[:2], BOUNDS, (8, 8, 8))
    assert rays.shape == (2 * 63, 8)
    x, y = np.meshgrid(np.arange(9) + 0.5, np.arange(7) + 0.5)
    expected = pixel_directions(camera, np.stack([x, y], axis=-1)).reshape(-1, 3)
    assert np.allclose(rays[63:, 3:6].numpy(), expected, atol=1e-5)
    assert np.allclose(rays[63:, :3].numpy(), (camera.position - BOUNDS.lower) * 4, atol=1e-4)

    occupancy = torch.zeros(8, 8, 8, dtype=torch.bool)
    occupancy[4, 3:5, 2:6] = True
    samples, owner, starts = tvt.march_rays(rays, occupancy, 0.5, seed=1, iteration=2)
    assert len(samples) > 0 and int(starts[-1]) == len(samples)
    cell = samples[:, :3].long()
    assert bool(occupancy[cell[:, 2], cell[:, 1], cell[:, 0]].all())
    own = rays[owner.long()]
    assert torch.allclose(own[:, :3] + samples[:, 3:] * own[:, 3:6], samples[:, :3], atol=1e-4)
    assert torch.equal(torch.repeat_interleave(torch.arange(len(rays)), starts.diff()), owner.long())
    assert torch.equal(samples, tvt.march_rays(rays, occupancy, 0.5, seed=1, iteration=2)[0])
    middle = tvt.march_rays(rays, occupancy, 0.5)[0]
    assert middle.shape != samples.shape or not torch.equal(middle, samples)


def test_noise_is_uniform_reproducible_and_lets_the_gradient_pass() -> None:
    symbols = leaf(50, 40, scale=3)
    noisy = tvt.quantize_noise(symbols, seed=4, iteration=7)
    difference = (noisy - symbols).detach()
    assert float(difference.abs().max()) <= 0.5 + 1e-5
    assert abs(float(difference.mean())) < 0.02 and abs(float(difference.var()) - 1 / 12) < 0.005
    assert torch.equal(noisy, tvt.quantize_noise(symbols, seed=4, iteration=7))
    assert not torch.equal(noisy, tvt.quantize_noise(symbols, seed=4, iteration=8))
    rounded = tvt.quantize_noise(symbols, rounded=True)
    assert torch.equal(rounded, torch.floor(symbols + 0.5))
    for quantised in (noisy, rounded):
        (gradient,) = torch.autograd.grad((quantised * difference).sum(), symbols)
        assert torch.equal(gradient, difference)


def laplace(symbols: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Bits in float64 from the distribution function, which is another formula than the kernel's."""
    d = torch.distributions.Laplace(torch.zeros_like(scale, dtype=torch.float64), scale.double())
    y = -symbols.double().abs()
    return -torch.log2(d.cdf(y + 0.5) - d.cdf(y - 0.5)).sum()


def test_laplace_bits_agree_with_the_distribution() -> None:
    symbols, scale = leaf(60, 3, scale=2), torch.tensor([0.4, 1.0, 3.0])
    found, expected = tvt.laplace_bits(symbols, scale), laplace(symbols, scale)
    assert float(found.detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    assert_same_gradients(found * 2, expected * 2, [symbols])


def test_laplace_bits_find_the_scale_that_needs_least() -> None:
    symbols = torch.from_numpy(np.random.default_rng(2).laplace(scale=[3.0, 8.0], size=(4000, 2)).astype(np.float32))
    found = float(tvt.laplace_bits(symbols))
    others = [float(tvt.laplace_bits(symbols, torch.tensor([3.0, 8.0]) * f)) for f in (0.7, 1.4)]
    assert found < min(others)


def grid_of_symbols(seed: int = 6) -> torch.Tensor:
    """Clustered small integers, as a fit leaves them."""
    rng = np.random.default_rng(seed)
    where = np.linalg.norm(np.indices((10, 9, 8)) - 4.5, axis=0)[..., None] < 3.5
    return torch.from_numpy(rng.geometric(0.4, (10, 9, 8, 4)) * rng.choice([-1, 1], (10, 9, 8, 4)) * where)


def test_entropy_bits_state_what_the_coder_needs() -> None:
    grid = grid_of_symbols().float().requires_grad_()
    tables = tvt.coder_tables(grid)
    bits = float(tvt.entropy_bits(grid, tables).detach())
    coded = 8 * len(tvt.compress(grid.detach().to(torch.int32)))
    assert tables.bits <= coded <= tables.bits + 8 * 40
    assert abs(bits - tables.bits) < 0.1 * tables.bits
    # Linear between integers: a difference inside of one interval is the derivative.
    at = (grid.detach() + 0.25).requires_grad_()
    (gradient,) = torch.autograd.grad(tvt.entropy_bits(at, tables), at)
    direction = torch.from_numpy(np.random.default_rng(1).normal(size=at.shape)).float()
    move = 0.2 * direction / direction.abs().max()
    with torch.no_grad():
        difference = float(tvt.entropy_bits(at + move, tables) - tvt.entropy_bits(at - move, tables))
    assert float((gradient * move).sum()) * 2 == pytest.approx(difference, rel=1e-2)


def test_entropy_bits_of_live_nodes() -> None:
    grid = grid_of_symbols().float()
    live = grid.ne(0).any(3)
    tables = tvt.coder_tables(grid, live)
    assert tables.shape == (int(live.sum()), 4)
    assert tables.bits < tvt.coder_tables(grid).bits
    nodes = grid[live].requires_grad_()
    tvt.entropy_bits(nodes, tables).backward()
    assert nodes.grad is not None and bool(((nodes.grad * nodes.sign()) > 0).any())
    with pytest.raises(ConfigError, match="expected shape"):
        tvt.entropy_bits(grid, tables)


def test_backward_runs_on_a_thread_of_its_own() -> None:
    """As torch does on CUDA, where Taichi must have compiled before."""
    grid = leaf(3, 3, 3, 4)
    loss = tvt.grid_lookup(grid, points(5, (1.0, 1.0, 1.0))).sum() + tvt.laplace_bits(grid, torch.ones(4))
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()
    assert grid.grad is not None and float(grid.grad.abs().sum()) > 0


@pytest.mark.parametrize("shape", [(4, 3, 5, 2), (7, 6), (9,), (), (0, 3, 3, 2)])
def test_bytes_give_the_same_symbols_back(shape: tuple[int, ...]) -> None:
    symbols = torch.from_numpy(np.random.default_rng(3).integers(-40, 40, shape).astype(np.int32).reshape(shape))
    back = tvt.decompress(tvt.compress(symbols))
    assert back.dtype == torch.int32 and torch.equal(back, symbols)


def test_bytes_with_a_live_set_are_fewer_and_carry_it() -> None:
    symbols = grid_of_symbols().to(torch.int32)
    live = symbols.ne(0).any(3)
    data = tvt.compress(symbols, live)
    assert torch.equal(tvt.decompress(data), symbols)
    assert len(data) < symbols.numel() / 2
    with pytest.raises(ConfigError, match="outside the live set"):
        tvt.compress(symbols + 1, live)


def test_damaged_bytes_are_refused() -> None:
    data = tvt.compress(grid_of_symbols().to(torch.int32))
    for wrong in (b"", data[:-1], data[:20] + bytes([data[20] ^ 1]) + data[21:], b"x" * 40):
        with pytest.raises(CorruptStream) as caught:
            tvt.decompress(wrong)
        assert "\n" not in str(caught.value)


GRID = torch.zeros(3, 3, 3, 4)
POINTS = torch.zeros(5, 3)
WRONG = {
    "dtype": (lambda: tvt.grid_lookup(GRID.double(), POINTS), "expected torch.float32, found torch.float64"),
    "shape": (lambda: tvt.grid_lookup(GRID[0], POINTS), r"found \(3, 3, 4\)"),
    "layout": (lambda: tvt.grid_lookup(GRID.transpose(0, 2), POINTS), r"call \.contiguous\(\)"),
    "odd": (lambda: tvt.grid_lookup(torch.zeros(3, 3, 3, 3), POINTS), "expected even channels"),
    "points": (lambda: tvt.grid_lookup(GRID, POINTS.clone().requires_grad_()), r"call \.detach\(\)"),
    "type": (lambda: tvt.quantize_noise(np.zeros(3)), "expected a tensor, found ndarray"),
    "scale": (lambda: tvt.laplace_bits(POINTS, torch.zeros(3)), "expected values above 0"),
    "step": (lambda: tvt.march_rays(torch.zeros(1, 8), torch.ones(2, 2, 2, dtype=torch.bool), 0.0), "step above 0"),
    "starts": (
        lambda: tvt.volume_render(
            torch.zeros(2), torch.zeros(2, 3), torch.zeros(2, 4), torch.tensor([0, 3, 2]).int(), torch.zeros(2, 3), 1.0
        ),
        "rise from 0 to 2",
    ),
    "large": (lambda: tvt.compress(torch.full((3,), 2**21, dtype=torch.int32)), "use a larger step"),
    "floats": (lambda: tvt.compress(POINTS), "expected torch.int32"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_arguments_are_refused_in_one_line(case: str) -> None:
    call, message = WRONG[case]
    with pytest.raises(ConfigError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_devices_that_no_kernel_reaches_are_refused() -> None:
    with pytest.raises(BackendError, match="expected tensors on cpu or cuda:0, found meta"):
        tvt.grid_lookup(torch.zeros(3, 3, 3, 4, device="meta"), POINTS)
    with pytest.raises(BackendError, match="expected a tensor on cpu as the others"):
        tvt.grid_lookup(GRID, torch.zeros(5, 4, device="meta"))
    with pytest.raises(BackendError, match="cuda") as caught:
        tvt.pixel_rays(ring_cameras(2, 4), BOUNDS, (4, 4, 4), "cuda")  # the cpu backend runs here already
    assert "\n" not in str(caught.value)


def test_without_torch_the_import_says_what_to_install(python) -> None:
    done = python("-c", "import sys; sys.modules['torch'] = None; import taichi_vvc.torch")
    assert done.returncode == 1
    assert 'install it with pip install "taichi_vvc[torch]"' in done.stderr.splitlines()[-1]


def test_the_name_torch_still_means_torch() -> None:
    assert tvt.arrays.torch is torch and tvt is not torch
