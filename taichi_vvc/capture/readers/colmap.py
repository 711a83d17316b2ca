"""Scenes calibrated with COLMAP: ``sparse/0`` beside videos, folders per camera, or folders per frame.

A COLMAP model has poses of single pictures. Here each picture stands for a camera: its name in the model
(``cam00.png``, ``cam00/0000.png`` or ``images/cam00.png``) is matched with the names of the clips. Where most folders
contain pictures of several poses, folders are no cameras: the scene is static, and each picture is a camera of its own.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np

from taichi_vvc.capture.readers.colmap_model import ModelImage, models_in, read_model
from taichi_vvc.capture.readers.footage import Clip, images_in, natural
from taichi_vvc.capture.readers.index import CaptureIndex
from taichi_vvc.capture.readers.parse import is_there
from taichi_vvc.capture.readers.rig import RigCamera, from_world_to_camera, index_rig
from taichi_vvc.capture.readers.scenes import (
    IMAGE_FOLDERS,
    has_videos,
    picture_mask,
    scene_clips,
    scene_masks,
    unused_masks,
)
from taichi_vvc.errors import DataError
from taichi_vvc.words import some

MOVED = 1e-3  # rotation in radians, or shift as a share of the rig's size: a camera with more of either moves


def read_colmap(scene: Path, model: Path, frames: slice | None = None) -> CaptureIndex:
    """Index a scene whose COLMAP model lies in the folder ``model``. All cameras are training cameras.

    Args:
        scene: the folder with the pictures; if it is the model itself, the one above ``sparse/0`` is taken.
        model: one of several in numbered folders stands for the largest of them, unless it is the ``scene``.

    Raises:
        DataError: the model cannot be read, or none of its images is a camera of the scene.
    """
    named = scene.resolve() == model.resolve()
    scene = _scene_of(model) if named else scene
    model, images, messages = (model, read_model(model), []) if named else _largest(model)
    still = None if has_videos(scene) else _still_pictures(scene, images)
    if still is not None:
        return _read_still(scene, model, images, still, frames, messages)
    clips, masks = scene_clips(scene), scene_masks(scene)
    taken: dict[str, list[ModelImage]] = {}
    unmatched = []
    for image in images:
        camera = _match(image.name, set(clips))
        if camera is None:
            unmatched.append(image.name)
        else:
            taken.setdefault(camera, []).append(image)
    if not taken:
        raise DataError(
            f"{model}: expected images named like the cameras {some(list(clips))}, found {some(unmatched)}; COLMAP's"
            " images must be called <camera>.png or <camera>/<frame>.png"
        )
    messages += unused_masks(masks, clips)
    without = [name for name in clips if name not in taken]
    if without:
        messages.append(f"not registered in the COLMAP model and left out: camera {some(without, 6)}")
    if unmatched:
        messages.append(f"in the COLMAP model but without pictures: {some(unmatched, 6)}")
    moving = [name for name, found in taken.items() if _moves(found, images)]
    if moving:
        messages.append(f"more than one pose in the COLMAP model, the first is used: camera {some(moving, 6)}")
    rig = [_rig_camera(name, taken[name][0], clips, masks) for name in sorted(taken, key=natural)]
    return index_rig(model, "colmap", rig, frames, messages=messages)


def _largest(model: Path) -> tuple[Path, list[ModelImage], list[str]]:
    """Of the models in numbered folders beside ``model`` the one with most pictures, these, and a line about the rest.

    COLMAP writes a model for each group of pictures that it cannot connect with the others, in no certain order.
    """
    numbered = sorted(models_in(model.parent), key=lambda item: natural(item.name)) if model.name.isdecimal() else []
    if len(numbered) < 2:
        return model, read_model(model), []
    found = {item: read_model(item) for item in numbered}
    best = max(numbered, key=lambda item: len(found[item]))
    rest = [f"{item.name} with {len(found[item])}" for item in numbered if item != best]
    line = (
        f"several COLMAP models, since not all pictures could be connected: {best.name} is read, which has most"
        f" pictures ({len(found[best])}), and not {some(rest, 6)}; more pictures between the cameras connect them"
    )
    return best, found[best], [line]


def _read_still(
    scene: Path,
    model: Path,
    images: list[ModelImage],
    pictures: dict[str, Path],
    frames: slice | None,
    messages: list[str],
) -> CaptureIndex:
    """The single frame of a static scene; ``pictures``: file of each picture by its name in the model."""
    stems = {name: _below(name).with_suffix("").as_posix() for name in pictures}
    names = stems if len(set(stems.values())) == len(stems) else {name: name for name in pictures}
    clips = {names[name]: Clip((file,)) for name, file in pictures.items()}
    masks: dict[str, Clip] = {}
    for name in pictures:
        if (mask := picture_mask(scene, _below(name))) is not None:
            masks[names[name]] = Clip((mask,))
    messages = [
        *messages,
        (
            "most folders of pictures have several poses in the COLMAP model: read as a still scene, one frame, each"
            ' picture a camera; for cameras that move, write a transforms.json with "time"'
        ),
    ]
    if missing := [image.name for image in images if image.name not in pictures]:
        messages.append(f"in the COLMAP model but without pictures: {some(missing, 6)}")
    by_name = {image.name: image for image in images}
    rig = [_rig_camera(names[name], by_name[name], clips, masks) for name in sorted(pictures, key=natural)]
    return index_rig(model, "colmap", rig, frames, messages=messages)


def _still_pictures(scene: Path, images: list[ModelImage]) -> dict[str, Path] | None:
    """The registered pictures in subfolders, by name, if most folders with several pictures have several poses.

    None for a scene that is not static.
    """
    for folder in IMAGE_FOLDERS:
        found: dict[str, Path] = {}
        inside: dict[PurePosixPath, list[ModelImage]] = {}
        for image in images:
            below = _below(image.name)
            if below.parent.name and ".." not in below.parts and is_there(scene / folder / below):
                found[image.name] = scene / folder / below
                inside.setdefault(below.parent, []).append(image)
        if found:
            several = [parent for parent in inside if len(images_in(scene / folder / parent)) > 1]
            moving = [parent for parent in several if _moves(inside[parent], images)]
            return found if 2 * len(moving) > len(several) else None
    return None


def _below(name: str) -> PurePosixPath:
    """The name of a picture in the model, relative to the folder of the pictures."""
    path = PurePosixPath(name.replace("\\", "/").lstrip("/"))
    return PurePosixPath(*path.parts[1:]) if path.parts[:1] and path.parts[0] in IMAGE_FOLDERS else path


def _rig_camera(name: str, image: ModelImage, clips: dict[str, Clip], masks: dict[str, Clip]) -> RigCamera:
    rotation, position = from_world_to_camera(image.rotation, image.translation)
    fx, fy, cx, cy, *distortion = image.camera.lens
    return RigCamera(
        name,
        rotation,
        position,
        fx=fx,
        fy=fy,
        cx=cx,
        cy=cy,
        clip=clips[name],
        distortion=tuple(distortion),
        masks=masks.get(name),
        size=(image.camera.width, image.camera.height),
    )


def _scene_of(model: Path) -> Path:
    """The folder of a model's scene: the one above ``sparse/0`` or ``colmap``."""
    scene = model.resolve()
    if scene.name == "0" or (scene.name.isdecimal() and scene.parent.name == "sparse"):
        scene = scene.parent
    for name in ("sparse", "colmap"):
        if scene.name == name:
            scene = scene.parent
    return scene


def _match(name: str, cameras: set[str]) -> str | None:
    """The camera that a picture's name in the model stands for: the file's name, else one of its folders' names."""
    path = PurePosixPath(name.replace("\\", "/"))
    for part in (path.stem, path.name, *reversed(path.parts[:-1])):
        if part in cameras:
            return part
    return None


def _moves(found: list[ModelImage], images: list[ModelImage]) -> bool:
    if len(found) == 1:
        return False
    centres = np.array([-image.rotation.T @ image.translation for image in images])
    size = float(np.ptp(centres, axis=0).max()) or 1.0
    first = found[0]
    own = np.array([-image.rotation.T @ image.translation for image in found])
    turned = max(float(np.abs(image.rotation - first.rotation).max()) for image in found)
    return turned > MOVED or float(np.abs(own - own[0]).max()) > MOVED * size
