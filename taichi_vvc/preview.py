"""Pictures of an encode under way, for ``tvvc encode --preview``: one view beside the truth and their difference."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from .demo import side_by_side
from .encode import Glimpse
from .io.video import write_png
from .metrics import composite
from .render import Workspace, render

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

    def __call__(self, glimpse: Glimpse) -> None:
        """Take a look.

        Raises:
            DataError: the picture cannot be written.
        """
        began = time.monotonic()
        if not glimpse.finished and began < self._due:
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
        write_png(self.folder / "latest.png", sheet)
        if glimpse.finished:
            write_png(self.folder / f"{glimpse.number:04d}.png", sheet)
        now = time.monotonic()
        self._due = now + max(self._interval, (now - began) / SHARE)
