"""The versions that decide what a file means and what can run it."""

from __future__ import annotations

import platform
from importlib import metadata

from taichi_vvc._version import __version__
from taichi_vvc.bitstream import FORMAT_VERSION


def versions() -> dict[str, str | None]:
    """The versions that decide what a file means and what can run it; None where a package is not installed.

    Read from the installed packages' metadata: nothing heavy is imported.
    """
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
