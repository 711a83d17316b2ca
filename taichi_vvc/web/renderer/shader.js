/**
 * The shader that draws a picture: docs/bitstream.md, section 12, as one text for both kinds of GPU interface.
 *
 * It is written in WGSL, in a subset that `glsl.js` can translate: every variable states its type, functions return one
 * value, and vectors are not compared. The layout of the file is part of the text, so that loops over channels are
 * unrolled. What it reads is defined by `webgpu.js` and `webgl2.js`: `grid0`, `grid1`, .. (a texture's value at texture
 * coordinates), `distance_at` (a cell), `weight_at`, `view_at`.
 *
 * @module
 */

import { VIEW_ROWS } from "./camera.js";
import { textureSize } from "./plan.js";

/** Of the light, what is left where a ray ends: no sample behind it can weigh more than is drawn. */
const LEFT = 0.001;

const number = (value) => {
  const text = String(value);
  return /[.e]/.test(text) ? text : `${text}.0`;
};
const vector = (values) => `vec3f(${values.map(number).join(", ")})`;
const lanes = "xyzw";

/** Vectors of `view`: those of a camera, then four grids' scales in each. */
export function viewRows(plan) {
  return VIEW_ROWS + Math.ceil(plan.grids.length / 4);
}

/**
 * The functions that both shaders share; the last one is `picture(column, row)`, the RGBA value of a pixel.
 *
 * @param {import("./plan.js").Plan} plan
 */
export function pictureCode(plan) {
  return [constants(plan), lens, light(plan), plan.whole ? shellCode : "", plan.whole ? traceShell : traceBox, shown].join(
    "\n",
  );
}

function constants(plan) {
  const { layout } = plan;
  const cells = layout.occupancy;
  const longest = Math.max(...cells);
  const step = longest / layout.stepsPerSide;
  const diagonal = Math.hypot(...cells);
  const inner = cells.map((n, axis) => n / 2 - layout.shell[axis]);
  return `
const CELLS: vec3f = ${vector(cells)};
const LAST_CELL: vec3i = vec3i(${cells.map((n) => n - 1).join(", ")});
const STEP: f32 = ${number(step)};
const STEPS_PER_SIDE: f32 = ${number(layout.stepsPerSide)};
const NEAR: f32 = ${number(layout.near / layout.cell)};
const FAR: f32 = ${number(1000 * longest)};
const CELL: f32 = ${number(layout.cell)};
const MIDDLE: vec3f = ${vector(cells.map((n) => n / 2))};
const INNER: vec3f = ${vector(inner)};
const SHELL: vec3f = ${vector(layout.shell)};
const MOST_STEPS: i32 = ${Math.floor((2 * diagonal) / step) + 16};
const MOST_SAMPLES: i32 = ${Math.floor(diagonal / step) + 2};
const LEFT: f32 = ${number(LEFT)};
var<private> travelled: f32;
`;
}

const lens = `
fn shown_by_lens(p: vec2f, k: vec4f) -> vec2f {
  let r: f32 = dot(p, p);
  let radial: f32 = 1.0 + r * (k.x + r * k.y);
  return vec2f(
    p.x * radial + 2.0 * k.z * p.x * p.y + k.w * (r + 2.0 * p.x * p.x),
    p.y * radial + k.z * (r + 2.0 * p.y * p.y) + 2.0 * k.w * p.x * p.y);
}

// The point that the lens shows at a place, and 1 where there is one: Newton's steps from the centre, halved where they
// lead away.
fn undistorted(place: vec2f, k: vec4f, limit: f32) -> vec3f {
  var p: vec2f = vec2f(0.0, 0.0);
  var off: f32 = length(place);
  var part: f32 = 1.0;
  for (var i: i32 = 0; i < 60; i++) {
    if (off <= 1e-7) { break; }
    let r: f32 = dot(p, p);
    let radial: f32 = 1.0 + r * (k.x + r * k.y);
    let slope: f32 = 2.0 * (k.x + 2.0 * r * k.y);
    let a: f32 = radial + slope * p.x * p.x + 2.0 * k.z * p.y + 6.0 * k.w * p.x;
    let b: f32 = slope * p.x * p.y + 2.0 * k.z * p.x + 2.0 * k.w * p.y;
    let d: f32 = radial + slope * p.y * p.y + 6.0 * k.z * p.y + 2.0 * k.w * p.x;
    let e: vec2f = shown_by_lens(p, k) - place;
    let det: f32 = max(a * d - b * b, 1e-6);
    let q: vec2f = p - vec2f(d * e.x - b * e.y, a * e.y - b * e.x) * (part / det);
    let then: f32 = length(shown_by_lens(q, k) - place);
    if (then < off && dot(q, q) < limit) {
      p = q;
      off = then;
      part = min(1.0, 2.0 * part);
    } else {
      part = 0.5 * part;
    }
  }
  return vec3f(p.x, p.y, select(0.0, 1.0, off <= 4e-6 * (1.0 + length(place))));
}
`;

