"""``tvvc web``: puts a file on a web page that plays it."""

from __future__ import annotations

from pathlib import Path

import click

from taichi_vvc.cli.decode import warn_if_incomplete
from taichi_vvc.cli.options import (
    backend_option,
    check_output_file,
    check_output_folder,
    common_options,
    memory_option,
    overwrite_option,
    start_backend,
)
from taichi_vvc.cli.progress import say, warn
from taichi_vvc.play.pages import (
    INDEX,
    Poster,
    draw_poster,
    first_view,
    read_poster,
    require_playable,
    single_page,
    write_folder,
)
from taichi_vvc.play.scene import check_scene

PAGES = (".html", ".htm")
NO_POSTER = "none"
LARGE_PAGE = 50_000_000  # bytes of a file above which one page is slow to open


@click.command(epilog="Example:  tvvc web out.tvvc -o page.html --title 'Dance, take 3'")
@click.argument("files", type=click.Path(path_type=Path), metavar="FILE...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR|PAGE.html",
    help="A folder for a web server, or one page that holds everything.",
)
@click.option("--title", help="Title of the page; default: the file's name.")
@click.option("--camera", metavar="NAME", help="Camera of the capture whose view is the first; default: the first one.")
@click.option(
    "--poster",
    metavar="PICTURE|none",
    help="Picture until the scene is loaded; default: the first view of the first frame, drawn now.",
)
@overwrite_option
@backend_option
@memory_option
@common_options
def command(
    files: tuple[Path, ...],
    output: Path,
    title: str | None,
    camera: str | None,
    poster: str | None,
    overwrite: bool,
    backend: str,
    memory_limit: int | None,
) -> None:
    """Make a web page that plays FILE in any browser, by WebGPU or WebGL 2.

    A folder can be uploaded to any web server: it holds the page index.html, the player, the file and a poster. A page
    that ends in .html holds all of that itself, and opens by a double click.

    Several files are qualities of the same capture, as tvvc ladder makes them. The player changes between them as the
    connection and the machine allow; scene.json in the folder lists them.
    """
    from taichi_vvc.decode import open as open_stream

    single = output.suffix.lower() in PAGES
    file, more = files[0], files[1:]
    if more:
        if single:
            raise click.UsageError(f"{output}: one page holds one file, found {len(files)}; -o DIR takes several")
        # The first picture is drawn from the best of them.
        check_scene(files)
        file, *rest = sorted(files, key=lambda path: -path.stat().st_size)
        more = tuple(rest)
    if single:
        check_output_file(output, overwrite, file)
    else:
        check_output_folder(output, overwrite)
    with open_stream(file, memory_limit) as stream:
        damage = warn_if_incomplete(stream, file)
        require_playable(stream, file)
        if camera is not None or poster is None:
            first_view(stream, camera)  # before anything takes time
        picture: Poster | None = None
        if poster is None:
            start_backend(backend)
            picture = draw_poster(stream, camera)
        elif poster != NO_POSTER:
            picture = read_poster(Path(poster))
    title = file.stem if title is None else title
    if single:
        from taichi_vvc.media.video import write_text

        data = file.read_bytes()
        if len(data) > LARGE_PAGE:
            warn(f"a page of {len(data) / 1e6:.0f} MB opens slowly; -o DIR makes a folder that loads what it shows")
        write_text(output, single_page(data, title, camera, picture))
        click.echo(output)
        say(f"{output.stat().st_size / 1000:.0f} kB, opens by a double click")
    else:
        write_folder(output, file, title, camera, picture, more)
        click.echo(output / INDEX)
        say(f"any web server can serve the folder {output}; here: python3 -m http.server -d {output}")
    if damage is not None:
        raise damage
