/**
 * Keys, as in video players; with Shift, arrows orbit.
 *
 * @module
 */

/** What `?` shows: keys and what they do. */
export const KEYS = [
  ["Space, k", "play or pause"],
  ["\u2190 \u2192", "back or on by a second"],
  [", .", "previous or next frame"],
  ["Home, End", "first or last frame"],
  ["< >", "slower or faster"],
  ["l", "loop"],
  ["s", "sound on or off"],
  ["Shift + arrows", "orbit"],
  ["+ \u2212", "nearer or farther"],
  ["c, Shift + c", "next or previous camera of the capture"],
  ["r", "first view"],
  ["m", "colour, depth, opacity"],
  ["f", "full screen"],
  ["?", "this list"],
];

/** Radians that a key turns by. */
const TURN = Math.PI / 36;
const ZOOM = 1.12;
const SECONDS = 1;

/**
 * Does what a key stands for; whether it stands for anything.
 *
 * @param {KeyboardEvent} event
 * @param {any} player the element
 */
export function pressKey(event, player) {
  if (event.ctrlKey || event.metaKey || event.altKey) return false;
  const { core } = player;
  const turn = (right, down) => {
    core.view?.orbit(right * TURN, down * TURN);
    core.move();
  };
  const zoom = (factor) => {
    core.view?.zoom(factor);
    core.move();
  };
  const actions = {
    " ": () => player.toggle(),
    k: () => player.toggle(),
    ArrowLeft: () => (event.shiftKey ? turn(1, 0) : player.skip(-SECONDS)),
    ArrowRight: () => (event.shiftKey ? turn(-1, 0) : player.skip(SECONDS)),
    ArrowUp: event.shiftKey ? () => turn(0, 1) : null,
    ArrowDown: event.shiftKey ? () => turn(0, -1) : null,
    ",": () => player.step(-1),
    ".": () => player.step(1),
    Home: () => player.step(-Infinity),
    End: () => player.step(Infinity),
    "<": () => player.changeRate(-1),
    ">": () => player.changeRate(1),
    l: () => player.toggleLoop(),
    s: () => player.toggleSound(),
    "+": () => zoom(ZOOM),
    "=": () => zoom(ZOOM),
    "-": () => zoom(1 / ZOOM),
    c: () => player.nextCamera(1),
    C: () => player.nextCamera(-1),
    r: () => player.resetView(),
    m: () => player.nextMode(),
    f: () => player.toggleFullScreen(),
    "?": () => player.toggleHelp(),
  };
  const action = actions[event.key];
  if (!action) return false;
  action();
  return true;
}
