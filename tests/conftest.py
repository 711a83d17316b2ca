"""Fixtures and helpers that several test files share: the source tree, and child processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from places import ROOT


@pytest.fixture(scope="session")
def root() -> Path:
    """The source checkout."""
    return ROOT


def child_environment(**changes: str) -> dict[str, str]:
    """The environment for a child process: the checkout is importable, colours and terminals play no part."""
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "TVVC_TAICHI")}
    environment.update({"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", "COLUMNS": "200", **changes})
    return environment


@pytest.fixture(scope="session")
def python() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``python *arguments`` in a child process and returns its status and output as text."""

    def run(*arguments: object, timeout: float = 300, **options) -> subprocess.CompletedProcess[str]:
        options.setdefault("env", child_environment())
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=timeout,
            check=False,
            **options,
        )

    return run
