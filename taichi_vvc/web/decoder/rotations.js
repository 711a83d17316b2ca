/**
 * Rotations as nine numbers row by row, from quaternions.
 *
 * @module
 */

/**
 * The rotation matrix of a quaternion (w, x, y, z) of any length but 0, row by row.
 *
 * @param {number[]} quaternion
 * @returns {number[]}
 */
export function rotationOf(quaternion) {
  const length = Math.hypot(...quaternion);
  const [w, x, y, z] = quaternion.map((part) => part / length);
  return [
    ...[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
    ...[2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
    ...[2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
  ];
}
