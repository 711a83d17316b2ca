"""A small web server for the player: a page, its modules, and the files that were named; nothing else.

It answers only requests that name its own address (``Host``) and come from its own pages (``Origin``), as
:mod:`taichi_vvc.play.guard` says. Parts of files can be asked for, so that the player loads only what it shows.
"""

from __future__ import annotations

import os
import re
import socket
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from taichi_vvc.errors import DataError
from taichi_vvc.play.guard import welcome
from taichi_vvc.play.modules import modules_of, source
from taichi_vvc.play.pages import MODULES, PAGE, WORKER, attributes_of, page_text

_PIECE = 1 << 16  # bytes that are sent at a time
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
# Nothing of another site is loaded, and no other site shows the player in a frame.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_TYPES = {".js": "text/javascript; charset=utf-8", ".html": "text/html; charset=utf-8"}


class PlayerServer(ThreadingHTTPServer):
    """Serves one file's player. ``serve_forever`` answers requests until ``shutdown``."""

    daemon_threads = True
    # Another program that listens on this port must be noticed.
    allow_reuse_address = os.name != "nt"

    def __init__(self, file: Path, host: str, port: int, title: str, camera: str | None = None) -> None:
        """Begins to listen; if the port is in use, the next free one of the following ten is taken.

        Args:
            file: the .tvvc file.
            host: address to listen on.
            port: 0 for any.
            title: the page's title.
            camera: name of the camera whose view is the first.

        Raises:
            DataError: the server cannot listen at this address.
        """
        self.own_host = host
        self.stream = file
        attributes = attributes_of(camera, src="scene.tvvc")
        page = page_text(title, attributes, f'<script type="module" src="{MODULES}/{PAGE}"></script>')
        self.texts = {"/": (page.encode(), _TYPES[".html"])}
        for name in modules_of(PAGE, WORKER):
            self.texts[f"/{MODULES}/{name}"] = source(name).encode(), _TYPES[".js"]
        if ":" in host:
            self.address_family = socket.AF_INET6
        problem: OSError | None = None
        for candidate in range(port, port + 10 if port else 1):
            try:
                super().__init__((host, candidate), _Handler)
                return
            except OSError as error:
                problem = error
        raise DataError(f"expected an address to listen on, found {host} port {port}: {problem}")

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """The page's address."""
        host = "127.0.0.1" if self.own_host in ("0.0.0.0", "::", "") else self.own_host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Browsers hang up as they please; that is nobody's concern."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PlayerServer
    timeout = 60

    def do_GET(self) -> None:
        """Answers with the page, a module, the file, or a part of the file."""
        self._answer(True)

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self._answer(False)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""

    def version_string(self) -> str:
        """What the server calls itself."""
        return "tvvc"

    def _answer(self, body: bool) -> None:
        server, headers = self.server, self.headers
        if not welcome(server.own_host, headers.get_all("Host", []), headers.get_all("Origin", [])):
            self._send_text(HTTPStatus.FORBIDDEN, b"This player answers only under its own address.\n", body=body)
            return
        path = unquote(urlsplit(self.path).path)
        if path == "/scene.tvvc":
            self._send_stream(body)
        elif path in server.texts:
            text, kind = server.texts[path]
            self._send_text(HTTPStatus.OK, text, kind, body)
        else:
            self._send_text(HTTPStatus.NOT_FOUND, b"There is no such page.\n", body=body)

    def _begin(self, status: HTTPStatus, kind: str, length: int, **more: str) -> None:
        self.send_response(status)
        common = {
            "Content-Type": kind,
            "Content-Length": str(length),
            "Cache-Control": "no-cache",
            "Content-Security-Policy": _POLICY,
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
        }
        for name, value in {**common, **{name.replace("_", "-"): value for name, value in more.items()}}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_text(self, status: HTTPStatus, text: bytes, kind: str = "text/plain", body: bool = True) -> None:
        self._begin(status, kind, len(text))
        if body:
            self.wfile.write(text)

    def _send_stream(self, body: bool) -> None:
        try:
            opened = self.server.stream.open("rb")
        except OSError:
            self._send_text(HTTPStatus.NOT_FOUND, b"The file is not there any more.\n", body=body)
            return
        with opened:
            size = os.fstat(opened.fileno()).st_size
            part = _part(self.headers.get("Range"), size)
            kind = "application/octet-stream"
            if part is None:
                part = 0, size
                self._begin(HTTPStatus.OK, kind, size, Accept_Ranges="bytes")
            elif part[0] >= part[1]:
                status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
                self._begin(status, kind, 0, Content_Range=f"bytes */{size}")
                return
            else:
                begin, end = part
                told = f"bytes {begin}-{end - 1}/{size}"
                self._begin(HTTPStatus.PARTIAL_CONTENT, kind, end - begin, Content_Range=told, Accept_Ranges="bytes")
            if not body:
                return
            opened.seek(part[0])
            left = part[1] - part[0]
            while left > 0:
                piece = opened.read(min(left, _PIECE))
                if not piece:
                    self.close_connection = True  # the file has become shorter
                    return
                self.wfile.write(piece)
                left -= len(piece)


def _part(asked: str | None, size: int) -> tuple[int, int] | None:
    """Where the part that is asked for begins and ends; empty: none; None: the whole, as for what is unclear."""
    match = _RANGE.fullmatch(asked.strip()) if asked else None
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    begin = int(first)
    end = min(size, int(last) + 1) if last else size
    if last and int(last) < begin:
        return None
    return begin, max(begin, end) if begin < size else begin
