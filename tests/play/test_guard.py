"""The player's guard: other sites are refused, and no message of a browser stops the player for the others."""

from __future__ import annotations

import math
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from captures import write_capture
from players import running_player
from tiny import ONE_LEVEL

import taichi_vvc as tv
from taichi_vvc.errors import ConfigError
from taichi_vvc.play.guard import acceptable, guarded, number, one_of, welcome

CAMERA: dict[str, Any] = {
    "type": "ViewerCameraMessage",
    "wxyz": [1.0, 0.0, 0.0, 0.0],
    "position": [0.0, 0.0, -4.0],
    "look_at": [0.0, 0.0, 0.0],
    "up_direction": [0.0, 1.0, 0.0],
    "fov": 1.0,
    "near": 0.01,
    "far": 100.0,
    "image_width": 120,
    "image_height": 80,
}
CLICK: dict[str, Any] = {
    "type": "SceneNodeClickMessage",
    "name": "/cameras/cam00",
    "instance_index": None,
    "ray_origin": [0.0, 0.0, 0.0],
    "ray_direction": [0.0, 0.0, 1.0],
    "screen_pos": [0.5, 0.5],
    "modifier": None,
}
NOT_A_NUMBER = math.nan
CONTROLS = {"slider": number(0, 6), "speed": one_of("0.5", "1"), "loop": one_of(True, False)}

# What a camera cannot be.
WRONG_CAMERAS: list[dict[str, Any]] = [
    {"fov": 0.0},
    {"fov": -1.0},
    {"fov": 4.0},
    {"fov": NOT_A_NUMBER},
    {"fov": "wide"},
    {"fov": True},
    {"fov": None},
    {"position": [0.0, 0.0]},
    {"position": [0.0, 0.0, math.inf]},
    {"position": [0.0, 0.0, 1e300]},
    {"position": [0, 0, 10**18]},
    {"position": "abc"},
    {"position": [[0.0], [0.0], [0.0]]},
    {"wxyz": [0.0, 0.0, 0.0, 0.0]},
    {"wxyz": [NOT_A_NUMBER, 0.0, 0.0, 1.0]},
    {"wxyz": [1.0, 0.0, 0.0]},
    {"look_at": None},
    {"up_direction": [1e300, 0.0, 0.0]},
    {"image_width": 10**6, "image_height": 10**6},
    {"image_width": -3},
    {"image_height": NOT_A_NUMBER},
    {"image_height": "tall"},
    {"near": -1.0},
    {"far": math.inf},
]
# Updates of controls, by identifier, that no control takes.
WRONG_UPDATES: list[object] = [
    {"value": NOT_A_NUMBER},
    {"value": 1e9},
    {"value": -1},
    {"value": "nan"},
    {"value": [1, 2]},
    {"value": None},
    {"value": {}},
    {"value": 2**63},
    {"is_button": True},
    {"update_cb": 5},
    {"value": 1, "removed": True},
    {},
    "value",
    7,
]


def test_what_a_browser_says_comes_through() -> None:
    assert acceptable(CAMERA, CONTROLS) and acceptable(CLICK, CONTROLS)
    assert acceptable({**CAMERA, "image_width": 0, "image_height": 0}, CONTROLS), "a hidden tab"
    for control, value in (("slider", 0), ("slider", 6.0), ("speed", "0.5"), ("loop", False)):
        assert acceptable({"type": "GuiUpdateMessage", "uuid": control, "updates": {"value": value}}, CONTROLS)


@pytest.mark.parametrize("wrong", WRONG_CAMERAS, ids=str)
def test_a_camera_that_cannot_be_does_not(wrong: dict[str, Any]) -> None:
    assert not acceptable({**CAMERA, **wrong}, CONTROLS)


@pytest.mark.parametrize("field", [name for name in CAMERA if name != "type"])
def test_nor_does_one_that_lacks_something(field: str) -> None:
    assert not acceptable({name: value for name, value in CAMERA.items() if name != field}, CONTROLS)


@pytest.mark.parametrize("updates", WRONG_UPDATES, ids=str)
def test_nor_a_value_that_a_control_cannot_have(updates: object) -> None:
    for control in ("slider", "speed", "loop", "unknown", 5, None):
        message = {"type": "GuiUpdateMessage", "uuid": control, "updates": updates}
        assert not (acceptable(message, CONTROLS) and control != "slider"), control
    assert not acceptable({"type": "GuiUpdateMessage", "uuid": "speed", "updates": {"value": "3"}}, CONTROLS)
    assert not acceptable({"type": "GuiUpdateMessage", "uuid": "loop", "updates": {"value": 1}}, CONTROLS)


@pytest.mark.parametrize("message", [None, 3, [], {}, {"type": []}, {"type": "ShareUrlRequest"}, {"type": "Message"}])
def test_nor_a_message_that_no_control_sends(message: object) -> None:
    assert not acceptable(message, CONTROLS)
    assert not acceptable({**CLICK, "name": 5}, CONTROLS)


