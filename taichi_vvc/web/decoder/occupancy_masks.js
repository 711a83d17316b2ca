/**
 * Occupancy masks, coarse to fine: each pass is predicted from what is already known.
 *
 * Cells at multiples of 8 come first; then the spacing halves three times, and each time the seven new parity classes
 * are coded one after the other. Few cells are occupied. What one adds to the scores of others is therefore added there
 * when it becomes known, instead of being looked up by all cells.
 *
 * @module
 */

import {
  BINS,
  FIRST_STRIDE,
  MASK_COUNTS,
  MASK_KINDS,
  MASK_UNIT,
  MASK_WEIGHTS_INTER,
  MASK_WEIGHTS_KEY,
  MASK_WEIGHTS_MOVED,
  ORDER,
  SHARES,
} from "./constants.js";
import { DIRECTIONS, POSITION } from "./contexts.js";
import { RangeReader } from "./entropy.js";
import { CorruptStream } from "./errors.js";
import { TOTAL } from "./tables.js";

/**
 * A mask: 0 or 1 per cell in C order of (z, y, x), and its occupied cells as z << 20 | y << 10 | x, in any order.
 *
 * @typedef {{cells: Uint8Array, occupied: Int32Array}} Mask
 */

const HALF = BINS / 2;
const SHARE_BITS = Math.log2(SHARES);
// Where the weights of a kind of pass are: of known neighbours, then with a mask before also of its cell, of its
// neighbours at distance 1, and of its cells where the known neighbours are.
const [OF_NOW, OF_OWN, OF_NEAR, OF_THEN] = [1, 4, 5, 8];

/** @param {number} packed */
const zOf = (packed) => packed >> 20;
/** @param {number} packed */
const yOf = (packed) => (packed >> 10) & 1023;
/** @param {number} packed */
const xOf = (packed) => packed & 1023;
/** @param {number} packed */
const parityOf = (packed) => ((packed >> 18) & 4) | ((packed >> 9) & 2) | (packed & 1);

/** The cells at multiples of a spacing. */
class Level {
  /** @param {number[]} cells along x, y, z @param {number} spacing */
  constructor(cells, spacing) {
    this.spacing = spacing;
    this.size = cells.map((count) => Math.ceil(count / spacing));
    const [x, y, z] = this.size;
    // With one cell more on all sides, which nothing reads.
    this.strides = [(y + 2) * (x + 2), x + 2];
    this.score = new Int16Array((z + 2) * this.strides[0]);
  }

  /** @param {number} packed */
  place(packed) {
    return (zOf(packed) + 1) * this.strides[0] + (yOf(packed) + 1) * this.strides[1] + xOf(packed) + 1;
  }
}

/** Decodes the masks of a file. */
export class MaskDecoder {
  /** @param {number[]} cells along x, y, z */
  constructor(cells) {
    this.cells = cells;
    this.levels = [8, 4, 2, 1].map((spacing) => new Level(cells, spacing));
    const largest = cells.reduce((total, count) => total * Math.ceil(count / 2), 1);
    this.bins = new Uint8Array(largest);
    this.order = new Int32Array(largest);
    this.found = new Uint8Array(largest);
    /** The occupied cells of the level at hand. */
    this.list = new Int32Array(1024);
    this.count = 0;
    /** Counts of empty and of occupied cells, [kind][min(spacing, 2)]. @type {Float64Array[][][]} */
    this.counts = [];
  }

  /** Bytes that decoding a mask takes at most. @param {number[]} cells */
  static need(cells) {
    const padded = cells.reduce((total, count) => total * (count + 2), 1);
    return 10 * padded + 2 ** 16;
  }

  /**
   * Decodes a mask.
   *
   * @param {Uint8Array} payload
   * @param {Mask | null} previous the mask of the frame before
   * @param {(size: number) => Uint8Array} allocate zeros
   * @returns {Mask} the previous one itself where nothing has changed
   */
  decode(payload, previous, allocate) {
    const [cx, cy, cz] = this.cells;
    if (!payload.length) return previous ?? { cells: allocate(cx * cy * cz), occupied: new Int32Array(0) };
    const weights = previous ? MASK_WEIGHTS_INTER : MASK_WEIGHTS_KEY;
    return this.read(new RangeReader(payload), weights, previous && { cells: previous.occupied }, allocate);
  }

  /**
   * Decodes a mask by the mask before that has moved.
   *
   * @param {Uint8Array} payload a byte and words
   * @param {{cells: Int32Array, shares: Uint8Array}} moved
   * @param {(size: number) => Uint8Array} allocate zeros
   * @returns {Mask}
   */
  decodeMoved(payload, moved, allocate) {
    const weights = MASK_WEIGHTS_MOVED[payload[0]];
    if (!weights) {
      const last = MASK_WEIGHTS_MOVED.length - 1;
      throw new CorruptStream(`expected a mask's weight set in 0..${last}, found ${payload[0]}; the file is damaged`);
    }
    return this.read(new RangeReader(payload.subarray(1)), weights, moved, allocate);
  }

