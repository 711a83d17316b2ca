"""Pictures of an encode under way, for ``tvvc encode --preview``: one view beside the truth and their difference."""

from __future__ import annotations

import dataclasses
import time
import warnings
from pathlib import Path

from taichi_vvc.capture.packaged import side_by_side
from taichi_vvc.encoder.progress import Glimpse
from taichi_vvc.errors import DataError, PreviewStopped
from taichi_vvc.field.render import render
from taichi_vvc.field.workspace import Workspace
from taichi_vvc.media.metrics import composite
from taichi_vvc.media.video import write_png

INTERVAL = 4.0  # seconds between pictures of a fit
SHARE = 0.05  # of the time that looking may take
_SMALL = 320  # pixels; smaller pictures are written at twice their size


class PreviewWriter:
    """The ``preview`` of :func:`taichi_vvc.encode.encode`: writes ``latest.png`` now and then, and ``0000.png`` and so
    on of finished frames. The view is the first held-out camera's, else the first camera's.
    """

    def __init__(self, folder: str | Path, interval: float = INTERVAL) -> None:
        """Write into ``folder``, made when needed, a fit's picture every ``interval`` seconds at most."""
        self.folder, self._interval = Path(folder), interval
        self._due = time.monotonic() + interval
        self._workspace: Workspace | None = None
        self._stopped = False

    def __call__(self, glimpse: Glimpse) -> None:
        """Take a look.

        The first picture that cannot be written is the last one: a :class:`PreviewStopped` warning says so, and the
        encode goes on.
        """
        began = time.monotonic()
        if self._stopped or (not glimpse.finished and began < self._due):
            return
        views = glimpse.views.views
        view = next((view for view in views if view.camera.split == "test"), views[0])
        runtime = glimpse.field.runtime
        # Scratch arrays and opacity bounds of our own: looking must not change what the fit does.
        self._workspace = self._workspace or Workspace(runtime)
        own = dataclasses.replace(glimpse.field, opacity=runtime.zeros(glimpse.field.mask.size), measured=False)
        decoded = render(own, view.camera, glimpse.background, workspace=self._workspace).colour
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
