"""The player's sound in a browser: clicks are heard when the player's clock says that their frames are shown."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from browser import Page, wait_for
from pages import serving, small_page
from places import DATA
from sounds import write_sound

from taichi_vvc.bitstream import StreamReader
from taichi_vvc.bitstream.assembly import Assembly
from taichi_vvc.bitstream.sound_runs import SoundWriter
from taichi_vvc.cli import run
from taichi_vvc.media.sound import read_sound

FPS, GROUPS = 25, 60
SECONDS = 2 * GROUPS / FPS
# No two lie as far apart as two others that are neighbours, so that none is taken for another one.
CLICKS = (0.25, 0.6, 1.05, 1.3, 1.8, 2.1, 2.65, 2.9, 3.35, 3.65, 4.2, 4.5)  # s
NEAR = 0.04  # s
PLAYER = "document.querySelector('tvvc-player')"
# Writes down when something loud leaves the audio graph, in the audio's time.
EAR = """class Ear extends AudioWorkletProcessor {
  process([[samples]]) {
    const at = (samples ?? []).findIndex((value) => Math.abs(value) > 0.2);
    if (at >= 0 && !(currentTime - this.last < 0.1)) this.port.postMessage(currentTime + at / sampleRate);
    if (at >= 0) this.last = currentTime;
    return true;
  }
}
registerProcessor("ear", Ear);"""
LISTEN = f"""(async () => {{
  const p = {PLAYER};
  p.core.sound.unlock();
  const {{ context, gain }} = p.core.sound;
  await context.audioWorklet.addModule(URL.createObjectURL(new Blob([{EAR!r}], {{ type: "text/javascript" }})));
  const ear = new AudioWorkletNode(context, "ear");
  gain.connect(ear).connect(context.destination);
  window.heard = [];
  window.clock = [];
  window.shown = [];
  p.addEventListener("framechange", () => shown.push([performance.now(), p.currentFrame]));
  ear.port.onmessage = ({{ data }}) => {{
    const {{ contextTime, performanceTime }} = context.getOutputTimestamp();
    heard.push(performanceTime + (data - contextTime) * 1000);
  }};
  setInterval(() => clock.push([performance.now(), p.currentTime]), 4);
  return context.state;
}})()"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site of a file of a few seconds with clicks."""
    folder = tmp_path_factory.mktemp("sound")
    samples = np.zeros((round(48000 * (SECONDS + 1)), 1), np.float32)
    for at in CLICKS:
        first = round(48000 * at)
        samples[first : first + 480, 0] = 0.8 * np.cos(2 * np.pi * 2000 * np.arange(480) / 48000)
    write_sound(folder / "a.wav", samples, "pcm_s16le")
    sound = read_sound(folder / "a.wav", Fraction(0), Fraction(SECONDS)).sound
    with StreamReader(DATA / "golden_v6.tvvc") as reader:
        heard = SoundWriter(sound, reader.header.fps, 2 * GROUPS, FPS)
        with Assembly.create(folder / "a.tvvc", reader.header, 7, sound=heard) as file:
            for _ in range(GROUPS):
                file.add(reader, 0)
            file.finish()
    assert run(["web", str(folder / "a.tvvc"), "-o", str(folder / "site"), "--poster", "none"]) == 0
    assert run(["web", str(folder / "a.tvvc"), "-o", str(folder / "one.html"), "--poster", "none"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with small_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    with serving(folder / "site") as address:
        yield f"{address}/data/index.html"


def opened(page: Page, url: str) -> None:
    page.open("about:blank")
    page.open(url)
    page.wait_for(f"{PLAYER}?.readyState >= 4 || {PLAYER}?.error")
    assert page.evaluate(f"[{PLAYER}.error, {PLAYER}.hasSound]") == [None, True]


def begun(page: Page, url: str, where: float = 0.0, rate: float = 1.0) -> None:
    """Plays from a time on after a click, again and again, with something that listens."""
    opened(page, url)
    page.evaluate(f"{{ {PLAYER}.currentTime = {where}; {PLAYER}.playbackRate = {rate}; {PLAYER}.loop = true; }}")
    page.click(f"{PLAYER}.shadowRoot.querySelector('.begin')")
    page.evaluate(f"{PLAYER}.pause()")
    page.wait_for(f"{PLAYER}.core.sound.audible")
    assert page.evaluate(LISTEN) == "running"
    page.evaluate(f"{{ {PLAYER}.currentTime = {where}; }}")
    page.wait_for(f"!{PLAYER}.seeking")
    page.evaluate(f"{PLAYER}.play()")


def offsets(page: Page) -> list[tuple[float, float]]:
    """Of each click that was heard: its time in the file, and seconds from there to the clock when it was heard."""
    heard, clock = page.evaluate("[heard, clock]")
    now, times = np.array(clock).T
    found = []
    # The audio graph is ahead of what is heard: of clicks that are still to be heard the clock says nothing yet.
    for at in (at for at in heard if at <= now[-1]):
        time = float(np.interp(at, now, times))
        click = min(CLICKS, key=lambda own: abs(own - time))
        found.append((click, time - click))
    return found


def check(page: Page, count: int, rate: float = 1.0) -> None:
    """Waits until some clicks were heard; all of them in time."""
    page.wait_for(f"heard.filter((at) => at <= clock.at(-1)[0]).length >= {count}")
    found = offsets(page)
    assert len(found) >= count
    assert max(abs(off) / rate for _, off in found) < NEAR, found


def test_clicks_are_heard_in_time(page: Page, url: str) -> None:
    begun(page, url)
    check(page, 4)


@pytest.mark.parametrize("rate", [0.5, 2])
def test_at_other_speeds(page: Page, url: str, rate: float) -> None:
    begun(page, url, 0.1, rate)
    check(page, 3, rate)


def test_after_seeks_and_changes_of_speed(page: Page, url: str) -> None:
    begun(page, url)
    check(page, 1)
    for time, rate in ((2.5, 1), (0.2, 0.5), (1.7, 0.75)):
        page.evaluate(f"{{ heard.length = 0; {PLAYER}.playbackRate = {rate}; {PLAYER}.currentTime = {time}; }}")
        check(page, 2, rate)


def test_a_loop_begins_again_with_its_sound(page: Page, url: str) -> None:
    begun(page, url, 4.0)
    page.wait_for(f"{PLAYER}.currentTime < 2")
    page.evaluate("{ heard.length = 0; }")
    check(page, 2)


def test_it_is_silent_when_it_should_be(page: Page, url: str) -> None:
    begun(page, url)
    page.wait_for("heard.length >= 1")
    page.evaluate(f"{{ {PLAYER}.pause(); }}")
    assert page.evaluate(f"{PLAYER}.core.sound.now") is None
    page.evaluate("new Promise((done) => setTimeout(done, 100))")
    count = page.evaluate("heard.length")
    button = f"{PLAYER}.shadowRoot.querySelector('.row > .sound')"
    page.evaluate("new Promise((done) => setTimeout(done, 900))")
    assert page.evaluate("heard.length") == count
    page.evaluate(f"{button}.click()")
    assert page.evaluate(f"[{PLAYER}.muted, {button}.ariaPressed]") == [True, "false"]
    page.evaluate(f"{{ {PLAYER}.currentTime = 1.2; {PLAYER}.play(); }}")
    page.wait_for(f"{PLAYER}.currentTime > 1.7")
    assert page.evaluate("heard.length") == count
    page.evaluate(f"{{ {PLAYER}.muted = false; }}")
    check(page, count + 2)
    # Backwards nothing is heard, and the volume reaches the graph.
    page.evaluate(f"{{ {PLAYER}.playbackRate = -1; {PLAYER}.volume = 0.25; }}")
    page.evaluate("new Promise((done) => setTimeout(done, 400))")
    assert page.evaluate(f"[{PLAYER}.core.sound.now, {PLAYER}.core.sound.gain.gain.value]") == [None, 0.25]


def test_an_autoplaying_page_is_silent_until_something_is_done(page: Page, url: str) -> None:
    page.open("about:blank")
    page.open(url)
    page.wait_for(f"{PLAYER}?.matches(':defined')")
    page.evaluate(f"{{ {PLAYER}.autoplay = true; {PLAYER}.loop = true; }}")
    page.wait_for(f"{PLAYER}.readyState >= 4 && !{PLAYER}.paused && {PLAYER}.currentTime > 0.2")
    button = f"{PLAYER}.shadowRoot.querySelector('.row > .sound')"
    assert page.evaluate(f"[{PLAYER}.core.sound.audible, {button}.ariaPressed, {PLAYER}.muted]") == [
        *(False, "false", False)
    ]
    page.click(button)
    wait_for(lambda: page.evaluate(f"{PLAYER}.core.sound.audible && {button}.ariaPressed === 'true'"), "sound")
    assert page.evaluate(f"[{PLAYER}.muted, {PLAYER}.paused]") == [False, False]
    page.wait_for(f"{PLAYER}.core.sound.now?.sources.size > 0")


def test_one_page_has_it_and_files_without_have_no_button(page: Page, folder: Path) -> None:
    opened(page, (folder / "one.html").as_uri())
    assert page.evaluate(f"{PLAYER}.shadowRoot.querySelector('.row > .sound').hidden") is False
    assert run(["web", str(DATA / "golden_v6.tvvc"), "-o", str(folder / "silent.html"), "--poster", "none"]) == 0
    page.open((folder / "silent.html").as_uri())
    page.wait_for(f"{PLAYER}?.readyState >= 4")
    assert page.evaluate(f"[{PLAYER}.hasSound, {PLAYER}.shadowRoot.querySelector('.row > .sound').hidden]") == [
        False,
        True,
    ]


def test_a_damaged_run_leaves_the_rest(page: Page, url: str, folder: Path) -> None:
    data = bytearray((folder / "a.tvvc").read_bytes())
    with StreamReader(folder / "a.tvvc") as reader:
        data[reader.sounds[2].offset + 40] ^= 1
    (folder / "site" / "bad.tvvc").write_bytes(bytes(data))
    opened(page, url)
    page.evaluate(f"{{ {PLAYER}.src = 'bad.tvvc'; }}")
    page.wait_for(f"{PLAYER}.readyState >= 4 && {PLAYER}.hasSound")
    page.click(f"{PLAYER}.shadowRoot.querySelector('.begin')")
    page.wait_for(f"{PLAYER}.core.sound.hasFailed")
    page.wait_for(f"{PLAYER}.shadowRoot.querySelector('.notice').textContent.startsWith('The sound')")
    page.evaluate(f"{{ {PLAYER}.loop = true; {PLAYER}.play(); }}")
    page.wait_for(f"{PLAYER}.core.sound.now?.sources.size > 0")
    assert page.evaluate(f"{PLAYER}.error") is None


def test_a_file_that_the_browser_lets_go_of_is_loaded_again(page: Page, url: str) -> None:
    """This server serves no ranges. The browser serves them out of what it has kept of the first visit."""
    opened(page, url)
    opened(page, url)
    page.send("Network.clearBrowserCache")
    page.click(f"{PLAYER}.shadowRoot.querySelector('.begin')")
    page.evaluate(f"{{ {PLAYER}.loop = true; {PLAYER}.currentTime = 3; {PLAYER}.play(); }}")
    page.wait_for(f"{PLAYER}.error || ({PLAYER}.currentTime > 3.3 && {PLAYER}.core.sound.now?.sources.size > 0)")
    assert page.evaluate(f"[{PLAYER}.error, !!{PLAYER}.core.sound.hasFailed]") == [None, False]
