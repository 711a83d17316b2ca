/**
 * The worker of the player: reads and decodes a file, and hands frames to the page as textures take them.
 *
 * Messages to it: `open` (a source), `want` (frame numbers, in the order in which they are needed, and how many
 * bytes to load ahead; takes the place of what was wanted before), `level` (a quality to keep to, or null), `sound` (a
 * run of it) and `give` (a buffer that is
 * no longer needed). Messages from it: `opened`, `progress`, `frame`, `sound` and `error`.
 *
 * @module
 */

import { openFile } from "../decoder/decoder.js";
import { memorySource, urlSource } from "../decoder/sources.js";
import { Packer } from "../renderer/pack.js";
import { planOf } from "../renderer/plan.js";
import { Levels, openScene } from "./levels.js";
import { Shelf } from "./shelf.js";

/** Bytes of packed frames that are kept, so that a loop or a step back need not decode again. */
const KEPT = 128 * 2 ** 20;

let file = null;
/** @type {Levels | null} */
let levels = null;
let packer = null;
let shelf = null;
let wanted = [];
let busy = false;
/** Bytes that are loaded ahead of what is decoded. */
let ahead = 0;

const tell = (message, transfer = []) => postMessage(message, transfer);
const tellError = (error, number = -1) => {
  tell({ type: "error", name: error?.name ?? "Error", message: error?.message ?? String(error), number });
};

async function open({ url, bytes }) {
  const progress = (loaded, size) => tell({ type: "progress", loaded, size });
  if (!bytes && new URL(url).pathname.endsWith(".json")) {
    levels = await openScene(url, { progress });
  } else {
    const source = bytes ? memorySource(bytes) : await urlSource(url, { progress });
    levels = new Levels(await openFile(source));
  }
  [file] = levels.files;
  packer = new Packer(planOf(file.header.layout));
  shelf = new Shelf(KEPT, packer);
  const { header, frames, groups, sounds, complete, version } = file;
  const qualities = levels.manifest?.files ?? [];
  tell({ type: "opened", header, frames, groups, sounds, complete, version, qualities });
}

/** Reads a run of sound. @param {number} index */
async function hear(index) {
  try {
    tell({ type: "sound", index, run: await file.readSound(index) });
  } catch (error) {
    tell({ type: "sound", index, message: error?.message ?? String(error) });
  }
}

/** Decodes what is wanted, one frame after the other, until nothing is. */
async function work() {
  if (busy || !file) return;
  busy = true;
  while (wanted.length) {
    const number = wanted.shift();
    try {
      const level = levels.levelOf(number);
      let packed = shelf.copy(number, level);
      if (!packed) {
        const { frame, file: own } = await levels.decode(number, level);
        packed = { ...packer.pack(frame), level };
        own.release(frame);
        shelf.keep(packed);
      }
      if (ahead) levels.loadAhead(number, ahead);
      tell({ type: "frame", packed, buffered: levels.buffered(number) }, [packed.buffer]);
    } catch (error) {
      tellError(error, number);
    }
    // Let what has come meanwhile change what is wanted.
    await new Promise((resolve) => setTimeout(resolve));
  }
  busy = false;
}

self.onmessage = async ({ data }) => {
  if (data.type === "open") {
    try {
      await open(data);
    } catch (error) {
      tellError(error);
    }
  } else if (data.type === "want") {
    wanted = data.numbers;
    ahead = data.ahead;
  } else if (data.type === "level") {
    await levels?.keepTo(data.level);
  } else if (data.type === "sound") {
    await hear(data.index);
  } else if (data.type === "give") {
    packer?.give(data.buffer);
  }
  await work();
};
