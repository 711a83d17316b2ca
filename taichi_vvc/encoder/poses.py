"""Cameras whose calibration is a pixel or two off, corrected before the first frame is coded.

A quick fit of the first frame is what all cameras agree on, more or less. Each camera is then moved to where the fit
looks most like its picture, and the fit is made anew, as in bundle adjustment, but from all pixels. What all cameras
move in common is taken off. Only training cameras move: nothing is ever fitted to held-out pictures.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.coding.headers import camera_record
from taichi_vvc.config import POSE_CHECK_ITERATIONS, POSE_CHECK_PIXELS, PRESETS, EncoderConfig, layout_of
from taichi_vvc.encoder.progress import Listener
from taichi_vvc.encoder.quality import mean_psnr, training_pictures
from taichi_vvc.encoder.trusted_views import views_of
from taichi_vvc.errors import CamerasMoved
from taichi_vvc.field.grids import Field, field_of_symbols
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.fit.occupancy import first_mask
from taichi_vvc.fit.optimize import fit_frame
from taichi_vvc.fit.prediction import Prediction
from taichi_vvc.fit.training_rays import make_training_rays
from taichi_vvc.geometry.alignment import alignment, displacement, moved, without_common
from taichi_vvc.geometry.contraction import cell_centres
from taichi_vvc.geometry.rotations import rotation_of
from taichi_vvc.media.colour_maps import corrected
from taichi_vvc.media.pictures import composite
from taichi_vvc.types import Camera, SymbolFrame, View
from taichi_vvc.words import counted, some

# Fits at the most, and pixels (of a coded picture) that a camera moves at least for another one.
_FITS, _STILL = 8, 0.1
# Cameras that are right seem to be off by a little: pixels from which the first fit says that one is not.
_OFF = 0.25
# Pixels of these pictures that a camera may move from one fit to the next.
_STRIDE = 4.0
# What the quick fits must gain from one to the next for it to go on, and in all for cameras to be moved, dB. A field
# that has hardly formed likes cameras that suit its errors: fits that are so many times as long must gain as much.
_GAIN, _WORTH, _LONGER = 0.1, 0.5, 3
# Pixels up to which two poses are the same, and part of the longer side from which they have nothing to do with each
# other.
_SAME, _ELSEWHERE = 0.02, 0.05
_ROUNDINGS = 8
_NOBODY = Listener()
# Places of the scene whose pixels tell how far a camera has moved.
_PLACES = 400


@dataclass(frozen=True)
class _Trial:
    """A quick fit with some cameras: the field, the training views, and how well it shows them (dB)."""

    cameras: tuple[Camera, ...]
    field: Field
    views: tuple[View, ...]
    quality: float


def stands(sequence: MultiViewSequence) -> bool:
    """Whether every camera of a sequence is the same in all frames."""
    first = sequence.entries[0]
    return all(a.camera.same_as(b.camera) for row in sequence.entries for a, b in zip(first, row, strict=True))


def posed(sequence: MultiViewSequence, cameras: Sequence[Camera]) -> MultiViewSequence:
    """The same capture, in all frames with the rotations and positions of ``cameras``, one for each camera."""

    def moved_to(own: Camera, other: Camera) -> Camera:
        return replace(own, rotation=other.rotation, position=other.position)

    return replace(
        sequence,
        cameras=tuple(map(moved_to, sequence.cameras, cameras)),
        entries=tuple(
            tuple(replace(e, camera=moved_to(e.camera, c)) for e, c in zip(row, cameras, strict=True))
            for row in sequence.entries
        ),
    )


def with_refined_poses(
    ws: Workspace, sequence: MultiViewSequence, config: EncoderConfig, listener: Listener = _NOBODY
) -> MultiViewSequence:
    """The sequence with its training cameras moved to where its first pictures say that they stood.

    That is the sequence itself where they say so of none, where cameras move on their own, and where there are fewer
    than four for training. With ``poses`` at ``"auto"`` the first quick fit must find one off by a quarter of a pixel
    at the coded size, and only encodes of a thousand iterations and more for a key frame look for it. Two longer fits,
    with the cameras as they were and as they became, have the last word. Where cameras are moved, a
    :class:`~taichi_vvc.errors.CamerasMoved` warning names the farthest. ``listener`` is told of each fit.

    Raises:
        DataError: a picture cannot be read.
    """
    training = [c for c in sequence.cameras if c.split == "train"]
    if not config.checks_poses(len(training)) or not stands(sequence):
        return sequence
    size = max(max(c.width, c.height) for c in training)
    small = replace(sequence, downscale=sequence.downscale * max(1, size // POSE_CHECK_PIXELS), detailed=False)
    count = itertools.count(1)
    trial = best = _fit(ws, small, config, sequence.cameras, partial(listener.checked, next(count)))
    places = _places(trial.field)
    first, least = trial.quality, _OFF if config.poses == "auto" else _STILL
    for number in range(_FITS):
        if best.quality < first + number * _GAIN:
            break
        aligned = _aligned(ws, trial, config, places)
        if max(displacement(a, b, places) for a, b in zip(trial.cameras, aligned, strict=True)) < least:
            break
        least = _STILL
        kept = _without_common(sequence.cameras, aligned, places)
        trial = _fit(ws, small, config, kept, partial(listener.checked, next(count)))
        if trial.quality > best.quality:
            best = trial
    if best.quality < first + _WORTH:
        return sequence
    before, after = (
        _fit(ws, small, config, cameras, partial(listener.checked, next(count)), _LONGER).quality
        for cameras in (sequence.cameras, best.cameras)
    )
    if after < before + _WORTH:
        return sequence
    found = _posed(sequence, [_as_stored(camera) for camera in best.cameras])
    if found is not sequence:
        warnings.warn(_message(sequence, found, after - before), CamerasMoved, stacklevel=3)
    return found


def with_stored_poses(sequence: MultiViewSequence, cameras: Sequence[Camera]) -> MultiViewSequence:
    """The sequence that a file was made from, with the poses that the encoder gave its cameras.

    ``cameras``: of the file, at least those of the sequence. Those that stand elsewhere altogether do not count.
    """
    stored = {camera.name: camera for camera in cameras}
    if not stands(sequence) or any(camera.name not in stored for camera in sequence.cameras):
        return sequence
    return _posed(sequence, [stored[camera.name] for camera in sequence.cameras])


def _posed(sequence: MultiViewSequence, cameras: Sequence[Camera]) -> MultiViewSequence:
    """The sequence with those poses of ``cameras`` that are another, and no other altogether."""
    chosen, any_other = [], False
    for own, camera in zip(sequence.cameras, cameras, strict=True):
        off = displacement(own, camera, _corners(sequence))
        other = own.split == "train" and _SAME < off < _ELSEWHERE * max(own.width, own.height)
        chosen.append(camera if other else own)
        any_other = any_other or other
    return posed(sequence, chosen) if any_other else sequence


def _corners(sequence: MultiViewSequence) -> np.ndarray:
    """(27, 3) places in the bounds, world units."""
    lower, size = np.asarray(sequence.bounds.lower), sequence.bounds.size
    return np.array([lower + size * part for part in itertools.product((0.1, 0.5, 0.9), repeat=3)])


def _as_stored(camera: Camera) -> Camera:
    """The camera as a file has it, so that what is decoded is what was fitted."""
    for _ in range(_ROUNDINGS):
        record = camera_record(camera, 0)
        rounded = replace(camera, rotation=rotation_of(record.rotation), position=np.array(record.position))
        if camera_record(rounded, 0) == record:
            return rounded
        camera = rounded
    return camera


def _message(before: MultiViewSequence, after: MultiViewSequence, gain: float) -> str:
    places = _corners(before)
    off = {a.name: displacement(a, b, places) for a, b in zip(before.cameras, after.cameras, strict=True)}
    moved_ones = sorted((name for name in off if off[name] > _SAME), key=lambda name: -off[name])
    shown = some([f"{name} by {off[name]:.1f} px" for name in moved_ones], 3)
    return (
        f"the calibration is off: {counted(len(moved_ones), 'camera')} of {len(off)} moved to where the pictures agree"
        f" ({shown}), a quick fit gains {gain:.1f} dB; --poses off keeps them"
    )


def _fit(
    ws: Workspace,
    sequence: MultiViewSequence,
    config: EncoderConfig,
    cameras: Sequence[Camera],
    tell: Callable[[tuple[int, int], float], None],
    longer: float = 1.0,
) -> _Trial:
    quick = replace(PRESETS["ultrafast"], key_iterations=POSE_CHECK_ITERATIONS, first_fit=longer)
    quick = replace(quick, background=config.background, seed=config.seed)
    sequence = posed(sequence, cameras)
    layout = layout_of(
        quick,
        sequence.bounds,
        [c for c in sequence.cameras if c.split == "train"],
        sequence.scene.whole,
        sequence.scene.near,
    )
    views = tuple(corrected(v) for v in views_of(sequence, layout, 0).views if v.camera.split == "train")
    mask = first_mask(layout, views, None)
    training = make_training_rays(ws, layout, views, mask, memory=config.picture_memory)
    fit = fit_frame(ws, quick, training, Prediction.scratch(), 0, lambda r: tell((r.step, r.steps), r.error))
    frame = SymbolFrame(fit.residuals, fit.residuals, fit.occupancy)
    field = field_of_symbols(ws.runtime, layout, fit.parameters, frame)
    return _Trial(tuple(cameras), field, views, mean_psnr(training_pictures(ws, field, quick.backdrop, views)))


def _aligned(ws: Workspace, trial: _Trial, config: EncoderConfig, places: np.ndarray) -> list[Camera]:
    """The cameras after one step of alignment with the trial's field."""
    found = {}
    for view in trial.views:
        image = render(trial.field, view.camera, config.backdrop, workspace=ws)
        distance = float(np.linalg.norm(places - view.camera.position, axis=1).mean())
        wanted, shown = (_smoothed(p) for p in (composite(view.image, config.backdrop), image.colour))
        motion = alignment(view.camera, wanted, shown, image.depth, distance)
        after = moved(view.camera, motion, distance)
        pixels = displacement(view.camera, after, places)
        if pixels > _STRIDE:
            after = moved(view.camera, motion * (_STRIDE / pixels), distance)
        found[view.camera.name] = after
    return [
        replace(c, rotation=found[c.name].rotation, position=found[c.name].position) if c.name in found else c
        for c in trial.cameras
    ]


def _without_common(before: Sequence[Camera], after: Sequence[Camera], places: np.ndarray) -> list[Camera]:
    """As :func:`~taichi_vvc.geometry.alignment.without_common`, of the training cameras."""
    chosen = [k for k, camera in enumerate(before) if camera.split == "train"]
    kept = without_common([before[k] for k in chosen], [after[k] for k in chosen], places)
    of = dict(zip(chosen, kept, strict=True))
    return [of.get(k, camera) for k, camera in enumerate(before)]


def _places(field: Field) -> np.ndarray:
    """(n, 3) some places of the scene, world units."""
    centres = cell_centres(field.layout)[field.mask]
    return centres[:: max(1, len(centres) // _PLACES)]


def _smoothed(picture: np.ndarray) -> np.ndarray:
    """A picture (height, width, 3), a little out of focus, so that its slopes hold over a pixel and more."""
    for _ in range(2):
        for axis in (0, 1):
            padded = np.pad(picture, [(1, 1) if k == axis else (0, 0) for k in range(3)], "edge")
            low, middle, high = (np.take(padded, range(k, k + picture.shape[axis]), axis) for k in range(3))
            picture = 0.25 * low + 0.5 * middle + 0.25 * high
    return picture
