/**
 * How the element looks. Colours follow the page's colour scheme; a page may set the variables that begin with --tvvc.
 *
 * @module
 */

export const STYLES = `
:host {
  --accent: var(--tvvc-accent, light-dark(#2f5bea, #8ab0ff));
  --key: var(--tvvc-key, light-dark(#d9730d, #ffb35c));
  --text: light-dark(#16181d, #f2f4f8);
  --quiet: light-dark(#555c69, #a9b1bf);
  --glass: light-dark(rgb(255 255 255 / .86), rgb(22 25 31 / .84));
  --edge: light-dark(rgb(20 24 32 / .13), rgb(255 255 255 / .12));
  --hover: light-dark(rgb(20 24 32 / .08), rgb(255 255 255 / .12));
  display: block; position: relative; overflow: hidden; container-type: size;
  aspect-ratio: 16 / 9; min-width: 120px; min-height: 90px;
  color: var(--text); font: 13px/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  touch-action: pan-y; -webkit-tap-highlight-color: transparent;
}
:host([hidden]) { display: none; }
:host(:fullscreen) { aspect-ratio: auto; }
[hidden] { display: none !important; }
.stage, .picture, canvas, .poster { position: absolute; inset: 0; width: 100%; height: 100%; }
.stage { outline: none; cursor: grab; touch-action: inherit; user-select: none; background: var(--scene, #fff); }
.stage.held { cursor: grabbing; }
.stage:focus-visible::after {
  content: ""; position: absolute; inset: 2px; border: 2px solid var(--accent); border-radius: 4px; pointer-events: none;
}
canvas { display: block; pointer-events: none; }
.poster { object-fit: contain; pointer-events: none; transition: opacity .25s; }
.poster.gone { opacity: 0; }
button { font: inherit; color: inherit; border: 0; background: none; cursor: pointer; }
button:focus-visible, input:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }

.begin {
  position: absolute; left: 50%; top: 50%; width: 76px; height: 76px; margin: -38px 0 0 -38px; border-radius: 50%;
  background: var(--glass); border: 1px solid var(--edge); backdrop-filter: blur(10px);
  box-shadow: 0 6px 24px rgb(0 0 0 / .18); display: grid; place-items: center; transition: transform .15s;
}
.begin:hover { transform: scale(1.06); }
.begin svg { width: 38px; height: 38px; }

.spinner {
  position: absolute; left: 50%; top: 50%; transform: translate(-50%, -50%); display: grid; justify-items: center; gap: 10px;
  pointer-events: none;
}
.spinner i {
  width: 42px; height: 42px; border-radius: 50%; border: 4px solid var(--edge); border-top-color: var(--accent);
  animation: turn .9s linear infinite;
}
.spinner span:not(:empty) { padding: 2px 9px; border-radius: 9px; background: var(--glass); font-variant-numeric: tabular-nums; }
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: reduce) { .spinner i { animation-duration: 3s; } .poster, .controls { transition: none !important; } }

.problem {
  position: absolute; left: 50%; top: 50%; transform: translate(-50%, -50%); width: max-content; max-width: min(84%, 460px);
  padding: 14px 18px; border-radius: 12px; background: var(--glass); border: 1px solid var(--edge); text-align: center;
  font-size: 14px; backdrop-filter: blur(10px); box-shadow: 0 8px 30px rgb(0 0 0 / .16);
}
.notice {
  position: absolute; left: 50%; top: 14px; transform: translateX(-50%); padding: 5px 13px; border-radius: 15px;
  background: var(--glass); border: 1px solid var(--edge); pointer-events: none; white-space: nowrap;
  max-width: calc(100% - 40px); overflow: hidden; text-overflow: ellipsis;
}
.notice:empty { display: none; }

.keys {
  position: absolute; left: 50%; top: 50%; transform: translate(-50%, -50%); max-height: 92%; overflow: auto; z-index: 3;
  width: min(92%, 400px); box-sizing: border-box; padding: 16px 22px; border-radius: 14px; background: var(--glass);
  border: 1px solid var(--edge); backdrop-filter: blur(14px); box-shadow: 0 10px 40px rgb(0 0 0 / .22);
}
.keys h2 { margin: 0 0 8px; font-size: 15px; }
.keys dl { display: grid; grid-template-columns: max-content 1fr; gap: 3px 16px; margin: 0; }
.keys dt { font-weight: 600; } .keys dd { margin: 0; color: var(--quiet); }
.keys p { color: var(--quiet); margin: 10px 0; }
.done { padding: 6px 14px; border-radius: 8px; background: var(--hover); }

.controls {
  position: absolute; left: 12px; right: 12px; bottom: 12px; max-width: 980px; margin: 0 auto; padding: 8px 10px 5px;
  border-radius: 14px;
  background: var(--glass); border: 1px solid var(--edge); backdrop-filter: blur(14px) saturate(1.3);
  box-shadow: 0 6px 28px rgb(0 0 0 / .16); transition: opacity .25s, transform .25s; z-index: 2;
}
:host(.idle) .controls:not(:focus-within):not(:hover) { opacity: 0; transform: translateY(6px); pointer-events: none; }
:host(.idle) .stage { cursor: none; }
.row { display: flex; align-items: center; gap: 2px; margin-top: 2px; }
.row button { height: 36px; min-width: 36px; padding: 0 7px; border-radius: 9px; display: grid; place-items: center; }
.row button:hover { background: var(--hover); }
.row button[aria-pressed="true"] { color: var(--accent); }
.row .play svg { width: 28px; height: 28px; }
.rate { font-weight: 600; font-variant-numeric: tabular-nums; }
.clock { padding: 0 8px; font-variant-numeric: tabular-nums; white-space: nowrap; }
.clock b { font-weight: 600; } .clock span { color: var(--quiet); }
.fill { flex: 1; }

.time { position: relative; height: 34px; --part: 0; margin: 0 4px; }
.bars { position: absolute; left: 7px; right: 7px; top: 0; bottom: 14px; }
.bars svg { width: 100%; height: 100%; display: block; }
.bars .inter { fill: light-dark(#9fb2e6, #5f76b4); } .bars .key { fill: var(--key); }
.track { position: absolute; left: 7px; right: 7px; bottom: 7px; height: 4px; border-radius: 2px; background: var(--hover); }
.track::before {
  content: ""; position: absolute; inset: 0 auto 0 0; width: calc(var(--loaded, 0) * 100%); border-radius: 2px;
  background: light-dark(rgb(20 24 32 / .16), rgb(255 255 255 / .22));
}
.track i { position: absolute; inset: 0 auto 0 0; width: calc(var(--part) * 100%); border-radius: 2px; background: var(--accent); }
.time input {
  position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; appearance: none; background: none; cursor: pointer;
  border-radius: 6px; touch-action: none;
}
.time input::-webkit-slider-runnable-track { height: 100%; background: none; }
.time input::-moz-range-track { height: 100%; background: none; }
.time input::-webkit-slider-thumb {
  appearance: none; width: 14px; height: 14px; border-radius: 50%; margin-top: 18px; background: var(--accent);
  border: 2px solid light-dark(#fff, #16191f); box-shadow: 0 1px 4px rgb(0 0 0 / .3);
}
.time input::-moz-range-thumb {
  width: 10px; height: 10px; border-radius: 50%; background: var(--accent); border: 2px solid light-dark(#fff, #16191f);
  transform: translateY(8px);
}
.tip {
  position: absolute; bottom: 40px; transform: translateX(-50%); padding: 3px 9px; border-radius: 8px; white-space: nowrap;
  background: var(--glass); border: 1px solid var(--edge); opacity: 0; pointer-events: none; transition: opacity .12s;
  font-variant-numeric: tabular-nums;
}
.tip.seen { opacity: 1; }

.anchor { position: relative; }
.menu {
  position: absolute; right: 0; bottom: 44px; min-width: 180px; max-height: min(330px, calc(100cqh - 120px)); overflow: auto;
  padding: 6px; border-radius: 12px; background: light-dark(#fff, #1d2129); border: 1px solid var(--edge);
  box-shadow: 0 10px 36px rgb(0 0 0 / .24); overscroll-behavior: contain;
}
.menu .title { padding: 6px 10px 3px; font-size: 11px; font-weight: 600; color: var(--quiet); }
.row .menu button {
  display: flex; align-items: center; gap: 8px; width: 100%; height: 32px; padding: 0 10px; text-align: left; border-radius: 8px;
}
.menu .label { flex: 1; white-space: nowrap; } .menu .note { color: var(--quiet); font-size: 12px; }
.menu .mark { width: 8px; height: 8px; border-radius: 50%; flex: none; }
.menu .mark.train { background: var(--accent); opacity: .35; } .menu .mark.test { background: var(--key); opacity: .5; }
.menu [aria-checked="true"] { background: var(--hover); font-weight: 600; }
.menu [aria-checked="true"] .mark { background: var(--accent); opacity: 1; }

@container (max-width: 620px) {
  .controls { left: 6px; right: 6px; bottom: max(6px, env(safe-area-inset-bottom)); padding: 6px 6px 2px; }
  .row { gap: 0; justify-content: space-between; }
  .row > .back, .row > .next, .row > .help, .row > .loop, .clock span { display: none; }
  .row button { min-width: 42px; height: 42px; }
  .row .menu button { height: 40px; }
  .clock { padding: 0 4px; }
  .anchor { position: static; }
  .menu { left: 6px; right: 6px; bottom: 92px; }
}
@container (max-width: 330px) { .row > .reset, .row > .link { display: none; } }
@container (max-height: 190px) { .bars { display: none; } .time { height: 16px; } .time input::-webkit-slider-thumb { margin-top: 1px; } .time input::-moz-range-thumb { transform: none; } .track { bottom: 6px; } }
`;
