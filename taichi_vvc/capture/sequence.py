"""A multi-view video on disk: cameras, times and bounds at once, pictures one frame at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from taichi_vvc.capture import axes
from taichi_vvc.capture.bounds import bounds_from_cameras, bounds_from_masks, check_cameras_see
from taichi_vvc.capture.frame_rates import FASTEST, frame_rate
from taichi_vvc.capture.mask_kinds import settle_masks
from taichi_vvc.capture.readers.index import CaptureIndex, ImageEntry
from taichi_vvc.capture.readers.layouts import find_layout
from taichi_vvc.capture.readers.parse import short
from taichi_vvc.capture.scene import AUTO, Scene, scene_of
from taichi_vvc.capture.selection import select_cameras
from taichi_vvc.capture.storable import bounds_problem, check_cameras, check_moves, check_rate
from taichi_vvc.capture.views import read_views, reduced_camera
from taichi_vvc.errors import ConfigError, DataError, one_line
from taichi_vvc.geometry.projection import pixels_with_rays
from taichi_vvc.media.colour_maps import looks_of, with_looks
from taichi_vvc.media.images import is_turned
from taichi_vvc.types import Bounds, Camera, ColourMap, FrameViews, View
from taichi_vvc.words import counted, some

DEFAULT_FPS = Fraction(25)
NO_MASKS = "no masks: all that is inside the bounds is coded, and what is outside must be plain"
NONE_HELD_OUT = (
    "no held-out cameras: nothing can measure what a free viewpoint looks like; --test-cameras holds some out"
)
BOUNDS_FRAMES = 8  # frames, spread over the selection, whose masks are read to find bounds
BOUNDS_PIXELS = 320  # longest side, pixels, to which pictures are reduced for that
STANDS = 32  # frames, spread over the selection, at which moving cameras are looked up to find bounds
LARGEST_DOWNSCALE = 1 << 16


@dataclass(frozen=True, repr=False)
class MultiViewSequence:
    """N calibrated, synchronised cameras over T selected frames. Pictures are read when asked for and not kept.

    Attributes:
        path: the folder or file that was opened.
        cameras: the cameras of the first frame, at the reduced size; every frame's views are in this order.
        times: the capture's own time of each frame.
        first_index: the capture's frame number of frame 0.
        fps: frames per second of the selection (the capture's, divided by the step of the selection if it has more
            than one frame).
        bounds: the box to be coded, world units.
        bounds_source: ``"file"``, ``"masks"``, ``"cameras"`` or ``"argument"``.
        has_alpha: whether the first frame has masks, i.e. any pixel that is not opaque.
        downscale: the factor by which pictures are reduced.
        messages: one-line warnings for the user.
        indices: the capture's frame numbers of the selection.
        entries: ``entries[frame][camera]``: where the pictures are, with their cameras at full size.
        layout: the name of the layout on disk, see :mod:`taichi_vvc.capture.readers.layouts`.
        stated_test: the names of the cameras that the capture itself holds out, whatever was selected.
        scene: whether only what is inside the bounds is coded or what is outside, too, and where samples begin.
        looks: how each of the cameras shows colours; empty: all show them as they are.
        detailed: whether training views keep the detail of pictures that are reduced, see
            :attr:`taichi_vvc.types.View.detail`.
    """

    path: Path
    cameras: tuple[Camera, ...]
    times: tuple[float, ...]
    first_index: int
    fps: Fraction
    bounds: Bounds
    bounds_source: str
    has_alpha: bool
    downscale: int
    messages: tuple[str, ...]
    indices: range
    entries: tuple[tuple[ImageEntry, ...], ...] = field(repr=False)
    layout: str = "transforms"
    stated_test: tuple[str, ...] = ()
    scene: Scene = field(default_factory=Scene)
    looks: tuple[ColourMap, ...] = ()
    detailed: bool = False

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        held_out = sum(camera.split == "test" for camera in self.cameras)
        return (
            f"<MultiViewSequence {str(self.path)!r}: {counted(len(self), 'frame')} at {float(self.fps):g} fps, "
            f"{counted(len(self.cameras) - held_out, 'camera')} and {held_out} held out, layout {self.layout}>"
        )

    def frame(self, i: int, split: str | None = None, quiet: bool = True) -> FrameViews:
        """All pictures of the selection's frame ``i`` (negative counts from the end), or those of one split only.

        ``quiet``: leave out warnings of decoders; for the main thread only.

        Raises:
            IndexError: there is no such frame.
            DataError: a picture or mask is damaged or has changed its size.
        """
        if not -len(self) <= i < len(self):
            raise IndexError(f"frame {i} of {len(self)}")
        entries = [entry for entry in self.entries[i] if split is None or entry.camera.split == split]
        looks = looks_of([camera.name for camera in self.cameras], self.looks)
        views = with_looks(read_views(entries, self.downscale, quiet, self.detailed), looks)
        return FrameViews(self.indices[i], self.times[i], views)

    @property
    def frame_step(self) -> int:
        """The step of the selection: frames of the capture per frame of the sequence; 1 for a single frame."""
        return self.indices.step if len(self) > 1 else 1

    def cameras_at(self, i: int) -> tuple[Camera, ...]:
        """The cameras of the selection's frame ``i`` at the reduced size, in the order of its views.

        Raises:
            IndexError: there is no such frame.
        """
        return tuple(reduced_camera(entry.camera, self.downscale) for entry in self.entries[i])

    def __iter__(self) -> Iterator[FrameViews]:
        return (self.frame(i) for i in range(len(self)))


def open_capture(
    path: str | Path,
    *,
    frames: slice | None = None,
    downscale: int = 1,
    bounds: Bounds | None = None,
    format: str | None = None,
    strict: bool = True,
    cameras: str | Sequence[str] | None = None,
    test_cameras: str | Sequence[str] | None = None,
    fps: float | str | Fraction | None = None,
    scene: str = AUTO,
    near: float | None = None,
) -> MultiViewSequence:
    """Open a capture: a folder, or the file that describes it. docs/capture.md describes the layouts.

    Args:
        frames: which frames of the capture, as a slice of their numbers; a step above 1 lowers the frame rate.
        downscale: reduce pictures by this factor (area averaging, alpha-weighted).
        bounds: the box to be coded, world units, in place of the one that is stated or found.
        format: the layout's name, see :data:`taichi_vvc.capture.readers.layouts.LAYOUTS`; None recognises it.
        strict: whether a camera that sees nothing of the bounds is an error; if False, it is a message.
        cameras: use these cameras only: names, patterns and positions, see
            :func:`taichi_vvc.capture.selection.find_cameras`.
        test_cameras: hold out exactly these cameras, in the same form; None follows the capture.
        fps: frames per second of the capture, in place of its own: a number or text such as ``"30000/1001"``. A step of
            ``frames`` divides it.
        scene: ``"auto"``, ``"box"`` or ``"whole"``, see :func:`taichi_vvc.capture.scene.scene_of`.
        near: distance from a camera at which samples begin, world units; None: found; 0 for a box.

    Raises:
        DataError: the capture cannot be used; the line names the file, what was found and what was expected.
        ConfigError: ``frames`` is no slice, ``downscale``, ``bounds``, ``fps`` or ``near`` is out of range, a whole
            scene is asked for and the pictures have masks, there is no ``scene`` of that name, there is no layout of
            the name ``format``, an item of ``cameras`` or ``test_cameras`` fits no camera, or none is left to be
            fitted.
    """
    rate = _checked_arguments(downscale, bounds, fps)
    path = Path(path)
    # Numbers are checked after they were read; warnings of NumPy and of the decoders would only repeat that.
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        index = _read_index(path, frames, format)
        stated = {entry.camera.name for entry in index.entries[0] if entry.camera.split == "test"}
        index = select_cameras(index, cameras, test_cameras)
        check_cameras(_distinct(index, downscale), str(index.source))
        entries, about_masks = settle_masks(index.entries)
        turned = [entry.camera.name for entry in index.entries[0] if is_turned(entry.image)]
    index = replace(index, entries=entries)
    first_cameras = tuple(reduced_camera(entry.camera, downscale) for entry in index.entries[0])
    first_views = read_views(index.entries[0], downscale)
    has_alpha, about_bare = _masked(first_views)
    moving = any(
        not a.camera.same_as(b.camera) for row in index.entries for a, b in zip(index.entries[0], row, strict=True)
    )
    rate = rate or index.fps
    messages = [
        *(*index.messages, *about_masks, *about_bare),
        *_about_cameras(moving, turned),
        *_about_rays(first_cameras),
        *_about_rate(rate, index),
    ]
    bounds, source, about_bounds = _settled_bounds(index, bounds, has_alpha, strict)
    messages += about_bounds
    settled = scene_of(scene, near, bounds, [view for view in first_views if view.camera.split == "train"])
    if moving:
        check_moves(
            ([reduced_camera(e.camera, downscale) for e in row] for row in index.entries), bounds, str(index.source)
        )
    shown_rate = (rate or DEFAULT_FPS) / (index.indices.step if len(index.entries) > 1 else 1)
    check_rate(shown_rate, str(index.source))
    return MultiViewSequence(
        path=path,
        cameras=first_cameras,
        times=index.times,
        first_index=index.indices[0],
        fps=shown_rate,
        bounds=bounds,
        bounds_source=source,
        has_alpha=has_alpha,
        downscale=downscale,
        messages=tuple(map(one_line, messages)),
        indices=index.indices,
        entries=index.entries,
        layout=index.layout,
        stated_test=tuple(camera.name for camera in first_cameras if camera.name in stated),
        scene=settled,
    )


def _checked_arguments(downscale: object, bounds: Bounds | None, fps: float | str | Fraction | None) -> Fraction | None:
    """The frame rate ``fps`` as a fraction, or None. Raises ConfigError for an argument out of range."""
    if isinstance(downscale, bool) or not isinstance(downscale, int) or not 1 <= downscale <= LARGEST_DOWNSCALE:
        raise ConfigError(
            f"expected downscale to be a whole number of 1 to {LARGEST_DOWNSCALE}, found {short(downscale)}"
        )
    if bounds is not None and (problem := bounds_problem(bounds)):
        raise ConfigError(problem)
    rate = None if fps is None else frame_rate(fps)
    if fps is not None and rate is None:
        # repr() raises for integers of thousands of digits.
        found = "a far larger number" if isinstance(fps, int) and fps > FASTEST else repr(fps)[:60]
        raise ConfigError(f'expected fps above 0 and up to {FASTEST}, such as 25 or "30000/1001", found {found}')
    return rate


def _read_index(path: Path, frames: slice | None, format: str | None) -> CaptureIndex:
    """The index of the capture at ``path``. Errors of the operating system and of memory become DataErrors."""
    try:
        layout, file = find_layout(path, format)
        return layout.read(file, frames)
    except OSError as error:
        name = short(error.filename) if error.filename else ""
        raise DataError(f"{path}: cannot read it: {error.strerror or error}{f', {name}' if name else ''}") from None
    except (MemoryError, RecursionError) as error:
        raise DataError(f"{path}: cannot read it: {type(error).__name__}; it is larger than any capture") from None


def _distinct(index: CaptureIndex, downscale: int) -> Iterator[Camera]:
    """Every distinct camera of the capture once, at the reduced size that a file stores."""
    seen: set[int] = set()
    for row in index.entries:
        for entry in row:
            if id(entry.camera) not in seen:
                seen.add(id(entry.camera))
                yield reduced_camera(entry.camera, downscale)


def _masked(views: Sequence[View]) -> tuple[bool, list[str]]:
    """Whether any of a frame's views has a mask, and a message about views without one if others have one."""
    bare = [view.camera.name for view in views if not view.has_alpha]
    if len(bare) in (0, len(views)):
        return not bare, []
    return True, [f"no mask on {some(bare, 6)}: what these cameras see around the subject is coded as subject"]


