/**
 * What follows from a file's layout alone: the textures that hold its grids, and the order of the weights.
 *
 * A texture has four channels. A grid of more channels is cut into *slabs* of four, which lie behind each other along z
 * in one 3D texture. Channels of the coefficient grid are cut where those of the levels are, so that slab i of the
 * coefficients meets one slab of one level.
 *
 * @module
 */

/**
 * @typedef {object} Slab
 * @property {number} first channel of the grid that comes first
 * @property {number} channels 1 to 4
 */

/**
 * @typedef {object} GridPlan
 * @property {number[]} nodes along x, y, z
 * @property {number} channels
 * @property {Slab[]} slabs
 * @property {number} offset what a symbol of 0 stands for
 */

/**
 * A group of up to four feature channels.
 *
 * @typedef {object} FeatureGroup
 * @property {number} level index of the level
 * @property {number} slab of that level
 * @property {number} channels 1 to 4
 * @property {number} feature the first of its channels among all features
 */

/**
 * @typedef {object} Plan
 * @property {import("../decoder/types.js").Layout} layout
 * @property {GridPlan[]} grids the coefficient grid, then the levels
 * @property {FeatureGroup[]} groups
 * @property {boolean} whole whether there is a shell
 * @property {number} features channels of all levels
 * @property {number} hidden four units of the projection's hidden layer are taken together: how many times
 * @property {number} outputs vectors that hold the density and the appearance
 * @property {number} directions numbers of an encoded direction
 * @property {number} colour four units of the colour's hidden layer are taken together: how many times
 * @property {{projection: number, bias: number, directions: number, colour: number, last: number}} at where in the
 *   weights each part begins, in vectors
 * @property {number} weights vectors of weights
 */

const quarters = (count) => Math.ceil(count / 4);

/** Bytes of a frame's textures where all symbols fit 8 bits, its distances included. */
export function textureBytes(plan) {
  const [nx, ny, nz] = plan.layout.occupancy;
  return plan.grids.reduce((sum, grid) => sum + 4 * nodesOf(grid) * grid.slabs.length, nx * ny * nz);
}

/** Nodes of a grid. */
export function nodesOf(grid) {
  return grid.nodes[0] * grid.nodes[1] * grid.nodes[2];
}

/** The size of a grid's texture along x, y, z. */
export function textureSize(grid) {
  return [grid.nodes[0], grid.nodes[1], grid.nodes[2] * grid.slabs.length];
}

/**
 * @param {import("../decoder/types.js").Layout} layout
 * @returns {Plan}
 */
export function planOf(layout) {
  const groups = [];
  const coefficients = { nodes: layout.coefficients, channels: 0, slabs: [], offset: 1 };
  const grids = [coefficients];
  for (const [level, { resolution, channels }] of layout.levels.entries()) {
    const grid = { nodes: resolution, channels, slabs: [], offset: 0 };
    for (let first = 0; first < channels; first += 4) {
      const slab = { first, channels: Math.min(4, channels - first) };
      const feature = coefficients.channels + first;
      groups.push({ level, slab: grid.slabs.length, channels: slab.channels, feature });
      grid.slabs.push(slab);
      coefficients.slabs.push({ first: feature, channels: slab.channels });
    }
    coefficients.channels += channels;
    grids.push(grid);
  }
  const features = coefficients.channels;
  const hidden = quarters(layout.projectionHidden);
  const outputs = quarters(1 + layout.appearance);
  const directions = 3 + 6 * layout.viewFrequencies;
  const colour = quarters(layout.colourHidden);
  const at = { projection: 0, bias: 0, directions: 0, colour: 0, last: 0 };
  at.bias = hidden * (1 + features + 4 * outputs);
  at.directions = at.bias + outputs;
  at.colour = at.directions + colour * (1 + directions);
  at.last = at.colour + colour * (layout.appearance + 3);
  const whole = layout.shell.some((cells) => cells > 0);
  return { layout, grids, groups, whole, features, hidden, outputs, directions, colour, at, weights: at.last + 1 };
}

/**
 * The weights of both MLPs in the order in which the shader reads them, in vectors of four.
 *
 * Projection: for each four hidden units their bias, the weights of each feature to them, and then, unit by unit, the
 * weights from it to the outputs. Then the bias of the outputs. Directions: for each four hidden units of the colour MLP
 * their bias and the weights of each number of the direction. Colour: for each four hidden units the weights of each
 * appearance feature, and the weights from the four to red, to green and to blue. Then the last bias.
 *
 * @param {Plan} plan
 * @param {Float32Array[]} mlp tensors in the order of the file; weights are (inputs, outputs)
 * @param {Float32Array} target 4 * plan.weights numbers
 */
export function packWeights(plan, mlp, target) {
  const { layout, features, hidden, outputs, directions, colour } = plan;
  const [w1, b1, w2, b2, w3, b3, w4, b4] = mlp;
  const wide = layout.projectionHidden;
  const out = 1 + layout.appearance;
  const second = layout.colourHidden;
  let at = 0;
  // Four numbers of a row that has `width` of them; beyond its end there is nothing.
  const put = (tensor, row, width, first) => {
    for (let lane = 0; lane < 4; lane++) {
      target[at++] = first + lane < width ? tensor[row * width + first + lane] : 0;
    }
  };
  for (let j = 0; j < hidden; j++) {
    put(b1, 0, wide, 4 * j);
    for (let f = 0; f < features; f++) put(w1, f, wide, 4 * j);
    for (let unit = 4 * j; unit < 4 * j + 4; unit++) {
      for (let o = 0; o < outputs; o++) put(w2, unit, unit < wide ? out : 0, 4 * o);
    }
  }
  for (let o = 0; o < outputs; o++) put(b2, 0, out, 4 * o);
  for (let j = 0; j < colour; j++) {
    put(b3, 0, second, 4 * j);
    for (let d = 0; d < directions; d++) put(w3, layout.appearance + d, second, 4 * j);
  }
  for (let j = 0; j < colour; j++) {
    for (let a = 0; a < layout.appearance; a++) put(w3, a, second, 4 * j);
    for (let channel = 0; channel < 3; channel++) {
      for (let unit = 4 * j; unit < 4 * j + 4; unit++) target[at++] = unit < second ? w4[unit * 3 + channel] : 0;
    }
  }
  put(b4, 0, 3, 0);
}
