/**
 * A .tvvc file as an object of a scene of three.js; docs/threejs.md says how it is used:
 *
 *     const volume = await openVolume(THREE, { url: "scene.tvvc" });
 *     scene.add(volume);
 *     volume.play();
 *
 * The module three is the caller's own and is handed in, so that there is one of it. The scene is drawn by its
 * `WebGLRenderer`, in WebXR too.
 *
 * @module
 */

import { Clock } from "../player/clock.js";
import { AHEAD, Feed } from "../player/feed.js";
import { upOf } from "../player/view.js";
import { planOf } from "../renderer/plan.js";
import { FrameMaterial } from "./material.js";

/** How far the frame on show may lag behind time before time waits, seconds. */
const LAG = 0.3;
/** Bytes that are loaded ahead while playing. */
const LOADED_AHEAD = 2 ** 22;

/**
 * Opens a file, and shows its first frame.
 *
 * @param {any} THREE the module three, of version 0.160 or newer
 * @param {{url: string} | {bytes: Uint8Array}} source bytes are not copied but transferred
 * @param {{progress?: (loaded: number, size: number) => void}} [options]
 * @returns {Promise<any>} the object, see {@link classOf}
 * @throws {Error} the file cannot be loaded or decoded
 */
export function openVolume(THREE, source, { progress = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const Volume = classOf(THREE);
    let volume = null;
    const fail = ({ name, message, number }) => {
      const error = Object.assign(new Error(message), { name, number });
      if (volume?.frame >= 0) {
        volume.dispatchEvent({ type: "error", error });
      } else {
        feed.close();
        reject(error);
      }
    };
    const feed = new Feed({
      opened: (opened) => {
        if (opened.frames.length) volume = new Volume(feed, opened);
        else fail({ name: "StreamError", message: "the file has no frames", number: -1 });
      },
      frame: () => {
        const first = volume.frame < 0;
        volume.update();
        if (first && volume.frame >= 0) resolve(volume);
        else volume.dispatchEvent({ type: "loaded" });
      },
      progress,
      error: fail,
    });
    // A worker would take addresses as relative to its own.
    feed.open("url" in source ? { url: new URL(source.url, document.baseURI).href } : source);
  });
}

/** @type {WeakMap<any, any>} */
const classes = new WeakMap();

