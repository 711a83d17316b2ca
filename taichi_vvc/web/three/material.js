/**
 * The material that draws a frame in a scene of three.js: the player's own shader, with the camera of the scene, and
 * with the depth of what is seen.
 *
 * @module
 */

import { VIEW_ROWS } from "../renderer/camera.js";
import { glslOf } from "../renderer/glsl.js";
import { textureSize } from "../renderer/plan.js";
import { pictureCode, viewRows } from "../renderer/shader.js";

/** Weights of a row of their texture. */
const ROW = 256;

/**
 * In a whole scene the ray of every pixel is drawn, else those that meet the bounds: once each, at the far sides of the
 * bounds, so that a camera may stand within.
 */
const vertex = (plan) => `
out vec3 place;
flat out vec4 eye;
void main() {
  ${
    plan.whole
      ? `vec4 at = vec4(position.xy, 0.5, 1.0);
  vec4 there = inverse(projectionMatrix * modelViewMatrix) * at;
  place = there.xyz / there.w;
  gl_Position = vec4(position.xy, 0.5, 1.0);`
      : `place = position;
  gl_Position = projectionMatrix * modelViewMatrix * vec4(position, 1.0);`
  }
  // A point, or with w = 0 the direction that an orthographic camera looks along.
  mat4 back = inverse(modelViewMatrix);
  eye = isOrthographic ? vec4(-back[2].xyz, 0.0) : vec4(back[3].xyz, 1.0);
}`;

function fragment(plan) {
  const { lower, cell, shell, occupancy } = plan.layout;
  const grids = plan.grids.map(
    (_, i) => `
uniform sampler3D grid_${i};
vec4 grid${i}(vec3 p) { return textureLod(grid_${i}, p, 0.0); }`,
  );
  const corner = lower.map((low, axis) => low - shell[axis] * cell);
  const vec3 = (values) => `vec3(${values.map((value) => value.toExponential(9)).join(", ")})`;
  return `
precision highp sampler3D;
precision highp usampler3D;
uniform vec4 view[${viewRows(plan)}];
uniform usampler3D distances;
uniform sampler2D weights;
// Those of the vertex shader, which the renderer sets for every camera.
uniform mat4 projectionMatrix;
uniform mat4 modelViewMatrix;
vec4 view_at(int i) { return view[i]; }
vec4 weight_at(int i) { return texelFetch(weights, ivec2(i & ${ROW - 1}, i >> 8), 0); }
float distance_at(ivec3 cell) { return float(texelFetch(distances, cell, 0).x); }
${grids.join("")}
${glslOf(pictureCode(plan))}
in vec3 place;
flat in vec4 eye;
layout(location = 0) out vec4 drawn;
void main() {
  vec3 ray = normalize(eye.w > 0.5 ? place - eye.xyz : eye.xyz);
  vec3 origin = eye.w > 0.5 ? eye.xyz : place - ${(4 * cell * Math.hypot(...occupancy)).toExponential(9)} * ray;
  left = 1.0;
  seen = vec3(0.0);
  travelled = 0.0;
  trace((origin - ${vec3(corner)}) * ${(1 / cell).toExponential(9)}, ray);
  float opacity = 1.0 - left;
  if (opacity < 0.004) discard;
  vec4 clip = projectionMatrix * modelViewMatrix * vec4(origin + ray * (travelled / opacity * CELL), 1.0);
  gl_FragDepth = clamp(0.5 * clip.z / clip.w + 0.5, 0.0, 0.9999999);
  // Light is added up in sRGB, as in all other pictures of the file; the renderer is told linear colours.
  vec3 colour = clamp(seen / opacity, 0.0, 1.0);
  vec3 light = mix(colour / 12.92, pow((colour + 0.055) / 1.055, vec3(2.4)), step(0.04045, colour));
  drawn = linearToOutputTexel(vec4(light, 1.0));
  drawn = vec4(drawn.rgb * opacity, opacity);
}`;
}

/** The textures of a frame, and the material that they are drawn with. */
export class FrameMaterial {
  /**
   * @param {any} THREE the module three
   * @param {import("../renderer/plan.js").Plan} plan
   */
  constructor(THREE, plan) {
    this.THREE = THREE;
    this.plan = plan;
    this.rows = Math.ceil(plan.weights / ROW);
    this.padded = new Float32Array(4 * ROW * this.rows);
    this.textures = plan.grids.map(() => null);
    this.weights = new THREE.DataTexture(this.padded, ROW, this.rows, THREE.RGBAFormat, THREE.FloatType);
    this.distances = this.volume(plan.layout.occupancy, null, THREE.RedIntegerFormat, THREE.UnsignedByteType, "R8UI");
    this.distances.minFilter = this.distances.magFilter = THREE.NearestFilter;
    const uniforms = {
      view: { value: new Float32Array(4 * viewRows(plan)) },
      weights: { value: this.weights },
      distances: { value: this.distances },
    };
    plan.grids.forEach((_, i) => (uniforms[`grid_${i}`] = { value: null }));
    this.material = new THREE.ShaderMaterial({
      name: "tvvc",
      glslVersion: THREE.GLSL3,
      vertexShader: vertex(plan),
      fragmentShader: fragment(plan),
      uniforms,
      side: plan.whole ? THREE.DoubleSide : THREE.BackSide,
      // Drawn after all that is opaque, whose depth it is compared with.
      transparent: true,
      premultipliedAlpha: true,
      toneMapped: false,
      fog: false,
    });
  }

  volume(size, data, format, type, internal) {
    const texture = new this.THREE.Data3DTexture(data, ...size);
    Object.assign(texture, { format, type, internalFormat: internal, unpackAlignment: 1, generateMipmaps: false });
    return texture;
  }

  /**
   * Shows a frame. Its buffer is read when the scene is drawn next, so that it must stay until another is shown.
   *
   * @param {import("../renderer/pack.js").Packed} packed
   */
  fill(packed) {
    const { THREE, plan, material } = this;
    plan.grids.forEach((grid, i) => {
      const { wide, at, length } = packed.grids[i];
      const data = wide ? new Uint16Array(packed.buffer, at, length / 2) : new Int8Array(packed.buffer, at, length);
      const kind = wide ? THREE.HalfFloatType : THREE.ByteType;
      let texture = this.textures[i];
      if (texture?.type !== kind) {
        texture?.dispose();
        texture = this.volume(textureSize(grid), null, THREE.RGBAFormat, kind, wide ? "RGBA16F" : "RGBA8_SNORM");
        texture.minFilter = texture.magFilter = THREE.LinearFilter;
        this.textures[i] = texture;
        material.uniforms[`grid_${i}`].value = texture;
      }
      texture.image.data = data;
      texture.needsUpdate = true;
    });
    const { at, length } = packed.distances;
    this.distances.image.data = new Uint8Array(packed.buffer, at, length);
    this.distances.needsUpdate = true;
    this.padded.set(new Float32Array(packed.buffer, packed.weights.at, packed.weights.length / 4));
    this.weights.needsUpdate = true;
    material.uniforms.view.value.set(packed.scales, 4 * VIEW_ROWS);
    material.uniformsNeedUpdate = true;
  }

  dispose() {
    for (const texture of [...this.textures, this.distances, this.weights]) texture?.dispose();
    this.material.dispose();
  }
}
