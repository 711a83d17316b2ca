/**
 * The sequence header since version 8: its fields compressed with a preset dictionary, and its cameras as integers.
 *
 * Cameras are the integers of section 4.1 of docs/bitstream.md, in columns: of each number the least one, and then by
 * how much each camera's is larger. A quaternion of length one has three numbers of its own; the largest one follows
 * from them but for a small correction.
 *
 * @module
 */

import { BitReader } from "./bits.js";
import {
  DICTIONARY,
  LENS_BITS,
  MAX_CAMERA_NUMBER,
  POSITION_BIAS,
  RIG_MAX_WIDTH,
  RIG_WIDTH,
} from "./constants.js";
import { blob, Cursor } from "./elements.js";
import { CorruptStream } from "./errors.js";

const PLACE = "sequence header";
const FIELDS = blob(2 ** 32 - 1);

/**
 * The two parts of the payload: a deflate stream that begins with the dictionary, and the cameras.
 *
 * @param {Uint8Array} payload
 * @returns {{deflated: Uint8Array, dictionary: number, rig: Uint8Array}} `dictionary`: how much of what it inflates to
 *     is the dictionary
 */
export function splitHeader(payload) {
  const cursor = new Cursor(payload, PLACE);
  const fields = FIELDS(cursor, "fields", new Set());
  const rig = cursor.take(payload.length - cursor.at);
  const text = new TextEncoder().encode(DICTIONARY.join(""));
  const size = text.length;
  // A stored block, after which a stream with this dictionary goes on as it would have begun.
  const deflated = new Uint8Array(5 + size + fields.length);
  deflated.set([0, size & 255, size >> 8, ~size & 255, (~size >> 8) & 255]);
  deflated.set(text, 5);
  deflated.set(fields, 5 + size);
  return { deflated, dictionary: size, rig };
}

/**
 * Completes a header's record with its cameras.
 *
 * @param {any} record without `intrinsics` and `cameras`
 * @param {Uint8Array} rig
 * @returns {any}
 * @throws {CorruptStream}
 */
export function withCameras({ lenses, names: short, ...record }, rig) {
  const bits = new BitReader(rig, PLACE);
  const names = wholeNames(short);
  const count = names.length;
  const splits = names.map(() => bits.take(1));
  const chosen = column(bits, count);
  const intrinsics = readLenses(bits, lenses);
  const signs = names.map(() => [bits.take(2), bits.take(1)]);
  const columns = Array.from({ length: 7 }, () => column(bits, count));
  bits.finish();
  const rotationUnit = 2 ** -record.rotationBits;
  const positionUnit = 2 ** (POSITION_BIAS - record.positionBits);
  const cameras = names.map((name, k) => {
    const own = columns.map((values) => values[k]);
    const [largest, negative] = signs[k];
    const rotation = own.slice(0, 3);
    const size = largestOf(rotation, record.rotationBits) + own[3];
    rotation.splice(largest, 0, negative ? -size : size);
    return {
      name,
      split: splits[k] ? "test" : "train",
      intrinsics: chosen[k],
      rotation: rotation.map((value) => value * rotationUnit),
      position: own.slice(4).map((value) => value * positionUnit),
    };
  });
  return { ...record, intrinsics, cameras };
}

/**
 * @param {BitReader} bits
 * @param {number} count
 * @returns {any[]}
 */
function readLenses(bits, count) {
  const columns = Array.from({ length: 10 }, () => column(bits, count));
  return Array.from({ length: count }, (_, k) => {
    const [width, height, ...numbers] = columns.map((values) => values[k]);
    if (!(width >= 1 && width <= 65536 && height >= 1 && height <= 65536)) {
      throw new CorruptStream(
        `${PLACE}: expected pictures of 1..65536 pixels a side, found ${width}x${height}; the file is damaged`,
      );
    }
    if (Math.min(numbers[0], numbers[1]) < 1) {
      throw new CorruptStream(`${PLACE}: expected a positive focal length, found another; the file is damaged`);
    }
    const [fx, fy, cx, cy, k1, k2, p1, p2] = numbers.map((value, n) => value * 2 ** -LENS_BITS[n]);
    return { width, height, fx, fy, cx, cy, k1, k2, p1, p2 };
  });
}

/**
 * The names of cameras; an empty one is the successor of the one before.
 *
 * @param {string[]} short
 * @returns {string[]}
 */
function wholeNames(short) {
  /** @type {string[]} */
  const names = [];
  for (const name of short) {
    const whole = name || (names.length ? successor(names[names.length - 1]) : "");
    if (whole === null || new TextEncoder().encode(whole).length > 255) {
      throw new CorruptStream(`${PLACE}: expected names of cameras, found none; the file is damaged`);
    }
    names.push(whole);
  }
  return names;
}

/**
 * A name whose last digits count on by one, with as many digits or one more; null where it ends without digits.
 *
 * @param {string} name
 * @returns {string | null}
 */
function successor(name) {
  const [digits] = /** @type {RegExpMatchArray} */ (name.match(/[0-9]*$/));
  if (!digits) return null;
  const kept = digits.replace(/9+$/, "");
  const raised = kept ? kept.slice(0, -1) + (Number(kept.slice(-1)) + 1) : "1";
  return name.slice(0, name.length - digits.length) + raised + "0".repeat(digits.length - kept.length);
}

/**
 * The magnitude of the largest part of a quaternion, in units, rounded down; 0 where the others are too large.
 *
 * @param {number[]} others
 * @param {number} bits
 * @returns {number}
 */
function largestOf(others, bits) {
  let square = 1n << BigInt(2 * bits);
  for (const part of others) square -= BigInt(part) ** 2n;
  if (square <= 0n) return 0;
  let root = BigInt(Math.floor(Math.sqrt(Number(square))));
  while (root * root > square) root--;
  while ((root + 1n) * (root + 1n) <= square) root++;
  return Number(root);
}

/**
 * Numbers of one kind: the least, and what each has beyond it.
 *
 * @param {BitReader} bits
 * @param {number} count
 * @returns {number[]}
 */
function column(bits, count) {
  if (!count) return [];
  const width = widthOf(bits);
  let least = take(bits, width);
  if (width && least >= 2 ** (width - 1)) least -= 2 ** width;
  const own = widthOf(bits);
  const values = Array.from({ length: count }, () => least + take(bits, own));
  if (values.some((value) => Math.abs(value) > MAX_CAMERA_NUMBER)) {
    throw new CorruptStream(`${PLACE}: expected numbers of cameras up to 2^52, found larger ones; the file is damaged`);
  }
  return values;
}

/** @param {BitReader} bits */
function widthOf(bits) {
  const width = bits.take(RIG_WIDTH);
  if (width > RIG_MAX_WIDTH) {
    throw new CorruptStream(
      `${PLACE}: expected numbers of cameras of at most ${RIG_MAX_WIDTH} bits, found ${width}; the file is damaged`,
    );
  }
  return width;
}

/** So many bits as a number. @param {BitReader} bits @param {number} width */
function take(bits, width) {
  const low = bits.take(Math.min(width, 30));
  return width > 30 ? low + bits.take(width - 30) * 2 ** 30 : low;
}
