/**
 * The parameters of groups: quantisation steps, MLPs and colour maps, from whichever chunks hold them.
 *
 * @module
 */

import { colourMaps, parseColours } from "./colours.js";
import { FIRST_WITH_FULL_INDEX, FIRST_WITH_SHARED_MLPS, FIRST_WITH_SHELL, FRAMING } from "./constants.js";
import { readPayload } from "./container.js";
import { CorruptStream, told } from "./errors.js";
import { decodeIntegers } from "./integer_arrays.js";
import { gridShapes, mlpShapes, parseGroup } from "./syntax.js";

/** @typedef {import("./types.js").Group} Group */

const KEPT = 64; // records of groups' chunks

/** Reads the groups of a file. */
export class GroupReader {
  /** @param {import("./decoder.js").TvvcFile} file */
  constructor(file) {
    this.file = file;
    /** @type {Map<number, any>} records of groups' chunks */
    this.records = new Map();
    /** @type {{number: number, owner: number, group: Group} | null} the group read last, and whose MLPs it has */
    this.last = null;
  }

  /** Forgets what was read. */
  clear() {
    this.records.clear();
    this.last = null;
  }

  /**
   * The record of a group's own chunk.
   *
   * @param {number} number
   * @returns {Promise<any>}
   */
  async readChunk(number) {
    const known = this.records.get(number);
    if (known) return known;
    const { offset, bytes, firstFrame } = this.file.chunks[number];
    const place = `${this.file.name}: group ${number}`;
    const payload = await readPayload(this.file.source, offset, bytes, "GRUP", place);
    const record = parseGroup(payload, this.file.version, place);
    if (record.number !== number || record.firstFrame !== firstFrame) {
      throw new CorruptStream(`${this.file.name}: expected group ${number}, found group ${record.number}`);
    }
    const grids = gridShapes(this.file.header.layout).length;
    if (record.gridSteps.length !== grids) {
      throw new CorruptStream(`${place}: expected ${grids} steps, found ${record.gridSteps.length}`);
    }
    if (!record.mlp.length && (number === 0 || this.file.version < FIRST_WITH_SHARED_MLPS)) {
      throw new CorruptStream(`${place}: expected MLPs, found none`);
    }
    for (const what of /** @type {const} */ (["mlp", "colours"])) {
      const stated = this.file.chunks[number][what];
      if (stated !== undefined && stated !== record[what].length > 0) {
        throw new CorruptStream(`${place}: expected ${stated ? "" : "no "}${what} by the index, found otherwise`);
      }
    }
    if (this.records.size >= KEPT) this.records.clear();
    this.records.set(number, record);
    return record;
  }

  /**
   * The last group up to `number` whose chunk has something of its own.
   *
   * @param {number} number
   * @param {"mlp" | "colours"} what
   * @returns {Promise<any>} its record, null where none has it
   */
  async owner(number, what) {
    for (let at = number; at >= 0; at--) {
      if (at < number && this.isKnownWithout(at, what)) continue;
      const record = await this.readChunk(at);
      if (record[what].length) return record;
    }
    return null;
  }

  /**
   * Whether a group's chunk is known to lack something: from the index, or in older versions by its size alone.
   *
   * @param {number} number
   * @param {"mlp" | "colours"} what
   * @returns {boolean}
   */
  isKnownWithout(number, what) {
    const chunk = this.file.chunks[number];
    if (chunk[what] !== undefined) return !chunk[what];
    if (this.file.version >= FIRST_WITH_FULL_INDEX) return false;
    const { bytes, firstFrame } = chunk;
    const numbers = bytesOfCount(number) + bytesOfCount(firstFrame);
    const steps = 1 + 4 * (1 + this.file.header.layout.levels.length);
    // Of no steps of MLPs, no MLPs, and no colours.
    const empty = this.file.version < FIRST_WITH_SHELL ? 2 : 3;
    return bytes === FRAMING + numbers + steps + empty;
  }

  /**
   * The parameters of a group, with MLPs and colour maps from whichever chunks hold them.
   *
   * @param {number} number
   * @returns {Promise<Group>}
   */
  async read(number) {
    if (this.last?.number === number) return this.last.group;
    const own = await this.readChunk(number);
    const owner = await this.owner(number, "mlp");
    const shapes = mlpShapes(this.file.header.layout);
    const place = `${this.file.name}: group ${number}`;
    if (owner.mlpSteps.length !== shapes.length) {
      throw new CorruptStream(`${place}: expected ${shapes.length} steps of MLPs, found ${owner.mlpSteps.length}`);
    }
    const before = this.last?.group;
    const mlp = before && this.last?.owner === owner.number ? before.mlp : this.decodeMlp(owner, shapes, place);
    const { coded, damage } = await this.readColours(number, place);
    const steps = Float32Array.from(own.gridSteps);
    const group = { number, steps, mlp, mlpShapes: shapes, colours: colourMaps(coded), coded, damage };
    this.last = { number, owner: owner.number, group };
    return group;
  }

  /**
   * The colour maps that hold in a group. Where a chunk that may have them is damaged they are not known, but the group
   * decodes all the same.
   *
   * @param {number} number
   * @param {string} place
   * @returns {Promise<{coded: import("./colours.js").CodedMaps | null, damage: CorruptStream | null}>}
   */
  async readColours(number, place) {
    if (this.file.version < FIRST_WITH_SHELL) return { coded: null, damage: null };
    try {
      const owner = await this.owner(number, "colours");
      const cameras = this.file.record.cameras.length;
      return { coded: owner && parseColours(owner.colours, cameras, place), damage: null };
    } catch (error) {
      if (error instanceof CorruptStream) return { coded: null, damage: error };
      throw error;
    }
  }

  /**
   * @param {any} record of the group that has the MLPs
   * @param {number[][]} shapes
   * @param {string} place
   * @returns {Float32Array[]}
   */
  decodeMlp(record, shapes, place) {
    const sizes = shapes.map((shape) => shape.reduce((total, count) => total * count, 1));
    this.file.budget.check(4 * record.mlp.length + 24 * sizes.reduce((a, b) => a + b, 0), place);
    try {
      return decodeIntegers(record.mlp, sizes).map((symbols, k) =>
        Float32Array.from(symbols, (symbol) => Math.fround(record.mlpSteps[k]) * symbol),
      );
    } catch (error) {
      throw told(error, this.file.name, place);
    }
  }
}

/** Bytes of a count. @param {number} value @returns {number} */
const bytesOfCount = (value) => Math.max(1, Math.ceil(Math.log2(value + 1) / 7));
