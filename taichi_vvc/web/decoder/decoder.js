/**
 * The decoder of .tvvc files: opens one, and decodes any of its frames.
 *
 *     const file = await openFile(await urlSource("scene.tvvc"));
 *     const frame = await file.decode(0);
 *
 * @module
 */

import { FIRST_WITH_MOVING_CAMERAS, PREAMBLE_BYTES } from "./constants.js";
import { headerEnd, parsePreamble, peek, readIndex, readPayload, scan } from "./container.js";
import { ConfigError, CorruptStream, StreamError, told, TruncatedStream } from "./errors.js";
import { FrameDecoder } from "./frames.js";
import { GroupReader } from "./groups.js";
import { Budget, defaultLimit } from "./memory.js";
import { camerasOf, headerCameras, headerTrack, parseCameras } from "./moving_cameras.js";
import { parseSound } from "./sound.js";
import { gridShapes, parseFrame, parseHeader } from "./syntax.js";

export * from "./errors.js";
export { FORMAT_VERSION } from "./constants.js";

/** @typedef {import("./types.js").Source} Source */
/** @typedef {import("./types.js").Header} Header */
/** @typedef {import("./types.js").Frame} Frame */
/** @typedef {import("./types.js").FrameEntry} FrameEntry */
/** @typedef {import("./types.js").GroupEntry} GroupEntry */
/** @typedef {import("./frames.js").SymbolFrame} SymbolFrame */
/** @typedef {import("./moving_cameras.js").CameraTrack} CameraTrack */

/**
 * What was decoded last.
 *
 * @typedef {{number: number, frame: SymbolFrame, track: CameraTrack}} Last
 */

/**
 * Opens a file: reads its header and its index.
 *
 * @param {Source} source see `sources.js`
 * @param {import("./types.js").OpenOptions} [options]
 * @returns {Promise<TvvcFile>}
 * @throws {StreamError} it is no .tvvc file, of a newer version, or damaged
 */
export async function openFile(source, options = {}) {
  const name = source.name ?? "file";
  // From a server the index comes first, and then the header at once; without an index a walk takes all there is.
  if (source.want && source.size) source.want(0, (await headerEnd(source)) || source.size);
  const version = parsePreamble(await source.read(0, PREAMBLE_BYTES), name);
  const chunk = await peek(source, PREAMBLE_BYTES);
  if (!chunk) throw new TruncatedStream(`${name}: expected a whole sequence header, found ${source.size} bytes`);
  const payload = await readPayload(source, PREAMBLE_BYTES, chunk.bytes, "HEAD", `${name}: sequence header`);
  const parsed = await parseHeader(payload, version);
  const start = PREAMBLE_BYTES + chunk.bytes;
  let contents;
  try {
    contents = await readIndex(source, start, version, parsed.record.fps);
  } catch (error) {
    if (!(error instanceof CorruptStream || error instanceof TruncatedStream)) throw error;
    contents = await scan(source, start, version);
  }
  return new TvvcFile(source, version, parsed, contents, options.memoryLimit ?? defaultLimit());
}

/** An open file; see {@link openFile}. */
export class TvvcFile {
  /**
   * @param {Source} source
   * @param {number} version
   * @param {Awaited<ReturnType<typeof parseHeader>>} parsed
   * @param {import("./container.js").Contents} contents
   * @param {number} memoryLimit bytes
   */
  constructor(source, version, parsed, contents, memoryLimit) {
    this.source = source;
    this.version = version;
    this.name = source.name ?? "file";
    this.record = parsed.record;
    /** The header's bytes that pictures depend on. */
    this.forPictures = parsed.forPictures;
    this.frames = contents.frames;
    this.chunks = contents.groups;
    this.sounds = contents.sounds;
    this.complete = contents.complete;
    /** @type {GroupEntry[]} */
    this.groups = contents.groups.map((chunk, k) => {
      const next = contents.groups[k + 1];
      const lastFrame = next ? next.firstFrame - 1 : contents.frames.length - 1;
      const bytes = (next ? next.offset : contents.end) - chunk.offset;
      const { number, firstFrame, offset } = chunk;
      return { number, firstFrame, lastFrame, offset, bytes, chunkBytes: chunk.bytes };
    });
    this.header = headerOf(parsed, contents.frames.length);
    this.budget = new Budget(memoryLimit, this.name);
    this.decoder = new FrameDecoder(parsed.layout, this.budget);
    /** @type {CameraTrack} */
    this.still = version >= FIRST_WITH_MOVING_CAMERAS ? headerTrack(this.record) : { now: [], before: [] };
    /** @type {Last | null} */
    this.last = null;
    this.groupReader = new GroupReader(this);
    /** @type {{cameras: import("./types.js").Camera[], track: CameraTrack | null}} */
    this.cameras = { cameras: this.header.cameras, track: null };
    /** @type {Promise<unknown>} decoding goes one call at a time */
    this.queue = Promise.resolve();
  }

