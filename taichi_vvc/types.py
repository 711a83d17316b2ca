"""The data types that the rooms exchange: frozen dataclasses with documented shapes, units and coordinate frames.

Conventions used everywhere:

* World coordinates are the capture's own (metres if the capture says so), right-handed.
* A camera looks along its +z axis with +x right and +y down (OpenCV axes); ``rotation`` and ``position`` map camera
  coordinates to world coordinates: ``x_world = rotation @ x_camera + position``.
* Pixel ``(column i, row j)`` covers ``[i, i+1] x [j, j+1]``; its centre is at ``(i + 0.5, j + 0.5)``.
* Colours are sRGB-encoded values in [0, 1] (or 8-bit), alpha is straight (not premultiplied).
* Grids are stored channel-last with x fastest among the axes: shape ``(nz, ny, nx, channels)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

import numpy as np


@dataclass(frozen=True)
class Camera:
    """A calibrated pinhole camera with the four-parameter Brown-Conrady distortion of OpenCV.

    Attributes:
        name: unique within a capture.
        width: of the image, pixels.
        height: of the image, pixels.
        fx: focal length along x, pixels.
        fy: focal length along y, pixels.
        cx: principal point, pixels from the left edge.
        cy: principal point, pixels from the upper edge.
        rotation: (3, 3) float64, camera to world.
        position: (3,) float64, camera centre in world units.
        k1: radial distortion coefficient, of the squared radius in normalised coordinates.
        k2: radial distortion coefficient, of its square.
        p1: tangential distortion coefficient, as OpenCV's.
        p2: tangential distortion coefficient, as OpenCV's.
        split: ``"train"`` or ``"test"`` (held out from fitting).
    """

    name: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    rotation: np.ndarray
    position: np.ndarray
    k1: float = 0.0
    k2: float = 0.0
    p1: float = 0.0
    p2: float = 0.0
    split: str = "train"

    def resized(self, width: int, height: int) -> Camera:
        """The same camera with an image of ``width`` x ``height`` pixels covering the same field of view."""
        sx, sy = width / self.width, height / self.height
        return replace(
            self,
            width=width,
            height=height,
            fx=self.fx * sx,
            cx=self.cx * sx,
            fy=self.fy * sy,
            cy=self.cy * sy,
        )

    def same_as(self, other: Camera) -> bool:
        """Whether the other camera has exactly the same pose, size and lens; names and splits may differ."""
        if self is other:
            return True
        numbers = [f.name for f in fields(self) if f.name not in ("name", "split", "rotation", "position")]
        return all(getattr(self, name) == getattr(other, name) for name in numbers) and all(
            np.array_equal(a, b) for a, b in ((self.rotation, other.rotation), (self.position, other.position))
        )


@dataclass(frozen=True)
class Bounds:
    """The axis-aligned box whose content is coded. ``lower``, ``upper``: 3 floats each, world units."""

    lower: tuple[float, float, float]
    upper: tuple[float, float, float]

    @property
    def size(self) -> np.ndarray:
        """(3,) float64 edge lengths, world units."""
        return np.asarray(self.upper, np.float64) - np.asarray(self.lower, np.float64)

    @property
    def largest_side(self) -> float:
        """The longest edge, world units."""
        return float(self.size.max())

    def contains(self, point: np.ndarray) -> bool:
        """Whether a point (3,), world units, lies inside the box."""
        return bool((point > np.asarray(self.lower)).all() and (point < np.asarray(self.upper)).all())

    def ranges(self) -> str:
        """Text ``x0..x1, y0..y1, z0..z1``. All texts of a box have a precision of a thousandth of each side."""
        return ", ".join(f"{low}..{high}" for low, high in self._texts())

    def corners(self) -> str:
        """Text ``(x0, y0, z0) to (x1, y1, z1)``."""
        lower, upper = zip(*self._texts(), strict=True)
        return f"({', '.join(lower)}) to ({', '.join(upper)})"

    def option(self) -> str:
        """Text ``--bounds x0,y0,z0,x1,y1,z1``, for a command line."""
        lower, upper = zip(*self._texts(), strict=True)
        return f"--bounds={','.join((*lower, *upper))}"

    def _texts(self) -> list[tuple[str, str]]:
        """Both ends of each side as text."""
        return [_span(float(low), float(high)) for low, high in zip(self.lower, self.upper, strict=True)]


def _span(low: float, high: float) -> tuple[str, str]:
    """Both ends of a side as text, with digits by the side's length, so that a small box far from 0 has enough."""
    side, farthest = high - low, max(abs(low), abs(high))
    if not 0.0 < side < math.inf:
        return str(low), str(high)
    if side < 1e-6 or farthest >= 1e9:
        digits = min(17, 4 + math.ceil(math.log10(farthest / side)))
        return f"{low:.{digits}g}", f"{high:.{digits}g}"
    decimals = max(0, math.ceil(3.0 - math.log10(side)))
    # Adding 0.0 turns -0.0 into 0.0.
    texts = [f"{round(end, decimals) + 0.0:.{decimals}f}" for end in (low, high)]
    first, second = (text.rstrip("0").rstrip(".") if "." in text else text for text in texts)
    return first, second


