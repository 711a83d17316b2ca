/**
 * Draws the frames of a file: WebGPU where there is an adapter, else WebGL 2. Both show the same picture.
 *
 * A renderer holds two frames, one on show and one to come, so that the textures of the next frame are filled while this
 * one is drawn. A picture is drawn in bands of rows, each no longer than a given time, so that a slow GPU, or none at
 * all, does not hold up the page.
 *
 * @module
 */

import { fillView, VIEW_ROWS } from "./camera.js";
import { planOf } from "./plan.js";
import { viewRows } from "./shader.js";
import { WebGl2 } from "./webgl2.js";
import { WebGpu } from "./webgpu.js";

/** How the renderers are chosen: by name, in this order. */
export const KINDS = { webgpu: WebGpu, webgl2: WebGl2 };
/** Rows of the first band, when nothing is known of the speed. */
const FIRST_ROWS = 16;
/** Time that a band may take, ms. */
const BAND = 24;

/** No GPU interface of the browser can draw this file. */
export class NoRenderer extends Error {}

export class Renderer {
  /**
   * @param {HTMLCanvasElement | OffscreenCanvas} canvas without a context
   * @param {import("../decoder/types.js").Header} header
   * @param {{kind?: "webgpu" | "webgl2", spare?: () => HTMLCanvasElement}} [options] `kind`: only this one. `spare`:
   *   another canvas, for a second attempt where the first one's context cannot be used.
   * @returns {Promise<Renderer>}
   */
  static async create(canvas, header, { kind, spare } = {}) {
    const plan = planOf(header.layout);
    let reason = "";
    for (const [name, Kind] of Object.entries(KINDS)) {
      if (kind && kind !== name) continue;
      try {
        const gpu = await Kind.create(canvas, plan);
        if (!gpu) continue;
        await gpu.compile();
        return new Renderer(gpu, canvas, header, plan);
      } catch (error) {
        reason = ` (${error.message})`;
        canvas = spare?.() ?? canvas;
      }
    }
    throw new NoRenderer(`this browser offers no GPU interface that can draw this file${reason}`);
  }

  constructor(gpu, canvas, header, plan) {
    this.gpu = gpu;
    /** The canvas that is drawn on. */
    this.canvas = canvas;
    this.header = header;
    this.plan = plan;
    /** "webgpu" or "webgl2" */
    this.kind = gpu.kind;
    /** Resolves when the device is lost: to true where nobody asked for that. */
    this.lost = gpu.lost;
    /** Pixels per millisecond of the last bands, 0 while unknown. */
    this.speed = 0;
    this.view = new Float32Array(4 * viewRows(plan));
    this.slots = [null, null];
    this.current = 0;
    this.size = [0, 0];
  }

  /** The frame on show: its number, or -1. */
  get frame() {
    return this.slots[this.current]?.number ?? -1;
  }

  /** Fills the textures of the frame to come. @param {import("./pack.js").Packed} packed */
  fill(packed) {
    const next = 1 - this.current;
    this.gpu.fill(next, packed);
    const { number, scales, cameras, colours } = packed;
    this.slots[next] = { number, scales, cameras, colours };
  }

  /** Whether the frame of this number has been filled in and is to come. */
  holds(number) {
    return this.slots[1 - this.current]?.number === number;
  }

  /** Puts the frame to come on show. */
  swap() {
    this.current = 1 - this.current;
  }

  /** The capture's cameras as they were at the frame on show. */
  get cameras() {
    return this.slots[this.current]?.cameras ?? this.header.cameras;
  }

  /** How those cameras show colours. */
  get colours() {
    return this.slots[this.current]?.colours ?? [];
  }

  /** Sets the size of the largest picture, pixels; the canvas gets it. */
  resize(width, height) {
    if (this.size[0] === width && this.size[1] === height) return;
    this.size = [width, height];
    this.canvas.width = width;
    this.canvas.height = height;
    this.gpu.resize(width, height);
  }

  /**
   * Draws a picture of the frame on show, of at most the size that was set.
   *
   * @param {object} look what `fillView` of `camera.js` takes
   * @param {() => boolean} [stale] whether to give up; asked after each band
   * @returns {Promise<boolean>} whether the picture was finished
   */
  async draw(look, stale = () => false) {
    const { view, gpu } = this;
    const { width, height } = look.camera;
    const slot = this.slots[this.current];
    fillView(view, this.header, look);
    view.set(slot.scales, 4 * VIEW_ROWS);
    this.drawn = [width, height];
    for (let row = 0; row < height; ) {
      const fits = this.speed ? Math.floor((BAND * this.speed) / width) : FIRST_ROWS;
      const count = Math.min(height - row, Math.max(8, fits & ~7));
      const began = performance.now();
      gpu.rows(this.current, view, row, count);
      await gpu.finished();
      row += count;
      const speed = (count * width) / Math.max(performance.now() - began, 0.05);
      this.speed = this.speed ? 0.7 * this.speed + 0.3 * speed : speed;
      if (stale()) return false;
    }
    return true;
  }

  /** Shows the picture that was drawn, enlarged to the size of the canvas. */
  show() {
    this.gpu.show(...this.drawn);
  }

  /** The picture that was drawn: RGBA bytes from the upper left pixel on. The last channel is the opacity. */
  read() {
    return this.gpu.read(...this.drawn);
  }

  /** Lets the device go. */
  destroy() {
    this.gpu.destroy();
  }
}
