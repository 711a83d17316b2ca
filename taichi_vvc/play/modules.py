"""The player's JavaScript modules: which of them belong together, and several as one script.

A self-contained page cannot load modules: a browser fetches none from ``file://``. :func:`bundle` makes one script of a
module and all that it imports. It reads the subset of the language that the package's modules are written in: imports
and exports at the beginning of a line, exported names that do not change, no cycles.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

from taichi_vvc.errors import ConfigError

_IMPORT = re.compile(r'^import\s+(?:(\{[^}]*\}|\*\s+as\s+\w+)\s+from\s+)?"(\.[^"]+)";[^\n]*\n', re.MULTILINE)
_PASSED_ON = re.compile(r'^export\s+(\*|\{[^}]*\})\s+from\s+"(\.[^"]+)";[^\n]*\n', re.MULTILINE)
_EXPORT = re.compile(r"^export\s+((?:async\s+)?function\*?|class|const)\s+(\w+)", re.MULTILINE)
_SEVERAL = re.compile(r"^export\s+const\s+([\[{])([^\]}=]*)([\]}])\s*=", re.MULTILINE)
_LIST = re.compile(r"^export\s+\{([^}]*)\};[^\n]*\n", re.MULTILINE)
_COMMENT = re.compile(r"^[ ]*/\*\*.*?\*/[ ]*\n|^[ ]*//[^\n]*\n", re.MULTILINE | re.DOTALL)
_LEFT = re.compile(r"^(?:import|export)\b[^\n]*|import\.meta", re.MULTILINE)


@cache
def source(name: str) -> str:
    """The text of a module of the package's folder ``web``, such as ``player/element.js``."""
    return files("taichi_vvc").joinpath("web", *name.split("/")).read_text(encoding="utf-8")


def imports_of(name: str) -> list[str]:
    """The modules that a module imports or passes on, in its order."""
    text = source(name)
    found = [(m.start(), m.group(2)) for pattern in (_IMPORT, _PASSED_ON) for m in pattern.finditer(text)]
    return [posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) for _, path in sorted(found)]


def modules_of(*names: str, instead: Mapping[str, str] | None = None) -> list[str]:
    """Modules and all that they import, each after what it imports.

    Args:
        names: where to begin.
        instead: modules that take the place of others.

    Raises:
        ConfigError: modules import each other.
    """
    found: list[str] = []
    under_way: list[str] = []

    def visit(name: str) -> None:
        name = (instead or {}).get(name, name)
        if name in found:
            return
        if name in under_way:
            raise ConfigError(f"expected modules without cycles, found {' -> '.join([*under_way, name])}")
        under_way.append(name)
        for other in imports_of(name):
            visit(other)
        under_way.pop()
        found.append(name)

    for name in names:
        visit(name)
    return found


def bundle(name: str, instead: Mapping[str, str] | None = None) -> str:
    """One classic script of a module and all that it imports; see :func:`modules_of` for ``instead``.

    Raises:
        ConfigError: a module is not written in the subset that can be put together.
    """
    order = modules_of(name, instead=instead)
    place = {module: f"$m{i}" for i, module in enumerate(order)}
    parts = [_wrapped(module, place, instead or {}) for module in order]
    return '(() => {\n"use strict";\n' + "\n".join(parts) + "\n})();\n"


def _names(braces: str) -> list[tuple[str, str]]:
    """The pairs (name there, name here) of ``{a, b as c}``."""
    found = []
    for part in filter(None, (part.strip() for part in braces.strip("{} \n").split(","))):
        there, _, here = part.partition(" as ")
        found.append((there.strip(), (here or there).strip()))
    return found


def _wrapped(name: str, place: Mapping[str, str], instead: Mapping[str, str]) -> str:
    """A module as a function whose result are its exports."""
    exported: list[str] = []

    def of(path: str) -> str:
        other = posixpath.normpath(posixpath.join(posixpath.dirname(name), path))
        return place[instead.get(other, other)]

    def take(match: re.Match[str]) -> str:
        what, path = match.groups()
        if what is None:
            return ""
        if what.startswith("*"):
            return f"const {what.split()[-1]} = {of(path)};\n"
        pairs = ", ".join(there if there == here else f"{there}: {here}" for there, here in _names(what))
        return f"const {{ {pairs} }} = {of(path)};\n"

    def pass_on(match: re.Match[str]) -> str:
        what, path = match.groups()
        if what == "*":
            exported.append(f"...{of(path)}")
        else:
            exported.extend(f"{here}: {of(path)}.{there}" for there, here in _names(what))
        return ""

    def declare(match: re.Match[str]) -> str:
        exported.append(match.group(2))
        return f"{match.group(1)} {match.group(2)}"

    def unpack(match: re.Match[str]) -> str:
        opening, names, closing = match.groups()
        exported.extend(here.rpartition(":")[2].strip() for here in names.split(",") if here.strip())
        return f"const {opening}{names}{closing} ="

    def listed(match: re.Match[str]) -> str:
        exported.extend(here if there == here else f"{here}: {there}" for there, here in _names(match.group(1)))
        return ""

    text = _COMMENT.sub("", source(name))
    changes = (_IMPORT, take), (_PASSED_ON, pass_on), (_EXPORT, declare), (_SEVERAL, unpack), (_LIST, listed)
    for pattern, change in changes:
        text = pattern.sub(change, text)
    left = _LEFT.search(text)
    if left:
        raise ConfigError(f"{name}: expected imports and exports of the plain kinds, found {left.group()[:60]!r}")
    result = f"return {{ {', '.join(exported)} }};\n" if exported else ""
    return f"const {place[name]} = (() => {{\n{text}{result}}})();"
