/**
 * Where the bytes of a file come from: memory, the disk (Node, Deno), or the network.
 *
 * @module
 */

import { SourceError } from "./errors.js";
import { RangeSource } from "./ranges.js";
import { collected, Meter } from "./responses.js";

/** @typedef {import("./types.js").Source} Source */
/** @typedef {import("./ranges.js").NetworkOptions} NetworkOptions */
/** @typedef {import("./ranges.js").Traffic} Traffic */

/** Bytes that are asked for first, from the end of the file: most files' index is within. */
export const TAIL = 2048;

/**
 * Bytes in memory.
 *
 * @param {Uint8Array | ArrayBuffer} data
 * @param {string} [name]
 * @returns {Source}
 */
export function memorySource(data, name = "file") {
  const bytes = data instanceof Uint8Array ? data : new Uint8Array(data);
  return {
    size: bytes.length,
    name,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
  };
}

/**
 * Bytes in base64, as they stand in a page.
 *
 * @param {string} text
 * @param {string} [name]
 * @returns {Source}
 */
export function base64Source(text, name) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = binary.charCodeAt(k);
  return memorySource(bytes, name);
}

/**
 * A file on the disk, in Node or Deno.
 *
 * @param {string | URL} path
 * @returns {Promise<Source & {close(): Promise<void>}>}
 * @throws {SourceError}
 */
export async function fileSource(path) {
  const { open } = await import("node:fs/promises");
  const name = String(path);
  try {
    const handle = await open(path);
    const { size } = await handle.stat();
    return {
      size,
      name,
      close: () => handle.close(),
      async read(offset, length) {
        const bytes = new Uint8Array(Math.max(0, Math.min(length, size - offset)));
        let filled = 0;
        while (filled < bytes.length) {
          const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, offset + filled);
          if (!bytesRead) break;
          filled += bytesRead;
        }
        return bytes.subarray(0, filled);
      },
    };
  } catch (error) {
    throw new SourceError(`${name}: expected a readable file, found: ${/** @type {Error} */ (error).message}`);
  }
}

/**
 * A file on a server. One that serves ranges is asked for the file's end first, where the index is, and for nothing but
 * what is read; another one for the whole file at once.
 *
 * @param {string} url
 * @param {NetworkOptions} [options]
 * @returns {Promise<Source & {traffic: Traffic, close(): void}>}
 * @throws {SourceError}
 */
export async function urlSource(url, options = {}) {
  const name = options.name ?? url;
  const load = options.fetch ?? globalThis.fetch.bind(globalThis);
  const meter = new Meter();
  const { location } = /** @type {any} */ (globalThis);
  const foreign = location?.origin && new URL(url, location.href).origin !== location.origin;
  try {
    // Another site has to permit a range that counts from the end; its size is asked for instead.
    const size = foreign ? await sizeOf(load, url) : 0;
    const range = size ? `bytes=${Math.max(0, size - TAIL)}-${size - 1}` : `bytes=-${TAIL}`;
    const headers = foreign && !size ? undefined : { Range: range };
    meter.begin();
    const response = await load(url, { headers, cache: "no-cache" });
    if (response.status === 206) return await ranged(response, url, size, options, meter);
    if (!response.ok) {
      throw new SourceError(`${name}: expected a file, found status ${response.status} ${response.statusText}`);
    }
    return await whole(response, name, options, meter);
  } catch (error) {
    if (error instanceof SourceError) throw error;
    throw new SourceError(`${name}: expected a file, found no answer (${/** @type {Error} */ (error).message})`);
  } finally {
    meter.end();
  }
}

/**
 * The size of a file of another site; 0 where it does not tell.
 *
 * @param {typeof fetch} load
 * @param {string} url
 * @returns {Promise<number>}
 */
async function sizeOf(load, url) {
  try {
    const response = await load(url, { method: "HEAD", cache: "no-cache" });
    const coded = !response.ok || response.headers.get("Content-Encoding");
    return coded ? 0 : Number(response.headers.get("Content-Length"));
  } catch {
    return 0;
  }
}

/**
 * @param {Response} response
 * @param {string} url
 * @param {number} size 0 where it is not known
 * @param {NetworkOptions} options
 * @param {Meter} meter
 */
async function ranged(response, url, size, options, meter) {
  const data = await collected(response, meter);
  const range = /bytes (\d+)-(\d+)\/(\d+)/.exec(response.headers.get("Content-Range") ?? "");
  const total = range ? Number(range[3]) : size;
  if (!total || (range && Number(range[2]) !== total - 1)) {
    throw new SourceError(`${options.name ?? url}: expected the end of the file, found another part`);
  }
  const source = new RangeSource(url, total, options, meter);
  source.put(total - data.length, data);
  return source;
}

/**
 * @param {Response} response
 * @param {string} name
 * @param {NetworkOptions} options
 * @param {Meter} meter
 */
async function whole(response, name, { progress = () => {} }, meter) {
  const size = response.headers.get("Content-Encoding") ? 0 : Number(response.headers.get("Content-Length"));
  const data = await collected(response, meter, (loaded) => progress(loaded, size));
  const { bytes, requests } = meter;
  const traffic = { bytes, requests, size: data.length, ranges: false, bytesPerSecond: meter.bytesPerSecond };
  return { ...memorySource(data, name), traffic, close() {} };
}
