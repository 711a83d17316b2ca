/**
 * Sound: Opus packets of 20 ms.
 *
 * @module
 */

import { OPUS_FRAMES, SOUND_PACKET } from "./constants.js";
import { parse } from "./elements.js";
import { CorruptStream } from "./errors.js";
import { SOUNDS } from "./formats.js";

/**
 * How many samples a packet decodes to; 0 for no Opus packet.
 *
 * @param {Uint8Array} packet
 * @returns {number}
 */
export function packetSamples(packet) {
  if (!packet.length) return 0;
  const code = packet[0] & 3;
  if (code < 3) return OPUS_FRAMES[packet[0] >> 3] * (code === 0 ? 1 : 2);
  return packet.length > 1 ? OPUS_FRAMES[packet[0] >> 3] * (packet[1] & 63) : 0;
}

/**
 * The record of a chunk of sound.
 *
 * @param {Uint8Array} payload
 * @param {number} version
 * @param {string} place begins error messages
 * @returns {import("./types.js").SoundRun}
 * @throws {CorruptStream}
 */
export function parseSound(payload, version, place) {
  const run = /** @type {import("./types.js").SoundRun} */ (parse(SOUNDS[version], payload, place));
  const odd = run.packets.find((packet) => packetSamples(packet) !== SOUND_PACKET);
  if (odd) {
    const found = `one of ${packetSamples(odd)}; the file is damaged`;
    throw new CorruptStream(`${place}: expected packets of ${SOUND_PACKET} samples, found ${found}`);
  }
  return run;
}
