"""``tvvc inspect``: describes a capture before it is encoded, and warns of likely problems."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np

from taichi_vvc.capture.agreement import NAMED, Agreement, agreement
from taichi_vvc.capture.colour_agreement import ColourAgreement, colour_agreement
from taichi_vvc.capture.sequence import NO_MASKS, NONE_HELD_OUT, MultiViewSequence
from taichi_vvc.capture.views import read_views
from taichi_vvc.geometry.projection import has_distortion, rays_hit, with_rays
from taichi_vvc.measure.estimate import estimate
from taichi_vvc.types import Bounds, Camera, View
from taichi_vvc.words import counted, some

LOOKED_AT = 3  # number of frames, spread over the selection, that are examined
PIXELS = 200  # longer side, pixels, to which pictures are reduced
CUT = 0.01  # share of a mask outside the bounds that causes a warning; a soft edge alone has less
FEW = 10  # fewer training cameras cause a warning
EXPLAINED = 0.95  # share of a mask that the others must explain


def survey(sequence: MultiViewSequence) -> dict[str, Any]:
    """The report of ``tvvc inspect --json``, as plain JSON values.

    Reads the pictures of a few frames, reduced. ``warnings`` has the sequence's messages and the findings here: bounds
    that cut masks, cameras inside the bounds, empty masks, masks that contradict each other, unequal exposure, few
    training or no held-out cameras. Each of ``cameras`` has ``colours``, the gains of red, green and blue that
    :mod:`taichi_vvc.capture.colour_agreement` finds, and ``mask_explained`` and ``mask_lacks``, which are the
    ``explained`` and ``lacking`` of :class:`taichi_vvc.capture.agreement.Agreement` in the worst frame; None without
    masks. ``estimates`` has for each preset the cost of an encode on this machine's CPU: ``seconds``, ``memory`` and
    ``size`` (bytes), see :mod:`taichi_vvc.measure.estimate`.

    Raises:
        DataError: a picture cannot be read.
    """
    frames = sorted({round(k * (len(sequence) - 1) / (LOOKED_AT - 1)) for k in range(LOOKED_AT)})
    largest = max(max(entry.camera.width, entry.camera.height) for entry in sequence.entries[0])
    views = {i: read_views(sequence.entries[i], max(1, largest // PIXELS)) for i in frames}
    warnings = [*sequence.messages, *_about_cameras(sequence)]
    agreed = {i: agreement(row, sequence.bounds) for i, row in views.items()} if sequence.has_alpha else {}
    if sequence.has_alpha:
        warnings += _about_masks(sequence, views) + _about_agreement(sequence, agreed)
    elif not sequence.scene.whole:
        warnings.append(NO_MASKS)
    colours = colour_agreement(list(views.values()), sequence.bounds)
    warnings += _about_colours(colours, sequence.has_alpha)
    centre = 0.5 * (np.asarray(sequence.bounds.lower) + np.asarray(sequence.bounds.upper))
    return {
        "path": str(sequence.path),
        "layout": sequence.layout,
        "frames": len(sequence),
        "first_frame": sequence.first_index,
        "fps": float(sequence.fps),
        "duration": float(len(sequence) / sequence.fps),
        "masks": sequence.has_alpha,
        "moving": any(
            not a.camera.same_as(b.camera)
            for row in sequence.entries
            for a, b in zip(row, sequence.entries[0], strict=True)
        ),
        "bounds": [list(sequence.bounds.lower), list(sequence.bounds.upper)],
        "bounds_source": sequence.bounds_source,
        "scene": sequence.scene.kind,
        "scene_reason": sequence.scene.why,
        "near": sequence.scene.near,
        "cameras": [
            {**_camera(camera, centre), "colours": gains, **_mask(number, agreed)}
            for number, (camera, gains) in enumerate(zip(sequence.cameras, colours.gains.tolist(), strict=True))
        ],
        "warnings": warnings,
        "estimates": [asdict(found) for found in estimate(sequence)],
    }


def _camera(camera: Camera, centre: np.ndarray) -> dict[str, Any]:
    return {
        "name": camera.name,
        "split": camera.split,
        "width": camera.width,
        "height": camera.height,
        "focal": [camera.fx, camera.fy],
        "distorted": has_distortion(camera),
        "position": camera.position.tolist(),
        "looks_along": camera.rotation[:, 2].tolist(),
        "distance": float(np.linalg.norm(camera.position - centre)),
    }


def _about_cameras(sequence: MultiViewSequence) -> list[str]:
    warnings = []
    train = [camera for camera in sequence.cameras if camera.split == "train"]
    if len(train) < FEW:
        few = counted(len(train), "training camera")
        warnings.append(f"few views: {few}; their views are reproduced, viewpoints between them less well")
    if len(train) == len(sequence.cameras):
        warnings.append(NONE_HELD_OUT)
    inside = [camera.name for camera in sequence.cameras if sequence.bounds.contains(camera.position)]
    if inside and not sequence.scene.whole:
        warnings.append(f"inside the bounds: camera {some(inside, 6)}; the bounds should hold the subject only")
    return warnings


def _about_masks(sequence: MultiViewSequence, views: dict[int, tuple[View, ...]]) -> list[str]:
    warnings = []
    cut: dict[str, tuple[float, int]] = {}
    empty: dict[str, int] = {}
    for i, row in views.items():
        for view in row:
            share = _outside(view, sequence.bounds)
            name = view.camera.name
            if share is None:
                empty.setdefault(name, sequence.indices[i])
            elif share > cut.get(name, (CUT, 0))[0]:
                cut[name] = share, sequence.indices[i]
    if cut:
        worst = max(cut, key=lambda name: cut[name][0])
        share, frame = cut[worst]
        warnings.append(
            f"the bounds cut the masks of {len(cut)} of {len(sequence.cameras)} cameras: most with {worst}, where"
            f" {100 * share:.0f} % of the mask lie outside in frame {frame}"
        )
    if empty:
        first = next(iter(empty))
        warnings.append(f"empty masks: camera {some(list(empty), 6)} (of {first} in frame {empty[first]})")
    return warnings


def _mask(number: int, agreed: dict[int, Agreement]) -> dict[str, float | None]:
    """The agreement of a camera's mask with the others, in the frame where it is worst."""
    explained = [float(found.explained[number]) for found in agreed.values()]
    known = [share for share in explained if np.isfinite(share)]
    lacks = max(float(found.lacking[number]) for found in agreed.values()) if known else None
    return {"mask_explained": min(known) if known else None, "mask_lacks": lacks}


