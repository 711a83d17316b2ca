/**
 * The player without its controls: plays a file on a canvas.
 *
 * The loop draws one picture after the other. While something moves, pictures are as large as can be drawn in time, by
 * what was measured of those before; at rest the picture is drawn once more in full. Frames are skipped where drawing
 * does not keep up, and time waits where decoding or loading does not.
 *
 * @module
 */

import { Renderer } from "../renderer/renderer.js";
import { Clock } from "./clock.js";
import { AHEAD, Feed } from "./feed.js";
import { Soundtrack } from "./sound.js";
import { View } from "./view.js";

/** Time that a picture may take while something moves, ms. */
const MOVING = 1000 / 45;
/** Time without a change after which the picture counts as still, ms. */
const SETTLED = 180;
/** Time that a picture at rest may take before a small one is shown first, ms. */
const PATIENCE = 200;
/** Longer side of the smallest picture while something moves, pixels. */
const SMALLEST = 96;
/** How far the frame on show may lag behind time before time waits, seconds. */
const LAG = 0.3;
/** Pixels of the screen per pixel of the page that are drawn at most. */
const DENSEST = 2;
/** Longer side of the largest picture, pixels. */
const LARGEST = 4096;

/** What is loaded ahead while playing: seconds, and bytes at least and at most. */
const SECONDS_AHEAD = 10;
const LEAST_AHEAD = 2 ** 18;
const MOST_AHEAD = 2 ** 25;
/** Speeds to choose from. */
export const RATES = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 4];
/** What pictures may show. */
export const SHOWN = ["colour", "depth", "opacity"];
/** How sharp pictures are: parts of the screen's pixels, at rest and at least while something moves. */
export const QUALITIES = {
  auto: { still: 1, moving: 0 },
  low: { still: 0.5, moving: 0 },
  high: { still: 1, moving: 1 },
};

export class Player extends EventTarget {
  /** @param {() => HTMLCanvasElement} canvas gives a new canvas, in place of the one before */
  constructor(canvas) {
    super();
    this.newCanvas = canvas;
    this.kind = null;
    this.mode = "colour";
    this.quality = "auto";
    this.background = null;
    this.header = null;
    this.moved = -1e9;
    this.ready = false;
    this.closed = false;
    this.size = [0, 0];
    this.wake = () => {};
    this.dirty = true;
    this.loading = true;
    this.seeking = false;
    /** @type {Soundtrack | null} */
    this.sound = null;
    this.muted = false;
    this.volume = 1;
  }

  tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  /** Begins to load. @param {{url?: string, bytes?: Uint8Array}} source */
  open(source) {
    this.feed = new Feed({
      opened: (opened) => this.begin(opened),
      frame: () => this.change(),
      progress: (loaded, size) => this.tell("progress", { loaded, size }),
      error: (error) => this.fail(error),
    });
    this.feed.open(source);
  }

  async begin({ header, frames, groups, sounds, complete }) {
    if (this.closed) return;
    Object.assign(this, { header, frames, groups, complete });
    this.bytes = frames.reduce((sum, frame) => sum + frame.bytes, 0);
    if (!frames.length) {
      this.fail({ name: "StreamError", message: "the file has no frames", number: -1 });
      return;
    }
    const { playing, loop, rate, at } = this.clock ?? { playing: false, loop: false, rate: 1, at: 0 };
    this.clock = new Clock(frames.length, header.fps);
    Object.assign(this.clock, { loop, rate });
    this.clock.seek(at, performance.now());
    if (playing) this.clock.play(performance.now());
    this.view = new View(header);
    if (sounds.length) {
      this.sound = new Soundtrack(sounds, (index) => this.feed.sound(index), (error) => this.tell("soundfailed", error));
      this.sound.muted = this.muted;
      this.sound.volume = this.volume;
    }
    this.tell("opened");
    this.feed.want(this.clock.following(this.clock.frameAt(this.clock.at), 1));
    if (await this.makeRenderer()) this.run();
  }

