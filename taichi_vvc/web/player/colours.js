/**
 * Colours of the page as numbers.
 *
 * @module
 */

/**
 * sRGB in 0..1 of any CSS colour, or null where it is none.
 *
 * @param {string | null} text
 * @returns {number[] | null}
 */
export function colourOf(text) {
  if (!text || !CSS.supports("color", text)) return null;
  const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d");
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)].map((value) => value / 255);
}
