/**
 * Contexts of grid symbols: what of its surroundings decides how a symbol is coded.
 *
 * A grid is coded in eight passes, one per parity class of its nodes; within a pass channel by channel. Every symbol
 * gets an activity, a weighted sum of known magnitudes, which selects a frequency table.
 *
 * @module
 */

import { KINDS, ORDER, SIGN_THRESHOLDS, SIGN_WEIGHTS, THRESHOLDS } from "./constants.js";

/** @typedef {import("./live_set.js").LiveGrid} LiveGrid */
/** @typedef {(typeof import("./context_weights.js").SETS)[number]} WeightSet */

/** Tables per grid: table k holds the symbols whose activity reaches k of the thresholds. */
export const TABLES = THRESHOLDS.length + 1;
/** Classes of sign contexts; in class 0 nothing is predicted. */
export const SIGN_CLASSES = SIGN_THRESHOLDS.length + 1;
/** An activity >> 3 that reaches all thresholds. */
export const LARGEST_ACTIVITY = THRESHOLDS[THRESHOLDS.length - 1];

/** @param {number} value @param {number[]} thresholds */
const reached = (value, thresholds) => thresholds.filter((threshold) => value >= threshold).length;

/** The table of an activity >> 3. */
export const TABLE_OF = Uint8Array.from({ length: LARGEST_ACTIVITY + 1 }, (_, level) => reached(level, THRESHOLDS));

/** Position in ORDER of each parity class. */
export const POSITION = Uint8Array.from({ length: 8 }, (_, parity) => ORDER.indexOf(parity));

/** Kind of pass of each parity class. */
export const KIND_OF = Uint8Array.from({ length: 8 }, (_, parity) => KINDS[POSITION[parity]]);

/** The 26 directions to neighbours, with the axes in which they differ as bits (2 is z), and their sort. */
export const DIRECTIONS = Array.from({ length: 27 }, (_, k) => [Math.floor(k / 9), Math.floor(k / 3) % 3, k % 3])
  .map(([z, y, x]) => ({ dz: z - 1, dy: y - 1, dx: x - 1 }))
  .map((offset) => ({ ...offset, pattern: (offset.dz & 1) * 4 + (offset.dy & 1) * 2 + (offset.dx & 1) }))
  .filter(({ pattern }) => pattern)
  .map((direction) => ({ ...direction, sort: [1, 2, 4].filter((bit) => direction.pattern & bit).length - 1 }));

/**
 * The neighbours that predict signs in a pass: offsets of places, and weights.
 *
 * @param {LiveGrid} live
 * @param {number} position
 */
export function signNeighbours(live, position) {
  const weights = SIGN_WEIGHTS[KINDS[position]];
  const known = DIRECTIONS.filter(({ pattern }) => POSITION[ORDER[position] ^ pattern] < position);
  const near = known.filter(({ sort }) => weights[sort]);
  return {
    offsets: Int32Array.from(near, ({ dz, dy, dx }) => live.offset(dz, dy, dx)),
    weights: Int32Array.from(near, ({ sort }) => weights[sort]),
  };
}

/**
 * The neighbours in later passes to whose contexts a pass adds: those of the same channel, and of all.
 *
 * @param {LiveGrid} live
 * @param {number} position
 * @param {WeightSet} chosen
 */
export function receivers(live, position, chosen) {
  const later = DIRECTIONS.filter(({ pattern }) => POSITION[ORDER[position] ^ pattern] > position).map((direction) => ({
    ...direction,
    known: chosen.kinds[KIND_OF[ORDER[position] ^ direction.pattern]].known,
  }));
  const own = later.filter(({ known, sort }) => known[sort]);
  const all = later.filter(({ known, sort }) => known[3 + sort]);
  return {
    own: Int32Array.from(own, ({ dz, dy, dx }) => live.offset(dz, dy, dx)),
    ownWeights: Int32Array.from(own, ({ known, sort }) => known[sort]),
    all: Int32Array.from(all, ({ dz, dy, dx }) => live.offset(dz, dy, dx)),
    allSorts: Uint8Array.from(all, ({ sort }) => sort),
  };
}
