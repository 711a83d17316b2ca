/**
 * Translates the subset of WGSL in which `shader.js` is written to GLSL ES 3.00.
 *
 * @module
 */

const TYPES = {
  f32: "float",
  i32: "int",
  bool: "bool",
  vec2f: "vec2",
  vec3f: "vec3",
  vec4f: "vec4",
  vec3i: "ivec3",
};

const type = (name) => {
  if (!(name in TYPES)) throw new Error(`no type ${name} in GLSL`);
  return TYPES[name];
};

/** What WGSL has and GLSL does not. */
const MISSING = `
float select(float no, float yes, bool which) { return which ? yes : no; }
vec3 select(vec3 no, vec3 yes, bool which) { return which ? yes : no; }
`;

/**
 * @param {string} wgsl
 * @returns {string}
 */
export function glslOf(wgsl) {
  const translated = wgsl
    .replace(/\bfn (\w+)\(([^)]*)\)(?: -> (\w+))?/g, (_, name, parameters, result) => {
      const list = parameters.split(",").filter((part) => part.trim());
      const typed = list.map((part) => {
        const [label, kind] = part.split(":").map((word) => word.trim());
        return `${type(kind)} ${label}`;
      });
      return `${result ? type(result) : "void"} ${name}(${typed.join(", ")})`;
    })
    .replace(/\bvar(?:<private>)? (\w+): array<(\w+), (\d+)>/g, (_, name, kind, count) => `${type(kind)} ${name}[${count}]`)
    .replace(/\bconst (\w+): (\w+)/g, (_, name, kind) => `const ${type(kind)} ${name}`)
    .replace(/\b(?:let|var)(?:<private>)? (\w+): (\w+)/g, (_, name, kind) => `${type(kind)} ${name}`)
    .replace(/\b(f32|i32|vec2f|vec3f|vec4f|vec3i)\(/g, (_, kind) => `${type(kind)}(`);
  const left = translated.match(/\b(?:fn|let|var|f32|i32|vec\df|vec\di)\b/);
  if (left) throw new Error(`not translated to GLSL: ${left[0]}`);
  return MISSING + translated;
}
