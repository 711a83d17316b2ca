"""Versions of the package, the bitstream and the dependencies, for ``tvvc --version`` and ``tvvc doctor``."""

from __future__ import annotations

import platform
from importlib import metadata

from taichi_vvc._version import __version__


def versions() -> dict[str, str | None]:
    """The version of each component by name; None for a package that is not installed.

    Versions are read from the packages' metadata, without importing them.
    """
    # Every command imports this module, and few need the tables of the bitstream.
    from taichi_vvc.bitstream import FORMAT_VERSION

    return {
        "tvvc": __version__,
        "bitstream": str(FORMAT_VERSION),
        "taichi": version_of("taichi"),
        "constriction": version_of("constriction"),
        "numpy": version_of("numpy"),
        "python": platform.python_version(),
    }


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution, without importing it; None if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
