/**
 * Time of a player: seconds of the scene as a function of the seconds of the world.
 *
 * @module
 */

/** A frame's own time may lie a little before it, by rounding; in frames. */
const ROUNDING = 1e-6;

export class Clock {
  /**
   * @param {number} frames
   * @param {number} fps
   */
  constructor(frames, fps) {
    this.frames = frames;
    this.fps = fps;
    this.duration = frames / fps;
    this.playing = false;
    this.loop = false;
    this.rate = 1;
    this.at = 0;
    this.since = 0;
    /** Whether the end was reached while playing. */
    this.ended = false;
  }

  /** Seconds of the scene. @param {number} now ms */
  time(now) {
    if (!this.playing) return this.at;
    const time = this.at + ((now - this.since) / 1000) * this.rate;
    if (this.loop) return time - Math.floor(time / this.duration) * this.duration;
    return Math.min(Math.max(time, 0), this.duration);
  }

  /** The frame that is shown at a time. @param {number} time seconds */
  frameAt(time) {
    return Math.max(0, Math.min(this.frames - 1, Math.floor(time * this.fps + ROUNDING)));
  }

  /** The frames to come from one on, as they are played. */
  following(frame, count) {
    const step = this.rate < 0 ? -1 : 1;
    const found = [];
    for (let i = 0; i < count; i++) {
      let number = frame + i * step;
      if (this.loop) number = ((number % this.frames) + this.frames) % this.frames;
      if (number < 0 || number >= this.frames || found.includes(number)) break;
      found.push(number);
    }
    return found;
  }

  /** Whether time has run out: at the end, or the beginning where it runs backwards. */
  over(now) {
    if (!this.playing || this.loop) return false;
    const time = this.time(now);
    return this.rate < 0 ? time <= 0 : time >= this.duration;
  }

  play(now) {
    if (this.playing) return;
    const end = this.rate < 0 ? this.at <= 0 : this.at >= this.duration - 0.5 / this.fps;
    this.at = end ? (this.rate < 0 ? this.duration : 0) : this.at;
    this.ended = false;
    this.since = now;
    this.playing = true;
  }

  pause(now) {
    this.at = this.time(now);
    this.playing = false;
  }

  seek(time, now) {
    this.at = Math.min(Math.max(time, 0), this.duration);
    this.since = now;
    this.ended = false;
  }

  setRate(rate, now) {
    this.at = this.time(now);
    this.since = now;
    this.rate = rate;
  }
}
