"""Estimates the time, memory and file size of an encode in advance.

Rays, samples and symbols are counted in one frame of the capture. The cost of each was measured in real encodes;
docs/tuning.md, "What an encode will take", describes how, and how accurate the estimates are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from taichi_vvc import runtime
from taichi_vvc.capture.scene import Scene
from taichi_vvc.capture.seen import believed_cells
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.config import POSE_CHECK_ITERATIONS, POSE_CHECK_PIXELS, PRESETS, EncoderConfig, layout_of
from taichi_vvc.encoder.detail import settle_detail
from taichi_vvc.encoder.rate_control import GOES_ON
from taichi_vvc.geometry.contraction import to_grid
from taichi_vvc.geometry.projection import pixel_directions, with_rays
from taichi_vvc.media.pictures import differs, edge_colour
from taichi_vvc.types import DETAIL, Bounds, Camera, FieldLayout, View

_PROBES = 4096  # number of rays that are marched to estimate the samples of all rays
_PLACES = 768  # along each of them in a whole scene
_JUMP = 4.0  # cells; two such places are never so far apart
_BOX = Scene()

# Seconds of one core of the reference machine. benchmarks/estimate.py measures them: the three per iteration are fitted
# to nine encodes of a key and an inter frame (ultrafast, fast, medium; two captures, one rendered and one real, at
# several sizes; processor time of a busy machine). The others are from an earlier such fit.
_START = 1.5  # imports and kernels from the cache
_PER_ITERATION = 2.2e-3
_PER_SAMPLE = 2.1e-7  # per sample and iteration
_PER_SYMBOL = 7.1e-9  # per symbol and iteration
_MOTION = 1.25  # factor of a fit with motion search: a sixth more iterations, each one and a half times as long
_PER_CODED_SYMBOL = 5.1e-6
_PER_RENDERED_SAMPLE = 2.6e-7  # for rendering the training views, which gives the PSNR of each frame
_SERIAL = 0.3  # share of an encode's work that does not run in parallel
_MOST_CORES = 8  # more cores make no difference

# Bytes of memory; the first two are from the same encodes.
_PROGRAM = 1.82e8
_PER_VALUE = 88.0
_PER_PIXEL = 20.0
# Calculated: of each pixel's detail the picture, its copy on the device, and the pixels that rays are drawn from.
_PER_DETAILED_PIXEL = 12.0 * DETAIL**2
_PER_BATCH_SAMPLE = 960.0

# Bytes of a key frame at the default lambda: _KEY_FRAME * rays^_RAYS_POWER * (iterations / 400)^_ITERATIONS_POWER
_KEY_FRAME, _RAYS_POWER, _ITERATIONS_POWER = 183.0, 0.49, -0.065
_LAMBDA, _LAMBDA_POWER = 5e-4, -0.5
_HEADER = 1500.0


@dataclass(frozen=True)
class _Kind:
    """How a kind of capture differs from one with masks, to which the figures above were fitted: factors.

    Attributes:
        key, inter: of the time of key and inter frames.
        values: of the memory of grid values.
        size: of the bytes of a key frame.
        inter_size: bytes of an inter frame relative to a key frame.
    """

    key: float = 1.0
    inter: float = 1.0
    values: float = 1.0
    size: float = 1.0
    inter_size: float = 0.35  # geometric mean of the same encodes, which had 0.16 to 0.76


_MASKED = _Kind()
# All of the bounds is counted, most of which is soon found empty.
_BARE = _Kind(key=0.5, inter=0.5)
# From encodes of two captures with one to ten frames. A key frame takes twice the rays per iteration; in an inter frame
# little changes.
_WHOLE = _Kind(key=1.0, inter=0.5, values=0.7, size=1.35, inter_size=0.13)

# The time of the calibration in machine_speed() on the reference machine, seconds.
_REFERENCE_SECONDS = 3.5e-4


@dataclass(frozen=True)
class Work:
    """The amount of work in one frame, counted before any fit.

    Attributes:
        pixels: pixels of all views.
        training_views: number of training views.
        rays_per_view: training pixels per view whose rays meet an occupied cell.
        samples_per_ray: march steps in occupied cells, mean over these rays.
        symbols: live symbols of all grids.
        grid_values: nodes times channels of all grids.
        masks: whether the views have masks; without, all that may be coded counts as occupied.
        whole: whether what lies outside the bounds is coded too.
        shown_per_view: as rays_per_view, without pixels of the colour of a plain background.
    """

    pixels: int
    training_views: int
    rays_per_view: float
    samples_per_ray: float
    symbols: int
    grid_values: int
    masks: bool
    shown_per_view: float
    whole: bool = False

    @property
    def kind(self) -> _Kind:
        """What of the model differs for such a capture."""
        return _WHOLE if self.whole else _MASKED if self.masks else _BARE


@dataclass(frozen=True)
class Estimate:
    """The expected cost of an encode with ``preset`` on this machine's CPU; ``memory`` and ``size`` in bytes."""

    preset: str
    seconds: float
    memory: int
    size: int


