"""A file in a scene of three.js, drawn by Chromium: its colours, what hides what, and both eyes of a headset."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from browser import Page
from exported import header_record, write_frame
from npm import npm_packages
from pages import _Handler, decibels, pixels_of, serving, software_page

import taichi_vvc as tv
from taichi_vvc.field.render import Image, render
from taichi_vvc.geometry.projection import pixel_directions
from taichi_vvc.media.pictures import to_bytes
from taichi_vvc.types import Camera

DATA = Path(__file__).parent.parent / "data"
SIDE = 96
WHITE = (1.0, 1.0, 1.0)
GREEN = np.array([40, 200, 80])


@dataclass
class Stage:
    """A page with a scene ``s`` and the helpers ``m`` of scene.js, and the folder that it reads files from."""

    page: Page
    folder: Path

    def begin(self, name: str) -> None:
        """A scene with a file of /data, in place of the one before."""
        script = f"""(async () => {{
          window.m = await import('/tests/scene.js');
          window.s?.volume.dispose();
          window.s?.renderer.dispose();
          window.s = await m.begin('/data/{name}', {SIDE});
          return s.volume.frame; }})()"""
        assert self.page.evaluate(script) == 0

    def picture(self, through: str) -> np.ndarray:
        """(SIDE, SIDE, 3) uint8 of what the file's camera of that name sees of the scene."""
        found = self.page.evaluate(f"(s.volume.lookThrough(s.camera, {json.dumps(through)}), m.picture(s))")
        return pixels_of(found, SIDE, SIDE)[..., :3]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    modules = npm_packages("three@0.187.0", "iwer@2.5.0")

    class Handler(_Handler):
        def translate_path(self, path: str) -> str:
            self.roots["npm"] = modules
            return super().translate_path(path)

    folder = tmp_path_factory.mktemp("files")
    (folder / "page.html").write_text('<!doctype html><link rel="icon" href="data:,"><body></body>')
    for name in ("golden_v5.tvvc", "golden_v6.tvvc"):
        shutil.copy(DATA / name, folder / name)
    with serving(folder, Handler) as url, software_page(tmp_path_factory.mktemp("browser")) as page:
        page.open(f"{url}/data/page.html")
        page.wait_for("document.readyState == 'complete'")
        yield Stage(page, folder)
        assert not page.errors


def seen_by(file: str, number: int) -> tuple[Camera, Image]:
    """A camera of a file without its lens, as three.js has it, and what it sees of the first frame on white."""
    with tv.open(DATA / file) as stream:
        camera = replace(stream.cameras[number].resized(SIDE, SIDE), k1=0.0, k2=0.0, p1=0.0, p2=0.0)
        return camera, render(stream[0], camera, WHITE)


@pytest.mark.parametrize(("file", "numbers"), [("golden_v6.tvvc", (0, 9)), ("golden_v5.tvvc", (0, 8))])
def test_the_scene_shows_the_picture_of_the_package(stage: Stage, file: str, numbers: tuple[int, ...]) -> None:
    stage.begin(file)
    for number in numbers:
        camera, image = seen_by(file, number)
        assert decibels(stage.picture(camera.name), to_bytes(image.colour)) > 48.0


def with_cube(camera: Camera, image: Image, centre: np.ndarray, side: float) -> tuple[np.ndarray, np.ndarray]:
    """What a camera sees of the subject and a green cube: the picture, and which pixels show the cube alone."""
    x, y = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    directions = pixel_directions(camera, np.stack((x, y), -1))
    a, b = ((centre + sign * side / 2 - camera.position) / directions for sign in (-1, 1))
    enter, leave = np.minimum(a, b).max(-1), np.maximum(a, b).min(-1)
    hit = leave > enter
    before = hit & ((image.opacity < 0.004) | (enter < image.depth))
    behind = np.where(hit[..., None], GREEN / 255, 1.0)
    over = image.colour + (1.0 - image.opacity[..., None]) * (behind - 1.0)
    return np.where(before[..., None], GREEN, to_bytes(over)), before


def test_a_cube_and_the_subject_hide_each_other(stage: Stage) -> None:
    """A cube that sticks out of the subject, from two sides: in front of it here, behind it there."""
    stage.begin("golden_v6.tvvc")
    centre, side = np.array([0.12, 0.0, 1.1]), 0.36
    stage.page.evaluate(f"void m.addCube(s, {centre.tolist()}, {side}, 0x28c850)")
    shares = []
    for number in (0, 3):
        camera, image = seen_by("golden_v6.tvvc", number)
        expected, cube = with_cube(camera, image, centre, side)
        found = stage.picture(camera.name)
        wrong = np.abs(found.astype(int) - expected).max(-1) > 40
        subject = (image.opacity > 0.5) & ~cube
        shares.append(cube.sum())
        # Some of the cube is seen and some is not, or the test would say nothing.
        assert cube.sum() > 20 and (np.abs(to_bytes(image.colour) - expected.astype(int)).max(-1) > 40).sum() > 20
        assert wrong[cube].mean() < 0.1 and wrong[subject].mean() < 0.02, (number, wrong.sum())
    assert shares[0] != shares[1]


def test_moved_turned_and_scaled_it_is_the_same_object(stage: Stage) -> None:
    """Whatever stands above it in the scene: a camera that moves along sees the same."""
    stage.begin("golden_v6.tvvc")
    camera, image = seen_by("golden_v6.tvvc", 9)
    stage.page.evaluate(
        "(s.volume.position.set(1, -2, 3), s.volume.rotation.set(0.3, 1, -0.2), void s.volume.scale.setScalar(2))"
    )
    assert decibels(stage.picture(camera.name), to_bytes(image.colour)) > 48.0


