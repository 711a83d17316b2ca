/**
 * The viewpoint: a camera that orbits a point, moves and zooms, or one of the capture's.
 *
 * @module
 */

import { fitted } from "../renderer/camera.js";
import * as v from "./vectors.js";

/** World axes nearer than this to the cameras' common up direction are taken for it. */
const LEVEL = Math.cos((15 * Math.PI) / 180);
/** How near to the pole an orbit may come, radians. */
const POLE = 0.03;

/**
 * The up direction of a rig: perpendicular to the cameras' x axes, else their mean up; a world axis if one is near.
 *
 * @param {import("../decoder/types.js").Camera[]} cameras
 */
export function upOf(cameras) {
  const mean = v.times(
    cameras.reduce((sum, camera) => v.add(sum, v.column(camera.rotation, 1)), [0, 0, 0]),
    -1,
  );
  if (v.norm(mean) < 1e-6) return [0, 0, 1];
  // The direction along which x axes have least: the matrix of their squares, inverted by powers.
  const axes = cameras.map((camera) => v.column(camera.rotation, 0));
  const square = [0, 1, 2].flatMap((i) => [0, 1, 2].map((j) => axes.reduce((sum, x) => sum + x[i] * x[j], 0)));
  let up = v.unit(mean);
  for (let i = 0; i < 60; i++) up = v.unit(v.subtract(v.times(up, cameras.length), v.apply(square, up)));
  // With all x axes in one line there is no such direction: then the mean is as good as any.
  const spread = v.dot(up, v.apply(square, up)) / cameras.length;
  if (spread > 0.05 || Math.abs(v.dot(up, v.unit(mean))) < 0.5) up = v.unit(mean);
  if (v.dot(up, mean) < 0) up = v.times(up, -1);
  const nearest = up.reduce((best, value, i) => (Math.abs(value) > Math.abs(up[best]) ? i : best), 0);
  if (Math.abs(up[nearest]) > LEVEL) up = up.map((_, i) => (i === nearest ? Math.sign(up[nearest]) : 0));
  return up;
}

export class View {
  /** @param {import("../decoder/types.js").Header} header */
  constructor(header) {
    this.header = header;
    const { lower, cell, occupancy, shell } = header.layout;
    const size = occupancy.map((cells, axis) => (cells - 2 * shell[axis]) * cell);
    this.centre = lower.map((low, axis) => low + size[axis] / 2);
    /** Half the diagonal of the bounds, world units. */
    this.radius = v.norm(size) / 2;
    this.up = header.cameras.length ? upOf(header.cameras) : [0, 0, 1];
    /** Name of the capture's camera that is looked through, or null. */
    this.through = null;
    this.start = null;
    this.reset();
  }

  /** Back to the first view: that of the named camera, else of the first one, as a pinhole camera. */
  reset() {
    const { cameras } = this.header;
    const camera = cameras.find((c) => c.name === this.start) ?? cameras[0];
    this.through = null;
    if (camera) {
      this.standAt(camera);
      return;
    }
    const back = Math.abs(this.up[0]) > 0.9 ? [0, -1, 0] : [-1, 0, 0];
    this.position = v.add(this.centre, v.times(back, 2.5 * this.radius));
    const z = v.times(back, -1);
    const x = v.unit(v.cross(z, this.up));
    const y = v.cross(z, x);
    this.rotation = [0, 1, 2].flatMap((i) => [x[i], y[i], z[i]]);
    this.focal = 1.2;
    this.distance = 2.5 * this.radius;
  }

  /** Takes the pose and the angle of view of a camera. */
  standAt(camera) {
    this.position = [...camera.position];
    this.rotation = [...camera.rotation];
    this.focal = camera.fy / camera.height;
    this.shape = camera.width / camera.height;
    const ahead = v.dot(v.subtract(this.centre, this.position), v.column(this.rotation, 2));
    this.distance = Math.max(ahead, 0.2 * this.radius);
  }

