/**
 * From bytes to the symbols of a grid.
 *
 * Few symbols are not 0. What a symbol adds to the contexts of its neighbours is therefore added there when it is
 * decoded, instead of being looked up by all nodes: `activity` holds for each live symbol the part of its activity that
 * is known so far, and `totals` the sums of magnitudes over the channels around each node. Arrays of symbols are
 * (channel, rank), with ranks as in `live_set.js`; rank 0 stands for all places that are not live.
 *
 * @module
 */

import {
  CAP,
  FIRST_MEAN,
  KINDS,
  MEANS,
  MODELS,
  NOTHING_CODED,
  ORDER,
  PROBABILITIES,
  SIGN_THRESHOLDS,
  TOTAL_CAP,
} from "./constants.js";
import { SETS } from "./context_weights.js";
import { KIND_OF, LARGEST_ACTIVITY, receivers, SIGN_CLASSES, signNeighbours, TABLE_OF, TABLES } from "./contexts.js";
import { RangeReader } from "./entropy.js";
import { CorruptStream } from "./errors.js";
import { readLaplace } from "./laplace.js";
import { NonzeroList, NOTHING } from "./nonzero.js";
import { ESCAPE, readChain, readEscapes, readIndices } from "./small_integers.js";
import { contextTables, signTables, SPARSE_TABLE, STRIDE } from "./tables.js";

/** @typedef {import("./live_set.js").LiveGrid} LiveGrid */
/** @typedef {import("./nonzero.js").Nonzero} Nonzero */
/** @typedef {import("./contexts.js").WeightSet} WeightSet */

/** Decodes grids; its arrays are used for one grid after the other. */
export class GridDecoder {
  constructor() {
    this.activity = new Int32Array(0); // (channel, rank)
    this.values = new Int8Array(0); // (channel, rank), capped
    this.totals = new Int32Array(0); // (faces, edges, corners and previous residual; rank)
    this.nodeTotals = new Int32Array(0); // (rank): of the pass at hand
    this.tables = new Uint8Array(0); // of the symbols of a channel in a pass
    this.order = new Int32Array(0);
    this.magnitudes = new Uint8Array(0);
    this.prefix = new Int32Array(0);
    this.base = new Int32Array(0);
    this.chosen = new Int32Array(0);
    this.classes = new Uint8Array(0);
    this.predictions = new Int32Array(0);
    this.agreed = new Uint8Array(0);
    this.list = new NonzeroList();
    /** Which of the list are escaped. @type {number[]} */
    this.escapes = [];
  }

  /**
   * Bytes that decoding a grid takes at most.
   *
   * @param {LiveGrid} live
   * @returns {number}
   */
  static need(live) {
    const symbols = live.channels * (live.count + 1);
    return symbols * (4 + 1 + 2 * 14) + 80 * live.count;
  }

