/**
 * Several qualities of one scene: which one each segment is taken from, by throughput and decoding times.
 *
 * Segments begin at frames that are key frames in all qualities. The lowest is opened first, the others once there is a
 * reserve of loaded frames. A segment's quality is settled when it begins to be loaded; until then nothing of it is, so that no byte
 * is loaded for nothing. A file alone is one quality.
 *
 * @module
 */

import { openFile } from "../decoder/decoder.js";
import { SourceError } from "../decoder/errors.js";
import { urlSource } from "../decoder/sources.js";

/** What throughput is divided by, to be on the safe side. */
const MARGIN = 1.3;
/** Seconds that are loaded before quality may cost more than what comes in meanwhile. */
const RESERVE = 3;
/** Seconds that are loaded before other qualities are opened. */
const FIRST_RESERVE = 1.5;
/** Part of a frame's time that its decoding may take. */
const BUSY = 0.8;
/** What a new measurement of decoding counts. */
const FRESH = 0.15;

/** @typedef {import("../decoder/decoder.js").TvvcFile} TvvcFile */

export class Levels {
  /**
   * @param {TvvcFile} file the lowest quality
   * @param {any} [manifest] as `tvvc web` writes it
   * @param {(file: string) => Promise<TvvcFile>} [open]
   */
  constructor(file, manifest = null, open = undefined) {
    /** @type {(TvvcFile | null)[]} */
    this.files = [file, ...(manifest?.files.slice(1) ?? []).map(() => null)];
    this.manifest = manifest;
    this.open = open;
    this.count = this.files.length;
    this.segments = manifest?.segments ?? [0];
    /** Qualities of segments that are settled. @type {Map<number, number>} */
    this.chosen = new Map();
    /** Segments that are loaded ahead, in the quality that is settled. */
    this.ahead = new Set();
    this.current = -1;
    /** Milliseconds of decoding a frame, by quality. @type {number[]} */
    this.costs = [];
    /** A quality that is to be taken in any case. @type {number | null} */
    this.fixed = null;
    /** @type {Promise<void> | null} */
    this.opening = null;
  }

  /** Takes one quality from now on, or with null what is best. @param {number | null} level */
  async keepTo(level) {
    if (level !== null) await this.openOthers();
    this.fixed = level;
    this.current = -1;
    this.ahead.clear();
  }

  /** Opens the other qualities, one after the other; once. @returns {Promise<void>} */
  openOthers() {
    this.opening ??= this.openAll();
    return this.opening;
  }

  async openAll() {
    const first = /** @type {TvvcFile} */ (this.files[0]);
    for (let level = 1; level < this.count; level++) {
      try {
        const file = await this.open?.(this.manifest.files[level].file);
        const same = JSON.stringify(file?.header.layout) === JSON.stringify(first.header.layout);
        if (file && same && file.frames.length === first.frames.length) this.files[level] = file;
      } catch {
        // What cannot be had is not chosen.
      }
    }
  }

  /** @param {number} number of a frame */
  segmentOf(number) {
    let segment = 0;
    while (segment + 1 < this.segments.length && this.segments[segment + 1] <= number) segment++;
    return segment;
  }

  /** @param {number} segment @returns {[number, number]} its first and its last frame */
  framesOf(segment) {
    const last = (this.segments[segment + 1] ?? this.files[0]?.frames.length ?? 1) - 1;
    return [this.segments[segment], last];
  }

  /** Bytes of a segment that are neither there nor on their way. */
  missing(level, segment) {
    const file = /** @type {TvvcFile} */ (this.files[level]);
    const source = /** @type {any} */ (file.source);
    if (!source.missing) return 0;
    const [first, last] = this.framesOf(segment);
    const gaps = source.missing(file.startOf(first), file.endOf(last));
    return gaps.reduce((sum, [begin, end]) => sum + end - begin, 0);
  }

  /** Bytes per second that come in, of late. */
  get throughput() {
    let newest = 0;
    let rate = 0;
    for (const file of this.files) {
      const meter = /** @type {any} */ (file?.source)?.meter;
      if (meter && meter.last >= newest && meter.bytesPerSecond) {
        newest = meter.last;
        rate = meter.bytesPerSecond;
      }
    }
    return rate;
  }

  /**
   * The best quality of a segment that can be loaded and decoded in time.
   *
   * @param {number} segment
   * @param {number} buffered seconds that are loaded before it
   */
  decide(segment, buffered) {
    if (this.fixed !== null && this.files[this.fixed]) return this.fixed;
    const { fps } = /** @type {TvvcFile} */ (this.files[0]).header;
    const [first, last] = this.framesOf(segment);
    const seconds = (last + 1 - first) / fps;
    const rate = this.throughput;
    for (let level = this.count - 1; level > 0; level--) {
      if (!this.files[level] || (this.costs[level] ?? 0) > (BUSY * 1000) / fps) continue;
      const bytes = this.missing(level, segment);
      // With a reserve a part of it may be spent; without any, loading must be faster than playing.
      const time = buffered >= RESERVE ? seconds + (buffered - RESERVE) / 4 : (seconds * buffered) / RESERVE;
      if (!bytes || (rate && (MARGIN * bytes) / rate <= time)) return level;
    }
    return 0;
  }

