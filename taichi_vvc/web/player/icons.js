/**
 * The controls' pictures, 24 units wide, drawn with the colour of the text.
 *
 * @module
 */

const filled = (path) => `<path fill="currentColor" d="${path}"/>`;
const line = (path) =>
  `<path fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round" d="${path}"/>`;

const DRAWN = {
  play: filled("M8 5.2v13.6c0 .8.9 1.3 1.6.8l10-6.8c.6-.4.6-1.2 0-1.6l-10-6.8C8.9 3.9 8 4.4 8 5.2z"),
  pause: filled("M7.5 5h2.5c.6 0 1 .4 1 1v12c0 .6-.4 1-1 1H7.5c-.6 0-1-.4-1-1V6c0-.6.4-1 1-1zM14 5h2.5c.6 0 1 .4 1 1v12c0 .6-.4 1-1 1H14c-.6 0-1-.4-1-1V6c0-.6.4-1 1-1z"),
  replay: line("M5 12a7 7 0 1 0 2.3-5.2M5 4v4h4"),
  sound: filled("M4 9.5v5h3.4l4.6 4V5.5l-4.6 4z") + line("M15.5 9a4.5 4.5 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11"),
  mute: filled("M4 9.5v5h3.4l4.6 4V5.5l-4.6 4z") + line("M15.5 9.5l5 5M20.5 9.5l-5 5"),
  back: filled("M15.5 7v10l-7-5z") + line("M6.5 7v10"),
  next: filled("M8.5 7v10l7-5z") + line("M17.5 7v10"),
  loop: line("M4.5 11V9.5a3 3 0 0 1 3-3h12l-3-3M19.5 13v1.5a3 3 0 0 1-3 3h-12l3 3"),
  camera: line("M4 8.5h2.6L8 6h8l1.4 2.5H20a1 1 0 0 1 1 1V18a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V9.5a1 1 0 0 1 1-1zM12 16.2a3 3 0 1 0 0-6 3 3 0 0 0 0 6z"),
  settings: line("M4 7h8M17 7h3M4 17h3M12 17h8M14.5 9.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4zM9.5 19.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4z"),
  link: line("M10 14a4 4 0 0 0 5.7.3l2.8-2.8a4 4 0 0 0-5.7-5.7l-1 1M14 10a4 4 0 0 0-5.7-.3l-2.8 2.8a4 4 0 0 0 5.7 5.7l1-1"),
  full: line("M4 9V5a1 1 0 0 1 1-1h4M20 9V5a1 1 0 0 0-1-1h-4M4 15v4a1 1 0 0 0 1 1h4M20 15v4a1 1 0 0 1-1 1h-4"),
  small: line("M9 4v4a1 1 0 0 1-1 1H4M15 4v4a1 1 0 0 0 1 1h4M9 20v-4a1 1 0 0 0-1-1H4M15 20v-4a1 1 0 0 1 1-1h4"),
  reset: line("M4 11l8-7 8 7M6.5 9.5V19a1 1 0 0 0 1 1h9a1 1 0 0 0 1-1V9.5"),
  help: line("M9.2 9.2a2.9 2.9 0 1 1 4.3 2.6c-.9.5-1.5 1.1-1.5 2.2M12 17.2v.1M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18z"),
};

/** An icon as markup, hidden from screen readers: what it stands for is said by its button. */
export function icon(name) {
  return `<svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" focusable="false">${DRAWN[name]}</svg>`;
}