  /**
   * Decodes a frame, from its key frame on or from the frame that was decoded last where that is nearer.
   *
   * @param {number} index
   * @param {import("./types.js").DecodeOptions} [options]
   * @returns {Promise<Frame>}
   * @throws {StreamError} this frame or one that it depends on is damaged
   */
  decode(index, options = {}) {
    const done = this.queue.then(() => this.decodeNow(index, options));
    this.queue = done.catch(() => {});
    return done;
  }

  /**
   * @param {number} index
   * @param {import("./types.js").DecodeOptions} options
   * @returns {Promise<Frame>}
   */
  async decodeNow(index, { reuse }) {
    const entry = this.frames[index];
    if (!entry) throw new ConfigError(`expected a frame in 0..${this.frames.length - 1}, found ${index}`);
    if (reuse) this.decoder.pool.release(arraysOf(reuse));
    this.wantUpTo(index);
    const group = await this.groupReader.read(entry.group);
    const { frame, track } = await this.decodeTo(index);
    if (this.cameras.track?.now !== track.now) {
      this.cameras = { cameras: camerasOf(this.header.cameras, this.record, track.now), track };
    }
    const found = {
      ...{ number: index, key: frame.key, group, occupancy: frame.mask.cells, symbols: frame.symbols },
      ...{ cameras: this.cameras.cameras, track: track.now },
    };
    this.decoder.pool.hold(arraysOf(found));
    return found;
  }

  /** Has all that a frame depends on in its group loaded by one request. @param {number} index */
  wantUpTo(index) {
    const { firstFrame } = this.groups[this.frames[index].group];
    const { number } = this.last ?? { number: -1 };
    const begin = number >= firstFrame && number <= index ? number + 1 : firstFrame;
    if (begin <= index) this.source.want?.(this.startOf(begin), this.endOf(index));
  }

  /**
   * @param {number} index
   * @returns {Promise<Last>}
   */
  async decodeTo(index) {
    const { firstFrame } = this.groups[this.frames[index].group];
    let last = this.last;
    if (last && (last.number > index || last.number < firstFrame)) last = null;
    const begin = last ? last.number + 1 : firstFrame;
    for (let number = begin; number <= index; number++) {
      const data = await this.readFrame(number);
      last = this.decodeOne(data, last);
      this.keep(last);
    }
    if (!last) throw new CorruptStream(`frame ${index}: expected a key frame before it, found none`);
    return last;
  }

  /**
   * @param {any} data
   * @param {Last | null} before
   * @returns {Last}
   */
  decodeOne(data, before) {
    const key = data.type === "key";
    const place = `frame ${data.number}`;
    try {
      const frame = this.decoder.decode(data, key || !before ? null : before.frame);
      const start = key || !before ? this.still : before.track;
      const { rotationBits } = this.record;
      const moves = this.version >= FIRST_WITH_MOVING_CAMERAS;
      const track = moves ? parseCameras(data.cameras, start, key, rotationBits, place) : start;
      return { number: data.number, frame, track };
    } catch (error) {
      throw told(error, this.name, place);
    }
  }