  /**
   * @param {RangeReader} reader
   * @param {any[][]} weights
   * @param {{cells: Int32Array, shares?: Uint8Array} | null} previous what is known of the mask before
   * @param {(size: number) => Uint8Array} allocate zeros
   * @returns {Mask}
   */
  read(reader, weights, previous, allocate) {
    const [cx, cy, cz] = this.cells;
    this.counts = weights.map((own) => own.map(() => MASK_COUNTS.map((counts) => Float64Array.from(counts))));
    this.count = 0;
    for (const level of this.levels) {
      level.score.fill(0);
      const first = level.spacing === FIRST_STRIDE;
      const known = this.count;
      // Positions in units of the spacing.
      for (let k = 0; k < known; k++) this.list[k] *= 2;
      if (previous) this.addPrevious(level, previous.cells, weights, previous.shares);
      if (previous?.shares) for (let k = 0; k < level.score.length; k++) level.score[k] >>= SHARE_BITS;
      if (first) {
        this.readPass(reader, level, 0, 3, weights, 1);
        continue;
      }
      this.spread(level, 0, 0, weights);
      for (let position = 1; position < 8; position++) {
        const before = this.count;
        this.readPass(reader, level, position, MASK_KINDS[position], weights, 2);
        if (position < 7) this.spread(level, position, before, weights);
      }
    }
    reader.finish();
    const cells = allocate(cx * cy * cz);
    const occupied = this.list.slice(0, this.count);
    for (let k = 0; k < occupied.length; k++) {
      cells[(zOf(occupied[k]) * cy + yOf(occupied[k])) * cx + xOf(occupied[k])] = 1;
    }
    return { cells, occupied };
  }

  /**
   * Adds what the mask before says.
   *
   * @param {Level} level
   * @param {Int32Array} occupied its cells
   * @param {any[][]} weights
   * @param {Uint8Array} [shares] how much of each cell it covers
   */
  addPrevious(level, occupied, weights, shares) {
    const { spacing, score } = level;
    const tables = Array.from({ length: 8 }, (_, parity) => previousWeights(level, parity, weights));
    if (spacing === 1) {
      for (let k = 0; k < occupied.length; k++) {
        const { own, offsets, values } = tables[parityOf(occupied[k])];
        const place = level.place(occupied[k]);
        const share = shares ? shares[k] : 1;
        score[place] += share * own;
        for (let n = 0; n < offsets.length; n++) score[place + offsets[n]] += share * values[n];
      }
      return;
    }
    const kinds = kindWeights(spacing, weights);
    const near = Int32Array.from({ length: 32 }, (_, k) => kinds[k & 7][(k >> 3 ? OF_NEAR - 1 : OF_OWN) + (k >> 3)]);
    const [slab, row] = level.strides;
    const last = spacing - 1;
    const shift = Math.log2(spacing);
    for (let k = 0; k < occupied.length; k++) {
      const cell = occupied[k];
      const share = shares ? shares[k] : 1;
      // Cells of this level at distance 1: along an axis this one, or else those at floor and ceiling, if that near.
      const z = zOf(cell);
      const y = yOf(cell);
      const x = xOf(cell);
      const rz = z & last;
      const ry = y & last;
      const rx = x & last;
      if ((rz > 1 && rz < last) || (ry > 1 && ry < last) || (rx > 1 && rx < last)) continue;
      const sort = (rz ? 1 : 0) + (ry ? 1 : 0) + (rx ? 1 : 0);
      for (let pz = (z + (rz > 1 ? 1 : 0)) >> shift; pz << shift <= z + 1; pz++) {
        if (Math.abs((pz << shift) - z) > (rz ? 1 : 0)) continue;
        for (let py = (y + (ry > 1 ? 1 : 0)) >> shift; py << shift <= y + 1; py++) {
          if (Math.abs((py << shift) - y) > (ry ? 1 : 0)) continue;
          for (let px = (x + (rx > 1 ? 1 : 0)) >> shift; px << shift <= x + 1; px++) {
            if (Math.abs((px << shift) - x) > (rx ? 1 : 0)) continue;
            const own = near[sort * 8 + (((pz & 1) << 2) | ((py & 1) << 1) | (px & 1))];
            score[(pz + 1) * slab + (py + 1) * row + px + 1] += share * own;
          }
        }
      }
      if (sort) continue;
      const packed = ((z >> shift) << 20) | ((y >> shift) << 10) | (x >> shift);
      const { offsets, values } = tables[parityOf(packed)];
      const place = level.place(packed);
      for (let n = 0; n < offsets.length; n++) score[place + offsets[n]] += share * values[n];
    }
  }

