/**
 * Motion between frames: a coarse lattice of displacements that moves the reference's symbols, in integers only.
 *
 * Displacements are interpolated trilinearly, symbols trilinearly less a part of their second differences. Both are sums
 * of products below 2^53, so that doubles hold them exactly.
 *
 * @module
 */

import { FREQUENCY_UNITS, MOTION_UNITS, PART, PLACE } from "./constants.js";
import { CorruptStream } from "./errors.js";
import { gridShapes, movedGrids } from "./syntax.js";

/** @typedef {import("./types.js").Layout} Layout */
/** @typedef {import("./live_set.js").LiveGrid} LiveGrid */

/** A sum of magnitude 2^24 or more is an error. */
export const LARGEST_SYMBOL = 2 ** 24 - 1;

/** One axis of a moved grid. */
class Axis {
  /**
   * @param {number} nodes of the grid
   * @param {number} lattice nodes of the lattice
   * @param {number} above the grid spans above / below cells
   * @param {number} below
   * @param {number} block cells of a block of the lattice
   */
  constructor(nodes, lattice, above, below, block) {
    this.nodes = nodes;
    /** Block of each node. */
    this.block = new Int32Array(nodes);
    /** How far into it, 0 .. PLACE. */
    this.far = new Int32Array(nodes);
    for (let i = 0; i < nodes; i++) {
      const place = Math.min(Math.floor((i * PLACE * above) / (below * (nodes - 1) * block)), PLACE * (lattice - 1));
      this.block[i] = Math.min(Math.floor(place / PLACE), lattice - 2);
      this.far[i] = place - PLACE * this.block[i];
    }
    /** A displacement's trilinear sum times `factor`, divided by `unit` and rounded, is in 32nds of a node. */
    this.factor = (nodes - 1) * below;
    this.unit = ((PLACE ** 3 * MOTION_UNITS) / PART) * above;
  }

  /** @param {number} sum */
  shift(sum) {
    return Math.floor((sum * this.factor + this.unit / 2) / this.unit);
  }
}

/** What moves in the frames of a file. */
export class Motion {
  /** @param {Layout} layout with a motion block */
  constructor(layout) {
    const { motionBlock: block, occupancy: cells } = layout;
    const longest = Math.max(...cells);
    /** Nodes of the lattice along x, y, z. */
    this.size = cells.map((count) => Math.ceil(count / block) + 1);
    const shapes = gridShapes(layout);
    /** The moved grids by number: their axes x, y, z. */
    this.grids = new Map(
      movedGrids(layout).map((grid) => {
        const axes = [0, 1, 2].map((axis) => {
          const above = grid ? FREQUENCY_UNITS * longest : cells[axis];
          const below = grid ? layout.levels[grid - 1].frequency : 1;
          return new Axis(shapes[grid][2 - axis], this.size[axis], above, below, block);
        });
        return [grid, axes];
      }),
    );
    this.taps = new Int32Array(32);
    this.weights = new Float64Array(32);
    this.sums = new Float64Array(Math.max(...shapes.map((shape) => shape[3])));
  }

  /** Bytes that displacements take at most, and what they move. @param {Layout} layout */
  static need(layout) {
    const lattice = layout.occupancy.reduce((total, count) => total * (Math.ceil(count / layout.motionBlock) + 3), 1);
    const shapes = gridShapes(layout);
    const moved = movedGrids(layout).map((grid) => shapes[grid].reduce((total, count) => total * count, 1));
    return 96 * lattice + 4 * moved.reduce((total, size) => total + size, 0);
  }

  /**
   * The lattice nodes that are coded: those around a block with a live node of a moved grid.
   *
   * @param {LiveGrid[]} live
   * @returns {Uint8Array} 0 or 1 in C order of (z, y, x)
   */
  liveNodes(live) {
    const [mx, my, mz] = this.size;
    const found = new Uint8Array(mx * my * mz);
    const blocks = new Uint8Array(mx * my * mz);
    for (const [number, [x, y, z]] of this.grids) {
      const { packed, count } = live[number];
      for (let r = 1; r <= count; r++) {
        const node = packed[r];
        blocks[(z.block[node >> 20] * my + y.block[(node >> 10) & 1023]) * mx + x.block[node & 1023]] = 1;
      }
    }
    for (let k = 0; k < blocks.length; k++) {
      if (!blocks[k]) continue;
      for (let corner = 0; corner < 8; corner++) {
        found[k + ((corner >> 2) * my + ((corner >> 1) & 1)) * mx + (corner & 1)] = 1;
      }
    }
    return found;
  }

