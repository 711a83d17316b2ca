/**
 * Cameras frame by frame: the `cameras` payload of a frame, in integers.
 *
 * A camera is fifteen numbers: rotation (4), position (3), focal lengths and principal point (4), distortion (4). A
 * payload holds the cameras that change, as differences from a prediction by the frames before.
 *
 * @module
 */

import { BitReader } from "./bits.js";
import { LENS_BITS, MAX_CAMERA_NUMBER, POSITION_BIAS } from "./constants.js";
import { CorruptStream } from "./errors.js";
import { rotationOf } from "./rotations.js";
import { lensOf } from "./syntax.js";

/** @typedef {import("./types.js").Camera} Camera */

/**
 * One camera at one frame: its fifteen numbers, and whether pose or lens have changed since the key frame.
 *
 * @typedef {{pose: number[], lens: number[], moved: boolean, zoomed: boolean}} CameraState
 */

/**
 * All cameras at a frame and at the frame before it; the same on a key frame.
 *
 * @typedef {{now: CameraState[], before: CameraState[]}} CameraTrack
 */

/** The value of one unit of each number. @param {any} header */
function units(header) {
  const rotation = 2 ** -header.rotationBits;
  const position = 2 ** (POSITION_BIAS - header.positionBits);
  return { pose: [...Array(4).fill(rotation), ...Array(3).fill(position)], lens: LENS_BITS.map((bits) => 2 ** -bits) };
}

/** @param {number[]} values @param {number[]} own */
const rounded = (values, own) => values.map((value, k) => Math.floor(value / own[k] + 0.5));

/**
 * The header's cameras in integers, from which a key frame's differences start.
 *
 * @param {any} header its record
 * @returns {CameraTrack}
 */
export function headerTrack(header) {
  const own = units(header);
  const states = header.cameras.map((/** @type {any} */ camera) => ({
    pose: rounded([...camera.rotation, ...camera.position], own.pose),
    lens: rounded(lensOf(header.intrinsics[camera.intrinsics]), own.lens),
    moved: false,
    zoomed: false,
  }));
  return { now: states, before: states };
}

/**
 * Decodes the cameras of a frame.
 *
 * @param {Uint8Array} payload empty where no camera changes
 * @param {CameraTrack} start the cameras of the frame before; for a key frame the header's
 * @param {boolean} key
 * @param {number} rotationBits
 * @param {string} place begins error messages
 * @returns {CameraTrack}
 * @throws {CorruptStream}
 */
export function parseCameras(payload, start, key, rotationBits, place) {
  if (!payload.length) return { now: start.now, before: start.now };
  const bits = new BitReader(payload, place);
  const now = start.now.map((state, index) => {
    const camera = { ...state };
    if (bits.take(1)) {
      const earlier = start.before[index].pose;
      const base = bits.take(1) ? state.pose.map((a, k) => 2 * a - earlier[k]) : state.pose;
      const change = [...bits.run(4), ...bits.run(3)];
      camera.pose = base.map((value, k) => value + change[k]);
      camera.moved = true;
      checkRotation(camera.pose, rotationBits, place);
    }
    if (bits.take(1)) {
      const change = [...bits.run(4), ...bits.run(4)];
      camera.lens = state.lens.map((value, k) => value + change[k]);
      camera.zoomed = true;
      if (Math.min(camera.lens[0], camera.lens[1]) < 1) {
        throw new CorruptStream(`${place}: expected a positive focal length, found another`);
      }
    }
    if ([...camera.pose, ...camera.lens].some((value) => Math.abs(value) > MAX_CAMERA_NUMBER)) {
      throw new CorruptStream(`${place}: expected numbers of cameras up to 2^52, found larger ones`);
    }
    return camera;
  });
  bits.finish();
  return { now, before: key ? now : start.now };
}

/**
 * The length of a quaternion must be in 1/2..2, exactly.
 *
 * @param {number[]} pose
 * @param {number} bits
 * @param {string} place
 */
function checkRotation(pose, bits, place) {
  let length = 0n;
  for (const part of pose.slice(0, 4)) length += BigInt(part) ** 2n;
  const one = 1n << BigInt(2 * bits);
  if (4n * length < one || 4n * length > 16n * one) {
    throw new CorruptStream(`${place}: expected the rotation of a camera, found one of no length or a large one`);
  }
}

/**
 * The capture's cameras as the header states them.
 *
 * @param {any} header its record
 * @returns {Camera[]}
 */
export function headerCameras(header) {
  return header.cameras.map((/** @type {any} */ camera) => {
    const i = header.intrinsics[camera.intrinsics];
    return {
      name: camera.name,
      ...{ width: i.width, height: i.height, fx: i.fx, fy: i.fy, cx: i.cx, cy: i.cy },
      rotation: rotationOf(camera.rotation),
      position: camera.position,
      distortion: [i.k1, i.k2, i.p1, i.p2],
      split: camera.split,
    };
  });
}

/**
 * The cameras of a frame: those of the header, but for what has moved or zoomed since the key frame.
 *
 * @param {Camera[]} still those of the header; returned where nothing has changed
 * @param {any} header its record
 * @param {CameraState[]} states
 * @returns {Camera[]}
 */
export function camerasOf(still, header, states) {
  if (!states.some((state) => state.moved || state.zoomed)) return still;
  const own = units(header);
  return still.map((camera, index) => {
    const state = states[index];
    const found = { ...camera };
    if (state.moved) {
      const pose = state.pose.map((value, k) => value * own.pose[k]);
      found.rotation = rotationOf(pose.slice(0, 4));
      found.position = pose.slice(4);
    }
    if (state.zoomed) {
      const [fx, fy, cx, cy, ...distortion] = state.lens.map((value, k) => value * own.lens[k]);
      Object.assign(found, { fx, fy, cx, cy, distortion });
    }
    return found;
  });
}
