/**
 * The elements of the syntax tables: each reads one kind of value and checks its range.
 *
 * Numbers are little-endian. Reading allocates no more memory than the payload's own bytes justify, whatever lengths it
 * states. The tables themselves are in `formats.js`.
 *
 * @module
 */

import { CorruptStream } from "./errors.js";

/** Reads bytes from front to back. */
export class Cursor {
  /**
   * @param {Uint8Array} data
   * @param {string} place begins error messages
   */
  constructor(data, place) {
    this.data = data;
    this.view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    this.place = place;
    this.at = 0;
    /** Where the fields of the last structures began. @type {Map<string, number>} */
    this.marks = new Map();
  }

  /**
   * The offset of the next bytes, which are passed over.
   *
   * @param {number} count
   * @returns {number}
   * @throws {CorruptStream} there are fewer
   */
  skip(count) {
    const at = this.at;
    if (count > this.data.length - at) {
      const left = this.data.length - at;
      throw new CorruptStream(`${this.place}: expected ${count} more bytes, found ${left}; the file is damaged`);
    }
    this.at = at + count;
    return at;
  }

  /**
   * The next bytes, not copied.
   *
   * @param {number} count
   * @returns {Uint8Array}
   */
  take(count) {
    const at = this.skip(count);
    return this.data.subarray(at, at + count);
  }

  /**
   * Checks that all bytes were read.
   *
   * @throws {CorruptStream} some are left
   */
  finish() {
    const left = this.data.length - this.at;
    if (left) throw new CorruptStream(`${this.place}: expected the end, found ${left} more bytes; the file is damaged`);
  }

  /**
   * @param {string} name of a field
   * @param {string} expected
   * @param {unknown} found
   * @returns {CorruptStream}
   */
  bad(name, expected, found) {
    const text = typeof found === "string" ? JSON.stringify(found) : String(found);
    return new CorruptStream(`${this.place}: expected ${name} ${expected}, found ${text}; the file is damaged`);
  }
}

/**
 * Reads one value; `name` is the field's name in error messages, `lacks` the fields that this version does not have.
 *
 * @typedef {(cursor: Cursor, name: string, lacks: ReadonlySet<string>) => any} Element
 */

/** @type {ReadonlySet<string>} */
const NONE = new Set();

/**
 * An integer as LEB128: 7 bits per byte, low ones first, in as few bytes as possible.
 *
 * @param {number} lowest
 * @param {number} highest
 * @returns {Element}
 */
export function count(lowest, highest) {
  return (cursor, name) => {
    let value = 0;
    let factor = 1;
    for (let number = 0; ; ) {
      const byte = cursor.data[cursor.skip(1)];
      value += (byte & 127) * factor;
      factor *= 128;
      number += 1;
      if (byte < 128) {
        if (byte === 0 && number > 1) throw cursor.bad(name, "in as few bytes as possible", "more");
        break;
      }
      if (number > 9) throw cursor.bad(name, "in at most 9 bytes", "more");
    }
    if (value < lowest || value > highest) throw cursor.bad(name, `in ${lowest}..${highest}`, value);
    return value;
  };
}

/**
 * One of a few words, as one byte: the word's index in the list.
 *
 * @param {string[]} words
 * @returns {Element}
 */
export function choice(words) {
  return (cursor, name) => {
    const value = cursor.data[cursor.skip(1)];
    if (value >= words.length) throw cursor.bad(name, `in 0..${words.length - 1}`, value);
    return words[value];
  };
}

/**
 * A finite IEEE 754 number.
 *
 * @param {"f" | "d"} code 32 or 64 bits
 * @param {number} lowest
 * @param {number} highest
 * @returns {Element}
 */
export function float(code, lowest, highest) {
  return (cursor, name) => {
    const value =
      code === "f" ? cursor.view.getFloat32(cursor.skip(4), true) : cursor.view.getFloat64(cursor.skip(8), true);
    if (!(value >= lowest && value <= highest)) throw cursor.bad(name, `in ${lowest}..${highest}`, value);
    return value;
  };
}

