/**
 * The records of a file: header, groups, frames, and what must hold of their fields together.
 *
 * @module
 */

import {
  FIRST_WITH_MOVING_CAMERAS,
  FIRST_WITH_RIGS,
  FREQUENCY_UNITS,
  LENS_BITS,
  MAX_CAMERA_NUMBER,
  MAX_CELLS,
  MAX_CHANNELS,
  MAX_DEPTH,
  MAX_HEADER,
  MAX_SYMBOLS,
  MOST_CELLS_PER_STEP,
  POSITION_BIAS,
} from "./constants.js";
import { Cursor, parse, parseFrom } from "./elements.js";
import { CorruptStream } from "./errors.js";
import { FRAMES, GROUPS, HEADERS, RIGS } from "./formats.js";
import { splitHeader, withCameras } from "./rigs.js";

/** @typedef {import("./types.js").Layout} Layout */

/** @param {number[]} values */
const product = (values) => values.reduce((total, value) => total * value, 1);

/**
 * The header's record, and its bytes without the fields that no picture depends on.
 *
 * @param {Uint8Array} payload of the chunk
 * @param {number} version
 * @returns {Promise<{record: any, layout: Layout, settings: any, forPictures: Uint8Array}>}
 * @throws {CorruptStream}
 */
export async function parseHeader(payload, version) {
  const { record, forPictures } = await readFields(payload, version);
  const { cells, ...others } = record.layout;
  const layout = { motionBlock: 0, shell: [0, 0, 0], near: 0, ...others, occupancy: cells };
  let problem = layoutProblem(layout) || camerasProblem(record);
  if (!problem && version >= FIRST_WITH_MOVING_CAMERAS) problem = movingProblem(record);
  const [settings, flaw] = settingsOf(record.settings);
  problem = problem || flaw;
  if (problem) throw new CorruptStream(`sequence header: ${problem}; the file is damaged`);
  return { record, layout, settings, forPictures };
}

/**
 * @param {Uint8Array} payload of the chunk
 * @param {number} version
 * @returns {Promise<{record: any, forPictures: Uint8Array}>}
 */
async function readFields(payload, version) {
  const place = "sequence header";
  if (version < FIRST_WITH_RIGS) {
    const cursor = new Cursor(await inflate(payload, "deflate", 0), place);
    const record = parseFrom(HEADERS[version], cursor);
    return { record, forPictures: cursor.data.slice(0, cursor.marks.get("settings")) };
  }
  const { deflated, dictionary, rig } = splitHeader(payload);
  const cursor = new Cursor(await inflate(deflated, "deflate-raw", dictionary), place);
  const record = withCameras(parseFrom(RIGS[version], cursor), rig);
  const fields = cursor.marks.get("settings") ?? 0;
  const forPictures = new Uint8Array(fields + rig.length);
  forPictures.set(cursor.data.subarray(0, fields));
  forPictures.set(rig, fields);
  return { record, forPictures };
}

/**
 * @param {Uint8Array} payload
 * @param {CompressionFormat} format
 * @param {number} left bytes at the beginning that are left out
 * @returns {Promise<Uint8Array>}
 */
async function inflate(payload, format, left) {
  const stream = new DecompressionStream(format);
  const writer = stream.writable.getWriter();
  // What is wrong with the bytes shows when they are read.
  writer.write(/** @type {any} */ (payload)).catch(() => {});
  writer.close().catch(() => {});
  const reader = stream.readable.getReader();
  const parts = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.length;
      if (size > MAX_HEADER + left) break;
    }
  } catch {
    throw new CorruptStream("sequence header: expected zlib data, found damage");
  }
  if (size > MAX_HEADER + left) {
    reader.cancel().catch(() => {});
    throw new CorruptStream(`sequence header: expected at most ${MAX_HEADER} bytes of data, found more`);
  }
  const data = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    data.set(part, at);
    at += part.length;
  }
  return data.slice(left);
}

/**
 * @param {Layout} layout
 * @returns {string} what is wrong, or ""
 */
function layoutProblem(layout) {
  const channels = layout.levels.reduce((total, level) => total + level.channels, 0);
  if (channels > MAX_CHANNELS) return `expected at most ${MAX_CHANNELS} channels in all levels, found ${channels}`;
  const symbols = gridShapes(layout).reduce((total, shape) => total + product(shape), 0);
  if (symbols > MAX_SYMBOLS) return `expected at most ${MAX_SYMBOLS} symbols per frame, found ${symbols}`;
  const cells = layout.occupancy;
  if (product(cells) > MAX_CELLS) return `expected at most ${MAX_CELLS} occupancy cells, found ${product(cells)}`;
  if (layout.stepsPerSide * MOST_CELLS_PER_STEP < Math.max(...cells)) {
    return `expected a step for ${MOST_CELLS_PER_STEP} cells, found ${layout.stepsPerSide} for ${Math.max(...cells)}`;
  }
  const { shell } = layout;
  if (shell.some((s) => s > 0) && shell.some((s) => s === 0)) {
    return `expected a shell on all sides or on none, found ${shell} cells`;
  }
  if (shell.some((s, axis) => 2 * s >= cells[axis])) {
    return `expected cells within the shell, found ${cells} cells with a shell of ${shell}`;
  }
  return "";
}

/**
 * @param {any} record
 * @returns {string}
 */
