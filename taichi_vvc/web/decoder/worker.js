/**
 * The decoder in a Web Worker, so that a page never waits for it. `remote.js` is its other end.
 *
 * Messages are `{id, call, ...}`, and answers `{id, result}` or `{id, error: {name, message}}`:
 *
 *     {id, call: "open", url | bytes, options}            the file as `describe` tells it
 *     {id, call: "decode", index, known, narrow, reuse}   a frame; its buffers are transferred
 *     {id, call: "sound", index}                          a run of sound, by its place in the file's `sounds`
 *     {id, call: "traffic"}                               what was loaded, see `sources.js`
 *     {id, call: "ahead", index, bytes}                   loads what comes after a frame
 *     {id, call: "buffered", index}                       how many frames from there on are loaded
 *     {id, call: "close"}
 *
 * @module
 */

import { openFile, StreamError } from "./decoder.js";
import { memorySource, urlSource } from "./sources.js";

/** @typedef {import("./decoder.js").TvvcFile} TvvcFile */

/**
 * What of an open file the other end needs.
 *
 * @param {TvvcFile} file
 */
function describe(file) {
  const { version, header, frames, groups, sounds, complete } = file;
  return { version, header, frames, groups, sounds, complete };
}

/**
 * Answers messages at a port.
 *
 * @param {{postMessage: (message: any, transfer: any[]) => void, onmessage: any}} port
 */
export function serve(port) {
  /** @type {TvvcFile | null} */
  let file = null;
  /** @type {any} */
  let source = null;
  /** Buffers that came back, by size. @type {Map<number, ArrayBuffer[]>} */
  const spare = new Map();

  /** @param {number} bytes @returns {ArrayBuffer} */
  const buffer = (bytes) => spare.get(bytes)?.pop() ?? new ArrayBuffer(bytes);

  /**
   * A copy for the other end, in 8 bits where that is wanted and enough.
   *
   * @param {Int32Array} values
   * @param {boolean} narrow
   */
  function copied(values, narrow) {
    if (narrow && values.every((value) => value >= -127 && value <= 127)) {
      const small = new Int8Array(buffer(values.length));
      small.set(values);
      return small;
    }
    const copy = new Int32Array(buffer(4 * values.length));
    copy.set(values);
    return copy;
  }

  /** @type {Record<string, (message: any) => Promise<[any, any[]]>>} */
  const calls = {
    async open({ url, bytes, options }) {
      source = bytes ? memorySource(bytes, options?.name) : await urlSource(url, options);
      file = await openFile(source, options);
      return [describe(file), []];
    },
    async decode({ index, known, narrow, reuse }) {
      if (!file) throw new StreamError("expected an open file, found none");
      for (const back of reuse ?? []) {
        const list = spare.get(back.byteLength) ?? [];
        if (list.length < 8) list.push(back);
        spare.set(back.byteLength, list);
      }
      const frame = await file.decode(index);
      const { number, key, group, cameras } = frame;
      const occupancy = new Uint8Array(buffer(frame.occupancy.length));
      occupancy.set(frame.occupancy);
      const symbols = frame.symbols.map((grid) => copied(grid, narrow));
      file.release(frame);
      const answer = { number, key, group: group.number === known ? null : group, cameras, occupancy, symbols };
      return [answer, [occupancy.buffer, ...symbols.map((grid) => grid.buffer)]];
    },
    async sound({ index }) {
      if (!file) throw new StreamError("expected an open file, found none");
      return [await file.readSound(index), []];
    },
    async traffic() {
      return [source?.traffic ?? null, []];
    },
    async ahead({ index, bytes }) {
      file?.loadAhead(index, bytes);
      return [null, []];
    },
    async buffered({ index }) {
      return [file ? file.buffered(index) : 0, []];
    },
    async close() {
      file?.close();
      source?.close?.();
      file = source = null;
      return [null, []];
    },
  };

  port.onmessage = async (/** @type {{data: any}} */ { data: message }) => {
    const { id, call } = message;
    try {
      const [result, transfer] = await calls[call](message);
      port.postMessage({ id, result }, transfer);
    } catch (error) {
      const { name, message: text } = /** @type {Error} */ (error);
      port.postMessage({ id, error: { name, message: text } }, []);
    }
  };
}

const scope = /** @type {any} */ (globalThis);
if (typeof scope.WorkerGlobalScope === "function" && scope instanceof scope.WorkerGlobalScope) serve(scope);
