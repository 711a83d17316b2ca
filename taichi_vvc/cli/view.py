"""``tvvc view``: starts the player in the browser."""

from __future__ import annotations

import contextlib
from pathlib import Path

import click

from taichi_vvc.cli.decode import warn_if_incomplete
from taichi_vvc.cli.options import backend_option, common_options, memory_option, start_backend
from taichi_vvc.cli.progress import say, warn
from taichi_vvc.errors import StreamError


@click.command(epilog="Example:  tvvc view out.tvvc --port 8080")
@click.argument("file", type=click.Path(path_type=Path))
@backend_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is everyone.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port to listen on.")
@memory_option
@common_options
def command(file: Path, backend: str, host: str, port: int, memory_limit: int | None) -> None:
    """Play FILE in a browser: orbit, seek, look at depth and opacity, record a camera path.

    The address is printed when the player is ready; Ctrl-C ends it. Needs the extra "view".
    """
    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.play.guard import LOCAL
    from taichi_vvc.play.playback import Playback
    from taichi_vvc.play.viewer import Viewer, require_viser

    require_viser()
    with open_stream(file, memory_limit) as stream:
        damage = warn_if_incomplete(stream, file)
        if not stream.cameras:
            raise StreamError(f"{file}: expected cameras to look from, found none; use tvvc render --path FILE")
        runtime = start_backend(backend)
        # Entropy decoding makes many small matrix products, which are several times slower with several BLAS threads.
        with runtime.single_threaded_blas(), Playback(file, memory_limit=memory_limit) as playback:
            viewer = Viewer(stream, playback, runtime, host, port, title=file.name)
            if viewer.server.get_port() != port:
                warn(f"port {port} is in use; listening on {viewer.server.get_port()}")
            if host not in LOCAL:
                warn(f"anyone who can reach {host} can control this player; there is no password")
            click.echo(viewer.url)
            say("open this address in a browser; Ctrl-C ends the player")
            with contextlib.suppress(KeyboardInterrupt):  # Ctrl-C ends the player
                viewer.run()
    if damage is not None:
        raise damage
