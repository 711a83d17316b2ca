"""A header's ``settings`` as text, and their check: they must be JSON that can be written again as it was read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

MAX_DEPTH = 16
"""Levels of lists and objects in the settings."""


def settings_text(settings: Mapping[str, Any]) -> str:
    """The canonical JSON of effective settings: sorted keys, no spaces, no NaN."""
    return json.dumps(settings, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def settings_problem(text: str) -> str:
    """The reason why a text cannot be the settings of a file, or ""."""
    try:
        settings = json.loads(text)
    except (ValueError, RecursionError):
        return "expected the settings to be JSON, found other text"
    if not isinstance(settings, dict):
        return "expected the settings to be a JSON object, found another value"
    return _unwritable(settings)


def _unwritable(settings: dict[str, Any]) -> str:
    """The reason why Python could not write these values as JSON, or "".

    Python's reader accepts more than the standard: infinities and NaN, lone surrogates, values nested too deeply.
    """
    values: list[tuple[Any, int]] = [(settings, 1)]
    while values:
        value, depth = values.pop()
        if depth > MAX_DEPTH:
            return f"expected settings of at most {MAX_DEPTH} levels, found more"
        if isinstance(value, float) and not math.isfinite(value):
            return f"expected finite numbers in the settings, found {value}"
        if isinstance(value, str) and any(0xD800 <= ord(c) < 0xE000 for c in value):
            return f"expected whole characters in the settings, found {value[:40]!r}"
        if isinstance(value, dict):
            values += [(part, depth + 1) for item in value.items() for part in item]
        elif isinstance(value, list):
            values += [(part, depth + 1) for part in value]
    return ""
