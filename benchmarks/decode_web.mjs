/**
 * Milliseconds per frame of decoding a file in JavaScript, for `decode_web.py`: `node decode_web.mjs FILE FRAMES ROUNDS`
 *
 * A line of JSON is told of each round: for every frame the whole time, and that of the parts.
 */

import { readFile } from "node:fs/promises";

import { openFile } from "../taichi_vvc/web/decoder/decoder.js";
import { FrameDecoder } from "../taichi_vvc/web/decoder/frames.js";
import { GridDecoder } from "../taichi_vvc/web/decoder/grid_decoder.js";
import { LiveSet } from "../taichi_vvc/web/decoder/live_set.js";
import { MaskDecoder } from "../taichi_vvc/web/decoder/occupancy_masks.js";
import { memorySource } from "../taichi_vvc/web/decoder/sources.js";

const [, , path, frames, rounds] = process.argv;
const parts = {};

/** Has the time of a method counted as that of a part. */
function watch(owner, method, part) {
  const own = owner.prototype[method];
  owner.prototype[method] = function watched(...given) {
    const begun = performance.now();
    try {
      return own.apply(this, given);
    } finally {
      parts[part] = (parts[part] ?? 0) + performance.now() - begun;
    }
  };
}

watch(MaskDecoder, "decode", "occupancy");
watch(LiveSet, "find", "live set");
watch(FrameDecoder, "predict", "motion");
watch(GridDecoder, "decode", "entropy");
watch(FrameDecoder, "sum", "add reference");

const data = await readFile(path);
for (let round = 0; round < Number(rounds); round++) {
  const file = await openFile(memorySource(data));
  const found = [];
  let frame = null;
  for (let index = 0; index < Math.min(Number(frames), file.frames.length); index++) {
    for (const part of Object.keys(parts)) parts[part] = 0;
    const begun = performance.now();
    frame = await file.decode(index, { reuse: frame });
    const total = performance.now() - begun;
    found.push({ ...parts, total });
  }
  console.log(JSON.stringify(found));
}
