"""The package must import from a wheel, from every kind of editable install and from a bare checkout.

The kernels live in the top-level folder ``kernels`` and are installed as ``taichi_vvc.kernels``; these tests hold
that mapping. Everything is built from a copy of the sources, so that no build leaves traces in the checkout.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from conftest import child_environment
from places import ROOT

KERNELS = sorted(path.stem for path in (ROOT / "kernels").glob("*.py"))
SOURCES = ("taichi_vvc", "kernels", "tests", "examples", "benchmarks", "docs")
FILES = (
    "setup.cfg",
    "pyproject.toml",
    "MANIFEST.in",
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "CITATION.cff",
    "CONTRIBUTING.md",
    "constraints.txt",
    "mkdocs.yml",
    "ruff.toml",
    ".pre-commit-config.yaml",
)

needs_setuptools = pytest.mark.skipif(
    importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed; nothing can be built offline"
)

# Run with -S, so that nothing that is installed where the tests run takes part, but for the dependencies' folder.
CHILD = """
import importlib.util, json, site, sys
places, dependencies = json.loads(sys.argv[1])
for place in places:
    site.addsitedir(place)
sys.path.extend(dependencies)
import taichi_vvc
assert "taichi" not in sys.modules
missing = [name for name in json.loads(sys.argv[2]) if importlib.util.find_spec("taichi_vvc.kernels." + name) is None]
assert not missing, missing
import taichi_vvc.errors, taichi_vvc.types, taichi_vvc.kernels
print(taichi_vvc.__file__)
print(taichi_vvc.kernels.__file__)
print(taichi_vvc.__version__)
"""


def _copy_sources(target: Path) -> Path:
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.part")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target / name, ignore=unwanted)
    for name in FILES:
        shutil.copy(ROOT / name, target / name)
    return target


def _build(source: Path, call: str, output: Path) -> Path:
    """One PEP 517 hook of setuptools, in a child process as a build front end runs it."""
    output.mkdir(parents=True, exist_ok=True)
    code = f"import sys; from setuptools import build_meta; print(build_meta.{call})"
    done = subprocess.run(
        [sys.executable, "-c", code, str(output)],
        cwd=source,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return output / done.stdout.strip().splitlines()[-1]


def _import_in_child(cwd: Path, *places: Path) -> list[Path]:
    """Where the package and its kernels came from, imported with ``places`` as the only site folders."""
    import json

    dependencies = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    arguments = [json.dumps([[str(place) for place in places], dependencies]), json.dumps([*KERNELS])]
    done = subprocess.run(
        [sys.executable, "-S", "-c", CHILD, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    package, kernels, version = done.stdout.splitlines()
    assert version == _version()
    return [Path(package), Path(kernels)]


def _version() -> str:
    import taichi_vvc

    return taichi_vvc.__version__


def _package_files(source: Path) -> set[str]:
    """Code and data of the package in a source folder, as paths within the wheel."""
    return {
        path.relative_to(source).as_posix()
        for path in (source / "taichi_vvc").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _copy_sources(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel as ``pip wheel`` makes it, or as the build backend does where pip is missing."""
    output = tmp_path_factory.mktemp("wheel")
    source = Path(shutil.copytree(source, tmp_path_factory.mktemp("wheel_source") / "copy"))
    if importlib.util.find_spec("pip") is None:
        return _build(source, "build_wheel(sys.argv[1])", output)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", str(output), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (path,) = output.glob("*.whl")
    return path


