/**
 * Answers of a server: their bytes as they come, and how fast they come.
 *
 * @module
 */

const HALF_LIFE = 2000; // ms after which a measurement counts half

/** Measures throughput while something is loaded. */
export class Meter {
  constructor() {
    this.bytes = 0;
    this.requests = 0;
    this.recent = 0;
    this.time = 0;
    this.last = 0;
    this.active = 0;
  }

  begin() {
    this.requests += 1;
    if (!this.active) this.last = performance.now();
    this.active += 1;
  }

  /** @param {number} bytes */
  add(bytes) {
    const now = performance.now();
    const passed = now - this.last;
    const fade = 0.5 ** (passed / HALF_LIFE);
    this.recent = this.recent * fade + bytes;
    this.time = this.time * fade + passed;
    this.last = now;
    this.bytes += bytes;
  }

  end() {
    this.active -= 1;
  }

  /** @returns {number} */
  get bytesPerSecond() {
    return this.time > 0 ? (1000 * this.recent) / this.time : 0;
  }
}

/**
 * The chunks of a response's body as they come.
 *
 * @param {Response} response
 * @param {(chunk: Uint8Array) => void} take
 */
export async function eachChunk(response, take) {
  const reader = response.body?.getReader();
  if (!reader) return take(new Uint8Array(await response.arrayBuffer()));
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    take(value);
  }
}

/**
 * All bytes of a response.
 *
 * @param {Response} response
 * @param {Meter} meter
 * @param {(loaded: number) => void} [tell]
 * @returns {Promise<Uint8Array>}
 */
export async function collected(response, meter, tell = () => {}) {
  /** @type {Uint8Array[]} */
  const chunks = [];
  let size = 0;
  await eachChunk(response, (chunk) => {
    chunks.push(chunk);
    size += chunk.length;
    meter.add(chunk.length);
    tell(size);
  });
  const data = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    data.set(chunk, at);
    at += chunk.length;
  }
  return data;
}
