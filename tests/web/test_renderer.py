"""The renderers in the browser, WebGPU and WebGL 2, against the package's own pictures of the same frames."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Page
from exported import camera_record, export, header_record, write_frame
from pages import KINDS, decibels, pixels_of, serving, software_page

import taichi_vvc as tv
from taichi_vvc.field.render import Image, render
from taichi_vvc.media.colour_maps import shown
from taichi_vvc.media.pictures import to_bytes
from taichi_vvc.types import Camera, ColourMap

DATA = Path(__file__).parent.parent / "data"
SAME = 60.0  # dB; section 12 of docs/bitstream.md
# File, frame and cameras: boxed, with lenses that distort, with a shell and colour maps.
FILES = {
    "boxed": ("golden_v3.tvvc", 1, (0, 23)),
    "bent": ("golden_v4.tvvc", 2, (0, 3)),
    "whole": ("golden_v5.tvvc", 1, (8,)),
}
EDGE = 40  # pixels


@dataclass
class Stage:
    """The browser's page, and the folder that it reads frames from."""

    page: Page
    folder: Path

    def show(self, name: str, kind: str) -> None:
        """Prepares a renderer of an exported frame as ``r``, in place of the one before."""
        script = f"""(async () => {{
          window.m = await import('/tests/draw.js');
          window.r?.destroy();
          document.body.replaceChildren();
          window.r = await m.prepared('/data/{name}', '{kind}');
          return r.kind; }})()"""
        assert self.page.evaluate(script) == kind

    def picture(self, camera: Camera, **look: Any) -> np.ndarray:
        """(height, width, 4) uint8 of what a camera sees."""
        record = json.dumps({"camera": camera_record(camera), **look})
        return pixels_of(self.page.evaluate(f"m.picture(r, {record})"), camera.width, camera.height)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("frames")
    (folder / "page.html").write_text('<!doctype html><link rel="icon" href="data:,"><body></body>')
    with serving(folder) as url, software_page(tmp_path_factory.mktemp("browser")) as page:
        page.open(f"{url}/data/page.html")
        page.wait_for("document.readyState == 'complete' && navigator.gpu")
        yield Stage(page, folder)
        assert not page.errors


def look_of(look: ColourMap | None) -> dict[str, Any]:
    if look is None:
        return {}
    return {"colours": {"gain": list(look.gain), "offset": list(look.offset), "backdrop": look.backdrop}}


@pytest.fixture(scope="module")
def expected() -> dict[str, tuple[Camera, Image, dict[str, Any], np.ndarray]]:
    """By name and camera: the camera, the package's picture, and the colours that the camera shows."""
    found: dict[str, Any] = {}
    for name, (file, frame, cameras) in FILES.items():
        with tv.open(DATA / file) as stream:
            field, looks = stream[frame], stream.looks_at(frame)
            for index in cameras:
                camera = stream.cameras_at(frame)[index].resized(EDGE, EDGE)
                look = looks[index] if looks else None
                image = render(field, camera, stream.background)
                colours = to_bytes(shown(image.colour, image.opacity, stream.background, look))
                found[f"{name} {index}"] = camera, image, look_of(look), colours
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FILES)
def test_the_browser_shows_the_same_picture(stage: Stage, expected: Any, name: str, kind: str) -> None:
    file, frame, cameras = FILES[name]
    with tv.open(DATA / file) as stream:
        export(stream, frame, stage.folder / name)
        layout = stream.header.layout
    stage.show(name, kind)
    for index in cameras:
        camera, image, look, colours = expected[f"{name} {index}"]
        pixels = stage.picture(camera, **look)
        assert decibels(pixels[..., :3], colours) > SAME
        assert decibels(pixels[..., 3], to_bytes(image.opacity)) > SAME
        grey = stage.picture(camera, mode="opacity")
        assert decibels(grey[..., 0], to_bytes(image.opacity)) > SAME
        packed = stage.picture(camera, mode="distance").astype(np.int64)
        distance = packed[..., :3] @ np.array([65536, 256, 1]) / 0xFFFFFF * layout.cell * max(layout.occupancy) * 64
        clear = image.opacity > 0.1
        off = np.abs(distance - image.depth)[clear] / image.depth[clear]
        assert np.count_nonzero(clear) > 99 and np.median(off) < 1e-4 and np.quantile(off, 0.98) < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_large_symbols_and_many_weights(stage: Stage, expected: Any, kind: str) -> None:
    """Half floats in place of bytes, and weights that do not fit a uniform block: the same picture."""
    file, index, (first, *_) = FILES["boxed"]
    with tv.open(DATA / file) as stream:
        frame, group, layout = stream.symbols(index), stream.parameters(index), stream.header.layout
        cameras, background = stream.cameras, stream.background
    assert max(np.abs(grid).max() for grid in frame.symbols) < 128 <= 64 * np.abs(frame.symbols[0]).max()
    frame = replace(frame, symbols=tuple(64 * grid for grid in frame.symbols))
    # More hidden units, from and to which nothing leads.
    more, shapes = 480, layout.mlp_shapes
    wide = replace(layout, projection_hidden=16 + more, colour_hidden=16 + more)
    mlp = []
    for tensor, old, new in zip(group.mlp, shapes, wide.mlp_shapes, strict=True):
        mlp.append(np.zeros(new, np.float32))
        mlp[-1][tuple(slice(0, n) for n in old)] = np.asarray(tensor).reshape(old)
    group = replace(group, steps=tuple(step / 64 for step in group.steps), mlp=tuple(mlp))
    write_frame(stage.folder / "large", header_record(wide, cameras, background), frame, group)
    stage.show("large", kind)
    camera, _, _, colours = expected[f"boxed {first}"]
    assert decibels(stage.picture(camera)[..., :3], colours) > SAME


