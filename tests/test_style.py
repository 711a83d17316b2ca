"""The rules of the source that a reader relies on: short modules, documented public names."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

MODULES = sorted([*ROOT.glob("taichi_vvc/**/*.py"), *ROOT.glob("kernels/**/*.py")])
# The commands, and the child process of the doctor, print by design.
LIBRARY = [path for path in MODULES if "cli" not in path.parts and path.name not in ("__main__.py", "doctor.py")]
LONGEST = 400


def _public_without_docstring(tree: ast.Module) -> Iterator[str]:
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    # What a protocol of the module declares is explained there once, not at each implementation.
    protocols = [node for node in classes if any(ast.unparse(base) == "Protocol" for base in node.bases)]
    declared = {node.name for protocol in protocols for node in protocol.body if isinstance(node, ast.FunctionDef)}
    named = [(node, node.name) for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    for owner in classes:
        if not owner.name.startswith("_"):
            methods = [node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name not in declared]
            named += [(node, f"{owner.name}.{node.name}") for node in methods]
    for node, name in named:
        if not node.name.startswith("_") and ast.get_docstring(node) is None:
            yield f"{name} (line {node.lineno})"


def test_modules_were_found() -> None:
    assert len(MODULES) > 10


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_is_short_and_documented(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= LONGEST, f"{lines} lines; split it by meaning"
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), "the module has no docstring"
    assert list(_public_without_docstring(tree)) == []


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_library_code_does_not_print_or_sleep(path: Path) -> None:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    calls = {ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call)}
    assert not calls & {"print", "exit", "sys.exit", "os._exit", "time.sleep", "sleep", "input", "breakpoint"}


def test_kernels_take_few_arrays() -> None:
    """Drivers of Vulkan need not allow more than ten storage buffers; kernels on lanes are for the CPU alone."""
    counts = {}
    for path in ROOT.glob("kernels/*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and "kernel" in map(ast.unparse, node.decorator_list):
                notes = [ast.unparse(argument.annotation) for argument in node.args.args if argument.annotation]
                if not any(note in ("F32X4", "F32X16") for note in notes):
                    counts[node.name] = sum(note in ("F32", "I32") for note in notes)
    assert max(counts.values()) <= 10, counts
    assert len(counts) > 20
