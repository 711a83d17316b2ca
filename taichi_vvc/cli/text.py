"""Safe output of untrusted text, such as names in files, on a terminal."""

from __future__ import annotations

import sys

import click


def printable(text: str) -> str:
    """``text`` on one line, with unsafe characters replaced by Python escapes.

    Unsafe are control characters, characters that change the direction of writing, and lone surrogates.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def echo(text: str) -> None:
    """Prints ``text`` on stdout; characters that its encoding lacks are replaced by escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))