def test_pictures_of_other_sizes(stage: Stage, expected: Any) -> None:
    """A camera whose picture is fitted into one of another shape shows what the resized camera shows in its middle."""
    file, index, _ = FILES["bent"]
    with tv.open(DATA / file) as stream:
        camera = stream.cameras_at(index)[3]
        image = render(stream[index], camera.resized(EDGE, EDGE), stream.background)
        export(stream, index, stage.folder / "bent")
    stage.show("bent", "webgpu")
    bent = json.dumps(camera_record(camera))
    script = f"import('/web/renderer/camera.js').then(c => c.fitted({bent}, 72, 40))"
    record = stage.page.evaluate(script)
    wide = replace(camera, **{name: record[name] for name in ("width", "height", "fx", "fy", "cx", "cy")})
    assert decibels(stage.picture(wide)[:, 16:56, :3], to_bytes(image.colour)) > SAME


def test_distances(stage: Stage) -> None:
    """The distance of each cell to the nearest occupied one, against all pairs; and of an empty mask."""
    rng = np.random.default_rng(3)
    for shape, share in (((7, 5, 9), 0.02), ((4, 6, 5), 0.3), ((3, 1, 12), 0.1), ((2, 3, 4), 0.0)):
        mask = rng.random(shape) < share
        nz, ny, nx = shape
        script = f"""import('/web/renderer/distances.js').then(d => {{
          const found = new Uint8Array({mask.size});
          d.distancesOf(Uint8Array.from({mask.ravel().astype(int).tolist()}), [{nx}, {ny}, {nz}], found);
          return [...found]; }})"""
        found = np.array(stage.page.evaluate(script)).reshape(shape)
        full = np.full(shape, 255)
        for place in np.argwhere(mask):
            full = np.minimum(full, np.abs(np.indices(shape) - place[:, None, None, None]).max(axis=0))
        assert np.array_equal(found, full)


def test_buffers_are_used_again(stage: Stage) -> None:
    """A frame takes the buffer that came back, and the shelf of frames keeps to its size."""
    with tv.open(DATA / FILES["boxed"][0]) as stream:
        export(stream, 0, stage.folder / "boxed")
    script = """(async () => {
      const [{ load }, { Packer }, { planOf }, { Shelf }] = await Promise.all([import('/tests/draw.js'),
        import('/web/renderer/pack.js'), import('/web/renderer/plan.js'), import('/web/player/shelf.js')]);
      const { header, frame } = await load('/data/boxed');
      const packer = new Packer(planOf(header.layout));
      const first = packer.pack(frame);
      packer.give(first.buffer);
      const again = packer.pack({ ...frame, number: 1 });
      const size = again.buffer.byteLength;
      const shelf = new Shelf(3.5 * size, packer);
      for (let number = 0; number < 9; number++) {
        if (number === 5) shelf.copy(2);
        shelf.keep({ ...again, number });
      }
      const copy = shelf.copy(8);
      const same = new Uint8Array(copy.buffer).every((byte, i) => byte === new Uint8Array(again.buffer)[i]);
      return [first.buffer === again.buffer, shelf.bytes / size, [...shelf.frames.keys()], same,
        copy.buffer === again.buffer, shelf.copy(0)];
    })()"""
    assert stage.page.evaluate(script) == [True, 3, [6, 7, 8], True, False, None]


def test_half_floats(stage: Stage) -> None:
    """Nearest half floats of what symbols can be."""
    values = [0, 1, -1, 2047, -2048, 2049, 4099, 32768, -32767, 1 / 512, 3.75]
    found = stage.page.evaluate(f"import('/web/renderer/pack.js').then(p => {values}.map(p.half))")
    as_floats = np.array(found, np.uint16).view(np.float16).astype(float)
    exact = np.array(values, float)
    assert np.all(np.abs(as_floats - exact) <= np.abs(exact) * 2.0**-11)
    assert np.array_equal(as_floats[:5], exact[:5])
