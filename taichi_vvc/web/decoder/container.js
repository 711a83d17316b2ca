/**
 * The container: chunks with chained checksums, their order, and the index of them.
 *
 * The CRC of a chunk covers its type, length and payload, and starts from the 4 bytes in front of it: the CRC of the
 * chunk before, or the end of the preamble. Swapped, repeated and missing chunks therefore fail, as damaged ones do.
 *
 * @module
 */

import { FIRST_WITH_FULL_INDEX, FIRST_WITH_SOUND, FORMAT_VERSION, FRAMING, PREAMBLE_BYTES } from "./constants.js";
import { Cursor, parse } from "./elements.js";
import { CorruptStream, NotATvvcFile, TruncatedStream, UnsupportedVersion } from "./errors.js";
import { FRAMES, GROUPS, INDEXES, SOUNDS } from "./formats.js";

/** @typedef {import("./types.js").Source} Source */
/** @typedef {import("./types.js").FrameEntry} FrameEntry */
/** @typedef {import("./types.js").SoundEntry} SoundEntry */
/** @typedef {"group" | "key" | "inter" | "sound" | "other"} Kind */

/**
 * @typedef {object} GroupChunk
 * @property {number} number
 * @property {number} firstFrame
 * @property {number} offset
 * @property {number} bytes of the chunk
 * @property {boolean} [mlp] whether the chunk holds MLPs of its own; undefined where the index does not tell
 * @property {boolean} [colours] the same of colour maps
 */

/**
 * The chunks between header and index of a file.
 *
 * @typedef {object} Contents
 * @property {GroupChunk[]} groups
 * @property {FrameEntry[]} frames
 * @property {SoundEntry[]} sounds
 * @property {number} end offset behind the last whole chunk of the sequence
 * @property {boolean} complete whether an index follows
 */

const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/**
 * CRC-32 as zlib has it, continued from `start`.
 *
 * @param {Uint8Array} data
 * @param {number} start
 * @returns {number}
 */
