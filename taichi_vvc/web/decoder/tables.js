/**
 * Parametric frequency tables in integer arithmetic.
 *
 * A table is kept as cumulative frequencies out of 2^24 in a Float64Array: `table[s]` is the sum of the frequencies
 * before symbol s, and the last entry is 2^24.
 *
 * @module
 */

import { EVEN, LARGEST, PRECISION, PROBABILITIES, SIDE_TABLE as SIDE, SPARSE_TABLE as SPARSE } from "./constants.js";

/** All frequencies of a table sum to this. */
export const TOTAL = 2 ** PRECISION;

/** Symbols of a magnitude table: 0 .. 15, and 16 for the escape. */
export const ALPHABET = LARGEST + 2;

/** Numbers of a magnitude table. */
export const STRIDE = ALPHABET + 1;

/** (a * b) >> 24 of integers below 2^24, exact. @param {number} a @param {number} b */
const share = (a, b) => Math.floor((a * b) / TOTAL);

/**
 * Cumulative sums.
 *
 * @param {ArrayLike<number>} frequencies
 * @returns {Float64Array}
 */
export function cumulative(frequencies) {
  const table = new Float64Array(frequencies.length + 1);
  for (let s = 0; s < frequencies.length; s++) table[s + 1] = table[s] + frequencies[s];
  return table;
}

/**
 * Writes a magnitude table of three probabilities: of zero; of 1 unless zero; of each later one unless smaller.
 *
 * @param {Float64Array} out
 * @param {number} at where in `out`
 * @param {number} zero
 * @param {number} first
 * @param {number} later
 */
export function writeMagnitudes(out, at, zero, first, later) {
  let mass = TOTAL - ALPHABET;
  let sum = 0;
  for (let m = 0; m <= LARGEST; m++) {
    const part = share(mass, m === 0 ? zero : m === 1 ? first : later);
    mass -= part;
    sum += 1 + part;
    out[at + m + 1] = sum;
  }
  out[at + ALPHABET] = TOTAL;
}

/**
 * Magnitude tables behind each other, from probability indices.
 *
 * @param {ArrayLike<number>} indices zero, first and later of each table
 * @returns {Float64Array}
 */
export function contextTables(indices) {
  const out = new Float64Array((indices.length / 3) * STRIDE);
  for (let k = 0; 3 * k < indices.length; k++) {
    const [zero, first, later] = [0, 1, 2].map((part) => PROBABILITIES[indices[3 * k + part]]);
    writeMagnitudes(out, k * STRIDE, zero, first, later);
  }
  return out;
}

/**
 * The magnitude table of a Laplace distribution.
 *
 * @param {number} scale probability index
 * @returns {Float64Array}
 */
export function laplaceTable(scale) {
  const zero = PROBABILITIES[scale];
  const stop = TOTAL - share(TOTAL - zero, TOTAL - zero);
  const out = new Float64Array(STRIDE);
  writeMagnitudes(out, 0, zero, stop, stop);
  return out;
}

/**
 * Tables of whether the prediction of a sign is right, three numbers each, class after class.
 *
 * @param {ArrayLike<number>} indices of classes 1 ..
 * @returns {Float64Array}
 */
export function signTables(indices) {
  const out = new Float64Array(3 * (indices.length + 1));
  for (let k = 0; k <= indices.length; k++) {
    out[3 * k + 1] = TOTAL - PROBABILITIES[k ? indices[k - 1] : EVEN];
    out[3 * k + 2] = TOTAL;
  }
  return out;
}

/** The tables of the magnitudes of small signed integers in headers, and of such as are mostly zero. */
export const [SIDE_TABLE, SPARSE_TABLE] = [cumulative(SIDE), cumulative(SPARSE)];
