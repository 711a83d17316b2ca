/**
 * Cameras as the shader takes them, and the sizes of their pictures.
 *
 * @module
 */

const NO_LIMIT = 1e30;
/** A coefficient below it does nothing at any radius, and quotients by it overflow. */
const NEGLIGIBLE = 1e-60;

/**
 * The camera with a picture of another size, which shows the whole of the old picture, centred.
 *
 * @param {import("../decoder/types.js").Camera} camera
 * @param {number} width pixels
 * @param {number} height
 * @returns {import("../decoder/types.js").Camera}
 */
export function fitted(camera, width, height) {
  const scale = Math.min(width / camera.width, height / camera.height);
  return {
    ...camera,
    width,
    height,
    fx: camera.fx * scale,
    fy: camera.fy * scale,
    cx: (camera.cx - camera.width / 2) * scale + width / 2,
    cy: (camera.cy - camera.height / 2) * scale + height / 2,
  };
}

/**
 * The squared radius of the largest disc around the centre on which a lens can be inverted: beyond it pictures fold
 * back. Without a fold it is a very large number.
 *
 * @param {number[]} distortion k1, k2, p1, p2
 */
export function distortionLimit(distortion) {
  const [k1, k2] = distortion.map((k) => (Math.abs(k) >= NEGLIGIBLE ? k : 0));
  const tilt = Math.hypot(distortion[2], distortion[3]);
  // Along the direction in which it is least, the determinant as a function of the radius t; see the Python module
  // geometry/projection.py. With x = tilt t it is a quadratic of the cosine c of the angle to (p2, p1).
  const determinant = (t) => {
    const s = t * t;
    const along = 1 + s * (3 * k1 + 5 * k2 * s);
    const across = 1 + s * (k1 + k2 * s);
    const x = tilt * t;
    let c = -1;
    if (x > 0) c = Math.max(-1, Math.min(1, -(along + 3 * across) / (16 * x)));
    return along * across - 4 * x * x + (2 * along + 6 * across) * x * c + 16 * x * x * c * c;
  };
  if (k1 === 0 && k2 === 0 && tilt < NEGLIGIBLE) return NO_LIMIT;
  // The first root, by steps that grow with the radius, then by halving.
  let low = 0;
  let high = 1e-3;
  while (determinant(high) > 0) {
    low = high;
    high *= 1.002;
    if (high > 1e6) return NO_LIMIT;
  }
  for (let i = 0; i < 60; i++) {
    const middle = 0.5 * (low + high);
    if (determinant(middle) > 0) low = middle;
    else high = middle;
  }
  return low * low;
}

/** Vectors of the shader's `view`, besides the scales of the grids. */
export const VIEW_ROWS = 11;

/** What a picture shows. */
export const MODES = { colour: 0, depth: 1, opacity: 2, distance: 3 };

/** What a distance of all ones stands for in pictures of the mode `distance`, world units, for a scene of this size. */
export function farthest(layout) {
  return layout.cell * Math.max(...layout.occupancy) * 64;
}

/**
 * Fills the shader's `view` for a picture.
 *
 * @param {Float32Array} view
 * @param {import("../decoder/types.js").Header} header
 * @param {object} look
 * @param {import("../decoder/types.js").Camera} look.camera with the size of the picture
 * @param {import("../decoder/types.js").ColourMap} [look.colours]
 * @param {number[]} [look.background] sRGB in 0..1; by default the file's
 * @param {string} [look.mode] a name of MODES
 * @param {number[]} [look.range] distances that the mode `depth` shows lightest and darkest, world units
 */
export function fillView(view, header, look) {
  const { layout } = header;
  const { camera, colours, background = header.background, mode = "colour", range = [0, 1] } = look;
  const { cell, lower, shell } = layout;
  for (let axis = 0; axis < 3; axis++) {
    view[axis] = (camera.position[axis] - lower[axis]) / cell + shell[axis];
    for (let column = 0; column < 3; column++) view[4 + 4 * axis + column] = camera.rotation[3 * axis + column];
    view[28 + axis] = background[axis];
    view[32 + axis] = colours ? colours.gain[axis] : 1;
    view[36 + axis] = colours ? colours.offset[axis] : 0;
  }
  view[3] = MODES[mode];
  view[16] = camera.fx;
  view[17] = camera.fy;
  view[18] = camera.cx;
  view[19] = camera.cy;
  const distortion = camera.distortion ?? [0, 0, 0, 0];
  view.set(distortion, 20);
  const bent = distortion.some((k) => k !== 0);
  view[24] = bent ? Math.min(distortionLimit(distortion), NO_LIMIT) : NO_LIMIT;
  view[25] = bent ? 1 : 0;
  view[26] = range[0];
  view[27] = range[1];
  view[31] = colours?.backdrop ? 1 : 0;
  view[35] = colours ? 1 : 0;
  view[39] = 1 / farthest(layout);
  view[40] = camera.width;
  view[41] = camera.height;
}