  /** @param {Last} last what the next frame is predicted from */
  keep(last) {
    const { pool } = this.decoder;
    pool.hold(arraysOf({ symbols: last.frame.symbols, occupancy: last.frame.mask.cells }));
    if (this.last) {
      pool.release(arraysOf({ symbols: this.last.frame.symbols, occupancy: this.last.frame.mask.cells }));
    }
    this.last = last;
  }

  /**
   * The record of a frame's chunk.
   *
   * @param {number} number
   * @returns {Promise<any>}
   */
  async readFrame(number) {
    const entry = this.frames[number];
    const place = `${this.name}: frame ${number}`;
    const payload = await readPayload(this.source, entry.offset, entry.bytes, "FRAM", place);
    const data = parseFrame(payload, this.version, place);
    if (data.number !== number || data.group !== entry.group || (data.type === "key") !== entry.key) {
      throw new CorruptStream(`${this.name}: expected frame ${number}, found frame ${data.number}`);
    }
    const grids = gridShapes(this.header.layout).length;
    if (data.grids.length !== grids) {
      throw new CorruptStream(`${place}: expected ${grids} grids, found ${data.grids.length}`);
    }
    return data;
  }

  /**
   * A run of sound.
   *
   * @param {number} index its place in `sounds`
   * @returns {Promise<import("./types.js").SoundRun>}
   * @throws {StreamError} its chunk is damaged
   */
  async readSound(index) {
    const entry = this.sounds[index];
    if (!entry) throw new ConfigError(`expected a run of sound in 0..${this.sounds.length - 1}, found ${index}`);
    const place = `${this.name}: sound ${index}`;
    const payload = await readPayload(this.source, entry.offset, entry.bytes, "soun", place);
    const run = parseSound(payload, this.version, place);
    if (run.number !== entry.number) {
      throw new CorruptStream(`${this.name}: expected packet ${entry.number} of sound, found packet ${run.number}`);
    }
    return run;
  }

  /** A frame that is no longer needed: its memory may be used again. @param {Frame} frame */
  release(frame) {
    this.decoder.pool.release(arraysOf(frame));
  }

  /**
   * Loads what comes after a frame, frame by frame, until so many bytes are there.
   *
   * @param {number} index
   * @param {number} bytes
   */
  loadAhead(index, bytes) {
    const begin = this.startOf(index);
    let last = index;
    while (last + 1 < this.frames.length && this.endOf(last + 1) - begin <= bytes) last++;
    if (this.frames.length) this.source.want?.(begin, this.endOf(last), true);
  }

  /**
   * How many frames, from this one on, are there already.
   *
   * @param {number} index
   * @returns {number}
   */
  buffered(index) {
    const { source, frames } = this;
    if (!source.has) return frames.length - index;
    let last = index;
    while (last < frames.length && source.has(this.startOf(last), this.endOf(last))) last++;
    return last - index;
  }

  /** Where the chunk of a frame begins, or that of its group where it is the first. @param {number} index */
  startOf(index) {
    const { group, offset } = this.frames[index];
    const { firstFrame, offset: begin } = this.groups[group];
    return (firstFrame === index ? begin : offset) - 4;
  }

  /** Where the chunk of a frame ends. @param {number} index */
  endOf(index) {
    return this.frames[index].offset + this.frames[index].bytes;
  }

  /** Gives the memory back. */
  close() {
    this.last = null;
    this.groupReader.clear();
  }
}

/**
 * @param {Awaited<ReturnType<typeof parseHeader>>} parsed
 * @param {number} frameCount
 * @returns {Header}
 */
function headerOf({ record, layout, settings }, frameCount) {
  const [above, below] = record.fps;
  return {
    layout,
    background: record.background.map((/** @type {number} */ value) => value / 255),
    fps: above / below,
    fpsRatio: record.fps,
    frameCount,
    duration: (frameCount * below) / above,
    firstFrame: record.firstFrame,
    downscale: record.downscale,
    cameras: headerCameras(record),
    rotationBits: record.rotationBits ?? 0,
    positionBits: record.positionBits ?? 0,
    settings,
    library: record.library,
  };
}

/** @param {{symbols: Int32Array[], occupancy: Uint8Array}} frame */
const arraysOf = (frame) => [...frame.symbols, frame.occupancy];