def _about_cameras(moving: bool, turned: list[str]) -> list[str]:
    """Messages about moving cameras, and about the cameras ``turned`` whose pictures have an EXIF orientation."""
    lines = []
    if moving:
        lines.append("cameras move during the capture: each frame has its own, in the fit and in the file")
    if turned:
        lines.append(
            f"EXIF orientation in the pictures of camera {some(turned, 6)}: not applied, the calibration is taken to be"
            " of the pixels as stored; turn the pictures if it is not"
        )
    return lines


def _about_rate(rate: Fraction | None, index: CaptureIndex) -> list[str]:
    """A line on a frame rate that neither the caller nor the capture states; a single frame needs none."""
    if rate is not None or len(index.entries) == 1:
        return []
    where = index.source.name if index.source.suffix == ".json" else f"the layout {index.layout}"
    return [f'no "fps" in {where}: {DEFAULT_FPS} frames per second assumed; --fps sets it']


def _about_rays(cameras: Sequence[Camera]) -> list[str]:
    """A message about cameras some of whose pixels have no ray in the lens model; no message if there are none."""
    without = {c.name: 1.0 - float(rays.mean()) for c in cameras if (rays := pixels_with_rays(c)) is not None}
    if not without:
        return []
    worst = max(without, key=lambda name: without[name])
    share = f"{100 * without[worst]:.0f} %" if without[worst] >= 0.01 else "less than 1 %"
    rest = [name for name in without if name != worst]
    others = f" (and some of {some(rest, 6)})" if rest else ""
    return [
        (
            f"{share} of camera {worst}'s pixels have no ray{others}: its distortion (k1, k2, p1, p2) folds back inside"
            " the picture; they take part in nothing; check the calibration, or crop the pictures"
        )
    ]


