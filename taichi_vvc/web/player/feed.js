/**
 * The page's side of the worker: frames that have come, and those that are asked for.
 *
 * @module
 */

import { startWorker } from "./thread.js";

/** Frames that are held ahead of the one on show. */
export const AHEAD = 4;

/** @typedef {import("../renderer/pack.js").Packed} Packed */

export class Feed {
  /**
   * @param {object} told
   * @param {(opened: any) => void} told.opened
   * @param {() => void} told.frame a frame has come
   * @param {(loaded: number, size: number) => void} told.progress
   * @param {(error: {name: string, message: string, number: number}) => void} told.error
   */
  constructor(told) {
    this.told = told;
    /** @type {Map<number, Packed>} */
    this.frames = new Map();
    /** @type {number[]} */
    this.asked = [];
    this.failed = new Set();
    /** The quality of each frame that has come last. @type {Map<number, number>} */
    this.levels = new Map();
    /** What the manifest says of the qualities; empty where there is one. @type {any[]} */
    this.qualities = [];
    /** Who waits for runs of sound. @type {Map<number, {resolve: (run: any) => void, reject: (error: Error) => void}>} */
    this.sounds = new Map();
    /** The first frame after those that are loaded from the last one on that has come. */
    this.buffered = 0;
    this.worker = startWorker();
    this.worker.onmessage = ({ data }) => this.take(data);
    this.worker.onerror = (event) => {
      event.preventDefault();
      told.error({ name: "Error", message: event.message || "the decoder could not be started", number: -1 });
    };
  }

  /** @param {{url?: string, bytes?: Uint8Array}} source */
  open(source) {
    this.worker.postMessage({ type: "open", ...source }, source.bytes ? [source.bytes.buffer] : []);
  }

  take(message) {
    if (message.type === "frame") {
      const { packed } = message;
      this.asked = this.asked.filter((number) => number !== packed.number);
      this.frames.set(packed.number, packed);
      this.levels.set(packed.number, packed.level ?? 0);
      this.buffered = packed.number + message.buffered;
      this.told.frame();
    } else if (message.type === "error") {
      if (message.number >= 0) {
        this.failed.add(message.number);
        this.asked = this.asked.filter((number) => number !== message.number);
      }
      this.told.error(message);
    } else if (message.type === "sound") {
      const waiting = this.sounds.get(message.index);
      this.sounds.delete(message.index);
      if (message.run) waiting?.resolve(message.run);
      else waiting?.reject(new Error(message.message));
    } else if (message.type === "opened") {
      this.qualities = message.qualities;
      this.told.opened(message);
    } else if (message.type === "progress") {
      this.told.progress(message.loaded, message.size);
    }
  }

  /**
   * Asks for frames, in the order in which they are needed; all others are let go.
   *
   * @param {number[]} numbers
   * @param {number} [ahead] bytes that are loaded beyond them
   */
  want(numbers, ahead = 0) {
    for (const [number, packed] of this.frames) {
      if (!numbers.includes(number)) {
        this.frames.delete(number);
        this.give(packed);
      }
    }
    const missing = numbers.filter((number) => !this.frames.has(number) && !this.failed.has(number));
    if (missing.length === this.asked.length && missing.every((number, i) => number === this.asked[i])) return;
    this.asked = missing;
    this.worker.postMessage({ type: "want", numbers: missing, ahead });
  }

  /** Keeps to a quality, or with null chooses by what comes in. @param {number | null} level */
  keepTo(level) {
    this.worker.postMessage({ type: "level", level });
  }

  /** A run of sound; each is asked for once. @param {number} index @returns {Promise<any>} */
  sound(index) {
    this.worker.postMessage({ type: "sound", index });
    return new Promise((resolve, reject) => this.sounds.set(index, { resolve, reject }));
  }

  /** Takes a frame out, or null where it has not come. @returns {Packed | null} */
  pick(number) {
    const packed = this.frames.get(number) ?? null;
    this.frames.delete(number);
    return packed;
  }

  /** Hands a frame's memory back. @param {Packed} packed */
  give(packed) {
    this.worker.postMessage({ type: "give", buffer: packed.buffer }, [packed.buffer]);
  }

  close() {
    this.worker.terminate();
    this.frames.clear();
  }
}
