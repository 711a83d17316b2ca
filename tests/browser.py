"""A headless Chromium for tests, driven over its DevTools protocol; tests are skipped if it is not installed."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --enable-unsafe-swiftshader --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage "
    "--remote-debugging-port=0 --remote-allow-origins=*"
).split()


class Page:
    """One page: commands, JavaScript, clicks, pictures, and what its console complained about."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Runs one command of the protocol and returns its result."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=120))
            if message.get("id") == self._number:
                assert "error" not in message, message
                return message["result"]
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"])))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "assert"):
            self.errors.append(str([part.get("value", part.get("description")) for part in told["args"]]))
        elif method == "Log.entryAdded" and told["entry"]["level"] == "error":
            self.errors.append(f"{told['entry']['text']} {told['entry'].get('url', '')}")

    def open(self, url: str) -> None:
        """Goes to an address."""
        self.send("Page.navigate", url=url)

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        found = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait_for(self, expression: str, seconds: float = 90) -> None:
        """Waits until an expression is true."""
        wait_for(lambda: self.evaluate(f"!!({expression})"), expression, seconds)

    def click(self, element: str) -> None:
        """Clicks the middle of the element that an expression names, once it stays where it is."""
        script = f"(() => {{ const r = ({element}).getBoundingClientRect(); return [r.x, r.y, r.width, r.height] }})()"
        places: list[Any] = []

        def still() -> bool:
            time.sleep(0.3)
            places.append(self.evaluate(script))
            return len(places) > 2 and places[-3] == places[-2] == places[-1] and min(places[-1][2:]) > 0

        wait_for(still, f"{element} to stay in its place")
        x, y, width, height = places[-1]
        self.drag([(x + width / 2, y + height / 2)])

    def drag(self, points: list[tuple[float, float]]) -> None:
        """Presses at the first point, moves over the others and releases."""
        kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
        for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def picture(self, path: Path) -> Path:
        """Saves what the page looks like as a PNG."""
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))
        return path


def wait_for(check: Callable[[], Any], what: str, seconds: float = 90) -> Any:
    """Waits until ``check()`` is true, and returns its value."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = check()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"waited {seconds} s in vain for {what}")


@contextmanager
def open_page(folder: Path, size: tuple[int, int] = (1200, 720), flags: Sequence[str] = ()) -> Iterator[Page]:
    """An empty page in a browser whose profile is under ``folder``.

    ``flags``: those that it is started with besides; with some, drawing by a GPU is not switched off.
    """
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    client = pytest.importorskip("websockets.sync.client", reason="no package websockets to drive the browser with")
    profile = folder / "profile"
    common = [flag for flag in FLAGS if not flags or flag != "--disable-gpu"]
    own = f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"
    command = [program, *common, *flags, *own, "about:blank"]
    browser = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        told = profile / "DevToolsActivePort"
        wait_for(lambda: told.is_file() and len(told.read_text().split()) == 2, "the browser to start")
        port, path = told.read_text().split()
        with client.connect(f"ws://127.0.0.1:{port}{path}", max_size=None) as root:
            root.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
            while "result" not in (answer := json.loads(root.recv())):
                pass
            target = next(t for t in answer["result"]["targetInfos"] if t["type"] == "page")["targetId"]
        with client.connect(f"ws://127.0.0.1:{port}/devtools/page/{target}", max_size=None) as socket:
            yield Page(socket)
    finally:
        browser.terminate()
        browser.wait(30)
