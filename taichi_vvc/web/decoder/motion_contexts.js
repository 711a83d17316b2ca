/**
 * The coding of displacements since version 8: differences to predictions, in contexts of what neighbours differ by.
 *
 * @module
 */

import {
  LARGEST_MOTION,
  MOTION_BINS,
  MOTION_COUNTS,
  MOTION_ESCAPES,
  MOTION_FIRST,
  MOTION_LATER,
  MOTION_OFFSETS,
  MOTION_SIGN,
  MOTION_THRESHOLDS,
  MOTION_UNIT,
  SPATIAL_CONTEXTS,
  TEMPORAL_CONTEXTS,
} from "./constants.js";
import { Neighbours, nodesOfPasses, SPACINGS } from "./displacements.js";
import { RangeReader } from "./entropy.js";
import { CorruptStream } from "./errors.js";
import { portion } from "./occupancy_masks.js";
import { ESCAPE, readEscapes } from "./small_integers.js";
import { signTables, STRIDE, writeMagnitudes } from "./tables.js";

const SIGN_TABLES = signTables([MOTION_SIGN]);

/** Whether displacements are coded so, and come before the mask. @param {Uint8Array} payload */
export const inContexts = (payload) => payload[0] === SPATIAL_CONTEXTS || payload[0] === TEMPORAL_CONTEXTS;

/**
 * Decodes displacements.
 *
 * @param {Uint8Array} payload
 * @param {number[]} size nodes of the lattice along x, y, z
 * @param {Uint8Array} coded 1 for the nodes that are coded, in C order of (z, y, x)
 * @param {Int32Array | null} before the displacements of the frame before, null if it has none
 * @returns {Int32Array} (mz, my, mx, 3): x, y, z; 0 at nodes that are not coded
 * @throws {CorruptStream}
 */
export function decodeContexts(payload, size, coded, before) {
  const temporal = payload[0] === TEMPORAL_CONTEXTS;
  if (temporal && !before) {
    throw new CorruptStream("expected displacements without reference to the frame before, which has none");
  }
  const reader = new RangeReader(payload.subarray(1));
  const motion = new Int32Array(3 * coded.length);
  const counts = MOTION_COUNTS.map((own) => Float64Array.from(own));
  const done = new Uint8Array(coded.length);
  const near = new Neighbours(size, done);
  nodesOfPasses(size, coded).forEach((own, number) => {
    if (!own.length) return;
    const pass = new Pass(own.length);
    own.forEach((node, k) => pass.expect(k, node, SPACINGS[number], motion, near));
    pass.read(reader, counts);
    own.forEach((node, k) => {
      for (let axis = 0; axis < 3; axis++) {
        motion[3 * node + axis] = pass.predicted[3 * k + axis] + pass.values[3 * k + axis];
      }
      done[node] = 1;
    });
  });
  reader.finish();
  if (temporal && before) {
    for (let k = 0; k < motion.length; k++) if (coded[Math.floor(k / 3)]) motion[k] += before[k];
  }
  if (motion.some((value) => value > LARGEST_MOTION || value < -LARGEST_MOTION)) {
    throw new CorruptStream(`expected displacements up to ${LARGEST_MOTION}, found larger ones`);
  }
  return motion;
}

/** One pass over the coded lattice nodes: three numbers of each. */
class Pass {
  /** @param {number} count nodes */
  constructor(count) {
    this.predicted = new Int32Array(3 * count);
    this.values = new Int32Array(3 * count);
    this.bins = new Uint8Array(3 * count).fill(MOTION_BINS - 1);
    /** The signs that rounding says, 0 for none. */
    this.signs = new Int8Array(3 * count);
  }

  /**
   * Finds the prediction, bins and signs of a node.
   *
   * @param {number} k its position in the pass
   * @param {number} node
   * @param {number} spacing of the pass
   * @param {Int32Array} motion
   * @param {Neighbours} near those of earlier passes
   */
  expect(k, node, spacing, motion, near) {
    if (!spacing) return;
    near.find(node, spacing);
    const { count, total, places, weights } = near;
    if (!total) return;
    for (let axis = 0; axis < 3; axis++) {
      const predicted = near.mean(motion, axis);
      let apart = 0;
      for (let n = 0; n < count; n++) apart += weights[n] * Math.abs(motion[places[n] + axis] - predicted);
      apart = Math.floor((16 * apart) / total);
      const reached = MOTION_THRESHOLDS.filter((threshold) => apart >= threshold).length;
      this.predicted[3 * k + axis] = predicted;
      this.bins[3 * k + axis] = Math.min(reached + MOTION_OFFSETS[spacing], MOTION_BINS - 2);
      this.signs[3 * k + axis] = Math.sign(near.sum(motion, axis) - predicted * total);
    }
  }

  /**
   * Reads the differences to the predictions.
   *
   * @param {RangeReader} reader
   * @param {Float64Array[]} counts of others and of zeros, per bin; they learn
   */
  read(reader, [others, zeros]) {
    const { bins, values, signs } = this;
    const sizes = new Int32Array(MOTION_BINS);
    const tables = new Float64Array(MOTION_BINS * STRIDE);
    for (const bin of bins) sizes[bin] += 1;
    const ends = new Int32Array(MOTION_BINS);
    for (let bin = 0, end = 0; bin < MOTION_BINS; bin++) {
      ends[bin] = end;
      end += sizes[bin];
      const zero = portion(zeros[bin], others[bin] + zeros[bin]);
      writeMagnitudes(tables, bin * STRIDE, zero, MOTION_FIRST[bin], MOTION_LATER[bin]);
    }
    const order = new Int32Array(bins.length);
    bins.forEach((bin, i) => (order[ends[bin]++] = i));
    const found = new Uint8Array(bins.length);
    reader.groups(sizes, tables, STRIDE, order, found);
    found.forEach((value, i) => {
      values[i] = value;
      (value ? others : zeros)[bins[i]] += MOTION_UNIT;
    });
    /** @type {number[]} */
    const large = [];
    found.forEach((value, i) => value === ESCAPE && large.push(i));
    if (large.length) {
      readEscapes(reader, large.length, MOTION_ESCAPES).forEach((value, k) => (values[large[k]] = value));
    }
    /** @type {number[][]} those without an expected sign, and with one */
    const nonzero = [[], []];
    values.forEach((value, i) => value && nonzero[signs[i] ? 1 : 0].push(i));
    const [plain, said] = nonzero;
    reader.symbols(said.length, SIGN_TABLES.subarray(3, 6)).forEach((right, k) => {
      values[said[k]] *= right ? signs[said[k]] : -signs[said[k]];
    });
    reader.raw(plain.length, 1).forEach((negative, k) => {
      if (negative) values[plain[k]] *= -1;
    });
  }
}
