/**
 * What the element consists of.
 *
 * @module
 */

import { icon } from "./icons.js";
import { KEYS } from "./keys.js";

const button = (name, label, picture = name) =>
  `<button type="button" class="${name}" aria-label="${label}" title="${label}">${icon(picture)}</button>`;

const keys = KEYS.map(([key, text]) => `<dt>${key.replace(/</g, "&lt;")}</dt><dd>${text}</dd>`).join("");

export const MARKUP = `
<div class="stage" tabindex="0" role="application" aria-label="Scene in three dimensions. Shift and arrow keys turn it.">
  <div class="picture"></div>
  <img class="poster" alt="" hidden>
</div>
<div class="spinner" role="status" hidden><i></i><span></span></div>
<button type="button" class="begin" aria-label="Play" hidden>${icon("play")}</button>
<div class="problem" role="alert" hidden></div>
<div class="notice" role="status"></div>
<section class="keys" role="dialog" aria-label="Keys" hidden>
  <h2>Keys</h2><dl>${keys}</dl>
  <p>Drag to orbit; right button or two fingers move; wheel or pinch zooms.</p>
  <button type="button" class="done">Close</button>
</section>
<div class="controls" hidden>
  <div class="time">
    <div class="bars"></div>
    <div class="track"><i></i></div>
    <input type="range" min="0" max="0" step="1" value="0" aria-label="Time">
    <div class="tip" aria-hidden="true"></div>
  </div>
  <div class="row">
    ${button("play", "Play (space)")}
    ${button("back", "Previous frame (,)")}
    ${button("next", "Next frame (.)")}
    <span class="clock"><b>0:00.00</b> <span>/ 0:00.00</span></span>
    <span class="fill"></span>
    <div class="anchor"><button type="button" class="rate" aria-label="Speed" title="Speed">1×</button><div class="menu" hidden></div></div>
    ${button("sound", "Sound (s)")}
    ${button("loop", "Loop (l)")}
    <div class="anchor">${button("camera", "Cameras of the capture")}<div class="menu" hidden></div></div>
    <div class="anchor">${button("settings", "Settings")}<div class="menu" hidden></div></div>
    ${button("reset", "First view (r)")}
    ${button("link", "Copy a link to this view")}
    ${button("help", "Keys (?)")}
    ${button("full", "Full screen (f)")}
  </div>
</div>`;