/** Density and colour at a point, the direction's part of the colour, and compositing. */
function light(plan) {
  const { layout, groups, grids, at, hidden, outputs, colour, directions } = plan;
  const scale = (grid) => `view_at(${VIEW_ROWS + (grid >> 2)}).${lanes[grid & 3]}`;
  const longest = Math.max(...layout.occupancy);
  // Where in a texture a grid coordinate lies: node i of n has its centre at (i + 1/2) / n.
  const place = (grid, slab, point) => {
    const { nodes } = grids[grid];
    const size = textureSize(grids[grid]);
    const factor = nodes.map((n, axis) => (n - 1) / size[axis]);
    const shift = [0.5 / size[0], 0.5 / size[1], (slab * nodes[2] + 0.5) / size[2]];
    return `${point} * ${vector(factor)} + ${vector(shift)}`;
  };
  const lines = [`  let whole: vec3f = g * ${vector(layout.occupancy.map((n) => 1 / n))};`];
  const tiles = new Map();
  groups.forEach((group, i) => {
    const { frequency } = layout.levels[group.level];
    if (!tiles.has(frequency)) {
      tiles.set(frequency, `tile${tiles.size}`);
      lines.push(`  let ${tiles.get(frequency)}: vec3f = fract(g * ${number(frequency / (256 * longest))});`);
    }
    const level = group.level + 1;
    lines.push(
      `  let f${i}: vec4f = (vec4f(1.0) + ${scale(0)} * grid0(${place(0, i, "whole")}))`,
      `    * (${scale(level)} * grid${level}(${place(level, group.slab, tiles.get(frequency))}));`,
    );
  });
  const inputs = groups.flatMap((group, i) => Array.from({ length: group.channels }, (_, c) => `f${i}.${lanes[c]}`));
  const row = 1 + inputs.length + 4 * outputs;
  const outs = Array.from({ length: outputs }, (_, o) => `o${o}`);
  lines.push(...outs.map((out, o) => `  var ${out}: vec4f = weight_at(${at.bias + o});`));
  lines.push(
    `  for (var j: i32 = 0; j < ${hidden}; j++) {`,
    `    let w: i32 = ${at.projection} + j * ${row};`,
    "    var h: vec4f = weight_at(w);",
    ...inputs.map((input, i) => `    h += ${input} * weight_at(w + ${1 + i});`),
    "    h = max(h, vec4f(0.0));",
  );
  for (let unit = 0; unit < 4; unit++) {
    lines.push(
      ...outs.map((o, i) => `    ${o} += h.${lanes[unit]} * weight_at(w + ${1 + inputs.length + unit * outputs + i});`),
    );
  }
  lines.push("  }");
  const appearance = Array.from({ length: layout.appearance }, (_, a) => `o${(a + 1) >> 2}.${lanes[(a + 1) & 3]}`);
  const hue = [`  var y: vec3f = weight_at(${at.last}).xyz;`, "  var u: vec4f;"];
  const sum = appearance.map((a, i) => ` + ${a} * weight_at(w + ${i})`).join("");
  const rgb = [0, 1, 2].map((c) => `dot(u, weight_at(w + ${appearance.length + c}))`).join(", ");
  hue.push(
    `  for (var j: i32 = 0; j < ${colour}; j++) {`,
    `    let w: i32 = ${at.colour} + j * ${appearance.length + 3};`,
    `    u = max(base[j]${sum}, vec4f(0.0));`,
    `    y += vec3f(${rgb});`,
    "  }",
  );
  const encoded = ["d.x", "d.y", "d.z"];
  for (let octave = 0; octave < layout.viewFrequencies; octave++) {
    for (const wave of ["sin", "cos"]) for (const axis of "xyz") encoded.push(`${wave}(${number(2 ** octave)} * d.${axis})`);
  }
  return `
var<private> base: array<vec4f, ${colour}>;
var<private> left: f32;
var<private> seen: vec3f;

// The direction's part of the colour, which is the same for all samples of a ray.
fn face(d: vec3f) {
${encoded.map((term, i) => `  let e${i}: f32 = ${term};`).join("\n")}
  for (var j: i32 = 0; j < ${colour}; j++) {
    let w: i32 = ${at.directions} + j * ${1 + directions};
    base[j] = weight_at(w)${encoded.map((_, i) => ` + e${i} * weight_at(w + ${1 + i})`).join("")};
  }
  left = 1.0;
  seen = vec3f(0.0);
  travelled = 0.0;
}

// The light of one sample at grid coordinates g and the distance t.
fn meet(g: vec3f, t: f32) {
${lines.join("\n")}
  let raw: f32 = o0.x - 3.0;
  let through: f32 = exp(-50.0 / STEPS_PER_SIDE * (max(raw, 0.0) + log(1.0 + exp(-abs(raw)))));
  let weight: f32 = left * (1.0 - through);
  left = left * through;
  travelled += weight * t;
  if (weight <= 0.001) { return; }
${hue.join("\n")}
  seen += weight / (vec3f(1.0) + exp(-y));
}
`;
}

