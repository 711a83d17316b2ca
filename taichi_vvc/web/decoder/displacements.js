/**
 * The coding of displacements: what is left of them after prediction from their neighbours, coarse to fine.
 *
 * @module
 */

import { FIRST_STRIDE, LARGEST_MOTION, MOTION_SPACINGS, MOTION_WEIGHTS, ORDER } from "./constants.js";
import { SPATIAL, TEMPORAL } from "./constants.js";
import { DIRECTIONS } from "./contexts.js";
import { CorruptStream } from "./errors.js";
import { decodeIntegers } from "./integer_arrays.js";
import { LiveGrid } from "./live_set.js";

/** Number of the pass of a lattice node, by its indices modulo 8; and the spacing of each pass. */
const [NUMBERS, SPACINGS] = passes();
export { SPACINGS };

/** @returns {[Uint8Array, number[]]} */
function passes() {
  const numbers = new Uint8Array(FIRST_STRIDE ** 3);
  const spacings = [0];
  for (const spacing of MOTION_SPACINGS) {
    for (const parity of ORDER.slice(1)) {
      const first = [2, 1, 0].map((bit) => ((parity >> bit) & 1) * spacing);
      for (let z = first[0]; z < FIRST_STRIDE; z += 2 * spacing) {
        for (let y = first[1]; y < FIRST_STRIDE; y += 2 * spacing) {
          for (let x = first[2]; x < FIRST_STRIDE; x += 2 * spacing) numbers[(z * 8 + y) * 8 + x] = spacings.length;
        }
      }
      spacings.push(spacing);
    }
  }
  return [numbers, spacings];
}

/**
 * Decodes displacements.
 *
 * @param {Uint8Array} payload not empty
 * @param {number[]} size nodes of the lattice along x, y, z
 * @param {Uint8Array} known 1 for the nodes that are coded, in C order of (z, y, x)
 * @param {Int32Array | null} before the displacements of the frame before, null if it has none
 * @param {import("./grid_decoder.js").GridDecoder} grids
 * @returns {Int32Array} (mz, my, mx, 3): x, y, z; 0 at nodes that are not coded
 * @throws {CorruptStream}
 */
export function decodeMotion(payload, size, known, before, grids) {
  const [mode] = payload;
  const motion = new Int32Array(3 * known.length);
  if (mode !== SPATIAL && mode !== TEMPORAL) {
    fromGrid(payload, size, known, grids, motion);
  } else {
    if (mode === TEMPORAL && !before) {
      throw new CorruptStream("expected displacements without reference to the frame before, which has none");
    }
    const count = known.reduce((total, node) => total + node, 0);
    const [residuals] = decodeIntegers(payload.subarray(1), [3 * count]);
    let next = 0;
    for (let node = 0; node < known.length; node++) {
      if (!known[node]) continue;
      for (let axis = 0; axis < 3; axis++) motion[3 * node + axis] = residuals[next++];
    }
    addPredictions(motion, size, known);
    if (mode === TEMPORAL && before) {
      for (let k = 0; k < motion.length; k++) if (known[Math.floor(k / 3)]) motion[k] += before[k];
    }
  }
  if (motion.some((value) => value > LARGEST_MOTION || value < -LARGEST_MOTION)) {
    throw new CorruptStream(`expected displacements up to ${LARGEST_MOTION}, found larger ones`);
  }
  return motion;
}

/**
 * What the versions before 3 have: a payload like that of a grid.
 *
 * @param {Uint8Array} payload
 * @param {number[]} size
 * @param {Uint8Array} known
 * @param {import("./grid_decoder.js").GridDecoder} grids
 * @param {Int32Array} out
 */
