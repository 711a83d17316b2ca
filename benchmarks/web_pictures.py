"""What a picture costs in the browser: work per picture, and what each shortcut of the shader saves.

    python benchmarks/web_pictures.py out.tvvc --size 256x256

Needs a Chromium. Pictures are drawn on the processor, so that only ratios between variants mean anything; they are
taken in turns within one run, and the shortest time of each counts. Variants are the player's own shader without one
shortcut. Work is counted by the shader itself: rays that have samples, steps, samples, and samples that get a colour.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "web")]

# Changes of shader.js by variant: what stands there, and what takes its place.
VARIANTS = {
    "as it is": [],
    "no leaps": [
        ("k = max(k, ceil((min(border.x, min(border.y, border.z)) - first) / STEP));", ""),
        ("if (leap > 1.5) {", "if (leap > 1e9) {"),
    ],
    "no early end": [("if (left < LEFT) { break; }", "")],
    "colour of all samples": [("if (weight <= 0.001) { return; }", "")],
    "direction at each sample": [
        ("fn meet(g: vec3f, t: f32) {\n", "fn meet(g: vec3f, t: f32) {\n  face_again(way);\n"),
        ("// The light of one sample", "AGAIN// The light of one sample"),
    ],
}
# In place of the distance, what is counted.
COUNTED = {
    "steps": ("let empty: f32 = distance_at(cell);", "let empty: f32 = distance_at(cell); travelled += 1.0;"),
    "samples": ("travelled += weight * t;", "travelled += 1.0;"),
    "colours": ("seen += weight /", "travelled += 1.0; seen += weight /"),
}


def variant_of(text: str, changes: list[tuple[str, str]]) -> str:
    """The shader's module with these changes, of which at least one must apply."""
    if changes and not any(old in text for old, _ in changes):
        raise SystemExit(f"shader.js has changed: {changes[0][0]!r} is not there")
    for old, new in changes:
        text = text.replace(old, new)
    # The direction's part, computed again where it is used.
    start, end = (
        text.find("fn face(d: vec3f) {"),
        text.find("  left = 1.0;\n  seen = vec3f(0.0);\n  travelled = 0.0;\n}"),
    )
    again = "var<private> way: vec3f;\n" + text[start:end].replace("fn face(", "fn face_again(") + "}\n\n"
    if "AGAIN" in text:
        text = text.replace("AGAIN", again).replace("face(ray);", "face(ray);\n  way = ray;")
        text = text.replace("  face(d);\n  let o", "  face(d);\n  way = d;\n  let o")
    return text


def counter_of(text: str, change: tuple[str, str]) -> str:
    """The shader's module that counts in place of measuring distances."""
    old, new = change
    kept = text.replace("travelled += weight * t;", "") if old != "travelled += weight * t;" else text
    assert old in kept, f"shader.js has changed: {old!r} is not there"
    # The mode `distance` shows the count itself, in 24 bits.
    return kept.replace(old, new).replace(
        "select(0.0, travelled * CELL / max(opacity, 1e-6), opacity > 1e-3)", "travelled / (16777215.0 * view_at(9).w)"
    )


def flops(layout: dict[str, object], samples: float, colours: float, rays: float) -> float:
    """Floating-point operations, a multiplication and an addition being two."""
    hidden, appearance, second = layout["projectionHidden"], layout["appearance"], layout["colourHidden"]
    features = sum(level["channels"] for level in layout["levels"])
    direction = 3 + 6 * layout["viewFrequencies"]
    projection = 2 * (features * hidden + hidden * (1 + appearance)) + 6 * features
    return samples * projection + colours * 2 * (appearance * second + 3 * second) + rays * 2 * direction * second


def main() -> None:
    """Measures and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", default="256x256", help="pixels of the pictures that are timed")
    parser.add_argument("--count-size", default="320x180", help="pixels of the picture in which work is counted")
    parser.add_argument("--frame", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--renderers", default="webgpu,webgl2")
    options = parser.parse_args()

    import exported
    import pages

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        exported.export_file(options.file, options.frame, folder / "frame")
        layout = json.loads((folder / "frame.json").read_text())["header"]["layout"]
        (folder / "page.html").write_text('<!doctype html><link rel="icon" href="data:,"><body></body>')
        original = (pages.WEB / "renderer" / "shader.js").read_text()
        versions = {name: variant_of(original, changes) for name, changes in VARIANTS.items()}
        versions |= {name: counter_of(original, change) for name, change in COUNTED.items()}
        for number, text in enumerate(versions.values()):
            shutil.copytree(pages.WEB, folder / str(number))
            (folder / str(number) / "renderer" / "shader.js").write_text(text)
            drawn = (pages.HERE / "draw.js").read_text().replace("/web/", f"/data/{number}/")
            (folder / f"draw{number}.js").write_text(drawn)
        places = {name: number for number, name in enumerate(versions)}
        with pages.serving(folder) as url, pages.software_page(folder / "browser") as page:
            page.open(f"{url}/data/page.html")
            page.wait_for("document.readyState == 'complete' && navigator.gpu")

            def picture(name: str, kind: str, size: str, **look: object) -> tuple[np.ndarray, float]:
                width, height = map(int, size.split("x"))
                script = f"""(async () => {{
                  const m = await import('/data/draw{places[name]}.js');
                  const c = await import('/data/0/renderer/camera.js');
                  window.known ??= {{}};
                  const r = known['{name} {kind}'] ??= await m.prepared('/data/frame', '{kind}');
                  const camera = c.fitted(r.header.cameras[0], {width}, {height});
                  return m.picture(r, {{camera, ...{json.dumps(look)}}}); }})()"""
                found = page.evaluate(script)
                return pages.pixels_of(found, width, height), found["seconds"]

            counts = {}
            for name in COUNTED:
                pixels, _ = picture(name, "webgpu", options.count_size, mode="distance")
                counts[name] = pixels[..., :3].astype(np.int64) @ np.array([65536, 256, 1])
            per = 1280 * 720 / counts["samples"].size
            rays = float((counts["samples"] > 0).sum() * per)
            totals = {name: float(values.sum() * per) for name, values in counts.items()}
            work = flops(layout, totals["samples"], totals["colours"], rays)
            print(f"{options.file.name}, first camera, 1280x720 by counts at {options.count_size}:")
            print(
                f"  rays with samples {rays / 9216:.1f} %, "
                + ", ".join(f"{k} {v / 1e6:.2f} M" for k, v in totals.items())
            )
            print(f"  {work / 1e9:.2f} GFLOP a picture; 20 a second take {20 * work / 1e10:.0f} % of 1 TFLOP/s")
            for kind in options.renderers.split(","):
                times: dict[str, list[float]] = {name: [] for name in VARIANTS}
                shown = {name: picture(name, kind, options.size)[0] for name in VARIANTS}
                for _ in range(options.repeats):
                    for name in VARIANTS:
                        times[name].append(picture(name, kind, options.size)[1])
                print(f"{kind}, {options.size}: {min(times['as it is']):.2f} s")
                for name in list(VARIANTS)[1:]:
                    ratio = min(times[name]) / min(times["as it is"])
                    same = pages.decibels(shown[name][..., :3], shown["as it is"][..., :3])
                    print(f"  {name:26}{ratio:6.2f} times the time, {min(same, 99.9):5.1f} dB to it")


if __name__ == "__main__":
    main()
