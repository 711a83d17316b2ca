"""The page of ``tvvc eval --report`` and the pictures of ``tvvc encode --preview``."""

from __future__ import annotations

import errno
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import open_page
from captures import write_capture
from PIL import Image
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.cli import run
from taichi_vvc.errors import DataError
from taichi_vvc.measure.report import Report
from taichi_vvc.media import charts
from taichi_vvc.media.video import write_png
from taichi_vvc.play.preview import PreviewWriter

TINY = tv.EncoderConfig(**ONE_LEVEL)
FRAMES = 2


@pytest.fixture(scope="module")
def coded(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A capture with one held-out camera, its file, and the folder of the previews written meanwhile."""
    folder = tmp_path_factory.mktemp("report")
    capture = write_capture(folder / "ring & <co>", cameras=5, frames=FRAMES, size=32)
    look = PreviewWriter(folder / "looks", interval=0.0)
    list(tv.encode(tv.open_capture(capture), TINY, folder / "a<b>.tvvc", preview=look))
    return capture, folder / "a<b>.tvvc", folder / "looks"


@pytest.fixture(scope="module")
def page(coded, tmp_path_factory) -> Path:
    capture, file, _ = coded
    path = tmp_path_factory.mktemp("page") / "out.html"
    assert run(["eval", str(file), str(capture), "--report", str(path), "--split", "all", "--backend", "cpu"]) == 0
    return path


class _Outline(HTMLParser):
    """Tags that were opened and not closed, all links of the page, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href", "data")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.links += [value for name, value in attrs if name in ("src", "href", "data")]

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data) -> None:
        self.text += f"{data}\n"


def test_the_page_is_whole_and_needs_nothing_else(page) -> None:
    outline = _Outline()
    outline.feed(page.read_text(encoding="utf-8"))
    assert outline.open == []
    assert len(outline.links) == 2 and all(link.startswith("data:image/png;base64,") for link in outline.links)
    assert "a<b>.tvvc against ring & <co>" in outline.text, "names are escaped, not interpreted"
    for part in ("Worst by PSNR", "Median by PSNR", "held out", "fitted", "lambda_rate", "coefficients", "overhead"):
        assert part in outline.text, part


def test_the_page_states_every_frame_with_its_bytes(page, coded) -> None:
    text = page.read_text(encoding="utf-8")
    with StreamReader(coded[1]) as reader:
        for number in range(FRAMES):
            kind, size = reader.frames[number].type, sum(reader.components(number).values())
            assert f"<tr><td>{number}</td><td>{kind}</td><td>{size}</td>" in text


def test_the_worst_picture_is_no_better_than_the_median(page) -> None:
    found = re.findall(r"(Worst|Median) by PSNR: frame \d, camera \w+, ([\d.]+) dB", page.read_text(encoding="utf-8"))
    assert [name for name, _ in found] == ["Worst", "Median"] and float(found[0][1]) <= float(found[1][1])


def test_a_report_is_not_overwritten_unasked(page, coded, capfd) -> None:
    before = page.read_bytes()
    assert run(["eval", str(coded[1]), str(coded[0]), "--report", str(page), "--backend", "cpu"]) == 2
    assert "-y" in capfd.readouterr().err and page.read_bytes() == before


