"""``tvvc doctor``: reports which backends work on this machine."""

from __future__ import annotations

import json
from typing import Any

import click

from taichi_vvc.cli.options import FiniteRange, common_options
from taichi_vvc.cli.progress import say
from taichi_vvc.errors import BackendError
from taichi_vvc.measure.doctor import PROBE_TIMEOUT, diagnose


@click.command(epilog="Example:  tvvc doctor --json")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.option(
    "--timeout",
    type=FiniteRange(1),
    default=PROBE_TIMEOUT,
    show_default=True,
    help="Seconds that each backend may take to start.",
)
@common_options
def command(as_json: bool, timeout: float) -> None:
    """Find out what works on this machine: versions, backends that really start, memory, a short self-test.

    Each backend is started in a process of its own, so a broken driver is reported and does no harm. Exit code 5 if
    none works.
    """
    say("trying each backend, which takes some seconds ...")
    report = diagnose(timeout)
    click.echo(json.dumps(report, indent=2) if as_json else _as_text(report))
    if not report["works"]:
        raise BackendError("no backend works on this machine; see the hints above")


def _gibibytes(count: int | None) -> str:
    return "unknown" if count is None else f"{count / 2**30:.1f} GiB"


def _as_text(report: dict[str, Any]) -> str:
    memory, system, test = report["memory"], report["system"], report["self_test"]
    lines = [f"{name:13} {version or 'not installed'}" for name, version in report["versions"].items()]
    lines.append(f"{'system':13} {system['os']}, {system['machine']}, {system['cpus']} CPUs")
    lines.append(
        f"{'memory':13} {_gibibytes(memory['total_bytes'])}, {_gibibytes(memory['available_bytes'])} available"
    )
    for name, found in report["backends"].items():
        state = f"starts in {found['seconds']:.1f} s" if found["works"] else "no"
        lines.append(f"{name:13} {state}: {found['message']}")
    lines.append(f"{'self-test':13} {'passed' if test['works'] else 'failed'} on {test['backend']}: {test['message']}")
    lines += [f"hint: {hint}" for hint in report["hints"]]
    return "\n".join(lines)
