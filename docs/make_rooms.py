"""Writes the rooms into ``docs/architecture.md``, from the imports and docstrings: ``python docs/make_rooms.py``.

``tests/test_architecture.py`` fails while the page differs from what this makes. The order of the rooms is that of
``tests/imports.py``, which ``tests/test_imports.py`` holds.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from imports import MODULES, PACKAGE, ROOMS, arrows, room_of  # noqa: E402

PAGE = ROOT / "docs" / "architecture.md"
PICTURE = "<!-- picture of the rooms: made by docs/make_rooms.py -->"
MODULE_LIST = "<!-- list of modules: made by docs/make_rooms.py -->"
END = "<!-- end of what is made -->"
# Every room may use these, so that their arrows would only hide the others.
EVERYWHERE = ("errors", "types", "words", "versions")
DRAWN = tuple(room for room in ROOMS if not room.startswith("_") and room not in EVERYWHERE)


def essential() -> list[tuple[str, str]]:
    """The arrows between drawn rooms, without those that a chain of others implies; in the order of the rooms."""
    direct = {room: {b for a, b in arrows() if a == room and b in DRAWN} for room in DRAWN}
    reached: dict[str, set[str]] = {}
    for room in reversed(DRAWN):  # a room imports from rooms behind it only
        reached[room] = direct[room].union(*(reached[target] for target in direct[room]))
    return [
        (room, target)
        for room in DRAWN
        for target in DRAWN
        if target in direct[room] and not any(target in reached[other] for other in direct[room] - {target})
    ]


def picture() -> str:
    """The rooms as a Mermaid flow chart: an arrow points to what a room imports from."""
    folders = {room_of(name) for name, path in MODULES.items() if path.name == "__init__.py"}
    boxes = [f"    {room}[{room}/]" if room in folders else f"    {room}([{room}.py])" for room in DRAWN]
    lines = [f"    {a} --> {b}" for a, b in essential()]
    return "\n".join(["```mermaid", "flowchart TD", *boxes, *lines, "```"])


def first_sentence(path: Path) -> str:
    """The first sentence of a module's docstring, without markup of the API reference."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split()).replace("``", "`")
    return paragraph.split(". ")[0].rstrip(".:")


def module_list() -> str:
    """Every room with its modules, from the top, each with its first sentence."""
    lines = []
    for room in ROOMS:
        names = [name for name in MODULES if room_of(name) == room]
        if room.startswith("_"):
            continue
        uses = [target for target in ROOMS if (room, target) in arrows() and not target.startswith("_")]
        imports = f" Imports from: {', '.join(uses)}." if uses else ""
        folder = len(names) > 1
        # The top-level folder of kernels is installed as a room of the package.
        title = f"`{room}/`" if folder else f"`{room}.py`"
        lines += [f"### {title}", "", f"{first_sentence(MODULES[f'{PACKAGE}.{room}'])}.{imports}", ""]
        if folder:
            lines += ["| Module | What it is |", "|---|---|"]
            for name in names[1:]:
                path = MODULES[name].relative_to(ROOT / ("" if room == "kernels" else PACKAGE)).relative_to(room)
                lines.append(f"| `{path.as_posix()}` | {first_sentence(MODULES[name])} |")
            lines.append("")
    return "\n".join(lines).rstrip()


def page(text: str) -> str:
    """``text``, the page as it is, with what is made between its marks as it should be."""
    for mark, made in ((PICTURE, picture()), (MODULE_LIST, module_list())):
        before, rest = text.split(f"{mark}\n")
        _, after = rest.split(f"{END}\n", 1)
        text = f"{before}{mark}\n\n{made}\n\n{END}\n{after}"
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {PAGE}")
