"""Several qualities of one scene behind a server whose connection is slow at times: what is shown when."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import captures
import pytest
from backends import runtime
from browser import Page
from javascript import evaluate
from pages import _Handler, serving, small_page
from sounds import click, write_sound
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.bitstream import SequenceHeader, StreamReader
from taichi_vvc.bitstream.assembly import Assembly
from taichi_vvc.cli import run
from taichi_vvc.config import PRESETS
from taichi_vvc.errors import ConfigError
from taichi_vvc.play.scene import check_scene

LAMBDAS = (5e-4, 3e-5, 1e-6)
FRAMES, REPEATED, FPS = 4, 40, 8
PLAYER = "document.querySelector('tvvc-player')"


class Throttle:
    """How many bytes per second all connections together get, and what was asked for."""

    rate = 1e9
    lock = threading.Lock()

    @classmethod
    def wait(cls, size: int) -> None:
        with cls.lock:
            time.sleep(size / cls.rate)


class _Slow(_Handler):
    """Serves ranges, at the throttle's rate."""

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        asked = self.headers.get("Range", "")
        if not path.is_file() or not asked.startswith("bytes=") or path.suffix != ".tvvc":
            super().do_GET()
            return
        data = path.read_bytes()
        first, _, last = asked.removeprefix("bytes=").partition("-")
        begin, end = (
            (int(first), min(int(last or len(data) - 1) + 1, len(data))) if first else (len(data) - int(last), None)
        )
        end = len(data) if end is None else end
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        self.send_header("Content-Length", str(end - begin))
        self.end_headers()
        for at in range(begin, end, 1024):
            Throttle.wait(min(1024, end - at))
            try:
                self.wfile.write(data[at : min(at + 1024, end)])
                self.wfile.flush()
            except OSError:
                return


def slower(reader: StreamReader) -> SequenceHeader:
    """A file's header with fewer frames per second, so that its groups take half a second."""
    return dataclasses.replace(reader.header, fps=Fraction(FPS))


