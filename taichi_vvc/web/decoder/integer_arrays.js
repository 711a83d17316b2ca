/**
 * Arrays of integers of any shape of distribution: the quantised weights of the MLPs, and displacements.
 *
 * Magnitudes fall into buckets, two per octave; a table gives the buckets' frequencies, and the place within the bucket
 * and the sign are raw bits.
 *
 * @module
 */

import { BUCKETS, FIRST_INDEX, LARGEST_MAGNITUDE, PROBABILITIES } from "./constants.js";
import { RangeReader } from "./entropy.js";
import { CorruptStream } from "./errors.js";
import { readChain, readIndices } from "./small_integers.js";
import { TOTAL } from "./tables.js";

/**
 * The cumulative frequencies of buckets: of each unless smaller; the last has the rest.
 *
 * @param {Int32Array} indices
 * @returns {Float64Array}
 */
function bucketTable(indices) {
  const table = new Float64Array(indices.length + 2);
  let spare = TOTAL - (indices.length + 1);
  for (let b = 0; b < indices.length; b++) {
    const part = Math.floor((spare * PROBABILITIES[indices[b]]) / TOTAL);
    table[b + 1] = table[b] + 1 + part;
    spare -= part;
  }
  table[indices.length + 1] = TOTAL;
  return table;
}

/**
 * Decodes integer arrays.
 *
 * @param {Uint8Array} payload
 * @param {number[]} sizes numbers of each array
 * @returns {Int32Array[]}
 * @throws {CorruptStream}
 */
export function decodeIntegers(payload, sizes) {
  const reader = new RangeReader(payload);
  /** @type {Int32Array} */
  let indices = new Int32Array(0);
  const arrays = [];
  for (const size of sizes) {
    const again = readIndices(reader, [0], 2, "a flag")[0];
    if (!again) {
      const count = readIndices(reader, [0], BUCKETS, "a number of buckets")[0];
      indices = readChain(reader, count, FIRST_INDEX, PROBABILITIES.length, "probability indices");
    }
    arrays.push(indices.length ? readArray(reader, size, indices) : new Int32Array(size));
  }
  reader.finish();
  return arrays;
}

/**
 * @param {RangeReader} reader
 * @param {number} size
 * @param {Int32Array} indices
 * @returns {Int32Array}
 */
function readArray(reader, size, indices) {
  const buckets = reader.symbols(size, bucketTable(indices));
  const values = new Int32Array(size);
  const counts = new Int32Array(indices.length + 1);
  for (let k = 0; k < size; k++) counts[buckets[k]] += 1;
  for (let bucket = 1; bucket < counts.length; bucket++) {
    if (!counts[bucket]) continue;
    const bits = bucket < 2 ? 0 : (bucket >> 1) - 1;
    const least = bucket < 2 ? bucket : (2 + (bucket & 1)) * 2 ** bits;
    const places = reader.raw(counts[bucket], bits);
    for (let k = 0, next = 0; k < size; k++) {
      if (buckets[k] !== bucket) continue;
      values[k] = least + places[next];
      next += 1;
      if (values[k] > LARGEST_MAGNITUDE) {
        throw new CorruptStream(`expected integers up to ${LARGEST_MAGNITUDE}, found larger ones`);
      }
    }
  }
  const negative = reader.raw(size - counts[0], 1);
  for (let k = 0, next = 0; k < size; k++) {
    if (!values[k]) continue;
    if (negative[next]) values[k] *= -1;
    next += 1;
  }
  return values;
}
