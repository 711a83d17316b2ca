"""Pixels to rays, in cell units: world coordinates minus the lower corner of the bounds, divided by the cell edge.

A camera is a row of floats, ``Camera`` of ``columns.py``; a ray is another, ``Ray``. Where the lens has no ray for a
pixel, its row is that of a ray that misses the bounds.
"""

from ._taichi import F32, I32, ti
from .columns import Camera, Ray
from .launch import kernel

NO_LIMIT = 1e30  # of a lens without a fold

# How far from a pixel its ray may land, in normalised coordinates and as a part of its radius: float32 of order 1.
_LANDING = 4e-6


@ti.func
def hash_u32(a: ti.u32, b: ti.u32, c: ti.u32) -> ti.u32:
    """A 32-bit mix of three counters (xor-multiply rounds): the same on every backend."""
    h = a * ti.u32(0x9E3779B1) ^ (b + ti.u32(0x7F4A7C15)) * ti.u32(0x85EBCA6B)
    h = (h ^ (h >> 16)) * ti.u32(0x7FEB352D)
    h = h ^ (c * ti.u32(0xC2B2AE35) + ti.u32(0x165667B1))
    h = (h ^ (h >> 15)) * ti.u32(0x846CA68B)
    h = (h ^ (h >> 13)) * ti.u32(0x27D4EB2F)
    return h ^ (h >> 16)


@ti.func
def uniform(a: ti.i32, b: ti.i32, c: ti.i32) -> ti.f32:
    """A uniform number in [0, 1) from three counters."""
    bits = hash_u32(ti.cast(a, ti.u32), ti.cast(b, ti.u32), ti.cast(c, ti.u32)) >> 8
    return ti.cast(bits, ti.f32) * (1.0 / 16777216.0)


@ti.func
def uniform_of_sixteen(a: ti.i32, b: ti.i32, first: ti.i32):
    """:func:`uniform` for the counters c = first .. first + 15 at once.

    In signed integers, since the compiler cannot cast vectors of unsigned ones: their constants less 2^32, shifted bits
    masked.
    """
    h = ti.cast(a, ti.u32) * ti.u32(0x9E3779B1) ^ (ti.cast(b, ti.u32) + ti.u32(0x7F4A7C15)) * ti.u32(0x85EBCA6B)
    h = (h ^ (h >> 16)) * ti.u32(0x7FEB352D)
    c = ti.Vector([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]) + first
    v = (c * -1028477387 + 374761393) ^ ti.cast(h, ti.i32)
    v = (v ^ ((v >> 15) & 0x1FFFF)) * -2073254261
    v = (v ^ ((v >> 13) & 0x7FFFF)) * 668265263
    v = v ^ ((v >> 16) & 0xFFFF)
    return (ti.Vector([0.0] * 16) + ((v >> 8) & 0xFFFFFF)) * (1.0 / 16777216.0)


@ti.func
def distort(x: ti.f32, y: ti.f32, k1: ti.f32, k2: ti.f32, p1: ti.f32, p2: ti.f32):
    """The Brown-Conrady model: ideal normalised coordinates to those that the lens produces."""
    r2 = x * x + y * y
    radial = 1.0 + r2 * (k1 + r2 * k2)
    dx = 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
    dy = p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y
    return x * radial + dx, y * radial + dy


@ti.func
def landing_error(
    x: ti.f32, y: ti.f32, xd: ti.f32, yd: ti.f32, k1: ti.f32, k2: ti.f32, p1: ti.f32, p2: ti.f32
) -> ti.f32:
    """How far from (xd, yd) a point lands."""
    ex, ey = distort(x, y, k1, k2, p1, p2)
    return ti.sqrt((ex - xd) * (ex - xd) + (ey - yd) * (ey - yd))


@ti.func
def descend(xd: ti.f32, yd: ti.f32, k1: ti.f32, k2: ti.f32, p1: ti.f32, p2: ti.f32, limit: ti.f32):
    """Invert the Brown-Conrady model by Newton's steps from the centre, halved where they lead away."""
    x = 0.0
    y = 0.0
    off = ti.sqrt(xd * xd + yd * yd)
    part = 1.0
    for _ in range(60):
        if off <= 1e-7:
            break
        r2 = x * x + y * y
        radial = 1.0 + r2 * (k1 + r2 * k2)
        slope = 2.0 * (k1 + 2.0 * r2 * k2)
        a = radial + slope * x * x + 2.0 * p1 * y + 6.0 * p2 * x
        b = slope * x * y + 2.0 * p1 * x + 2.0 * p2 * y
        d = radial + slope * y * y + 6.0 * p1 * y + 2.0 * p2 * x
        ex, ey = distort(x, y, k1, k2, p1, p2)
        ex -= xd
        ey -= yd
        det = ti.max(a * d - b * b, 1e-6)
        tx = x - part * (d * ex - b * ey) / det
        ty = y - part * (a * ey - b * ex) / det
        then = landing_error(tx, ty, xd, yd, k1, k2, p1, p2)
        if then < off and tx * tx + ty * ty < limit:
            x = tx
            y = ty
            off = then
            part = ti.min(1.0, 2.0 * part)
        else:
            part *= 0.5
    return x, y