@needs_setuptools
def test_wheel_holds_the_package_and_nothing_else(source: Path, wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {f"taichi_vvc/kernels/{name}.py" for name in KERNELS} <= names
    assert _package_files(source) <= names
    tops = {name.split("/")[0] for name in names}
    assert tops == {"taichi_vvc", f"taichi_vvc-{_version()}.dist-info"}
    assert any(name.endswith("LICENSE") for name in names)


@needs_setuptools
def test_wheel_metadata(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert "tvvc = taichi_vvc.cli:main" in archive.read(entry).decode()
        text = archive.read(metadata).decode()
    requirements = [line.split(": ", 1)[1] for line in text.splitlines() if line.startswith("Requires-Dist: ")]
    core = [line for line in requirements if "extra ==" not in line]
    heavy = ("torch", "scikit-image", "scipy", "opencv", "matplotlib", "viser")
    assert not any(line.startswith(heavy) for line in core), "a plain install must not pull these"
    assert any(line.startswith("taichi") for line in core)
    assert "Project-URL: " in text
    description = text.split("\n\n", 1)[1]
    links = re.findall(r"\]\(([^)]*)\)", description)
    assert len(links) > 2 and all(link.startswith("https://") for link in links), "it is shown without the repository"


@needs_setuptools
@pytest.mark.parametrize("cwd", ["elsewhere", "root"])
def test_import_from_wheel(wheel: Path, tmp_path: Path, cwd: str) -> None:
    site = tmp_path / "site"
    zipfile.ZipFile(wheel).extractall(site)
    (tmp_path / "empty").mkdir()
    package, kernels = _import_in_child(ROOT if cwd == "root" else tmp_path / "empty", site)
    if cwd == "elsewhere":
        assert package.is_relative_to(site) and kernels.is_relative_to(site)
    else:  # The checkout shadows the wheel there; the two must not mix.
        assert package.is_relative_to(ROOT) == kernels.is_relative_to(ROOT)


@needs_setuptools
def test_sdist_builds_the_same_wheel(source: Path, wheel: Path, tmp_path: Path) -> None:
    archive = _build(source, "build_sdist(sys.argv[1])", tmp_path / "sdist")
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path / "unpacked", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    assert {path.stem for path in (unpacked / "kernels").glob("*.py")} == set(KERNELS)
    for name in (*SOURCES, *FILES):
        expected = [source / name] if (source / name).is_file() else (source / name).rglob("*")
        for path in expected:
            assert path.is_dir() or (unpacked / path.relative_to(source)).is_file(), path
    # Its own tests run, from its own files: some that need the package, helpers, golden files and documents.
    some = (
        "tests/test_golden.py",
        "tests/test_style.py",
        "tests/test_plain_decoder.py",
        "tests/bitstream/test_bitstream.py",
    )
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *some]
    done = subprocess.run(
        command,
        cwd=unpacked,
        capture_output=True,
        text=True,
        timeout=300,
        env=child_environment(PYTHONPATH=""),
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    again = _build(unpacked, "build_wheel(sys.argv[1])", tmp_path / "again")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


@needs_setuptools
@pytest.mark.parametrize("mode", ["default", "strict", "compat"])
@pytest.mark.parametrize("cwd", ["elsewhere", "root"])
def test_import_from_editable_install(tmp_path: Path, mode: str, cwd: str) -> None:
    source = _copy_sources(tmp_path / "source")
    options = "" if mode == "default" else f", {{'editable_mode': '{mode}'}}"
    made = _build(source, f"build_editable(sys.argv[1]{options})", tmp_path / "wheel")
    site = tmp_path / "site"
    zipfile.ZipFile(made).extractall(site)
    (tmp_path / "empty").mkdir()
    for path in _import_in_child(source if cwd == "root" else tmp_path / "empty", site):
        assert path.resolve().is_relative_to(source.resolve())


@pytest.mark.parametrize("cwd", ["elsewhere", "root"])
def test_import_from_bare_checkout(tmp_path: Path, cwd: str) -> None:
    package, kernels = _import_in_child(ROOT if cwd == "root" else tmp_path, ROOT)
    assert package == ROOT / "taichi_vvc" / "__init__.py"
    assert kernels == ROOT / "kernels" / "__init__.py"


def test_nothing_imports_the_kernels_by_their_folder() -> None:
    """``import kernels.march`` works in a checkout, where it makes a second copy of every kernel, and nowhere else."""
    found = []
    for folder in SOURCES:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    names = [node.module]
                found += [f"{path}:{node.lineno}" for name in names if name.split(".")[0] == "kernels"]
    assert found == []