function camerasProblem(record) {
  const names = new Set();
  for (const camera of record.cameras) {
    let length = 0;
    for (const part of camera.rotation) length += part * part;
    if (!(length > 0.999 && length < 1.001)) return `expected unit quaternions, found squared length ${length}`;
    if (camera.intrinsics >= record.intrinsics.length) {
      return `expected intrinsics in 0..${record.intrinsics.length - 1}, found ${camera.intrinsics}`;
    }
    names.add(camera.name);
  }
  return names.size === record.cameras.length ? "" : "expected distinct camera names, found one twice";
}

/**
 * @param {any} record
 * @returns {string}
 */
function movingProblem(record) {
  const largest = 2 ** (POSITION_BIAS - record.positionBits) * MAX_CAMERA_NUMBER;
  for (const { position } of record.cameras) {
    if (position.some((/** @type {number} */ v) => Math.abs(v) >= largest)) {
      return `expected positions below ${largest}, found ${position}`;
    }
  }
  for (const intrinsics of record.intrinsics) {
    if (lensOf(intrinsics).some((v, k) => Math.abs(v) * 2 ** LENS_BITS[k] >= MAX_CAMERA_NUMBER)) {
      return `expected a lens of moderate numbers, found ${lensOf(intrinsics)}`;
    }
  }
  return "";
}

/**
 * The eight numbers of a lens, in the order of the document.
 *
 * @param {any} i intrinsics
 * @returns {number[]}
 */
export const lensOf = (i) => [i.fx, i.fy, i.cx, i.cy, i.k1, i.k2, i.p1, i.p2];

/**
 * @param {string} text
 * @returns {[any, string]} the settings, and what is wrong with them or ""
 */
function settingsOf(text) {
  let settings;
  try {
    settings = JSON.parse(text);
  } catch {
    return [null, "expected the settings to be JSON, found other text"];
  }
  if (typeof settings !== "object" || settings === null || Array.isArray(settings)) {
    return [null, "expected the settings to be a JSON object, found another value"];
  }
  /** @type {[any, number][]} */
  const values = [[settings, 1]];
  for (let next = values.pop(); next; next = values.pop()) {
    const [value, depth] = next;
    if (depth > MAX_DEPTH) return [null, `expected settings of at most ${MAX_DEPTH} levels, found more`];
    if (typeof value === "number" && !Number.isFinite(value)) {
      return [null, `expected finite numbers in the settings, found ${value}`];
    }
    if (typeof value === "string" && /\p{Surrogate}/u.test(value)) {
      return [null, "expected whole characters in the settings, found others"];
    }
    if (typeof value === "object" && value !== null) {
      for (const [key, part] of Object.entries(value)) {
        if (!Array.isArray(value)) values.push([key, depth + 1]);
        values.push([part, depth + 1]);
      }
    }
  }
  return [settings, ""];
}

/**
 * The record of a group's chunk.
 *
 * @param {Uint8Array} payload
 * @param {number} version
 * @param {string} place begins error messages
 * @returns {any}
 */
export function parseGroup(payload, version, place) {
  const group = { colours: new Uint8Array(0), ...parse(GROUPS[version], payload, place) };
  if (group.mlp.length > 0 !== group.mlpSteps.length > 0) {
    const found = `${group.mlp.length} bytes, ${group.mlpSteps.length} steps`;
    throw new CorruptStream(`${place}: expected MLPs and their steps or neither, found ${found}; the file is damaged`);
  }
  return group;
}

/**
 * The record of a frame's chunk.
 *
 * @param {Uint8Array} payload
 * @param {number} version
 * @param {string} place begins error messages
 * @returns {any}
 */
export function parseFrame(payload, version, place) {
  const none = new Uint8Array(0);
  const frame = { motion: none, cameras: none, ...parse(FRAMES[version], payload, place) };
  if (frame.motion.length && frame.type === "key") {
    const found = `${frame.motion.length} bytes`;
    throw new CorruptStream(`${place}: expected no motion on a key frame, found ${found}; the file is damaged`);
  }
  return frame;
}

/**
 * (nz, ny, nx, channels) of each grid, the coefficient grid first.
 *
 * @param {Layout} layout
 * @returns {number[][]}
 */
export function gridShapes(layout) {
  const channels = layout.levels.reduce((total, level) => total + level.channels, 0);
  return [
    [...layout.coefficients].reverse().concat(channels),
    ...layout.levels.map((level) => [...level.resolution].reverse().concat(level.channels)),
  ];
}

/**
 * Shapes of the MLP tensors in coding order: weights are (inputs, outputs), each followed by its bias.
 *
 * @param {Layout} layout
 * @returns {number[][]}
 */
export function mlpShapes(layout) {
  const channels = gridShapes(layout)[0][3];
  const { projectionHidden: hp, colourHidden: hc, appearance: a } = layout;
  const inputs = a + 3 + 6 * layout.viewFrequencies;
  return [[channels, hp], [hp], [hp, 1 + a], [1 + a], [inputs, hc], [hc], [hc, 3], [3]];
}

/**
 * The grids that move: the coefficients, and the levels that do not repeat within the bounds.
 *
 * @param {Layout} layout
 * @returns {number[]}
 */
export function movedGrids(layout) {
  const levels = layout.levels.flatMap((level, k) => (level.frequency <= FREQUENCY_UNITS ? [k + 1] : []));
  return [0, ...levels];
}
