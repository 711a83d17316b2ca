#!/usr/bin/env node
/**
 * Prints the hashes of .tvvc files as `tvvc decode --verify` does: `node tvvc-hash.js FILE ...`
 *
 * The exit status is 4 where a file cannot be decoded; the reason is one line on stderr.
 */

import { openFile, StreamError } from "../decoder/decoder.js";
import { hashesOf } from "../decoder/hashes.js";
import { fileSource } from "../decoder/sources.js";

for (const path of process.argv.slice(2)) {
  let source;
  try {
    source = await fileSource(path);
    const file = await openFile(source);
    const { symbols, pictures } = await hashesOf(file);
    for (let index = 0; index < file.sounds.length; index++) await file.readSound(index);
    console.log(`symbols sha256 ${symbols}\npictures sha256 ${pictures}`);
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    console.error(`error: ${error.message}`);
    process.exitCode = 4;
  } finally {
    await source?.close();
  }
}