  /**
   * Decodes a grid.
   *
   * @param {Uint8Array} payload
   * @param {LiveGrid} live its live nodes
   * @param {Nonzero | null} previous the previous residual, null where there is none
   * @param {Int32Array | null} reference the symbols that the residual is added to, null on a key frame
   * @returns {Nonzero}
   * @throws {CorruptStream}
   */
  decode(payload, live, previous, reference) {
    if (!payload.length) throw new CorruptStream("expected an entropy-coded grid, found no bytes");
    const [first] = payload;
    if (payload.length === 1 && first === NOTHING_CODED) return NOTHING;
    const laplace = first === MODELS.laplace;
    const chosen = (first & 15) === MODELS.context ? SETS[first >> 4] : undefined;
    const usable = chosen && chosen.previous === (previous !== null) && (reference !== null || !chosen.reference);
    if (!laplace && !usable) {
      throw new CorruptStream(`expected an entropy model of this grid and format, found ${first}`);
    }
    const { count, channels } = live;
    if (!count) throw new CorruptStream("expected no symbols in a grid without live nodes, found some");
    const reader = new RangeReader(payload.subarray(1));
    const order = readIndices(reader, [0], 16, "an Exp-Golomb order")[0];
    const limit = laplace ? PROBABILITIES.length : MEANS.length;
    const stated = laplace || chosen?.stated ? channels : 0;
    const statistics = readChain(reader, stated, FIRST_MEAN, limit, "channel statistics");
    this.list.count = 0;
    this.escapes = [];
    if (laplace || !chosen) {
      this.escapes = readLaplace(reader, live, statistics, this.list);
    } else {
      const expected = chosen.zero.flatMap((zero, k) => [zero, chosen.first[k], chosen.later[k]]);
      const indices = readIndices(reader, expected, PROBABILITIES.length, "probability indices", SPARSE_TABLE);
      const signs = readIndices(reader, chosen.signs, PROBABILITIES.length, "probability indices", SPARSE_TABLE);
      const means = chosen.stated ? statistics.map((k) => MEANS[k]) : this.previousMeans(live, previous ?? NOTHING);
      this.prepare(live, chosen, previous, chosen.reference ? reference : null);
      const [magnitudes, right] = [contextTables(indices), signTables(signs)];
      for (let position = 0; position < 8; position++) {
        this.readPass(reader, live, position, chosen, means, magnitudes, right);
      }
    }
    this.readEscapes(reader, order);
    reader.finish();
    return this.list.result();
  }

  /**
   * The mean magnitudes of the previous residual, per channel over the live nodes, in 1/2048.
   *
   * @param {LiveGrid} live
   * @param {Nonzero} previous
   * @returns {Int32Array}
   */
  previousMeans(live, previous) {
    const sums = new Float64Array(live.channels);
    for (let k = 0; k < previous.count; k++) {
      if (live.rank[previous.places[k]]) sums[previous.channels[k]] += Math.min(Math.abs(previous.values[k]), CAP);
    }
    return Int32Array.from(sums, (sum) => Math.floor((2048 * sum) / live.count));
  }

  /**
   * What is known before the first pass: of the reference and of the previous residual.
   *
   * @param {LiveGrid} live
   * @param {WeightSet} chosen
   * @param {Nonzero | null} previous
   * @param {Int32Array | null} reference null where the weights do not look at it
   */
  prepare(live, chosen, previous, reference) {
    const { count, channels, nodes, rank, start } = live;
    const size = count + 1;
    if (this.activity.length < channels * size) {
      this.activity = new Int32Array(channels * size);
      this.values = new Int8Array(channels * size);
    }
    if (this.nodeTotals.length < size) {
      this.totals = new Int32Array(4 * size);
      this.nodeTotals = new Int32Array(size);
      this.tables = new Uint8Array(size);
      this.order = new Int32Array(size);
      this.magnitudes = new Uint8Array(size);
      this.prefix = new Int32Array(size);
      this.base = new Int32Array(size);
      this.chosen = new Int32Array(size);
      this.classes = new Uint8Array(size);
      this.predictions = new Int32Array(size);
      this.agreed = new Uint8Array(size);
    }
    const { activity, totals } = this;
    this.values.fill(0, 0, channels * size);
    totals.fill(0, 0, 4 * size);
    if (reference) {
      for (let position = 0; position < 8; position++) {
        const weight = chosen.kinds[KINDS[position]].known[9];
        for (let r = start[position]; r < start[position + 1]; r++) {
          const from = nodes[r] * channels;
          for (let c = 0; c < channels; c++) {
            const value = reference[from + c];
            activity[c * size + r] = value ? weight * Math.min(value < 0 ? -value : value, CAP) : 0;
          }
        }
      }
    } else {
      activity.fill(0, 0, channels * size);
    }
    if (!previous) return;
    const [slab, row] = live.strides;
    const own = Array.from({ length: 8 }, (_, parity) => chosen.kinds[KIND_OF[parity]].known[6]);
    const face = Array.from({ length: 8 }, (_, parity) => chosen.kinds[KIND_OF[parity]].known[7]);
    for (let k = 0; k < previous.count; k++) {
      const value = previous.values[k];
      const magnitude = Math.min(value < 0 ? -value : value, CAP);
      const place = previous.places[k];
      const parity = previous.parities[k];
      const to = previous.channels[k] * size;
      activity[to + rank[place]] += own[parity] * magnitude;
      totals[3 * size + rank[place]] += magnitude;
      const [x, y, z] = [face[parity ^ 1] * magnitude, face[parity ^ 2] * magnitude, face[parity ^ 4] * magnitude];
      activity[to + rank[place - 1]] += x;
      activity[to + rank[place + 1]] += x;
      activity[to + rank[place - row]] += y;
      activity[to + rank[place + row]] += y;
      activity[to + rank[place - slab]] += z;
      activity[to + rank[place + slab]] += z;
    }
  }

