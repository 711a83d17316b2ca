/**
 * Draws with WebGPU: a compute shader marches the rays, one thread per pixel.
 *
 * @module
 */

import { textureSize } from "./plan.js";
import { pictureCode, viewRows } from "./shader.js";

/** Threads of a group along both axes. */
const EDGE = 8;
/** Vectors of weights that fit what every device gives a uniform block. */
const MOST_UNIFORM = 4096;

const present = `
@group(0) @binding(0) var drawn: texture_2d<f32>;
@group(0) @binding(1) var smooth_between: sampler;
@group(0) @binding(2) var<uniform> part: vec4f;
struct Corner { @builtin(position) place: vec4f, @location(0) at: vec2f }
@vertex fn corner(@builtin(vertex_index) i: u32) -> Corner {
  let at = vec2f(f32((i << 1u) & 2u), f32(i & 2u));
  return Corner(vec4f(2.0 * at.x - 1.0, 1.0 - 2.0 * at.y, 0.0, 1.0), at);
}
@fragment fn shown(at: Corner) -> @location(0) vec4f {
  let edge = 0.5 * part.zw;
  return vec4f(textureSampleLevel(drawn, smooth_between, clamp(at.at * part.xy, edge, part.xy - edge), 0.0).rgb, 1.0);
}`;

function computeCode(plan) {
  const rows = viewRows(plan);
  const uniform = plan.weights <= MOST_UNIFORM;
  const grids = plan.grids.map(
    (_, i) => `
@group(0) @binding(${5 + i}) var texture${i}: texture_3d<f32>;
fn grid${i}(p: vec3f) -> vec4f { return textureSampleLevel(texture${i}, between, p, 0.0); }`,
  );
  return `
@group(0) @binding(0) var<uniform> view: array<vec4f, ${rows}>;
@group(0) @binding(1) var<${uniform ? "uniform" : "storage, read"}> weights: array<vec4f, ${plan.weights}>;
@group(0) @binding(2) var between: sampler;
@group(0) @binding(3) var distances: texture_3d<u32>;
@group(0) @binding(4) var drawn: texture_storage_2d<rgba8unorm, write>;
fn view_at(i: i32) -> vec4f { return view[i]; }
fn weight_at(i: i32) -> vec4f { return weights[i]; }
fn distance_at(cell: vec3i) -> f32 { return f32(textureLoad(distances, cell, 0).x); }
${grids.join("")}
${pictureCode(plan)}
@compute @workgroup_size(${EDGE}, ${EDGE}) fn draw(@builtin(global_invocation_id) at: vec3u) {
  let size = view[10];
  let pixel = vec2f(f32(at.x), f32(at.y) + size.z);
  if (pixel.x >= size.x || pixel.y >= min(size.y, size.z + size.w)) { return; }
  textureStore(drawn, vec2i(pixel), picture(pixel.x, pixel.y));
}`;
}

