"""Encoder settings and presets: data, not code."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from taichi_vvc.bitstream.syntax import MOST_CELLS_PER_STEP
from taichi_vvc.errors import ConfigError
from taichi_vvc.types import FREQUENCY_UNITS, Bounds, Camera, FieldLayout, GridLevel

PICTURE_MEMORY = 2 << 30
"""Bytes that the training pictures of a frame may take on the device, if nothing else is asked for."""

LEAST_PICTURE_MEMORY = 1 << 16


@dataclass(frozen=True)
class EncoderConfig:
    """The settings of an encode. Together with the capture they determine the file.

    Attributes:
        preset: the preset that the values started from; "custom" for none.
        lambda_rate: weight of the rate in the loss: squared colour error per ray plus lambda times bits per training
            ray of one view. With a target (the next two), the lambda at which the search for the first one begins.
        bitrate: target kbit/s of the whole file, every byte counted, at the capture's frame rate; None for no target.
        target_psnr: target mean PSNR as measured by ``tvvc eval`` by default, dB; None for no target.
        key_lambda: factor of lambda_rate for key frames that are fitted from scratch.
        lambda_residual: weight of the L1 norm of an inter frame's basis residual, same scale.
        keyint: frames from one key frame to the next; 0 means about one second.
        scenecut: whether a group also starts at a cut, and at an inter frame of much lower quality where a key frame
            costs less.
        seed: seed of all random numbers.
        background: sRGB 8-bit colour behind the coded content. None means white for a capture with alpha, else the
            most common colour at the edges of the pictures.
        coefficients: nodes per axis of the coefficient grid if the bounds were a cube of the same volume.
        level_nodes: nodes per axis of each basis level, coarse to fine.
        level_channels: channels of each level; even numbers.
        level_frequencies: number of repetitions of each level along the longest side of the bounds.
        occupancy_cells: cells of the occupancy mask along the longest side. For lambda_rate above 5e-4 the number is
            divided by the fourth root of the ratio, since the mask would take a large part of a frame's bytes.
        nodes_per_pixel: limit on the nodes of the finest level per pixel that the longest side of the bounds spans.
            Where it is exceeded, all grids and the occupancy mask are coarser by that factor. 0 means no limit.
        motion_blocks: blocks of the motion lattice along the longest side; 0 means no motion in inter frames.
        steps_per_side: largest number of ray-march steps along the longest side. It is lower where that would be more
            than one step per pixel, but no step is longer than three cells.
        projection_hidden: width of the projection MLP's hidden layer.
        appearance: outputs of the projection MLP besides the density.
        colour_hidden: width of the colour MLP's hidden layer.
        view_frequencies: octaves of the positional encoding of the view direction.
        rays: rays per optimisation step.
        key_iterations: optimisation steps of a key frame.
        first_fit: factor of key_iterations for key frames that are fitted from scratch. What these find is where all
            later frames begin. More than three times as many only where the frames of a file or part pay for it.
        inter_iterations: optimisation steps of an inter frame.
        grid_rate: learning rate of the grids.
        mlp_rate: learning rate of the MLPs.
        rising: share of the iterations over which the learning rates rise linearly from nearly 0 (warm-up).
        final_rate: the learning rates at the last iteration, as a share of their maximum; they fall linearly.
        inter_rate: factor of grid_rate on inter frames.
        coefficient_step: quantisation step of the coefficient grid; a key frame starts with it and learns its own.
        basis_step: quantisation step of the basis levels, likewise.
        rounding_from: share of a key frame's iterations after which symbols are rounded in place of getting noise.
            Fits that start from a decoded field (inter frames, and key frames unless the scene is new) round from the
            first iteration.
        joint: False fits without rate and quantisation, and rounds afterwards with the given steps. This is the
            baseline for joint optimisation.
        rate_model: "context" (the coder's default) or "laplace" (the paper's: one distribution per channel).
        whole_coefficients: fit inter frames as if the coefficient grid were sent whole, as in the paper. The file has
            differences nevertheless. For the baseline that counts such bytes.
        random_background: fit captures with alpha for the expected error over random backgrounds.
        mlp_step: quantisation step of the MLP weights.
        colours: "auto", "on" or "off": whether files have a colour map for each camera, by which the fit takes off its
            exposure and white balance. "auto": where those of some camera are clearly different and the capture has no
            masks.
        poses: "auto", "on" or "off": whether training cameras are moved to where their pictures say that they stood.
            "auto": where some camera seems to be off by a quarter of a pixel, and key frames have a thousand iterations
            or more.
        picture_memory: bytes that the training pictures of a frame may take on the device. Where they need more, a
            sample of their pixels is fitted, another one for each frame.
        part_length: frames of the parts that are fitted apart from each other, at most, if a group has no more; 0: the
            file is one part. Parts begin with key frames.
        detail: "auto", "on" or "off": whether pictures that are reduced to the coded size are fitted with the detail
            that they had before, so that a pixel is what several rays show in the mean. "auto": where a subject with
            sharp detail is coded.
    """

    preset: str = "custom"
    lambda_rate: float = 5e-4
    key_lambda: float = 0.7
    lambda_residual: float = 0.0
    keyint: int = 0
    scenecut: bool = True
    seed: int = 0
    background: tuple[int, int, int] | None = None
    coefficients: int = 32
    level_nodes: tuple[int, ...] = (24, 40, 64)
    level_channels: tuple[int, ...] = (4, 4, 4)
    level_frequencies: tuple[float, ...] = (1.0, 1.0, 1.0)
    occupancy_cells: int = 64
    nodes_per_pixel: float = 0.5
    motion_blocks: int = 8
    steps_per_side: int = 192
    projection_hidden: int = 64
    appearance: int = 7
    colour_hidden: int = 64
    view_frequencies: int = 3
    rays: int = 1536
    key_iterations: int = 2500
    first_fit: float = 1.0
    inter_iterations: int = 1200
    grid_rate: float = 0.2
    mlp_rate: float = 0.02
    inter_rate: float = 1.0
    rising: float = 0.075
    final_rate: float = 0.1
    coefficient_step: float = 0.4
    basis_step: float = 0.4
    rounding_from: float = 0.6
    joint: bool = True
    rate_model: str = "context"
    whole_coefficients: bool = False
    random_background: bool = True
    mlp_step: float = 1.0 / 32.0
    bitrate: float | None = None
    target_psnr: float | None = None
    colours: str = "auto"
    poses: str = "auto"
    picture_memory: int = PICTURE_MEMORY
    part_length: int = 0
    detail: str = "auto"

    def __post_init__(self) -> None:
        """Checks ranges.

        Raises:
            ConfigError: a value is out of range, or the lists of levels differ in length.
        """
        if not (len(self.level_nodes) == len(self.level_channels) == len(self.level_frequencies) > 0):
            raise ConfigError("expected as many level_nodes as level_channels and level_frequencies, at least one")
        if any(c % 2 or c < 2 for c in self.level_channels):
            raise ConfigError(f"expected even level_channels, found {self.level_channels}")
        if not 0 <= self.lambda_rate < math.inf or not 0 <= self.lambda_residual < math.inf:
            raise ConfigError(f"expected a lambda of 0 or more, found {self.lambda_rate}, {self.lambda_residual}")
        for name, factor in (("key_lambda", self.key_lambda), ("first_fit", self.first_fit)):
            if not 0 < factor < math.inf:
                raise ConfigError(f"expected a {name} above 0, found {factor}")
        if self.bitrate is not None and self.target_psnr is not None:
            raise ConfigError("expected a bitrate or a target PSNR, found both; give one of them")
        for name, value in (("bitrate", self.bitrate), ("target_psnr", self.target_psnr)):
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"expected a {name} above 0, found {value}")
        if self.background is not None and (
            len(self.background) != 3 or not all(0 <= c <= 255 for c in self.background)
        ):
            raise ConfigError(f"expected a background of three values in 0..255, found {self.background}")
        if not 0 <= self.nodes_per_pixel < math.inf:
            raise ConfigError(f"expected nodes_per_pixel of 0 or more, found {self.nodes_per_pixel}")
        if self.motion_blocks < 0:
            raise ConfigError(f"expected motion_blocks of 1 or more (0: no motion), found {self.motion_blocks}")
        if not 0 <= self.rising <= 1:
            raise ConfigError(f"expected rising of 0 to 1, found {self.rising}")
        if not 0 < self.final_rate <= 1:
            raise ConfigError(f"expected a final_rate above 0 and up to 1, found {self.final_rate}")
        if self.part_length < 0:
            raise ConfigError(f"expected a part_length of 1 or more frames (0: one part), found {self.part_length}")
        if self.keyint < 0:
            raise ConfigError(f"expected keyint of 1 or more frames (0: automatic), found {self.keyint}")
        if self.rate_model not in ("context", "laplace"):
            raise ConfigError(f"expected rate_model context or laplace, found {self.rate_model!r}")
        for name, choice in (("colours", self.colours), ("detail", self.detail), ("poses", self.poses)):
            if choice not in ("auto", "on", "off"):
                raise ConfigError(f"expected {name} auto, on or off, found {choice!r}")
        if self.picture_memory < LEAST_PICTURE_MEMORY:
            raise ConfigError(
                f"expected a picture_memory of {LEAST_PICTURE_MEMORY} bytes or more, found {self.picture_memory}"
            )
        if not 0 <= self.seed < 2**31:
            raise ConfigError(f"expected a seed of 0 to 2^31 - 1, found {self.seed}")
        if min(self.rays, self.key_iterations, self.inter_iterations, self.occupancy_cells) < 1:
            raise ConfigError("expected at least one ray, iteration and occupancy cell")

    def group_length(self, fps: Fraction) -> int:
        """Frames per group: ``keyint``, or the frames of about one second."""
        return self.keyint or max(1, round(fps))

    def iterations(self, key: bool, scratch: bool = False) -> int:
        """Optimisation steps of a frame; ``scratch``: of a key frame that does not go on from the frame before it."""
        if not key:
            return self.inter_iterations
        return max(1, round(self.key_iterations * self.first_fit)) if scratch else self.key_iterations

    def first_fit_of(self, frames: int) -> float:
        """The factor of key_iterations for a key frame from scratch on which so many ``frames`` build."""
        # Beyond 3 it takes no more than a seventh of the iterations of all other frames.
        return min(self.first_fit, max(3.0, frames * self.inter_iterations / (7 * self.key_iterations)))

    def checks_poses(self, cameras: int) -> bool:
        """Whether it is asked, and worth the time, where so many training cameras stood. Fewer than four cameras are
        explained whatever their poses."""
        rough = self.poses == "auto" and self.key_iterations < _THOROUGH
        return self.poses != "off" and not rough and cameras >= _POSED_CAMERAS

    @property
    def partial(self) -> bool:
        """Whether only that part of an inter frame is fitted that has changed. Baselines fit whole frames."""
        return self.joint and not self.whole_coefficients and self.rate_model == "context"

    @property
    def backdrop(self) -> tuple[float, float, float]:
        """The background as sRGB in [0, 1]; it must not be None any more."""
        assert self.background is not None
        red, green, blue = (c / 255 for c in self.background)
        return red, green, blue

    def settings(self) -> dict[str, Any]:
        """The settings as plain JSON values, for the sequence header.

        Those that are None are left out, and those of :data:`_UNSAID` at their default.
        """
        values = dataclasses.asdict(self).items()
        said = {k: v for k, v in values if v is not None and (k not in _UNSAID or v != _UNSAID[k])}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in said.items()}


# Settings that came after the others: files in which they have these values do not state them, and stay what they were.
_UNSAID = {
    "colours": "auto",
    "poses": "auto",
    "picture_memory": PICTURE_MEMORY,
    "part_length": 0,
    "detail": "off",
    "first_fit": 1.0,
}


POSE_CHECK_ITERATIONS, POSE_CHECK_PIXELS = 300, 320
"""Iterations of the quick fits that tell where cameras stood, and pixels along the longer side of their pictures."""
# Iterations of a key frame from which an encode takes the time to look, and cameras that it takes.
_THOROUGH, _POSED_CAMERAS = 1000, 4

FEW_CAMERAS = 8
"""Up to so many training cameras leave much of a scene open, so that less is believed of it."""

PRESETS: dict[str, EncoderConfig] = {
    "ultrafast": EncoderConfig(
        preset="ultrafast",
        coefficients=20,
        level_nodes=(16, 24, 40),
        occupancy_cells=48,
        steps_per_side=96,
        rays=768,
        key_iterations=400,
        first_fit=7.0,
        inter_iterations=200,
    ),
    "fast": EncoderConfig(preset="fast", rays=1024, key_iterations=1200, first_fit=3.0, inter_iterations=600),
    "medium": EncoderConfig(
        preset="medium",
        level_nodes=(24, 48, 80),
        steps_per_side=256,
        rays=1536,
        key_iterations=2500,
        first_fit=2.0,
        inter_iterations=1200,
    ),
    "slow": EncoderConfig(
        preset="slow",
        coefficients=40,
        level_nodes=(32, 56, 96),
        occupancy_cells=96,
        steps_per_side=384,
        rays=2048,
        key_iterations=5000,
        inter_iterations=2500,
    ),
    "placebo": EncoderConfig(
        preset="placebo",
        coefficients=48,
        level_nodes=(32, 64, 128),
        occupancy_cells=128,
        steps_per_side=512,
        rays=3072,
        key_iterations=12000,
        inter_iterations=5000,
    ),
}
"""Settings by name, from the fastest to the slowest: ``ultrafast``, ``fast``, ``medium``, ``slow``, ``placebo``."""


# The default lambda and its value on the CRF scale of video encoders.
_CRF, _CRF_LAMBDA = 23.0, 5e-4


def pixels_per_side(bounds: Bounds, cameras: Sequence[Camera]) -> float:
    """The number of pixels that the longest side of the bounds spans in the median camera."""
    centre = (np.asarray(bounds.lower) + np.asarray(bounds.upper)) / 2
    spans = [c.fx * bounds.largest_side / max(float(np.linalg.norm(c.position - centre)), 1e-9) for c in cameras]
    return float(np.median(spans))


# Of a whole scene: thickness of the shell, in half sizes of the box; the limit of the finest level's nodes per pixel,
# in that of the preset, since coarser levels keep surfaces in one place; with the shell, this level has no more than so
# many nodes along a side. Colours depend on the direction less: each place is seen by few cameras. The mask would take
# half the bytes with as many cells as a subject has.
_SHELL, _PER_PIXEL, _MOST_NODES, _VIEW_FREQUENCIES, _CELLS = 1.0, 2.0, 256, 1, 0.6


def layout_of(
    config: EncoderConfig, bounds: Bounds, cameras: Sequence[Camera] = (), whole: bool = False, near: float = 0.0
) -> FieldLayout:
    """The layout of the field for a capture.

    The bounds are grown to whole cubic cells, and the nodes of the coefficient grid are about equally spaced on all
    axes. The ray march takes one step per pixel of the ``cameras``, but at least a quarter of ``steps_per_side``.
    Frequencies are rounded to 1/256, the unit of the stream.

    Args:
        config: the settings.
        bounds: the box to be coded, world units.
        cameras: the training cameras, for ``nodes_per_pixel`` and ``steps_per_side``; without any, neither is applied.
        whole: whether the field has a shell for what lies outside the bounds. All resolutions are then those of the
            bounds, and continue into the shell; and there is one more level, and each level has half the nodes of
            the next, since coarse levels are what keeps plain surfaces in one place.
        near: distance from a camera at which samples begin, world units.
    """
    steps, scale, levels = config.steps_per_side, 1.0, _levels(config, whole)
    # A colour that may depend on the view as it likes explains each of few pictures by itself.
    plain = whole or 0 < len(cameras) <= FEW_CAMERAS
    if cameras:
        pixels = pixels_per_side(bounds, cameras)
        steps = max(steps // 4, min(steps, round(pixels)))
        finest = max(n * f for n, _, f in levels)
        if config.nodes_per_pixel:
            scale = min(1.0, config.nodes_per_pixel * (_PER_PIXEL if whole else 1.0) * pixels / finest)

    if whole:
        scale = min(scale, _MOST_NODES / ((1 + _SHELL) * levels[-1][0]))

    def scaled(count: float) -> int:
        return max(2, round(count * scale))

    # The mask's bytes do not depend on lambda, so that its share of a frame grows with lambda.
    coarser = max(1.0, config.lambda_rate / _CRF_LAMBDA) ** 0.25 if config.joint else 1.0
    size, most = bounds.size, scaled(config.occupancy_cells / coarser * (_CELLS if whole else 1.0))
    cell = bounds.largest_side / most
    cells = [max(1, math.ceil(s / cell - 1e-6)) for s in size]
    # With longer steps a ray would skip occupied cells.
    steps = max(steps, -(-max(cells) // MOST_CELLS_PER_STEP))
    grown = [n * cell for n in cells]
    lower = [float(lo - (g - s) / 2) for lo, g, s in zip(bounds.lower, grown, size, strict=True)]
    shell = [max(1, round(_SHELL * n / 2)) if whole else 0 for n in cells]
    larger = [(n + 2 * b) / n for n, b in zip(cells, shell, strict=True)]
    longest = cells.index(max(cells))
    edge = (grown[0] * grown[1] * grown[2]) ** (1 / 3) / scaled(config.coefficients)
    return FieldLayout(
        bounds=Bounds(tuple(lower), tuple(lo + g for lo, g in zip(lower, grown, strict=True))),  # type: ignore[arg-type]
        coefficients=tuple(max(2, round(g * more / edge)) for g, more in zip(grown, larger, strict=True)),
        levels=tuple(
            GridLevel(
                (max(2, round(scaled(n) * larger[longest])),) * 3, c, round(f * FREQUENCY_UNITS) / FREQUENCY_UNITS
            )
            for n, c, f in levels
        ),
        occupancy=tuple(n + 2 * b for n, b in zip(cells, shell, strict=True)),
        projection_hidden=config.projection_hidden,
        appearance=config.appearance,
        colour_hidden=config.colour_hidden,
        view_frequencies=min(config.view_frequencies, _VIEW_FREQUENCIES) if plain else config.view_frequencies,
        steps_per_side=round(steps * larger[longest]),
        motion_block=max(1, round(most / config.motion_blocks)) if config.motion_blocks else 0,
        shell=tuple(shell),  # type: ignore[arg-type]
        near=near,
    )


def _levels(config: EncoderConfig, whole: bool) -> list[tuple[float, int, float]]:
    """Nodes, channels and frequency of each level, coarse to fine."""
    levels = list(zip(config.level_nodes, config.level_channels, config.level_frequencies, strict=True))
    if not whole:
        return [(float(n), c, f) for n, c, f in levels]
    nodes, channels, frequency = levels[-1]
    finest = nodes * frequency
    return [(finest / 2 ** (len(levels) - k), channels, 1.0) for k in range(len(levels) + 1)]


def lambda_of_crf(crf: float) -> float:
    """Lambda of a constant rate factor in 0..51: 5e-4 at 23, and a factor of 4 (about half the bytes) per 6."""
    return float(_CRF_LAMBDA * 4 ** ((crf - _CRF) / 6))


def crf_of_lambda(weight: float) -> float:
    """The inverse of :func:`lambda_of_crf`; minus infinity for 0."""
    return _CRF + 6 * math.log(weight / _CRF_LAMBDA, 4) if weight > 0 else -math.inf
