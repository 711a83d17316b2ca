/**
 * The symbols of a grid that are not 0: what a residual is kept as.
 *
 * @module
 */

/**
 * The symbols of a grid that are not 0.
 *
 * @typedef {object} Nonzero
 * @property {number} count
 * @property {Int32Array} places of their nodes, as in `live_set.js`
 * @property {Int32Array} indices of the symbols in the grid
 * @property {Uint8Array} channels
 * @property {Uint8Array} parities classes of their nodes
 * @property {Int32Array} values
 */

/** A grid of zeros. @type {Nonzero} */
export const NOTHING = {
  count: 0,
  places: new Int32Array(0),
  indices: new Int32Array(0),
  channels: new Uint8Array(0),
  parities: new Uint8Array(0),
  values: new Int32Array(0),
};

/** A list of symbols that are not 0, which grows. */
export class NonzeroList {
  constructor() {
    this.count = 0;
    this.places = new Int32Array(1024);
    this.indices = new Int32Array(1024);
    this.channels = new Uint8Array(1024);
    this.parities = new Uint8Array(1024);
    this.values = new Int32Array(1024);
  }

  /** Makes room for so many more. @param {number} more */
  reserve(more) {
    const size = this.count + more;
    if (size <= this.values.length) return;
    for (const name of /** @type {const} */ (["places", "indices", "channels", "parities", "values"])) {
      const old = this[name];
      const grown = new /** @type {any} */ (old.constructor)(2 * size);
      grown.set(old.subarray(0, this.count));
      this[name] = grown;
    }
  }

  /** The symbols in arrays of their own. @returns {Nonzero} */
  result() {
    const { count } = this;
    return {
      count,
      places: this.places.slice(0, count),
      indices: this.indices.slice(0, count),
      channels: this.channels.slice(0, count),
      parities: this.parities.slice(0, count),
      values: this.values.slice(0, count),
    };
  }
}
