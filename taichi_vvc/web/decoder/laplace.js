/**
 * The simpler of the two entropy models of grids: each channel has one table of magnitudes.
 *
 * @module
 */

import { ESCAPE } from "./small_integers.js";
import { cumulative, laplaceTable, TOTAL } from "./tables.js";

/**
 * The symbols of a grid.
 *
 * @param {import("./entropy.js").RangeReader} reader
 * @param {import("./live_set.js").LiveGrid} live
 * @param {Int32Array} scales per channel
 * @param {import("./nonzero.js").NonzeroList} list takes those that are not 0
 * @returns {number[]} which of the list are escaped
 */
export function readLaplace(reader, live, scales, list) {
  const ranks = live.inOrder();
  const { places, nodes, channels } = live;
  const [, ny, nx] = live.shape;
  const even = cumulative([TOTAL / 2, TOTAL / 2]);
  /** @type {number[]} */
  const escapes = [];
  for (let c = 0; c < channels; c++) {
    const magnitudes = reader.symbols(ranks.length, laplaceTable(scales[c]));
    const where = [...magnitudes.keys()].filter((k) => magnitudes[k]);
    const positive = reader.symbols(where.length, even);
    list.reserve(where.length);
    where.forEach((k, n) => {
      const node = nodes[ranks[k]];
      const x = node % nx;
      const y = Math.floor(node / nx) % ny;
      const z = Math.floor(node / (nx * ny));
      const at = list.count + n;
      list.places[at] = places[ranks[k]];
      list.indices[at] = node * channels + c;
      list.channels[at] = c;
      list.parities[at] = (z & 1) * 4 + (y & 1) * 2 + (x & 1);
      list.values[at] = positive[n] ? magnitudes[k] : -magnitudes[k];
      if (magnitudes[k] === ESCAPE) escapes.push(at);
    });
    list.count += where.length;
  }
  return escapes;
}
