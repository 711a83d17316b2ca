/**
 * The sound of a file, kept to the player's clock.
 *
 * The clock of the pictures is the one that counts. Blocks of packets are decoded by the browser and scheduled one
 * behind the other, ahead of time. Where what is heard and the clock part, by a jump or little by little, they are scheduled
 * anew. Other speeds change the pitch.
 *
 * Browsers start no sound before the user has done something on the page: `unlock` is to be called then.
 *
 * @module
 */

import { SOUND_PACKET, SOUND_PREROLL, SOUND_RATE } from "../decoder/constants.js";
import { oggOf } from "./ogg.js";

/** Seconds from scheduling to the first sample. */
const LEAD = 0.03;
/** Seconds that are scheduled ahead. */
const AHEAD = 1.5;
/** How far the sound may be off the clock for a while, and how far at all; seconds. */
const DRIFT = 0.02;
const JUMP = 0.12;
/** That while, ms. */
const PATIENCE = 150;
/** Packets of a block, one second; and blocks whose samples are kept. */
const BLOCK = 50;
const KEPT = 24;
/** Packets that are decoded and left out before a block. */
const BEFORE = SOUND_PREROLL / SOUND_PACKET;

/** @typedef {import("../decoder/types.js").SoundRun} SoundRun */
/** @typedef {import("../decoder/types.js").SoundEntry} SoundEntry */

export class Soundtrack {
  /**
   * @param {SoundEntry[]} entries the file's runs
   * @param {(index: number) => Promise<SoundRun>} read
   * @param {(error: unknown) => void} failed told once, of the first that cannot be played
   */
  constructor(entries, read, failed) {
    this.entries = entries;
    this.read = read;
    this.failed = failed;
    this.muted = false;
    this.volume = 1;
    /** @type {AudioContext | null} */
    this.context = null;
    /** @type {GainNode | null} */
    this.gain = null;
    /** @type {Map<number, Promise<SoundRun | null>>} */
    this.runs = new Map();
    /** Decoded samples, those used longest ago first. @type {Map<number, Promise<AudioBuffer | null>>} */
    this.buffers = new Map();
    /** The blocks of a file, as far as the index tells. */
    this.blocks = Math.floor(entries[entries.length - 1].number / BLOCK) + 1;
    /** What is being played, or begun. @type {any} */
    this.now = null;
    this.skip = 0;
    /** Packets of blocks, by their numbers. @type {Map<number, number>} */
    this.sizes = new Map();
    this.closed = false;
  }

  /** Whether the browser lets it be heard. */
  get audible() {
    return this.context?.state === "running";
  }

  /** Starts the browser's audio; to be called when the user does something. */
  unlock() {
    if (this.closed || this.muted) return;
    if (!this.context) {
      const Context = globalThis.AudioContext;
      if (!Context) return;
      this.context = new Context({ sampleRate: SOUND_RATE, latencyHint: "interactive" });
      this.gain = this.context.createGain();
      this.gain.connect(this.context.destination);
      this.setVolume(this.volume);
    }
    if (this.context.state === "suspended") this.context.resume().catch(() => {});
  }

  /** @param {number} volume 0..1 */
  setVolume(volume) {
    this.volume = volume;
    if (this.gain) this.gain.gain.value = volume;
  }

  /** @param {boolean} muted */
  setMuted(muted) {
    this.muted = muted;
    if (muted) this.stop();
    else this.unlock();
  }

  /**
   * Keeps the sound to the clock; to be called again and again.
   *
   * @param {number | null} time seconds of the scene; null where time stands
   * @param {number} rate
   * @param {number} now ms
   */
  follow(time, rate, now) {
    if (time === null || this.muted || !(rate > 0) || !this.audible) {
      this.stop();
      return;
    }
    const { now: own } = this;
    if (own) {
      const off = Math.abs(this.timeAt(now) - time);
      if (off <= DRIFT) own.since = now;
      if (own.rate === rate && off < JUMP && now - own.since < PATIENCE) {
        this.schedule();
        return;
      }
    }
    this.begin(time, rate, now);
  }

  /** The time of the scene that is heard at a time, or is meant to be. @param {number} now ms */
  timeAt(now) {
    const { time, at, rate } = this.now;
    return time + ((now - at) / 1000) * rate + (this.now.context ? this.shift(now) : 0);
  }

  /** By how much the audio's clock has run away from the page's since playing began, seconds of the scene. */
  shift(now) {
    const { context, at, rate } = this.now;
    return (this.contextTime(now) - context - (now - at) / 1000) * rate;
  }

  /** The audio's time of the sample that is heard at a time. @param {number} now ms */
  contextTime(now) {
    const context = /** @type {AudioContext} */ (this.context);
    const stamp = context.getOutputTimestamp?.();
    if (stamp?.contextTime && stamp.performanceTime) return stamp.contextTime + (now - stamp.performanceTime) / 1000;
    return context.currentTime + (now - performance.now()) / 1000 - (context.outputLatency || context.baseLatency || 0);
  }

