/**
 * Opus packets as an Ogg file (RFC 3533, RFC 7845), which browsers decode.
 *
 * @module
 */

import { SOUND_PACKET, SOUND_RATE } from "../decoder/constants.js";

const FIRST = 2;
const LAST = 4;
/** Segments that a page has at most. */
const SEGMENTS = 255;

const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte << 24;
  for (let bit = 0; bit < 8; bit++) value = value & 0x80000000 ? (value << 1) ^ 0x04c11db7 : value << 1;
  return value;
});

/** Ogg's CRC-32, which is not that of zlib. @param {Uint8Array} data */
function check(data) {
  let value = 0;
  for (const byte of data) value = (value << 8) ^ TABLE[(value >>> 24) ^ byte];
  return value >>> 0;
}

/** @param {string} text */
const letters = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

/**
 * A page of whole packets.
 *
 * @param {Uint8Array[]} packets
 * @param {number} position samples up to its end, those to be skipped included
 * @param {number} number
 * @param {number} flags
 */
function page(packets, position, number, flags) {
  const lacing = packets.flatMap(({ length }) => [...Array(Math.floor(length / 255)).fill(255), length % 255]);
  const body = packets.reduce((sum, packet) => sum + packet.length, 0);
  const data = new Uint8Array(27 + lacing.length + body);
  const view = new DataView(data.buffer);
  data.set(letters("OggS"));
  data[5] = flags;
  view.setUint32(6, position >>> 0, true);
  view.setUint32(10, Math.floor(position / 2 ** 32), true);
  view.setUint32(14, 1, true);
  view.setUint32(18, number, true);
  data[26] = lacing.length;
  data.set(lacing, 27);
  let at = 27 + lacing.length;
  for (const packet of packets) {
    data.set(packet, at);
    at += packet.length;
  }
  view.setUint32(22, check(data), true);
  return data;
}

/**
 * @param {Uint8Array[]} packets of 20 ms
 * @param {number} channels
 * @param {number} skip samples at the beginning that are decoded and left out
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function oggOf(packets, channels, skip) {
  const head = new Uint8Array(19);
  const view = new DataView(head.buffer);
  head.set(letters("OpusHead"));
  head.set([1, channels], 8);
  view.setUint16(10, skip, true);
  view.setUint32(12, SOUND_RATE, true);
  const tags = Uint8Array.from([...letters("OpusTags"), 4, 0, 0, 0, ...letters("tvvc"), 0, 0, 0, 0]);
  const pages = [page([head], 0, 0, FIRST), page([tags], 0, 1, 0)];
  for (let begin = 0; begin < packets.length; ) {
    let end = begin;
    let segments = 0;
    while (end < packets.length) {
      segments += Math.floor(packets[end].length / 255) + 1;
      if (segments > SEGMENTS) break;
      end += 1;
    }
    const flags = end === packets.length ? LAST : 0;
    pages.push(page(packets.slice(begin, end), SOUND_PACKET * end, pages.length, flags));
    begin = end;
  }
  const data = new Uint8Array(pages.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of pages) {
    data.set(part, at);
    at += part.length;
  }
  return data;
}
