/**
 * The colour maps of cameras: the `colours` of a group, in integers.
 *
 * @module
 */

import { BitReader } from "./bits.js";
import { COLOUR_UNITS, GAINS, OFFSETS } from "./constants.js";
import { CorruptStream } from "./errors.js";

/**
 * The maps as they are coded: per camera its gains less one and its offsets, in units; all 0 without a map.
 *
 * @typedef {{numbers: number[][], backdrop: boolean}} CodedMaps
 */

/**
 * Decodes the colour maps of so many cameras.
 *
 * @param {Uint8Array} payload not empty
 * @param {number} cameras
 * @param {string} place begins error messages
 * @returns {CodedMaps}
 * @throws {CorruptStream}
 */
export function parseColours(payload, cameras, place) {
  const bits = new BitReader(payload, place);
  if (!bits.take(1)) {
    throw new CorruptStream(`${place}: expected colours of cameras, found another first bit; the file is damaged`);
  }
  const backdrop = bits.take(1) === 1;
  const numbers = [];
  for (let k = 0; k < cameras; k++) {
    let own = [0, 0, 0, 0, 0, 0];
    if (bits.take(1)) {
      own = [...bits.run(3), ...bits.run(3)];
      if (own.every((value) => value === 0)) {
        throw new CorruptStream(`${place}: expected a map that changes colours, found another; the file is damaged`);
      }
    }
    own.forEach((value, index) => {
      const [least, most] = index < 3 ? GAINS : OFFSETS;
      if (value < least || value > most) {
        throw new CorruptStream(`${place}: expected colours in ${least}..${most} units, found ${value}`);
      }
    });
    numbers.push(own);
  }
  bits.finish();
  return { numbers, backdrop };
}

/**
 * Maps as a renderer applies them.
 *
 * @param {CodedMaps | null} coded
 * @returns {import("./types.js").ColourMap[]}
 */
export function colourMaps(coded) {
  if (!coded) return [];
  return coded.numbers.map((own) => ({
    gain: own.slice(0, 3).map((value) => 1 + value / COLOUR_UNITS),
    offset: own.slice(3).map((value) => value / COLOUR_UNITS),
    backdrop: coded.backdrop,
  }));
}
