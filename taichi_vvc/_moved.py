"""Forwards imports of documented modules from their old names to their present ones.

An import by an old name loads the present module and issues a DeprecationWarning. The package itself uses no old names.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {
    "taichi_vvc.custom": "taichi_vvc.coding.custom",
    "taichi_vvc.demo": "taichi_vvc.capture.packaged",
    "taichi_vvc.entropy": "taichi_vvc.coding.entropy",
    "taichi_vvc.hull": "taichi_vvc.capture.hull",
    "taichi_vvc.io": None,
    "taichi_vvc.io.images": "taichi_vvc.media.images",
    "taichi_vvc.io.paths": "taichi_vvc.capture.camera_paths",
    "taichi_vvc.io.video": "taichi_vvc.media.video",
    "taichi_vvc.live": "taichi_vvc.coding.live_set",
    "taichi_vvc.metrics": "taichi_vvc.media.metrics",
    "taichi_vvc.render": "taichi_vvc.field.render",
    "taichi_vvc.sequence": "taichi_vvc.capture.sequence",
}
"""Old name -> present name; None for a package that has no modules any more."""


class _Forwarder(MetaPathFinder, Loader):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in MOVED:
            return None
        return spec_from_loader(fullname, self, is_package=MOVED[fullname] is None)

    def exec_module(self, module: ModuleType) -> None:
        now = MOVED[module.__name__]
        if now is not None:
            warnings.warn(f"{module.__name__} is {now} now", DeprecationWarning, stacklevel=2)
            # The import system returns the entry of sys.modules after this call.
            sys.modules[module.__name__] = import_module(now)


def forward() -> None:
    """Enables imports by old names. Calling it again changes nothing."""
    if not any(isinstance(finder, _Forwarder) for finder in sys.meta_path):
        sys.meta_path.append(_Forwarder())
