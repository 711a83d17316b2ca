/**
 * Strings of bits, and runs of numbers in them: what poses and colour maps of cameras are coded in.
 *
 * The first bit is the lowest of the first byte. A run is five bits, the width of its numbers, and then the numbers in
 * two's complement; a width of 0 stands for zeros.
 *
 * @module
 */

import { RUN_WIDTH } from "./constants.js";
import { CorruptStream } from "./errors.js";

/** Reads bits from bytes. */
export class BitReader {
  /**
   * @param {Uint8Array} payload
   * @param {string} place begins error messages
   */
  constructor(payload, place) {
    this.payload = payload;
    this.place = place;
    this.at = 0;
  }

  /**
   * The next bits as a number.
   *
   * @param {number} width at most 31
   * @returns {number}
   */
  take(width) {
    if (this.at + width > 8 * this.payload.length) {
      throw new CorruptStream(`${this.place}: expected more about its cameras, found the end; the file is damaged`);
    }
    let value = 0;
    for (let k = 0; k < width; k++, this.at++) {
      value |= ((this.payload[this.at >> 3] >> (this.at & 7)) & 1) << k;
    }
    return value;
  }

  /**
   * A run of numbers.
   *
   * @param {number} count
   * @returns {number[]}
   */
  run(count) {
    const width = this.take(RUN_WIDTH);
    const spare = 32 - width;
    return Array.from({ length: count }, () => (width ? (this.take(width) << spare) >> spare : 0));
  }

  /** Checks that nothing is left but zeros in the last byte. */
  finish() {
    const left = 8 * this.payload.length - this.at;
    if (left > 7 || this.take(left)) {
      throw new CorruptStream(`${this.place}: expected the end, found more about its cameras; the file is damaged`);
    }
  }
}
