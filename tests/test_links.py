"""Links of the documents lead somewhere: files, and headings in them as code hosts name these."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from places import ROOT

DOCS = ROOT / "docs"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "taichi_vvc" / "data").rglob("*.md")),
]
CODE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    """A page without its code, where brackets are no links."""
    return re.sub(r"`[^`\n]+`", "code", CODE.sub("", page.read_text(encoding="utf-8")))


def links(page: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", prose(page))


def anchors(page: Path) -> set[str]:
    """Of its headings: lower case, punctuation left out, spaces as hyphens; the second of the same name gets ``-1``."""
    found: list[str] = []
    for heading in re.findall(r"^#{1,6} +(.+?) *$", CODE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


def broken(page: Path) -> list[str]:
    wrong = []
    for link in links(page):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and (target.suffix != ".md" or anchor not in anchors(target))):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    """The check itself, on links of all kinds."""
    other = tmp_path / "other.md"
    other.write_text("# Other\n\n## `--crf`, [and](x.md) more\n\n## Twice\n\n## Twice\n\n```\n# no heading\n```\n")
    page = tmp_path / "page.md"
    good = ["other.md", "other.md#--crf-and-more", "other.md#twice-1", "#page", "https://example.org/x.md#y"]
    bad = ["missing.md", "other.md#no-heading", "other.md#twice-2", "#other", "sub/other.md"]
    page.write_text(
        "# Page\n\n" + " ".join(f"[a `b`]({link})" for link in [*good, *bad]) + "\n\n```\n[c](code.md)\n```\n"
    )
    assert broken(page) == bad


def test_the_site_lists_every_page() -> None:
    """Zensical builds pages that ``nav`` lacks, but nothing leads to them."""
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"([\w/-]+\.md)$", config.split("\nnav:\n")[1].split("\nvalidation:\n")[0], re.MULTILINE)
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - {"package.md"}
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize("page", sorted((DOCS / "notes").glob("[!R]*.md")), ids=lambda path: path.name)
def test_the_newest_note_comes_first(page: Path) -> None:
    dates = re.findall(r"^## (\d{4}-\d\d-\d\d)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert dates
    assert dates == sorted(dates, reverse=True)
    assert f"]({page.name})" in (DOCS / "notes" / "README.md").read_text(encoding="utf-8")


USERS = [page for page in PAGES if page.parent == DOCS or page.name == "README.md"]


@pytest.mark.parametrize("page", USERS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_users_pages_have_no_dates(page: Path) -> None:
    """They tell what is so now; what was so on a day belongs to the notes."""
    assert re.findall(r"\b20[2-9]\d-\d\d-\d\d\b", prose(page)) == []