  /**
   * The symbols of one pass, channel by channel.
   *
   * @param {RangeReader} reader
   * @param {LiveGrid} live
   * @param {number} position of its class in the order of passes
   * @param {WeightSet} chosen
   * @param {Int32Array} means per channel
   * @param {Float64Array} tables
   * @param {Float64Array} right
   */
  readPass(reader, live, position, chosen, means, tables, right) {
    const { channels, start } = live;
    const begin = start[position];
    const nodes = start[position + 1] - begin;
    if (!nodes) return;
    const weights = chosen.kinds[KINDS[position]];
    const size = live.count + 1;
    this.beginPass(begin, nodes, size, channels, weights.known);
    const { activity, base, prefix, order, magnitudes } = this;
    const tableOf = this.tables;
    const counts = new Int32Array(TABLES);
    const ends = new Int32Array(TABLES);
    const before = this.list.count;
    const signs = live.once(`signs ${position}`, () => signNeighbours(live, position));
    for (let c = 0; c < channels; c++) {
      const mean = (means[c] * weights.mean) >> 8;
      const share = Math.floor(65536 / (c + 2));
      const wp = weights.prefix;
      const from = c * size + begin;
      counts.fill(0);
      for (let i = 0; i < nodes; i++) {
        let level = mean + activity[from + i] + base[i];
        const sum = prefix[i];
        if (sum) level += ((sum * share) >> 12) * wp;
        level >>= 3;
        const table = TABLE_OF[level < LARGEST_ACTIVITY ? level : LARGEST_ACTIVITY];
        tableOf[i] = table;
        counts[table] += 1;
      }
      for (let table = 0, end = 0; table < TABLES; table++) {
        ends[table] = end;
        end += counts[table];
      }
      for (let i = 0; i < nodes; i++) order[ends[tableOf[i]]++] = i;
      reader.groups(counts, tables, STRIDE, order, magnitudes);
      this.readSigns(reader, live, position, c, signs, right);
    }
    if (position < 7) this.spread(live, position, before, chosen);
  }

  /**
   * What of the nodes of a pass is known before its first channel, the same for all channels.
   *
   * @param {number} begin rank of the first node
   * @param {number} nodes
   * @param {number} size
   * @param {number} channels
   * @param {number[]} known the weights
   */
  beginPass(begin, nodes, size, channels, known) {
    const { totals, base, prefix } = this;
    const norm = Math.floor(65536 / channels);
    base.fill(0, 0, nodes);
    prefix.fill(0, 0, nodes);
    for (let sort = 0; sort < 4; sort++) {
      const weight = known[sort < 3 ? 3 + sort : 8];
      if (!weight) continue;
      const from = sort * size + begin;
      for (let i = 0; i < nodes; i++) {
        const total = totals[from + i];
        if (total) base[i] += weight * (((sort < 3 ? total : Math.min(total, TOTAL_CAP)) * norm) >> 12);
      }
    }
  }

