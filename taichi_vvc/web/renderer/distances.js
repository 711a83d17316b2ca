/**
 * How far it is from each cell to the nearest occupied one: what lets a ray leap over empty space.
 *
 * @module
 */

/** The largest distance that is told apart. */
export const FARTHEST = 255;

/**
 * Fills `target` with the Chebyshev distance of every cell to the nearest occupied cell: 0 in occupied ones, 1 in
 * their neighbours, FARTHEST where none is near.
 *
 * Two passes, forth and back, each of which takes what lies behind it along all three axes. Of the nine cells of the
 * plane before and the three of the row before, the least are found along one axis after the other.
 *
 * @param {Uint8Array} occupancy 0 or 1 per cell, (z, y, x)
 * @param {number[]} cells along x, y, z
 * @param {Uint8Array} target of the same length
 */
export function distancesOf(occupancy, cells, target) {
  const [nx, ny, nz] = cells;
  const plane = nx * ny;
  // The least of a row's cell and its two neighbours; a rim of FARTHEST on either side of each row and plane.
  const across = new Uint8Array((nx + 2) * (ny + 2)).fill(FARTHEST);
  const nine = new Uint8Array(plane).fill(FARTHEST);
  for (let i = 0; i < target.length; i++) target[i] = occupancy[i] ? 0 : FARTHEST;
  for (const step of [1, -1]) {
    nine.fill(FARTHEST);
    for (let k = 0; k < nz; k++) {
      const z = step > 0 ? k : nz - 1 - k;
      sweepPlane(target, z * plane, nx, ny, step, nine);
      leastOfNine(target, z * plane, nx, ny, across, nine);
    }
  }
}

function sweepPlane(target, start, nx, ny, step, nine) {
  for (let j = 0; j < ny; j++) {
    const y = step > 0 ? j : ny - 1 - j;
    const row = start + y * nx;
    const before = row - step * nx;
    const inside = j > 0;
    for (let i = 0; i < nx; i++) {
      const x = step > 0 ? i : nx - 1 - i;
      let least = nine[y * nx + x];
      if (i > 0 && target[row + x - step] < least) least = target[row + x - step];
      if (inside) {
        if (target[before + x] < least) least = target[before + x];
        if (x > 0 && target[before + x - 1] < least) least = target[before + x - 1];
        if (x < nx - 1 && target[before + x + 1] < least) least = target[before + x + 1];
      }
      if (least + 1 < target[row + x]) target[row + x] = least + 1;
    }
  }
}

function leastOfNine(target, start, nx, ny, across, nine) {
  const wide = nx + 2;
  for (let y = 0; y < ny; y++) {
    const row = start + y * nx;
    let left = FARTHEST;
    let here = target[row];
    for (let x = 0; x < nx; x++) {
      const right = x < nx - 1 ? target[row + x + 1] : FARTHEST;
      let least = left < here ? left : here;
      if (right < least) least = right;
      across[(y + 1) * wide + x + 1] = least;
      left = here;
      here = right;
    }
  }
  for (let y = 0; y < ny; y++) {
    for (let x = 0; x < nx; x++) {
      const at = (y + 1) * wide + x + 1;
      let least = across[at];
      if (across[at - wide] < least) least = across[at - wide];
      if (across[at + wide] < least) least = across[at + wide];
      nine[y * nx + x] = least;
    }
  }
}