/** Rays through the bounds alone: samples at equal distances, leaps up to the border of what is known to be empty. */
const traceBox = `
fn trace(o: vec3f, ray: vec3f) {
  face(ray);
  let d: vec3f = vec3f(
    select(ray.x, 1e-12, abs(ray.x) < 1e-12), select(ray.y, 1e-12, abs(ray.y) < 1e-12),
    select(ray.z, 1e-12, abs(ray.z) < 1e-12));
  let per: vec3f = vec3f(1.0) / d;
  let a: vec3f = -o * per;
  let b: vec3f = (CELLS - o) * per;
  let low: vec3f = min(a, b);
  let high: vec3f = max(a, b);
  let first: f32 = max(max(low.x, low.y), max(low.z, NEAR)) + 0.5 * STEP;
  let far: f32 = min(high.x, min(high.y, high.z));
  var k: f32 = 0.0;
  for (var i: i32 = 0; i < MOST_STEPS; i++) {
    let t: f32 = first + k * STEP;
    if (t >= far) { break; }
    let p: vec3f = o + t * ray;
    let cell: vec3i = clamp(vec3i(p), vec3i(0), LAST_CELL);
    let empty: f32 = distance_at(cell);
    k += 1.0;
    if (empty < 0.5) {
      meet(p, t);
      if (left < LEFT) { break; }
    } else {
      // Up to the border of the cells that are known to be empty.
      let c: vec3f = vec3f(cell);
      let border: vec3f = (vec3f(
        select(c.x + 1.0 - empty, c.x + empty, d.x > 0.0), select(c.y + 1.0 - empty, c.y + empty, d.y > 0.0),
        select(c.z + 1.0 - empty, c.z + empty, d.z > 0.0)) - o) * per;
      k = max(k, ceil((min(border.x, min(border.y, border.z)) - first) / STEP));
    }
  }
}
`;

/** Space around the bounds, contracted: section 12.2. Axis 3 is the inner region. */
const shellCode = `
// The axis of the region of a point (cells from the centre), and its m.
fn region_of(x: vec3f) -> vec2f {
  let part: vec3f = abs(x) / INNER;
  var found: vec2f = vec2f(3.0, 1.0);
  if (part.x > found.y) { found = vec2f(0.0, part.x); }
  if (part.y > found.y) { found = vec2f(1.0, part.y); }
  if (part.z > found.y) { found = vec2f(2.0, part.z); }
  return found;
}

fn along(axis: f32) -> vec3f {
  return vec3f(
    select(0.0, 1.0, axis < 0.5), select(0.0, 1.0, abs(axis - 1.0) < 0.5), select(0.0, 1.0, abs(axis - 2.0) < 0.5));
}

// Grid coordinates of a point of a region.
fn contracted(x: vec3f, region: vec2f) -> vec3f {
  let part: f32 = 1.0 / region.y;
  let one: vec3f = along(region.x);
  let face: vec3f = sign(x) * (INNER + SHELL * (1.0 - part));
  return mix(x * part, face, one) + MIDDLE;
}

// How far on along a ray the point lies that is a contracted length away in the region of x.
fn ahead(distance: f32, x: vec3f, d: vec3f, region: vec2f) -> f32 {
  if (region.x > 2.5) { return distance; }
  let one: vec3f = along(region.x);
  let m: f32 = region.y;
  let rise: f32 = dot(one, sign(x) * d / INNER);
  let v: vec3f = mix(d * m - rise * x, SHELL * rise, one);
  let q: f32 = length(v) - distance * m * rise;
  return select(1e30, distance * m * m / q, q > 1e-12);
}
`;

