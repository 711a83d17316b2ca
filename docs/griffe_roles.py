"""Makes the roles of Sphinx that docstrings have (``:class:`Camera```) links of the API pages, or plain code.

A name is looked up from where it stands, as in Python: in the class, then the module. What has a page becomes a link;
what has none stays code, so that no page has a link that leads nowhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import griffe

ROLE = re.compile(r":(?:mod|class|func|meth|attr|data|exc):`(~?)([^`]+)`")
BLOCK = re.compile(r"^::: ([\w.]+)\n((?: {4}.*\n|\n)*)", re.MULTILINE)
API = Path(__file__).resolve().parent / "api"


class Roles(griffe.Extension):
    """Rewrites docstrings when a package has been read."""

    def __init__(self) -> None:
        self.shown = [
            (path, re.findall(r"^ {6,}- (\w+)$", options, re.MULTILINE))
            for page in sorted(API.glob("*.md"))
            for path, options in BLOCK.findall(page.read_text(encoding="utf-8"))
        ]

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstrings of a whole package."""
        self._visit(pkg, pkg)

    def _visit(self, pkg: griffe.Module, part: griffe.Object) -> None:
        if part.docstring is not None:
            part.docstring.value = ROLE.sub(
                lambda match: self._link(pkg, part, match[2], bool(match[1])), part.docstring.value
            )
        for member in part.members.values():
            if not member.is_alias:
                self._visit(pkg, member)  # type: ignore[arg-type]

    def _link(self, pkg: griffe.Module, part: griffe.Object, target: str, short: bool) -> str:
        text = target.rpartition(".")[2] if short or target.startswith(".") else target
        path = self._path(pkg, part, target.lstrip("."))
        return f"[`{text}`][{path}]" if path is not None and self._has_page(path) else f"`{text}`"

    def _path(self, pkg: griffe.Module, part: griffe.Object, target: str) -> str | None:
        """The full path of a name as it is seen from ``part``, where there is such a thing."""
        place: griffe.Object | griffe.Alias | None = part
        while place is not None:
            for start in (place, pkg) if place is part else (place,):
                name = target.removeprefix(f"{pkg.path}.") if start is pkg else target
                try:
                    found = start[name]
                    return str(found.canonical_path) if found.has_docstring else None
                except (KeyError, griffe.AliasResolutionError, griffe.CyclicAliasError):
                    continue
            place = place.parent
        return None

    def _has_page(self, path: str) -> bool:
        """Whether an API page shows it: a block of all of its module, or one that names it or its class."""
        for block, members in self.shown:
            rest = path.removeprefix(block)
            if rest == "" or (rest.startswith(".") and (not members or rest[1:].split(".")[0] in members)):
                return not any(name.startswith("_") for name in rest.split("."))
        return False