def test_a_full_disk_leaves_no_part_of_a_report(page, coded, tmp_path, monkeypatch, capfd) -> None:
    target = tmp_path / "out.html"
    arguments = ["eval", str(coded[1]), str(coded[0]), "--report", str(target), "--backend", "cpu"]

    def fill_up(path: Path, text: str, **_more: object) -> int:
        path.write_bytes(text.encode()[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill_up)
    assert run(arguments) == 3
    assert f"error: {target}: cannot write: No space left on device" in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
    # What -y would have replaced is still there.
    target.write_bytes(b"before")
    assert run([*arguments, "-y"]) == 3
    assert target.read_bytes() == b"before" and list(tmp_path.iterdir()) == [target]


def test_a_report_without_pictures_is_refused(coded, tmp_path) -> None:
    with pytest.raises(DataError, match="at least one picture"):
        Report(coded[1], coded[0]).write(tmp_path / "x.html", {})


def test_a_browser_shows_the_page(page, tmp_path) -> None:
    with open_page(tmp_path) as browser:
        browser.open(page.as_uri())
        browser.wait_for("document.readyState === 'complete' && document.images.length === 2")
        assert browser.evaluate("[...document.images].every(i => i.naturalWidth > 100)")
        assert browser.evaluate("[...document.querySelectorAll('svg')].every(s => s.getBBox().width > 100)")
        picture = np.asarray(Image.open(browser.picture(tmp_path / "page.png")).convert("RGB"))
        assert browser.errors == []
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 50, "charts and pictures are to be seen"


def test_previews_are_written_during_and_after_each_frame(coded) -> None:
    folder = coded[2]
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["0000.png", "0001.png", "latest.png"]
    sheet = np.asarray(Image.open(folder / "0001.png")).astype(int)
    assert sheet.shape[1] == 3 * 64 + 8
    capture, decoded = sheet[18:, :64], sheet[18:, 68:132]
    assert 0 < np.abs(capture - decoded).mean() < 60, "the decoded picture resembles the capture, and is not it"


def test_looking_does_not_change_the_file(coded, tmp_path) -> None:
    list(tv.encode(tv.open_capture(coded[0]), TINY, tmp_path / "b.tvvc"))
    assert (tmp_path / "b.tvvc").read_bytes() == coded[1].read_bytes()


def test_the_command_writes_previews(monkeypatch, tmp_path) -> None:
    capture = write_capture(tmp_path / "capture", cameras=4, frames=1, size=24)
    monkeypatch.setitem(tv.PRESETS, "ultrafast", TINY)
    folder = tmp_path / "looks"
    arguments = ["encode", str(capture), "-o", str(tmp_path / "a.tvvc"), "--preset", "ultrafast", "--backend", "cpu"]
    assert run([*arguments, "--preview", str(folder)]) == 0
    assert (folder / "0000.png").is_file()
    write_png(folder / "mine.png", np.zeros((2, 2, 3)))
    assert run([*arguments[:3], str(tmp_path / "b.tvvc"), "--preview", str(folder)]) == 2


def test_an_encode_goes_on_without_previews_that_cannot_be_written(monkeypatch, tmp_path, capfd) -> None:
    capture = write_capture(tmp_path / "capture", cameras=4, frames=2, size=24)
    monkeypatch.setitem(tv.PRESETS, "ultrafast", TINY)
    folder, tried = tmp_path / "looks", []

    def full(path: Path, image: np.ndarray) -> None:
        tried.append(path)
        raise DataError(f"{path}: cannot write: No space left on device")

    monkeypatch.setattr("taichi_vvc.play.preview.write_png", full)
    file = tmp_path / "a.tvvc"
    arguments = ["encode", str(capture), "-o", str(file), "--preset", "ultrafast", "--backend", "cpu"]
    assert run([*arguments, "--preview", str(folder)]) == 0
    err = capfd.readouterr().err
    assert len(tried) == 1 and err.count("warning: ") == 1
    assert f"warning: {folder / 'latest.png'}: cannot write: No space left on device; encoding goes on without" in err
    with StreamReader(file) as reader:
        assert reader.complete and len(reader.frames) == 2


def test_bars_of_a_chart_add_up() -> None:
    text = charts.stacked({"a": [10.0, 0.0], "b": [30.0, 20.0]}, "bytes", height=220)
    tall = [float(v) for v in re.findall(r"v([\d.]+)h", text)]
    assert tall[0] + tall[2] == pytest.approx(2 * (tall[1] + tall[3])) and tall[2] == pytest.approx(
        3 * tall[0], abs=0.1
    )


def test_a_gap_in_a_line_stays_a_gap() -> None:
    text = charts.lines({"psnr": [30.0, None, 31.0, 32.0]}, "PSNR")
    (path,) = re.findall(r'<path d="(M[^"]*)" fill="none"', text)
    assert path.count("M") == 2 and path.count("L") == 1


@pytest.mark.parametrize("values", [[], [None], [5.0], [5.0, 5.0]])
def test_charts_of_little_are_drawn(values) -> None:
    assert "nan" not in charts.lines({"x": values}, "x").lower()
    assert "nan" not in charts.stacked({"x": [v or 0.0 for v in values]}, "x").lower()


def test_the_layout_of_the_capture_can_be_stated(coded, tmp_path) -> None:
    capture, file, _ = coded
    page = tmp_path / "out.html"
    arguments = ["eval", str(file), str(capture), "--backend", "cpu", "--report", str(page)]
    assert run([*arguments, "--format", "nhr"]) == 3 and not page.exists()
    assert run([*arguments, "--format", "transforms"]) == 0 and page.is_file()
