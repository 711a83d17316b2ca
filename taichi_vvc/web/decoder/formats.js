/** The syntax of chunks, and what older versions of the format do not have. */
// Made by docs/make_web.py from the package's constants; do not change it here.

import { blob, choice, count, fixed, float, ratio, rest, several, structure, text } from "./elements.js";

const LAYOUT = structure({
  lower: fixed(3, float("d", -1000000000000.0, 1000000000000.0)),
  cell: float("d", 1e-12, 1000000000000.0),
  cells: fixed(3, count(1, 1024)),
  coefficients: fixed(3, count(2, 1024)),
  levels: several(1, 15, structure({
    resolution: fixed(3, count(2, 1024)),
    channels: count(1, 64),
    frequency: count(1, 65536),
  })),
  projectionHidden: count(1, 1024),
  appearance: count(1, 1024),
  colourHidden: count(1, 1024),
  viewFrequencies: count(0, 16),
  stepsPerSide: count(1, 65536),
  motionBlock: count(0, 1024),
  shell: fixed(3, count(0, 1024)),
  near: float("f", 0.0, 1000000000000.0),
});

const HEADER = structure({
  layout: LAYOUT,
  background: fixed(3, count(0, 255)),
  fps: ratio(4294967295),
  firstFrame: count(0, 16777216),
  downscale: count(1, 65536),
  intrinsics: several(0, 4096, structure({
    width: count(1, 65536),
    height: count(1, 65536),
    fx: float("f", 1e-06, 1000000000.0),
    fy: float("f", 1e-06, 1000000000.0),
    cx: float("f", -3e+38, 3e+38),
    cy: float("f", -3e+38, 3e+38),
    k1: float("f", -3e+38, 3e+38),
    k2: float("f", -3e+38, 3e+38),
    p1: float("f", -3e+38, 3e+38),
    p2: float("f", -3e+38, 3e+38),
  })),
  cameras: several(0, 4096, structure({
    name: text(255),
    split: choice(["train", "test"]),
    intrinsics: count(0, 4095),
    rotation: fixed(4, float("f", -1.001, 1.001)),
    position: fixed(3, float("f", -3e+38, 3e+38)),
  })),
  rotationBits: count(1, 30),
  positionBits: count(0, 128),
  settings: text(65536),
  library: text(255),
});

/** How each version writes it, and the fields that it lacks. @type {Record<number, Format>} */
export const HEADERS = {
  1: { element: HEADER, lacks: ["motionBlock", "shell", "near", "rotationBits", "positionBits"] },
  2: { element: HEADER, lacks: ["shell", "near", "rotationBits", "positionBits"] },
  3: { element: HEADER, lacks: ["shell", "near", "rotationBits", "positionBits"] },
  4: { element: HEADER, lacks: ["shell", "near"] },
  5: { element: HEADER, lacks: [] },
  6: { element: HEADER, lacks: [] },
  7: { element: HEADER, lacks: [] },
};

const RIG = structure({
  layout: LAYOUT,
  background: fixed(3, count(0, 255)),
  fps: ratio(4294967295),
  firstFrame: count(0, 16777216),
  downscale: count(1, 65536),
  rotationBits: count(1, 30),
  positionBits: count(0, 128),
  lenses: count(0, 4096),
  names: several(0, 4096, text(255)),
  settings: text(65536),
  library: text(255),
});

/** How each version writes it, and the fields that it lacks. @type {Record<number, Format>} */
export const RIGS = {
  8: { element: RIG, lacks: [] },
};

const GROUP = structure({
  number: count(0, 16777216),
  firstFrame: count(0, 16777216),
  gridSteps: several(0, 16, float("f", 1e-30, 1e+30)),
  mlpSteps: several(0, 64, float("f", 1e-30, 1e+30)),
  mlp: blob(4294967295),
  colours: rest(1048576),
});

const GROUP_5 = structure({
  number: count(0, 16777216),
  firstFrame: count(0, 16777216),
  gridSteps: several(0, 16, float("f", 1e-30, 1e+30)),
  mlpSteps: several(0, 64, float("f", 1e-30, 1e+30)),
  mlp: blob(4294967295),
  colours: blob(1048576),
});

/** How each version writes it, and the fields that it lacks. @type {Record<number, Format>} */
export const GROUPS = {
  1: { element: GROUP_5, lacks: ["colours"] },
  2: { element: GROUP_5, lacks: ["colours"] },
  3: { element: GROUP_5, lacks: ["colours"] },
  4: { element: GROUP_5, lacks: ["colours"] },
  5: { element: GROUP_5, lacks: [] },
  6: { element: GROUP, lacks: [] },
  7: { element: GROUP, lacks: [] },
  8: { element: GROUP, lacks: [] },
};

const FRAME = structure({
  number: count(0, 16777216),
  group: count(0, 16777216),
  type: choice(["key", "inter"]),
  occupancy: blob(4294967295),
  motion: blob(4294967295),
  grids: several(0, 16, blob(4294967295)),
  cameras: rest(4294967295),
});

/** How each version writes it, and the fields that it lacks. @type {Record<number, Format>} */
export const FRAMES = {
  1: { element: FRAME, lacks: ["motion", "cameras"] },
  2: { element: FRAME, lacks: ["cameras"] },
  3: { element: FRAME, lacks: ["cameras"] },
  4: { element: FRAME, lacks: [] },
  5: { element: FRAME, lacks: [] },
  6: { element: FRAME, lacks: [] },
  7: { element: FRAME, lacks: [] },
  8: { element: FRAME, lacks: [] },
};

const INDEX = structure({
  first: count(0, 4611686018427387904),
  entries: several(0, 33554432, structure({
    kind: choice([
      "group",
      "key",
      "inter",
      "group with MLPs",
      "group with colours",
      "group with both",
      "sound",
      "other",
    ]),
    number: count(0, 16777216),
    size: count(12, 4294967295),
  })),
  frames: count(0, 16777216),
  fps: ratio(4294967295),
});

const INDEX_6 = structure({
  first: count(0, 4611686018427387904),
  entries: several(0, 33554432, structure({
    kind: choice(["group", "key", "inter", "group with MLPs", "group with colours", "group with both"]),
    number: count(0, 16777216),
    size: count(12, 4294967295),
  })),
  frames: count(0, 16777216),
  fps: ratio(4294967295),
});

const INDEX_5 = structure({
  first: count(0, 4611686018427387904),
  entries: several(0, 33554432, structure({
    kind: choice(["group", "key", "inter"]),
    number: count(0, 16777216),
    size: count(12, 4294967295),
  })),
  frames: count(0, 16777216),
});

/** How each version writes it, and the fields that it lacks. @type {Record<number, Format>} */
export const INDEXES = {
  1: { element: INDEX_5, lacks: [] },
  2: { element: INDEX_5, lacks: [] },
  3: { element: INDEX_5, lacks: [] },
  4: { element: INDEX_5, lacks: [] },
  5: { element: INDEX_5, lacks: [] },
  6: { element: INDEX_6, lacks: [] },
  7: { element: INDEX, lacks: [] },
  8: { element: INDEX, lacks: [] },
};

const SOUND = structure({
  number: count(0, 16777216),
  channels: count(1, 2),
  skip: count(0, 65536),
  packets: several(1, 65536, blob(16384)),
});

/** How each version writes it, and the fields that it lacks. @type {Record<number, Format>} */
export const SOUNDS = {
  7: { element: SOUND, lacks: [] },
  8: { element: SOUND, lacks: [] },
};

/** @typedef {{element: import("./elements.js").Element & {fields: Record<string, any>}, lacks: string[]}} Format */