  /** Plays from a time on. */
  async begin(time, rate, now) {
    this.stop();
    const own = { time, rate, at: now, since: now, context: 0, sources: new Set(), next: 0, until: 0, busy: true };
    this.now = own;
    const first = await this.run(0);
    if (this.now !== own) return;
    this.skip = first?.skip ?? 0;
    own.next = Math.max(0, Math.floor(((time * SOUND_RATE + this.skip) / SOUND_PACKET) / BLOCK));
    // What comes next is wanted as soon.
    this.buffer(own.next + 1);
    await this.buffer(own.next);
    if (this.now !== own || !this.context) return;
    // Meanwhile time has gone on.
    const start = this.context.currentTime + LEAD;
    const later = start - this.contextTime(own.at);
    own.time += later * rate;
    own.at += later * 1000;
    own.since = performance.now();
    own.context = own.until = start;
    own.busy = false;
    this.schedule();
  }

  /** Schedules blocks until enough is. */
  async schedule() {
    const own = this.now;
    if (!own || own.busy) return;
    own.busy = true;
    while (own.next < this.blocks && own.until - this.context.currentTime < AHEAD) {
      const index = own.next++;
      const buffer = await this.buffer(index);
      if (this.now !== own) return;
      this.buffer(index + 1);
      if (buffer) this.place(own, index, buffer);
      own.until = own.context + (this.startOf(index + 1) - own.time) / own.rate;
    }
    own.busy = false;
  }

  /** Has a block played in its place. */
  place(own, index, buffer) {
    const { context } = this;
    const begin = this.startOf(index);
    // Browsers differ in what they leave out at the beginning; the end is where the last packet ends.
    const lead = buffer.duration - (this.sizes.get(index) * SOUND_PACKET) / SOUND_RATE;
    const due = own.context + (begin - lead - own.time) / own.rate;
    const when = Math.max(due + Math.max(0, lead) / own.rate, own.context, context.currentTime);
    const offset = (when - due) * own.rate;
    if (offset >= buffer.duration) return;
    const source = context.createBufferSource();
    source.buffer = buffer;
    source.playbackRate.value = own.rate;
    source.connect(this.gain);
    source.onended = () => {
      source.disconnect();
      own.sources.delete(source);
    };
    own.sources.add(source);
    source.start(when, Math.max(0, offset));
  }

  /** Silence, at once. */
  stop() {
    for (const source of this.now?.sources ?? []) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.now = null;
  }

  /** Where a block begins, seconds of the scene. @param {number} index */
  startOf(index) {
    return (index * BLOCK * SOUND_PACKET - this.skip) / SOUND_RATE;
  }

  /** A run, null where it cannot be had. @param {number} index @returns {Promise<SoundRun | null>} */
  run(index) {
    let run = this.runs.get(index);
    if (!run) {
      run = this.read(index).catch((error) => this.fail(error));
      this.runs.set(index, run);
    }
    return run;
  }

  /** @param {unknown} error @returns {null} */
  fail(error) {
    if (!this.hasFailed && !this.closed) this.failed(error);
    this.hasFailed = true;
    return null;
  }

  /** The samples of a block, null where there are none. @param {number} index */
  buffer(index) {
    if (index >= this.blocks) return Promise.resolve(null);
    const buffer = this.buffers.get(index) ?? this.decode(index).catch((error) => this.fail(error));
    this.buffers.delete(index);
    this.buffers.set(index, buffer);
    for (const old of this.buffers.keys()) {
      if (this.buffers.size <= KEPT) break;
      this.buffers.delete(old);
    }
    return buffer;
  }

  /** @param {number} index @returns {Promise<AudioBuffer | null>} */
  async decode(index) {
    const first = index * BLOCK;
    const packets = await this.packets(Math.max(0, first - BEFORE), first + BLOCK);
    const lead = Math.min(BEFORE, first);
    if (!this.context || packets.length <= lead) return null;
    this.sizes.set(index, packets.length - lead);
    const channels = (await this.run(0))?.channels ?? 1;
    return this.context.decodeAudioData(oggOf(packets, channels, lead * SOUND_PACKET).buffer);
  }

  /** Packets by their numbers, up to one that is missing. @param {number} begin @param {number} end */
  async packets(begin, end) {
    const { entries } = this;
    /** @type {Uint8Array[]} */
    const found = [];
    for (let k = 0; k < entries.length && entries[k].number < end; k++) {
      if (k + 1 < entries.length && entries[k + 1].number <= begin) continue;
      const run = await this.run(k);
      if (!run || run.number > begin + found.length) break;
      if (k === entries.length - 1) this.blocks = Math.ceil((run.number + run.packets.length) / BLOCK);
      found.push(...run.packets.slice(begin + found.length - run.number, end - run.number));
    }
    return found;
  }

  close() {
    this.closed = true;
    this.stop();
    this.context?.close().catch(() => {});
  }
}
