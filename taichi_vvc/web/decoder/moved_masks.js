/**
 * The mask of the frame before where the scene has moved to: what an inter frame's mask is expected to be.
 *
 * Since version 8 of the format displacements are coded before the mask. Which lattice nodes have one follows from the
 * mask before; those next to them are expected to move with them.
 *
 * @module
 */

import { CELL_PART, MOTION_UNITS, PLACE, SHARES } from "./constants.js";
import { Neighbours } from "./displacements.js";

/** @typedef {import("./occupancy_masks.js").Mask} Mask */

// Sums are below 2^30.
const BITS = Math.log2((PLACE ** 3 * MOTION_UNITS) / CELL_PART);
const HALF = 2 ** (BITS - 1);

/**
 * The lattice nodes whose displacements are coded: corners of blocks with an occupied cell.
 *
 * @param {number[]} size nodes of the lattice along x, y, z
 * @param {number} block cells of a block
 * @param {Int32Array} occupied cells of the mask before
 * @returns {Uint8Array} 0 or 1 in C order of (z, y, x)
 */
export function codedNodes([mx, my, mz], block, occupied) {
  const blocks = new Uint8Array(mx * my * mz);
  for (let k = 0; k < occupied.length; k++) {
    const cell = occupied[k];
    const z = Math.floor((cell >> 20) / block);
    const y = Math.floor(((cell >> 10) & 1023) / block);
    blocks[(z * my + y) * mx + Math.floor((cell & 1023) / block)] = 1;
  }
  const found = new Uint8Array(blocks.length);
  for (let k = 0; k < blocks.length; k++) {
    if (!blocks[k]) continue;
    for (let corner = 0; corner < 8; corner++) {
      found[k + ((corner >> 2) * my + ((corner >> 1) & 1)) * mx + (corner & 1)] = 1;
    }
  }
  return found;
}

/**
 * Gives nodes that are not coded the mean of their coded neighbours.
 *
 * @param {Int32Array} motion (mz, my, mx, 3), changed
 * @param {number[]} size of the lattice
 * @param {Uint8Array} coded
 */
export function fill(motion, size, coded) {
  const near = new Neighbours(size, coded);
  for (let node = 0; node < coded.length; node++) {
    if (coded[node]) continue;
    near.find(node, 1);
    for (let axis = 0; near.total && axis < 3; axis++) motion[3 * node + axis] = near.mean(motion, axis);
  }
}

/** Bytes that moving a mask takes at most. @param {number[]} cells along x, y, z */
export const movedNeed = (cells) => 12 * cells.reduce((total, count) => total * (count + 3), 1);

/**
 * The mask before where the scene has moved to: how much of each cell it covers, 0..SHARES.
 *
 * @param {number[]} cells along x, y, z
 * @param {Mask} before
 * @param {Int32Array | null} motion displacements (mz, my, mx, 3), null where nothing moves
 * @param {number[]} size of the lattice
 * @param {number} block cells of a block
 * @returns {{cells: Int32Array, shares: Uint8Array}} those that it covers as z << 20 | y << 10 | x, and by how much
 */
