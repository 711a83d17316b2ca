"""Filters the requests and messages that browsers send to the player.

The player's server, viser, accepts every connection and every message. A page of another site that is open in the
same browser could connect to it, and one message with an impossible value would end the player for all browsers. Two
checks are therefore put in front of it. A request must name the player's own address (:func:`welcome`), and a message
must be one that the player's page can send (:func:`acceptable`). The player starts its server within :func:`guarded`.
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
FARTHEST = 1e12  # world units; the largest coordinate that a file can hold
LARGEST_WINDOW = 16384  # pixels of a side of a browser's window
WIDEST = math.pi - 1e-3  # vertical angle of view, radians
NARROWEST = 1e-4
MESSAGE_BYTES = 1 << 16  # largest size of a message; real ones have some hundred bytes

Check = Callable[[object], bool]
"""Whether a control may take a value."""


def number(low: float, high: float) -> Check:
    """A check for finite numbers in ``[low, high]``."""
    return lambda value: (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(_as_float(value))
        and low <= value <= high
    )


def one_of(*values: object) -> Check:
    """A check for one of these values, with the same type."""
    return lambda value: any(type(value) is type(known) and value == known for known in values)


def _as_float(value: int | float) -> float:
    """``value`` as a float; infinite for an integer that is too large for a float."""
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _vector(value: object, count: int, largest: float = FARTHEST) -> bool:
    inside = number(-largest, largest)
    return isinstance(value, list | tuple) and len(value) == count and all(inside(part) for part in value)


def _turn(value: object) -> bool:
    """Whether ``value`` is a quaternion of a length clearly above 0, which can be normalised."""
    return _vector(value, 4, 1e3) and math.hypot(*value) > 1e-3  # type: ignore[misc]


_CAMERA: dict[str, Check] = {
    "wxyz": _turn,
    "position": lambda value: _vector(value, 3),
    "look_at": lambda value: _vector(value, 3),
    "up_direction": lambda value: _vector(value, 3),
    "fov": number(NARROWEST, WIDEST),
    "near": number(0.0, FARTHEST),
    "far": number(0.0, 1e3 * FARTHEST),
    # A hidden tab reports a size of 0; the player then draws nothing.
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
        message: the decoded message, of any type.
        controls: the check for each control's value, by the control's identifier.
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

    A page of another site sends its own address as ``Origin``. If that site's name resolves to this machine (DNS
    rebinding), it is also the ``Host``.

    Args:
        host: the address on which the player listens.
        hosts, origins: all values of the headers ``Host`` and ``Origin``. Programs other than browsers send no
            ``Origin``.
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
    # A player that listens to other machines may be reached by any address of this machine, or by its host name.
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
    """A connection that drops the messages that are not acceptable."""

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
    """A context in which a viser server must be started to be guarded; the guard stays for as long as the server runs.

    Args:
        host: the address on which the server listens.
        controls: see :func:`acceptable`; may be filled later.

    Raises:
        ConfigError: this version of viser does not start its server in the way that is patched here.
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
            # An error caused by a browser ends that browser's connection and is not shown to the user of the player.
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