@ti.func
def undistort(xd: ti.f32, yd: ti.f32, k1: ti.f32, k2: ti.f32, p1: ti.f32, p2: ti.f32):
    """Invert the Brown-Conrady model by fixed-point iteration on normalised coordinates."""
    x = xd
    y = yd
    if k1 != 0.0 or k2 != 0.0 or p1 != 0.0 or p2 != 0.0:
        for _ in range(20):
            r2 = x * x + y * y
            radial = 1.0 + r2 * (k1 + r2 * k2)
            dx = 2.0 * p1 * x * y + p2 * (r2 + 2.0 * x * x)
            dy = p1 * (r2 + 2.0 * y * y) + 2.0 * p2 * x * y
            x = (xd - dx) / radial
            y = (yd - dy) / radial
    return x, y


@ti.func
def slab(o: ti.f32, d: ti.f32, size: ti.f32):
    """Entry and exit distance of the slab [0, size] along one axis."""
    near = -1e30
    far = 1e30
    if ti.abs(d) > 1e-12:
        a = -o / d
        b = (size - o) / d
        near = ti.min(a, b)
        far = ti.max(a, b)
    elif o < 0.0 or o > size:
        near = 1e30
        far = -1e30
    return near, far


@kernel
def rays_of_pixels(
    count: ti.i32,
    strong: ti.template(),  # whether to invert the distortion by :func:`descend` rather than :func:`undistort`
    pixels: I32,  # (count,) index into all pixels of all cameras, row-major, camera after camera
    cameras: F32,  # (n_cameras * Camera.ROW,)
    first_pixel: I32,  # (n_cameras + 1,)
    n_cameras: ti.i32,
    size_x: ti.f32,  # bounds, cells
    size_y: ti.f32,
    size_z: ti.f32,
    limited: ti.template(),  # whether ``begin`` and ``end`` count
    begin: ti.f32,  # distance at which samples begin, cells
    end: ti.f32,  # distance at which they end, cells, wherever the bounds are; 0: where the ray leaves the bounds
    rays: F32,  # out (count * Ray.ROW,)
):
    """Rays through pixel centres, clipped to the bounds, or to distances.

    ``strong`` is for lenses that fold inside their pictures, or for which the fixed-point iteration does not converge:
    a pixel for which its lens has no ray gets one that misses the bounds.
    """
    for i in range(count):
        pixel = pixels[i]
        low = 0
        high = n_cameras
        while high - low > 1:
            middle = (low + high) // 2
            if first_pixel[middle] <= pixel:
                low = middle
            else:
                high = middle
        c = low * Camera.ROW
        local = pixel - first_pixel[low]
        width = ti.cast(cameras[c + Camera.IMAGE], ti.i32)
        row = local // width
        column = local - row * width
        xd = (ti.cast(column, ti.f32) + 0.5 - cameras[c + Camera.CENTRE]) / cameras[c + Camera.FOCAL]
        yd = (ti.cast(row, ti.f32) + 0.5 - cameras[c + Camera.CENTRE + 1]) / cameras[c + Camera.FOCAL + 1]
        lens = c + Camera.DISTORTION
        k1, k2, p1, p2 = cameras[lens], cameras[lens + 1], cameras[lens + 2], cameras[lens + 3]
        x = xd
        y = yd
        lands = 1
        if ti.static(strong):
            x, y = descend(xd, yd, k1, k2, p1, p2, cameras[c + Camera.LIMIT])
            if landing_error(x, y, xd, yd, k1, k2, p1, p2) > _LANDING * (1.0 + ti.sqrt(xd * xd + yd * yd)):
                lands = 0
        else:
            x, y = undistort(xd, yd, k1, k2, p1, p2)
        m = c + Camera.ROTATION
        dx = cameras[m] * x + cameras[m + 1] * y + cameras[m + 2]
        dy = cameras[m + 3] * x + cameras[m + 4] * y + cameras[m + 5]
        dz = cameras[m + 6] * x + cameras[m + 7] * y + cameras[m + 8]
        inverse = 1.0 / ti.sqrt(dx * dx + dy * dy + dz * dz)
        dx *= inverse
        dy *= inverse
        dz *= inverse
        ox = cameras[c + Camera.POSITION]
        oy = cameras[c + Camera.POSITION + 1]
        oz = cameras[c + Camera.POSITION + 2]
        nx, fx = slab(ox, dx, size_x)
        ny, fy = slab(oy, dy, size_y)
        nz, fz = slab(oz, dz, size_z)
        r = i * Ray.ROW
        rays[r + Ray.ORIGIN] = ox
        rays[r + Ray.ORIGIN + 1] = oy
        rays[r + Ray.ORIGIN + 2] = oz
        rays[r + Ray.DIRECTION] = dx
        rays[r + Ray.DIRECTION + 1] = dy
        rays[r + Ray.DIRECTION + 2] = dz
        rays[r + Ray.ENTRY] = ti.max(ti.max(nx, ny), ti.max(nz, 0.0))
        rays[r + Ray.EXIT] = ti.min(ti.min(fx, fy), fz)
        # Compiled in where it is asked for only: the compiler would round the rest otherwise.
        if ti.static(limited):
            rays[r + Ray.ENTRY] = ti.max(rays[r + Ray.ENTRY], begin)
            if end > 0.0:
                rays[r + Ray.ENTRY] = begin
                rays[r + Ray.EXIT] = end
        if lands == 0:
            rays[r + Ray.ENTRY] = 1e30
            rays[r + Ray.EXIT] = -1e30


