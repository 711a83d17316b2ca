/**
 * A file on a server, loaded range by range: nothing is loaded twice, and what is needed at once comes first.
 *
 * @module
 */

import { SourceError } from "./errors.js";
import { collected, eachChunk } from "./responses.js";

/** @typedef {import("./responses.js").Meter} Meter */

/**
 * What was loaded so far.
 *
 * @typedef {object} Traffic
 * @property {number} bytes
 * @property {number} requests
 * @property {number} size of the file
 * @property {boolean} ranges whether the server serves parts of the file
 * @property {number} bytesPerSecond while something is loaded, of late; 0 before anything is known
 */

/**
 * @typedef {object} NetworkOptions
 * @property {typeof fetch} [fetch] in place of the global one
 * @property {string} [name] begins error messages; default the address
 * @property {(loaded: number, size: number) => void} [progress] of a whole download; a size of 0 is not known
 * @property {number} [keep] bytes that are kept; what was used longest ago goes first
 */

/**
 * A part of the file that is being loaded, or has been.
 *
 * @typedef {object} Part
 * @property {number} begin
 * @property {number} end
 * @property {Uint8Array} data
 * @property {number} filled bytes that have come
 * @property {boolean} ahead whether others may come first
 * @property {AbortController | null} abort null where all has come
 * @property {unknown} error
 * @property {number} used when it was last read
 */

const TRIES = 4;
const PAUSE = 400; // ms before a request is tried again, doubled each time
const KEEP = 2 ** 29;

/** A file of known size whose server serves ranges; a source of `types.js`. */
export class RangeSource {
  /**
   * @param {string} url
   * @param {number} size bytes
   * @param {NetworkOptions} options
   * @param {Meter} meter
   */
  constructor(url, size, options, meter) {
    this.url = url;
    this.size = size;
    this.name = options.name ?? url;
    this.fetch = options.fetch ?? globalThis.fetch.bind(globalThis);
    this.kept = options.keep ?? KEEP;
    this.meter = meter;
    /** Parts by where they begin; they do not overlap. @type {Part[]} */
    this.parts = [];
    this.clock = 0;
    /** Those who wait for bytes. @type {(() => void)[]} */
    this.waiting = [];
    this.closed = false;
  }

  /** @returns {Traffic} */
  get traffic() {
    const { bytes, requests, bytesPerSecond } = this.meter;
    return { bytes, requests, size: this.size, ranges: true, bytesPerSecond };
  }

  /**
   * Bytes that have come already.
   *
   * @param {number} begin
   * @param {Uint8Array} data
   */
  put(begin, data) {
    const end = begin + data.length;
    this.insert({ begin, end, data, filled: data.length, ahead: false, abort: null, error: null, used: this.clock });
  }

  /** @param {Part} part */
  insert(part) {
    this.parts.push(part);
    this.parts.sort((a, b) => a.begin - b.begin);
  }

  /**
   * The parts of a range that are neither there nor on their way.
   *
   * @param {number} begin
   * @param {number} end
   * @returns {[number, number][]}
   */
  missing(begin, end) {
    /** @type {[number, number][]} */
    const gaps = [];
    for (const part of this.parts) {
      if (part.end <= begin) continue;
      if (part.begin >= end) break;
      if (part.begin > begin) gaps.push([begin, part.begin]);
      begin = Math.max(begin, part.end);
    }
    if (begin < end) gaps.push([begin, end]);
    return gaps;
  }

  /**
   * Whether bytes are there.
   *
   * @param {number} begin
   * @param {number} end
   * @returns {boolean}
   */
  has(begin, end) {
    for (const part of this.parts) {
      if (part.end <= begin) continue;
      if (part.begin > begin || begin >= end) break;
      if (part.begin + part.filled < Math.min(end, part.end)) return false;
      begin = part.end;
    }
    return begin >= Math.min(end, this.size);
  }

  /**
   * Asks for bytes. What is needed at once interrupts what is loaded ahead elsewhere; what has come of that stays.
   *
   * @param {number} begin
   * @param {number} end
   * @param {boolean} [ahead]
   */
  want(begin, end, ahead = false) {
    const gaps = this.missing(Math.max(0, begin), Math.min(end, this.size));
    if (!gaps.length) return;
    if (!ahead) this.interrupt(begin, end);
    for (const [from, to] of this.missing(Math.max(0, begin), Math.min(end, this.size))) this.load(from, to, ahead);
  }

  /**
   * Stops what is loaded ahead and is not wanted now.
   *
   * @param {number} begin
   * @param {number} end
   */
  interrupt(begin, end) {
    for (const part of [...this.parts]) {
      if (part.abort && part.ahead && (part.end <= begin || part.begin >= end)) this.cut(part);
    }
  }

  /** Ends a part at what has come. @param {Part} part */
  cut(part) {
    part.abort?.abort();
    part.abort = null;
    part.end = part.begin + part.filled;
    part.data = part.data.slice(0, part.filled);
    if (!part.filled) this.parts.splice(this.parts.indexOf(part), 1);
  }

  /**
   * @param {number} begin
   * @param {number} end
   * @param {boolean} ahead
   */
  load(begin, end, ahead) {
    const data = new Uint8Array(end - begin);
    const abort = new AbortController();
    /** @type {Part} */
    const part = { begin, end, data, filled: 0, ahead, abort, error: null, used: this.clock };
    this.insert(part);
    this.fill(part, abort.signal).catch((error) => {
      if (abort.signal.aborted) return;
      this.cut(part);
      part.error = error;
      this.parts = this.parts.filter((other) => other !== part || part.filled);
      this.failed = error;
    }).finally(() => this.tell());
  }

