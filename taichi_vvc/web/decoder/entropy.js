/**
 * The range decoder: bytes to integer symbols.
 *
 * The coder's state is `range` and the distance `d` of the point from the low end, both below 2^64. Two facts keep
 * BigInt out of it. First, all that a symbol needs of the range is `scale`, its upper 40 bits: the next scale is the
 * upper part of `scale * frequency`. A double has 53 bits, so that this product and its upper part are exact but where
 * its fraction is within 2^-12 of a whole number, which is seen and done exactly. Second, `d` does not change where the
 * first symbol of a table is found, the likely one. It is kept as `d1 * 2^24 + d0`, and compared as a double unless the
 * two are too near to each other for that.
 *
 * @module
 */

import { PRECISION } from "./constants.js";
import { CorruptStream } from "./errors.js";
import { TOTAL } from "./tables.js";

const RAW_BITS = 11;
const UNIT = 2 ** -PRECISION;
const WORD = 2 ** 32;
const NEAR = 2 ** -12; // of a fraction to a whole number, and of a quotient to a border
const CLOSE = 2 ** 13; // of two doubles below 2^64
const BEFORE_THE_END = 2 ** 33 - 1;

/** The upper 40 bits of `scale * frequency`, exactly. @param {number} scale @param {number} frequency */
function upper(scale, frequency) {
  const high = Math.floor(frequency / 4096);
  const a = scale * high;
  const b = Math.floor(a / 4096);
  return b + Math.floor(((a - b * 4096) * 4096 + scale * (frequency - high * 4096)) * UNIT);
}

/** The lower 24 bits of `scale * frequency`. @param {number} scale @param {number} frequency */
function lower(scale, frequency) {
  const high = Math.floor(frequency / 4096);
  const a = scale * high;
  const b = (a - Math.floor(a / 4096) * 4096) * 4096 + scale * (frequency - high * 4096);
  return b - Math.floor(b * UNIT) * TOTAL;
}

/** Positions 0, 1, 2, ..: the order of symbols that are not grouped. */
let plainOrder = new Int32Array(0);

/** @param {number} count */
function identity(count) {
  if (plainOrder.length < count) plainOrder = Int32Array.from({ length: 2 * count }, (_, k) => k);
  return plainOrder;
}

/** Decodes the symbols of one payload. Methods throw {@link CorruptStream} where the bytes cannot be decoded. */
export class RangeReader {
  /** @param {Uint8Array} payload */
  constructor(payload) {
    const { length } = payload;
    if (length % 4) {
      throw new CorruptStream(`expected whole 32-bit words of entropy-coded data, found ${length} bytes`);
    }
    // Two words more than there are: words beyond the end are 0.
    this.count = length / 4;
    this.words = new Uint32Array(this.count + 2);
    const view = new DataView(payload.buffer, payload.byteOffset, length);
    for (let k = 0; k < this.count; k++) this.words[k] = view.getUint32(4 * k, true);
    const [first, second] = this.words;
    this.next = 2;
    // scale, d1, d0
    this.state = Float64Array.of(2 ** 40 - 1, first * 256 + Math.floor(second * UNIT), second & (TOTAL - 1));
  }

  /** The next word, counted beyond the end too. @returns {number} */
  word() {
    const word = this.next < this.count ? this.words[this.next] : 0;
    this.next += 1;
    return word;
  }

  /**
   * Symbols by tables: of each table as many as `counts` says, one table after the other.
   *
   * @param {Int32Array} counts per table
   * @param {Float64Array} tables cumulative frequencies
   * @param {number} stride numbers of `tables` per table
   * @param {Int32Array} order where each symbol goes in `out`
   * @param {Uint8Array} out
   */
  groups(counts, tables, stride, order, out) {
    const { state } = this;
    let scale = state[0];
    let d1 = state[1];
    let d0 = state[2];
    let d = d1 * TOTAL + d0;
    let at = 0;
    for (let table = 0; table < counts.length; table++) {
      const base = table * stride;
      const likely = tables[base + 1];
      for (const end = at + counts[table]; at < end; at++) {
        let frequency = likely;
        let range = scale * likely;
        let symbol = 0;
        let below = d < range;
        if (d - range < CLOSE && range - d < CLOSE) below = this.isBelow(d1, d0, scale, likely);
        if (!below) {
          const place = d / scale;
          symbol = 1;
          while (symbol < stride - 2 && place >= tables[base + symbol + 1]) symbol++;
          let border = tables[base + symbol];
          if (place - border < NEAR || tables[base + symbol + 1] - place < NEAR) {
            symbol = this.exactly(d1, d0, scale, tables, base, stride, symbol);
            border = tables[base + symbol];
          }
          frequency = tables[base + symbol + 1] - border;
          const high = Math.floor(border / 4096);
          const a = scale * high;
          const b = Math.floor(a / 4096);
          const c = (a - b * 4096) * 4096 + scale * (border - high * 4096);
          const e = Math.floor(c * UNIT);
          d1 -= b + e;
          d0 -= c - e * TOTAL;
          if (d0 < 0) {
            d0 += TOTAL;
            d1 -= 1;
          }
          d = d1 * TOTAL + d0;
          range = scale * frequency;
        }
        out[order[at]] = symbol;
        if (range < WORD) {
          const word = this.word();
          scale = range * 256;
          d1 = d * 256 + Math.floor(word * UNIT);
          d0 = word & (TOTAL - 1);
          d = d1 * TOTAL + d0;
        } else {
          const product = range * UNIT;
          const whole = Math.floor(product);
          const fraction = product - whole;
          scale = fraction > NEAR && fraction < 1 - NEAR ? whole : upper(scale, frequency);
        }
      }
    }
    state[0] = scale;
    state[1] = d1;
    state[2] = d0;
  }

