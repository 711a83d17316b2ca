"""docs/architecture.md shows the rooms as they are, and its walks name modules that there are."""

from __future__ import annotations

import re
from types import ModuleType

import pytest
from imports import ROOMS
from places import ROOT, script


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return script("make_rooms")


def test_the_page_is_current(generator: ModuleType) -> None:
    text = generator.PAGE.read_text(encoding="utf-8")
    assert text == generator.page(text), "run python docs/make_rooms.py"


def test_every_room_is_described(generator: ModuleType) -> None:
    described = re.findall(r"### `([a-z_]+)(?:/|\.py)`\n\n\w", generator.module_list())
    assert described == [room for room in ROOMS if not room.startswith("_")]


def test_the_picture_has_the_arrows_that_no_chain_implies(generator: ModuleType) -> None:
    drawn = set(generator.essential())
    assert ("parts", "encoder") in drawn and ("runtime", "kernels") in drawn
    assert ("cli", "bitstream") not in drawn, "implied by the rooms between them"
    reached = {room: {room} for room in generator.DRAWN}
    for room in reversed(generator.DRAWN):
        for a, b in drawn:
            if a == room:
                reached[room] |= reached[b]
    every = {(a, b) for a, b in generator.arrows() if {a, b} <= set(generator.DRAWN)}
    assert every and all(b in reached[a] for a, b in every)


def test_files_that_the_page_names_are_there(generator: ModuleType) -> None:
    text = generator.PAGE.read_text(encoding="utf-8")
    # Rows of the module list are relative to their room and made from what is there.
    text = text.split(generator.MODULE_LIST)[0] + text.split(generator.END)[-1]
    named = set(re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", text))
    assert len(named) > 20
    for name in named:
        assert any((ROOT / folder / name).is_file() for folder in ("", "taichi_vvc")), name
