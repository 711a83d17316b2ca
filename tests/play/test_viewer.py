"""The player: views and paths; and the whole of it in a headless browser."""

from __future__ import annotations

import json
import math
import socket
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from browser import Page, open_page, wait_for
from captures import ring_cameras, write_capture
from PIL import Image as Picture
from players import running_player
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.capture.camera_paths import keyframe_path, path_document
from taichi_vvc.cli import run
from taichi_vvc.field.render import Image, Workspace, render
from taichi_vvc.geometry.rotations import quaternion_of
from taichi_vvc.media import charts
from taichi_vvc.play.playback import Playback
from taichi_vvc.play.viewport import SHOWN, as_picture, camera_of_view, draw, fitted_size, start_position
from taichi_vvc.runtime import start

FRAMES = 7
TINY = tv.EncoderConfig(**{**ONE_LEVEL, "inter_iterations": 10, "keyint": 4})


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    """Seven frames in two groups."""
    folder = tmp_path_factory.mktemp("view")
    capture = write_capture(folder / "capture", cameras=4, frames=FRAMES, size=24)
    list(tv.encode(tv.open_capture(capture), TINY, folder / "a.tvvc"))
    return folder / "a.tvvc"


# ---- views, sizes, paths, pictures


def test_views_are_the_cameras_they_came_from() -> None:
    turns = [np.diag([1.0, -1.0, -1.0]), np.diag([-1.0, -1.0, 1.0]), np.eye(3)]
    for rotation in [camera.rotation for camera in ring_cameras(5, (40, 30))] + turns:
        q = np.array(quaternion_of(rotation))
        view = camera_of_view("v", (1, 2, 3), -2.5 * q, math.pi / 2, 40, 30)
        np.testing.assert_allclose(view.rotation, rotation, atol=1e-12)
    assert view.fy == pytest.approx(15.0) and view.fx == pytest.approx(15.0) and (view.cx, view.cy) == (20, 15)


def test_the_first_view_is_beside_the_camera_that_it_is_derived_from() -> None:
    centre, up = np.array([1.0, 2.0, 3.0]), np.array([0.0, 0.0, 1.0])
    camera = centre + [3.0, 0.0, 1.0]
    seen = start_position(camera, centre, up) - centre
    turn = math.atan2(seen[1], seen[0])
    assert turn == pytest.approx(math.radians(32)) and np.hypot(*seen[:2]) == pytest.approx(0.8 * 3.0)
    assert seen[2] == pytest.approx(0.8 + 0.08 * math.sqrt(10))


def test_recorded_paths_are_what_render_takes(tmp_path) -> None:
    keys = ring_cameras(4, (40, 30))[:3]
    (tmp_path / "cameras.json").write_text(json.dumps(path_document(keys)), encoding="utf-8")
    path = keyframe_path(tmp_path / "cameras.json", 3, (40, 30))
    for camera, key in zip(path, keys, strict=True):
        np.testing.assert_allclose(camera.rotation, key.rotation, atol=1e-9)
        np.testing.assert_allclose(camera.position, key.position, atol=1e-9)
        assert camera.fy == pytest.approx(key.fy)


def test_moving_pictures_fit_their_budget() -> None:
    assert fitted_size(1000, 500, 125_000) == (500, 250)
    assert fitted_size(1000, 500, 1e9) == (1000, 500)
    assert fitted_size(1000, 500, 1) == (64, 32)
    assert fitted_size(40, 20, 1) == (40, 20)


def test_depth_is_light_where_it_is_near() -> None:
    depth = np.array([[1.0, 3.0], [2.0, 0.0]], np.float32)
    opacity = np.array([[1.0, 1.0], [0.9, 0.0]], np.float32)
    image = Image(np.full((2, 2, 3), 0.5, np.float32), depth, opacity)
    shades = as_picture(image, "depth")[..., 0]
    assert shades[0, 0] == 255 and shades[0, 0] > shades[1, 0] > shades[0, 1] > 0 and shades[1, 1] == 0
    assert as_picture(image, "opacity")[1, 0].tolist() == [230] * 3
    assert as_picture(image, "colour")[0, 0].tolist() == [128] * 3


