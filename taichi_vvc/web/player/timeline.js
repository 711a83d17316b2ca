/**
 * The time slider, with a bar above it for the bits of each frame; key frames stand out.
 *
 * @module
 */

/** Bars that are drawn at most; of longer files several frames share one. */
const BARS = 400;

/** Bytes as text. */
export function bytesText(bytes) {
  return bytes < 1000 ? `${bytes} B` : bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Seconds as text: m:ss.cc. */
export function timeText(seconds) {
  const hundredths = Math.round(Math.max(0, seconds) * 100);
  const rest = hundredths % 6000;
  const whole = String(Math.floor(rest / 100)).padStart(2, "0");
  return `${Math.floor(hundredths / 6000)}:${whole}.${String(rest % 100).padStart(2, "0")}`;
}

/**
 * The bars as an SVG's markup. Their heights are square roots: a key frame has many times the bytes of the others.
 *
 * @param {import("../decoder/types.js").FrameEntry[]} frames
 */
export function barsMarkup(frames) {
  const share = Math.ceil(frames.length / BARS);
  const bars = [];
  for (let i = 0; i < frames.length; i += share) {
    const part = frames.slice(i, i + share);
    bars.push({ bytes: Math.max(...part.map((f) => f.bytes)), key: part.some((f) => f.key) });
  }
  const most = Math.sqrt(Math.max(...bars.map((bar) => bar.bytes)));
  const gap = bars.length > 120 ? 0 : 0.24;
  const path = (key) =>
    bars
      .map((bar, i) => {
        if (bar.key !== key) return "";
        const high = 100 * Math.max(0.06, Math.sqrt(bar.bytes) / most);
        return `M${i + gap / 2} 100v-${high.toFixed(2)}h${1 - gap}v${high.toFixed(2)}z`;
      })
      .join("");
  return `<svg viewBox="0 0 ${bars.length} 100" preserveAspectRatio="none" aria-hidden="true"><path class="inter" d="${path(false)}"/><path class="key" d="${path(true)}"/></svg>`;
}

/** The slider for a file: an element with `show(frame)`, and the event `seek` with the number of a frame. */
export class Timeline extends EventTarget {
  /** @param {HTMLElement} root `.time` of the controls */
  constructor(root) {
    super();
    this.root = root;
    this.input = root.querySelector("input");
    this.tip = root.querySelector(".tip");
    this.input.addEventListener("input", () => this.seek(Number(this.input.value)));
    root.addEventListener("pointermove", (event) => this.hint(event));
    root.addEventListener("pointerleave", () => this.tip.classList.remove("seen"));
  }

  seek(frame) {
    this.dispatchEvent(new CustomEvent("seek", { detail: frame }));
  }

  fill(frames, fps) {
    this.frames = frames;
    this.fps = fps;
    this.input.max = String(frames.length - 1);
    this.root.querySelector(".bars").innerHTML = barsMarkup(frames);
    this.show(0);
  }

  text(frame) {
    const { bytes, key } = this.frames[frame];
    return `${timeText(frame / this.fps)}, frame ${frame + 1} of ${this.frames.length}${key ? ", key frame" : ""}, ${bytesText(bytes)}`;
  }

  show(frame) {
    this.input.value = String(frame);
    this.input.setAttribute("aria-valuetext", this.text(frame));
    const part = this.frames.length > 1 ? frame / (this.frames.length - 1) : 1;
    this.root.style.setProperty("--part", String(part));
  }

  /** Shows that frames up to this one are loaded. */
  showLoaded(frame) {
    if (frame !== this.loaded) this.root.style.setProperty("--loaded", String(frame / this.frames.length));
    this.loaded = frame;
  }

  hint(event) {
    if (!this.frames || event.pointerType === "touch") return;
    const box = this.input.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
    this.tip.textContent = this.text(Math.round(part * (this.frames.length - 1)));
    this.tip.classList.add("seen");
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.min(Math.max(part * box.width, half), box.width - half)}px`;
  }
}
