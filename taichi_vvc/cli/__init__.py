"""The ``tvvc`` command: one module per subcommand, and the options and outputs that they share.

Results go to stdout; progress and messages go to stderr. An error is one line, and ``--debug`` adds the traceback.
Exit codes: 0 done, 1 unexpected error, 2 wrong usage, 3 unusable capture or unwritable output, 4 bad stream,
5 backend, 130 interrupted, 143 terminated.

:func:`main` is the console script; :func:`run` runs one command line. ``cli/program.py`` is imported by :func:`run`,
so that Ctrl-C is caught while modules load. A subcommand's module is imported only when it runs: ``tvvc info`` loads
neither Taichi nor the entropy coder. The commands may import every room; only ``__main__`` imports them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from taichi_vvc.cli.standard import interrupted_status, prepare

if TYPE_CHECKING:
    from taichi_vvc.cli.program import tvvc

__all__ = ["COMMANDS", "INTERRUPTED", "main", "run", "tvvc", "wants_json"]

COMMANDS = {
    "encode": "Encode a multi-view capture into one .tvvc file.",
    "ladder": "Encode a capture in several qualities that a player can change between.",
    "decode": "Decode a file and render the capture's own cameras.",
    "render": "Render a file along a free camera path while time runs.",
    "view": "Play a file in the browser.",
    "web": "Put a file on a web page that plays it.",
    "export": "Write frames as meshes, points, splats, or views with depth for other programs.",
    "eval": "Decode a file and compare it with the capture it was made from.",
    "join": "Put several files of the same cameras into one, without fitting again.",
    "cut": "Cut some frames out of a file, without fitting again.",
    "bench": "Measure rate-distortion curves of several configurations on a capture.",
    "compare": "Compare the curves of two benches: BD-rate and BD-PSNR.",
    "info": "Say what is in a file, without decoding it.",
    "inspect": "Say what a capture holds and what will make trouble, and draw it.",
    "mask": "Make masks for a capture that has none.",
    "convert": "Write a capture of any layout as pictures with a transforms.json.",
    "doctor": "Find out what works on this machine.",
    "demo": "Encode, decode, render and play the small capture that comes with the package.",
}

INTERRUPTED = "interrupted; what was finished before is on disk"


def __getattr__(name: str) -> object:
    """``tvvc``, the group of all commands, is loaded when it is first used."""
    if name != "tvvc":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from taichi_vvc.cli.program import tvvc

    return tvvc


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line (default ``sys.argv[1:]``) and returns its exit status; never raises."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        from taichi_vvc.cli.program import run_program

        return run_program(arguments)
    except KeyboardInterrupt as error:
        # While modules were loading; the program catches its own. Nothing but the standard library is sure to be there.
        status = interrupted_status(error)
        event = json.dumps({"event": "error", "text": INTERRUPTED, "exit_code": status})
        print(event if wants_json(arguments) else INTERRUPTED, file=sys.stderr)
        return status


def main() -> None:
    """Entry point of the console script: runs ``sys.argv`` and exits with its status."""
    prepare()
    sys.exit(run())


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line, parsed or not, asks for JSON on stderr."""
    return "--progress=json" in arguments or ("--progress", "json") in pairwise(arguments)