  /**
   * Whether the point is below `scale * frequency`, exactly.
   *
   * @param {number} d1
   * @param {number} d0
   * @param {number} scale
   * @param {number} frequency
   * @returns {boolean}
   */
  isBelow(d1, d0, scale, frequency) {
    const high = upper(scale, frequency);
    return d1 < high || (d1 === high && d0 < lower(scale, frequency));
  }

  /**
   * The symbol of a place near a border, exactly; `symbol` is off by one at most.
   *
   * @param {number} d1
   * @param {number} d0
   * @param {number} scale
   * @param {Float64Array} tables
   * @param {number} base
   * @param {number} stride
   * @param {number} symbol
   * @returns {number}
   */
  exactly(d1, d0, scale, tables, base, stride, symbol) {
    while (symbol > 0 && this.isBelow(d1, d0, scale, tables[base + symbol])) symbol--;
    while (!this.isBelow(d1, d0, scale, tables[base + symbol + 1])) {
      symbol++;
      if (symbol > stride - 2) throw new CorruptStream("entropy-coded data do not decode; the file is damaged");
    }
    return symbol;
  }

  /**
   * Symbols of one table.
   *
   * @param {number} count
   * @param {Float64Array} table
   * @returns {Int32Array}
   */
  symbols(count, table) {
    const out = new Uint8Array(count);
    this.groups(Int32Array.of(count), table, table.length, identity(count), out);
    return Int32Array.from(out);
  }

  /**
   * Values of some raw bits each.
   *
   * @param {number} count
   * @param {number} bits at most 31
   * @returns {Int32Array}
   */
  raw(count, bits) {
    const values = new Int32Array(count);
    for (let shift = 0; bits > 0; ) {
      const part = Math.min(bits, RAW_BITS);
      for (let k = 0; k < count; k++) values[k] |= this.bits(part) << shift;
      shift += part;
      bits -= part;
    }
    return values;
  }

  /**
   * So many bits of equal frequencies.
   *
   * @param {number} bits
   * @returns {number}
   */
  bits(bits) {
    const { state } = this;
    const scale = state[0];
    const frequency = TOTAL / 2 ** bits;
    const d = state[1] * TOTAL + state[2];
    let symbol = Math.min(Math.floor(d / scale / frequency), 2 ** bits - 1);
    while (symbol > 0 && this.isBelow(state[1], state[2], scale, symbol * frequency)) symbol--;
    while (!this.isBelow(state[1], state[2], scale, (symbol + 1) * frequency)) {
      symbol++;
      if (symbol >= 2 ** bits) throw new CorruptStream("entropy-coded data do not decode; the file is damaged");
    }
    state[1] -= upper(scale, symbol * frequency);
    state[2] -= lower(scale, symbol * frequency);
    if (state[2] < 0) {
      state[2] += TOTAL;
      state[1] -= 1;
    }
    const range = scale * frequency;
    if (range < WORD) {
      const word = this.word();
      state[0] = range * 256;
      state[1] = (state[1] * TOTAL + state[2]) * 256 + Math.floor(word * UNIT);
      state[2] = word & (TOTAL - 1);
    } else {
      state[0] = Math.floor(range * UNIT);
    }
    return symbol;
  }

  /** Checks that nothing is left over. */
  finish() {
    if (this.next < this.count || this.state[1] * TOTAL + this.state[2] >= BEFORE_THE_END) {
      throw new CorruptStream("expected the end of entropy-coded data, found more; the file is damaged");
    }
  }
}