def test_an_orthographic_camera_sees_what_one_far_away_does(stage: Stage) -> None:
    stage.begin("golden_v6.tvvc")
    script = """(() => {
      const { THREE, volume } = s;
      const middle = volume.capture.localToWorld(volume.bounds.getCenter(new THREE.Vector3()));
      const ortho = new THREE.OrthographicCamera(-1.1, 1.1, 1.1, -1.1, 0.1, 50);
      ortho.position.copy(middle).add(new THREE.Vector3(0, 0, 10));
      const far = new THREE.PerspectiveCamera((2 * Math.atan(1.1 / 400) * 180) / Math.PI, 1, 350, 450);
      far.position.copy(middle).add(new THREE.Vector3(0, 0, 400));
      return [ortho, far].map((camera) => m.picture({ ...s, camera })); })()"""
    ortho, far = (pixels_of(found, SIDE, SIDE)[..., :3] for found in stage.page.evaluate(script))
    assert (far < 200).any(-1).mean() > 0.05
    assert decibels(ortho, far) > 35.0


def test_it_plays_to_its_end_and_goes_where_it_is_told(stage: Stage) -> None:
    stage.begin("golden_v6.tvvc")
    frames, fps = stage.page.evaluate("[s.volume.clock.frames, s.volume.header.fps]")
    assert stage.page.evaluate("s.volume.duration") == pytest.approx(frames / fps)
    # On a slow machine some frames are passed over.
    seen = stage.page.evaluate("m.played(s, 0.1)")
    assert seen == sorted(set(seen)) and seen[0] == 0 and seen[-1] == frames - 1
    assert not stage.page.evaluate("s.volume.playing")
    stage.page.evaluate("void (s.volume.time = 0.5 / s.volume.header.fps)")
    stage.page.wait_for("(m.picture(s), s.volume.frame === 0)")
    with tv.open(DATA / "golden_v6.tvvc") as stream:
        camera = stream.cameras[9].resized(SIDE, SIDE)
        assert decibels(stage.picture(camera.name), to_bytes(render(stream[0], camera, WHITE).colour)) > 48.0


def test_what_cannot_be_opened_is_an_error(stage: Stage) -> None:
    script = """(async () => {
      const { openVolume } = await import('/web/three/volume.js');
      const bytes = new TextEncoder().encode("no file of this kind");
      return openVolume(s.THREE, { bytes }).then(() => "opened", (error) => `${error.name}: ${error.message}`); })()"""
    assert stage.page.evaluate(script).startswith("NotATvvcFile: ")


def test_both_eyes_of_a_headset_see_it(stage: Stage) -> None:
    """In an emulator of WebXR: each eye has the picture that its own pose and projection give."""
    stage.begin("golden_v6.tvvc")
    found = stage.page.evaluate("m.inHeadset(s, [0.3, 1.2, 2.2])")
    pixels = pixels_of(found, found["width"], found["height"])
    positions = []
    with tv.open(DATA / "golden_v6.tvvc") as stream:
        field = stream[0]
        for eye in found["eyes"]:
            left, bottom, width, height = (round(value) for value in eye["part"])
            pose, projection = (np.array(eye[name]).reshape(4, 4).T for name in ("pose", "projection"))
            lens = 0.5 * width * projection[0, 0], 0.5 * height * projection[1, 1]
            centre = 0.5 * width * (1 - projection[0, 2]), 0.5 * height * (1 + projection[1, 2])
            camera = Camera("eye", width, height, *lens, *centre, pose[:3, :3] * [1, -1, -1], pose[:3, 3])
            image = render(field, camera, WHITE)
            upper = found["height"] - bottom - height
            part = pixels[upper : upper + height, left : left + width, :3]
            subject = image.opacity > 0.004
            assert subject.sum() > 2000
            assert decibels(part[subject], to_bytes(image.colour)[subject]) > 40.0
            positions.append(camera.position)
    assert len(positions) == 2 and 0.05 < np.linalg.norm(positions[1] - positions[0]) < 0.08


def test_symbols_of_more_than_eight_bits(stage: Stage) -> None:
    """They go into half floats, and give the same picture."""
    with tv.open(DATA / "golden_v6.tvvc") as stream:
        frame, group, header = stream.symbols(0), stream.parameters(0), stream.header
        camera = stream.cameras[0].resized(SIDE, SIDE)
        image = render(stream[0], camera, WHITE)
        frame = replace(frame, symbols=tuple(64 * grid for grid in frame.symbols))
        group = replace(group, steps=tuple(step / 64 for step in group.steps))
        record = header_record(header.layout, stream.cameras, stream.background)
    assert max(np.abs(grid).max() for grid in frame.symbols) > 127
    write_frame(stage.folder / "large", record, frame, group)
    stage.begin("golden_v6.tvvc")
    script = """(async () => {
      const [{ load }, { Packer }] = await Promise.all([import('/tests/draw.js'), import('/web/renderer/pack.js')]);
      const { frame } = await load('/data/large');
      const packed = new Packer(s.volume.frames.plan).pack(frame);
      s.volume.frames.fill(packed);
      return packed.grids.some((grid) => grid.wide); })()"""
    assert stage.page.evaluate(script) is True
    assert decibels(stage.picture(camera.name), to_bytes(image.colour)) > 48.0