def _settled_bounds(
    index: CaptureIndex, asked: Bounds | None, has_alpha: bool, strict: bool
) -> tuple[Bounds, str, list[str]]:
    """The box to be coded: the caller's, the capture's, or one that is found: (bounds, source, lines for the user).

    Raises:
        DataError: the box cannot be coded, none can be found, or, where ``strict``, a camera sees nothing of it.
    """
    cameras = [entry.camera for entry in index.entries[0]]
    odd = axes.looks_like(cameras)
    looks = None if odd is None else axes.describe(odd, index.layout, index.convention)
    lines: list[str] = []
    if asked is not None:
        bounds, source = asked, "argument"
    elif index.bounds is not None:
        bounds, source = index.bounds, "file"
    else:
        bounds, source, note = _find_bounds(index, has_alpha, looks)
        lines.append(note)
    if problem := bounds_problem(bounds):
        raise DataError(f"{index.source}: {problem}")
    try:
        check_cameras_see(bounds, cameras, str(index.source), looks or axes.advice(index.layout, index.convention))
    except DataError as error:
        if strict:
            raise
        lines.append(str(error))
    else:
        if looks is not None and source in ("file", "argument"):
            lines.append(f"unless the cameras look outwards, their poses are wrong: {looks}")
    return bounds, source, lines