function fromGrid(payload, [mx, my, mz], known, grids, out) {
  const live = new LiveGrid([mz, my, mx, 3]);
  const filled = live.region.slice(0, 8);
  for (let z = 0, node = 0; z < mz; z++) {
    for (let y = 0; y < my; y++) {
      for (let x = 0; x < mx; x++, node++) {
        if (!known[node]) continue;
        const k = filled[((z & 1) << 2) | ((y & 1) << 1) | (x & 1)]++;
        live.found[2 * k] = ((z + 1) * (my + 2) + y + 1) * (mx + 2) + x + 1;
        live.found[2 * k + 1] = (z << 20) | (y << 10) | x;
      }
    }
  }
  live.settle(filled);
  // A lattice may have a node more than fits the packed indices of grids.
  for (let r = 1; r <= live.count; r++) {
    const row = Math.floor(live.places[r] / (mx + 2));
    const z = Math.floor(row / (my + 2)) - 1;
    live.nodes[r] = (z * my + (row % (my + 2)) - 1) * mx + (live.places[r] % (mx + 2)) - 1;
  }
  const { count, indices, values } = grids.decode(payload, live, null, null);
  for (let k = 0; k < count; k++) out[indices[k]] = values[k];
}

/**
 * Turns differences to predictions into the values, pass after pass.
 *
 * @param {Int32Array} values (mz, my, mx, 3)
 * @param {number[]} size
 * @param {Uint8Array} known
 */
function addPredictions(values, [mx, my, mz], known) {
  const done = new Uint8Array(known.length);
  const near = new Neighbours([mx, my, mz], done);
  nodesOfPasses([mx, my, mz], known).forEach((own, number) => {
    const spacing = SPACINGS[number];
    for (const node of spacing ? own : []) {
      near.find(node, spacing);
      for (let axis = 0; axis < 3; axis++) values[3 * node + axis] += near.mean(values, axis);
    }
    for (const node of own) done[node] = 1;
  });
}

/**
 * The coded nodes of each pass.
 *
 * @param {number[]} size nodes of the lattice along x, y, z
 * @param {Uint8Array} coded
 */
export function nodesOfPasses([mx, my, mz], coded) {
  /** @type {number[][]} */
  const nodes = SPACINGS.map(() => []);
  for (let z = 0, node = 0; z < mz; z++) {
    for (let y = 0; y < my; y++) {
      for (let x = 0; x < mx; x++, node++) {
        if (coded[node]) nodes[NUMBERS[((z & 7) * FIRST_STRIDE + (y & 7)) * FIRST_STRIDE + (x & 7)]].push(node);
      }
    }
  }
  return nodes;
}

/** The known neighbours of a node of the lattice, one node after the other. */
export class Neighbours {
  /**
   * @param {number[]} size nodes of the lattice along x, y, z
   * @param {Uint8Array} known 1 for the nodes whose displacements are known
   */
  constructor(size, known) {
    this.size = size;
    this.known = known;
    /** How many there are, and the sum of their weights. */
    this.count = 0;
    this.total = 0;
    /** Where their displacements are, and what they weigh. */
    this.places = new Int32Array(DIRECTIONS.length);
    this.weights = new Int32Array(DIRECTIONS.length);
  }

  /** @param {number} node @param {number} spacing how far away along each axis */
  find(node, spacing) {
    const [mx, my, mz] = this.size;
    const x = node % mx;
    const y = Math.floor(node / mx) % my;
    const z = Math.floor(node / (mx * my));
    this.count = 0;
    this.total = 0;
    for (const { dz, dy, dx, sort } of DIRECTIONS) {
      const oz = z + spacing * dz;
      const oy = y + spacing * dy;
      const ox = x + spacing * dx;
      if (oz < 0 || oz >= mz || oy < 0 || oy >= my || ox < 0 || ox >= mx) continue;
      const other = (oz * my + oy) * mx + ox;
      if (!this.known[other]) continue;
      this.places[this.count] = 3 * other;
      this.weights[this.count++] = MOTION_WEIGHTS[sort];
      this.total += MOTION_WEIGHTS[sort];
    }
  }

  /** Their weighted sum. @param {Int32Array} values (mz, my, mx, 3) @param {number} axis */
  sum(values, axis) {
    let sum = 0;
    for (let k = 0; k < this.count; k++) sum += this.weights[k] * values[this.places[k] + axis];
    return sum;
  }

  /** Their rounded mean, 0 without any. @param {Int32Array} values @param {number} axis */
  mean(values, axis) {
    return this.total ? Math.floor((2 * this.sum(values, axis) + this.total) / (2 * this.total)) : 0;
  }
}