@kernel
def pixels_of_detail(count: ti.i32, first: ti.i32, width: ti.i32, across: ti.i32, pixels: I32):
    """The pixels of a picture with ``across`` times the pixels along both sides, those within one pixel of the picture
    of this ``width`` together: ``count`` of them from those of pixel ``first`` on."""
    for i in range(count):
        pixel = first + i // (across * across)
        within = i % (across * across)
        row = pixel // width * across + within // across
        column = pixel % width * across + within % across
        pixels[i] = row * width * across + column


@kernel
def draw_pixels(
    count: ti.i32,
    candidates: I32,  # (n_candidates,) pixel indices, neighbours in a picture close together
    n_candidates: ti.i32,
    seed: ti.i32,
    step: ti.i32,
    pixels: I32,  # out (count,)
):
    """Draw a pixel from each of ``count`` equal parts of the candidates; the draw depends on (seed, step) only.

    Parts are neighbourhoods in a picture, so that a batch covers all pictures evenly, which takes most of the noise of
    drawing from its gradient. From step to step a part's draw moves on by the golden ratio of its length: few pixels
    are drawn again before most others were. Where candidates are fewer than draws, all of them are drawn in turn.
    """
    whole = n_candidates // count
    rest = n_candidates - whole * count
    for i in range(count):
        first = i * whole + ti.min(i, rest)
        length = whole + (1 if i < rest else 0)
        u = hash_u32(ti.cast(seed, ti.u32), ti.u32(0), ti.cast(i, ti.u32)) + ti.cast(step, ti.u32) * ti.u32(0x9E3779B9)
        within = ti.cast(ti.cast(u >> 8, ti.f32) * (1.0 / 16777216.0) * ti.cast(length, ti.f32), ti.i32)
        place = first + ti.min(within, length - 1)
        if whole == 0:
            place = i % n_candidates
        pixels[i] = candidates[place]


@kernel
def targets_of_pixels(
    count: ti.i32,
    pixels: I32,  # (count,)
    images: I32,  # (n_pixels,) RGBA packed little-endian, straight alpha
    red: ti.f32,
    green: ti.f32,
    blue: ti.f32,
    targets: F32,  # out (count * 4,) sRGB over the background, and the part of the background that shows through
):
    """What each ray should show, composited over the background colour."""
    for i in range(count):
        packed = ti.cast(images[pixels[i]], ti.u32)
        clear = 1.0 - ti.cast(packed >> 24, ti.f32) / 255.0
        for k in ti.static(range(3)):
            value = ti.cast((packed >> (8 * k)) & ti.u32(255), ti.f32) / 255.0
            fixed = red
            if k == 1:
                fixed = green
            if k == 2:
                fixed = blue
            targets[i * 4 + k] = value * (1.0 - clear) + fixed * clear
        targets[i * 4 + 3] = clear


@kernel
def encode_directions(
    count: ti.i32,
    rays: F32,  # (count * Ray.ROW,)
    octaves: ti.i32,
    encoded: F32,  # out (count * (3 + 6 * octaves),)
):
    """Positional encoding of the unit view direction: d, then sin and cos of 2^k d for each octave."""
    for i in range(count):
        width = 3 + 6 * octaves
        for k in ti.static(range(3)):
            d = rays[i * Ray.ROW + Ray.DIRECTION + k]
            encoded[i * width + k] = d
            sine = ti.sin(d)
            cosine = ti.cos(d)
            for j in range(octaves):
                encoded[i * width + 3 + j * 6 + k] = sine
                encoded[i * width + 6 + j * 6 + k] = cosine
                # Of twice the angle.
                doubled = 2.0 * sine * cosine
                cosine = 1.0 - 2.0 * sine * sine
                sine = doubled
