/**
 * Starts the worker. In a self-contained page another module takes this one's place.
 *
 * @module
 */

/** @returns {Worker} */
export function startWorker() {
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
}
