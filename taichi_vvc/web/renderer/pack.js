/**
 * Turns decoded frames into what textures are filled with, in buffers that can be handed from the worker to the page.
 *
 * Symbols go into textures as they are: as signed bytes where all of a grid's are at most 127 in magnitude, else as half
 * floats, which are exact up to 2048. The shader multiplies by the step.
 *
 * @module
 */

import { distancesOf } from "./distances.js";
import { nodesOf, packWeights } from "./plan.js";

/** The largest magnitude that a signed normalised byte holds as it is. */
export const MOST = 127;
/** The largest finite half float is 65504; larger symbols are divided by a power of two. */
const MOST_HALF = 32768;

/**
 * A frame as textures take it.
 *
 * @typedef {object} Packed
 * @property {number} number
 * @property {ArrayBuffer} buffer all arrays below lie in it
 * @property {{at: number, length: number, wide: boolean}[]} grids bytes of each grid's texture
 * @property {{at: number, length: number}} distances one byte per cell
 * @property {{at: number, length: number}} weights bytes of float32 numbers
 * @property {number[]} scales per grid: what a texture's value is multiplied by to be a grid's value less its offset
 * @property {number} group
 * @property {number} [level] the quality that it is of, where there are several; 0 is the lowest
 * @property {import("../decoder/types.js").Camera[]} cameras
 * @property {import("../decoder/types.js").ColourMap[]} colours
 */

/** Packs the frames of one file; keeps buffers that have come back for the frames to come. */
export class Packer {
  /** @param {import("./plan.js").Plan} plan */
  constructor(plan) {
    this.plan = plan;
    this.free = [];
    this.mask = null;
    const [nx, ny, nz] = plan.layout.occupancy;
    this.distances = new Uint8Array(nx * ny * nz);
  }

  /** Takes back a buffer of a frame that is no longer needed. */
  give(buffer) {
    if (this.free.length < 4) this.free.push(buffer);
  }

  /** A buffer of so many bytes: one that has come back, or a new one. */
  buffer(bytes) {
    const found = this.free.findIndex((buffer) => buffer.byteLength === bytes);
    if (found >= 0) return this.free.splice(found, 1)[0];
    this.free.length = 0;
    return new ArrayBuffer(bytes);
  }

  /**
   * @param {import("../decoder/types.js").Frame} frame
   * @returns {Packed} whose `buffer` is to be transferred
   */
  pack(frame) {
    const { plan } = this;
    const wide = frame.symbols.map((symbols) => largest(symbols) > MOST);
    let length = 0;
    const room = (bytes) => {
      const at = length;
      length += Math.ceil(bytes / 16) * 16;
      return { at, length: bytes };
    };
    const grids = plan.grids.map((grid, i) => ({
      ...room(4 * nodesOf(grid) * grid.slabs.length * (wide[i] ? 2 : 1)),
      wide: wide[i],
    }));
    const distances = room(this.distances.length);
    const weights = room(16 * plan.weights);
    const buffer = this.buffer(length);
    const scales = plan.grids.map((grid, i) => {
      const { at, length: bytes } = grids[i];
      const step = frame.group.steps[i];
      if (!wide[i]) {
        packBytes(grid, frame.symbols[i], new Int8Array(buffer, at, bytes));
        return MOST * step;
      }
      let unit = 1;
      while (largest(frame.symbols[i]) > MOST_HALF * unit) unit *= 2;
      packHalves(grid, frame.symbols[i], new Uint16Array(buffer, at, bytes / 2), unit);
      return unit * step;
    });
    new Uint8Array(buffer, distances.at, distances.length).set(this.distancesIn(frame.occupancy));
    packWeights(plan, frame.group.mlp, new Float32Array(buffer, weights.at, 4 * plan.weights));
    const { cameras, number } = frame;
    const { number: group, colours = [] } = frame.group;
    return { number, buffer, grids, distances, weights, scales, group, cameras, colours };
  }

  /** Distances change with the mask only, and masks often stay. */
  distancesIn(mask) {
    if (this.mask === null || !same(this.mask, mask)) {
      distancesOf(mask, this.plan.layout.occupancy, this.distances);
      this.mask = this.mask ?? new Uint8Array(mask.length);
      this.mask.set(mask);
    }
    return this.distances;
  }
}

function same(a, b) {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function largest(symbols) {
  let most = 0;
  for (let i = 0; i < symbols.length; i++) {
    const s = symbols[i];
    if (s > most) most = s;
    else if (-s > most) most = -s;
  }
  return most;
}

function packBytes(grid, symbols, target) {
  const nodes = nodesOf(grid);
  const { channels } = grid;
  let at = 0;
  for (const slab of grid.slabs) {
    if (slab.channels === 4) {
      for (let n = 0, from = slab.first; n < nodes; n++, from += channels, at += 4) {
        target[at] = symbols[from];
        target[at + 1] = symbols[from + 1];
        target[at + 2] = symbols[from + 2];
        target[at + 3] = symbols[from + 3];
      }
    } else {
      for (let n = 0, from = slab.first; n < nodes; n++, from += channels, at += 4) {
        for (let c = 0; c < 4; c++) target[at + c] = c < slab.channels ? symbols[from + c] : 0;
      }
    }
  }
}

function packHalves(grid, symbols, target, unit) {
  const nodes = nodesOf(grid);
  let at = 0;
  for (const slab of grid.slabs) {
    for (let n = 0, from = slab.first; n < nodes; n++, from += grid.channels, at += 4) {
      for (let c = 0; c < 4; c++) target[at + c] = c < slab.channels ? half(symbols[from + c] / unit) : 0;
    }
  }
}

const one = new Float32Array(1);
const bits = new Uint32Array(one.buffer);

/** The bits of the half float nearest to a number of magnitude 0 or 2^-14..65504; ties away from zero. */
export function half(value) {
  if (value === 0) return 0;
  one[0] = value;
  const whole = bits[0];
  const sign = (whole >>> 16) & 0x8000;
  // Rounded at the bit below the ten that are kept; a carry raises the exponent, as it should.
  const rounded = (whole & 0x7fffffff) + 0x1000;
  return sign | ((rounded - 0x38000000) >>> 13);
}
