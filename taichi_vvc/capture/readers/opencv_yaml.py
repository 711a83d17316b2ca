"""Reads the YAML of OpenCV's FileStorage, as far as calibrations use it: matrices, lists, numbers and text."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from taichi_vvc.errors import DataError

_SPECIAL = {".nan": "nan", ".inf": "inf", "-.inf": "-inf", "+.inf": "inf"}


def read_filestorage(file: Path) -> dict[str, Any]:
    """The top-level entries: a matrix as (rows, cols) float64, a list of text, or text.

    Raises:
        DataError: the file cannot be read, or a matrix in it is damaged.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise DataError(f"{file}: cannot read it: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: expected OpenCV's YAML in UTF-8, found other bytes") from None
    blocks: dict[str, list[str]] = {}
    block: list[str] | None = None
    for line in lines:
        if not line.strip() or line.startswith(("%", "---", "...", "#")):
            continue
        key, colon, rest = line.partition(":")
        if colon and key and not line[0].isspace() and line[0] != "-" and (not rest or rest[0].isspace()):
            block = blocks[_plain(key)] = [rest.strip()]
        elif block is not None:
            block.append(line.strip())
        else:
            raise DataError(f"{file}: expected OpenCV's YAML, found the line {line.strip()[:40]!r} before any key")
    return {key: _value(" ".join(block).strip(), f"{file}: {key}") for key, block in blocks.items()}


def matrix(storage: dict[str, Any], key: str, shape: tuple[int, ...], file: Path) -> np.ndarray | None:
    """The matrix ``key`` reshaped to ``shape`` (-1 for any length), None if it is absent.

    Raises:
        DataError: it is no matrix, or has another number of elements.
    """
    value = storage.get(key)
    if value is None:
        return None
    if not isinstance(value, np.ndarray) or (-1 not in shape and value.size != int(np.prod(shape))):
        found = f"{value.shape[0]}x{value.shape[1]}" if isinstance(value, np.ndarray) else repr(value)[:40]
        raise DataError(f"{file}: expected {key} to be a matrix of shape {shape}, found {found}")
    return value.reshape(shape)


def number(storage: dict[str, Any], key: str, file: Path) -> float | None:
    """The number ``key``, None if it is absent. Raises DataError if it is no finite number."""
    value = storage.get(key)
    if value is None or value == "":
        return None
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise DataError(f"{file}: expected {key} to be a number, found {str(value)[:40]!r}")
    return found


def _value(text: str, where: str) -> Any:
    if text.startswith("!!opencv-matrix"):
        return _matrix(text, where)
    if text.startswith("[") and text.endswith("]"):
        return [_plain(item) for item in text[1:-1].split(",") if item.strip()]
    if text == "-" or text.startswith("- "):
        return [_plain(item) for item in re.split(r"(?:^|\s)-\s", text) if item.strip()]
    return _plain(text)


def _matrix(text: str, where: str) -> np.ndarray:
    rows, cols = re.search(r"\brows:\s*(\d{1,6})\b", text), re.search(r"\bcols:\s*(\d{1,6})\b", text)
    _, found, data = text.partition("data:")
    data, closed, _ = data.lstrip().partition("]")
    if rows is None or cols is None or not found or not closed or not data.startswith("["):
        raise DataError(f"{where}: expected a matrix with rows, cols and data, found {text[:40]!r}")
    items = [item.strip() for item in data[1:].split(",") if item.strip()]
    try:
        values = np.array([float(_SPECIAL.get(item.lower(), item)) for item in items])
    except ValueError as error:
        raise DataError(f"{where}: expected numbers in the matrix: {error}") from None
    shape = int(rows[1]), int(cols[1])
    if values.size != shape[0] * shape[1]:
        raise DataError(f"{where}: expected {shape[0]}x{shape[1]} numbers, found {values.size}")
    return values.reshape(shape)


def _plain(text: str) -> str:
    text = text.strip()
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "\"'"
    return text[1:-1] if quoted else text
