/**
 * Decodes many files in one process, for `fuzz_web.py`: `node fuzz_web.mjs PACK MEMORY_LIMIT`
 *
 * PACK holds files behind each other, each after its length (u32). A line of JSON is told of each: how it ended, the
 * hash of its symbols, the message, and the milliseconds it took.
 */

import { readFile } from "node:fs/promises";

import { openFile, StreamError } from "../taichi_vvc/web/decoder/decoder.js";
import { hashesOf } from "../taichi_vvc/web/decoder/hashes.js";
import { memorySource } from "../taichi_vvc/web/decoder/sources.js";

const [, , path, limit] = process.argv;
const pack = await readFile(path);
for (let at = 0; at < pack.length; ) {
  const length = pack.readUInt32LE(at);
  const data = new Uint8Array(pack.subarray(at + 4, at + 4 + length));
  at += 4 + length;
  const begun = performance.now();
  const found = { outcome: "good", hash: "", message: "", ms: 0, typed: true };
  try {
    const file = await openFile(memorySource(data), { memoryLimit: Number(limit) });
    found.hash = (await hashesOf(file)).symbols;
    for (let index = 0; index < file.sounds.length; index++) await file.readSound(index);
  } catch (error) {
    found.outcome = error.name;
    found.message = error.message;
    found.typed = error instanceof StreamError && !/[\n\r]/.test(error.message);
    if (!found.typed) found.message = String(error.stack);
  }
  found.ms = performance.now() - begun;
  console.log(JSON.stringify(found));
}
