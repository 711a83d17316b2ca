"""``tvvc view``: starts the player in the browser."""

from __future__ import annotations

import contextlib
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from taichi_vvc.cli.decode import warn_if_incomplete
from taichi_vvc.cli.options import backend_option, common_options, memory_option, start_backend
from taichi_vvc.cli.progress import say, warn

if TYPE_CHECKING:
    from taichi_vvc.decode import Stream


@click.command(epilog="Example:  tvvc view out.tvvc --port 8080")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--render",
    type=click.Choice(("browser", "server")),
    default="browser",
    show_default=True,
    help='Who draws: the browser, or this machine for browsers without a GPU (needs the extra "view").',
)
@click.option("--camera", metavar="NAME", help="Camera of the capture whose view is the first; browser only.")
@click.option(
    "--open/--no-open", "opens", default=True, help="Open the browser, or only print the address; browser only."
)
@backend_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 is everyone.")
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port to listen on.")
@memory_option
@common_options
def command(
    file: Path,
    render: str,
    camera: str | None,
    opens: bool,
    backend: str,
    host: str,
    port: int,
    memory_limit: int | None,
) -> None:
    """Play FILE in a browser: orbit, seek, look at depth and opacity, record a camera path.

    The address is printed when the player is ready; Ctrl-C ends it. --backend is what draws with --render server.
    """
    from taichi_vvc.decode import open as open_stream
    from taichi_vvc.play.pages import require_playable

    if render == "server":
        from taichi_vvc.play.viewer import require_viser

        require_viser()
    with open_stream(file, memory_limit) as stream:
        damage = warn_if_incomplete(stream, file)
        require_playable(stream, file)
        if render == "server":
            _draw_here(stream, file, backend, host, port, memory_limit)
        else:
            _serve(stream, file, camera, host, port, opens)
    if damage is not None:
        raise damage


def _serve(stream: Stream, file: Path, camera: str | None, host: str, port: int, opens: bool) -> None:
    """Serves the player's page and the file until Ctrl-C."""
    from taichi_vvc.play.pages import first_view
    from taichi_vvc.play.server import PlayerServer

    if camera is not None:
        first_view(stream, camera)
    with PlayerServer(file, host, port, file.stem, camera) as server:
        _tell(host, port, server.port)
        click.echo(server.url)
        say("the player is at this address; Ctrl-C ends it")
        if opens:
            # Where there is no browser, the address is enough.
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(server.url)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _draw_here(stream: Stream, file: Path, backend: str, host: str, port: int, memory_limit: int | None) -> None:
    """Draws pictures on this machine and sends them to browsers, until Ctrl-C."""
    from taichi_vvc.play.playback import Playback
    from taichi_vvc.play.viewer import Viewer

    runtime = start_backend(backend)
    # Entropy decoding makes many small matrix products, which are several times slower with several BLAS threads.
    with runtime.single_threaded_blas(), Playback(file, memory_limit=memory_limit) as playback:
        viewer = Viewer(stream, playback, runtime, host, port, title=file.name)
        _tell(host, port, viewer.server.get_port())
        click.echo(viewer.url)
        say("open this address in a browser; Ctrl-C ends the player")
        with contextlib.suppress(KeyboardInterrupt):
            viewer.run()


def _tell(host: str, port: int, found: int) -> None:
    """Warns of what may surprise about the address."""
    from taichi_vvc.play.guard import LOCAL

    if found != port:
        warn(f"port {port} is in use; listening on {found}")
    if host not in LOCAL:
        warn(f"anyone who can reach {host} can use this player; there is no password")
