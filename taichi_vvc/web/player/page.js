/**
 * The page around one player: time and view come from the address, and the whole window is the stage.
 *
 * @module
 */

import "./element.js";
import { applyFragment } from "./controls.js";

const player = document.querySelector("tvvc-player");
applyFragment(player, location.hash);
addEventListener("hashchange", () => applyFragment(player, location.hash));
player.addEventListener("loadedmetadata", () => player.shadowRoot.querySelector(".stage").focus({ preventScroll: true }));
