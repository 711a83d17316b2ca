/**
 * Starts the worker in a self-contained page, which holds its code as text: takes the place of `thread.js` there.
 *
 * @module
 */

/** @returns {Worker} */
export function startWorker() {
  const text = document.getElementById("tvvc-worker").textContent;
  return new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
}
