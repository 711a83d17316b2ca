/**
 * Hashes of what a file decodes to: the same on every machine; docs/bitstream.md, section 13.
 *
 * @module
 */

import { Sha256 } from "./sha256.js";

/** Whether numbers in memory are as the hashes want them. */
const LITTLE = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/**
 * The bytes of numbers, little-endian.
 *
 * @param {Int32Array | Float32Array} values
 * @returns {Uint8Array}
 */
function bytesOf(values) {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  if (LITTLE) return bytes;
  const turned = new Uint8Array(bytes.length);
  for (let k = 0; k < bytes.length; k++) turned[k] = bytes[k ^ 3];
  return turned;
}

/**
 * Integers up to 2^53 as 64 bits each.
 *
 * @param {number[]} values
 * @returns {Uint8Array}
 */
function longs(values) {
  const view = new DataView(new ArrayBuffer(8 * values.length));
  values.forEach((value, k) => {
    view.setInt32(8 * k, value % 2 ** 32 | 0, true);
    view.setInt32(8 * k + 4, Math.floor(value / 2 ** 32), true);
  });
  return new Uint8Array(view.buffer);
}

/**
 * Decodes a whole file and sums up what it holds.
 *
 * @param {import("./decoder.js").TvvcFile} file
 * @param {(done: number, frames: number) => void} [tell] is told how far it is
 * @returns {Promise<{symbols: string, pictures: string}>} two SHA-256 in hexadecimal digits
 */
export async function hashesOf(file, tell = () => {}) {
  const symbols = new Sha256();
  const pictures = new Sha256().update(file.forPictures);
  let frame = null;
  for (let index = 0; index < file.frames.length; index++) {
    /** @type {any} */
    const found = await file.decode(index, { reuse: frame });
    frame = found;
    if (found.key) {
      for (const values of [found.group.steps, ...found.group.mlp]) pictures.update(bytesOf(values));
      const { coded, damage } = found.group;
      if (damage) throw damage;
      for (const numbers of coded?.numbers ?? []) {
        pictures.update(bytesOf(Int32Array.from(numbers))).update(Uint8Array.of(Number(coded.backdrop)));
      }
    }
    for (const hash of [symbols, pictures]) {
      hash.update(found.occupancy);
      for (const grid of found.symbols) hash.update(bytesOf(grid));
    }
    for (const state of found.track) {
      pictures.update(longs([...state.pose, ...state.lens]));
      pictures.update(Uint8Array.of(Number(state.moved), Number(state.zoomed)));
    }
    tell(index + 1, file.frames.length);
  }
  return { symbols: symbols.hex(), pictures: pictures.hex() };
}
