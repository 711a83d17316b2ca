"""The API pages show what there is, and docstrings name arguments and attributes one by one, as the site needs them."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from places import ROOT

import taichi_vvc

API = ROOT / "docs" / "api"
BLOCK = re.compile(r"^::: ([\w.]+)\n((?: {4}.*\n|\n)*)", re.MULTILINE)
SHOWN = [
    (path, re.findall(r"^ {6,}- (\w+)$", options, re.MULTILINE))
    for page in sorted(API.glob("*.md"))
    for path, options in BLOCK.findall(page.read_text(encoding="utf-8") + "\n")
]


def module_of(path: str) -> tuple[str, Path]:
    """The module that a dotted name stands in, and its file; nothing of it is run but the packages around it."""
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        file = ROOT.joinpath(*parts[:count])
        for candidate in (file.with_suffix(".py"), file / "__init__.py"):
            if candidate.is_file():
                return ".".join(parts[:count]), candidate
    raise AssertionError(f"no module of {path}")


def public_names(file: Path) -> dict[str, str]:
    """Classes, functions and assigned names of a module, with their docstrings, and what it takes from elsewhere."""
    found: dict[str, str] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found[node.name] = ast.get_docstring(node) or ""
        elif isinstance(node, ast.Assign):
            found.update((target.id, "") for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = ""
        elif isinstance(node, ast.ImportFrom):
            found.update((alias.name, "") for alias in node.names)
    return found


@pytest.mark.parametrize(("path", "members"), SHOWN, ids=[path for path, _ in SHOWN])
def test_what_a_page_shows_is_there_and_documented(path: str, members: list[str]) -> None:
    module, file = module_of(path)
    names = public_names(file)
    rest = path.removeprefix(module).removeprefix(".")
    for name in members or ([rest] if rest else []):
        assert name in names, f"{module} has no {name}"
    entries = re.compile(r"^ {8}(?:\w+, )+\w+: ", re.MULTILINE)
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            # Only what the page shows; other parts of the module may do as they like.
            if members and node.name not in members:
                continue
            text = ast.get_docstring(node, clean=False) or ""
            assert entries.findall(text) == [], f"{module}.{node.name}: one line for each name"


def test_public_names_have_a_page() -> None:
    shown = {path for path, members in SHOWN if not members}
    shown |= {f"{path}.{member}" for path, members in SHOWN for member in members}
    for name in set(taichi_vvc.__all__) - {"__version__", "errors"}:
        module = taichi_vvc._PUBLIC[name]
        assert {module, f"{module}.{name}"} & shown, name
    assert "taichi_vvc.errors" in shown


def test_pages_are_made_without_importing_taichi() -> None:
    """Griffe reads source text; with ``allow_inspection`` it would import what it cannot find."""
    assert "allow_inspection: false" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