  async makeRenderer() {
    const options = { kind: this.kind ?? undefined, spare: this.newCanvas };
    try {
      this.renderer = await Renderer.create(this.newCanvas(), this.header, options);
    } catch (error) {
      this.fail({ name: error.constructor.name, message: error.message, number: -1 });
      return false;
    }
    if (this.closed) {
      this.renderer.destroy();
      return false;
    }
    const own = this.renderer;
    own.lost.then((unasked) => {
      if (unasked && !this.closed && this.renderer === own) this.restart();
    });
    if (this.size[0]) own.resize(...this.size);
    return true;
  }

  /** Starts again with a new device: the one before was lost. */
  async restart() {
    this.renderer = null;
    this.tell("lost");
    if (await this.makeRenderer()) this.change();
  }

  fail(error) {
    if (error.number >= 0) {
      this.clock.pause(performance.now());
      this.seeking = false;
    }
    this.tell("failed", error);
    this.change();
  }

  /** Something has changed that may need another picture. */
  change() {
    this.dirty = true;
    this.wake();
  }

  /** The viewpoint has changed. */
  move() {
    this.moved = performance.now();
    this.tell("viewchange");
    this.change();
  }

  /** Sets the size of the stage. @param {number} width pixels of the page @param {number} height */
  resize(width, height) {
    const density = Math.min(globalThis.devicePixelRatio ?? 1, DENSEST) * QUALITIES[this.quality].still;
    const scale = Math.min(density, LARGEST / Math.max(width, height, 1));
    this.stage = [width, height];
    this.size = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    this.renderer?.resize(...this.size);
    this.drawn = null;
    this.change();
  }

  setQuality(quality) {
    this.quality = quality;
    if (this.stage) this.resize(...this.stage);
  }

  play() {
    const { clock } = this;
    this.sound?.unlock();
    clock.play(performance.now());
    this.tell("play");
    this.change();
  }

  pause() {
    this.clock.pause(performance.now());
    this.hear();
    this.tell("pause");
    this.change();
  }

  /** @param {number} time seconds */
  seek(time) {
    this.clock.seek(time, performance.now());
    this.held = this.clock.at;
    this.seeking = true;
    this.hear();
    this.tell("seeking");
    this.change();
  }

  /** Goes to a frame and stays there. */
  seekFrame(number) {
    if (this.clock.playing) this.pause();
    const last = this.frames.length - 1;
    const frame = this.clock.loop ? (number + this.frames.length) % this.frames.length : number;
    this.seek((Math.max(0, Math.min(last, frame)) + 0.5) / this.header.fps);
  }

  /** Keeps the sound to the clock. It is silent while time stands. */
  hear() {
    const { clock, sound } = this;
    if (!sound) return;
    const now = performance.now();
    const runs = clock.playing && this.ready && !this.waiting && !this.seeking;
    sound.follow(runs ? clock.time(now) : null, clock.rate, now);
  }

  get frame() {
    return this.renderer?.frame ?? -1;
  }

  /** The size of a picture while something moves. */
  movingSize() {
    const [width, height] = this.size;
    const { speed } = this.renderer;
    const part = Math.sqrt((Math.max(speed, 0.01) * MOVING) / (width * height));
    const least = Math.max(SMALLEST / Math.max(width, height), QUALITIES[this.quality].moving);
    // In steps, so that the sharpness does not waver from picture to picture.
    const wanted = Math.min(1, Math.max(part, least));
    if (!this.part || wanted > this.part * 1.25 || wanted < this.part / 1.1 || wanted === 1) this.part = wanted;
    return [Math.max(1, Math.round(width * this.part)), Math.max(1, Math.round(height * this.part))];
  }

  /** Time that a picture in full is expected to take, ms. */
  fullTime() {
    const { speed } = this.renderer;
    return speed ? (this.size[0] * this.size[1]) / speed : Infinity;
  }

