/**
 * Where the bytes of a file come from: memory, the disk (Node, Deno), or the network.
 *
 * @module
 */

/** @typedef {import("./types.js").Source} Source */

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