@pytest.fixture(scope="module")
def qualities(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three files, whose group is repeated until they take some seconds."""
    runtime()
    folder = tmp_path_factory.mktemp("levels")
    capture = tv.open_capture(captures.write_capture(folder / "capture", cameras=5, frames=FRAMES, size=32))
    found = []
    for number, weight in enumerate(LAMBDAS):
        own = {**ONE_LEVEL, "keyint": 4, "key_iterations": 60, "inter_iterations": 20, "lambda_rate": weight}
        short, long = folder / f"short{number}.tvvc", folder / f"level{number}.tvvc"
        list(tv.encode(capture, tv.EncoderConfig(**own, scenecut=False), short))
        with StreamReader(short) as reader, Assembly.create(long, slower(reader), 6) as file:
            for _ in range(REPEATED):
                file.add_all(reader)
            file.finish()
        found.append(long)
    return found


@pytest.fixture(scope="module")
def site(qualities: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site") / "site"
    assert run(["web", *map(str, reversed(qualities)), "-o", str(folder), "--poster", "none"]) == 0
    return folder


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with small_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


def test_the_manifest_lists_what_belongs_together(qualities: list[Path], site: Path) -> None:
    manifest: dict[str, Any] = json.loads((site / "scene.json").read_text())
    assert [one["file"] for one in manifest["files"]] == [path.name for path in qualities]
    sizes = [path.stat().st_size for path in qualities]
    assert [one["bytes"] for one in manifest["files"]] == sizes == sorted(sizes)
    assert manifest["frames"] == FRAMES * REPEATED and manifest["segments"] == list(range(0, FRAMES * REPEATED, FRAMES))
    assert manifest["files"][1]["bitrate"] == pytest.approx(8 * sizes[1] / (FRAMES * REPEATED / FPS))
    assert all((site / path.name).read_bytes() == path.read_bytes() for path in qualities)
    assert 'src="scene.json"' in (site / "index.html").read_text()


def test_files_that_show_something_else_are_refused(qualities: list[Path], tmp_path: Path, capfd) -> None:
    with StreamReader(qualities[0]) as reader, Assembly.create(tmp_path / "short.tvvc", reader.header, 6) as file:
        file.add(reader, 0)
        file.finish()
    with pytest.raises(ConfigError, match=r"another quality of .*short.tvvc, found other frames \d+ \(there \d+\)"):
        check_scene([qualities[0], tmp_path / "short.tvvc"])
    other = Path(__file__).parent.parent / "data" / "golden_v6.tvvc"
    assert run(["web", str(qualities[0]), str(other), "-o", str(tmp_path / "site"), "--poster", "none"]) == 2
    assert "found other" in capfd.readouterr().err and not (tmp_path / "site").exists()
    assert run(["web", *map(str, qualities), "-o", str(tmp_path / "a.html"), "--poster", "none"]) == 2
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / qualities[0].name).write_bytes(qualities[0].read_bytes())
    with pytest.raises(ConfigError, match="distinct names"):
        check_scene([qualities[0], tmp_path / "sub" / qualities[0].name])


def test_a_ladder_makes_files_that_go_together(tmp_path: Path, monkeypatch, capfd) -> None:
    """Also where larger lambdas would have larger cells, and after it was stopped."""
    runtime()
    own = {**ONE_LEVEL, "preset": "ultrafast", "keyint": 2, "key_iterations": 12, "inter_iterations": 6}
    monkeypatch.setitem(PRESETS, "ultrafast", tv.EncoderConfig(**own))
    capture = captures.write_capture(tmp_path / "capture", cameras=5, frames=3, size=24)
    write_sound(tmp_path / "a.wav", click(1, 0.05), "pcm_s16le")
    out = tmp_path / "out"
    arguments = ["ladder", str(capture), "-o", str(out), "--preset", "ultrafast", "--crf", "40,20,46"]
    arguments += ["--backend", "cpu", "--audio", str(tmp_path / "a.wav")]
    assert run(arguments) == 0
    names = [f"capture_crf{crf}.tvvc" for crf in (20, 40, 46)]
    manifest = json.loads((out / "scene.json").read_text())
    assert sorted(one["file"] for one in manifest["files"]) == names and manifest["segments"] == [0, 2]
    readers = []
    for name in names:
        with StreamReader(out / name) as reader:
            readers.append(reader)
            assert reader.sound() is not None
    assert len({reader.header.layout for reader in readers}) == 1
    before = [(out / name).read_bytes() for name in names]
    (out / names[1]).write_bytes(before[1][: readers[1].frames[1].offset])
    (out / names[2]).unlink()
    assert run([*arguments, "--resume"]) == 0
    assert [(out / name).read_bytes() for name in names] == before
    capfd.readouterr()
    assert run(arguments) == 2 and "add -y to replace it or --resume" in capfd.readouterr().err
    assert run([*arguments[:-6], "--crf", "20", "-y"]) == 2


# Plays a scene without drawing: a frame is due every 40 ms, and time stands while its segment is not there.
PLAY = """
import { openScene } from "WEB/player/levels.js";
const levels = await openScene(given[0], {});
const [seconds, ahead, only] = given.slice(1);
if (only !== null) await levels.keepTo(only);
const { fps } = levels.files[0].header;
const count = levels.files[0].frames.length;
const shown = [];
let stalled = 0;
let before = performance.now();
let time = 0;
let last = -1;
while (time < seconds) {
  await new Promise((resolve) => setTimeout(resolve, 4));
  const now = performance.now();
  const number = Math.min(count - 1, Math.floor(time * fps));
  const level = levels.levelOf(number);
  if (number !== last) levels.loadAhead(number, ahead);
  if (levels.files[level].buffered(number) > 0) {
    if (number !== last) {
      await levels.decode(number, level);
      shown.push([number, level]);
    }
    last = number;
    time += (now - before) / 1000;
  } else {
    if (shown.length) stalled += (now - before) / 1000;
    levels.files[level].source.want(...levels.framesOf(levels.segmentOf(number)).map((f, k) =>
      k ? levels.files[level].endOf(f) : levels.files[level].startOf(f)));
  }
  before = now;
}
tell({ shown, stalled });
process.exit(0);
"""


def played(site: Path, plan: list[tuple[float, float]], ahead: float, only: int | None = None) -> dict[str, Any]:
    """Plays a site while the connection has (seconds, bytes per second) one after the other; ``ahead``: bytes."""
    Throttle.rate = plan[0][1]

    def change() -> None:
        for seconds, rate in plan:
            Throttle.rate = rate
            time.sleep(seconds)

    with serving(site, _Slow) as address:
        thread = threading.Thread(target=change, daemon=True)
        thread.start()
        found = evaluate(PLAY, f"{address}/data/scene.json", sum(seconds for seconds, _ in plan), ahead, only)
    found["levels"] = [level for _, level in found["shown"]]
    return found


def test_quality_follows_the_connection(qualities: list[Path], site: Path) -> None:
    """A connection that is enough for the best, then for the lowest only, then for the best again."""
    seconds = FRAMES * REPEATED / FPS
    rates = [path.stat().st_size / seconds for path in qualities]
    plan = [(4.0, 6 * rates[2]), (7.0, 1.25 * rates[0]), (5.0, 8 * rates[2])]
    found = played(site, plan, 2 * rates[2])
    print(rates, found["levels"], found["stalled"])
    levels = found["levels"]
    best = levels.index(2)
    assert levels[0] == 0 and best < 5 * FPS and min(levels[best:]) < 2 and levels[-1] > min(levels[best:])
    # The lowest alone could be played all the time, and so there was no reason to wait for anything better.
    assert found["stalled"] < 0.25
    # Changes are between groups; a busy machine passes frames over, also the first of a group.
    for (last, before), (number, after) in itertools.pairwise(found["shown"]):
        assert before == after or number // FRAMES > last // FRAMES
    # The best alone would have had to wait.
    alone = played(site, plan[:2], 2 * rates[2], only=2)
    print(alone["stalled"])
    assert set(alone["levels"]) == {2} and alone["stalled"] > found["stalled"] + 0.2


def test_a_slow_connection_gets_the_lowest(qualities: list[Path], site: Path) -> None:
    seconds = FRAMES * REPEATED / FPS
    rate = qualities[0].stat().st_size / seconds
    found = played(site, [(3.0, 1.5 * rate)], 4 * rate)
    assert set(found["levels"]) == {0} and found["stalled"] < 0.25


def test_the_player_changes_without_moving_the_view(page: Page, site: Path) -> None:
    Throttle.rate = 1e9
    with serving(site, _Slow) as address:
        page.open(f"{address}/data/index.html")
        page.wait_for(f"{PLAYER}?.readyState >= 4 || {PLAYER}?.error")
        page.evaluate(
            f"""(() => {{ const p = {PLAYER}; window.shown = [];
            p.addEventListener("framechange", () => shown.push([p.currentFrame, p.currentLevel, p.viewpoint.view]));
            p.level = 1; p.loop = true; p.play(); }})()"""
        )
        assert page.evaluate(f"[{PLAYER}.levels.length, {PLAYER}.level]") == [3, 1]
        page.wait_for(f"{PLAYER}.currentLevel === 1")
        page.evaluate(f"{{ {PLAYER}.level = 2; }}")
        page.wait_for(f"{PLAYER}.currentLevel === 2")
        page.evaluate(f"{{ {PLAYER}.level = 'auto'; {PLAYER}.pause(); }}")
        shown, view = page.evaluate(f"[shown, {PLAYER}.viewpoint.view]")
        assert all(own == view for _, _, own in shown) and {level for _, level, _ in shown} >= {1, 2}
        button = f"{PLAYER}.shadowRoot.querySelector('.anchor > .settings')"
        page.click(button)
        labels = f"[...{button}.nextElementSibling.querySelectorAll('.label')].slice(0, 4).map((l) => l.textContent)"
        found = page.evaluate(labels)
        assert found[0] == "Auto" and all(label.endswith("bit/s") for label in found[1:])