  /** Looks through a camera of the capture. @param {string | null} name */
  look(name) {
    const camera = this.header.cameras.find((c) => c.name === name);
    this.through = camera ? camera.name : null;
    if (camera) this.standAt(camera);
  }

  /** The point that orbits go around. */
  get target() {
    return v.add(this.position, v.times(v.column(this.rotation, 2), this.distance));
  }

  /** Turns around the target: radians to the right and down. */
  orbit(right, down) {
    this.through = null;
    const { target } = this;
    const forward = v.column(this.rotation, 2);
    const rise = Math.acos(Math.min(1, Math.max(-1, v.dot(forward, this.up))));
    // Down means that the camera rises: its axis turns towards the ground.
    const tilt = rise - Math.min(Math.max(rise + down, POLE), Math.PI - POLE);
    const sideways = v.column(this.rotation, 0);
    const turned = v.multiply(v.turn(this.up, -right), v.turn(sideways, tilt));
    this.rotation = tidy(v.multiply(turned, this.rotation));
    this.position = v.subtract(target, v.times(v.column(this.rotation, 2), this.distance));
  }

  /** Moves sideways: parts of the picture's height to the right and down that the scene follows. */
  pan(right, down) {
    this.through = null;
    const scale = this.distance / this.focal;
    const shift = v.add(
      v.times(v.column(this.rotation, 0), -right * scale),
      v.times(v.column(this.rotation, 1), -down * scale),
    );
    this.position = v.add(this.position, shift);
  }

  /** Comes nearer to the target by a factor above 1, or goes away. */
  zoom(factor) {
    this.through = null;
    const { target } = this;
    this.distance = Math.min(Math.max(this.distance / factor, 0.02 * this.radius), 50 * this.radius);
    this.position = v.subtract(target, v.times(v.column(this.rotation, 2), this.distance));
  }

  /**
   * The camera of a picture.
   *
   * @param {number} width pixels
   * @param {number} height
   * @param {import("../decoder/types.js").Camera[]} cameras the capture's, at the frame on show
   * @returns {import("../decoder/types.js").Camera}
   */
  camera(width, height, cameras) {
    const own = this.through && cameras.find((camera) => camera.name === this.through);
    if (own) return fitted(own, width, height);
    // A picture of another shape than the first camera's shows at least as much.
    const focal = this.focal * Math.min(height, width / (this.shape ?? 1));
    const { rotation, position } = this;
    const lens = { fx: focal, fy: focal, cx: width / 2, cy: height / 2, distortion: [0, 0, 0, 0] };
    return { name: "view", width, height, ...lens, rotation, position, split: "test" };
  }

  /** How far away the bounds begin and end, for pictures of depth, world units. */
  range(camera) {
    const away = v.norm(v.subtract(this.centre, camera.position));
    const whole = this.header.layout.shell.some((cells) => cells > 0);
    return [Math.max(0, away - this.radius), away + this.radius * (whole ? 3 : 1)];
  }

  /** The view as numbers for a link, or the name of the camera that is looked through. */
  state() {
    if (this.through) return { camera: this.through };
    const numbers = [...this.position, ...v.quaternionOf(this.rotation), this.distance, this.focal];
    return { view: numbers.map((n) => Number(n.toPrecision(6))) };
  }

  /** Takes a view from `state`. Numbers that make no view are ignored. */
  restore({ camera, view }) {
    if (camera) {
      this.look(camera);
      return;
    }
    if (!Array.isArray(view) || view.length !== 9 || !view.every((n) => Number.isFinite(n))) return;
    const turned = view.slice(3, 7);
    if (v.norm(turned.slice(1)) + Math.abs(turned[0]) < 1e-3 || view[7] <= 0 || view[8] <= 0) return;
    this.through = null;
    this.position = view.slice(0, 3);
    this.rotation = v.rotationOf(turned);
    [this.distance, this.focal] = view.slice(7);
  }
}

/** Keeps a rotation one, whatever is lost by rounding. */
function tidy(rotation) {
  return v.rotationOf(v.quaternionOf(rotation));
}
