/**
 * Small signed integers of headers, and the escapes of large symbols: what surrounds the main tables.
 *
 * @module
 */

import { LARGEST, LARGEST_MAGNITUDE } from "./constants.js";
import { CorruptStream } from "./errors.js";
import { cumulative, SIDE_TABLE } from "./tables.js";

/** @typedef {import("./entropy.js").RangeReader} RangeReader */

/** Magnitude at which a symbol is escaped. */
export const ESCAPE = LARGEST + 1;

const CLASSES = 21;
const CLASS_TABLE = cumulative(Array.from({ length: CLASSES }, (_, k) => 2 ** (23 - Math.min(k, CLASSES - 2))));

/**
 * The magnitudes of so many escapes, in the order of their list.
 *
 * @param {RangeReader} reader
 * @param {number} count
 * @param {number} order of the Exp-Golomb code
 * @returns {Int32Array}
 * @throws {CorruptStream}
 */
export function readEscapes(reader, count, order) {
  const lengths = reader.symbols(count, CLASS_TABLE).map((length) => length + order);
  const values = new Int32Array(count);
  for (let length = order; length < order + CLASSES; length++) {
    const own = lengths.reduce((total, found) => total + (found === length ? 1 : 0), 0);
    if (!own) continue;
    // A length of more than 21 bits is beyond every magnitude, and does not fit 32 bits later on.
    if (length > 21) throw tooLarge();
    const places = reader.raw(own, length);
    for (let k = 0, next = 0; k < count; k++) {
      if (lengths[k] !== length) continue;
      values[k] = ESCAPE + 2 ** length + places[next] - 2 ** order;
      if (values[k] > LARGEST_MAGNITUDE) throw tooLarge();
      next += 1;
    }
  }
  return values;
}

const tooLarge = () =>
  new CorruptStream(`expected symbols up to ${LARGEST_MAGNITUDE}, found larger ones; the file is damaged`);

/**
 * Small signed integers.
 *
 * @param {RangeReader} reader
 * @param {number} count
 * @param {Float64Array} [table] of their magnitudes
 * @returns {Int32Array}
 */
export function readSide(reader, count, table = SIDE_TABLE) {
  const values = reader.symbols(count, table);
  const where = indicesOf(values, (value) => value === ESCAPE);
  if (where.length) readEscapes(reader, where.length, 0).forEach((value, k) => (values[where[k]] = value));
  const nonzero = indicesOf(values, (value) => value !== 0);
  reader.raw(nonzero.length, 1).forEach((negative, k) => {
    if (negative) values[nonzero[k]] *= -1;
  });
  return values;
}

/** @param {Int32Array} values @param {(value: number) => boolean} test */
function indicesOf(values, test) {
  /** @type {number[]} */
  const found = [];
  values.forEach((value, k) => test(value) && found.push(k));
  return found;
}

/**
 * Integers in `[0, limit)` that are stated as differences to `expected`.
 *
 * @param {RangeReader} reader
 * @param {ArrayLike<number>} expected
 * @param {number} limit
 * @param {string} what in the error message
 * @param {Float64Array} [table]
 * @returns {Int32Array}
 * @throws {CorruptStream}
 */
export function readIndices(reader, expected, limit, what, table) {
  const values = readSide(reader, expected.length, table).map((value, k) => value + expected[k]);
  const wrong = values.find((value) => value < 0 || value >= limit);
  if (wrong !== undefined) throw new CorruptStream(`expected ${what} in 0..${limit - 1}, found ${wrong}`);
  return values;
}

/**
 * Indices that are stated each as the difference to the one before.
 *
 * @param {RangeReader} reader
 * @param {number} count
 * @param {number} first what the first is relative to
 * @param {number} limit
 * @param {string} what in the error message
 * @returns {Int32Array}
 * @throws {CorruptStream}
 */
export function readChain(reader, count, first, limit, what) {
  const values = readSide(reader, count);
  let sum = first;
  for (let k = 0; k < count; k++) {
    sum += values[k];
    values[k] = sum;
    if (sum < 0 || sum >= limit) throw new CorruptStream(`expected ${what} in 0..${limit - 1}, found ${sum}`);
  }
  return values;
}
