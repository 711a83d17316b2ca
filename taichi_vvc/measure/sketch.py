"""The picture of ``tvvc inspect -o``: cameras and bounds from above and from the side, and bounds in four images."""

from __future__ import annotations

import itertools
import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from taichi_vvc.capture.camera_paths import up_direction
from taichi_vvc.capture.sequence import MultiViewSequence
from taichi_vvc.capture.views import read_views
from taichi_vvc.geometry.projection import project
from taichi_vvc.types import Bounds, Camera, View

WIDTH, PLAN_HEIGHT, MARGIN = 1280, 520, 34
PICTURES = 4
TRAIN, TEST, BOX, INK, PAPER = (38, 84, 170), (214, 106, 20), (0, 150, 70), (40, 40, 40), (255, 255, 255)
AXES = ((200, 40, 40), (40, 140, 40), (50, 80, 220))
LABELLED = 40  # largest number of cameras whose names are drawn; more would overlap
EDGES = [(a, b) for a, b in itertools.combinations(range(8), 2) if (a ^ b).bit_count() == 1]


def sketch(sequence: MultiViewSequence) -> Image.Image:
    """Draws the cameras and bounds of the first frame; reads the pictures of up to four cameras.

    Raises:
        DataError: a picture cannot be read.
    """
    cameras = sequence.cameras
    up = up_direction(cameras)
    across = np.eye(3)[int(np.argmin(np.abs(up)))]
    across = across - (across @ up) * up
    across /= np.linalg.norm(across)
    deep = np.cross(up, across)
    half = WIDTH // 2
    plan = _plan(sequence, np.stack((across, deep)), "from above", half)
    side = _plan(sequence, np.stack((across, up)), "from the side", half)
    chosen = sorted({round(k * (len(cameras) - 1) / (PICTURES - 1)) for k in range(PICTURES)})
    pictures = [_picture(sequence, number, WIDTH // PICTURES) for number in chosen]
    strip = max(picture.height for picture in pictures)
    canvas = Image.new("RGB", (WIDTH, PLAN_HEIGHT + strip), PAPER)
    canvas.paste(plan, (0, 0))
    canvas.paste(side, (half, 0))
    for place, picture in enumerate(pictures):
        canvas.paste(picture, (place * WIDTH // PICTURES, PLAN_HEIGHT))
    ImageDraw.Draw(canvas).line([(half, 8), (half, PLAN_HEIGHT - 8)], fill=(200, 200, 200))
    return canvas


def _plan(sequence: MultiViewSequence, axes: np.ndarray, title: str, width: int) -> Image.Image:
    """An orthographic view: ``axes`` (2, 3) are the world directions to the right and upwards on the panel."""
    cameras, bounds = sequence.cameras, sequence.bounds
    corners = _corners(bounds)
    centre = corners.mean(0)
    length = 0.16 * float(np.median([np.linalg.norm(camera.position - centre) for camera in cameras]))
    frusta = [_frustum(camera, length) for camera in cameras]
    # The world's axes are drawn at the centre of the box, half as long as its largest side.
    arms = centre + 0.5 * bounds.largest_side * np.eye(3)
    tracks = [np.array([row[c].camera.position for row in sequence.entries]) for c in range(len(cameras))]
    flat = np.concatenate([*frusta, corners, *tracks]) @ axes.T
    low, high = flat.min(0), flat.max(0)
    room = np.array([width - 2 * MARGIN, PLAN_HEIGHT - 3 * MARGIN])
    scale = float((room / np.maximum(high - low, 1e-12)).min())
    middle = 0.5 * (low + high)

    def place(points: np.ndarray) -> list[tuple[float, float]]:
        at = (np.atleast_2d(points) @ axes.T - middle) * scale
        return [(0.5 * width + x, 0.5 * PLAN_HEIGHT + 0.5 * MARGIN - y) for x, y in at]

    image = Image.new("RGB", (width, PLAN_HEIGHT), PAPER)
    draw, font = ImageDraw.Draw(image), _font(13)
    for a, b in EDGES:
        draw.line([*place(corners[a]), *place(corners[b])], fill=BOX, width=2)
    for name, arm, colour in zip("xyz", arms, AXES, strict=True):
        (start,), (end,) = place(centre), place(arm)
        if math.dist(start, end) > 4:
            draw.line([start, end], fill=colour, width=2)
            # The label goes beyond the arm's end, where the box does not cover it.
            draw.text(
                (end[0] + 0.05 * (end[0] - start[0]) + 3, end[1] + 0.2 * (end[1] - start[1]) - 7), name, colour, font
            )
    for camera, frustum, track in zip(cameras, frusta, tracks, strict=True):
        colour = TEST if camera.split == "test" else TRAIN
        if np.ptp(track, axis=0).max() > 0.0:
            draw.line(place(track), fill=colour)
        at, *far = place(frustum)
        for k in range(4):
            draw.line([at, far[k]], fill=colour)
            draw.line([far[k], far[(k + 1) % 4]], fill=colour)
        draw.ellipse([at[0] - 3, at[1] - 3, at[0] + 3, at[1] + 3], fill=colour)
        if len(cameras) <= LABELLED:
            label, small = camera.name[:12], _font(10)
            draw.text((min(at[0] + 4, width - 2 - draw.textlength(label, font=small)), at[1] + 2), label, colour, small)
    _legend(draw, sequence, title, scale, width)
    return image


def _legend(draw: ImageDraw.ImageDraw, sequence: MultiViewSequence, title: str, scale: float, width: int) -> None:
    font = _font(14)
    draw.text((12, 8), title, fill=INK, font=font)
    held_out = sum(camera.split == "test" for camera in sequence.cameras)
    x = 130.0
    bounds = "bounds, and all around them" if sequence.scene.whole else "bounds"
    entries = (f"{len(sequence.cameras) - held_out} training", TRAIN), (f"{held_out} held out", TEST), (bounds, BOX)
    for text, colour in entries:
        draw.rectangle([x, 12, x + 9, 21], fill=colour)
        draw.text((x + 14, 8), text, fill=INK, font=font)
        x += 30 + draw.textlength(text, font=font)
    bar = _round(0.25 * width / scale)
    right, y = width - 14, PLAN_HEIGHT - 14
    draw.line([right - bar * scale, y, right, y], fill=INK, width=2)
    draw.text((right - bar * scale, y - 19), f"{bar:g} world units", fill=INK, font=font)


def _picture(sequence: MultiViewSequence, number: int, width: int) -> Image.Image:
    """One camera's first picture with the bounds' edges, distorted as by its lens, and a caption."""
    entry = sequence.entries[0][number]
    room = width - 8
    factor = max(1, round(max(entry.camera.width, entry.camera.height) / room))
    view: View = read_views([entry], factor)[0]
    height, wide = view.image.shape[:2]
    size = max(1, round(wide * room / max(wide, height))), max(1, round(height * room / max(wide, height)))
    ground = (np.indices((height, wide)) // max(1, 2 * wide // room * 5)).sum(0) % 2 * 24 + 150
    alpha = view.image[..., 3:] / 255.0
    shown = view.image[..., :3] * alpha + ground[..., None] * (1.0 - alpha)
    picture = Image.fromarray(np.rint(shown).astype(np.uint8)).resize(size, Image.Resampling.BILINEAR)
    draw = ImageDraw.Draw(picture)
    for line in _edges_in(entry.camera.resized(*size), sequence.bounds):
        draw.line(line, fill=BOX, width=2)
    panel = Image.new("RGB", (width, room + 26), PAPER)
    panel.paste(picture, ((width - size[0]) // 2, 22))
    caption = f"{entry.camera.name}{', held out' if entry.camera.split == 'test' else ''}, frame {sequence.first_index}"
    colour = TEST if entry.camera.split == "test" else TRAIN
    ImageDraw.Draw(panel).text(((width - size[0]) // 2, 2), caption, fill=colour, font=_font(14))
    return panel


def _edges_in(camera: Camera, bounds: Bounds) -> list[list[tuple[float, float]]]:
    """The visible parts of the box's edges as polylines, pixels; edges are clipped where they pass the camera."""
    corners = _corners(bounds)
    along = np.linspace(0.0, 1.0, 65)[:, None]
    reach = 4.0 * max(camera.width, camera.height)
    runs: list[list[tuple[float, float]]] = []
    for a, b in EDGES:
        pixels, _ = project(camera, corners[a] * (1.0 - along) + corners[b] * along)
        run: list[tuple[float, float]] = []
        for x, y in pixels:
            if math.isfinite(x) and math.isfinite(y) and max(abs(x), abs(y)) < reach:
                run.append((float(x), float(y)))
                continue
            if len(run) > 1:
                runs.append(run)
            run = []
        if len(run) > 1:
            runs.append(run)
    return runs


def _corners(bounds: Bounds) -> np.ndarray:
    """(8, 3) corners, world; corner k is at the upper end in x, y, z where bit 0, 1, 2 of k is set."""
    return np.array([[(bounds.lower, bounds.upper)[k >> axis & 1][axis] for axis in range(3)] for k in range(8)])


def _frustum(camera: Camera, length: float) -> np.ndarray:
    """(5, 3) world: the camera's centre and the corners of its image at ``length`` along the axis."""
    x = (np.array([0.0, camera.width, camera.width, 0.0]) - camera.cx) / camera.fx
    y = (np.array([0.0, 0.0, camera.height, camera.height]) - camera.cy) / camera.fy
    local = length * np.stack((x, y, np.ones(4)), axis=1)
    return np.concatenate((camera.position[None], camera.position + local @ camera.rotation.T))


def _round(value: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is not above ``value``."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1.0, 2.0, 5.0) if step * power <= value * (1.0 + 1e-9))


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    try:
        return ImageFont.load_default(size)
    except (TypeError, ImportError):  # Pillow before 10.1, or without FreeType, has a font of one size only
        return ImageFont.load_default()