const traceShell = `
fn trace(origin: vec3f, d: vec3f) {
  face(d);
  let o: vec3f = origin - MIDDLE;
  var t: f32 = NEAR;
  var found: i32 = 0;
  let start: vec3f = o + t * d;
  t += ahead(0.5 * STEP, start, d, region_of(start));
  for (var i: i32 = 1; i < MOST_STEPS; i++) {
    if (!(t < FAR) || found >= MOST_SAMPLES) { break; }
    let x: vec3f = o + t * d;
    let region: vec2f = region_of(x);
    let g: vec3f = contracted(x, region);
    let cell: vec3i = clamp(vec3i(g), vec3i(0), LAST_CELL);
    let empty: f32 = distance_at(cell);
    var on: f32 = ahead(STEP, x, d, region);
    if (empty < 0.5) {
      meet(g, t);
      found++;
      if (left < LEFT) { break; }
    } else {
      // A contracted length of so many cells leads no farther along any axis.
      let leap: f32 = floor((empty - 1.0) / STEP);
      if (leap > 1.5) {
        let distance: f32 = ahead(leap * STEP, x, d, region);
        // Regions are convex: between two points of one there is nothing else.
        if (distance < 1e29 && region_of(x + distance * d).x == region.x) { on = distance; }
      }
    }
    t += on;
  }
}
`;

/** From a pixel to its ray, and from the ray's light to what is shown. */
const shown = `
fn picture(column: f32, row: f32) -> vec4f {
  let origin: vec4f = view_at(0);
  let focal: vec4f = view_at(4);
  let limits: vec4f = view_at(6);
  var p: vec3f = vec3f((column + 0.5 - focal.z) / focal.x, (row + 0.5 - focal.w) / focal.y, 1.0);
  if (limits.y > 0.5) { p = undistorted(p.xy, view_at(5), limits.x); }
  left = 1.0;
  seen = vec3f(0.0);
  travelled = 0.0;
  if (p.z > 0.5) {
    let ray: vec3f = vec3f(
      dot(view_at(1).xyz, vec3f(p.xy, 1.0)), dot(view_at(2).xyz, vec3f(p.xy, 1.0)), dot(view_at(3).xyz, vec3f(p.xy, 1.0)));
    trace(origin.xyz, normalize(ray));
  }
  let opacity: f32 = 1.0 - left;
  let distance: f32 = select(0.0, travelled * CELL / max(opacity, 1e-6), opacity > 1e-3);
  if (origin.w > 2.5) {
    // 24 bits of the distance.
    let whole: f32 = floor(clamp(distance * view_at(9).w, 0.0, 1.0) * 16777215.0);
    let high: f32 = floor(whole / 65536.0);
    let middle: f32 = floor((whole - high * 65536.0) / 256.0);
    return vec4f(high, middle, whole - high * 65536.0 - middle * 256.0, opacity * 255.0) / 255.0;
  }
  if (origin.w > 1.5) { return vec4f(vec3f(opacity), opacity); }
  if (origin.w > 0.5) {
    let grey: f32 = 1.0 - 0.8 * clamp((distance - limits.z) / max(limits.w - limits.z, 1e-9), 0.0, 1.0);
    return vec4f(vec3f(select(0.0, grey, opacity > 0.5)), opacity);
  }
  let background: vec4f = view_at(7);
  var colour: vec3f = seen + left * background.xyz;
  if (view_at(8).w > 0.5) {
    let gain: vec3f = view_at(8).xyz;
    let offset: vec3f = view_at(9).xyz;
    colour = select(seen * gain + offset * opacity + left * background.xyz, colour * gain + offset, background.w > 0.5);
  }
  return vec4f(clamp(colour, vec3f(0.0), vec3f(1.0)), opacity);
}
`;
