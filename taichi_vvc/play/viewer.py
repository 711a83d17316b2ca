"""``tvvc view``: the player in the browser, built on viser.

Three kinds of threads share the work. Viser's threads deliver events, which only change the wanted state. The thread of
:mod:`taichi_vvc.play.playback` decodes. The caller's thread compares the wanted state with what each browser shows, and
renders; it is the only one that uses the device.
"""

from __future__ import annotations

import json
import math
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import numpy as np

from taichi_vvc.capture.camera_paths import path_document, up_direction
from taichi_vvc.decode import Stream
from taichi_vvc.errors import ConfigError, DataError, TvvcError
from taichi_vvc.field.grids import Field, field_of_symbols
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.media import charts
from taichi_vvc.play.guard import Check, guarded, number, one_of
from taichi_vvc.play.markers import Markers, angle_of_view
from taichi_vvc.play.playback import Clock, Playback
from taichi_vvc.play.viewport import SHOWN, SMALLEST, camera_of_view, draw, fitted_size, quaternion, start_position
from taichi_vvc.runtime import Runtime
from taichi_vvc.types import Camera, GroupParameters, SymbolFrame

SPEEDS = ("0.1", "0.25", "0.5", "1", "2", "4")
STEPS = ("first", "back", "next", "last")
VIEWS = ("add", "drop last", "clear")
SHARPNESS = (128, 2048)  # range of the longer side of a still picture, pixels
MOVING_SECONDS = 0.1  # time limit for a picture while something moves
LOSSLESS = 200**2  # pixels; smaller pictures are sent as PNG
SETTLED = 0.25  # seconds without an event after which the camera counts as still


