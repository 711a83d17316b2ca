"""Imports point one way. These tests parse the sources, so that imports inside functions count too."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

import pytest
from places import ROOT

import taichi_vvc

PACKAGE = "taichi_vvc"


def _modules() -> dict[str, Path]:
    """Every module of the package by its installed name."""
    found = {}
    for base, prefix in ((ROOT / PACKAGE, PACKAGE), (ROOT / "kernels", f"{PACKAGE}.kernels")):
        for path in sorted(base.rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            parts = parts[:-1] if parts[-1] == "__init__" else parts
            found[".".join((prefix, *parts))] = path
    return found


MODULES = _modules()


def _is_package(module: str) -> bool:
    return MODULES[module].name == "__init__.py"


def _resolve(target: str, name: str | None = None) -> str:
    """The module that ``from target import name`` loads: a submodule, the target, or what a lazy name stands for."""
    if name is not None and f"{target}.{name}" in MODULES:
        return f"{target}.{name}"
    if target == PACKAGE and name in taichi_vvc._PUBLIC:
        return taichi_vvc._PUBLIC[name]
    return target


@cache
def imports_of(module: str) -> frozenset[str]:
    """Every module that ``module`` names in an import statement, at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(_resolve(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            target = node.module or ""
            if node.level:
                parts = module.split(".")
                base = parts[: len(parts) - node.level + _is_package(module)]
                target = ".".join([*base, *([node.module] if node.module else [])])
            found.update(_resolve(target, alias.name) for alias in node.names)
    return frozenset(found)


def inside(module: str) -> frozenset[str]:
    """The package's own modules that ``module`` imports. The package's lazy names count where they are used."""
    return frozenset() if module == PACKAGE else imports_of(module) & MODULES.keys()


def outside(module: str) -> frozenset[str]:
    """Top-level names of what ``module`` imports from neither this package nor the standard library."""
    names = {name.split(".")[0] for name in imports_of(module)}
    return frozenset(names - {PACKAGE, "__future__"} - sys.stdlib_module_names)


def reach(module: str) -> set[str]:
    """The package's own modules that importing and using ``module`` can load, itself included."""
    seen, todo = set(), [module]
    while todo:
        name = todo.pop()
        if name not in seen:
            seen.add(name)
            todo += inside(name)
            # Importing a.b.c runs a.b too.
            todo += [parent for parent in (name.rpartition(".")[0],) if parent in MODULES]
    return seen


def within(prefix: str) -> list[str]:
    return [name for name in MODULES if name == prefix or name.startswith(f"{prefix}.")]


def missing(*names: str) -> str | None:
    return next((name for name in names if f"{PACKAGE}.{name}" not in MODULES), None)


def test_the_parser_sees_what_is_there() -> None:
    assert f"{PACKAGE}.errors" in inside(f"{PACKAGE}.runtime")
    assert "numpy" in outside(f"{PACKAGE}.runtime")
    assert f"{PACKAGE}.kernels._taichi" in inside(f"{PACKAGE}.runtime"), "an import inside a function"


def test_bitstream_needs_the_standard_library_only() -> None:
    for module in within(f"{PACKAGE}.bitstream"):
        assert outside(module) == set(), module
        allowed = {PACKAGE, f"{PACKAGE}.errors", *within(f"{PACKAGE}.bitstream")}
        assert reach(module) <= allowed, module


def test_only_the_entropy_coder_imports_constriction() -> None:
    users = {module for module in MODULES if "constriction" in outside(module)}
    assert users <= set(within(f"{PACKAGE}.entropy"))


def test_only_kernels_and_runtime_import_taichi() -> None:
    allowed = {*within(f"{PACKAGE}.kernels"), f"{PACKAGE}.runtime"}
    assert {module for module in MODULES if outside(module) & {"taichi", "quadrants"}} <= allowed
    # The language object goes by way of kernels/_taichi.py; taking it from there counts the same.
    assert {module for module in MODULES if f"{PACKAGE}.kernels._taichi" in inside(module)} <= allowed


def test_kernels_import_nothing_of_the_package_but_each_other() -> None:
    kernels = within(f"{PACKAGE}.kernels")
    for module in kernels:
        assert inside(module) <= set(kernels), module
        assert outside(module) <= {"taichi", "quadrants", "numpy"}, module


def test_the_core_does_not_import_torch() -> None:
    assert {module for module in MODULES if "torch" in outside(module)} <= set(within(f"{PACKAGE}.torch"))


@pytest.mark.parametrize("decoder", ["decode", "bitstream", "entropy", "fields", "quantize", "render"])
def test_decoding_never_reaches_the_optimiser(decoder: str) -> None:
    if missing(decoder):
        pytest.fail(f"{PACKAGE}.{decoder} is missing")
    encoder_side = {f"{PACKAGE}.{name}" for name in ("optimize", "rate", "encode", "sequence", "hull")}
    assert reach(f"{PACKAGE}.{decoder}") & encoder_side == set()


def test_the_encoder_reaches_the_optimiser() -> None:
    """Keeps the test above honest: the walk does follow imports that far."""
    assert f"{PACKAGE}.optimize" in reach(f"{PACKAGE}.encode")


def test_modules_form_layers() -> None:
    """No cycles: each module can be read after the ones it imports."""
    done: set[str] = set()
    for module in MODULES:
        path: list[str] = []

        def visit(name: str, path: list[str] = path) -> None:
            if name in done:
                return
            assert name not in path, " -> ".join([*path[path.index(name) :], name])
            path.append(name)
            for target in inside(name) - {PACKAGE}:
                # A package's __init__ and its own modules are one unit.
                if not (name.startswith(f"{target}.") or target.startswith(f"{name}.")):
                    visit(target)
            path.pop()
            done.add(name)

        visit(module)


def test_only_programs_import_the_commands() -> None:
    programs = {*within(f"{PACKAGE}.cli"), f"{PACKAGE}.__main__"}
    users = {module for module in MODULES if inside(module) & set(within(f"{PACKAGE}.cli"))}
    assert users <= programs


def test_commands_use_public_modules_only() -> None:
    public = {
        PACKAGE,
        *(f"{PACKAGE}.{name}" for name in ("errors", "types", "config", "sequence", "encode", "decode", "render")),
        *(f"{PACKAGE}.{name}" for name in ("runtime", "evaluate", "demo", "doctor", "metrics")),
        *(f"{PACKAGE}.{name}" for name in ("playback", "viewer", "guard", "report", "preview", "bench", "curves")),
        *(f"{PACKAGE}.{name}" for name in ("fields", "rates", "selection", "words")),
        *within(f"{PACKAGE}.bitstream"),
        *within(f"{PACKAGE}.cli"),
        *within(f"{PACKAGE}.io"),
    }
    for module in within(f"{PACKAGE}.cli"):
        assert inside(module) <= public, module


HEAVY = ("taichi", "torch", "constriction", "av", "PIL", "skimage", "scipy")


def _heavy_modules_after(python, code: str, *arguments: object) -> list[str]:
    report = f"import sys; print('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = python("-c", f"{code}\n{report}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def test_importing_the_package_is_light(python) -> None:
    assert _heavy_modules_after(python, "import taichi_vvc, taichi_vvc.errors; dir(taichi_vvc)") == []


def test_importing_the_package_starts_nothing_even_with_all_names(python) -> None:
    code = "import taichi_vvc as tv\nfor name in tv.__all__: getattr(tv, name)\nprint(tv.encode, tv.render, tv.open)"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<function ") == 3


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["info", "--help"]])
def test_the_command_starts_light(python, arguments: list[str]) -> None:
    code = f"from taichi_vvc.cli import run\nassert run({arguments!r}) == 0"
    assert _heavy_modules_after(python, code) == []


def test_functions_are_not_hidden_by_modules_of_the_same_name(python) -> None:
    code = """
import taichi_vvc
import taichi_vvc.encode, taichi_vvc.render, taichi_vvc.decode
assert callable(taichi_vvc.encode) and callable(taichi_vvc.field.render) and callable(taichi_vvc.open)
from taichi_vvc import encode, render
assert callable(encode) and callable(render)
assert encode.__module__ == "taichi_vvc.encode"
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_public_names_are_listed_and_unknown_ones_refused() -> None:
    assert len(set(taichi_vvc.__all__)) == len(taichi_vvc.__all__)
    assert set(taichi_vvc.__all__) <= set(dir(taichi_vvc))
    assert set(taichi_vvc._PUBLIC) == set(taichi_vvc.__all__) - {"__version__", "errors"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = taichi_vvc.nothing
