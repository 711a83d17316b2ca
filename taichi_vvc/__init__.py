"""taichi_vvc: a volumetric video codec built on a Taichi differentiable renderer.

Importing this package starts no Taichi runtime and needs no GPU; see :mod:`taichi_vvc.runtime`.

The public names below are loaded when they are first used::

    import taichi_vvc as tv

    for stats in tv.encode(tv.open_capture("capture"), tv.PRESETS["fast"], "out.tvvc"):
        ...
    stream = tv.open("out.tvvc")
    image = tv.render(stream[0], stream.cameras[0])

``encode`` and ``render`` are also names of modules. As attributes of the package they are always the functions;
the modules' other names are imported as usual (``from taichi_vvc.field.render import Image``).
"""

import os as _os
import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING

from taichi_vvc._moved import forward as _forward
from taichi_vvc._version import __version__

_here = _os.path.dirname(_os.path.abspath(__file__))
_root = _os.path.dirname(_here)
if not _os.path.isdir(_os.path.join(_here, "kernels")) and _os.path.isfile(_os.path.join(_root, "setup.cfg")):
    # In a source checkout the kernels are in the top-level folder; an installed package contains them.
    __path__.append(_root)

_forward()

if TYPE_CHECKING:
    from taichi_vvc import errors
    from taichi_vvc.capture.sequence import open_capture
    from taichi_vvc.config import PRESETS, EncoderConfig
    from taichi_vvc.decode import open
    from taichi_vvc.editing.cutting import cut
    from taichi_vvc.editing.joining import join
    from taichi_vvc.encode import encode
    from taichi_vvc.field.render import render, render_rgb8

__all__ = [
    "PRESETS",
    "EncoderConfig",
    "__version__",
    "cut",
    "encode",
    "errors",
    "join",
    "open",
    "open_capture",
    "render",
    "render_rgb8",
]

# Public name -> the module that defines it. ``errors`` is a module itself.
_PUBLIC = {
    "PRESETS": "taichi_vvc.config",
    "EncoderConfig": "taichi_vvc.config",
    "cut": "taichi_vvc.editing.cutting",
    "encode": "taichi_vvc.encode",
    "join": "taichi_vvc.editing.joining",
    "open": "taichi_vvc.decode",
    "open_capture": "taichi_vvc.capture.sequence",
    "render": "taichi_vvc.field.render",
    "render_rgb8": "taichi_vvc.field.render",
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return _import_module("taichi_vvc.errors")
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(_import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(_ModuleType):
    """Keeps the public functions from being hidden by submodules of the same name.

    The import system binds every imported submodule to an attribute of its package; ``import taichi_vvc.encode``
    would otherwise turn ``taichi_vvc.encode`` from a function into a module, depending on the order of imports.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, _ModuleType)):
            super().__setattr__(name, value)


_sys.modules[__name__].__class__ = _Package