  /** The quality that a frame is taken from. @param {number} number */
  levelOf(number) {
    const segment = this.segmentOf(number);
    if (segment !== this.current) {
      this.current = segment;
      // What was loaded ahead is settled; what comes again may have become affordable.
      if (!this.ahead.delete(segment) || !this.chosen.has(segment)) this.chosen.set(segment, this.decide(segment, 0));
    }
    return this.chosen.get(segment) ?? 0;
  }

  /**
   * Decodes a frame.
   *
   * @param {number} number
   * @param {number} level
   * @returns {Promise<{frame: import("../decoder/types.js").Frame, file: TvvcFile}>}
   */
  async decode(number, level) {
    const file = /** @type {TvvcFile} */ (this.files[level]);
    const waits = this.missing(level, this.segmentOf(number)) > 0 || file.buffered(number) < 1;
    const began = performance.now();
    const frame = await file.decode(number);
    const cost = performance.now() - began;
    // What had to be loaded first says nothing of decoding.
    if (!waits) this.costs[level] = (this.costs[level] ?? cost) * (1 - FRESH) + cost * FRESH;
    return { frame, file };
  }

  /**
   * Loads what comes after a frame.
   *
   * @param {number} number
   * @param {number} bytes at most, of the quality at hand
   */
  loadAhead(number, bytes) {
    const level = this.levelOf(number);
    const file = /** @type {TvvcFile} */ (this.files[level]);
    if (this.count === 1) {
      file.loadAhead(number, bytes);
      return;
    }
    const { fps } = file.header;
    const reserve = this.buffered(number);
    if (reserve >= FIRST_RESERVE * fps || number + reserve >= file.frames.length) this.openOthers();
    let segment = this.segmentOf(number);
    let [, last] = this.framesOf(segment);
    this.want(level, number, last);
    let left = bytes - (file.endOf(last) - file.startOf(number));
    // One segment after the other, so that each is settled by what came in for those before it.
    while (this.missing(this.chosen.get(segment) ?? 0, segment) === 0 && this.loaded(segment)) {
      segment += 1;
      if (segment >= this.segments.length || left <= 0) return;
      const [first, end] = this.framesOf(segment);
      if (!this.ahead.has(segment)) {
        this.chosen.set(segment, this.decide(segment, (first - number) / fps));
        this.ahead.add(segment);
      }
      const own = this.chosen.get(segment) ?? 0;
      this.want(own, first, end);
      const other = /** @type {TvvcFile} */ (this.files[own]);
      left -= other.endOf(end) - other.startOf(first);
      last = end;
    }
  }

  /** Whether all of a segment has come, in its quality. */
  loaded(segment) {
    const file = /** @type {TvvcFile} */ (this.files[this.chosen.get(segment) ?? 0]);
    const [first, last] = this.framesOf(segment);
    return file.source.has?.(file.startOf(first), file.endOf(last)) ?? true;
  }

  want(level, first, last) {
    const file = /** @type {TvvcFile} */ (this.files[level]);
    file.source.want?.(file.startOf(first), file.endOf(last), true);
  }

  /** How many frames, from this one on, are there already. @param {number} number */
  buffered(number) {
    if (this.count === 1) return /** @type {TvvcFile} */ (this.files[0]).buffered(number);
    let segment = this.segmentOf(number);
    let at = number;
    while (segment < this.segments.length && this.chosen.has(segment)) {
      const file = /** @type {TvvcFile} */ (this.files[this.chosen.get(segment) ?? 0]);
      const [, last] = this.framesOf(segment);
      const found = Math.min(file.buffered(at), last + 1 - at);
      at += found;
      if (at <= last) break;
      segment += 1;
    }
    return at - number;
  }
}

/**
 * Opens a scene of several qualities.
 *
 * @param {string} url of its manifest
 * @param {any} options of `urlSource`
 * @returns {Promise<Levels>}
 * @throws {SourceError} it cannot be loaded, or is none
 */
export async function openScene(url, options) {
  const response = await fetch(url, { cache: "no-cache" }).catch(() => null);
  if (!response?.ok) throw new SourceError(`${url}: expected a manifest, found ${response?.status ?? "no answer"}`);
  const manifest = await response.json().catch(() => null);
  const sound = manifest?.format === "tvvc scene" && manifest.version === 1;
  if (!sound || !manifest.files?.length || manifest.segments?.[0] !== 0) {
    throw new SourceError(`${url}: expected the manifest of a scene, found something else; use a newer player`);
  }
  const open = async (file) => openFile(await urlSource(new URL(file, url).href, options));
  return new Levels(await open(manifest.files[0].file), manifest, open);
}
