/**
 * Packed frames that were decoded before, up to a number of bytes; those used longest ago go first.
 *
 * @module
 */

/** @typedef {import("../renderer/pack.js").Packed} Packed */

export class Shelf {
  /**
   * @param {number} most bytes
   * @param {import("../renderer/pack.js").Packer} packer whose spare buffers copies are made in
   */
  constructor(most, packer) {
    this.most = most;
    this.packer = packer;
    this.bytes = 0;
    /** @type {Map<number, Packed>} the one used longest ago first */
    this.frames = new Map();
  }

  /** Keeps a copy of a frame. @param {Packed} packed */
  keep(packed) {
    const size = packed.buffer.byteLength;
    if (size > this.most / 2 || this.frames.has(packed.number)) return;
    let buffer = null;
    while (this.bytes + size > this.most) {
      const [number, oldest] = this.frames.entries().next().value;
      this.frames.delete(number);
      this.bytes -= oldest.buffer.byteLength;
      if (oldest.buffer.byteLength === size) buffer = oldest.buffer;
    }
    buffer ??= new ArrayBuffer(size);
    new Uint8Array(buffer).set(new Uint8Array(packed.buffer));
    this.frames.set(packed.number, { ...packed, buffer });
    this.bytes += size;
  }

  /** A copy of a frame whose buffer may be handed over, or null. @returns {Packed | null} */
  copy(number) {
    const kept = this.frames.get(number);
    if (!kept) return null;
    this.frames.delete(number);
    this.frames.set(number, kept);
    const buffer = this.packer.buffer(kept.buffer.byteLength);
    new Uint8Array(buffer).set(new Uint8Array(kept.buffer));
    return { ...kept, buffer };
  }
}
