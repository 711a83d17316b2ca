/**
 * Vectors of three numbers, and rotations as nine numbers row by row.
 *
 * @module
 */

export { rotationOf } from "../decoder/rotations.js";

export const add = (a, b) => a.map((v, i) => v + b[i]);
export const subtract = (a, b) => a.map((v, i) => v - b[i]);
export const times = (a, s) => a.map((v) => v * s);
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const norm = (a) => Math.hypot(...a);
export const unit = (a) => times(a, 1 / Math.max(norm(a), 1e-30));
export const cross = (a, b) => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

/** A column of a rotation: where one of the camera's axes points. */
export const column = (rotation, axis) => [rotation[axis], rotation[3 + axis], rotation[6 + axis]];

/** The product of two rotations. */
export function multiply(a, b) {
  const found = [];
  for (let row = 0; row < 3; row++) {
    for (let k = 0; k < 3; k++) found.push(a[3 * row] * b[k] + a[3 * row + 1] * b[3 + k] + a[3 * row + 2] * b[6 + k]);
  }
  return found;
}

export const apply = (rotation, v) => [0, 1, 2].map((row) => dot(rotation.slice(3 * row, 3 * row + 3), v));

/** The rotation by an angle (radians) around a unit axis. */
export function turn(axis, angle) {
  const [x, y, z] = axis;
  const c = Math.cos(angle);
  const s = Math.sin(angle);
  const t = 1 - c;
  return [
    ...[t * x * x + c, t * x * y - s * z, t * x * z + s * y],
    ...[t * x * y + s * z, t * y * y + c, t * y * z - s * x],
    ...[t * x * z - s * y, t * y * z + s * x, t * z * z + c],
  ];
}

/** A rotation as a unit quaternion (w, x, y, z), w >= 0. */
export function quaternionOf(r) {
  const parts = [
    [1 + r[0] + r[4] + r[8], r[7] - r[5], r[2] - r[6], r[3] - r[1]],
    [r[7] - r[5], 1 + r[0] - r[4] - r[8], r[1] + r[3], r[2] + r[6]],
    [r[2] - r[6], r[1] + r[3], 1 - r[0] + r[4] - r[8], r[5] + r[7]],
    [r[3] - r[1], r[2] + r[6], r[5] + r[7], 1 - r[0] - r[4] + r[8]],
  ];
  const best = parts.reduce((a, b, i) => (b[i] > a.row[a.i] ? { row: b, i } : a), { row: parts[0], i: 0 }).row;
  const length = Math.hypot(...best) * (best[0] < 0 ? -1 : 1);
  return best.map((v) => v / length);
}
