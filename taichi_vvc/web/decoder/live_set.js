/**
 * Which symbols can be seen: the live set, derived from the occupancy mask in integer arithmetic.
 *
 * A node of a grid is live if a sample inside an occupied cell can touch it. Rows of cells are words of 32 bits, so
 * that cells are put together along z and y a row at a time.
 *
 * @module
 */

import { FREQUENCY_UNITS, LIVE_UNITS, ORDER } from "./constants.js";
import { gridShapes } from "./syntax.js";

/** @typedef {import("./types.js").Layout} Layout */

/**
 * Which cells touch each node along one axis.
 *
 * @param {number} cells
 * @param {number} nodes
 * @param {number} tile length of a tile, with nodes on both of its borders
 * @param {number} scale a cell's edge is so many times `LIVE_UNITS` long
 * @returns {number[][]} the cells of each node, ascending
 */
export function cellsOfNodes(cells, nodes, tile, scale) {
  /** @type {number[][]} */
  const found = Array.from({ length: nodes }, () => []);
  for (let cell = 0; cell < cells; cell++) {
    const low = Math.max(0, LIVE_UNITS * scale * cell - scale);
    const high = Math.min(LIVE_UNITS * scale * cells, LIVE_UNITS * scale * (cell + 1) + scale);
    for (let k = Math.floor(low / tile); k <= Math.floor((high - 1) / tile); k++) {
      const start = Math.max(low, k * tile) - k * tile;
      const end = Math.min(high, (k + 1) * tile) - k * tile;
      const last = Math.min(nodes - 1, Math.floor((end * (nodes - 1)) / tile) + 1);
      for (let node = Math.floor((start * (nodes - 1)) / tile); node <= last; node++) {
        const own = found[node];
        if (own[own.length - 1] !== cell) own.push(cell);
      }
    }
  }
  return found;
}

/** The live nodes of one grid, pass after pass. */
export class LiveGrid {
  /**
   * @param {number[]} shape (nz, ny, nx, channels)
   */
  constructor(shape) {
    const [nz, ny, nx, channels] = shape;
    this.shape = shape;
    this.channels = channels;
    /** Number of live nodes. */
    this.count = 0;
    /** Rank of the first node of each pass; ranks count from 1 in the order of passes, then in C order. */
    this.start = new Int32Array(9);
    /** Node of each rank, as a flat index of the grid. @type {Int32Array} */
    this.nodes = new Int32Array(1);
    /** The same as z << 20 | y << 10 | x. @type {Int32Array} */
    this.packed = new Int32Array(1);
    /** Place of each rank: a flat index of the grid with one node more on all sides. @type {Int32Array} */
    this.places = new Int32Array(1);
    /** Rank of each place, 0 for none. */
    this.rank = new Int32Array((nz + 2) * (ny + 2) * (nx + 2));
    this.strides = [(ny + 2) * (nx + 2), nx + 2, 1];
    // Where the nodes of each parity class are collected, and how many there are.
    const halves = [nz, ny, nx].map((n) => [(n + 1) >> 1, n >> 1]);
    this.region = new Int32Array(9);
    for (let parity = 0; parity < 8; parity++) {
      const size = halves[0][(parity >> 2) & 1] * halves[1][(parity >> 1) & 1] * halves[2][parity & 1];
      this.region[parity + 1] = this.region[parity] + size;
    }
    this.found = new Int32Array(2 * nz * ny * nx);
    /** What follows from the strides for the passes of each weight set. @type {Map<string, any>} */
    this.offsets = new Map();
  }

  /**
   * What is made once for this grid.
   *
   * @template T
   * @param {string} name
   * @param {() => T} make
   * @returns {T}
   */
  once(name, make) {
    if (!this.offsets.has(name)) this.offsets.set(name, make());
    return this.offsets.get(name);
  }

  /** Offset in places of a neighbour. @param {number} dz @param {number} dy @param {number} dx */
  offset(dz, dy, dx) {
    return dz * this.strides[0] + dy * this.strides[1] + dx;
  }

  /**
   * Takes the nodes that were collected.
   *
   * @param {Int32Array} filled per parity class, the end of its part of `found`
   */
  settle(filled) {
    const { rank, found, region } = this;
    for (let r = 1; r <= this.count; r++) rank[this.places[r]] = 0;
    let total = 0;
    for (let parity = 0; parity < 8; parity++) total += filled[parity] - region[parity];
    if (this.places.length <= total) {
      this.places = new Int32Array(total + (total >> 3) + 1);
      this.nodes = new Int32Array(total + (total >> 3) + 1);
      this.packed = new Int32Array(total + (total >> 3) + 1);
    }
    const { places, nodes, packed } = this;
    const [, ny, nx] = this.shape;
    this.count = total;
    let r = 1;
    ORDER.forEach((parity, position) => {
      this.start[position] = r;
      for (let k = region[parity]; k < filled[parity]; k++, r++) {
        const place = found[2 * k];
        places[r] = place;
        const node = found[2 * k + 1];
        packed[r] = node;
        nodes[r] = ((node >> 20) * ny + ((node >> 10) & 1023)) * nx + (node & 1023);
        rank[place] = r;
      }
    });
    this.start[8] = r;
  }