def estimate(
    sequence: MultiViewSequence,
    configs: Mapping[str, EncoderConfig] = PRESETS,
    speed: float | None = None,
    cores: int | None = None,
) -> list[Estimate]:
    """Estimates of an encode of ``sequence`` with each of ``configs``; an empty list without a training camera.

    Reads the pictures of the middle frame.

    Args:
        sequence: the capture.
        configs: settings by name.
        speed: speed of a core relative to the reference machine; None measures it.
        cores: number of cores that the encoder may use; None means all.

    Raises:
        DataError: a picture cannot be read.
    """
    began = time.perf_counter()
    views = sequence.frame(len(sequence) // 2).views
    reading = time.perf_counter() - began
    if not any(view.camera.split == "train" for view in views):
        return []
    helping = min(_MOST_CORES, len(runtime.cores()) if cores is None else cores)
    detail = settle_detail(next(iter(configs.values()), EncoderConfig()), sequence)[0].detail == "on"
    per_pixel = _PER_PIXEL + (_PER_DETAILED_PIXEL if detail else 0.0)
    share = (_SERIAL + (1 - _SERIAL) / helping) / (machine_speed() if speed is None else speed)
    found = []
    for name, config in configs.items():
        config = replace(config, first_fit=config.first_fit_of(len(sequence)))
        work = work_of(config, sequence.bounds, views, sequence.scene)
        kind = work.kind
        keys = -(-len(sequence) // config.group_length(sequence.fps))
        inters = len(sequence) - keys
        seconds = _START + kind.key * _fit_seconds(work, config, config.iterations(True, True))
        seconds += (keys - 1) * kind.key * _fit_seconds(work, config, config.key_iterations)
        seconds += _check_seconds(work, config, max(max(v.camera.width, v.camera.height) for v in views))
        searching = _MOTION if config.motion_blocks else 1.0
        # Later key frames are fitted as inter frames first.
        seconds += (inters + keys - 1) * kind.inter * _fit_seconds(work, config, config.inter_iterations * searching)
        memory = _PROGRAM + kind.values * _PER_VALUE * work.grid_values + per_pixel * work.pixels
        memory += _PER_BATCH_SAMPLE * config.rays * work.samples_per_ray
        key = (
            kind.size
            * _KEY_FRAME
            * work.shown_per_view**_RAYS_POWER
            * (config.key_iterations / 400) ** _ITERATIONS_POWER
        )
        key *= (max(config.lambda_rate, 1e-6) / _LAMBDA) ** _LAMBDA_POWER
        size = _HEADER + key * (1 + GOES_ON * (keys - 1) + kind.inter_size * inters)
        found.append(Estimate(name, seconds * share + reading * len(sequence), int(memory), int(size)))
    return found


def _fit_seconds(work: Work, config: EncoderConfig, iterations: float) -> float:
    """Seconds of one core of the reference machine for one frame."""
    samples = config.rays * work.samples_per_ray
    step = _PER_ITERATION + _PER_SAMPLE * samples + _PER_SYMBOL * work.symbols
    rendered = work.rays_per_view * work.training_views * work.samples_per_ray
    return iterations * step + _PER_CODED_SYMBOL * work.symbols + _PER_RENDERED_SAMPLE * rendered


def _check_seconds(work: Work, config: EncoderConfig, side: int) -> float:
    """Seconds of one core for the fit that tells whether cameras are right; ``side``: the longer one of pictures."""
    if not config.checks_poses(work.training_views):
        return 0.0
    smaller = max(1, side // POSE_CHECK_PIXELS)
    small = replace(work, samples_per_ray=work.samples_per_ray / smaller, symbols=work.symbols // smaller**3)
    return work.kind.key * _fit_seconds(small, config, POSE_CHECK_ITERATIONS)


@lru_cache(maxsize=1)
def machine_speed() -> float:
    """The speed of one core relative to the reference machine, measured in about 50 ms.

    The calibration interpolates in a small table, similar to the lookups in grids. The fastest of several rounds
    counts, which reduces the influence of other programs.
    """
    rng = np.random.default_rng(0)
    table = rng.random(1 << 18, np.float32)
    places = rng.integers(0, table.size - 1, 1 << 16)
    weights = rng.random(places.size, np.float32)
    best = np.inf
    for _ in range(24):
        began = time.perf_counter()
        for _ in range(2):
            low = table[places]
            value = low + weights * (table[places + 1] - low)
            np.maximum(value, 0.5, out=value)
        best = min(best, time.perf_counter() - began)
    return _REFERENCE_SECONDS / max(best, 1e-9)


def work_of(config: EncoderConfig, bounds: Bounds, views: Sequence[View], scene: Scene = _BOX) -> Work:
    """Counts the work of a key frame of ``views`` in their visual hull, or without masks wherever something may be."""
    training = [view for view in views if view.camera.split == "train"]
    cameras = [view.camera for view in training]
    layout = layout_of(config, bounds, cameras, scene.whole, scene.near)
    masks = any(view.has_alpha for view in training)
    mask = believed_cells(layout, training)
    counts = (_samples_of_whole if scene.whole else _samples)(training, layout, mask)
    pixels = sum(view.camera.width * view.camera.height for view in training)
    met = counts > 0
    live = live_nodes(layout, mask)
    channels = [shape[3] for shape in layout.grid_shapes]
    rays = float(met.mean()) * pixels / len(training)
    shown = rays
    if not masks:
        background = [c / 255 for c in edge_colour(training)]
        different = (with_rays(view.camera, differs(view.image, background)) for view in training)
        shown = min(rays, sum(int(part.sum()) for part in different) / len(training))
    return Work(
        pixels=sum(view.camera.width * view.camera.height for view in views),
        training_views=len(training),
        rays_per_view=rays,
        samples_per_ray=float(counts[met].mean()) if met.any() else 0.0,
        symbols=sum(int(nodes.sum()) * c for nodes, c in zip(live, channels, strict=True)),
        grid_values=sum(int(np.prod(shape)) for shape in layout.grid_shapes),
        masks=masks,
        shown_per_view=shown,
        whole=scene.whole,
    )


def _samples(views: Sequence[View], layout: FieldLayout, mask: np.ndarray) -> np.ndarray:
    """(rays,) int64: number of march steps in occupied cells, for pixels spread evenly over all views."""
    bounds, steps_per_side = layout.bounds, layout.steps_per_side
    counts = []
    edge = bounds.largest_side / max(mask.shape)
    lower, step = np.asarray(bounds.lower), bounds.largest_side / steps_per_side
    shape = np.array(mask.shape[::-1])
    for view in views:
        directions, blind = _directions(view.camera, -(-_PROBES // len(views)))
        safe = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
        a, b = (np.asarray(corner) - view.camera.position for corner in (bounds.lower, bounds.upper))
        near, far = np.minimum(a / safe, b / safe).max(1), np.maximum(a / safe, b / safe).min(1)
        near = np.maximum(near, layout.near)
        t = near[:, None] + (np.arange(int(np.ceil(np.sqrt(3) * steps_per_side))) + 0.5) * step
        # Rays that miss the bounds have coordinates too large for integers.
        cells = np.clip((view.camera.position + t[..., None] * directions[:, None] - lower) / edge, 0, shape - 1)
        x, y, z = np.moveaxis(cells.astype(np.int32), -1, 0)
        counts.append((mask[z, y, x] & (t < far[:, None]) & ~blind[:, None]).sum(1))
    return np.concatenate(counts)


def _samples_of_whole(views: Sequence[View], layout: FieldLayout, mask: np.ndarray) -> np.ndarray:
    """:func:`_samples` of a whole scene, float64: the length of each ray in occupied cells, in steps.

    Rays are followed at places whose distances from the camera grow by a constant factor, which are about equally far
    apart in the shell; steps are of equal length in its coordinates.
    """
    first = max(layout.near, layout.cell / 4)
    distances = np.geomspace(first, 1000 * layout.bounds.largest_side, _PLACES)
    last, counts = np.array(layout.occupancy) - 1, []
    for view in views:
        directions, blind = _directions(view.camera, -(-_PROBES // len(views)))
        grid = to_grid(layout, view.camera.position + distances[:, None] * directions[:, None])
        x, y, z = np.moveaxis(np.clip(grid, 0, last).astype(np.int32), -1, 0)
        length = np.linalg.norm(np.diff(grid, axis=1), axis=2)
        # Where a ray goes from one region of the shell to another, its coordinates jump.
        length[length > _JUMP] = 0.0
        counts.append((length * mask[z, y, x][:, :-1]).sum(1) / layout.march_step * ~blind)
    return np.concatenate(counts)


def _directions(camera: Camera, share: int) -> tuple[np.ndarray, np.ndarray]:
    """About ``share`` rays of a camera, at a lattice of pixels: (rays, 3) unit vectors, and (rays,) which have none."""
    # A lattice with the picture's aspect ratio and about the view's share of the rays.
    nu = max(1, round((share * camera.width / camera.height) ** 0.5))
    nv = max(1, round(share / nu))
    u, v = np.meshgrid((np.arange(nu) + 0.5) * camera.width / nu, (np.arange(nv) + 0.5) * camera.height / nv)
    directions = pixel_directions(camera, np.stack((u, v), axis=-1)).reshape(-1, 3)
    blind = np.isnan(directions[:, 0])
    directions = np.where(blind[:, None], [0.0, 0.0, 1.0], directions)
    return directions / np.linalg.norm(directions, axis=1, keepdims=True), blind