/** The class of objects for a module three. */
function classOf(THREE) {
  if (classes.has(THREE)) return classes.get(THREE);
  /**
   * A group that holds the volume, turned so that the capture's up direction is +y. Move, turn and scale it at will.
   *
   * It tells `frame` (another frame is on show), `loaded` (a frame has come), `ended` and `error` to its listeners.
   */
  class Volume extends THREE.Group {
    constructor(feed, { header, frames }) {
      super();
      this.name = "tvvc";
      this.feed = feed;
      this.header = header;
      this.clock = new Clock(frames.length, header.fps);
      /** Number of the frame on show, -1 before the first. */
      this.frame = -1;
      /** Whether frames are changed as the scene is drawn; else call {@link update}. */
      this.autoUpdate = true;
      this.packed = null;
      this.held = 0;
      this.drawnAt = -1;
      const { lower, cell, occupancy, shell } = header.layout;
      const size = occupancy.map((cells, axis) => (cells - 2 * shell[axis]) * cell);
      /** The bounds, in the coordinates of the capture. */
      this.bounds = new THREE.Box3(
        new THREE.Vector3(...lower),
        new THREE.Vector3(...lower.map((low, axis) => low + size[axis])),
      );
      this.frames = new FrameMaterial(THREE, planOf(header.layout));
      const plan = this.frames.plan;
      const geometry = plan.whole ? new THREE.PlaneGeometry(2, 2) : new THREE.BoxGeometry(...size);
      if (!plan.whole) geometry.translate(...this.bounds.getCenter(new THREE.Vector3()).toArray());
      /** The mesh that is drawn; its own coordinates are those of the capture. */
      this.capture = new THREE.Mesh(geometry, this.frames.material);
      this.capture.frustumCulled = !plan.whole;
      this.capture.visible = false;
      const up = new THREE.Vector3(...(header.cameras.length ? upOf(header.cameras) : [0, 0, 1]));
      this.capture.quaternion.setFromUnitVectors(up, new THREE.Vector3(0, 1, 0));
      this.capture.onBeforeRender = (renderer) => {
        // Both eyes see the same frame.
        if (this.autoUpdate && renderer.info.render.frame !== this.drawnAt) {
          this.drawnAt = renderer.info.render.frame;
          this.update();
        }
      };
      this.add(this.capture);
      this.want(0);
    }

    /** Seconds of the whole file. */
    get duration() {
      return this.clock.duration;
    }

    /** Seconds since the beginning; set it to go elsewhere. */
    get time() {
      return this.clock.time(performance.now());
    }

    set time(seconds) {
      this.clock.seek(seconds, performance.now());
      this.held = this.clock.at;
      this.want(this.clock.frameAt(this.clock.at));
    }

    get playing() {
      return this.clock.playing;
    }

    get loop() {
      return this.clock.loop;
    }

    set loop(loop) {
      this.clock.loop = loop;
    }

    /** How fast it is played; below 0 backwards. */
    get playbackRate() {
      return this.clock.rate;
    }

    set playbackRate(rate) {
      this.clock.setRate(rate, performance.now());
    }

    play() {
      this.clock.play(performance.now());
      this.want(this.clock.frameAt(this.time));
    }

    pause() {
      this.clock.pause(performance.now());
    }

    /** The capture's cameras at the frame on show, as the decoder has them. */
    get cameras() {
      return this.packed?.cameras ?? this.header.cameras;
    }

    /** Asks for a frame and those that follow it. */
    want(number) {
      const { clock } = this;
      const wanted = clock.playing ? clock.following(number, 1 + AHEAD) : [number];
      this.feed.want(
        wanted.filter((other) => other !== this.frame),
        clock.playing ? LOADED_AHEAD : 0,
      );
    }

    /** Shows the frame of the present time where it has come. Time waits where it takes long. */
    update() {
      const { clock } = this;
      const now = performance.now();
      if (clock.over(now)) {
        clock.pause(now);
        clock.ended = true;
        this.dispatchEvent({ type: "ended" });
      }
      const target = clock.frameAt(clock.time(now));
      if (target === this.frame) {
        this.held = clock.time(now);
        this.want(target);
        return;
      }
      const packed = this.feed.pick(target);
      if (packed) {
        if (this.packed) this.feed.give(this.packed);
        this.packed = packed;
        this.frames.fill(packed);
        this.frame = target;
        this.held = clock.time(now);
        this.capture.visible = true;
        this.dispatchEvent({ type: "frame", number: target });
      } else if (clock.playing && Math.abs(clock.time(now) - this.held) > LAG) {
        clock.seek(this.held, now);
      }
      this.want(target);
    }

    /**
     * Puts a camera of three.js where one of the capture stood, with its angle of view and principal point.
     *
     * Lens distortion is left out. The projection lasts until the camera's `updateProjectionMatrix` is called.
     *
     * @param {any} camera a PerspectiveCamera that hangs from the scene itself, or from nothing
     * @param {string} [name] of the capture's camera; by default the first
     */
    lookThrough(camera, name) {
      const own = this.cameras.find((one) => one.name === name) ?? this.cameras[0];
      const r = own.rotation;
      // Ours look along +z with y down.
      const pose = new THREE.Matrix4().set(
        ...[r[0], -r[1], -r[2], own.position[0]],
        ...[r[3], -r[4], -r[5], own.position[1]],
        ...[r[6], -r[7], -r[8], own.position[2]],
        ...[0, 0, 0, 1],
      );
      this.updateWorldMatrix(true, true);
      pose.premultiply(this.capture.matrixWorld).decompose(camera.position, camera.quaternion, new THREE.Vector3());
      camera.fov = (2 * Math.atan((0.5 * own.height) / own.fy) * 180) / Math.PI;
      camera.aspect = own.width / own.height;
      camera.updateProjectionMatrix();
      const m = camera.projectionMatrix.elements;
      m[0] = (2 * own.fx) / own.width;
      m[5] = (2 * own.fy) / own.height;
      m[8] = 1 - (2 * own.cx) / own.width;
      m[9] = (2 * own.cy) / own.height - 1;
      camera.projectionMatrixInverse.copy(camera.projectionMatrix).invert();
      camera.updateMatrixWorld();
    }

    /** Ends the decoder and frees the textures. */
    dispose() {
      this.feed.close();
      this.frames.dispose();
      this.capture.geometry.dispose();
      this.removeFromParent();
    }
  }
  classes.set(THREE, Volume);
  return Volume;
}