/**
 * A positive fraction in lowest terms: numerator and denominator.
 *
 * @param {number} highest of each
 * @returns {Element}
 */
export function ratio(highest) {
  const part = count(1, highest);
  return (cursor, name, lacks) => {
    const above = part(cursor, name, lacks);
    const below = part(cursor, name, lacks);
    let [a, b] = [above, below];
    while (b) [a, b] = [b, a % b];
    if (a !== 1) throw cursor.bad(name, "in lowest terms", `${above}/${below}`);
    return [above, below];
  };
}

/**
 * Bytes, preceded by their number.
 *
 * @param {number} highest number of bytes
 * @returns {Element}
 */
export function blob(highest) {
  const length = count(0, highest);
  return (cursor, name) => cursor.take(length(cursor, `the length of ${name}`, NONE));
}

/**
 * All remaining bytes, without a length; only at the end of a payload.
 *
 * @param {number} highest number of bytes
 * @returns {Element}
 */
export function rest(highest) {
  return (cursor, name) => {
    const left = cursor.data.length - cursor.at;
    if (left > highest) throw cursor.bad(`the length of ${name}`, `in 0..${highest}`, left);
    return cursor.take(left);
  };
}

/**
 * A blob of UTF-8.
 *
 * @param {number} highest number of bytes
 * @returns {Element}
 */
export function text(highest) {
  const bytes = blob(highest);
  return (cursor, name, lacks) => {
    const data = bytes(cursor, name, lacks);
    try {
      return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(data);
    } catch {
      throw cursor.bad(name, "in UTF-8", "other bytes");
    }
  };
}

/**
 * So many values of one kind.
 *
 * @param {number} number
 * @param {Element} item
 * @returns {Element}
 */
export function fixed(number, item) {
  return (cursor, name, lacks) => Array.from({ length: number }, () => item(cursor, name, lacks));
}

/**
 * Values of one kind, preceded by their number. Each takes a byte or more, so that the number is checked against the
 * payload's size.
 *
 * @param {number} lowest
 * @param {number} highest
 * @param {Element} item
 * @returns {Element}
 */
export function several(lowest, highest, item) {
  const length = count(lowest, highest);
  return (cursor, name, lacks) => {
    const number = length(cursor, `the number of ${name}`, NONE);
    if (number > cursor.data.length - cursor.at) {
      throw cursor.bad(`the number of ${name}`, "to fit the data", number);
    }
    const values = [];
    for (let k = 0; k < number; k++) values.push(item(cursor, name, lacks));
    return values;
  };
}

/**
 * Named fields in their order.
 *
 * @param {Record<string, Element>} fields
 * @returns {Element & {fields: Record<string, Element>}}
 */
export function structure(fields) {
  const entries = Object.entries(fields);
  /** @type {Element} */
  const read = (cursor, _name, lacks) => {
    /** @type {Record<string, any>} */
    const value = {};
    for (const [key, element] of entries) {
      if (lacks.has(key)) continue;
      cursor.marks.set(key, cursor.at);
      value[key] = element(cursor, key, lacks);
    }
    return value;
  };
  return Object.assign(read, { fields });
}

/**
 * The record that the whole of `data` encodes.
 *
 * @param {import("./formats.js").Format} format
 * @param {Uint8Array} data
 * @param {string} place begins error messages
 * @returns {any}
 * @throws {CorruptStream} a value is out of range, or bytes are missing or left over
 */
export function parse(format, data, place) {
  return parseFrom(format, new Cursor(data, place));
}

/**
 * The same of the bytes of a cursor, which then knows where fields began.
 *
 * @param {import("./formats.js").Format} format
 * @param {Cursor} cursor
 * @returns {any}
 */
export function parseFrom({ element, lacks }, cursor) {
  const value = element(cursor, cursor.place, new Set(lacks));
  cursor.finish();
  return value;
}