def require_viser() -> Any:
    """Imports and returns the module viser.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import viser
    except ImportError:
        raise ConfigError(
            'expected the package viser for the player, found none; run pip install "taichi_vvc[view]"'
        ) from None
    return viser


@dataclass
class _Browser:
    """One connected browser.

    Attributes:
        handle: viser's client handle.
        moves: number of camera events so far.
        moved: time of the last camera event.
        drawn: frame, display mode, ``moves`` and size of the picture that it shows.
        keys: the recorded key cameras.
    """

    handle: Any
    moves: int = 0
    moved: float = 0.0
    drawn: tuple[Any, ...] = ()
    keys: list[Camera] = field(default_factory=list)


class Viewer:
    """The player of one file. The constructor starts the server; :meth:`run` renders until :meth:`stop`."""

    def __init__(
        self,
        stream: Stream,
        playback: Playback,
        runtime: Runtime,
        host: str = "127.0.0.1",
        port: int = 8080,
        title: str = "taichi_vvc",
    ) -> None:
        """Renders frame 0, which compiles the kernels, and starts the server.

        Args:
            stream: the file, for its cameras, frame rate and sizes; frames are not decoded through it.
            playback: the decoder of the same file.
            runtime: the backend.
            host, port: address of the server; if the port is in use, the next free one is taken.
            title: the title above the controls.

        Raises:
            ConfigError: viser is missing, or its version does not work with the guard.
            DataError: the server cannot listen at this address.
            StreamError: frame 0 cannot be decoded.
        """
        viser = require_viser()
        self._stream, self._playback = stream, playback
        self._workspace = Workspace(runtime)
        self._clock = Clock(len(stream), stream.fps)
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopped = False
        self._browsers: dict[int, _Browser] = {}
        self._field: tuple[int, Field] | None = None
        self._loaded_at = 0.0
        self._problem = ""
        self._told, self._told_at = 0, 0.0  # the frame that the controls show, and the time when it was set
        self._chart: Any = None
        self._rate = 0.0  # measured rendering speed, pixels per second
        self._sizes = [stream.info(i).bytes for i in range(len(stream))]
        self._are_keys = [stream.info(i).type == "key" for i in range(len(stream))]
        self._warm_up()
        self._checks: dict[str, Check] = {}
        try:
            # Viser prints a banner to stdout, which is for results only.
            with redirect_stdout(StringIO()), guarded(host, self._checks):
                self.server = viser.ViserServer(host=host, port=port, label=title, verbose=False)
        except (OSError, RuntimeError) as error:
            raise DataError(f"expected to listen on {host}:{port}, found: {error}; choose another --port") from error
        self._build_scene()
        self._build_controls()
        self.server.on_client_connect(self._connect)
        self.server.on_client_disconnect(self._disconnect)

    @property
    def url(self) -> str:
        """The address at which a browser on this machine opens the player."""
        host = self.server.get_host()
        return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{self.server.get_port()}"

    def run(self) -> None:
        """Renders for all browsers until :meth:`stop`. This thread is the only one that uses the device.

        Raises:
            BackendError: the device fails.
        """
        try:
            while not self._stopped:
                busy = self._turn()
                self._wake.wait(0.002 if busy else 0.05)
                self._wake.clear()
        finally:
            with redirect_stdout(StringIO()):
                self.server.stop()

    def stop(self) -> None:
        """Makes :meth:`run` return; may be called from any thread."""
        self._stopped = True
        self._wake.set()

    # ---- in the caller's thread

    def _field_of(self, frame: SymbolFrame, parameters: GroupParameters) -> Field:
        budget = self._stream.budget
        return field_of_symbols(self._workspace.runtime, self._playback.layout, parameters, frame, budget)

    def _warm_up(self) -> None:
        found = self._playback.get(0)
        assert found is not None
        self._field = 0, self._field_of(*found)
        camera = self._stream.cameras[0].resized(SMALLEST, SMALLEST)
        for _ in range(2):  # the first round compiles
            began = time.monotonic()
            draw(self._workspace, self._field[1], camera, self._stream.background, SHOWN[0], lambda: False)
            self._rate = SMALLEST**2 / max(time.monotonic() - began, 1e-4)

    def _turn(self) -> bool:
        """Sends every browser at most one picture; False if all of them show what they should."""
        now = time.monotonic()
        with self._lock:
            frame, playing = self._clock.frame(now), self._clock.playing
            browsers = list(self._browsers.values())
        self._load(frame)
        self._show_time(frame, playing, now)
        busy = playing
        for browser in browsers:
            try:
                busy |= self._serve(browser, playing)
            except TvvcError:
                raise
            except (AssertionError, KeyError, ConnectionError):  # the browser left, or has not sent its camera yet
                continue
        return busy

    def _load(self, frame: int) -> None:
        """Uploads ``frame`` if it is decoded; until then the frame on the device is kept."""
        assert self._field is not None
        self._playback.request(frame)
        if self._field[0] == frame:
            return
        try:
            found = self._playback.get(frame, timeout=0.02)
            cameras = () if found is None else self._stream.cameras_at(frame)
        except TvvcError as error:
            self._tell(f"frame {frame} cannot be decoded: {error}")
            return
        if found is None:
            self._say(f"decoding frame {frame} ...")
        else:
            self._tell("")
            self._loaded_at = time.monotonic()
            self._field = frame, self._field_of(*found)
            self._markers.move(cameras)

    def _serve(self, browser: _Browser, playing: bool) -> bool:
        """Renders for one browser if needed; True if another picture will be needed soon."""
        assert self._field is not None
        camera, (frame, shown_field) = browser.handle.camera, self._field
        moves, mode, largest = browser.moves, self._mode.value, int(self._largest.value)
        width, height = camera.image_width, camera.image_height
        if min(width, height) < 1:
            return False
        moving = playing or time.monotonic() - max(browser.moved, self._loaded_at) < SETTLED
        scale = min(1.0, largest / max(width, height))
        full = max(1, round(width * scale)), max(1, round(height * scale))
        size = fitted_size(*full, self._rate * MOVING_SECONDS) if moving else full
        wanted = (frame, mode, moves, size)
        if browser.drawn[:3] == wanted[:3] and (moving or browser.drawn == wanted):
            return moving
        view = camera_of_view("view", camera.position, camera.wxyz, camera.fov, *size)

        def stale() -> bool:
            return self._stopped or (not moving and (browser.moves != moves or self._clock.playing))

        began = time.monotonic()
        picture = draw(self._workspace, shown_field, view, self._stream.background, mode, stale)
        if picture is None:
            return True
        rate = size[0] * size[1] / max(time.monotonic() - began, 1e-4)
        self._rate = 0.7 * self._rate + 0.3 * rate if moving else self._rate
        # The browser enlarges small pictures, which would make the artefacts of JPEG visible.
        kind = "png" if size[0] * size[1] < LOSSLESS else "jpeg"
        with warnings.catch_warnings():
            # The browser may have disconnected while its picture was rendered.
            warnings.filterwarnings("ignore", "Queued .* on a closed connection")
            browser.handle.scene.set_background_image(picture, format=kind, jpeg_quality=75 if moving else 92)
            browser.handle.flush()
        browser.drawn = wanted
        self._say(f"frame {frame} drawn at {size[0]}x{size[1]} in {1000 * (time.monotonic() - began):.0f} ms")
        return moving

    def _show_time(self, frame: int, playing: bool, now: float) -> None:
        label = "Pause" if playing else "Play"
        if self._play.label != label:
            self._play.label = label
        # While playing, the slider and the chart are updated at most ten times per second, to save bandwidth.
        if frame != self._told and (not playing or now - self._told_at > 0.1):
            self._told, self._told_at = frame, now
            self._slider.value = frame
            self._chart.content = charts.timeline(self._sizes, self._are_keys, frame)

    def _say(self, text: str) -> None:
        """Sets the status line under the chart."""
        style = "padding:0 1em;font-size:0.75em;opacity:0.8"
        self._status.content = f'<div class="tvvc-status" style="{style}">{text}</div>'

    def _tell(self, problem: str) -> None:
        if problem != self._problem:
            self._problem = problem
            self._note.content, self._note.visible = problem, bool(problem)

    # ---- scene and controls; callbacks run in viser's threads

    def _build_scene(self) -> None:
        cameras, bounds = self._stream.cameras, self._stream.header.layout.bounds
        centre = 0.5 * (np.asarray(bounds.lower) + np.asarray(bounds.upper))
        scene, first = self.server.scene, cameras[0]
        scene.set_up_direction(up_direction(cameras))
        start = self.server.initial_camera
        start.position, start.look_at = (
            tuple(start_position(first.position, centre, up_direction(cameras))),
            tuple(centre),
        )
        start.fov = 2 * math.atan(1.25 * 0.5 * first.height / first.fy)
        distances = [np.linalg.norm(camera.position - centre) for camera in cameras]
        start.near, start.far = 1e-3 * float(min(distances)), 100.0 * float(max(distances))
        self._markers = Markers(scene, cameras, float(np.median(distances)), self._jump)

    def _build_controls(self) -> None:
        gui, last = self.server.gui, len(self._stream) - 1
        gui.configure_theme(show_logo=False, show_share_button=False)
        self._play = self._takes(one_of(True), gui.add_button("Play"))
        self._steps = self._takes(one_of(*STEPS), gui.add_button_group("Step", STEPS))
        self._slider = self._takes(number(0, last), gui.add_slider("Frame", 0, last, 1, 0))
        self._chart = gui.add_html(charts.timeline(self._sizes, self._are_keys, 0))
        self._status = gui.add_html("")
        self._note = gui.add_markdown("", visible=False)
        self._speed = self._takes(one_of(*SPEEDS), gui.add_dropdown("Speed", SPEEDS, initial_value="1"))
        self._loop = self._takes(one_of(True, False), gui.add_checkbox("Loop", True))
        self._mode = self._takes(one_of(*SHOWN), gui.add_dropdown("Show", SHOWN, initial_value="colour"))
        self._largest = self._takes(number(*SHARPNESS), gui.add_slider("Sharpness", *SHARPNESS, 64, 1024))
        self._largest.hint = "Longer side of the picture at rest, pixels; while something moves it is as time allows."
        self._cameras = self._takes(one_of(True, False), gui.add_checkbox("Cameras", True))
        self._cameras.hint = "Click one to look through it; orange are held out."
        with gui.add_folder("Camera path"):
            self._keys = self._takes(one_of(*VIEWS), gui.add_button_group("Views", VIEWS))
            self._closed = self._takes(one_of(True, False), gui.add_checkbox("Closed", False))
            self._closed.hint = "The path returns to its first view."
            self._count = gui.add_markdown("recorded: 0")
            self._save = self._takes(one_of(True), gui.add_button("Save cameras.json", hint="For tvvc render --path."))
        self._play.on_click(lambda _: self._on_clock(self._toggle))
        self._steps.on_click(lambda event: self._on_clock(lambda now: self._step(event.target.value, now)))
        self._slider.on_update(self._slid)
        self._speed.on_update(lambda _: self._on_clock(self._change_speed))
        self._loop.on_update(lambda _: self._on_clock(lambda now: setattr(self._clock, "loop", self._loop.value)))
        for control in (self._mode, self._largest):
            control.on_update(lambda _: self._wake.set())
        self._cameras.on_update(lambda _: self._markers.show(self._cameras.value))
        self._keys.on_click(lambda event: self._record(event.client_id, event.target.value))
        self._save.on_click(lambda event: self._send_path(event.client_id))

    def _takes(self, check: Check, control: Any) -> Any:
        """Registers ``check`` for the values that browsers may set, and returns ``control``."""
        self._checks[control._impl.uuid] = check
        return control

    def _connect(self, handle: Any) -> None:
        browser = _Browser(handle)

        def moved(_camera: Any) -> None:
            browser.moves, browser.moved = browser.moves + 1, time.monotonic()
            self._wake.set()

        handle.camera.on_update(moved)
        with self._lock:
            self._browsers[handle.client_id] = browser
        self._wake.set()

    def _disconnect(self, handle: Any) -> None:
        with self._lock:
            self._browsers.pop(handle.client_id, None)

    def _on_clock(self, change: Callable[[float], None]) -> None:
        with self._lock:
            change(time.monotonic())
        self._wake.set()

    def _toggle(self, now: float) -> None:
        (self._clock.pause if self._clock.playing else self._clock.play)(now)

    def _change_speed(self, now: float) -> None:
        self._clock.set_speed(float(self._speed.value), now)

    def _step(self, name: str, now: float) -> None:
        if name in ("first", "last"):
            self._clock.seek(0 if name == "first" else len(self._stream) - 1, now)
        else:
            self._clock.step(-1 if name == "back" else 1, now)

    def _slid(self, event: Any) -> None:
        if event.client is not None:  # None when the player itself moved the slider
            self._on_clock(lambda now: self._clock.seek(int(self._slider.value), now))

    def _jump(self, handle: Any, camera: Camera) -> None:
        with handle.atomic():
            handle.camera.position = camera.position
            handle.camera.wxyz = quaternion(camera.rotation)
            handle.camera.fov = angle_of_view(camera)
        self._wake.set()

    def _record(self, client: int | None, what: str) -> None:
        browser = self._browsers.get(-1 if client is None else client)
        if browser is None:
            return
        view = browser.handle.camera
        if what == "add":
            name = f"view{len(browser.keys)}"
            size = (view.image_width, view.image_height)
            browser.keys.append(camera_of_view(name, view.position, view.wxyz, view.fov, *size))
        else:
            del browser.keys[-1 if what == "drop last" else 0 :]
        self._count.content = f"recorded: {len(browser.keys)}"

    def _send_path(self, client: int | None) -> None:
        browser = self._browsers.get(-1 if client is None else client)
        if browser is not None and browser.keys:
            text = json.dumps(path_document(browser.keys, self._closed.value), indent=1)
            browser.handle.send_file_download("cameras.json", text.encode(), save_immediately=True)