@pytest.mark.parametrize(
    ("listens", "hosts", "origins", "expected"),
    [
        ("127.0.0.1", ["127.0.0.1:8080"], [], True),
        ("127.0.0.1", ["localhost:8080"], ["http://localhost:8080"], True),
        ("127.0.0.1", ["localhost:9000"], ["http://localhost:9000"], True),  # a tunnel with another port
        ("::1", ["[::1]:8080"], ["http://[::1]:8080"], True),
        ("127.0.0.1", ["127.0.0.1:8080"], ["http://site.example"], False),
        ("127.0.0.1", ["127.0.0.1:8080"], ["http://127.0.0.1:3000"], False),  # another server of this machine
        ("127.0.0.1", ["127.0.0.1:8080"], ["null"], False),
        ("127.0.0.1", ["site.example:8080"], ["http://site.example:8080"], False),
        ("127.0.0.1", ["127.0.0.1.site.example"], [], False),
        ("127.0.0.1", ["10.0.0.7:8080"], [], False),
        ("127.0.0.1", [], [], False),
        ("127.0.0.1", ["127.0.0.1", "127.0.0.1"], [], False),
        ("127.0.0.1", ["127.0.0.1"], ["http://127.0.0.1", "http://127.0.0.1"], False),
        ("127.0.0.1", ["[::1"], [], False),
        ("0.0.0.0", ["10.0.0.7:8080"], ["http://10.0.0.7:8080"], True),
        ("0.0.0.0", ["10.0.0.7:8080"], ["http://site.example"], False),
        ("0.0.0.0", ["site.example:8080"], ["http://site.example:8080"], False),
        ("10.0.0.7", ["10.0.0.7:8080"], ["http://10.0.0.7:8080"], True),
        ("studio.example", ["studio.example:8080"], ["http://studio.example:8080"], True),
    ],
)
def test_a_request_names_the_players_own_address(
    listens: str, hosts: list[str], origins: list[str], expected: bool
) -> None:
    assert welcome(listens, hosts, origins) is expected


def test_a_server_that_starts_in_another_way_is_not_left_unguarded() -> None:
    pytest.importorskip("websockets", reason="no package websockets")
    with pytest.raises(ConfigError, match="viser"), guarded("127.0.0.1", {}):
        pass


# ---- against a running player


@pytest.fixture(scope="module")
def player(tmp_path_factory):
    """The address of a running player of a file of two frames."""
    folder: Path = tmp_path_factory.mktemp("guard")
    capture = write_capture(folder / "capture", cameras=3, frames=2, size=16)
    list(tv.encode(tv.open_capture(capture), tv.EncoderConfig(**ONE_LEVEL), folder / "a.tvvc"))
    with running_player(folder / "a.tvvc") as url:
        yield url


def connect(url: str, **options: Any) -> Any:
    """A connection as the page makes it."""
    viser = pytest.importorskip("viser", reason="no package viser")
    client = pytest.importorskip("websockets.sync.client", reason="no package websockets")
    protocols = [f"viser-v{viser.__version__}"]
    return client.connect(url.replace("http", "ws"), subprotocols=protocols, max_size=None, **options)


def picture_comes(url: str) -> bool:
    """Whether a new browser is shown something within a minute. Whatever it first receives are the scene's parts."""
    from msgspec.msgpack import encode

    with connect(url, origin=url) as browser:
        browser.send(encode(CAMERA))
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if b"\x89PNG" in browser.recv(timeout=60):
                return True
    return False


@pytest.mark.parametrize("headers", [{"Origin": "http://site.example"}, {"Host": "site.example"}])
def test_another_site_gets_nothing(player: str, headers: dict[str, str]) -> None:
    from websockets.exceptions import InvalidStatus

    with pytest.raises(InvalidStatus, match="403"), connect(player, additional_headers=headers):
        pass
    request = urllib.request.Request(player, headers=headers)
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=30)


def test_no_message_ends_the_player(player: str) -> None:
    """Each kind of message that would; the player fixture sees that nothing is printed either."""
    from msgspec.msgpack import encode

    messages = [encode({**CAMERA, **wrong}) for wrong in WRONG_CAMERAS if wrong != {"position": [0, 0, 10**18]}]
    messages += [encode({"type": "GuiUpdateMessage", "uuid": "u", "updates": updates}) for updates in WRONG_UPDATES]
    messages += [encode(m) for m in (None, [], {}, {"type": "ShareUrlRequest"}, {**CLICK, "name": "nobody"})]
    messages += [b"", b"\xc1", b"\xff" * 100, encode({**CAMERA, "more": 1}), encode({**CLICK, "modifier": 9})]
    assert picture_comes(player)
    for message in messages:
        with connect(player, origin=player) as browser:
            browser.send(encode(CAMERA))
            browser.send(message)
    with connect(player, origin=player) as browser:
        browser.send("text")
        browser.send(encode({**CAMERA, "image_width": 16384, "image_height": 16384}))
    assert picture_comes(player)


def test_a_browser_that_leaves_while_pictures_are_drawn_is_no_matter(player: str) -> None:
    from msgspec.msgpack import encode

    for _ in range(3):
        with connect(player, origin=player) as browser:
            for number_of_move in range(20):
                browser.send(encode({**CAMERA, "position": [0.1 * number_of_move, 0.0, -4.0]}))
            browser.recv(timeout=30)
    assert picture_comes(player)


@pytest.mark.parametrize("origin", ["http://[", "http://[::1", "http://[x]", "null", ""])
def test_an_origin_that_is_no_address_is_not_welcome(origin: str) -> None:
    assert not welcome("127.0.0.1", ["127.0.0.1:8080"], [origin])
