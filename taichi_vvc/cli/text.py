"""Texts that come from files on their way to a terminal."""

from __future__ import annotations

import sys

import click


def printable(text: str) -> str:
    """``text`` on one line, without anything that a terminal would act on: such characters as Python escapes.

    These are control characters, those that turn the direction of writing, and surrogates without a partner.
    """
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def echo(text: str) -> None:
    """``text`` on stdout; what its encoding lacks comes out as escapes."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding))