@dataclass(frozen=True)
class ColourMap:
    """How a camera shows colours: a gain and an offset per channel, sRGB values in [0, 1].

    What it shows is ``gain * colour + offset`` of what is rendered for it, clipped to [0, 1].

    Attributes:
        gain: of red, green and blue.
        offset: of red, green and blue.
        backdrop: whether this holds for the background too, which is then part of what was filmed.
    """

    gain: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    backdrop: bool = True

    @property
    def identity(self) -> bool:
        """Whether it changes nothing."""
        return self.gain == (1.0, 1.0, 1.0) and self.offset == (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class View:
    """One camera's picture at one time.

    Attributes:
        camera: the camera.
        image: (height, width, 4) uint8, sRGB with straight alpha; alpha is 255 everywhere without a mask.
        unknown: (height, width) bool, the transparent pixels that the masks of other cameras contradict. They carve
            nothing, and no training ray is drawn there. None for none.
        look: how the picture shows colours of the scene; None: as they are.
        detail: (DETAIL * height, DETAIL * width, 4) uint8, the same picture before it was reduced to ``image``; None
            where that is not known.
    """

    camera: Camera
    image: np.ndarray
    unknown: np.ndarray | None = None
    look: ColourMap | None = None
    detail: np.ndarray | None = None

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        return f"<View of {self.camera.name!r} ({self.camera.split}), {width}x{height}>"

    @property
    def fine(self) -> View:
        """The same view as a picture of its :attr:`detail`; the view itself where it has none."""
        if self.detail is None:
            return self
        height, width = self.detail.shape[:2]
        unknown = None if self.unknown is None else self.unknown.repeat(DETAIL, 0).repeat(DETAIL, 1)
        return View(self.camera.resized(width, height), self.detail, unknown, self.look)

    @property
    def has_alpha(self) -> bool:
        """Whether any pixel is transparent."""
        return bool(self.image[..., 3].min(initial=255) < 255)

    @property
    def silhouette(self) -> np.ndarray:
        """(height, width) bool: the pixels that may show the subject; alpha above 0, or unknown."""
        shown = self.image[..., 3] > 0
        return shown if self.unknown is None else shown | self.unknown


@dataclass(frozen=True)
class FrameViews:
    """The pictures of one frame. ``index``: frame number in the capture, from 0; ``time``: in the capture's unit."""

    index: int
    time: float
    views: tuple[View, ...]


DETAIL = 2
"""So many pixels of the detail that is fitted, and rays that show it, along each side of a pixel of the coded size."""

FREQUENCY_UNITS = 256
"""Files state frequencies in this part of one, so that places of nodes follow from integers."""


@dataclass(frozen=True)
class GridLevel:
    """One basis level: a grid of ``resolution`` (x, y, z) nodes repeated ``frequency`` times along the longest side."""

    resolution: tuple[int, int, int]
    channels: int
    frequency: float

    @property
    def frequency_units(self) -> int:
        """The frequency in units of 1 / :data:`FREQUENCY_UNITS`, as files state it."""
        return round(self.frequency * FREQUENCY_UNITS)


@dataclass(frozen=True)
class FieldLayout:
    """The parameters that fix the shape of a field; constant over a file.

    Attributes:
        bounds: the coded box, world units; without the shell.
        coefficients: (x, y, z) nodes of the coefficient grid; it has ``sum(level.channels)`` channels.
        levels: the basis levels, coarse to fine.
        occupancy: (x, y, z) cells of the occupancy mask, those of the shell included.
        projection_hidden: width of the hidden layer of the projection MLP.
        appearance: number of appearance features (projection outputs besides the density).
        colour_hidden: width of the hidden layer of the colour MLP.
        view_frequencies: octaves of the positional encoding of the view direction.
        steps_per_side: ray-march steps along the longest side of the grids.
        motion_block: edge of a block of the motion lattice, occupancy cells; 0: frames have no motion.
        shell: (x, y, z) cells on either side of the bounds into which the space around them is contracted; all 0:
            nothing is coded beyond the bounds. Grids, occupancy and motion span all cells.
        near: distance from the camera along a ray at which samples begin, world units; 0: at the camera.
    """

    bounds: Bounds
    coefficients: tuple[int, int, int]
    levels: tuple[GridLevel, ...]
    occupancy: tuple[int, int, int]
    projection_hidden: int = 64
    appearance: int = 15
    colour_hidden: int = 64
    view_frequencies: int = 2
    steps_per_side: int = 128
    motion_block: int = 0
    shell: tuple[int, int, int] = (0, 0, 0)
    near: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether what lies outside the bounds is coded, too: whether there is a shell."""
        return any(self.shell)

    @property
    def inner(self) -> tuple[int, int, int]:
        """(x, y, z) occupancy cells of the bounds: all but the shell's."""
        (x, y, z), (sx, sy, sz) = self.occupancy, self.shell
        return x - 2 * sx, y - 2 * sy, z - 2 * sz

    @property
    def cell(self) -> float:
        """Edge of an occupancy cell within the bounds, world units."""
        return self.bounds.largest_side / max(self.inner)

    @property
    def march_step(self) -> float:
        """Distance between samples of a ray, cells."""
        return max(self.occupancy) / self.steps_per_side

    @property
    def channels(self) -> int:
        """Number of feature channels: the sum over all basis levels."""
        return sum(level.channels for level in self.levels)

    @property
    def grid_shapes(self) -> tuple[tuple[int, int, int, int], ...]:
        """(nz, ny, nx, channels) of each grid: the coefficient grid first, then the basis levels."""
        x, y, z = self.coefficients
        shapes = [(z, y, x, self.channels)]
        for level in self.levels:
            x, y, z = level.resolution
            shapes.append((z, y, x, level.channels))
        return tuple(shapes)

    @property
    def direction_features(self) -> int:
        """Length of the encoded view direction."""
        return 3 + 6 * self.view_frequencies

    @property
    def mlp_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the MLP tensors in coding order: weights are (inputs, outputs), each followed by its bias."""
        a = self.appearance
        hp, hc = self.projection_hidden, self.colour_hidden
        return (
            (self.channels, hp),
            (hp,),
            (hp, 1 + a),
            (1 + a,),
            (a + self.direction_features, hc),
            (hc,),
            (hc, 3),
            (3,),
        )


def marched_in(layout: FieldLayout, longer: float) -> FieldLayout:
    """The layout with steps of the march that are longer by a factor, but no longer than a cell and a half."""
    if longer == 1.0:
        return layout
    least = math.ceil(max(layout.occupancy) / 1.5)
    return replace(layout, steps_per_side=max(min(least, layout.steps_per_side), round(layout.steps_per_side / longer)))


@dataclass(frozen=True)
class GroupParameters:
    """The parameters that the frames of one group of pictures share.

    Attributes:
        steps: quantisation step of each grid (coefficients first), float32 values.
        mlp: the dequantised MLP tensors, float32, shapes as :attr:`FieldLayout.mlp_shapes`.
    """

    steps: tuple[float, ...]
    mlp: tuple[np.ndarray, ...]


@dataclass(frozen=True)
class SymbolFrame:
    """The integers of one decoded frame: with the group's parameters they determine every picture of it.

    Attributes:
        symbols: one int32 array of shape (nz, ny, nx, channels) per grid, coefficients first. Absolute values
            (reference plus residual), in units of the grid's step.
        residuals: the same shapes: the difference to the reference (equal to ``symbols`` on a key frame).
        occupancy: (nz, ny, nx) bool, True in cells where samples are taken.
        key: whether it is a key frame, which needs no reference.
        motion: (mz, my, mx, 3) int32 displacements that moved the reference, see ``coding/motion.py``; None for none.
    """

    symbols: tuple[np.ndarray, ...]
    residuals: tuple[np.ndarray, ...]
    occupancy: np.ndarray
    key: bool = True
    motion: np.ndarray | None = None


@dataclass(frozen=True)
class FrameStats:
    """The figures of one encoded frame.

    Attributes:
        index: frame number within the file.
        type: ``"key"`` or ``"inter"``.
        bytes: bytes that the frame added to the file; on a key frame with the group's parameters.
        components: bytes by part: ``coefficients``, ``level1`` ..., ``motion``, ``cameras``, ``occupancy``, ``mlp``,
            ``overhead``.
        estimated_bits: bits of the grids' symbols by the fit's rate model.
        actual_bits: bits of the grids' symbols as coded.
        psnr: PSNR of the decoded frame on training rays, dB.
        seconds: wall time spent on the frame.
        lambda_rate: weight of the rate in the frame's fit.
        judged_psnr: PSNR of the decoded frame as measured by ``tvvc eval``, dB; NaN unless a PSNR is the target.
    """

    index: int
    type: str
    bytes: int
    components: dict[str, int] = field(default_factory=dict)
    estimated_bits: float = 0.0
    actual_bits: float = 0.0
    psnr: float = 0.0
    seconds: float = 0.0
    lambda_rate: float = 0.0
    judged_psnr: float = math.nan