def _about_agreement(sequence: MultiViewSequence, agreed: dict[int, Agreement]) -> list[str]:
    warnings = []
    rows = [(camera.name, _mask(number, agreed)) for number, camera in enumerate(sequence.cameras)]
    lacks = sorted(((row["mask_lacks"] or 0.0, name) for name, row in rows), key=lambda pair: -pair[0])
    if found := [f"{name} {100 * share:.0f} %" for share, name in lacks if share >= NAMED]:
        warnings.append(
            f"masks lack what those of the other cameras show of the subject: {some(found, 6)}; there these cameras are"
            " left out of a fit"
        )
    alone = sorted((row["mask_explained"], name) for name, row in rows if row["mask_explained"] is not None)
    # Skipped if some masks were found to lack a part: the unexplained pixels of the others are a consequence of that.
    if not found and (odd := [f"{name} {100 * share:.0f} %" for share, name in alone if share < EXPLAINED]):
        warnings.append(
            f"masks that those of the other cameras explain to a part only: {some(odd, 6)}; check masks, calibration"
            " and synchronisation"
        )
    return warnings


def _outside(view: View, bounds: Bounds) -> float | None:
    """The share of the mask's pixels whose rays miss the bounds; None if the mask is empty."""
    rows, columns = np.nonzero(with_rays(view.camera, view.image[..., 3] > 127))
    if not len(rows):
        return None
    return float(np.mean(~rays_hit(view.camera, np.stack((columns + 0.5, rows + 0.5), axis=-1), bounds)))


def _about_colours(found: ColourAgreement, masks: bool) -> list[str]:
    """A message about cameras whose colours are clearly not those of the others."""
    gains = dict(zip(found.names, found.gains, strict=True))
    off = [
        f"{name} {gains[name].mean():.2f} ({' '.join(f'{g:.2f}' for g in gains[name])})"
        for name in found.outliers(masks)
    ]
    if not off:
        return []
    # A subject alone may be lit from one side; what cameras see of a whole scene they see from all sides.
    reason = (
        "unequal exposure or white balance, or lighting from one side" if masks else "unequal exposure or white balance"
    )
    return [f"{reason}: colours (red green blue) as parts of the median camera's: {some(off, 6)}; see encode --colours"]
