"""A local server for tests in the browser: the package's web folder, the helpers beside this file, and a folder."""

from __future__ import annotations

import base64
import functools
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
from browser import Page, open_page

import taichi_vvc

WEB = Path(taichi_vvc.__file__).parent / "web"
HERE = Path(__file__).parent
# WebGPU and WebGL 2 on the processor. Pictures of WebGPU reach the page only where all is drawn by Vulkan.
SOFTWARE = (
    "--enable-gpu --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader --use-angle=swiftshader "
    "--enable-features=Vulkan --use-vulkan=swiftshader"
).split()
KINDS = "webgpu", "webgl2"


class _Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    extensions_map: ClassVar[dict[str, str]] = {
        ".js": "text/javascript",
        ".html": "text/html",
        "": "application/octet-stream",
    }

    def __init__(self, folder: Path, *args: Any) -> None:
        self.roots = {"web": WEB, "tests": HERE, "data": folder}
        super().__init__(*args)

    def translate_path(self, path: str) -> str:
        first, _, rest = urlsplit(path).path.strip("/").partition("/")
        return str(self.roots.get(first, Path("/nowhere")) / rest)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving(folder: Path, handler: type[_Handler] = _Handler) -> Iterator[str]:
    """The address of a server with /web, /tests and /data, which is ``folder``."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, folder))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def software_page(folder: Path, size: tuple[int, int] = (800, 600)) -> Iterator[Page]:
    """A page in a browser whose GPU is the processor."""
    with open_page(folder, size, SOFTWARE) as page:
        yield page


@contextmanager
def small_page(folder: Path) -> Iterator[Page]:
    """A page of 320x240 that draws a quarter of its pixels, for tests that look at none; nothing may go wrong in it."""
    with software_page(folder, (320, 240)) as page:
        size = {"width": 320, "height": 240, "deviceScaleFactor": 0.25, "mobile": False}
        page.send("Emulation.setDeviceMetricsOverride", **size)
        yield page
        assert not page.errors


def pixels_of(found: dict[str, Any], width: int, height: int) -> np.ndarray:
    """(height, width, 4) uint8 of what ``picture`` of draw.js returned."""
    return np.frombuffer(base64.b64decode(found["pixels"]), np.uint8).reshape(height, width, 4)


def decibels(a: np.ndarray, b: np.ndarray) -> float:
    """PSNR of 8-bit pictures."""
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 10 * np.log10(255**2 / max(error, 1e-9))
