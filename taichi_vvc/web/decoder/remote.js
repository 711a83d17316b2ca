/**
 * A file that is decoded in a Web Worker: the other end of `worker.js`.
 *
 *     const file = await openInWorker(new Worker(workerUrl, { type: "module" }), { url: "scene.tvvc" });
 *     const frame = await file.decode(0, { narrow: true });
 *
 * @module
 */

import { CLASSES, StreamError } from "./errors.js";

/** @typedef {import("./types.js").Frame} Frame */

/**
 * A frame of a worker: its arrays belong to the caller. `symbols` may be of 8 bits.
 *
 * @typedef {Omit<Frame, "symbols" | "track"> & {symbols: (Int8Array | Int32Array)[]}} RemoteFrame
 */

/**
 * Opens a file in a worker.
 *
 * @param {any} worker one that runs `worker.js`
 * @param {{url: string} | {bytes: Uint8Array | ArrayBuffer}} from the bytes are not copied but transferred
 * @param {any} [options] those of `openFile` and of `urlSource`
 * @returns {Promise<RemoteFile>}
 */
export async function openInWorker(worker, from, options = {}) {
  const file = new RemoteFile(worker);
  const transfer = "bytes" in from ? ["buffer" in from.bytes ? from.bytes.buffer : from.bytes] : [];
  Object.assign(file, await file.call({ call: "open", ...from, options }, transfer));
  return file;
}

/** A file that is decoded elsewhere; see {@link openInWorker}. */
export class RemoteFile {
  /** @param {any} worker */
  constructor(worker) {
    this.worker = worker;
    this.version = 0;
    /** @type {import("./types.js").Header} */
    this.header = /** @type {any} */ (null);
    /** @type {import("./types.js").FrameEntry[]} */
    this.frames = [];
    /** @type {import("./types.js").GroupEntry[]} */
    this.groups = [];
    /** @type {import("./types.js").SoundEntry[]} */
    this.sounds = [];
    this.complete = false;
    /** @type {Map<number, {resolve: (value: any) => void, reject: (error: unknown) => void}>} */
    this.waiting = new Map();
    this.calls = 0;
    /** @type {import("./types.js").Group | null} */
    this.group = null;
    worker.onmessage = (/** @type {{data: any}} */ { data }) => this.answer(data);
    worker.onerror = (/** @type {any} */ event) => {
      const error = new StreamError(`the decoder's worker has failed: ${event.message ?? "it cannot be started"}`);
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
    };
  }

  /** @param {any} data */
  answer({ id, result, error }) {
    const waiting = this.waiting.get(id);
    this.waiting.delete(id);
    if (error) waiting?.reject(new (CLASSES[error.name] ?? StreamError)(error.message));
    else waiting?.resolve(result);
  }

  /**
   * @param {any} message
   * @param {any[]} [transfer]
   * @returns {Promise<any>}
   */
  call(message, transfer = []) {
    const id = this.calls++;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ id, ...message }, transfer);
    });
  }

  /**
   * Decodes a frame.
   *
   * @param {number} index
   * @param {{reuse?: RemoteFrame | null, narrow?: boolean}} [options] `reuse`: a frame whose arrays go back to the
   *   worker; `narrow`: symbols in 8 bits where they fit
   * @returns {Promise<RemoteFrame>}
   */
  async decode(index, { reuse = null, narrow = false } = {}) {
    const buffers = reuse ? [reuse.occupancy, ...reuse.symbols].map((array) => array.buffer) : [];
    const own = buffers.filter((buffer) => buffer.byteLength);
    const known = this.group;
    const message = { call: "decode", index, known: known?.number, narrow, reuse: own };
    const frame = await this.call(message, own);
    frame.group ??= known;
    this.group = frame.group;
    return frame;
  }

  /** A run of sound. @param {number} index @returns {Promise<import("./types.js").SoundRun>} */
  readSound(index) {
    return this.call({ call: "sound", index });
  }

  /** How many frames from a frame on are loaded. @param {number} index @returns {Promise<number>} */
  buffered(index) {
    return this.call({ call: "buffered", index });
  }

  /** Loads what comes after a frame, up to so many bytes. @param {number} index @param {number} bytes */
  loadAhead(index, bytes) {
    return this.call({ call: "ahead", index, bytes });
  }

  /**
   * What was loaded so far; null where the file is in memory.
   *
   * @returns {Promise<import("./ranges.js").Traffic | null>}
   */
  traffic() {
    return this.call({ call: "traffic" });
  }

  /** Closes the file and ends the worker. */
  async close() {
    await this.call({ call: "close" });
    this.worker.terminate();
  }
}
