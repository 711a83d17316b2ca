/**
 * SHA-256 of bytes that come piece by piece, which the one of browsers cannot do.
 *
 * @module
 */

/** The first 32 bits of the fractions of the cube roots (K) and square roots (H) of the first primes. */
const [K, H] = constants();

/** @returns {[Int32Array, Int32Array]} */
function constants() {
  /** @type {number[]} */
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  /**
   * The fraction's first bits by integers: floor(root(n * 2^(32 * degree))).
   *
   * @param {number} n
   * @param {bigint} degree
   */
  const fraction = (n, degree) => {
    const target = BigInt(n) << (32n * degree);
    let root = 0n;
    for (let bit = 1n << 36n; bit; bit >>= 1n) if ((root + bit) ** degree <= target) root += bit;
    return Number(root & 0xffffffffn);
  };
  return [Int32Array.from(primes, (n) => fraction(n, 3n)), Int32Array.from(primes.slice(0, 8), (n) => fraction(n, 2n))];
}

/** A running hash. */
export class Sha256 {
  constructor() {
    this.state = Int32Array.from(H);
    this.block = new Uint8Array(64);
    this.words = new Int32Array(64);
    this.filled = 0;
    this.length = 0;
  }

  /**
   * Adds bytes.
   *
   * @param {Uint8Array} data
   * @returns {this}
   */
  update(data) {
    this.length += data.length;
    let at = 0;
    if (this.filled) {
      at = Math.min(64 - this.filled, data.length);
      this.block.set(data.subarray(0, at), this.filled);
      this.filled += at;
      if (this.filled < 64) return this;
      this.compress(this.block, 0);
      this.filled = 0;
    }
    for (; at + 64 <= data.length; at += 64) this.compress(data, at);
    this.block.set(data.subarray(at));
    this.filled = data.length - at;
    return this;
  }

  /** @param {Uint8Array} data @param {number} at */
  compress(data, at) {
    const { words: w, state } = this;
    for (let k = 0; k < 16; k++, at += 4) {
      w[k] = (data[at] << 24) | (data[at + 1] << 16) | (data[at + 2] << 8) | data[at + 3];
    }
    for (let k = 16; k < 64; k++) {
      const a = w[k - 15];
      const b = w[k - 2];
      const s0 = ((a >>> 7) | (a << 25)) ^ ((a >>> 18) | (a << 14)) ^ (a >>> 3);
      const s1 = ((b >>> 17) | (b << 15)) ^ ((b >>> 19) | (b << 13)) ^ (b >>> 10);
      w[k] = (w[k - 16] + s0 + w[k - 7] + s1) | 0;
    }
    let a = state[0];
    let b = state[1];
    let c = state[2];
    let d = state[3];
    let e = state[4];
    let f = state[5];
    let g = state[6];
    let h = state[7];
    for (let k = 0; k < 64; k++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[k] + w[k]) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
  }

  /**
   * The hash in hexadecimal digits. Nothing may be added afterwards.
   *
   * @returns {string}
   */
  hex() {
    const { length } = this;
    const padding = new Uint8Array(((119 - (length % 64)) % 64) + 9);
    padding[0] = 0x80;
    const view = new DataView(padding.buffer);
    view.setUint32(padding.length - 8, Math.floor(length / 2 ** 29));
    view.setUint32(padding.length - 4, (length * 8) >>> 0);
    this.update(padding);
    return [...this.state].map((word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }
}
