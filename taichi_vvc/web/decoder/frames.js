/**
 * From a frame's payloads to its symbols: masks, live sets, motion, residuals, and the sum with the frame before.
 *
 * @module
 */

import { NOTHING_CODED } from "./constants.js";
import { decodeMotion } from "./displacements.js";
import { CorruptStream } from "./errors.js";
import { GridDecoder } from "./grid_decoder.js";
import { LiveSet } from "./live_set.js";
import { LARGEST_SYMBOL, Motion } from "./motion.js";
import { decodeContexts, inContexts } from "./motion_contexts.js";
import { codedNodes, fill, movedMask, movedNeed } from "./moved_masks.js";
import { NOTHING } from "./nonzero.js";
import { MaskDecoder } from "./occupancy_masks.js";
import { ArrayPool } from "./pool.js";
import { gridShapes } from "./syntax.js";

/** @typedef {import("./types.js").Layout} Layout */
/** @typedef {import("./nonzero.js").Nonzero} Nonzero */

/**
 * The integers of a frame, and what the next one is predicted from.
 *
 * @typedef {object} SymbolFrame
 * @property {boolean} key
 * @property {import("./occupancy_masks.js").Mask} mask
 * @property {Int32Array[]} symbols per grid
 * @property {Nonzero[]} residuals per grid
 * @property {Int32Array | null} motion its displacements, null for none
 */

/** Decodes the frames of a file, one after the other. */
export class FrameDecoder {
  /**
   * @param {Layout} layout
   * @param {import("./memory.js").Budget} budget
   */
  constructor(layout, budget) {
    this.layout = layout;
    this.budget = budget;
    this.shapes = gridShapes(layout);
    this.sizes = this.shapes.map((shape) => shape.reduce((total, count) => total * count, 1));
    this.pool = new ArrayPool();
    this.grids = new GridDecoder();
    /** Made when they are needed, within the budget. @type {MaskDecoder | null} */
    this.masks = null;
    /** @type {LiveSet | null} */
    this.live = null;
    /** @type {Motion | null} */
    this.motion = null;
  }

  /** Bytes of what every frame holds. */
  get held() {
    const cells = this.layout.occupancy.reduce((total, count) => total * count, 1);
    return 5 * cells + 8 * this.sizes.reduce((total, size) => total + size, 0);
  }

  /**
   * Decodes a frame.
   *
   * @param {any} data the record of its chunk
   * @param {SymbolFrame | null} reference the frame before it, null for a key frame
   * @returns {SymbolFrame}
   * @throws {CorruptStream} a payload does not decode, or symbols leave their range
   * @throws {import("./errors.js").MemoryLimitExceeded}
   */
  decode(data, reference) {
    const { layout, shapes, budget, pool } = this;
    const place = `frame ${data.number}`;
    if (data.grids.length !== shapes.length) {
      throw new CorruptStream(`${place}: expected ${shapes.length} grids, found ${data.grids.length}`);
    }
    let need = this.held + MaskDecoder.need(layout.occupancy);
    budget.check(need, place);
    this.masks ??= new MaskDecoder(layout.occupancy);
    const displaced = this.displace(data, reference, place, need);
    const mask = this.readMask(data.occupancy, reference, displaced, place, need);
    const coded = data.grids.map((/** @type {Uint8Array} */ g) => !(g.length === 1 && g[0] === NOTHING_CODED));
    if (data.motion.length || coded.includes(true)) {
      need += LiveSet.need(layout);
      budget.check(need, place);
      this.live ??= new LiveSet(layout);
      this.live.find(mask.cells);
    }
    const { motion, predicted } = this.predict(data, reference, displaced, place, need);
    /** @type {SymbolFrame} */
    const frame = { key: data.type === "key", mask, symbols: [], residuals: [], motion };
    const hasPrevious = reference !== null && !reference.key;
    for (let grid = 0; grid < shapes.length; grid++) {
      const ground = predicted && predicted[grid];
      if (!coded[grid] || !this.live) {
        frame.residuals.push(NOTHING);
        frame.symbols.push(ground ?? pool.zeros(this.sizes[grid]));
        continue;
      }
      const live = this.live.grids[grid];
      budget.check(need + GridDecoder.need(live), place);
      const previous = hasPrevious ? reference.residuals[grid] : null;
      const residual = this.grids.decode(data.grids[grid], live, previous, ground);
      frame.residuals.push(residual);
      const own = ground !== null && ground !== reference?.symbols[grid];
      frame.symbols.push(this.sum(residual, ground, own, grid, place));
    }
    return frame;
  }

