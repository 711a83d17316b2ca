"""Reads the part of TOML that camera calibrations use: tables of numbers, text, booleans and lists of these.

Python has a TOML reader only from 3.11 on. Here a value is parsed when it is asked for. Values that calibrations do not
use (dates, inline tables, tables in lists) are therefore skipped without an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taichi_vvc.capture.readers.parse import short
from taichi_vvc.errors import DataError

LARGEST = 4_000_000  # bytes: a calibration has a few hundred per camera
DEPTH = 16  # of lists in lists

_TOKEN = re.compile(
    r"""(?P<text>"{3}(?:[^\\]|\\.)*?"{3}|'{3}.*?'{3}|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
    r"|(?P<skip>\#[^\n]*|[ \t\r]+)|(?P<mark>[\[\]{},=\n])|(?P<bare>[^\s\[\]{},=#\"']+)",
    re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?(?:\d[\d_]{0,39}(?:\.[\d_]{1,40})?(?:[eE][+-]?\d{1,4})?|inf|nan)", re.ASCII)
_ESCAPE = re.compile(r'\\(u[0-9a-fA-F]{4}|[btnfr"\\])')
_PLAIN = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}


@dataclass(frozen=True)
class Table:
    """A ``[table]`` of a file.

    Attributes:
        name: the text in the brackets, without quotes; empty for entries before the first table.
        entries: the value of each key as words, not parsed yet.
    """

    name: str
    entries: dict[str, tuple[str, ...]]
    where: str

    def get(self, key: str) -> Any:
        """The value of ``key``: a float, text, a bool or a list; None if it is absent.

        Raises:
            DataError: the value is of another type.
        """
        words = self.entries.get(key)
        return None if words is None else _value(words, f'{self.where}: expected a value for "{key}" of [{self.name}]')


def read_toml(file: Path) -> list[Table]:
    """The tables of a file, in order.

    Raises:
        DataError: it cannot be read or is no TOML.
    """
    try:
        if file.stat().st_size > LARGEST:
            raise DataError(f"{file}: expected a calibration in TOML, found a file of over {LARGEST} bytes")
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot read it: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: expected TOML in UTF-8, found other bytes") from None
    tables = [Table("", {}, str(file))]
    for number, words in _statements(text, file):
        if words[0] == "[":
            if words[-1] != "]":
                raise DataError(f"{file}: line {number}: expected a table's name in brackets, found {_shown(words)}")
            tables.append(Table("".join(map(_unquoted, words)).strip("[]"), {}, str(file)))
        elif "=" not in words[1:2] or len(words) < 3:
            raise DataError(f"{file}: line {number}: expected a key, = and a value, found {_shown(words)}")
        else:
            tables[-1].entries[_unquoted(words[0])] = words[2:]
    return tables


def _statements(text: str, file: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The words of each statement, with its line number; a statement goes on while a bracket is open."""
    words: list[str] = []
    at, line, first, depth = 0, 1, 1, 0
    while at <= len(text):
        match = _TOKEN.match(text, at) if at < len(text) else None
        if at < len(text) and match is None:
            raise DataError(f"{file}: line {line}: expected TOML, found {short(text[at : at + 20])}")
        token = "\n" if match is None else match[0]
        at += len(token)
        line += token.count("\n")
        if match is not None and match["skip"] is not None:
            continue
        if token == "\n":
            if depth > 0 and match is None:
                raise DataError(
                    f"{file}: line {first}: expected a bracket that is closed, found {_shown(tuple(words))}"
                )
            if words and depth <= 0:
                yield first, tuple(words)
                words, depth = [], 0
            continue
        if not words:
            first = line
        words.append(token)
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token, 0)


def _value(words: tuple[str, ...], expected: str) -> Any:
    """The value that the words spell. Not recursive, so that nested lists cannot exhaust the stack."""
    done: list[Any] = []
    stack = [done]
    closed = False  # whether the last word ended a value, so that a comma or the end must follow
    for word in words:
        if word == "," and closed and len(stack) > 1:
            closed = False
        elif word == "]" and len(stack) > 1:
            stack.pop()
            closed = True
        elif closed:
            break
        elif word == "[" and len(stack) <= DEPTH:
            stack[-1].append([])
            stack.append(stack[-1][-1])
        elif word[0] in "\"'":
            stack[-1].append(_unquoted(word))
            closed = True
        elif word in ("true", "false"):
            stack[-1].append(word == "true")
            closed = True
        elif _NUMBER.fullmatch(word):
            stack[-1].append(float(word.replace("_", "")))
            closed = True
        else:
            break
    else:
        if len(stack) == 1 and len(done) == 1:
            return done[0]
    raise DataError(f"{expected}, a number, text, true, false or a list, found {_shown(words)}")


def _unquoted(word: str) -> str:
    if word[0] == "'":
        return word.strip("'")
    if word[0] != '"':
        return word
    inner = word[3:-3] if word.startswith('"""') and len(word) >= 6 else word[1:-1]
    return _ESCAPE.sub(lambda m: chr(int(m[1][1:], 16)) if m[1][0] == "u" else _PLAIN[m[1]], inner)


def _shown(words: tuple[str, ...]) -> str:
    return short(" ".join(words[:20]))
