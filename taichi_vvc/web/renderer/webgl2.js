/**
 * Draws with WebGL 2: a fragment shader marches the rays, one fragment per pixel.
 *
 * @module
 */

import { glslOf } from "./glsl.js";
import { textureSize } from "./plan.js";
import { pictureCode, viewRows } from "./shader.js";

const head = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler3D;
precision highp usampler3D;
precision highp sampler2D;
`;

const corners = `#version 300 es
out vec2 at;
void main() {
  at = vec2((gl_VertexID << 1) & 2, gl_VertexID & 2);
  gl_Position = vec4(2.0 * at - 1.0, 0.0, 1.0);
}`;

// Row 0 of a drawn picture is its upper one, and the lowest of the texture.
const present = `${head}
uniform sampler2D drawn;
uniform vec4 part;
in vec2 at;
out vec4 colour;
void main() {
  vec2 edge = 0.5 * part.zw;
  vec2 place = vec2(at.x, 1.0 - at.y) * part.xy;
  colour = vec4(textureLod(drawn, clamp(place, edge, part.xy - edge), 0.0).rgb, 1.0);
}`;

function drawCode(plan, uniform) {
  const grids = plan.grids.map(
    (_, i) => `
uniform sampler3D texture${i};
vec4 grid${i}(vec3 p) { return textureLod(texture${i}, p, 0.0); }`,
  );
  // Weights that do not fit a uniform block lie in the rows of a texture.
  const weights = uniform
    ? `layout(std140) uniform Weights { vec4 weights[${plan.weights}]; };
vec4 weight_at(int i) { return weights[i]; }`
    : `uniform sampler2D weights;
vec4 weight_at(int i) { return texelFetch(weights, ivec2(i & 255, i >> 8), 0); }`;
  return `${head}
