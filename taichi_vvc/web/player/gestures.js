/**
 * Mouse, touch and pen on the stage: orbit, move and zoom.
 *
 * @module
 */

/** A drag across the stage's height turns by so much, radians. */
const TURN = Math.PI;
/** A pointer that moves less than this has clicked, pixels. */
const STILL = 5;
/** A click is no longer than this, ms. */
const BRIEF = 350;

/**
 * @param {HTMLElement} stage
 * @param {object} to
 * @param {() => import("./view.js").View | undefined} to.view
 * @param {() => void} to.moved
 * @param {(event: PointerEvent) => void} to.clicked
 * @param {() => boolean} to.takesWheel whether the wheel zooms, rather than scrolls the page
 */
export function watchGestures(stage, { view, moved, clicked, takesWheel }) {
  const pointers = new Map();
  let pressed = null;

  const middle = () => {
    const all = [...pointers.values()];
    const x = all.reduce((sum, p) => sum + p.x, 0) / all.length;
    const y = all.reduce((sum, p) => sum + p.y, 0) / all.length;
    const spread = all.length > 1 ? Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y) : 0;
    return { x, y, spread };
  };

  stage.addEventListener("pointerdown", (event) => {
    if (event.button > 2) return;
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const { clientX: x, clientY: y } = event;
    pressed = pointers.size === 1 ? { x, y, time: performance.now(), still: true, button: event.button } : null;
  });

  stage.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    const look = view();
    if (!pointer || !look) return;
    const before = middle();
    pointer.x = event.clientX;
    pointer.y = event.clientY;
    if (pressed?.still) {
      pressed.still = Math.hypot(pointer.x - pressed.x, pointer.y - pressed.y) < STILL;
      if (pressed.still) return;
      stage.classList.add("held");
    }
    const after = middle();
    const height = stage.clientHeight || 1;
    const right = (after.x - before.x) / height;
    const down = (after.y - before.y) / height;
    if (pointers.size > 1) {
      look.pan(right, down);
      if (before.spread > 0 && after.spread > 0) look.zoom(after.spread / before.spread);
    } else if (event.buttons & 6 || event.shiftKey || event.ctrlKey) {
      look.pan(right, down);
    } else {
      look.orbit(right * TURN, down * TURN);
    }
    moved();
  });

  const release = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    stage.classList.remove("held");
    const brief = pressed?.still && performance.now() - pressed.time < BRIEF && pressed.button === 0;
    if (event.type === "pointerup" && brief) clicked(event);
    pressed = null;
  };
  for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) stage.addEventListener(name, release);
  stage.addEventListener("contextmenu", (event) => event.preventDefault());

  stage.addEventListener(
    "wheel",
    (event) => {
      const look = view();
      if (!look || !(takesWheel() || event.ctrlKey)) return;
      event.preventDefault();
      const lines = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1);
      look.zoom(Math.exp(-Math.max(-240, Math.min(240, lines)) * (event.ctrlKey ? 0.01 : 0.0018)));
      moved();
    },
    { passive: false },
  );
}
