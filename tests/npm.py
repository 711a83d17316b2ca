"""Packages of npm that tests read exports with, and show them in; the package itself needs none of them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


def npm_packages(*packages: str) -> Path:
    """The folder ``node_modules`` with packages such as ``three@0.170.0``; skips the test where npm cannot get them.

    It is kept in the folder for temporary files, so that it is loaded once.
    """
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed; packages of JavaScript cannot be had")
    name = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"tvvc-tests-npm-{name}"
    if not place.is_dir():
        # Under a name of its own first: several processes may want it at once.
        fresh = Path(tempfile.mkdtemp(prefix=f"{place.name}-"))
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(fresh), *packages]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except subprocess.TimeoutExpired:
            pytest.skip(f"npm does not get {', '.join(packages)} within two minutes")
        if done.returncode != 0:
            pytest.skip(f"npm cannot get {', '.join(packages)}: {done.stderr.strip()[-200:]}")
        try:
            os.rename(fresh, place)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
    return place / "node_modules"