  /**
   * The signs of a channel's symbols in a pass, and the symbols themselves into the list of those that are not 0.
   *
   * @param {RangeReader} reader
   * @param {LiveGrid} live
   * @param {number} position
   * @param {number} c
   * @param {{offsets: Int32Array, weights: Int32Array}} near
   * @param {Float64Array} right
   */
  readSigns(reader, live, position, c, near, right) {
    const { magnitudes, chosen, classes, predictions, agreed, values, order, prefix } = this;
    const { places, rank, start, nodes: nodeOf, channels } = live;
    const begin = start[position];
    const nodes = start[position + 1] - begin;
    const size = live.count + 1;
    const { offsets, weights } = near;
    const to = c * size;
    const counts = new Int32Array(SIGN_CLASSES);
    let count = 0;
    for (let i = 0; i < nodes; i++) {
      if (!magnitudes[i]) continue;
      const place = places[begin + i];
      let predicted = 0;
      for (let k = 0; k < offsets.length; k++) predicted += weights[k] * values[to + rank[place + offsets[k]]];
      const size = predicted < 0 ? -predicted : predicted;
      let group = 0;
      while (group < SIGN_CLASSES - 1 && size >= SIGN_THRESHOLDS[group]) group++;
      chosen[count] = i;
      predictions[count] = predicted;
      classes[count] = group;
      counts[group] += 1;
      count += 1;
    }
    if (!count) return;
    const ends = new Int32Array(SIGN_CLASSES);
    for (let group = 1; group < SIGN_CLASSES; group++) ends[group] = ends[group - 1] + counts[group - 1];
    for (let k = 0; k < count; k++) order[ends[classes[k]]++] = k;
    reader.groups(counts, right, 3, order, agreed);
    const { list } = this;
    list.reserve(count);
    const parity = ORDER[position];
    for (let k = 0; k < count; k++) {
      const i = chosen[k];
      const r = begin + i;
      const magnitude = magnitudes[i];
      magnitudes[i] = 0;
      const value = (agreed[k] === 1) === predictions[k] < 0 ? -magnitude : magnitude;
      const at = list.count + k;
      list.places[at] = places[r];
      list.indices[at] = nodeOf[r] * channels + c;
      list.channels[at] = c;
      list.parities[at] = parity;
      list.values[at] = value;
      const capped = magnitude < CAP ? magnitude : CAP;
      values[to + r] = value < 0 ? -capped : capped;
      prefix[i] += capped;
      if (magnitude === ESCAPE) this.escapes.push(at);
    }
    list.count += count;
  }

  /**
   * Adds what a pass has found to the contexts of later passes.
   *
   * @param {LiveGrid} live
   * @param {number} position
   * @param {number} before symbols in the list before the pass
   * @param {WeightSet} chosen
   */
  spread(live, position, before, chosen) {
    const { activity, totals, nodeTotals } = this;
    const { count, places, channels, values } = this.list;
    const { rank } = live;
    const size = live.count + 1;
    const { own, ownWeights, all, allSorts } = live.once(`${SETS.indexOf(chosen)} ${position}`, () =>
      receivers(live, position, chosen),
    );
    for (let k = before; k < count; k++) {
      const place = places[k];
      const value = values[k];
      const magnitude = Math.min(value < 0 ? -value : value, CAP);
      const to = channels[k] * size;
      for (let n = 0; n < own.length; n++) activity[to + rank[place + own[n]]] += ownWeights[n] * magnitude;
      nodeTotals[rank[place]] += magnitude;
    }
    for (let k = before; k < count; k++) {
      const place = places[k];
      const r = rank[place];
      if (!nodeTotals[r]) continue;
      const total = Math.min(nodeTotals[r], TOTAL_CAP);
      nodeTotals[r] = 0;
      for (let n = 0; n < all.length; n++) totals[allSorts[n] * size + rank[place + all[n]]] += total;
    }
  }

  /**
   * The magnitudes of symbols beyond the tables, in C order.
   *
   * @param {RangeReader} reader
   * @param {number} order
   */
  readEscapes(reader, order) {
    const { escapes } = this;
    const { indices, values } = this.list;
    if (!escapes.length) return;
    escapes.sort((a, b) => indices[a] - indices[b]);
    const magnitudes = readEscapes(reader, escapes.length, order);
    escapes.forEach((at, k) => (values[at] = values[at] < 0 ? -magnitudes[k] : magnitudes[k]));
  }
}
