"""Draws triangles and Gaussian splats in NumPy, so that exports are compared with pictures of a field.

Nothing here is shared with the package but the camera's numbers. Colours are sRGB in [0, 1].
"""

from __future__ import annotations

import numpy as np

from taichi_vvc.types import Camera

_FINE = 2  # samples of a pixel's side


def draw_triangles(
    camera: Camera, vertices: np.ndarray, triangles: np.ndarray, colours: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(height, width, 3) premultiplied colours and (height, width) coverage of triangles with colours at their corners.

    ``vertices``: (n, 3) world; ``triangles``: (m, 3); ``colours``: (n, 3). Depth is compared at every sample.
    """
    fine = camera.resized(camera.width * _FINE, camera.height * _FINE)
    local = (vertices - camera.position) @ camera.rotation
    x, y = (local[:, 0] / local[:, 2] * fine.fx + fine.cx), (local[:, 1] / local[:, 2] * fine.fy + fine.cy)
    # In front of the camera, and seen from outside: y points down, so that these turn the other way.
    a, b, c = (triangles[:, corner] for corner in range(3))
    area = (x[b] - x[a]) * (y[c] - y[a]) - (x[c] - x[a]) * (y[b] - y[a])
    shown = (local[triangles, 2] > 1e-6).all(1) & (area < -1e-12)
    a, b, c, area = a[shown], b[shown], c[shown], area[shown]
    left = np.floor(np.minimum(np.minimum(x[a], x[b]), x[c]) - 0.5).astype(int) + 1
    right = np.floor(np.maximum(np.maximum(x[a], x[b]), x[c]) - 0.5).astype(int)
    top = np.floor(np.minimum(np.minimum(y[a], y[b]), y[c]) - 0.5).astype(int) + 1
    bottom = np.floor(np.maximum(np.maximum(y[a], y[b]), y[c]) - 0.5).astype(int)
    left, right = np.clip(left, 0, fine.width), np.clip(right, -1, fine.width - 1)
    top, bottom = np.clip(top, 0, fine.height), np.clip(bottom, -1, fine.height - 1)
    wide, high = np.maximum(right - left + 1, 0), np.maximum(bottom - top + 1, 0)
    count = wide * high
    owner = np.repeat(np.arange(len(a)), count)
    place = np.arange(owner.size) - np.repeat(np.cumsum(count) - count, count)
    column, row = left[owner] + place % wide[owner], top[owner] + place // wide[owner]
    px, py = column + 0.5, row + 0.5
    a, b, c, area = a[owner], b[owner], c[owner], area[owner]
    u = ((x[c] - x[b]) * (py - y[b]) - (px - x[b]) * (y[c] - y[b])) / area
    v = ((x[a] - x[c]) * (py - y[c]) - (px - x[c]) * (y[a] - y[c])) / area
    weights = np.stack((u, v, 1.0 - u - v), 1)
    inside = (weights >= 0.0).all(1)
    corners, weights = np.stack((a, b, c), 1)[inside], weights[inside]
    # Linear in the world: divided by the depth.
    weights = weights / local[corners, 2]
    depth = 1.0 / weights.sum(1)
    pixel = row[inside] * fine.width + column[inside]
    order = np.lexsort((depth, pixel))
    first = order[np.concatenate(([True], np.diff(pixel[order]) > 0))] if order.size else order
    picture = np.zeros((fine.height * fine.width, 4))
    picture[pixel[first], :3] = np.einsum("nk,nkc->nc", weights[first], colours[corners[first]]) * depth[first, None]
    picture[pixel[first], 3] = 1.0
    picture = picture.reshape(camera.height, _FINE, camera.width, _FINE, 4).mean((1, 3))
    return picture[..., :3], picture[..., 3]


def draw_splats(
    camera: Camera,
    centres: np.ndarray,
    rotations: np.ndarray,
    scales: np.ndarray,
    opacities: np.ndarray,
    colours: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`draw_triangles`, for Gaussians as arXiv 2308.04079 draws them: sorted, blended in screen space.

    ``centres``: (n, 3) world; ``rotations``: (n, 3, 3); ``scales``: (n, 3) standard deviations, world; ``opacities``:
    (n,) in [0, 1]; ``colours``: (n, 3).
    """
    local = (centres - camera.position) @ camera.rotation
    order = np.argsort(local[:, 2])
    order = order[local[order, 2] > 1e-3]
    local, depth = local[order], local[order, 2]
    turned = camera.rotation.T @ rotations[order] * scales[order][:, None, :]
    jacobian = np.zeros((len(order), 2, 3))
    jacobian[:, 0, 0], jacobian[:, 1, 1] = camera.fx / depth, camera.fy / depth
    jacobian[:, 0, 2] = -camera.fx * local[:, 0] / depth**2
    jacobian[:, 1, 2] = -camera.fy * local[:, 1] / depth**2
    half = jacobian @ turned
    # The reference widens every splat by this much, so that none falls between pixels.
    spread = half @ half.transpose(0, 2, 1) + 0.3 * np.eye(2)
    inverse = np.linalg.inv(spread)
    x, y = local[:, 0] / depth * camera.fx + camera.cx, local[:, 1] / depth * camera.fy + camera.cy
    reach = np.ceil(3.0 * np.sqrt(np.stack((spread[:, 0, 0], spread[:, 1, 1]), 1))).astype(int)
    side = 2 * reach + 1
    count = side.prod(1)
    owner = np.repeat(np.arange(len(order)), count)
    place = np.arange(owner.size) - np.repeat(np.cumsum(count) - count, count)
    column = np.floor(x).astype(int)[owner] - reach[owner, 0] + place % side[owner, 0]
    row = np.floor(y).astype(int)[owner] - reach[owner, 1] + place // side[owner, 0]
    kept = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    owner, column, row = owner[kept], column[kept], row[kept]
    dx, dy = column + 0.5 - x[owner], row + 0.5 - y[owner]
    power = inverse[owner, 0, 0] * dx * dx + 2 * inverse[owner, 0, 1] * dx * dy + inverse[owner, 1, 1] * dy * dy
    alpha = np.minimum(0.99, opacities[order][owner] * np.exp(-0.5 * power))
    kept = alpha > 1 / 255
    owner, alpha, pixel = owner[kept], alpha[kept], (row * camera.width + column)[kept]
    # Owners ascend by depth, and the sort keeps their order within a pixel.
    by_pixel = np.argsort(pixel, kind="stable")
    owner, alpha, pixel = owner[by_pixel], alpha[by_pixel], pixel[by_pixel]
    passed = np.concatenate(([0.0], np.cumsum(np.log1p(-alpha))))[:-1]
    begins = np.concatenate(([True], np.diff(pixel) > 0))
    passed = np.exp(passed - passed[np.maximum.accumulate(np.where(begins, np.arange(len(pixel)), 0))])
    weight = passed * alpha
    size = camera.height * camera.width
    coverage = np.bincount(pixel, weight, size)
    shown = [np.bincount(pixel, weight * colours[order][owner, channel], size) for channel in range(3)]
    shape = camera.height, camera.width
    return np.stack(shown, 1).reshape(*shape, 3), coverage.reshape(shape)


def psnr_of_subject(
    drawn: tuple[np.ndarray, np.ndarray], colour: np.ndarray, opacity: np.ndarray, background: tuple[float, ...]
) -> float:
    """dB between a drawing and a picture over ``background``, on the pixels that either of them shows a subject in."""
    behind = np.asarray(background)
    mine = drawn[0] + (1.0 - drawn[1][..., None]) * behind
    pixels = (opacity > 0.05) | (drawn[1] > 0.05)
    return float(-10.0 * np.log10(np.mean((mine - colour)[pixels] ** 2)))