  tell() {
    const waiting = this.waiting;
    this.waiting = [];
    for (const wake of waiting) wake();
  }

  /**
   * Loads a part; after a failure what is left of it is tried again.
   *
   * @param {Part} part
   * @param {AbortSignal} signal
   */
  async fill(part, signal) {
    for (let attempt = 1; part.filled < part.end - part.begin; attempt++) {
      const before = part.filled;
      try {
        await this.request(part, signal);
      } catch (error) {
        if (signal.aborted) return;
        if (part.filled > before) attempt = 1;
        if (attempt >= TRIES || (error instanceof SourceError && !(/** @type {any} */ (error).again))) throw error;
        await new Promise((resolve) => setTimeout(resolve, PAUSE * 2 ** (attempt - 1)));
      }
      if (signal.aborted) return;
    }
    part.abort = null;
    this.trim();
  }

  /**
   * @param {Part} part
   * @param {AbortSignal} signal
   */
  async request(part, signal) {
    const from = part.begin + part.filled;
    this.meter.begin();
    try {
      const headers = { Range: `bytes=${from}-${part.end - 1}` };
      const response = await this.fetch(this.url, { headers, signal, cache: "no-cache" });
      if (response.status === 200) return await this.takeWhole(part, response, signal);
      this.check(response, from);
      await eachChunk(response, (chunk) => {
        if (signal.aborted) return;
        const room = part.data.length - part.filled;
        part.data.set(chunk.subarray(0, room), part.filled);
        part.filled += Math.min(room, chunk.length);
        this.meter.add(chunk.length);
        this.tell();
      });
    } finally {
      this.meter.end();
    }
    if (part.filled < part.data.length && !signal.aborted) throw new Error("the connection ended early");
  }

  /**
   * Takes over the whole file, sent in place of the range of a part. Browsers serve ranges out of what they have kept
   * of an earlier visit, also of servers that serve none: those answer so once the browser has let go of it.
   *
   * @param {Part} part
   * @param {Response} response
   * @param {AbortSignal} signal
   */
  async takeWhole(part, response, signal) {
    const data = await collected(response, this.meter);
    if (signal.aborted) return;
    if (data.length !== this.size) {
      throw new SourceError(`${this.name}: expected ${this.size} bytes, found ${data.length}; it has changed`);
    }
    part.filled = part.data.length;
    for (const other of this.parts) if (other !== part) other.abort?.abort();
    this.parts = [];
    this.put(0, data);
  }

  /**
   * @param {Response} response
   * @param {number} from
   */
  check(response, from) {
    const { status } = response;
    if (status !== 206) {
      const error = new SourceError(`${this.name}: expected a part of the file (206), found status ${status}`);
      throw Object.assign(error, { again: status >= 500 || status === 429 });
    }
    const range = /bytes (\d+)-\d+\/(\d+)/.exec(response.headers.get("Content-Range") ?? "");
    if (range && (Number(range[1]) !== from || Number(range[2]) !== this.size)) {
      throw new SourceError(`${this.name}: expected byte ${from} of ${this.size}, found ${range[0]}; it has changed`);
    }
  }

  /** Lets go of what was used longest ago, where more is kept than there should be. */
  trim() {
    let total = this.parts.reduce((sum, part) => sum + part.data.length, 0);
    const old = this.parts.filter((part) => !part.abort && part.used < this.clock - 64).sort((a, b) => a.used - b.used);
    for (const part of old) {
      if (total <= this.kept) break;
      total -= part.data.length;
      this.parts.splice(this.parts.indexOf(part), 1);
    }
  }

  /**
   * Bytes of the file, once they have come.
   *
   * @param {number} offset
   * @param {number} length
   * @returns {Promise<Uint8Array>}
   * @throws {SourceError}
   */
  async read(offset, length) {
    const end = Math.min(offset + length, this.size);
    this.clock += 1;
    this.want(offset, end);
    while (!this.has(offset, end)) {
      if (this.closed) throw new SourceError(`${this.name}: expected an open file, found it closed`);
      if (this.missing(offset, end).length) {
        if (this.failed) throw this.failure();
        this.want(offset, end);
      }
      await new Promise((/** @type {(value?: any) => void} */ resolve) => this.waiting.push(resolve));
    }
    return this.assemble(offset, end);
  }

  /** The last failure, which is told once. @returns {SourceError} */
  failure() {
    const error = /** @type {any} */ (this.failed);
    this.failed = null;
    if (error instanceof SourceError) return error;
    return new SourceError(`${this.name}: expected the file's bytes, found a failing connection (${error.message})`);
  }

  /**
   * @param {number} begin
   * @param {number} end
   * @returns {Uint8Array}
   */
  assemble(begin, end) {
    const own = this.parts.filter((part) => part.end > begin && part.begin < end);
    for (const part of own) part.used = this.clock;
    const [first] = own;
    if (own.length === 1) return first.data.subarray(begin - first.begin, end - first.begin);
    const data = new Uint8Array(Math.max(0, end - begin));
    for (const part of own) {
      const from = Math.max(begin, part.begin);
      data.set(part.data.subarray(from - part.begin, Math.min(end, part.end) - part.begin), from - begin);
    }
    return data;
  }

  /** Stops all that is on its way. */
  close() {
    this.closed = true;
    for (const part of [...this.parts]) if (part.abort) this.cut(part);
    this.tell();
  }
}
