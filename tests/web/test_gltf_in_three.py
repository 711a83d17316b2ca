"""Exported meshes and cameras in three.js: its loader opens them, and its renderer draws what ``tvvc render`` shows."""

from __future__ import annotations

import numpy as np
import pytest
from npm import npm_packages
from pages import _Handler, pixels_of, serving, software_page
from places import ROOT
from rasters import psnr_of_subject

import taichi_vvc as tv
from taichi_vvc.cli import run

GOLDEN = ROOT / "tests" / "data" / "golden_v6.tvvc"
SIDE = 128
PAGE = """<!doctype html><link rel="icon" href="data:,">
<script type="importmap">{"imports": {"three": "/npm/three/build/three.module.js"}}</script><body></body>"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory):
    """By time of the animation, in frames: the picture, RGBA, that three.js draws of an animated export."""
    modules = npm_packages("three@0.187.0", "iwer@2.5.0")

    class Handler(_Handler):
        def translate_path(self, path: str) -> str:
            self.roots["npm"] = modules
            return super().translate_path(path)

    folder = tmp_path_factory.mktemp("exports")
    (folder / "page.html").write_text(PAGE)
    cpu = ["--backend", "cpu"]
    assert run(["export", str(GOLDEN), "-o", str(folder / "a.glb"), "--animated", "--triangles", "6000", *cpu]) == 0
    views = ["--as", "views", "--cameras", "cam02", "--frames", "0"]
    assert run(["export", str(GOLDEN), "-o", str(folder / "v"), *views, *cpu]) == 0
    with serving(folder, Handler) as url, software_page(tmp_path_factory.mktemp("browser")) as page:
        page.open(f"{url}/data/page.html")
        page.wait_for("document.readyState == 'complete'")
        script = f"""(async () => {{
          window.m = await import('/tests/gltf.js');
          const [mesh, cameras] = await Promise.all(['/data/a.glb', '/data/v/cameras.glb'].map(m.load));
          const found = [];
          for (const frame of [0, 3]) found.push(await m.drawn(mesh, cameras, {SIDE}, (frame + 0.5) / 25));
          return found; }})()"""
        yield page.evaluate(script)
        assert not page.errors


def test_its_loader_and_renderer_show_the_frames_of_an_animation(found) -> None:
    with tv.open(GOLDEN) as stream:
        camera = next(c for c in stream.cameras if c.name == "cam02")
        images = [tv.render(stream[frame], camera, (1.0, 1.0, 1.0)) for frame in (0, 3)]
    own = []
    for drawn, image in zip(found, images, strict=True):
        assert drawn["materials"] == ["MeshBasicMaterial"]
        colours = pixels_of(drawn, SIDE, SIDE)[..., :3] / 255.0
        covered = (colours.min(-1) < 0.99).astype(float)
        shown = colours - (1.0 - covered[..., None]), covered
        own.append(psnr_of_subject(shown, image.colour, image.opacity, (1.0, 1.0, 1.0)))
        other = images[1] if image is images[0] else images[0]
        # Each time shows its own frame.
        assert own[-1] > psnr_of_subject(shown, other.colour, other.opacity, (1.0, 1.0, 1.0)) + 1.0
    assert min(own) > 20.0, own
    assert np.isfinite(own).all()
