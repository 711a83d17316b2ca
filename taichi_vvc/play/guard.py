"""Who may talk to the player, and what they may say.

The player's server, viser, takes every connection and every message. A page of another site that is open in the same
browser could connect to it, and one message with an impossible value would end it for all. So two things are put before
it: a request has to name the player's own address, and of its messages only those come through that say something
that the player's controls can mean.
"""

from __future__ import annotations

import http
import ipaddress
import math
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from taichi_vvc.errors import ConfigError

LOCAL = ("127.0.0.1", "localhost", "::1")
FARTHEST = 1e12  # world units; no bounds in a file lie farther out
LARGEST_WINDOW = 16384  # pixels of a side of a browser's window
WIDEST = math.pi - 1e-3  # vertical angle of view, radians
NARROWEST = 1e-4
MESSAGE_BYTES = 1 << 16  # those of a browser take some hundred

Check = Callable[[object], bool]
"""Whether a control may take a value."""


def number(low: float, high: float) -> Check:
    """A finite number of ``low`` to ``high``."""
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(_as_float(value))
        and low <= value <= high
    )


def one_of(*values: object) -> Check:
    """One of these values, of the same type."""
    return lambda value: any(type(value) is type(known) and value == known for known in values)


def _as_float(value: int | float) -> float:
    """A float, infinite where an integer is beyond all floats."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _vector(value: object, count: int, largest: float = FARTHEST) -> bool:
    inside = number(-largest, largest)
    return isinstance(value, list | tuple) and len(value) == count and all(inside(part) for part in value)


def _turn(value: object) -> bool:
    """A quaternion that has a direction."""
    return _vector(value, 4, 1e3) and math.hypot(*value) > 1e-3  # type: ignore[misc]


_CAMERA: dict[str, Check] = {
    "wxyz": _turn,
    "position": lambda value: _vector(value, 3),
    "look_at": lambda value: _vector(value, 3),
    "up_direction": lambda value: _vector(value, 3),
    "fov": number(NARROWEST, WIDEST),
    "near": number(0.0, FARTHEST),
    "far": number(0.0, 1e3 * FARTHEST),
    # A hidden tab has a window of no pixels; the player then draws nothing.
    "image_width": number(0, LARGEST_WINDOW),
    "image_height": number(0, LARGEST_WINDOW),
}
_CLICK: dict[str, Check] = {
    "name": lambda value: isinstance(value, str),
    "instance_index": lambda value: value is None or number(0, 1 << 31)(value),
    "ray_origin": lambda value: _vector(value, 3),
    "ray_direction": lambda value: _vector(value, 3),
    "screen_pos": lambda value: _vector(value, 2),
}


def acceptable(message: object, controls: Mapping[str, Check]) -> bool:
    """Whether a decoded message of a browser may reach the player.

    Args:
        message: what the browser sent; anything.
        controls: the check of each control's value, by the control's identifier.
    """
    if not isinstance(message, dict):
        return False
    kind = message.get("type")
    if kind == "ViewerCameraMessage":
        return all(check(message.get(name)) for name, check in _CAMERA.items())
    if kind == "SceneNodeClickMessage":
        return all(check(message.get(name)) for name, check in _CLICK.items())
    if kind == "GuiUpdateMessage":
        identifier, updates = message.get("uuid"), message.get("updates")
        check = controls.get(identifier) if isinstance(identifier, str) else None
        return check is not None and isinstance(updates, dict) and set(updates) == {"value"} and check(updates["value"])
    return False


def welcome(host: str, hosts: list[str], origins: list[str]) -> bool:
    """Whether a request names the player's own address.

    A page of another site has its own address as ``Origin``; where that site's name was made to lead here, it is also
    the ``Host``.

    Args:
        host: what the player listens on.
        hosts, origins: all values of these two headers. Programs that are no browsers send no ``Origin``.
    """
    if len(hosts) != 1 or len(origins) > 1:
        return False
    if not _own_name(_name_of(f"//{hosts[0]}"), host):
        return False
    try:
        return not origins or urlsplit(origins[0]).netloc.lower() == hosts[0].lower()
    except ValueError:
        return False


def _own_name(name: str, host: str) -> bool:
    if name in LOCAL or name == host.lower().strip("[]"):
        return True
    if host in LOCAL:
        return False
    # Whoever listens to others is reached under any address of the machine, or under its name, but under no other name.
    machine = socket.gethostname().lower()
    return _is_address(name) or name in (machine, f"{machine}.local", socket.getfqdn().lower())


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""


class _Filtered:
    """A connection whose messages are only those that are acceptable."""

    def __init__(self, connection: Any, controls: Mapping[str, Check]) -> None:
        self._connection, self._controls = connection, controls

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def recv(self) -> bytes:
        """The next message that may reach the player."""
        from msgspec import DecodeError
        from msgspec.msgpack import decode

        while True:
            raw = await self._connection.recv()
            if not isinstance(raw, bytes):
                continue
            try:
                message = decode(raw)
            except (DecodeError, ValueError, RecursionError):
                continue
            if acceptable(message, self._controls):
                return raw


@contextmanager
def guarded(host: str, controls: Mapping[str, Check]) -> Iterator[None]:
    """Within this block a viser server that starts has the guard before it, for as long as it runs.

    Args:
        host: what the server listens on.
        controls: see :func:`acceptable`; may be filled later.

    Raises:
        ConfigError: this version of viser starts its server in another way.
    """
    import websockets.asyncio.server as module
    from websockets.exceptions import ConnectionClosed
    from websockets.http11 import Response

    original, used = module.serve, False

    def serve(handler: Callable[[Any], Awaitable[None]], *args: Any, **options: Any) -> Any:
        nonlocal used
        used = True
        inner = options.pop("process_request")

        def process_request(connection: Any, request: Any) -> Any:
            headers = request.headers
            if welcome(host, headers.get_all("Host"), headers.get_all("Origin")):
                return inner(connection, request)
            text = b"This player answers only under its own address, and to its own page.\n"
            lines = type(headers)({"Content-Type": "text/plain", "Content-Length": str(len(text))})
            return Response(http.HTTPStatus.FORBIDDEN, "Forbidden", lines, text)

        async def quiet(connection: Any) -> None:
            # What a browser makes fail ends its own connection, and is no matter of whoever runs the player.
            try:
                await handler(_Filtered(connection, controls))
            except (ConnectionClosed, TypeError, ValueError, KeyError, AssertionError):
                await connection.close(1008, "unexpected message")

        return original(quiet, *args, **{**options, "max_size": MESSAGE_BYTES}, process_request=process_request)

    module.serve = serve  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        module.serve = original  # type: ignore[misc]
    if not used:
        raise ConfigError(
            "expected a version of viser that the player can guard, found another; install viser 1.1, or view the file "
            "with tvvc render"
        )
