"""Web pages that play a file: a folder for a web server, or one self-contained page."""

from __future__ import annotations

import base64
import html
import io
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from taichi_vvc.decode import Stream
from taichi_vvc.errors import DataError, StreamError
from taichi_vvc.play.modules import bundle, modules_of, source
from taichi_vvc.play.scene import MANIFEST, check_scene, manifest_text
from taichi_vvc.types import Camera

PAGE = "player/page.js"
ELEMENT = "player/element.js"
WORKER = "player/worker.js"
THREE = "three/volume.js"
MODULES = "tvvc"  # the folder of the modules beside a page
INDEX = "index.html"
POSTER_SIDE = 640  # pixels of the longer side
_INLINE = {"player/thread.js": "player/thread_inline.js"}
_KINDS = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
_FROM_DISK = """<script>
if (location.protocol === "file:") {
  document.body.insertAdjacentHTML("beforeend", '<p class="unserved">This page plays from a web server only. ' +
    'In its folder, run <b>python3 -m http.server</b> and open <b>http://localhost:8000</b>.</p>');
}
</script>
"""


@dataclass(frozen=True)
class Poster:
    """A picture that is shown until the scene is: the bytes of a file, and its ending, such as ``.jpg``."""

    data: bytes
    ending: str

    @property
    def address(self) -> str:
        """The picture as a ``data:`` address."""
        return f"data:{_KINDS[self.ending]};base64,{base64.b64encode(self.data).decode()}"


def read_poster(path: Path) -> Poster:
    """A picture file as a poster.

    Raises:
        DataError: its ending is none of a kind that all browsers show, or it cannot be read.
    """
    ending = path.suffix.lower()
    if ending not in _KINDS:
        raise DataError(f"{path}: expected a picture with the ending {', '.join(_KINDS)}")
    try:
        return Poster(path.read_bytes(), ending)
    except OSError as error:
        raise DataError(f"{path}: expected a picture that can be read, found {error.strerror}") from None


def first_view(stream: Stream, name: str | None = None) -> Camera:
    """What the player shows first: the pinhole camera in the place of a camera of the capture, by default the first.

    Raises:
        DataError: there is no camera of this name, or none at all.
    """
    cameras = {camera.name: camera for camera in stream.cameras}
    if not cameras:
        raise DataError("expected cameras to look from, found none")
    if name is not None and name not in cameras:
        raise DataError(f"expected one of the cameras {', '.join(cameras)}, found {name}")
    own = stream.cameras[0] if name is None else cameras[name]
    scale = POSTER_SIDE / max(own.width, own.height)
    width, height = max(1, round(own.width * scale)), max(1, round(own.height * scale))
    focal = own.fy * height / own.height
    return Camera("poster", width, height, focal, focal, width / 2, height / 2, own.rotation, own.position)


def require_playable(stream: Stream, file: Path) -> None:
    """Refuses what a player has nothing to show of.

    Raises:
        StreamError: ``file`` has no frame, or no camera to look from.
    """
    if not len(stream):
        raise StreamError(f"{file}: expected at least one frame, found none")
    if not stream.cameras:
        raise StreamError(f"{file}: expected cameras to look from, found none; use tvvc render --path FILE")


def draw_poster(stream: Stream, name: str | None = None) -> Poster:
    """The first frame as the player shows it first, drawn on the running backend."""
    import numpy as np
    from PIL import Image

    from taichi_vvc.field.render import render_rgb8

    pixels = np.ascontiguousarray(render_rgb8(stream[0], first_view(stream, name), stream.background))
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, "JPEG", quality=85, optimize=True)
    return Poster(target.getvalue(), ".jpg")


def page_text(title: str, attributes: dict[str, str], scripts: str) -> str:
    """The page around the player, with these attributes of the element and these scripts."""
    listed = " ".join(f'{name}="{html.escape(value)}"' for name, value in attributes.items() if value)
    filled = source("player/page.html")
    # All at once, so that no text is taken for another one's place.
    values = {"title": html.escape(title), "attributes": listed, "scripts": scripts}
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match.group(1)], filled)


def attributes_of(camera: str | None, **more: str) -> dict[str, str]:
    """The element's attributes."""
    return {**more, "camera": camera or ""}


def write_folder(
    folder: Path,
    file: Path,
    title: str,
    camera: str | None = None,
    poster: Poster | None = None,
    more: Sequence[Path] = (),
) -> list[Path]:
    """Writes a folder that any web server serves: page, modules, file and poster; returns what was written.

    Two lines of its page, and the folder ``tvvc`` beside it, embed the player in another page.

    Args:
        folder: to write to.
        file: that is played.
        title: of the page.
        camera: whose view is the first; None: the file's first.
        poster: until the scene is loaded.
        more: other qualities of the same; the player chooses among all of them by the manifest ``scene.json``.

    Raises:
        ConfigError: the files do not belong together.
    """
    stream_name = file.name if file.name.lower().endswith(".tvvc") or more else "scene.tvvc"
    files: dict[str, bytes] = {}
    if more:
        files[MANIFEST] = manifest_text(check_scene([file, *more])).encode()
    picture = ""
    if poster is not None:
        picture = f"poster{poster.ending}"
        files[picture] = poster.data
    attributes = attributes_of(camera, src=MANIFEST if more else quote(stream_name), poster=picture)
    scripts = f'<script type="module" src="{MODULES}/{PAGE}"></script>\n{_FROM_DISK}'
    files[INDEX] = page_text(title, attributes, scripts).encode()
    for name in modules_of(PAGE, WORKER, THREE):
        files[f"{MODULES}/{name}"] = source(name).encode()
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    targets = {folder / stream_name: file, **{folder / other.name: other for other in more}}
    for target, own in targets.items():
        if not (target.exists() and target.samefile(own)):
            shutil.copyfile(own, target)
    return [*targets, *(folder / name for name in files)]


def single_page(data: bytes, title: str, camera: str | None = None, poster: Poster | None = None) -> str:
    """One page that holds the stream ``data``, the poster and all code, and opens from a disk."""
    attributes = attributes_of(camera, src="#scene", poster=poster.address if poster else "")
    scripts = (
        f'<script type="application/octet-stream" id="scene">{base64.b64encode(data).decode()}</script>\n'
        f'<script type="text/plain" id="tvvc-worker">{_in_html(bundle(WORKER, _INLINE))}</script>\n'
        f"<script>{_in_html(bundle(PAGE, _INLINE))}</script>"
    )
    return page_text(title, attributes, scripts)


def _in_html(script: str) -> str:
    """A script's text such that it does not end the element that it stands in."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
