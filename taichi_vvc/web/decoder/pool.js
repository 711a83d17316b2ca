/**
 * Memory of frames that are no longer needed, for those to come.
 *
 * Frames share arrays with the frames before them where nothing has changed. The pool counts who holds an array, and
 * takes it back when nobody does.
 *
 * @module
 */

/** Arrays by size, and how many frames hold each. */
export class ArrayPool {
  constructor() {
    /** @type {Map<number, Int32Array[]>} */
    this.free = new Map();
    /** @type {Map<number, Uint8Array[]>} */
    this.freeBytes = new Map();
    /** @type {WeakMap<object, number>} */
    this.holders = new WeakMap();
    /** Arrays of zeros, which are never changed. @type {Map<number, Int32Array>} */
    this.blanks = new Map();
  }

  /** Zeros that all share. @param {number} size @returns {Int32Array} */
  zeros(size) {
    let blank = this.blanks.get(size);
    if (!blank) {
      blank = new Int32Array(size);
      this.blanks.set(size, blank);
    }
    return blank;
  }

  /** @param {Int32Array} array @returns {boolean} whether it is one of {@link zeros} */
  isZeros(array) {
    return this.blanks.get(array.length) === array;
  }

  /** Zeros that may be changed. @param {number} size @returns {Int32Array} */
  clear(size) {
    const array = this.free.get(size)?.pop();
    return array ? array.fill(0) : new Int32Array(size);
  }

  /** A copy that may be changed. @param {Int32Array} source @returns {Int32Array} */
  copy(source) {
    const array = this.free.get(source.length)?.pop() ?? new Int32Array(source.length);
    array.set(source);
    return array;
  }

  /** Zero bytes. @param {number} size @returns {Uint8Array} */
  bytes(size) {
    const array = this.freeBytes.get(size)?.pop();
    return array ? array.fill(0) : new Uint8Array(size);
  }

  /** A frame holds these arrays. @param {(Int32Array | Uint8Array)[]} arrays */
  hold(arrays) {
    for (const array of arrays) this.holders.set(array, (this.holders.get(array) ?? 0) + 1);
  }

  /** A frame no longer holds these arrays. @param {(Int32Array | Uint8Array)[]} arrays */
  release(arrays) {
    for (const array of arrays) {
      const left = (this.holders.get(array) ?? 0) - 1;
      this.holders.set(array, left);
      if (left === 0) this.give(array);
    }
  }

  /** Takes an array that nobody holds. @param {Int32Array | Uint8Array} array */
  give(array) {
    if (array instanceof Uint8Array) {
      const list = this.freeBytes.get(array.length) ?? [];
      if (list.length < 4) list.push(array);
      this.freeBytes.set(array.length, list);
    } else if (!this.isZeros(array)) {
      const list = this.free.get(array.length) ?? [];
      if (list.length < 4) list.push(array);
      this.free.set(array.length, list);
    }
  }
}