uniform vec4 view[${viewRows(plan)}];
uniform usampler3D distances;
vec4 view_at(int i) { return view[i]; }
${weights}
float distance_at(ivec3 cell) { return float(texelFetch(distances, cell, 0).x); }
${grids.join("")}
${glslOf(pictureCode(plan))}
out vec4 drawn;
void main() { drawn = picture(floor(gl_FragCoord.x), floor(gl_FragCoord.y)); }`;
}

/** One kind of drawing: see `renderer.js` for what the methods do. */
export class WebGl2 {
  /** The context, or null where there is none. */
  static async create(canvas, plan) {
    const options = { alpha: false, antialias: false, depth: false, powerPreference: "high-performance" };
    const gl = canvas.getContext("webgl2", options);
    if (!gl) return null;
    const sides = plan.grids.map((grid) => Math.max(...textureSize(grid)));
    if (Math.max(...sides, ...plan.layout.occupancy) > gl.getParameter(gl.MAX_3D_TEXTURE_SIZE)) return null;
    if (plan.grids.length + 2 > gl.getParameter(gl.MAX_TEXTURE_IMAGE_UNITS)) return null;
    return new WebGl2(gl, canvas, plan);
  }

  constructor(gl, canvas, plan) {
    this.kind = "webgl2";
    this.gl = gl;
    this.plan = plan;
    this.canvas = canvas;
    this.ended = false;
    this.lost = new Promise((resolve) => {
      canvas.addEventListener(
        "webglcontextlost",
        (event) => {
          event.preventDefault();
          resolve(!this.ended);
        },
        { once: true },
      );
    });
    this.uniform = 16 * plan.weights <= gl.getParameter(gl.MAX_UNIFORM_BLOCK_SIZE);
    this.slots = [{}, {}];
    this.size = [0, 0];
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    gl.bindVertexArray(gl.createVertexArray());
  }

  /** Compiles the shaders. */
  async compile() {
    const { gl } = this;
    // Where the extension is, other work goes on while the driver compiles.
    const parallel = gl.getExtension("KHR_parallel_shader_compile");
    const programs = [drawCode(this.plan, this.uniform), present].map((code) => {
      const program = gl.createProgram();
      const shaders = [
        [gl.VERTEX_SHADER, corners],
        [gl.FRAGMENT_SHADER, code],
      ].map(([kind, text]) => {
        const shader = gl.createShader(kind);
        gl.shaderSource(shader, text);
        gl.compileShader(shader);
        gl.attachShader(program, shader);
        return shader;
      });
      gl.linkProgram(program);
      return { program, shaders };
    });
    for (const { program, shaders } of programs) {
      while (parallel && !gl.isContextLost() && !gl.getProgramParameter(program, parallel.COMPLETION_STATUS_KHR)) {
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      if (!gl.getProgramParameter(program, gl.LINK_STATUS) && !gl.isContextLost()) {
        throw new Error(`shader: ${gl.getShaderInfoLog(shaders[1]) || gl.getProgramInfoLog(program)}`);
      }
    }
    [this.draws, this.presents] = programs.map(({ program }) => program);
    const place = (program, name) => gl.getUniformLocation(program, name);
    this.view = place(this.draws, "view");
    this.part = place(this.presents, "part");
    gl.useProgram(this.draws);
    // Units: the grids', then distances, then weights.
    this.plan.grids.forEach((_, i) => gl.uniform1i(place(this.draws, `texture${i}`), i));
    gl.uniform1i(place(this.draws, "distances"), this.plan.grids.length);
    if (this.uniform) gl.uniformBlockBinding(this.draws, gl.getUniformBlockIndex(this.draws, "Weights"), 0);
    else gl.uniform1i(place(this.draws, "weights"), this.plan.grids.length + 1);
  }

  texture(kind, filter) {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(kind, texture);
    gl.texParameteri(kind, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(kind, gl.TEXTURE_MAG_FILTER, filter);
    for (const axis of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) {
      gl.texParameteri(kind, axis, gl.CLAMP_TO_EDGE);
    }
    return texture;
  }

  fill(number, packed) {
    const { gl, plan } = this;
    const slot = this.slots[number];
    // Not one of the units that the slot on show is bound to.
    gl.activeTexture(gl.TEXTURE0 + plan.grids.length + 1);
    const write = (name, size, [inner, format, type], filter, data) => {
      const known = slot[name];
      if (!known || known.inner !== inner) {
        if (known) gl.deleteTexture(known.texture);
        slot[name] = { texture: this.texture(gl.TEXTURE_3D, filter), inner };
        gl.texStorage3D(gl.TEXTURE_3D, 1, inner, ...size);
      } else {
        gl.bindTexture(gl.TEXTURE_3D, known.texture);
      }
      gl.texSubImage3D(gl.TEXTURE_3D, 0, 0, 0, 0, ...size, format, type, data);
    };
    plan.grids.forEach((grid, i) => {
      const { wide, at, length } = packed.grids[i];
      const kind = wide ? [gl.RGBA16F, gl.RGBA, gl.HALF_FLOAT] : [gl.RGBA8_SNORM, gl.RGBA, gl.BYTE];
      const data = wide ? new Uint16Array(packed.buffer, at, length / 2) : new Int8Array(packed.buffer, at, length);
      write(`grid${i}`, textureSize(grid), kind, gl.LINEAR, data);
    });
    const { at, length } = packed.distances;
    const bytes = new Uint8Array(packed.buffer, at, length);
    write("distances", plan.layout.occupancy, [gl.R8UI, gl.RED_INTEGER, gl.UNSIGNED_BYTE], gl.NEAREST, bytes);
    const weights = new Float32Array(packed.buffer, packed.weights.at, packed.weights.length / 4);
    if (this.uniform) {
      slot.weights ??= gl.createBuffer();
      gl.bindBuffer(gl.UNIFORM_BUFFER, slot.weights);
      gl.bufferData(gl.UNIFORM_BUFFER, weights, gl.DYNAMIC_DRAW);
      return;
    }
    const rows = Math.ceil(plan.weights / 256);
    slot.padded ??= new Float32Array(4 * 256 * rows);
    slot.padded.set(weights);
    if (slot.weights) {
      gl.bindTexture(gl.TEXTURE_2D, slot.weights);
    } else {
      slot.weights = this.texture(gl.TEXTURE_2D, gl.NEAREST);
      gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32F, 256, rows);
    }
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 256, rows, gl.RGBA, gl.FLOAT, slot.padded);
    gl.bindTexture(gl.TEXTURE_2D, null);
  }

  resize(width, height) {
    const { gl } = this;
    if (this.target) gl.deleteTexture(this.target);
    gl.activeTexture(gl.TEXTURE0 + this.plan.grids.length + 1);
    this.target = this.texture(gl.TEXTURE_2D, gl.LINEAR);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA8, width, height);
    gl.bindTexture(gl.TEXTURE_2D, null);
    this.frame ??= gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.target, 0);
    this.size = [width, height];
  }

  rows(number, view, first, count) {
    const { gl, plan } = this;
    const slot = this.slots[number];
    gl.useProgram(this.draws);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    const bind = (unit, kind, texture) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(kind, texture);
    };
    plan.grids.forEach((_, i) => bind(i, gl.TEXTURE_3D, slot[`grid${i}`].texture));
    bind(plan.grids.length, gl.TEXTURE_3D, slot.distances.texture);
    if (this.uniform) gl.bindBufferBase(gl.UNIFORM_BUFFER, 0, slot.weights);
    else bind(plan.grids.length + 1, gl.TEXTURE_2D, slot.weights);
    gl.uniform4fv(this.view, view);
    gl.viewport(0, first, view[40], count);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    if (!this.uniform) bind(plan.grids.length + 1, gl.TEXTURE_2D, null);
  }

  finished() {
    const { gl } = this;
    const fence = gl.fenceSync(gl.SYNC_GPU_COMMANDS_COMPLETE, 0);
    gl.flush();
    return new Promise((resolve) => {
      const look = () => {
        const state = gl.isContextLost() ? gl.ALREADY_SIGNALED : gl.clientWaitSync(fence, 0, 0);
        if (state === gl.TIMEOUT_EXPIRED) {
          setTimeout(look, 1);
          return;
        }
        gl.deleteSync(fence);
        resolve();
      };
      look();
    });
  }

  show(width, height) {
    const { gl, canvas } = this;
    const [w, h] = this.size;
    gl.useProgram(this.presents);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.target);
    gl.viewport(0, 0, canvas.width, canvas.height);
    gl.uniform4f(this.part, width / w, height / h, 1 / w, 1 / h);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.bindTexture(gl.TEXTURE_2D, null);
  }

  async read(width, height) {
    const { gl } = this;
    const pixels = new Uint8Array(4 * width * height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    return pixels;
  }

  destroy() {
    this.ended = true;
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }
}
