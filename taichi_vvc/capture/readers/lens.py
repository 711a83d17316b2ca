"""Undistortion for lenses with k3, which :class:`taichi_vvc.types.Camera` cannot describe.

Their pictures are resampled to a pinhole camera when they are read.

The five-coefficient model of OpenCV's calibration: k1, k2, k3 radial, p1, p2 tangential, on normalised coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from taichi_vvc.errors import DataError
from taichi_vvc.geometry.projection import distortion_limit
from taichi_vvc.types import Camera

ROWS = 256  # output rows per pass, which limits the temporary memory for large pictures
ZOOM_STEP, ZOOM_LIMIT = 1.01, 1.6


@dataclass(frozen=True)
class Undistortion:
    """Resamples pictures of a distorting lens to those of a pinhole camera.

    Attributes:
        source: the calibrated camera, with its k1, k2, p1, p2.
        k3: the radial coefficient of the sixth power of the radius.
        camera: the pinhole camera of the results, of the same pose, size and principal point.
    """

    source: Camera
    k3: float
    camera: Camera

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Resamples a picture, (height, width, 4) uint8 with straight alpha, to :attr:`camera`; bilinear."""
        height, width = image.shape[:2]
        # Premultiplied alpha keeps the colour of transparent pixels out of the edges.
        planes = image.astype(np.float32)
        planes[..., :3] *= planes[..., 3:] / 255.0
        out = np.empty_like(image)
        columns = np.arange(width) + 0.5
        for top in range(0, height, ROWS):
            rows = np.arange(top, min(top + ROWS, height)) + 0.5
            x, y = self.stored_position(*np.meshgrid(columns, rows))
            block = _bilinear(planes, x - 0.5, y - 0.5)
            alpha = block[..., 3:]
            block[..., :3] *= 255.0 / np.where(alpha > 0.0, alpha, 255.0)
            out[top : top + ROWS] = np.rint(np.clip(block, 0.0, 255.0))
        return out

    def stored_position(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel positions in the stored picture of the rays through positions (x, y) of the pinhole camera."""
        c, s = self.camera, self.source
        u, v = (x - c.cx) / c.fx, (y - c.cy) / c.fy
        r2 = u * u + v * v
        radial = 1.0 + r2 * (s.k1 + r2 * (s.k2 + r2 * self.k3))
        ud = u * radial + 2.0 * s.p1 * u * v + s.p2 * (r2 + 2.0 * u * u)
        vd = v * radial + s.p1 * (r2 + 2.0 * v * v) + 2.0 * s.p2 * u * v
        return s.fx * ud + s.cx, s.fy * vd + s.cy


def undistortion(source: Camera, k3: float, where: str) -> Undistortion:
    """The resampling for a camera with ``k3``.

    The focal length is enlarged in steps of one percent until the lens has seen every resulting pixel. An unseen pixel
    at the border would count as background, and pixels beyond the fold of the distortion would show wrong content.

    Raises:
        DataError: the distortion is so strong that no such enlargement is found; ``where`` begins the message.
    """
    plain = replace(source, k1=0.0, k2=0.0, p1=0.0, p2=0.0)
    width, height = source.width, source.height
    along, down = np.linspace(0.0, width, 65), np.linspace(0.0, height, 65)
    x = np.concatenate((along, along, np.zeros(65), np.full(65, width)))
    y = np.concatenate((np.zeros(65), np.full(65, height), down, down))
    limit = distortion_limit(source, k3)
    farthest = float((((x - source.cx) / source.fx) ** 2 + ((y - source.cy) / source.fy) ** 2).max())
    zoom = 1.0
    while zoom <= ZOOM_LIMIT:
        if farthest / zoom**2 >= limit:
            zoom *= ZOOM_STEP
            continue
        lens = Undistortion(source, k3, replace(plain, fx=source.fx * zoom, fy=source.fy * zoom))
        a, b = lens.stored_position(x, y)
        if a.min() >= -0.5 and a.max() <= width + 0.5 and b.min() >= -0.5 and b.max() <= height + 0.5:
            return lens
        zoom *= ZOOM_STEP
    folds = ", which folds back inside the picture" if farthest / ZOOM_LIMIT**2 >= limit else ""
    raise DataError(
        f"{where}: expected a lens that can be undistorted, found k3 = {k3:g} with too strong a distortion{folds};"
        " check the calibration, or undistort first"
    )


def _bilinear(planes: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    height, width = planes.shape[:2]
    x, y = np.clip(x, 0.0, width - 1.0), np.clip(y, 0.0, height - 1.0)
    x0, y0 = np.minimum(x.astype(int), max(0, width - 2)), np.minimum(y.astype(int), max(0, height - 2))
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = (x - x0)[..., None].astype(np.float32), (y - y0)[..., None].astype(np.float32)
    top = planes[y0, x0] * (1.0 - fx) + planes[y0, x1] * fx
    bottom = planes[y1, x0] * (1.0 - fx) + planes[y1, x1] * fx
    return top * (1.0 - fy) + bottom * fy