  /**
   * The displacements of a frame where they come before its mask.
   *
   * @param {any} data
   * @param {SymbolFrame | null} reference
   * @param {string} place
   * @param {number} need bytes that are taken so far
   * @returns {Int32Array | null}
   */
  displace(data, reference, place, need) {
    const { layout } = this;
    if (!reference || !inContexts(data.motion)) return null;
    this.checkMotion(data, place, need);
    this.motion ??= new Motion(layout);
    const { size } = this.motion;
    const coded = codedNodes(size, layout.motionBlock, reference.mask.occupied);
    const motion = decodeContexts(data.motion, size, coded, reference.motion);
    fill(motion, size, coded);
    return motion;
  }

  /**
   * @param {any} data
   * @param {string} place
   * @param {number} need bytes that are taken so far
   * @throws {CorruptStream} the file has no motion
   */
  checkMotion(data, place, need) {
    if (!this.layout.motionBlock) {
      throw new CorruptStream(`${place}: expected no motion in this file, found ${data.motion.length} bytes`);
    }
    this.budget.check(need + Motion.need(this.layout), place);
  }

  /**
   * @param {Uint8Array} payload
   * @param {SymbolFrame | null} reference
   * @param {Int32Array | null} displaced displacements that are known
   * @param {string} place
   * @param {number} need bytes that are taken so far
   * @returns {import("./occupancy_masks.js").Mask}
   */
  readMask(payload, reference, displaced, place, need) {
    const masks = /** @type {MaskDecoder} */ (this.masks);
    /** @type {(size: number) => Uint8Array} */
    const allocate = (size) => this.pool.bytes(size);
    // A byte more than whole words: with a mask before that has moved.
    if (!reference || payload.length % 4 !== 1) return masks.decode(payload, reference && reference.mask, allocate);
    const { occupancy: cells, motionBlock } = this.layout;
    this.budget.check(need + movedNeed(cells), place);
    const moved = movedMask(cells, reference.mask, displaced, this.motion?.size ?? [], motionBlock);
    return masks.decodeMoved(payload, moved, allocate);
  }

  /**
   * What a frame's residuals are added to: displacements, and the reference's symbols moved by them.
   *
   * @param {any} data
   * @param {SymbolFrame | null} reference
   * @param {Int32Array | null} displaced displacements that are known
   * @param {string} place
   * @param {number} need bytes that are taken so far
   * @returns {{motion: Int32Array | null, predicted: Int32Array[] | null}}
   */
  predict(data, reference, displaced, place, need) {
    const { layout, live } = this;
    if (!data.motion.length || !live) return { motion: null, predicted: reference && [...reference.symbols] };
    this.checkMotion(data, place, need);
    this.motion ??= new Motion(layout);
    const { size } = this.motion;
    const before = reference && reference.motion;
    const motion =
      displaced ?? decodeMotion(data.motion, size, this.motion.liveNodes(live.grids), before, this.grids);
    if (!reference) return { motion, predicted: null };
    const predicted = [...reference.symbols];
    for (const grid of this.motion.grids.keys()) {
      const symbols = reference.symbols[grid];
      if (this.pool.isZeros(symbols)) continue;
      const out = this.pool.copy(symbols);
      if (this.motion.move(grid, live.grids[grid], symbols, motion, out)) predicted[grid] = out;
      else this.pool.give(out);
    }
    return { motion, predicted };
  }

  /**
   * The symbols of a grid.
   *
   * @param {Nonzero} residual
   * @param {Int32Array | null} ground what it is added to
   * @param {boolean} own whether `ground` may be changed
   * @param {number} grid its number
   * @param {string} place
   * @returns {Int32Array}
   */
  sum({ count, indices, values }, ground, own, grid, place) {
    if (!count) return ground ?? this.pool.zeros(this.sizes[grid]);
    const out = own && ground ? ground : ground ? this.pool.copy(ground) : this.pool.clear(this.sizes[grid]);
    for (let k = 0; k < count; k++) {
      const value = out[indices[k]] + values[k];
      if (value > LARGEST_SYMBOL || value < -LARGEST_SYMBOL) {
        throw new CorruptStream(`${place}: expected symbols below 2^24 in grid ${grid}, found larger ones`);
      }
      out[indices[k]] = value;
    }
    return out;
  }
}
