"""Previews of a running encode, for ``tvvc encode --preview``: one view beside the capture's, with the difference."""

from __future__ import annotations

import dataclasses
import time
import warnings
from pathlib import Path

from taichi_vvc.encoder.progress import Glimpse
from taichi_vvc.errors import DataError, PreviewStopped
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.media.charts import side_by_side
from taichi_vvc.media.colour_maps import shown
from taichi_vvc.media.pictures import composite
from taichi_vvc.media.video import write_png

INTERVAL = 4.0  # seconds between previews of a fit
SHARE = 0.05  # largest share of the time that previews may take
_SMALL = 320  # pixels; smaller pictures are written at twice their size


class PreviewWriter:
    """Writes previews; an instance is the argument ``preview`` of :func:`taichi_vvc.encode.encode`.

    While a frame is fitted it writes ``latest.png`` at intervals, and for each finished frame ``0000.png`` and so on.
    The view is that of the first held-out camera, else of the first camera.
    """

    def __init__(self, folder: str | Path, interval: float = INTERVAL) -> None:
        """Prepares to write into ``folder``, which is created when needed, at most once per ``interval`` seconds."""
        self.folder, self._interval = Path(folder), interval
        self._due = time.monotonic() + interval
        self._workspace: Workspace | None = None
        self._stopped = False

    def __call__(self, glimpse: Glimpse) -> None:
        """Renders and writes a preview if one is due.

        After the first picture that cannot be written there are no more previews: a :class:`PreviewStopped` warning is
        issued, and the encode goes on.
        """
        began = time.monotonic()
        if self._stopped or (not glimpse.finished and began < self._due):
            return
        views = glimpse.views.views
        view = next((view for view in views if view.camera.split == "test"), views[0])
        runtime = glimpse.field.runtime
        # A workspace of its own: rendering a preview must not change arrays that the fit uses.
        self._workspace = self._workspace or Workspace(runtime)
        own = dataclasses.replace(glimpse.field, opacity=runtime.zeros(glimpse.field.mask.size), measured=False)
        image = render(own, view.camera, glimpse.background, workspace=self._workspace)
        decoded = shown(image.colour, image.opacity, glimpse.background, view.look)
        truth = composite(view.image, glimpse.background)
        sheet = side_by_side(truth, decoded, 2 if truth.shape[1] < _SMALL else 1)
        try:
            write_png(self.folder / "latest.png", sheet)
            if glimpse.finished:
                write_png(self.folder / f"{glimpse.number:04d}.png", sheet)
        except DataError as error:
            self._stopped, self._workspace = True, None
            warnings.warn(f"{error}; encoding goes on without previews", PreviewStopped, stacklevel=2)
            return
        now = time.monotonic()
        self._due = now + max(self._interval, (now - began) / SHARE)
