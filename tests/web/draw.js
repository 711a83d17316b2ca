// Draws exported frames for tests: see exported.py.
import { Packer } from "/web/renderer/pack.js";
import { planOf } from "/web/renderer/plan.js";
import { Renderer } from "/web/renderer/renderer.js";

/** A header and a frame as the decoder would give them. */
export async function load(name) {
  const record = await (await fetch(`${name}.json`)).json();
  const buffer = await (await fetch(`${name}.bin`)).arrayBuffer();
  let at = 0;
  const take = (Type, count) => {
    at += 4 * count;
    return new Type(buffer, at - 4 * count, count);
  };
  const [occupancy, ...symbols] = record.counts.map((count) => take(Int32Array, count));
  const mlp = record.mlp.map((count) => take(Float32Array, count));
  const group = { number: 0, steps: new Float32Array(record.steps), mlp, colours: record.colours };
  const { header, number } = record;
  const frame = { number, key: true, group, occupancy: Uint8Array.from(occupancy), symbols, cameras: header.cameras };
  return { header, frame };
}

/** A renderer with a frame on show. */
export async function prepared(name, kind) {
  const { header, frame } = await load(name);
  const canvas = document.body.appendChild(document.createElement("canvas"));
  const renderer = await Renderer.create(canvas, header, { kind });
  renderer.fill(new Packer(planOf(header.layout)).pack(frame));
  renderer.swap();
  return renderer;
}

/** The bytes of a picture in base64, and how long it took. */
export async function picture(renderer, look) {
  const { width, height } = look.camera;
  renderer.resize(Math.max(width, renderer.size[0]), Math.max(height, renderer.size[1]));
  const began = performance.now();
  if (!(await renderer.draw(look))) throw new Error("not drawn");
  const seconds = (performance.now() - began) / 1000;
  renderer.show();
  const pixels = await renderer.read();
  let text = "";
  for (let i = 0; i < pixels.length; i += 8192) text += String.fromCharCode(...pixels.subarray(i, i + 8192));
  return { kind: renderer.kind, seconds, pixels: btoa(text) };
}