export function movedMask(cells, before, motion, size, block) {
  if (!motion) return { cells: before.occupied, shares: new Uint8Array(before.occupied.length).fill(SHARES) };
  const [nx, ny, nz] = cells;
  const [mx, my, mz] = size;
  const found = new Int32Array(nx * ny * nz);
  const shares = new Uint8Array(found.length);
  let count = 0;
  // Whether a block has a displacement at a corner.
  const moves = new Uint8Array(mx * my * mz);
  for (let k = 0; k < moves.length; k++) {
    for (let corner = 0; corner < 8 && !moves[k]; corner++) {
      const node = 3 * (k + ((corner >> 2) * my + ((corner >> 1) & 1)) * mx + (corner & 1));
      if (motion[node] || motion[node + 1] || motion[node + 2]) moves[k] = 1;
    }
  }
  const was = before.cells;
  // Where one of the eight cells from a place on is occupied, with a border of one.
  const [slab, line] = [(ny + 2) * (nx + 2), nx + 2];
  const any = new Uint8Array((nz + 2) * slab);
  for (let k = 0; k < before.occupied.length; k++) {
    const cell = before.occupied[k];
    const at = ((cell >> 20) + 1) * slab + (((cell >> 10) & 1023) + 1) * line + (cell & 1023) + 1;
    for (let corner = 0; corner < 8; corner++) {
      any[at - (corner >> 2) * slab - ((corner >> 1) & 1) * line - (corner & 1)] = 1;
    }
  }
  const blockOf = Int32Array.from({ length: nx }, (_, x) => Math.floor((PLACE * x + PLACE / 2) / block / PLACE));
  const farOf = Int32Array.from(blockOf, (b, x) => Math.floor((PLACE * x + PLACE / 2) / block) - PLACE * b);
  const row = new Int32Array(3 * mx);
  for (let z = 0; z < nz; z++) {
    const pz = Math.floor((PLACE * z + PLACE / 2) / block);
    const bz = Math.floor(pz / PLACE);
    const fz = pz - PLACE * bz;
    for (let y = 0; y < ny; y++) {
      const py = Math.floor((PLACE * y + PLACE / 2) / block);
      const by = Math.floor(py / PLACE);
      const fy = py - PLACE * by;
      const first = (bz * my + by) * mx;
      // The lattice along x at this y and z.
      for (let k = 0; k < 3 * mx; k++) {
        const at = 3 * first + k;
        const low = motion[at] * (PLACE - fy) + motion[at + 3 * mx] * fy;
        const up = at + 3 * mx * my;
        row[k] = low * (PLACE - fz) + (motion[up] * (PLACE - fy) + motion[up + 3 * mx] * fy) * fz;
      }
      for (let x = 0; x < nx; x++) {
        const bx = blockOf[x];
        const own = (z * ny + y) * nx + x;
        let share = 0;
        if (!moves[first + bx]) {
          share = was[own] * SHARES;
        } else {
          const fx = farOf[x];
          const k = 3 * bx;
          const ox = origin(x, row[k] * (PLACE - fx) + row[k + 3] * fx, nx);
          const oy = origin(y, row[k + 1] * (PLACE - fx) + row[k + 4] * fx, ny);
          const oz = origin(z, row[k + 2] * (PLACE - fx) + row[k + 5] * fx, nz);
          const at = ((oz >> 3) + 1) * slab + ((oy >> 3) + 1) * line + (ox >> 3) + 1;
          if (any[at]) share = covered(was, cells, ox, oy, oz);
        }
        if (share) {
          found[count] = (z << 20) | (y << 10) | x;
          shares[count++] = share;
        }
      }
    }
  }
  return { cells: found.subarray(0, count), shares: shares.subarray(0, count) };
}

/** Where a cell comes from, in parts of a cell. @param {number} index @param {number} sum @param {number} count */
function origin(index, sum, count) {
  const place = CELL_PART * index + ((sum + HALF) >> BITS);
  return place < -CELL_PART ? -CELL_PART : place > CELL_PART * count ? CELL_PART * count : place;
}

/**
 * How much of a cell's size at some place a mask covers.
 *
 * @param {Uint8Array} was the mask
 * @param {number[]} cells
 * @param {number} ox the place, in parts of a cell
 * @param {number} oy
 * @param {number} oz
 */
function covered(was, [nx, ny, nz], ox, oy, oz) {
  const kx = ox >> 3;
  const ky = oy >> 3;
  const kz = oz >> 3;
  let sum = 0;
  for (let corner = 0; corner < 8; corner++) {
    const x = kx + (corner & 1);
    const y = ky + ((corner >> 1) & 1);
    const z = kz + (corner >> 2);
    if (x < 0 || x >= nx || y < 0 || y >= ny || z < 0 || z >= nz || !was[(z * ny + y) * nx + x]) continue;
    const wx = corner & 1 ? ox & 7 : CELL_PART - (ox & 7);
    const wy = corner & 2 ? oy & 7 : CELL_PART - (oy & 7);
    sum += wx * wy * (corner & 4 ? oz & 7 : CELL_PART - (oz & 7));
  }
  return (sum + 16) >> 5;
}