def _find_bounds(index: CaptureIndex, has_alpha: bool, looks: str | None) -> tuple[Bounds, str, str]:
    """Bounds that the file does not state, from the training cameras only: (bounds, source, message).

    Args:
        looks: the clause of :func:`taichi_vvc.capture.axes.describe` about the cameras' axes, or None.
    """
    rows = [[entry for entry in row if entry.camera.split == "train"] for row in index.entries]
    why = ""
    if has_alpha:
        count = min(BOUNDS_FRAMES, len(rows))
        picks = [round(k * (len(rows) - 1) / max(1, count - 1)) for k in range(count)]
        largest = max(max(entry.camera.width, entry.camera.height) for entry in rows[0])
        factor = max(1, -(-largest // BOUNDS_PIXELS))
        notes: list[str] = []
        found = bounds_from_masks((read_views(rows[i], factor) for i in picks), notes)
        if found is not None:
            found_from = f"bounds found from the masks of {counted(count, 'frame')}: {found.option()}"
            return found, "masks", "; ".join((found_from, *notes))
        why = "the masks have no common visual hull (calibration or masks are off); "
    found = bounds_from_cameras(_stands(rows))
    better = '"aabb" in the file' if index.layout in ("transforms", "blender") else "--bounds"
    if found is None and index.bounds_hint is not None:
        note = f"{why}bounds guessed from the depths that the file states: {index.bounds_hint.option()}"
        return index.bounds_hint, "cameras", f"{note}; {better} around what moves is better"
    if looks is not None:
        raise DataError(f"{index.source}: cannot find bounds: {looks}; if cameras look outwards, give {better}")
    if found is None:
        raise DataError(
            f"{index.source}: {why}cannot find bounds: expected cameras whose axes meet, found none; give the box"
            f" around what is to be coded, [[x, y, z], [x, y, z]], as {better}"
        )
    note = f"{why}bounds guessed from the cameras: {found.option()}"
    return found, "cameras", f"{note}; {better} around what moves is better"


def _stands(rows: Sequence[Sequence[ImageEntry]]) -> list[Camera]:
    """The cameras of the first frame, and moving cameras again at some later frames."""
    found = [entry.camera for entry in rows[0]]
    last = list(found)
    for row in rows[:: -(-len(rows) // STANDS)]:
        for number, entry in enumerate(row):
            if not entry.camera.same_as(last[number]):
                last[number] = entry.camera
                found.append(entry.camera)
    return found
