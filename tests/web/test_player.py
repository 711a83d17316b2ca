"""The player's element and page in a browser, from pages that ``tvvc web`` writes and from ``tvvc view``'s server."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Page, wait_for
from pages import KINDS, decibels, serving, software_page
from PIL import Image as Picture

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.cli import run
from taichi_vvc.field.render import render_rgb8
from taichi_vvc.play.pages import first_view
from taichi_vvc.play.server import PlayerServer

GOLDEN = Path(__file__).parent.parent / "data" / "golden_v4.tvvc"
FRAMES = 5
SIZE = (480, 360)
PLAYER = "document.querySelector('tvvc-player')"


class Tab:
    """A page with one player."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, url: str) -> None:
        """Opens a page and waits until its first frame is on show."""
        self.page.open("about:blank")
        self.page.open(url)
        self.page.wait_for(f"{PLAYER}?.readyState >= 4 || {PLAYER}?.error")

    def ask(self, script: str) -> object:
        """The value of an expression of the player ``p`` and its parts ``q(selector)``."""
        return self.page.evaluate(f"(async (p, q) => {script})({PLAYER}, s => {PLAYER}.shadowRoot.querySelector(s))")

    def until(self, script: str) -> None:
        """Waits until an expression is true."""
        wait_for(lambda: self.ask(script), script)

    def sharpen(self, scale: float) -> None:
        """Sets the pixels of the screen per pixel of the page: few, as long as pictures are not looked at."""
        size = {"width": SIZE[0], "height": SIZE[1]}
        self.page.send("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=scale, mobile=False)

    def press(self, key: str, shift: bool = False) -> None:
        """Presses a key on the stage."""
        self.ask(
            "q('.stage').dispatchEvent(new KeyboardEvent('keydown', "
            f"{{key: {key!r}, shiftKey: {str(shift).lower()}, bubbles: true, composed: true, cancelable: true}}))"
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder and a page of ``tvvc web``."""
    folder = tmp_path_factory.mktemp("web")
    assert run(["web", str(GOLDEN), "-o", str(folder / "site"), "--title", "A <b> & c", "--backend", "cpu"]) == 0
    assert run(["web", str(GOLDEN), "-o", str(folder / "one.html"), "--poster", "none", "--camera", "cam02"]) == 0
    return folder


@pytest.fixture(scope="module")
def tab(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with software_page(tmp_path_factory.mktemp("browser"), SIZE) as page:
        tab = Tab(page)
        tab.sharpen(0.25)
        yield tab
        assert not page.errors


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serving(folder / "site") as address:
        yield f"{address}/data/index.html"


@pytest.mark.parametrize("kind", KINDS)
def test_it_plays_to_the_end_and_tells_so(tab: Tab, url: str, kind: str) -> None:
    tab.page.open("about:blank")
    tab.page.open(url)
    tab.page.wait_for(f"{PLAYER}?.matches(':defined')")
    tab.ask(f"{{ p.setAttribute('renderer', {kind!r}); p.load(); }}")
    tab.until("p.readyState >= 4 || p.error")
    assert tab.ask("[p.error, p.rendererKind, p.paused, p.currentTime, p.frameCount, p.duration]") == [
        *(None, kind, True, 0, FRAMES, FRAMES / 25)
    ]
    assert tab.page.evaluate("document.title") == "A <b> & c"
    tab.ask(
        """{ window.seen = []; window.frames = [];
        for (const name of ['play', 'playing', 'timeupdate', 'pause', 'ended', 'seeking', 'seeked', 'error'])
          p.addEventListener(name, () => seen.push(name));
        p.addEventListener('framechange', () => frames.push(p.currentFrame)); }"""
    )
    tab.ask("{ p.playbackRate = 0.1; await p.play(); }")
    tab.until("p.ended")
    tab.until(f"p.currentFrame == {FRAMES - 1}")
    frames, seen = tab.page.evaluate("[frames, seen]")
    assert frames == sorted(set(frames)) and frames[-1] == FRAMES - 1
    assert seen[0] == "play" and seen[-2:] == ["pause", "ended"] and "timeupdate" in seen and "error" not in seen
    assert tab.ask("[p.paused, Math.abs(p.currentTime - p.duration) < 1e-9]") == [True, True]
    tab.ask("{ p.currentTime = 0.05; }")
    tab.until("!p.seeking && p.currentFrame == 1")
    assert tab.page.evaluate("seen.filter(name => name.startsWith('seek'))") == ["seeking", "seeked"]


def test_the_first_view_is_the_poster(tab: Tab, url: str, folder: Path) -> None:
    """What the player shows at rest, as large as the poster, is what the package renders; and so is the poster."""
    tab.sharpen(1.0)
    tab.page.open("about:blank")
    tab.page.open(url)
    tab.page.wait_for(f"{PLAYER}?.matches(':defined')")
    tab.ask("{ p.style.width = '96px'; p.style.height = '96px'; p.style.minWidth = p.style.minHeight = '0'; }")
    with tv.open(GOLDEN) as stream:
        camera = first_view(stream)
        expected = render_rgb8(stream[0], camera.resized(96, 96), stream.background)
        large = render_rgb8(stream[0], camera, stream.background)
    with Picture.open(folder / "site" / "poster.jpg") as poster:
        assert decibels(np.asarray(poster.convert("RGB")), large) > 30
    tab.until("p.core.size[0] == 96 && p.core.drawn && p.core.renderer.drawn[0] == 96 && !p.core.dirty")
    pixels = tab.ask("[...await p.core.renderer.read()]")
    found = np.array(pixels, np.uint8).reshape(96, 96, 4)[..., :3]
    assert decibels(found, expected) > 50
    assert tab.ask("q('.poster').classList.contains('gone')")
    tab.sharpen(0.25)


def test_keys_and_buttons(tab: Tab, url: str) -> None:
    tab.open(url)
    tab.press(".")
    tab.until("p.currentFrame == 1")
    tab.press("End")
    tab.until(f"p.currentFrame == {FRAMES - 1}")
    tab.press("Home")
    tab.until("p.currentFrame == 0")
    tab.press("l")
    assert tab.ask("[p.loop, q('.row > .loop').ariaPressed]") == [True, "true"]
    tab.press(",")
    tab.until(f"p.currentFrame == {FRAMES - 1}")  # the loop's end comes before its beginning
    tab.press("l")
    tab.press(">")
    assert tab.ask("[p.playbackRate, q('.rate').textContent]") == [1.5, "1.5\u00d7"]
    tab.press("<")
    tab.press("m")
    assert tab.ask("p.mode") == "depth"
    tab.press("m")
    tab.press("m")
    tab.press("?")
    assert tab.ask("!q('.keys').hidden")
    tab.press("Escape")
    assert tab.ask("q('.keys').hidden")
    tab.page.click(f"{PLAYER}.shadowRoot.querySelector('.row > .play')")
    assert tab.ask("!p.paused || p.ended")
    tab.until("p.ended")
    assert tab.ask("q('.row > .play').ariaLabel") == "Play again (space)"
    tab.ask("{ const s = q('.time input'); s.value = 2; s.dispatchEvent(new Event('input')); }")
    tab.until("p.currentFrame == 2")
    assert tab.ask("q('.time input').ariaValueText").startswith(f"0:00.08, frame 3 of {FRAMES}, ")
    # A key frame stands out among the bars.
    assert tab.ask(
        "[q('.bars .key').getAttribute('d').length > 0, q('.bars .inter').getAttribute('d').length > 0]"
    ) == [*(True, True)]


def test_mouse_cameras_and_links(tab: Tab, url: str) -> None:
    tab.open(url)
    before = tab.ask("p.viewpoint.view")
    tab.page.drag([(200, 150), (230, 150), (260, 160)])
    after = tab.ask("p.viewpoint.view")
    assert before != after and before[7] == after[7]  # another place, as far from the target
    tab.ask("q('.stage').dispatchEvent(new WheelEvent('wheel', {deltaY: -200, bubbles: true, composed: true}))")
    nearer = tab.ask("p.viewpoint.view")
    assert nearer[7] < after[7]
    tab.press("ArrowLeft", shift=True)
    assert tab.ask("p.viewpoint.view") != nearer
    tab.press("c")
    tab.press("c")
    assert tab.ask("p.viewpoint") == {"camera": "cam01"}
    tab.page.click(f"{PLAYER}.shadowRoot.querySelector('.anchor > .camera')")
    names = tab.ask("[...q('.anchor > .camera').nextElementSibling.querySelectorAll('.label')].map(l => l.textContent)")
    assert names == ["Free view", *(f"cam{i:02d}" for i in range(6))]
    tab.ask("{ q('.anchor > .camera').nextElementSibling.querySelectorAll('button')[4].click(); }")
    assert tab.ask("p.viewpoint") == {"camera": "cam03"}
    tab.press("r")
    assert tab.ask("p.viewpoint.view") == before
    # A link brings time and view back.
    tab.ask("{ p.currentTime = 0.1; p.viewpoint = {view: " + str(after) + "}; }")
    link = tab.page.evaluate(
        "import('/web/player/controls.js').then(c => c.linkOf(document.querySelector('tvvc-player')))"
    )
    tab.open(link)
    assert np.allclose(tab.ask("p.viewpoint.view"), after, rtol=1e-5)
    tab.until("p.currentFrame == 2")
    tab.open(link.split("#")[0] + "#t=0.04&camera=cam05")
    assert tab.ask("p.viewpoint") == {"camera": "cam05"}


def test_camera_paths_are_those_of_render(tab: Tab, url: str, tmp_path: Path) -> None:
    """Views that were recorded render to what was seen."""
    import json

    from taichi_vvc.capture.camera_paths import camera_path

    tab.open(url)
    tab.press("ArrowUp", shift=True)
    script = """import('/web/player/path.js').then(m => {
      const core = document.querySelector('tvvc-player').core;
      return [m.pathDocument([core.look(64, 48).camera]), core.look(64, 48).camera]; })"""
    document, camera = tab.page.evaluate(script)
    (tmp_path / "cameras.json").write_text(json.dumps(document))
    with tv.open(GOLDEN) as stream:
        layout = stream.header.layout
        found = camera_path(tmp_path / "cameras.json", stream.cameras, layout.bounds, 1, (64, 48))[0]
    assert np.allclose(found.rotation.ravel(), camera["rotation"], atol=1e-6)
    assert np.allclose(found.position, camera["position"]) and np.isclose(found.fy, camera["fy"])


def test_one_page_opens_from_the_disk(tab: Tab, folder: Path) -> None:
    tab.open((folder / "one.html").as_uri())
    assert tab.ask("[p.error, p.frameCount, p.core.view.start]") == [None, FRAMES, "cam02"]
    tab.ask("{ p.currentTime = 0.17; }")
    tab.until(f"p.currentFrame == {FRAMES - 1}")


def test_it_plays_from_the_server_of_view(tab: Tab) -> None:
    """Under that server's policy of what a page may load, and part by part."""
    with PlayerServer(GOLDEN, "127.0.0.1", 0, "From here") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            tab.open(server.url)
            assert tab.ask("[p.error, p.frameCount]") == [None, FRAMES]
            tab.ask("{ await p.play(); }")
            tab.until(f"p.ended && p.currentFrame == {FRAMES - 1}")
            asked = "performance.getEntriesByType('resource').map(entry => new URL(entry.name).origin)"
            assert set(tab.page.evaluate(asked)) == {server.url}
        finally:
            server.shutdown()


def test_memory_stays_flat(tab: Tab, url: str) -> None:
    """Frames that come again take no new buffers, and what is kept does not grow."""
    tab.open(url)
    tab.ask(
        """{ p.loop = true; p.playbackRate = 4; window.known = new Set(); window.counts = [];
        const take = p.core.feed.take.bind(p.core.feed);
        p.core.feed.take = m => { if (m.type === 'frame') counts.push(m.packed.buffer.byteLength); take(m); };
        await p.play(); }"""
    )
    tab.until("counts.length > 12")
    tab.ask("{ p.pause(); }")
    time.sleep(0.5)
    assert tab.ask("p.core.feed.frames.size") <= 5
    assert len(set(tab.page.evaluate("counts"))) == 1


def test_a_lost_device_is_replaced(tab: Tab, url: str) -> None:
    for kind, lose in (
        ("webgpu", "p.core.renderer.gpu.device.destroy()"),
        ("webgl2", "p.core.renderer.gpu.gl.getExtension('WEBGL_lose_context').loseContext()"),
    ):
        tab.open(url)
        tab.ask(f"{{ p.setAttribute('renderer', {kind!r}); p.load(); }}")
        tab.until("p.readyState >= 4")
        tab.ask("{ p.currentTime = 0.09; }")
        tab.until("p.currentFrame == 2")
        tab.ask(f"{{ window.old = p.core.renderer; {lose}; }}")
        tab.until("p.core.renderer && p.core.renderer !== window.old && p.currentFrame == 2")
        assert tab.ask("[p.error, p.rendererKind]") == [None, kind]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda data: b"GIF89a" + data[6:], "This is not a .tvvc file."),
        (lambda data: data[:4] + b"\x63" + data[5:], "This file was made by a newer version of taichi_vvc"),
        (lambda data: data[:60] + bytes([data[60] ^ 1]) + data[61:], "The file is damaged, and cannot be played."),
        (lambda data: None, "The file cannot be loaded: "),
    ],
)
def test_one_clear_line_for_what_cannot_be_played(tab: Tab, url: str, folder: Path, change, line: str) -> None:
    tab.open(url)
    bad = folder / "site" / "bad.tvvc"
    data = change(GOLDEN.read_bytes())
    bad.unlink(missing_ok=True)
    if data is not None:
        bad.write_bytes(data)
    # The server tells versions of a file apart by whole seconds.
    tab.page.send("Network.clearBrowserCache")
    before = len(tab.page.errors)
    tab.ask("{ p.src = 'bad.tvvc'; }")
    tab.until("p.error")
    assert str(tab.ask("q('.problem').textContent")).startswith(line)
    assert tab.ask("[q('.problem').hidden, q('.controls').hidden, q('.spinner').hidden]") == [False, True, True]
    # What the browser itself says of a missing file.
    assert all("404" in error for error in tab.page.errors[before:])
    del tab.page.errors[before:]


def test_a_damaged_frame_leaves_the_others(tab: Tab, url: str, folder: Path) -> None:
    tab.open(url)
    data = bytearray(GOLDEN.read_bytes())
    with StreamReader(GOLDEN) as reader:
        data[reader.frames[3].offset + 40] ^= 1
    (folder / "site" / "bad.tvvc").write_bytes(bytes(data))
    tab.ask("{ p.src = 'bad.tvvc'; }")
    tab.until("p.readyState >= 4")
    tab.ask("{ p.currentTime = 0.13; }")
    tab.until("p.error")
    assert str(tab.ask("p.error.message")) == "The file is damaged at frame 4."
    tab.ask("{ p.currentTime = 0.05; }")
    tab.until("p.currentFrame == 1")
