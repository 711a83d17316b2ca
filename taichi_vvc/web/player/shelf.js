/**
 * Packed frames that were decoded before, up to a number of bytes; those used longest ago go first.
 *
 * @module
 */

/** @typedef {import("../renderer/pack.js").Packed} Packed */

/** @param {Packed} packed */
const levelOf = (packed) => packed.level ?? 0;

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
    const before = this.frames.get(packed.number);
    if (size > this.most / 2 || (before && levelOf(before) >= levelOf(packed))) return;
    if (before) {
      this.frames.delete(packed.number);
      this.bytes -= before.buffer.byteLength;
    }
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

  /**
   * A copy of a frame whose buffer may be handed over, or null where there is none of that quality or a better one.
   *
   * @param {number} number
   * @param {number} [level]
   * @returns {Packed | null}
   */
  copy(number, level = 0) {
    const kept = this.frames.get(number);
    if (!kept || levelOf(kept) < level) return null;
    this.frames.delete(number);
    this.frames.set(number, kept);
    const buffer = this.packer.buffer(kept.buffer.byteLength);
    new Uint8Array(buffer).set(new Uint8Array(kept.buffer));
    return { ...kept, buffer };
  }
}