/** One kind of drawing: see `renderer.js` for what the methods do. */
export class WebGpu {
  /** The device, or null where there is none. */
  static async create(canvas, plan) {
    if (!globalThis.navigator?.gpu) return null;
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter) return null;
    const needed = {};
    const sides = plan.grids.map((grid) => Math.max(...textureSize(grid)));
    const largest = Math.max(...sides, ...plan.layout.occupancy);
    if (largest > adapter.limits.maxTextureDimension3D) return null;
    if (plan.grids.length + 1 > adapter.limits.maxSampledTexturesPerShaderStage) return null;
    if (largest > 2048) needed.maxTextureDimension3D = largest;
    if (plan.grids.length + 1 > 16) needed.maxSampledTexturesPerShaderStage = plan.grids.length + 1;
    const device = await adapter.requestDevice({ requiredLimits: needed });
    const context = canvas.getContext("webgpu");
    if (!context) return null;
    return new WebGpu(device, context, plan);
  }

  constructor(device, context, plan) {
    this.kind = "webgpu";
    this.device = device;
    this.context = context;
    this.plan = plan;
    this.ended = false;
    this.lost = device.lost.then(() => !this.ended);
    this.format = navigator.gpu.getPreferredCanvasFormat();
    context.configure({ device, format: this.format, alphaMode: "opaque" });
    this.between = device.createSampler({ magFilter: "linear", minFilter: "linear" });
    const usage = GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST;
    this.view = device.createBuffer({ size: 16 * viewRows(plan), usage });
    this.part = device.createBuffer({ size: 16, usage });
    this.slots = [{}, {}];
    this.target = null;
    this.size = [0, 0];
  }

  /** Compiles the shaders. */
  async compile() {
    const { device, plan } = this;
    const module = device.createShaderModule({ code: computeCode(plan) });
    const screen = device.createShaderModule({ code: present });
    const uniform = plan.weights <= MOST_UNIFORM;
    const entries = [
      { binding: 0, buffer: { type: "uniform" } },
      { binding: 1, buffer: { type: uniform ? "uniform" : "read-only-storage" } },
      { binding: 2, sampler: { type: "filtering" } },
      { binding: 3, texture: { sampleType: "uint", viewDimension: "3d" } },
      { binding: 4, storageTexture: { access: "write-only", format: "rgba8unorm" } },
      ...plan.grids.map((_, i) => ({ binding: 5 + i, texture: { sampleType: "float", viewDimension: "3d" } })),
    ].map((entry) => ({ ...entry, visibility: GPUShaderStage.COMPUTE }));
    this.layout = device.createBindGroupLayout({ entries });
    const layout = device.createPipelineLayout({ bindGroupLayouts: [this.layout] });
    [this.draws, this.presents] = await Promise.all([
      device.createComputePipelineAsync({ layout, compute: { module, entryPoint: "draw" } }),
      device.createRenderPipelineAsync({
        layout: "auto",
        vertex: { module: screen, entryPoint: "corner" },
        fragment: { module: screen, entryPoint: "shown", targets: [{ format: this.format }] },
      }),
    ]);
  }

  fill(number, packed) {
    const { device, plan } = this;
    const slot = this.slots[number];
    const write = (name, size, format, texel, { at, length }) => {
      const known = slot[name];
      if (!known || known.format !== format) {
        known?.destroy();
        const usage = GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_DST;
        slot[name] = device.createTexture({ size, dimension: "3d", format, usage });
        slot.group = null;
      }
      const rows = { offset: at, bytesPerRow: size[0] * texel, rowsPerImage: size[1] };
      device.queue.writeTexture({ texture: slot[name] }, packed.buffer, rows, size);
      return length;
    };
    plan.grids.forEach((grid, i) => {
      const { wide } = packed.grids[i];
      write(`grid${i}`, textureSize(grid), wide ? "rgba16float" : "rgba8snorm", wide ? 8 : 4, packed.grids[i]);
    });
    write("distances", plan.layout.occupancy, "r8uint", 1, packed.distances);
    if (!slot.weights) {
      const kind = plan.weights <= MOST_UNIFORM ? GPUBufferUsage.UNIFORM : GPUBufferUsage.STORAGE;
      slot.weights = device.createBuffer({ size: 16 * plan.weights, usage: kind | GPUBufferUsage.COPY_DST });
    }
    device.queue.writeBuffer(slot.weights, 0, packed.buffer, packed.weights.at, packed.weights.length);
  }

  resize(width, height) {
    this.target?.destroy();
    const usage = GPUTextureUsage.STORAGE_BINDING | GPUTextureUsage.TEXTURE_BINDING | GPUTextureUsage.COPY_SRC;
    this.target = this.device.createTexture({ size: [width, height], format: "rgba8unorm", usage });
    this.size = [width, height];
    for (const slot of this.slots) slot.group = null;
    this.shows = null;
  }

  rows(number, view, first, count) {
    const { device } = this;
    const slot = this.slots[number];
    view[42] = first;
    view[43] = count;
    slot.group ??= device.createBindGroup({
      layout: this.layout,
      entries: [
        { binding: 0, resource: { buffer: this.view } },
        { binding: 1, resource: { buffer: slot.weights } },
        { binding: 2, resource: this.between },
        { binding: 3, resource: slot.distances.createView() },
        { binding: 4, resource: this.target.createView() },
        ...this.plan.grids.map((_, i) => ({ binding: 5 + i, resource: slot[`grid${i}`].createView() })),
      ],
    });
    device.queue.writeBuffer(this.view, 0, view);
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(this.draws);
    pass.setBindGroup(0, slot.group);
    pass.dispatchWorkgroups(Math.ceil(view[40] / EDGE), Math.ceil(count / EDGE));
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  finished() {
    return this.device.queue.onSubmittedWorkDone();
  }

  show(width, height) {
    const { device } = this;
    this.shows ??= device.createBindGroup({
      layout: this.presents.getBindGroupLayout(0),
      entries: [
        { binding: 0, resource: this.target.createView() },
        { binding: 1, resource: this.between },
        { binding: 2, resource: { buffer: this.part } },
      ],
    });
    const [w, h] = this.size;
    device.queue.writeBuffer(this.part, 0, new Float32Array([width / w, height / h, 1 / w, 1 / h]));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginRenderPass({
      colorAttachments: [{ view: this.context.getCurrentTexture().createView(), loadOp: "clear", storeOp: "store" }],
    });
    pass.setPipeline(this.presents);
    pass.setBindGroup(0, this.shows);
    pass.draw(3);
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  async read(width, height) {
    const { device } = this;
    const bytesPerRow = Math.ceil((4 * width) / 256) * 256;
    const usage = GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ;
    const buffer = device.createBuffer({ size: bytesPerRow * height, usage });
    const encoder = device.createCommandEncoder();
    encoder.copyTextureToBuffer({ texture: this.target }, { buffer, bytesPerRow }, [width, height]);
    device.queue.submit([encoder.finish()]);
    await buffer.mapAsync(GPUMapMode.READ);
    const mapped = new Uint8Array(buffer.getMappedRange());
    const pixels = new Uint8Array(4 * width * height);
    for (let row = 0; row < height; row++) {
      pixels.set(mapped.subarray(row * bytesPerRow, row * bytesPerRow + 4 * width), 4 * width * row);
    }
    buffer.destroy();
    return pixels;
  }

  destroy() {
    this.ended = true;
    this.device.destroy();
  }
}
