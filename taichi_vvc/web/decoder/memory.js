/**
 * How much memory a file may make its decoder take: estimates from what is known before anything is allocated.
 *
 * A few bytes of a file can stand for gigabytes, since empty space costs next to nothing. Each step of the decoder says
 * what it is about to take; a budget refuses what is beyond the limit.
 *
 * @module
 */

import { ConfigError, MemoryLimitExceeded } from "./errors.js";

/** The limit where nothing says how much memory there is, bytes. */
const FALLBACK = 2 ** 31;

/**
 * The limit that holds where none is given: half of the machine's memory as far as a page may know it, bytes.
 *
 * @returns {number}
 */
export function defaultLimit() {
  const { navigator } = /** @type {any} */ (globalThis);
  return navigator?.deviceMemory ? navigator.deviceMemory * 2 ** 29 : FALLBACK;
}

/**
 * A size for people, rounded up.
 *
 * @param {number} size
 * @returns {string}
 */
export function textOf(size) {
  for (const [unit, factor] of /** @type {[string, number][]} */ ([["GiB", 2 ** 30], ["MiB", 2 ** 20]])) {
    if (size >= factor) return `${Math.ceil((size * 10) / factor) / 10} ${unit}`;
  }
  return `${Math.max(1, Math.ceil(size / 1024))} KiB`;
}

/** The limit of one file. */
export class Budget {
  /**
   * @param {number} limit bytes
   * @param {string} place begins messages
   */
  constructor(limit, place) {
    if (!(limit > 0)) throw new ConfigError(`expected a positive memory limit in bytes, found ${limit}`);
    this.limit = limit;
    this.place = place;
  }

  /**
   * Refuses what is beyond the limit.
   *
   * @param {number} need bytes, all that is held included
   * @param {string} what
   * @throws {MemoryLimitExceeded}
   */
  check(need, what) {
    if (need > this.limit) {
      throw new MemoryLimitExceeded(
        `${this.place}: ${what} takes up to ${textOf(need)} of memory, expected at most ${textOf(this.limit)}`,
      );
    }
  }
}
