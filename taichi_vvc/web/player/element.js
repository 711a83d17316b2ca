/**
 * The custom element `<tvvc-player>`, used like `<video>`:
 *
 *     <script type="module" src="tvvc/player/element.js"></script>
 *     <tvvc-player src="scene.tvvc" controls></tvvc-player>
 *
 * Attributes: `src` (an address, or `#id` of an element whose text is the file in base64), `poster`, `autoplay`, `loop`,
 * `muted`, `controls`, `camera` (name of the camera whose view is the first), `background` (a colour behind the scene, in
 * place of the file's), `renderer` (`webgpu` or `webgl2`, to choose one). Properties, methods and events are those of
 * media elements, as far as there is a meaning for them; `viewchange` and `framechange` come besides.
 *
 * @module
 */

import { Controls } from "./controls.js";
import { Player, RATES, SHOWN } from "./core.js";
import { colourOf } from "./colours.js";
import { codeOf, lineOf } from "./messages.js";
import { MARKUP } from "./markup.js";
import { STYLES } from "./styles.js";

/** Least time between two events `timeupdate`, ms. */
const UPDATES = 100;

export class TvvcPlayer extends HTMLElement {
  static observedAttributes = ["src", "poster", "loop", "muted", "controls", "camera", "background"];

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.innerHTML = `<style>${STYLES}</style>${MARKUP}`;
    this.stage = root.querySelector(".stage");
    this.core = new Player(() => this.newCanvas());
    this.error = null;
    this.state = 0;
    this.updated = 0;
    this.wasPlaying = false;
    this.controlsPart = new Controls(this, root);
    this.sizes = new ResizeObserver(() => this.fit());
  }

  // ---- attributes as properties

  get src() {
    return this.getAttribute("src") ?? "";
  }
  set src(value) {
    this.setAttribute("src", value);
  }
  get poster() {
    return this.getAttribute("poster") ?? "";
  }
  set poster(value) {
    this.setAttribute("poster", value);
  }
  get autoplay() {
    return this.hasAttribute("autoplay");
  }
  set autoplay(value) {
    this.toggleAttribute("autoplay", value);
  }
  get loop() {
    return this.hasAttribute("loop");
  }
  set loop(value) {
    this.toggleAttribute("loop", value);
  }
  get muted() {
    return this.hasAttribute("muted");
  }
  set muted(value) {
    this.toggleAttribute("muted", value);
  }
  get controls() {
    return this.hasAttribute("controls");
  }
  set controls(value) {
    this.toggleAttribute("controls", value);
  }

  /** 0 to 1. */
  get volume() {
    return this.core.volume;
  }
  set volume(volume) {
    if (!(volume >= 0 && volume <= 1)) throw new RangeError(`expected a volume of 0 to 1, found ${volume}`);
    this.core.volume = volume;
    this.core.sound?.setVolume(volume);
    this.tell("volumechange");
  }

  // ---- what media elements tell

  get duration() {
    return this.core.clock?.duration ?? NaN;
  }
  get currentTime() {
    return this.core.clock?.time(performance.now()) ?? 0;
  }
  set currentTime(seconds) {
    if (!Number.isFinite(seconds)) throw new TypeError(`expected a time in seconds, found ${seconds}`);
    this.wanted = seconds;
    if (this.core.clock) this.core.seek(seconds);
  }
  get paused() {
    return !(this.core.clock?.playing ?? false);
  }
  get ended() {
    return this.core.clock?.ended ?? false;
  }
  get seeking() {
    return this.core.seeking;
  }
  get playbackRate() {
    return this.core.clock?.rate ?? this.rate ?? 1;
  }
  set playbackRate(rate) {
    if (!Number.isFinite(rate) || rate === 0) throw new RangeError(`expected a rate other than 0, found ${rate}`);
    this.rate = rate;
    this.core.clock?.setRate(rate, performance.now());
    this.core.hear();
    this.tell("ratechange");
    this.core.change();
  }
  /** 0 nothing, 1 the header is known, 2 the frame is on show, 4 playing needs no waiting. */
  get readyState() {
    return this.state;
  }
  /** Whether the file has sound. */
  get hasSound() {
    return Boolean(this.core.sound);
  }
  /** Frames in all, and the number of the one on show. */
  get frameCount() {
    return this.core.frames?.length ?? 0;
  }
  get currentFrame() {
    return this.core.frame;
  }
  /** The capture's cameras. */
  get cameras() {
    return this.core.header?.cameras ?? [];
  }
  /** "webgpu", "webgl2", or "" while there is none. */
  get rendererKind() {
    return this.core.renderer?.kind ?? "";
  }
  /** What is shown: one of "colour", "depth", "opacity". */
  get mode() {
    return this.core.mode;
  }
  set mode(mode) {
    if (!SHOWN.includes(mode)) throw new RangeError(`expected one of ${SHOWN.join(", ")}, found ${mode}`);
    this.core.mode = mode;
    this.core.move();
  }
  /** How sharp: "auto", "low" or "high". */
  get quality() {
    return this.core.quality;
  }
  set quality(quality) {
    this.core.setQuality(quality);
  }
  /** The qualities of the scene, lowest bitrate first; empty where there is one. */
  get levels() {
    return this.core.feed?.qualities ?? [];
  }
  /** The one that the frame on show is of. */
  get currentLevel() {
    return this.core.feed?.levels.get(this.currentFrame) ?? 0;
  }
  /** "auto", or the number of the one that is kept to. */
  get level() {
    return this.fixedLevel ?? "auto";
  }
  set level(level) {
    this.fixedLevel = level === "auto" ? null : Number(level);
    this.core.feed?.keepTo(this.fixedLevel);
  }
  /** The viewpoint as an object for `restore`, with `camera` or `view`. */
  get viewpoint() {
    return this.core.view?.state() ?? {};
  }
  set viewpoint(state) {
    this.wantedView = state;
    this.core.view?.restore(state);
    if (this.core.view) this.core.move();
  }

  /** Plays; resolves when it has begun, as `<video>`'s does. */
  async play() {
    this.wasPlaying = true;
    this.controlsPart.show();
    if (this.core.clock) this.core.play();
  }

  pause() {
    this.wasPlaying = false;
    if (this.core.clock && !this.paused) this.core.pause();
  }

  // ---- for controls and keys

  toggle() {
    if (this.paused) this.play();
    else this.pause();
  }
  skip(seconds) {
    if (this.core.clock) this.currentTime = this.currentTime + seconds;
  }
  step(frames) {
    const { core } = this;
    if (!core.clock) return;
    const now = core.clock.frameAt(this.currentTime);
    core.seekFrame(Number.isFinite(frames) ? now + frames : frames < 0 ? 0 : core.frames.length - 1);
  }
  changeRate(by) {
    const at = RATES.reduce((best, r, i) => (Math.abs(r - this.playbackRate) < Math.abs(RATES[best] - this.playbackRate) ? i : best), 0);
    this.playbackRate = RATES[Math.min(Math.max(at + by, 0), RATES.length - 1)];
    this.controlsPart.notice(`${this.playbackRate}×`);
  }
  toggleLoop() {
    this.loop = !this.loop;
    this.controlsPart.notice(this.loop ? "Loop" : "No loop");
  }
  toggleSound() {
    if (!this.hasSound) return;
    // While the browser holds it back, this lets it go.
    if (!this.muted && !this.paused && !this.core.sound.audible) this.core.sound.unlock();
    else this.muted = !this.muted;
    this.controlsPart.notice(this.muted ? "Sound off" : "Sound on");
  }
  lookThrough(name) {
    this.core.view?.look(name);
    this.core.move();
    if (name) this.controlsPart.notice(name);
  }
  nextCamera(by) {
    const names = this.cameras.map((camera) => camera.name);
    if (!names.length) return;
    const at = names.indexOf(this.core.view.through);
    this.lookThrough(names[at < 0 ? (by > 0 ? 0 : names.length - 1) : (at + by + names.length) % names.length]);
  }
  resetView() {
    this.core.view?.reset();
    this.core.move();
  }
  nextMode() {
    this.mode = SHOWN[(SHOWN.indexOf(this.mode) + 1) % SHOWN.length];
    this.controlsPart.notice(this.mode);
  }
  async toggleFullScreen() {
    try {
      if (document.fullscreenElement === this) await document.exitFullscreen();
      else await this.requestFullscreen();
    } catch {
      this.controlsPart.notice("Full screen is not possible here");
    }
  }
  toggleHelp() {
    this.controlsPart.toggleHelp();
  }

  // ---- life of the element

  connectedCallback() {
    this.sizes.observe(this);
    if (!this.begun) this.load();
  }

  disconnectedCallback() {
    this.sizes.disconnect();
    // An element that is only moved is connected again at once.
    queueMicrotask(() => {
      if (!this.isConnected) this.unload();
    });
  }

  attributeChangedCallback(name, before, value) {
    if (name === "src" && before !== value && this.isConnected) this.load();
    if (name === "loop" && this.core.clock) {
      this.core.clock.seek(this.currentTime, performance.now());
      this.core.clock.loop = this.loop;
      this.core.change();
    }
    if (name === "muted" && (before === null) !== (value === null)) {
      this.core.muted = this.muted;
      this.core.sound?.setMuted(this.muted);
      this.tell("volumechange");
      this.core.change();
    }
    if (name === "background") {
      this.core.background = colourOf(value);
      this.paintStage();
      this.core.change();
    }
    this.controlsPart.update();
  }

  unload() {
    this.core.close();
    this.begun = false;
  }

  /** Begins anew, as after a change of `src`. */
  load() {
    if (this.begun) this.unload();
    const { kind, mode, quality, volume } = this.core;
    this.core = new Player(() => this.newCanvas());
    Object.assign(this.core, { kind: this.getAttribute("renderer") ?? kind, mode, quality, volume, muted: this.muted });
    this.core.background = colourOf(this.getAttribute("background"));
    this.error = null;
    this.state = 0;
    this.controlsPart.reset();
    if (!this.src) return;
    this.begun = true;
    this.listen(this.core);
    this.tell("loadstart");
    this.fit();
    this.core.open(this.source());
  }

  source() {
    if (!this.src.startsWith("#")) return { url: new URL(this.src, document.baseURI).href };
    const text = document.getElementById(this.src.slice(1))?.textContent ?? "";
    return { bytes: Uint8Array.from(atob(text.replace(/\s/g, "")), (c) => c.charCodeAt(0)) };
  }

  listen(core) {
    const on = (name, action) =>
      core.addEventListener(name, ({ detail }) => {
        if (this.core === core) action(detail);
      });
    on("opened", () => {
      core.clock.loop = this.loop;
      if (this.rate) core.clock.rate = this.rate;
      core.view.start = this.getAttribute("camera");
      core.view.reset();
      if (this.wantedView) core.view.restore(this.wantedView);
      if (this.wanted !== undefined) core.clock.seek(this.wanted, performance.now());
      this.state = 1;
      this.paintStage();
      this.controlsPart.opened();
      this.tell("durationchange", "loadedmetadata");
    });
    on("ready", () => {
      this.state = 4;
      this.controlsPart.ready();
      this.tell("loadeddata", "canplay", "canplaythrough");
      if (this.autoplay || this.wasPlaying) this.play();
    });
    on("time", (detail) => this.tellTime(detail?.last));
    on("frame", () => this.tell("framechange"));
    on("failed", (error) => {
      this.error = { code: codeOf(error), message: lineOf(error) };
      this.controlsPart.problem(this.error.message, error.number >= 0);
      this.tell("error");
    });
    on("soundfailed", () => this.controlsPart.notice("The sound cannot be played here", 4000));
    on("ended", () => {
      this.wasPlaying = false;
      this.tell("ended");
    });
    on("progress", (detail) => {
      this.controlsPart.progress(detail);
      this.tell("progress");
    });
    for (const name of ["play", "pause", "playing", "waiting", "seeking", "seeked", "viewchange"]) {
      on(name, () => this.tell(name));
    }
  }

  /** @param {boolean} [last] whether nothing will come after it */
  tellTime(last = false) {
    const now = performance.now();
    const time = this.currentTime;
    if (time === this.toldTime || (now - this.updated < UPDATES && !last)) return;
    this.updated = now;
    this.toldTime = time;
    this.tell("timeupdate");
  }

  tell(...names) {
    for (const name of names) this.dispatchEvent(new Event(name));
    this.controlsPart.update();
  }

  fit() {
    if (this.clientWidth && this.clientHeight) this.core.resize(this.clientWidth, this.clientHeight);
  }

  paintStage() {
    const colour = this.core.background ?? this.core.header?.background;
    if (colour) this.stage.style.setProperty("--scene", `rgb(${colour.map((c) => Math.round(255 * c)).join(" ")})`);
  }

  newCanvas() {
    const canvas = document.createElement("canvas");
    this.shadowRoot.querySelector(".picture").replaceChildren(canvas);
    return canvas;
  }
}

if (!customElements.get("tvvc-player")) customElements.define("tvvc-player", TvvcPlayer);