  /**
   * Adds to the scores of later passes what has become known.
   *
   * @param {Level} level
   * @param {number} position of the pass
   * @param {number} before cells in the list before it
   * @param {any[][]} weights
   */
  spread(level, position, before, weights) {
    const { score } = level;
    const { list } = this;
    const kinds = kindWeights(level.spacing, weights);
    const parity = ORDER[position];
    const later = DIRECTIONS.filter(({ pattern }) => POSITION[parity ^ pattern] > position);
    const near = later.map(({ dz, dy, dx, pattern, sort }) => ({
      offset: dz * level.strides[0] + dy * level.strides[1] + dx,
      value: kinds[parity ^ pattern][OF_NOW + sort],
    })).filter(({ value }) => value);
    const offsets = Int32Array.from(near, ({ offset }) => offset);
    const values = Int32Array.from(near, ({ value }) => value);
    for (let k = before; k < this.count; k++) {
      const place = level.place(list[k]);
      for (let n = 0; n < offsets.length; n++) score[place + offsets[n]] += values[n];
    }
  }

  /**
   * The cells of one pass; those that are occupied go into the list.
   *
   * @param {RangeReader} reader
   * @param {Level} level
   * @param {number} position
   * @param {number} kind
   * @param {any[][]} weights
   * @param {number} step from cell to cell along an axis
   */
  readPass(reader, level, position, kind, weights, step) {
    const group = Math.min(level.spacing, 2);
    const bias = weights[kind][group][0];
    const [empty, occupied] = this.counts[kind][group];
    const parity = ORDER[position];
    const [z0, y0, x0] = [(parity >> 2) & 1, (parity >> 1) & 1, parity & 1];
    const [nx, ny, nz] = level.size;
    const [slab, row] = level.strides;
    const { score } = level;
    const { bins, order, found } = this;
    const counts = new Int32Array(BINS);
    let cells = 0;
    for (let z = z0; z < nz; z += step) {
      for (let y = y0; y < ny; y += step) {
        const from = (z + 1) * slab + (y + 1) * row + 1;
        for (let x = x0; x < nx; x += step) {
          let bin = ((score[from + x] + bias) >> 3) + HALF;
          if (bin < 0) bin = 0;
          else if (bin >= BINS) bin = BINS - 1;
          bins[cells++] = bin;
          counts[bin] += 1;
        }
      }
    }
    const ends = new Int32Array(BINS);
    const tables = new Float64Array(3 * BINS);
    for (let bin = 0, end = 0; bin < BINS; bin++) {
      ends[bin] = end;
      end += counts[bin];
      const share = portion(occupied[bin], empty[bin] + occupied[bin]);
      tables[3 * bin + 1] = TOTAL - Math.min(Math.max(share, 1), TOTAL - 1);
      tables[3 * bin + 2] = TOTAL;
    }
    for (let i = 0; i < cells; i++) order[ends[bins[i]]++] = i;
    reader.groups(counts, tables, 3, order, found);
    const present = new Int32Array(BINS);
    let i = 0;
    for (let z = z0; z < nz; z += step) {
      for (let y = y0; y < ny; y += step) {
        const begin = (z << 20) | (y << 10);
        for (let x = x0; x < nx; x += step, i++) {
          if (!found[i]) continue;
          present[bins[i]] += 1;
          if (this.count === this.list.length) this.grow();
          this.list[this.count++] = begin | x;
        }
      }
    }
    for (let bin = 0; bin < BINS; bin++) {
      occupied[bin] += MASK_UNIT * present[bin];
      empty[bin] += MASK_UNIT * (counts[bin] - present[bin]);
    }
  }

  grow() {
    const { list } = this;
    this.list = new Int32Array(2 * list.length);
    this.list.set(list);
  }
}

/** (a << 24) // b of integers up to 2^33, exactly. @param {number} a @param {number} b */
export function portion(a, b) {
  const high = Math.floor((a * 4096) / b);
  return high * 4096 + Math.floor(((a * 4096 - high * b) * 4096) / b);
}

/** The weights of a cell of each parity class. @param {number} spacing @param {any[][]} weights */
function kindWeights(spacing, weights) {
  const group = Math.min(spacing, 2);
  return Array.from(POSITION, (position) => {
    const kind = spacing === FIRST_STRIDE ? 3 : position ? MASK_KINDS[position] : -1;
    // Nothing is added to cells that are known: the class of the coarser spacings.
    return kind < 0 ? new Array(11).fill(0) : weights[kind][group];
  });
}

/**
 * What a cell of the mask before adds to others: those at distance 1 where the spacing is 1, and later ones at the
 * distance of the spacing.
 *
 * @param {Level} level
 * @param {number} parity
 * @param {any[][]} weights
 */
function previousWeights(level, parity, weights) {
  const { spacing, strides } = level;
  const kinds = kindWeights(spacing, weights);
  const near = spacing === FIRST_STRIDE ? [] : DIRECTIONS.map(({ dz, dy, dx, pattern, sort }) => {
    const own = kinds[parity ^ pattern];
    const later = POSITION[parity ^ pattern] > POSITION[parity];
    const value = (spacing === 1 ? own[OF_NEAR + sort] : 0) + (later ? own[OF_THEN + sort] : 0);
    return { offset: dz * strides[0] + dy * strides[1] + dx, value };
  }).filter(({ value }) => value);
  return {
    own: kinds[parity][OF_OWN],
    offsets: Int32Array.from(near, ({ offset }) => offset),
    values: Int32Array.from(near, ({ value }) => value),
  };
}
