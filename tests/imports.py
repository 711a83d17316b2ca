"""The package's imports, parsed from the sources, so that imports inside functions count too.

``ROOMS`` is the order that ``test_imports.py`` holds and ``docs/make_rooms.py`` draws.
"""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

from places import ROOT

import taichi_vvc

PACKAGE = "taichi_vvc"

# From the top. A room is a folder or a module beside them; it imports from rooms below it, never from those above.
ROOMS = (
    *(
        "__main__",
        "cli",
        "measure",
        "play",
        "exports",
        "encode",
        "parts",
        "encoder",
        "torch",
        "fit",
        "editing",
        "decode",
        "capture",
        "field",
    ),
    *("coding", "runtime", "config", "media", "versions", "geometry", "bitstream", "words", "types", "errors"),
    *("_moved", "_version", "kernels"),
)


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


def is_package(module: str) -> bool:
    """Whether the module is a folder's ``__init__.py``."""
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
                base = parts[: len(parts) - node.level + is_package(module)]
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


def within(*rooms: str) -> set[str]:
    """The modules of rooms, or single modules, named without the package."""
    prefixes = [f"{PACKAGE}.{room}" for room in rooms]
    return {name for name in MODULES for prefix in prefixes if name == prefix or name.startswith(f"{prefix}.")}


def room_of(module: str) -> str:
    """The room of a module; ``""`` is the package itself with its public names."""
    return module.split(".")[1] if "." in module else ""


def arrows() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(room, room it imports from) -> the imports behind it, each as (module, module)."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for module in MODULES:
        for target in sorted(inside(module)):
            ends = room_of(module), room_of(target)
            if ends[0] != ends[1] and all(ends):
                found.setdefault(ends, []).append((module, target))
    return found