  /** The live nodes in C order, as ranks. @returns {Int32Array} */
  inOrder() {
    const { places } = this;
    return Int32Array.from({ length: this.count }, (_, k) => k + 1).sort((a, b) => places[a] - places[b]);
  }
}

/** The live nodes of all grids of a file. */
export class LiveSet {
  /** @param {Layout} layout */
  constructor(layout) {
    const { occupancy: cells } = layout;
    this.cells = cells;
    this.words = (cells[0] + 31) >> 5;
    this.rows = new Int32Array(cells[2] * cells[1] * this.words);
    const longest = Math.max(...cells);
    this.grids = gridShapes(layout).map((shape) => new LiveGrid(shape));
    /** Cells of each node of each grid, along x, y, z. */
    this.touched = this.grids.map((grid, number) =>
      [0, 1, 2].map((axis) => {
        const nodes = grid.shape[2 - axis];
        if (!number) return cellsOfNodes(cells[axis], nodes, LIVE_UNITS * cells[axis], 1);
        const { frequency } = layout.levels[number - 1];
        return cellsOfNodes(cells[axis], nodes, LIVE_UNITS * FREQUENCY_UNITS * longest, frequency);
      }),
    );
    /** Per grid and node along x, the bits of its cells in the words of a row. */
    this.masks = this.touched.map(([along]) => {
      const masks = new Int32Array(along.length * this.words);
      along.forEach((own, node) => own.forEach((cell) => (masks[node * this.words + (cell >> 5)] |= 1 << (cell & 31))));
      return masks;
    });
    const shapes = this.grids.map((grid) => grid.shape);
    this.along = new Int32Array(Math.max(...shapes.map(([nz]) => nz)) * cells[1] * this.words);
    this.row = new Int32Array(this.words);
  }

  /** Bytes that finding the live nodes takes at most. @param {Layout} layout */
  static need(layout) {
    const [cx, cy, cz] = layout.occupancy;
    const words = 4 * ((cx + 31) >> 5);
    let need = words * cy * cz;
    for (const [nz, ny, nx] of gridShapes(layout)) {
      need += 8 * nz * ny * nx + 13 * nz * ny * nx + 4 * (nz + 2) * (ny + 2) * (nx + 2) + words * (cy * nz + nx);
      need += 64 * (cx + cy + cz + nx + ny + nz);
    }
    return need;
  }

  /**
   * Finds the live nodes of all grids.
   *
   * @param {Uint8Array} occupancy
   */
  find(occupancy) {
    const [cx, cy, cz] = this.cells;
    const { rows, words } = this;
    rows.fill(0);
    for (let row = 0, at = 0; row < cz * cy; row++) {
      for (let x = 0; x < cx; x++, at++) {
        if (occupancy[at]) rows[row * words + (x >> 5)] |= 1 << (x & 31);
      }
    }
    this.grids.forEach((grid, number) => this.findIn(grid, number));
  }

  /** @param {LiveGrid} grid @param {number} number */
  findIn(grid, number) {
    const { rows, words, along, row } = this;
    const cy = this.cells[1];
    const [, alongY, alongZ] = this.touched[number];
    const masks = this.masks[number];
    const [nz, ny, nx] = grid.shape;
    const { found, region } = grid;
    const slab = cy * words;
    for (let z = 0; z < nz; z++) {
      const to = z * slab;
      along.fill(0, to, to + slab);
      for (const cell of alongZ[z]) {
        for (let k = 0; k < slab; k++) along[to + k] |= rows[cell * slab + k];
      }
    }
    const filled = region.slice(0, 8);
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        let any = 0;
        row.fill(0);
        for (const cell of alongY[y]) {
          const from = z * slab + cell * words;
          for (let k = 0; k < words; k++) {
            row[k] |= along[from + k];
            any |= row[k];
          }
        }
        if (!any) continue;
        const parity = ((z & 1) << 2) | ((y & 1) << 1);
        const node = (z << 20) | (y << 10);
        const place = ((z + 1) * (ny + 2) + y + 1) * (nx + 2) + 1;
        let even = filled[parity];
        let odd = filled[parity | 1];
        const first = row[0];
        const second = words > 1 ? row[1] : 0;
        for (let x = 0, at = 0; x < nx; x++) {
          let bits = first & masks[at++];
          if (words > 1) bits |= second & masks[at++];
          for (let k = 2; k < words; k++) bits |= row[k] & masks[at++];
          if (!bits) continue;
          const k = x & 1 ? odd++ : even++;
          found[2 * k] = place + x;
          found[2 * k + 1] = node | x;
        }
        filled[parity] = even;
        filled[parity | 1] = odd;
      }
    }
    grid.settle(filled);
  }
}
