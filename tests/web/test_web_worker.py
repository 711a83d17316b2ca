"""The decoder in a Web Worker of a browser, with a file from a server that knows no ranges."""

from __future__ import annotations

import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from browser import open_page
from javascript import WEB
from places import DATA

import taichi_vvc as tv

FILE = DATA / "golden_v6.tvvc"

CODE = """(async () => {
  const { openInWorker } = await import("/decoder/remote.js");
  const worker = new Worker("/decoder/worker.js", { type: "module" });
  const file = await openInWorker(worker, { url: new URL("/scene.tvvc", location.href).href });
  const found = [];
  let frame = null;
  for (let index = 0; index < file.frames.length; index++) {
    frame = await file.decode(index, { reuse: frame, narrow: true });
    const sums = [frame.occupancy, ...frame.symbols].map((array) => array.reduce((a, b) => a + b, 0));
    found.push([...sums, frame.group.mlp.length]);
  }
  const traffic = await file.traffic();
  const refused = await openInWorker(new Worker("/decoder/worker.js", { type: "module" }), { url: "/nothing.tvvc" })
    .then(() => "none", (error) => error.name);
  await file.close();
  return { found, traffic, refused };
})()"""


class Handler(SimpleHTTPRequestHandler):
    """The folder ``web/``, the file, and an empty page."""

    def translate_path(self, path: str) -> str:
        return str(FILE) if path == "/scene.tvvc" else super().translate_path(path)

    def log_message(self, *arguments: Any) -> None:
        pass


def test_a_worker_in_a_browser(tmp_path: Path) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(WEB)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with open_page(tmp_path) as page:
            page.open(f"http://127.0.0.1:{server.server_port}/package.json")
            page.wait_for("document.readyState == 'complete' && location.port")
            told = page.evaluate(CODE)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    with tv.open(FILE) as stream:
        frames = [stream.symbols(index) for index in range(len(stream))]
    expected = [[int(f.occupancy.sum()), *(int(grid.sum()) for grid in f.symbols), 8] for f in frames]
    assert told["found"] == expected
    assert told["traffic"]["ranges"] is False and told["traffic"]["bytes"] == FILE.stat().st_size
    assert told["refused"] == "SourceError"
