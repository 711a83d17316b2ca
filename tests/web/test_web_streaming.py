"""Files from a server: what is loaded, in how many requests, and what happens when something fails."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streams
from javascript import evaluate, needs_node
from places import DATA

import taichi_vvc as tv
from taichi_vvc.bitstream import FrameData, StreamReader, StreamWriter, versions
from taichi_vvc.coding.entropy import encode_integers

pytestmark = needs_node

SLACK = 4096  # bytes that a seek may load besides header, index and group


@dataclass
class Served:
    """A file on a server: its address, and the ranges that were asked for, as (begin, end); None: the whole file."""

    url: str
    asked: list[tuple[int, int] | None] = field(default_factory=list)


@contextmanager
def served(data: bytes, ranges: bool = True, failures: int = 0, cut: int = 0) -> Iterator[Served]:
    """A server with one file.

    Args:
        data: the file.
        ranges: whether it serves parts of it.
        failures: how many requests after the first two end with status 503.
        cut: bytes after which the answer to the third request ends early.
    """
    left = [failures, cut]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            if not found or not ranges:
                state.asked.append(None)
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
                return
            first, last = found.groups()
            begin = int(first) if first else max(0, len(data) - int(last))
            end = min(int(last) + 1, len(data)) if first and last else len(data)
            if len(state.asked) >= 2 and left[0]:
                left[0] -= 1
                self.send_error(503)
                return
            state.asked.append((begin, end))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
            self.send_header("Content-Length", str(end - begin))
            self.end_headers()
            body = data[begin:end]
            if len(state.asked) == 3 and left[1]:
                body, left[1] = body[: left[1]], 0
                self.close_connection = True
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Served(f"http://127.0.0.1:{server.server_port}/scene.tvvc")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def long_file(path: Path, groups: int = 12, version: int = 6) -> bytes:
    """A file of empty frames in groups of two, of which the third has MLPs, and the first."""
    header = streams.header()
    rng = np.random.default_rng(0)
    shapes = [(4, 16), (16,), (16, 8), (8,), (22, 16), (16,), (16, 3), (3,)]
    written, versions.WRITTEN = versions.WRITTEN, version
    try:
        with StreamWriter.create(path, header) as writer:
            for number in range(2 * groups):
                if number % 2 == 0:
                    group = streams.sharing_group(number // 2, number)
                    if number in (0, 4):
                        coded = encode_integers([rng.integers(-9, 10, shape).astype(np.int32) for shape in shapes])
                        group = streams.replace(group, mlp_steps=(0.5,) * 8, mlp=coded)
                    writer.add_group(group)
                kind = "inter" if number % 2 else "key"
                writer.add_frame(FrameData(number, number // 2, kind, b"", (b"\x02",) * 3))
            writer.finish()
    finally:
        versions.WRITTEN = written
    return path.read_bytes()


SEEK = """
import { openFile } from "WEB/decoder/decoder.js";
import { urlSource } from "WEB/decoder/sources.js";
const source = await urlSource(given[0]);
const file = await openFile(source);
const frames = [];
for (const index of given[1]) {
  const frame = await file.decode(index);
  frames.push([frame.number, frame.key, frame.group.number, frame.group.mlp[0][0]]);
}
tell({ frames, traffic: source.traffic, duration: file.header.duration });
source.close();
"""


def spent(asked: list) -> int:
    return sum(end - begin for begin, end in asked)


def bytes_twice(asked: list) -> int:
    """How many bytes were asked for more than once."""
    seen, twice = set(), 0
    for begin, end in asked:
        for at in range(begin, end):
            twice += at in seen
            seen.add(at)
    return twice


def test_a_seek_takes_three_requests_and_little_more_than_its_group() -> None:
    data = (DATA / "golden_v6.tvvc").read_bytes()
    with StreamReader(DATA / "golden_v6.tvvc") as reader:
        index = len(data) - reader.frames[-1].offset - reader.frames[-1].size
        group = reader.groups[0].size + sum(frame.size for frame in reader.frames if frame.group == 0)
        allowed = reader.header_bytes + index + group + SLACK
        last = max(frame.number for frame in reader.frames if frame.group == 0)
    with served(data) as server:
        found = evaluate(SEEK, server.url, [last])
        assert found["frames"][0][:3] == [last, False, 0]
        assert len(server.asked) == 3 == found["traffic"]["requests"]
        assert spent(server.asked) == found["traffic"]["bytes"] <= allowed
        assert bytes_twice(server.asked) == 0
        assert found["traffic"]["ranges"] and found["traffic"]["bytesPerSecond"] > 0
    with tv.open(DATA / "golden_v6.tvvc") as stream:
        assert found["duration"] == pytest.approx(len(stream) / float(stream.fps))


@pytest.mark.parametrize("version", [4, 6])
def test_mlps_of_an_earlier_group_take_one_more_request(version: int, tmp_path: Path) -> None:
    """In version 6 the index leads there, in older ones the sizes of chunks do."""
    data = long_file(tmp_path / "long.tvvc", 400, version)
    with StreamReader(tmp_path / "long.tvvc") as reader:
        mlp = reader.read_whole_group(300).mlp
        assert reader.owner_of_mlp(300).number == 2 and mlp
    with served(data) as server:
        found = evaluate(SEEK, server.url, [601])
        # The tail and the rest of the index, the header, the group, and the chunk with the MLPs.
        assert len(server.asked) == 5
        with StreamReader(tmp_path / "long.tvvc") as reader:
            index = len(data) - reader.frames[-1].offset - reader.frames[-1].size
            group = sum(part.size for part in (reader.groups[300], *reader.frames[600:602], reader.groups[2]))
            assert spent(server.asked) <= reader.header_bytes + index + group + SLACK
        assert bytes_twice(server.asked) == 0
        assert found["frames"][0][2] == 300


def test_playing_through_loads_every_byte_once() -> None:
    data = (DATA / "golden_v6.tvvc").read_bytes()
    with tv.open(DATA / "golden_v6.tvvc") as stream:
        count = len(stream)
    with served(data) as server:
        evaluate(SEEK, server.url, [*range(count), *range(count)])
        assert bytes_twice(server.asked) == 0
        assert spent(server.asked) <= len(data)


def test_a_server_without_ranges_sends_the_whole_file_once() -> None:
    data = (DATA / "golden_v6.tvvc").read_bytes()
    code = SEEK.replace("urlSource(given[0])", "urlSource(given[0], { progress: (...p) => progress.push(p) })").replace(
        "const source", "const progress = [];\nconst source"
    )
    code = code.replace("tell({", "tell({ progress,")
    with served(data, ranges=False) as server:
        found = evaluate(code, server.url, [1, 0])
        assert server.asked == [None]
    assert not found["traffic"]["ranges"] and found["traffic"]["bytes"] == len(data)
    assert found["progress"][-1] == [len(data), len(data)]


@pytest.mark.parametrize("failures, cut", [(2, 0), (0, 40)])
def test_a_failed_request_is_made_again(failures: int, cut: int) -> None:
    data = (DATA / "golden_v6.tvvc").read_bytes()
    with served(data, failures=failures, cut=cut) as server:
        found = evaluate(SEEK, server.url, [0, 1])
        assert [frame[0] for frame in found["frames"]] == [0, 1]
        # What had come before the connection broke is not asked for again.
        assert not cut or server.asked[3][0] == server.asked[2][0] + cut


FAIL = """
import { openFile } from "WEB/decoder/decoder.js";
import { urlSource } from "WEB/decoder/sources.js";
try {
  const source = await urlSource(given[0]);
  await (await openFile(source)).decode(0);
  tell(["none", ""]);
} catch (error) {
  tell([error.name, error.message]);
}
"""


def test_what_cannot_be_loaded_is_told() -> None:
    data = (DATA / "golden_v6.tvvc").read_bytes()
    with served(data) as server:
        pass
    name, message = evaluate(FAIL, server.url)
    assert name == "SourceError" and "found no answer" in message and "\n" not in message
    with served(b"<html>no such thing</html>" * 10, ranges=False) as server:
        assert evaluate(FAIL, server.url)[0] == "NotATvvcFile"
    with served(data, failures=99) as server:
        name, message = evaluate(FAIL, server.url, timeout=60)
        assert name == "SourceError" and "503" in message


AHEAD = """
import { openFile } from "WEB/decoder/decoder.js";
import { urlSource } from "WEB/decoder/sources.js";
const source = await urlSource(given[0]);
const file = await openFile(source);
await file.decode(0);
const before = file.buffered(0);
file.loadAhead(0, given[1]);
for (let k = 0; k < 200 && file.buffered(0) < given[2]; k++) await new Promise((wake) => setTimeout(wake, 10));
tell({ before, after: file.buffered(0), bytes: source.traffic.bytes });
source.close();
"""


def test_what_is_loaded_ahead_is_bounded(tmp_path: Path) -> None:
    data = long_file(tmp_path / "long.tvvc", 200)
    with StreamReader(tmp_path / "long.tvvc") as reader:
        size = reader.frames[40].offset - reader.groups[0].offset
    with served(data) as server:
        found = evaluate(AHEAD, server.url, size, 39)
        assert found["before"] == 1 and 38 <= found["after"] <= 41
        assert bytes_twice(server.asked) == 0


def test_a_seek_comes_before_what_is_loaded_ahead(tmp_path: Path) -> None:
    """The request ahead is given up; what had come of it stays."""
    code = """
    import { RangeSource } from "WEB/decoder/ranges.js";
    import { Meter } from "WEB/decoder/responses.js";
    const data = Uint8Array.from({ length: 1000 }, (_, k) => k & 255);
    const asked = [];
    const slow = async (url, { headers, signal }) => {
      const [begin, last] = headers.Range.match(/[0-9]+/g).map(Number);
      asked.push([begin, last + 1]);
      const ahead = begin === 100;
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(data.slice(begin, ahead ? begin + 50 : last + 1));
          if (!ahead) controller.close();
          signal.addEventListener("abort", () => controller.error(new Error("aborted")));
        },
      });
      return { status: 206, headers: new Headers(), body };
    };
    const source = new RangeSource("a", 1000, { fetch: slow }, new Meter());
    source.want(100, 600, true);
    await new Promise((wake) => setTimeout(wake, 20));
    const sought = await source.read(700, 10);
    const kept = await source.read(100, 50);
    const rest = await source.read(150, 10);
    tell({ asked, sought: [...sought], kept: kept.length, rest: [...rest] });
    source.close();
    """
    found = evaluate(code)
    assert found["asked"] == [[100, 600], [700, 710], [150, 160]]
    assert found["sought"] == [k & 255 for k in range(700, 710)]
    assert found["kept"] == 50 and found["rest"] == list(range(150, 160))


def test_a_whole_file_in_place_of_a_range_is_taken() -> None:
    """As from a server without ranges, once the browser has let go of what it had kept of the file."""
    code = """
    import { RangeSource } from "WEB/decoder/ranges.js";
    import { Meter } from "WEB/decoder/responses.js";
    const data = Uint8Array.from({ length: 1000 }, (_, k) => k & 255);
    const asked = [];
    const answers = (size) => async (url, { headers, signal }) => {
      const [begin, last] = headers.Range.match(/[0-9]+/g).map(Number);
      asked.push([begin, last + 1]);
      const kept = begin < 300;
      const body = new ReadableStream({
        start(controller) {
          controller.enqueue(kept ? data.slice(begin, begin + 50) : data.slice(0, size));
          if (!kept) controller.close();
          signal.addEventListener("abort", () => controller.error(new Error("aborted")));
        },
      });
      const headed = { "Content-Range": `bytes ${begin}-${last}/1000` };
      return { status: kept ? 206 : 200, headers: new Headers(kept ? headed : {}), body };
    };
    const meter = new Meter();
    const source = new RangeSource("a", 1000, { fetch: answers(1000) }, meter);
    source.want(100, 200, true);
    const begun = await source.read(110, 10);
    const sought = await source.read(700, 10);
    const other = await source.read(0, 1000);
    const short = new RangeSource("a", 1000, { fetch: answers(999) }, new Meter());
    let error = null;
    await short.read(700, 10).catch((found) => (error = [found.name, found.message]));
    const same = String(other) === String(data);
    tell({ asked, begun: [...begun], sought: [...sought], same, active: meter.active, error });
    """
    found = evaluate(code)
    assert found["asked"] == [[100, 200], [700, 710], [700, 710]]
    assert found["begun"] == list(range(110, 120)) and found["sought"] == [k & 255 for k in range(700, 710)]
    assert found["same"] and found["active"] == 0
    assert found["error"] == ["SourceError", "a: expected 1000 bytes, found 999; it has changed"]


def test_a_worker_decodes_as_the_page_would(tmp_path: Path) -> None:
    """The two ends of ``worker.js`` and ``remote.js``, over a channel of messages."""
    code = """
    import { readFile } from "node:fs/promises";
    import { openFile } from "WEB/decoder/decoder.js";
    import { openInWorker } from "WEB/decoder/remote.js";
    import { memorySource } from "WEB/decoder/sources.js";
    import { serve } from "WEB/decoder/worker.js";
    const { port1, port2 } = new MessageChannel();
    const adapted = (port) => ({
      postMessage: (message, transfer) => port.postMessage(message, transfer),
      set onmessage(take) { port.on("message", (data) => take({ data })); },
      terminate() { port.close(); },
    });
    serve(adapted(port1));
    const bytes = new Uint8Array(await readFile(given[0]));
    const here = await openFile(memorySource(bytes.slice()));
    const there = await openInWorker(adapted(port2), { bytes });
    const mixed = (values) => values.reduce((sum, value, k) => (sum * 31 + value + k) | 0, 7);
    const sum = (frame) => [frame.occupancy, ...frame.symbols].map(mixed);
    const same = [];
    let frame = null;
    for (let k = 0; k < here.frames.length; k++) {
      frame = await there.decode(k, { reuse: frame, narrow: true });
      const own = await here.decode(k);
      same.push(String(sum(frame)) === String(sum(own)) && frame.group.number === own.group.number);
      same.push(frame.group.mlp.every((values, n) => String(values) === String(own.group.mlp[n])));
    }
    const narrow = frame.symbols.map((grid) => grid.constructor.name);
    let error = null;
    await there.decode(99).catch((found) => (error = [found.name, found.constructor.name]));
    const frames = there.frames.length;
    await there.close();
    tell({ same, narrow, error, frames });
    """
    found = evaluate(code, DATA / "golden_v6.tvvc")
    assert all(found["same"]) and len(found["same"]) == 2 * found["frames"]
    assert set(found["narrow"]) == {"Int8Array"}
    assert found["error"] == ["ConfigError", "ConfigError"]