@pytest.mark.parametrize("mode", SHOWN)
def test_drawing_is_rendering_unless_nobody_waits(file, mode: str) -> None:
    start("cpu")
    with tv.open(file) as stream:
        field, camera = stream[0], stream.cameras[0]
        workspace = Workspace(field.runtime)
        drawn = draw(workspace, field, camera, stream.background, mode, lambda: False)
        expected = as_picture(render(field, camera, stream.background), mode)
        assert drawn is not None and drawn.std() > 0
        np.testing.assert_array_equal(drawn, expected)
        assert draw(workspace, field, camera, stream.background, mode, lambda: True) is None


def test_the_timeline_marks_keys_and_the_frame() -> None:
    text = charts.timeline([1000, 100, 500], [True, False, False], 2)
    assert 'data-frame="2"' in text and "frame 2 (inter): 4.0 kbit" in text
    inter, keys = text.split("<path")[1:3]
    assert inter.count("M") == 2 and keys.count("M") == 1
    long = charts.timeline([1] * 5000, [k % 25 == 0 for k in range(5000)], 4999)
    assert len(long) < 20_000


# ---- the command


def test_without_viser_one_line_says_what_to_install(file, monkeypatch, capfd) -> None:
    monkeypatch.setitem(sys.modules, "viser", None)
    assert run(["view", str(file), "--render", "server"]) == 2
    err = capfd.readouterr().err
    assert 'pip install "taichi_vvc[view]"' in err and err.count("\n") == 1


@pytest.fixture(scope="module")
def player(file):
    """The address of a running player."""
    with running_player(file) as url:
        yield url


FRAME = "Number((document.querySelector('.tvvc-timeline') || {dataset: {}}).dataset.frame)"
STATUS = "(document.querySelector('.tvvc-status') || {}).innerText"


def button(text: str) -> str:
    return f"[...document.querySelectorAll('button')].find(b => b.innerText === '{text}')"


def canvas(page: Page, path: Path) -> np.ndarray:
    """The left part of the page, where no controls are, once the player is at rest."""
    drawn = ""
    while drawn != (drawn := page.evaluate(STATUS)):
        time.sleep(1.0)
    return np.asarray(Picture.open(page.picture(path)).convert("RGB")).astype(int)[:, :800]


def test_the_player_listens_to_this_machine_only(player) -> None:
    with urllib.request.urlopen(player, timeout=30) as answer:
        assert b"<html" in answer.read().lower()
    if sys.platform == "linux":
        # All of 127.0.0.0/8 is this machine; a server on every address would answer here too.
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.2", int(player.rsplit(":", 1)[1])), timeout=10)


def test_a_browser_plays_seeks_orbits_and_records(player, tmp_path) -> None:
    with open_page(tmp_path) as page:
        page.send("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
        page.open(player)
        page.wait_for(STATUS)
        page.wait_for(button("last"))
        first = canvas(page, tmp_path / "first.png")
        assert first.std() > 10, "something is to be seen"

        page.click(button("last"))
        page.wait_for(f"{FRAME} === {FRAMES - 1} && ({STATUS}).startsWith('frame {FRAMES - 1} ')")
        page.click(button("first"))
        page.wait_for(f"{FRAME} === 0")

        page.click(button("Play"))
        seen = set()
        wait_for(lambda: seen.add(page.evaluate(FRAME)) or len(seen) > 2, "three different frames")
        page.click(button("Pause"))
        page.wait_for(button("Play"))

        page.click(button("add"))
        before = canvas(page, tmp_path / "before.png")
        page.drag([(300 + 6 * k, 400 - 2 * k) for k in range(20)])
        after = canvas(page, tmp_path / "after.png")
        assert np.abs(before - after).mean() > 2, "the view has turned"
        page.click(button("add"))
        page.click(button("Save cameras.json"))
        saved = tmp_path / "cameras.json"
        wait_for(saved.is_file, "the download")
        one, two = keyframe_path(saved, 2, (64, 48))
        assert np.linalg.norm(one.position - two.position) > 0.1
        assert page.errors == []


def test_a_second_player_takes_another_port(player, file) -> None:
    from taichi_vvc.play.viewer import Viewer

    port = int(player.rsplit(":", 1)[1])
    with tv.open(file) as stream, Playback(file) as playback:
        viewer = Viewer(stream, playback, start("cpu"), port=port)
        try:
            assert viewer.url.startswith("http://127.0.0.1:") and viewer.server.get_port() != port
        finally:
            viewer.stop()
            viewer.run()
