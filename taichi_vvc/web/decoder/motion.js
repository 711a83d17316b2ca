/**
 * Motion between frames: a coarse lattice of displacements that moves the reference's symbols, in integers only.
 *
 * Displacements are interpolated trilinearly, symbols trilinearly less a part of their second differences. Both are
 * sums of products below 2^53, so that doubles hold them exactly.
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

const ROUNDING = 2 ** 25;
const SCALE = 2 ** -26;

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
    return Math.floor((sum * this.factor + this.unit / 2) / this.unit) | 0;
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
    this.taps = new Int32Array(33);
    this.weights = new Float64Array(33);
    this.sums = new Float64Array(Math.max(...shapes.map((shape) => shape[3])));
    this.row = new Int32Array(3 * this.size[0]);
    this.filled = new Uint8Array(0);
    this.starts = new Int32Array(1);
    this.listed = new Int32Array(1024);
    this.channel = new Uint8Array(1024);
  }

  /** Bytes that displacements take at most, and what they move. @param {Layout} layout */
  static need(layout) {
    const lattice = layout.occupancy.reduce((total, count) => total * (Math.ceil(count / layout.motionBlock) + 3), 1);
    const shapes = gridShapes(layout);
    const moved = movedGrids(layout).map((grid) => shapes[grid].reduce((total, count) => total * count, 1));
    return 96 * lattice + 18 * moved.reduce((total, size) => total + size, 0);
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
    const axes = /** @type {Axis[]} */ (this.grids.get(number));
    const { packed, nodes, count, channels } = live;
    const { sums, taps, weights, row } = this;
    const filled = this.findFilled(symbols, channels);
    const { starts, listed, channel } = this;
    const [x, y, z] = axes;
    let moved = false;
    let from = -1;
    for (let r = 1; r <= count; r++) {
      const node = packed[r];
      if (node >> 10 !== from) {
        from = node >> 10;
        this.interpolate(motion, y, from & 1023, z, from >> 10);
      }
      const ix = node & 1023;
      const at = 3 * x.block[ix];
      const far = x.far[ix];
      const near = PLACE - far;
      const dx = x.shift(near * row[at] + far * row[at + 3]);
      const dy = y.shift(near * row[at + 1] + far * row[at + 4]);
      const dz = z.shift(near * row[at + 2] + far * row[at + 5]);
      if (dx === 0 && dy === 0 && dz === 0) continue;
      moved = true;
      const place = (from & 1023) * PART + dy;
      const used = this.stencil(axes, filled, PART * ix + dx, place, PART * (from >> 10) + dz);
      const to = nodes[r] * channels;
      if (!used) {
        if (filled[nodes[r]]) out.fill(0, to, to + channels);
        continue;
      }
      for (let c = 0; c < channels; c++) sums[c] = 0;
      for (let k = 0; k < used; k++) {
        const weight = weights[k];
        const end = starts[taps[k] + 1];
        for (let j = starts[taps[k]]; j < end; j++) sums[channel[j]] += weight * listed[j];
      }
      for (let c = 0; c < channels; c++) {
        const value = Math.floor((sums[c] + ROUNDING) * SCALE);
        if (value > LARGEST_SYMBOL || value < -LARGEST_SYMBOL) {
          throw new CorruptStream(`expected symbols below 2^24 in grid ${number}, found larger ones`);
        }
        out[to + c] = value;
      }
    }
    return moved;
  }

  /**
   * The symbols of a grid that are not 0, node by node: most nodes have none.
   *
   * They are `listed` with their `channel`; those of a node are from `starts[node]` on, up to those of the next.
   *
   * @param {Int32Array} symbols
   * @param {number} channels
   * @returns {Uint8Array} 1 for each node that has some, else 0
   */
  findFilled(symbols, channels) {
    const count = symbols.length / channels;
    if (this.filled.length < count) {
      this.filled = new Uint8Array(count);
      this.starts = new Int32Array(count + 1);
    }
    const { filled, starts } = this;
    let listed = 0;
    for (let node = 0, at = 0; node < count; node++) {
      starts[node] = listed;
      let any = 0;
      for (const end = at + channels; at < end; at++) any |= symbols[at];
      filled[node] = any ? 1 : 0;
      if (any) listed = this.list(symbols, at - channels, channels, listed);
    }
    starts[count] = listed;
    return filled;
  }

  /**
   * Lists the symbols of one node.
   *
   * @param {Int32Array} symbols
   * @param {number} from where they are
   * @param {number} channels
   * @param {number} listed how many there are so far
   * @returns {number} how many there are now
   */
  list(symbols, from, channels, listed) {
    if (listed + channels > this.listed.length) {
      const { listed: values, channel } = this;
      this.listed = new Int32Array(2 * values.length + channels);
      this.channel = new Uint8Array(this.listed.length);
      this.listed.set(values);
      this.channel.set(channel);
    }
    const { listed: values, channel } = this;
    for (let c = 0; c < channels; c++) {
      const value = symbols[from + c];
      if (!value) continue;
      values[listed] = value;
      channel[listed++] = c;
    }
    return listed;
  }

  /**
   * The displacements along a row of nodes, interpolated along y and z, in `row`: x, y, z for each lattice node.
   *
   * @param {Int32Array} motion
   * @param {Axis} y
   * @param {number} iy
   * @param {Axis} z
   * @param {number} iz
   */
  interpolate(motion, y, iy, z, iz) {
    const { row } = this;
    const along = row.length;
    const slab = along * this.size[1];
    const begin = z.block[iz] * slab + y.block[iy] * along;
    const fz = z.far[iz];
    const fy = y.far[iy];
    const gz = PLACE - fz;
    const gy = PLACE - fy;
    for (let k = 0; k < along; k++) {
      const at = begin + k;
      const near = gy * motion[at] + fy * motion[at + along];
      row[k] = gz * near + fz * (gy * motion[at + slab] + fy * motion[at + slab + along]);
    }
  }

  /**
   * The nodes that a symbol comes from, and their weights out of 2^26, in `taps` and `weights`.
   *
   * Trilinear interpolation less f (32 - f) times that of the second differences along each axis: the eight nodes
   * around the place, and 24 behind these; beyond the ends of the grid the last symbol is repeated.
   *
   * @param {Axis[]} axes
   * @param {Uint8Array} filled the nodes that matter
   * @param {number} qx the place along x, in 32nds
   * @param {number} qy
   * @param {number} qz
   * @returns {number} how many there are
   */
  stencil(axes, filled, qx, qy, qz) {
    const { taps, weights } = this;
    const nx = axes[0].nodes;
    const ny = axes[1].nodes;
    const nz = axes[2].nodes;
    const slab = nx * ny;
    qx = qx < 0 ? 0 : qx > PART * (nx - 1) ? PART * (nx - 1) : qx;
    qy = qy < 0 ? 0 : qy > PART * (ny - 1) ? PART * (ny - 1) : qy;
    qz = qz < 0 ? 0 : qz > PART * (nz - 1) ? PART * (nz - 1) : qz;
    const kx = qx >> 5 < nx - 2 ? qx >> 5 : nx - 2;
    const ky = qy >> 5 < ny - 2 ? qy >> 5 : ny - 2;
    const kz = qz >> 5 < nz - 2 ? qz >> 5 : nz - 2;
    const fx = qx - PART * kx;
    const fy = qy - PART * ky;
    const fz = qz - PART * kz;
    const bx = fx * (PART - fx);
    const by = fy * (PART - fy);
    const bz = fz * (PART - fz);
    const own = 2 * PART * PART + 2 * (bx + by + bz);
    // One node further on each side, or the last one again.
    const x0 = kx ? -1 : 0;
    const y0 = ky ? -nx : 0;
    const z0 = kz ? -slab : 0;
    const x3 = kx < nx - 2 ? 2 : 1;
    const y3 = ky < ny - 2 ? 2 * nx : nx;
    const z3 = kz < nz - 2 ? 2 * slab : slab;
    const base = (kz * ny + ky) * nx + kx;
    let used = 0;
    // Every node is written down, and stays if it is filled: branches that cannot be foretold would take longer.
    for (let corner = 0; corner < 8; corner++) {
      const dx = corner & 1;
      const wx = dx ? fx : PART - fx;
      const wy = corner & 2 ? fy : PART - fy;
      const wz = corner & 4 ? fz : PART - fz;
      const dy = corner & 2 ? nx : 0;
      const dz = corner & 4 ? slab : 0;
      const at = base + dx + dy + dz;
      const yz = wy * wz;
      const weight = wx * yz;
      taps[used] = at;
      weights[used] =
        weight * own - bx * (PART - wx) * yz - wx * (by * (PART - wy) * wz + bz * wy * (PART - wz));
      used += filled[at];
      const ax = at - dx + (dx ? x3 : x0);
      taps[used] = ax;
      weights[used] = -bx * weight;
      used += filled[ax];
      const ay = at - dy + (dy ? y3 : y0);
      taps[used] = ay;
      weights[used] = -by * weight;
      used += filled[ay];
      const az = at - dz + (dz ? z3 : z0);
      taps[used] = az;
      weights[used] = -bz * weight;
      used += filled[az];
    }
    return used;
  }
}