  /** Takes over the frame that is to be shown, if it has come; else the newest one on the way to it. */
  takeFrame() {
    const { clock, feed, renderer } = this;
    const now = performance.now();
    if (clock.over(now)) {
      clock.pause(now);
      clock.ended = true;
    }
    const target = clock.frameAt(clock.time(now));
    const ahead = clock.playing ? clock.following(target, 1 + AHEAD) : [target];
    let shown = renderer.frame;
    if (shown !== target) {
      const packed = feed.pick(target);
      if (packed) {
        if (!renderer.holds(target)) renderer.fill(packed);
        feed.give(packed);
      }
      if (renderer.holds(target)) {
        renderer.swap();
        shown = target;
        this.drawn = null;
        this.tell("frame", { number: target });
      }
    }
    // What is on show, or filled in already, need not come again.
    feed.want(
      ahead.filter((number) => number !== shown && !renderer.holds(number)),
      clock.playing ? this.bytesAhead() : 0,
    );
    if (shown === target) {
      const next = clock.playing && ahead[1];
      const packed = next !== undefined && next !== false && !renderer.holds(next) ? feed.pick(next) : null;
      if (packed) {
        renderer.fill(packed);
        feed.give(packed);
      }
      this.waits(false);
      if (this.seeking) {
        this.seeking = false;
        this.tell("seeked");
      }
    } else if (clock.playing || shown < 0) {
      const since = shown < 0 ? LAG : Math.abs(target - shown) / this.header.fps;
      if (since >= LAG || this.seeking) this.waits(true);
      // Time stands until the frame is there.
      if (this.waiting && clock.playing) clock.seek(this.held, now);
    }
    if (clock.ended && !this.toldEnd) {
      this.tell("time", { last: true });
      this.tell("pause");
      this.tell("ended");
    }
    this.toldEnd = clock.ended;
    return shown;
  }

  /** Bytes that are loaded ahead while playing. */
  bytesAhead() {
    const { bytes, clock } = this;
    const rate = (bytes / clock.duration) * Math.abs(clock.rate);
    return Math.min(MOST_AHEAD, Math.max(LEAST_AHEAD, SECONDS_AHEAD * rate));
  }

  waits(waiting) {
    if (waiting === this.waiting) return;
    this.waiting = waiting;
    this.held = this.clock.time(performance.now());
    this.tell(waiting ? "waiting" : "playing");
  }

  /** Draws until the player is closed. */
  async run() {
    while (!this.closed) {
      const { clock, renderer } = this;
      if (!renderer || !this.size[0] || !this.visible()) {
        this.hear();
        await this.pausing(200);
        continue;
      }
      this.dirty = false;
      const shown = this.takeFrame();
      this.hear();
      const now = performance.now();
      const settling = now - this.moved < SETTLED;
      const moving = clock.playing || settling;
      this.tell("time");
      if (shown < 0) {
        await this.pausing(1000);
        continue;
      }
      // At rest a small picture comes first where the large one takes its time.
      const rest = JSON.stringify([shown, this.look(...this.size)]);
      const coarse = moving || (rest !== this.sketched && this.fullTime() > PATIENCE);
      if (!moving) this.sketched = rest;
      const size = coarse ? this.movingSize() : this.size;
      const look = this.look(...size);
      const key = JSON.stringify([shown, look]);
      const full = size[0] === this.size[0] && size[1] === this.size[1];
      if (key === this.drawn) {
        await this.pausing(clock.playing ? 4 : settling ? SETTLED - (now - this.moved) + 1 : 60000);
        continue;
      }
      // A picture in full is given up when something moves; a small one is soon finished.
      const stale = () => this.closed || this.renderer !== renderer || (full && !moving && this.dirty);
      const began = performance.now();
      const done = await renderer.draw(look, stale);
      if (!done) continue;
      await this.nextPaint();
      if (this.closed || this.renderer !== renderer) continue;
      renderer.show();
      this.drawn = key;
      this.tell("drawn", { size, milliseconds: performance.now() - began, frame: shown, full });
      if (!this.ready) {
        this.ready = true;
        this.tell("ready");
      }
    }
  }

  visible() {
    return globalThis.document?.visibilityState !== "hidden";
  }

  look(width, height) {
    const camera = this.view.camera(width, height, this.renderer.cameras);
    const index = this.view.through ? this.header.cameras.findIndex((c) => c.name === this.view.through) : -1;
    const colours = index >= 0 ? this.renderer.colours[index] : undefined;
    const background = this.background ?? this.header.background;
    return { camera, colours, background, mode: this.mode, range: this.view.range(camera) };
  }

  pausing(milliseconds) {
    if (this.dirty) return this.nextPaint();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  nextPaint() {
    // A hidden page is not painted, but must notice that it is closed.
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, 250);
      requestAnimationFrame(() => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  close() {
    this.closed = true;
    this.sound?.close();
    this.feed?.close();
    this.renderer?.destroy();
    this.wake();
  }
}