export function crc32(data, start) {
  let crc = ~start;
  for (let k = 0; k < data.length; k++) crc = CRC_TABLE[(crc ^ data[k]) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** @param {Uint8Array} data */
const viewOf = (data) => new DataView(data.buffer, data.byteOffset, data.byteLength);

/** @param {Uint8Array} data @param {number} at */
const typeAt = (data, at) => String.fromCharCode(...data.subarray(at, at + 4));

/**
 * Checks the first 8 bytes of a file.
 *
 * @param {Uint8Array} head
 * @param {string} name begins error messages
 * @returns {number} the format version
 */
export function parsePreamble(head, name) {
  const magic = "TVVC".slice(0, head.length);
  if (!head.length || typeAt(head, 0) !== magic) {
    const found = JSON.stringify(typeAt(head, 0));
    throw new NotATvvcFile(`${name}: expected a .tvvc file starting with TVVC, found ${found}`);
  }
  if (head.length < PREAMBLE_BYTES) {
    throw new TruncatedStream(`${name}: expected ${PREAMBLE_BYTES} bytes of preamble, found ${head.length}`);
  }
  const version = viewOf(head).getUint16(4, true);
  const reserved = viewOf(head).getUint16(6, true);
  if (version > FORMAT_VERSION || reserved) {
    const found = `${version}.${reserved}`;
    throw new UnsupportedVersion(
      `${name}: expected a format version up to ${FORMAT_VERSION}, found ${found}; use a newer player`,
    );
  }
  if (!version) throw new CorruptStream(`${name}: expected format version 1 to ${FORMAT_VERSION}, found 0`);
  return version;
}

/**
 * The type and the bytes, framing included, of the chunk at an offset; null where the file ends before it does.
 *
 * @param {Source} source
 * @param {number} offset
 * @returns {Promise<{type: string, bytes: number} | null>}
 */
export async function peek(source, offset) {
  if (source.size - offset < FRAMING) return null;
  const framing = await source.read(offset, 8);
  if (framing.length < 8) return null;
  const bytes = viewOf(framing).getUint32(4, true) + FRAMING;
  return bytes <= source.size - offset ? { type: typeAt(framing, 0), bytes } : null;
}

/**
 * The payload of a chunk, after checking its type, its length and its CRC.
 *
 * @param {Source} source
 * @param {number} offset
 * @param {number} bytes of the chunk, framing included
 * @param {string} type
 * @param {string} place begins error messages
 * @returns {Promise<Uint8Array>}
 * @throws {TruncatedStream | CorruptStream}
 */
export async function readPayload(source, offset, bytes, type, place) {
  const data = await source.read(offset - 4, bytes + 4);
  if (data.length !== bytes + 4) {
    throw new TruncatedStream(`${place} at byte ${offset}: expected ${bytes} bytes, found the end of the file`);
  }
  const view = viewOf(data);
  if (typeAt(data, 4) !== type || view.getUint32(8, true) !== bytes - FRAMING) {
    throw new CorruptStream(`${place} at byte ${offset}: expected ${bytes} bytes of ${type}, found another chunk`);
  }
  const stated = view.getUint32(bytes, true);
  const found = crc32(data.subarray(4, bytes), view.getUint32(0, true));
  if (found !== stated) {
    const [a, b] = [stated, found].map((value) => value.toString(16).padStart(8, "0"));
    throw new CorruptStream(`${place} at byte ${offset}: expected checksum ${a}, found ${b}; the file is damaged`);
  }
  return data.subarray(12, bytes);
}

/** Collects entries of chunks in file order and refuses a chunk that breaks the order. */
class Order {
  /** @param {number} start offset of the first chunk */
  constructor(start) {
    /** @type {GroupChunk[]} */
    this.groups = [];
    /** @type {FrameEntry[]} */
    this.frames = [];
    /** @type {SoundEntry[]} */
    this.sounds = [];
    this.end = start;
  }

  /**
   * Appends the next chunk.
   *
   * @param {Kind} kind
   * @param {number} number
   * @param {number} bytes
   * @param {boolean} [mlp] what a group's chunk holds
   * @param {boolean} [colours]
   */
  add(kind, number, bytes, mlp, colours) {
    const { groups, frames, sounds, end } = this;
    if (kind === "sound" || kind === "other") {
      const before = sounds.length ? sounds[sounds.length - 1].number : -1;
      if (kind === "sound" && (number <= before || (!sounds.length && number))) {
        const expected = sounds.length ? `a packet behind ${before}` : "packet 0";
        throw new CorruptStream(`chunk at byte ${end}: expected ${expected}, found ${number}; the file is damaged`);
      }
      if (kind === "sound") sounds.push({ number, offset: end, bytes });
      this.end = end + bytes;
      return;
    }
    const last = groups[groups.length - 1];
    const empty = last !== undefined && last.firstFrame === frames.length;
    let expected = empty ? `key ${frames.length}` : `inter ${frames.length}`;
    if (kind === "group") expected = empty ? "a frame of the last group" : `group ${groups.length}`;
    if (kind !== "group" && !last) expected = "a group";
    if (`${kind} ${number}` !== expected) {
      const found = `${kind} ${number}; the file is damaged`;
      throw new CorruptStream(`chunk at byte ${end}: expected ${expected}, found ${found}`);
    }
    if (kind === "group") groups.push({ number, firstFrame: frames.length, offset: end, bytes, mlp, colours });
    else frames.push({ number, key: kind === "key", group: groups.length - 1, offset: end, bytes });
    this.end = end + bytes;
  }
}

/**
 * The contents that the index at the end of the file states.
 *
 * @param {Source} source
 * @param {number} start offset of the first chunk after the header
 * @param {number} version
 * @param {number[]} fps numerator and denominator, by the header
 * @returns {Promise<Contents>}
 * @throws {TruncatedStream | CorruptStream} the file has no index, or a wrong one
 */
export async function readIndex(source, start, version, fps) {
  const { size } = source;
  if (size - start < FRAMING + 4) {
    throw new TruncatedStream(`expected an index at the end of the file, found ${size - start} bytes`);
  }
  const bytes = viewOf(await source.read(size - 8, 4)).getUint32(0, true);
  const none = () => new TruncatedStream("expected an index at the end of the file, found none");
  if (bytes < FRAMING + 4 || bytes > size - start) throw none();
  const chunk = await peek(source, size - bytes);
  if (!chunk || chunk.type !== "INDX" || chunk.bytes !== bytes) throw none();
  const payload = await readPayload(source, size - bytes, bytes, "INDX", "index");
  const index = parse(INDEXES[version], payload.subarray(0, payload.length - 4), "index");
  const order = new Order(start);
  const tells = version >= FIRST_WITH_FULL_INDEX;
  for (const { kind, number, size: own } of index.entries) {
    if (!tells || !kind.startsWith("group")) {
      order.add(kind, number, own);
    } else {
      const both = kind === "group with both";
      order.add("group", number, own, both || kind === "group with MLPs", both || kind === "group with colours");
    }
  }
  if (index.first !== start || order.end !== size - bytes || index.frames !== order.frames.length) {
    throw new CorruptStream(`index: expected chunks from byte ${start} to ${size - bytes}, found others`);
  }
  if (tells && `${index.fps}` !== `${fps}`) {
    throw new CorruptStream(`index: expected ${fps.join("/")} frames per second, found ${index.fps.join("/")}`);
  }
  return contentsOf(order, true);
}

/**
 * Where the header ends, by the index alone, so that one request can bring the header; 0 where there is no index.
 *
 * @param {Source} source
 * @returns {Promise<number>}
 */
export async function headerEnd(source) {
  const { size } = source;
  if (size < PREAMBLE_BYTES + FRAMING + 4) return 0;
  const bytes = viewOf(await source.read(size - 8, 4)).getUint32(0, true);
  if (bytes < FRAMING + 4 || bytes > size - PREAMBLE_BYTES) return 0;
  const data = await source.read(size - bytes - 4, bytes + 4);
  if (typeAt(data, 4) !== "INDX") return 0;
  let first = 0;
  let factor = 1;
  for (let at = 12; at < 20; at++, factor *= 128) {
    first += (data[at] & 127) * factor;
    if (data[at] < 128) break;
  }
  return first <= size ? first : 0;
}

/**
 * Rebuilds the index by walking over the chunks; the last one is checked, since it may be unfinished.
 *
 * @param {Source} source
 * @param {number} start
 * @param {number} version
 * @returns {Promise<Contents>}
 */
export async function scan(source, start, version) {
  const order = new Order(start);
  let complete = false;
  try {
    for (;;) {
      const chunk = await peek(source, order.end);
      if (!chunk) break;
      const last = order.end + chunk.bytes === source.size;
      if (last) await readPayload(source, order.end, chunk.bytes, chunk.type, "chunk");
      if (chunk.type === "INDX") {
        complete = last;
        break;
      }
      const { kind, number } = await identify(source, order.end, chunk, version);
      order.add(kind, number, chunk.bytes);
    }
  } catch (error) {
    // The sequence ends where a chunk does not continue it.
    if (!(error instanceof CorruptStream)) throw error;
  }
  return contentsOf(order, complete);
}

/** @param {Order} order @param {boolean} complete @returns {Contents} */
const contentsOf = ({ groups, frames, sounds, end }, complete) => ({ groups, frames, sounds, end, complete });

/**
 * What a chunk is, from the beginning of its payload.
 *
 * @param {Source} source
 * @param {number} offset
 * @param {{type: string, bytes: number}} chunk
 * @param {number} version
 * @returns {Promise<{kind: Kind, number: number}>}
 */
async function identify(source, offset, chunk, version) {
  const head = await source.read(offset + 8, Math.min(chunk.bytes - FRAMING, 16));
  const cursor = new Cursor(head, `chunk at byte ${offset}`);
  /** @type {ReadonlySet<string>} */
  const none = new Set();
  // A decoder passes over what it does not know, if the type begins with a small letter.
  if (version >= FIRST_WITH_SOUND && /^[a-z]/.test(chunk.type)) {
    if (chunk.type !== "soun") return { kind: "other", number: 0 };
    return { kind: "sound", number: SOUNDS[version].element.fields.number(cursor, "number", none) };
  }
  if (chunk.type === "GRUP") {
    return { kind: "group", number: GROUPS[version].element.fields.number(cursor, "number", none) };
  }
  if (chunk.type !== "FRAM") {
    throw new CorruptStream(`chunk at byte ${offset}: expected a group or a frame, found type ${chunk.type}`);
  }
  const { fields } = FRAMES[version].element;
  const number = fields.number(cursor, "number", none);
  fields.group(cursor, "group", none);
  return { kind: fields.type(cursor, "type", none), number };
}

/**
 * Whether an error says that the file is not as it should be, rather than that its bytes cannot be had.
 *
 * @param {unknown} error
 * @returns {boolean}
 */
export const isDamage = (error) => error instanceof CorruptStream || error instanceof TruncatedStream;
