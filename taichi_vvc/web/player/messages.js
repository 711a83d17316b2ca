/**
 * One clear line for whatever goes wrong.
 *
 * @module
 */

/** @param {{name: string, message: string, number?: number}} error */
export function lineOf({ name, message, number = -1 }) {
  switch (name) {
    case "NoRenderer":
      return "This browser cannot draw the scene: it offers neither WebGPU nor WebGL 2 here. Another browser, or hardware acceleration in this one's settings, may help.";
    case "NotATvvcFile":
      return "This is not a .tvvc file.";
    case "UnsupportedVersion":
      return "This file was made by a newer version of taichi_vvc than this player's.";
    case "MemoryLimitExceeded":
      return "This file takes more memory than this player may use.";
    case "SourceError":
      return `The file cannot be loaded: ${message}`;
    case "CorruptStream":
    case "TruncatedStream":
      return number >= 0 ? `The file is damaged at frame ${number + 1}.` : "The file is damaged, and cannot be played.";
    default:
      return `The scene cannot be shown: ${message}`;
  }
}

/** Numbers of `error.code` as media elements have them: 2 network, 3 decoding, 4 not to be used. */
export function codeOf({ name, number = -1 }) {
  if (name === "SourceError") return 2;
  return number >= 0 ? 3 : 4;
}