  /**
   * Moves the reference's symbols of one grid at its live nodes.
   *
   * @param {number} number of the grid
   * @param {LiveGrid} live
   * @param {Int32Array} symbols of the reference
   * @param {Int32Array} motion displacements (mz, my, mx, 3): x, y, z
   * @param {Int32Array} out a copy of `symbols`
   * @returns {boolean} whether anything has moved
   * @throws {CorruptStream} a symbol becomes too large
   */
  move(number, live, symbols, motion, out) {
    const [x, y, z] = /** @type {Axis[]} */ (this.grids.get(number));
    const [mx, my] = this.size;
    const row = 3 * mx;
    const slab = row * my;
    const { sums, taps, weights } = this;
    const { packed, nodes, count, channels } = live;
    let moved = false;
    for (let r = 1; r <= count; r++) {
      const node = packed[r];
      const iz = node >> 20;
      const iy = (node >> 10) & 1023;
      const ix = node & 1023;
      const at = z.block[iz] * slab + y.block[iy] * row + 3 * x.block[ix];
      const [fx, fy, fz] = [x.far[ix], y.far[iy], z.far[iz]];
      let sx = 0;
      let sy = 0;
      let sz = 0;
      for (let corner = 0; corner < 8; corner++) {
        const from = at + (corner & 4 ? slab : 0) + (corner & 2 ? row : 0) + (corner & 1 ? 3 : 0);
        const weight = (corner & 4 ? fz : PLACE - fz) * (corner & 2 ? fy : PLACE - fy) * (corner & 1 ? fx : PLACE - fx);
        sx += weight * motion[from];
        sy += weight * motion[from + 1];
        sz += weight * motion[from + 2];
      }
      const [dx, dy, dz] = [x.shift(sx), y.shift(sy), z.shift(sz)];
      if (dx === 0 && dy === 0 && dz === 0) continue;
      moved = true;
      const used = this.stencil(live, [x, y, z], [PART * ix + dx, PART * iy + dy, PART * iz + dz]);
      sums.fill(0, 0, channels);
      for (let k = 0; k < used; k++) {
        const weight = weights[k];
        const from = taps[k];
        for (let c = 0; c < channels; c++) sums[c] += weight * symbols[from + c];
      }
      const to = nodes[r] * channels;
      for (let c = 0; c < channels; c++) {
        const value = Math.floor((sums[c] + 2 ** 25) * 2 ** -26);
        if (value > LARGEST_SYMBOL || value < -LARGEST_SYMBOL) {
          throw new CorruptStream(`expected symbols below 2^24 in grid ${number}, found larger ones`);
        }
        out[to + c] = value;
      }
    }
    return moved;
  }

  /**
   * The symbols that one comes from, and their weights out of 2^26, in `taps` and `weights`.
   *
   * Trilinear interpolation less f (32 - f) times that of the second differences along each axis: the eight nodes around
   * the place, and 24 behind these; beyond the ends of the grid the last symbol is repeated.
   *
   * @param {LiveGrid} live
   * @param {Axis[]} axes x, y, z
   * @param {number[]} place along x, y, z in 32nds
   * @returns {number} how many there are
   */
  stencil(live, axes, place) {
    const { taps, weights } = this;
    const [, ny, nx] = live.shape;
    const strides = [live.channels, nx * live.channels, ny * nx * live.channels];
    let base = 0;
    const parts = [0, 0, 0];
    const [backs, ons] = [[0, 0, 0], [0, 0, 0]];
    for (let a = 0; a < 3; a++) {
      const last = axes[a].nodes - 1;
      const q = Math.min(Math.max(place[a], 0), PART * last);
      const k = Math.min(q >> 5, last - 1);
      parts[a] = q - PART * k;
      base += k * strides[a];
      backs[a] = k > 0 ? -strides[a] : 0;
      ons[a] = k + 1 < last ? 2 * strides[a] : strides[a];
    }
    const bends = parts.map((part) => part * (PART - part));
    const own = 2 * PART ** 2 + 2 * (bends[0] + bends[1] + bends[2]);
    let used = 0;
    for (let corner = 0; corner < 8; corner++) {
      const factors = parts.map((part, a) => ((corner >> a) & 1 ? part : PART - part));
      const others = parts.map((part, a) => ((corner >> a) & 1 ? PART - part : part));
      const weight = factors[0] * factors[1] * factors[2];
      const at = base + (corner & 1) * strides[0] + ((corner >> 1) & 1) * strides[1] + (corner >> 2) * strides[2];
      const near =
        weight * own -
        bends[0] * others[0] * factors[1] * factors[2] -
        bends[1] * factors[0] * others[1] * factors[2] -
        bends[2] * factors[0] * factors[1] * others[2];
      if (near) {
        taps[used] = at;
        weights[used++] = near;
      }
      for (let a = 0; a < 3; a++) {
        if (!weight || !bends[a]) continue;
        taps[used] = at + ((corner >> a) & 1 ? ons[a] - strides[a] : backs[a]);
        weights[used++] = -bends[a] * weight;
      }
    }
    return used;
  }
}
