/**
 * The controls of the element: buttons, menus, time slider, and what is said to the user.
 *
 * @module
 */

import { RATES, SHOWN } from "./core.js";
import { watchGestures } from "./gestures.js";
import { icon } from "./icons.js";
import { pressKey } from "./keys.js";
import { attachMenu } from "./menus.js";
import { pathDocument, saveText } from "./path.js";
import { Timeline, timeText } from "./timeline.js";

/** Time after which controls hide while playing, ms. */
const IDLE = 2600;
/** Time that a notice is shown, ms. */
const NOTICE = 1300;
const QUALITIES = { auto: "smooth while moving", low: "half the pixels", high: "always all pixels" };
/** Backdrops to choose from; the file's own is first. */
const BACKDROPS = { "as captured": null, white: "white", grey: "#808080", black: "black" };

const rateText = (rate) => (rate < 1e6 ? `${Math.round(rate / 1e3)} kbit/s` : `${(rate / 1e6).toFixed(1)} Mbit/s`);
const capital = (text) => text[0].toUpperCase() + text.slice(1);

export class Controls {
  /**
   * @param {import("./element.js").TvvcPlayer} player
   * @param {ShadowRoot} root
   */
  constructor(player, root) {
    this.player = player;
    this.find = (selector) => root.querySelector(selector);
    this.views = [];
    this.timeline = new Timeline(this.find(".time"));
    this.timeline.addEventListener("seek", ({ detail }) => this.seek(detail));
    const clicks = {
      play: () => player.toggle(),
      back: () => player.step(-1),
      next: () => player.step(1),
      // What a press has just let go is not to be switched off by its click.
      sound: () => this.wasSilent || player.toggleSound(),
      loop: () => player.toggleLoop(),
      reset: () => player.resetView(),
      link: () => this.copyLink(),
      help: () => this.toggleHelp(),
      full: () => player.toggleFullScreen(),
    };
    for (const [name, action] of Object.entries(clicks)) this.find(`.row > .${name}`).addEventListener("click", action);
    this.find(".begin").addEventListener("click", () => {
      player.play();
      this.find(".stage").focus({ preventScroll: true });
    });
    this.find(".done").addEventListener("click", () => this.toggleHelp());
    this.menus = ["rate", "camera", "settings"].map((name) => {
      const button = this.find(`.anchor > .${name}`);
      return attachMenu(button, button.nextElementSibling, () => this[`${name}Menu`]());
    });
    watchGestures(this.find(".stage"), {
      view: () => player.core.view,
      moved: () => player.core.move(),
      clicked: (event) => this.clicked(event),
      takesWheel: () => player.matches(":focus-within") || player.hasAttribute("wheel"),
    });
    player.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) {
      player.addEventListener(name, (event) => this.show(event), { passive: true });
    }
    player.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && this.hideSoon(400));
    player.addEventListener("focusout", (event) => {
      if (!player.contains(event.relatedTarget)) for (const menu of this.menus) menu.close();
    });
    // Browsers start sound only where the user does something.
    for (const name of ["pointerdown", "keydown"]) {
      const unlock = () => {
        this.wasSilent = this.soundState === "mute" && !player.muted;
        player.core.sound?.unlock();
      };
      player.addEventListener(name, unlock, { capture: true, passive: true });
    }
    player.addEventListener("fullscreenchange", () => this.update());
  }

  // ---- what the player's state looks like

  reset() {
    this.find(".problem").hidden = true;
    this.find(".begin").hidden = true;
    this.find(".controls").hidden = true;
    this.spin(Boolean(this.player.src));
    const poster = this.find(".poster");
    poster.hidden = !this.player.poster;
    poster.classList.remove("gone");
    if (this.player.poster) poster.src = this.player.poster;
  }

  opened() {
    const { core } = this.player;
    this.timeline.fill(core.frames, core.header.fps);
    this.find(".clock span").textContent = `/ ${timeText(core.clock.duration)}`;
    this.update();
  }

  ready() {
    this.spin(false);
    this.find(".poster").classList.add("gone");
    this.find(".begin").hidden = this.player.autoplay || this.player.wasPlaying;
    this.update();
  }

  progress({ loaded, size }) {
    const text = size ? `${Math.floor((100 * loaded) / size)} %` : `${(loaded / 1e6).toFixed(1)} MB`;
    this.find(".spinner span").textContent = this.player.readyState ? "" : text;
  }

  /** @param {boolean} brief whether what is on show stays to be seen */
  problem(text, brief) {
    this.spin(false);
    if (brief) {
      this.notice(text, 6000);
      return;
    }
    this.find(".begin").hidden = true;
    this.find(".problem").textContent = text;
    this.find(".problem").hidden = false;
  }

  update() {
    const { player } = this;
    const { core } = player;
    if (!this.menus) return;
    const known = Boolean(core.clock) && !(player.error && player.error.code !== 3);
    this.find(".controls").hidden = !(player.controls && known);
    if (!known) return;
    const time = player.currentTime;
    const playing = !player.paused;
    this.find(".clock b").textContent = timeText(Math.min(time, player.duration));
    const shown = core.clock.frameAt(time);
    if (shown !== this.shownFrame) this.timeline.show(shown);
    this.shownFrame = shown;
    this.timeline.showLoaded(core.feed.buffered);
    const state = playing ? "pause" : player.ended ? "replay" : "play";
    if (state !== this.playState) {
      this.playState = state;
      const button = this.find(".row > .play");
      button.innerHTML = icon(state);
      const label = { pause: "Pause (space)", replay: "Play again (space)", play: "Play (space)" }[state];
      button.setAttribute("aria-label", label);
      button.title = label;
      if (playing) this.find(".begin").hidden = true;
      this.show();
    }
    this.showSound();
    this.find(".row > .loop").setAttribute("aria-pressed", String(player.loop));
    this.find(".rate").textContent = `${player.playbackRate}×`;
    const full = document.fullscreenElement === player;
    if (full !== this.wasFull) this.find(".row > .full").innerHTML = icon(full ? "small" : "full");
    this.wasFull = full;
    this.spin(player.readyState < 4 || (core.waiting && (playing || player.seeking)));
  }

  showSound() {
    const { player } = this;
    const button = this.find(".row > .sound");
    button.hidden = !player.hasSound;
    // An autoplaying page is silent until something is done on it.
    const state = player.muted || (!player.paused && !player.core.sound?.audible) ? "mute" : "sound";
    if (button.hidden || state === this.soundState) return;
    this.soundState = state;
    button.innerHTML = icon(state);
    button.setAttribute("aria-pressed", String(state === "sound"));
  }

  /** Shows that something is awaited, if it lasts. */
  spin(on) {
    const spinner = this.find(".spinner");
    if (!on) {
      clearTimeout(this.spinning);
      this.spinning = 0;
      spinner.hidden = true;
    } else if (!this.spinning) {
      this.spinning = setTimeout(() => {
        spinner.hidden = Boolean(this.player.error);
      }, 250);
    }
  }

  notice(text, time = NOTICE) {
    this.find(".notice").textContent = text;
    clearTimeout(this.noticed);
    this.noticed = setTimeout(() => {
      this.find(".notice").textContent = "";
    }, time);
  }

  show(event) {
    if (event?.type === "pointermove" && event.pointerType === "touch") return;
    this.player.classList.remove("idle");
    this.hideSoon(IDLE);
  }

  hideSoon(time) {
    clearTimeout(this.hiding);
    this.hiding = setTimeout(() => {
      const open = [...this.player.shadowRoot.querySelectorAll(".menu")].some((menu) => !menu.hidden);
      if (!this.player.paused && !open) this.player.classList.add("idle");
    }, time);
  }

  toggleHelp() {
    const help = this.find(".keys");
    help.hidden = !help.hidden;
    if (help.hidden) this.find(".stage").focus({ preventScroll: true });
    else this.find(".done").focus();
  }

  // ---- what the user does

  seek(frame) {
    const { player } = this;
    player.currentTime = (frame + 0.5) / player.core.header.fps;
  }

  clicked(event) {
    const { player } = this;
    this.find(".stage").focus({ preventScroll: true });
    if (!player.core.clock || !player.controls) return;
    if (event.pointerType === "mouse" || player.paused) player.toggle();
    else if (player.classList.contains("idle")) this.show();
    else player.classList.add("idle");
  }

  key(event) {
    const inside = event.composedPath()[0];
    if (event.key === "Escape" && !this.find(".keys").hidden) {
      this.toggleHelp();
      return;
    }
    // A focused button or slider has keys of its own.
    const slider = inside.tagName === "INPUT" && /^(Arrow|Home|End|Page)/.test(event.key) && !event.shiftKey;
    if ((inside.tagName === "BUTTON" && event.key === " ") || slider) return;
    if (pressKey(event, this.player)) event.preventDefault();
  }

  rateMenu() {
    const { player } = this;
    const items = RATES.map((rate) => ({
      label: rate === 1 ? "Normal" : `${rate}×`,
      checked: player.playbackRate === rate,
      chosen: () => {
        player.playbackRate = rate;
      },
    }));
    return [{ title: "Speed", items }];
  }

  cameraMenu() {
    const { player } = this;
    const { view } = player.core;
    const free = { label: "Free view", checked: !view.through, chosen: () => player.resetView() };
    const items = player.cameras.map((camera) => ({
      label: camera.name,
      note: camera.split === "test" ? "held out" : "",
      shape: camera.split,
      checked: view.through === camera.name,
      chosen: () => player.lookThrough(camera.name),
    }));
    return [{ title: "Look through", items: [free, ...items] }];
  }

  settingsMenu() {
    const { player } = this;
    const chosenBackdrop = player.getAttribute("background");
    const modes = SHOWN.map((mode) => ({
      label: capital(mode),
      checked: player.mode === mode,
      chosen: () => {
        player.mode = mode;
      },
    }));
    const qualities = Object.entries(QUALITIES).map(([quality, note]) => ({
      label: capital(quality),
      note,
      checked: player.quality === quality,
      chosen: () => {
        player.quality = quality;
      },
    }));
    const { levels } = player;
    const streams = ["auto", ...levels.keys()].map((level) => ({
      label: level === "auto" ? "Auto" : rateText(levels[level].bitrate),
      note: level === "auto" ? `now ${rateText(levels[player.currentLevel]?.bitrate ?? 0)}` : "",
      checked: player.level === level,
      chosen: () => {
        player.level = level;
      },
    }));
    const backdrops = Object.entries(BACKDROPS).map(([label, colour]) => ({
      label: capital(label),
      checked: chosenBackdrop === colour,
      chosen: () => (colour ? player.setAttribute("background", colour) : player.removeAttribute("background")),
    }));
    const path = [
      { label: "Add this view", note: `${this.views.length} so far`, chosen: () => this.addView() },
      { label: "Drop the last view", chosen: () => this.dropView() },
      { label: "Save cameras.json", chosen: () => this.savePath() },
    ];
    return [
      ...(levels.length > 1 ? [{ title: "Stream", items: streams }] : []),
      { title: "Quality", items: qualities },
      { title: "Show", items: modes },
      { title: "Backdrop", items: backdrops },
      { title: "Camera path", items: path },
    ];
  }

  addView() {
    const { core } = this.player;
    this.views.push(core.look(...core.size).camera);
    this.notice(`View ${this.views.length} added`);
  }

  dropView() {
    this.views.pop();
    this.notice(`${this.views.length} views are left`);
  }

  savePath() {
    if (this.views.length) saveText("cameras.json", JSON.stringify(pathDocument(this.views), null, 1));
    else this.notice("Add a view first");
  }

  async copyLink() {
    const link = this.player.link?.() ?? linkOf(this.player);
    try {
      await navigator.clipboard.writeText(link);
      this.notice("Link copied");
    } catch {
      location.replace(link);
      this.notice("The address has this view now");
    }
  }
}

/** The page's address with time and view in its fragment. */
export function linkOf(player) {
  const { camera, view } = player.viewpoint;
  const parts = [`t=${player.currentTime.toFixed(3)}`];
  if (camera) parts.push(`camera=${encodeURIComponent(camera)}`);
  else if (view) parts.push(`view=${view.join(",")}`);
  return `${location.href.split("#")[0]}#${parts.join("&")}`;
}

/** Takes time and view from a fragment as `linkOf` writes it. Whether it had any. */
export function applyFragment(player, fragment) {
  const found = new URLSearchParams(fragment.replace(/^#/, ""));
  const time = Number(found.get("t") ?? NaN);
  const camera = found.get("camera");
  const view = found.get("view");
  if (Number.isFinite(time) && time >= 0) player.currentTime = time;
  if (camera) player.viewpoint = { camera };
  else if (view) player.viewpoint = { view: view.split(",").map(Number) };
  return Boolean(found.get("t") || camera || view);
}
