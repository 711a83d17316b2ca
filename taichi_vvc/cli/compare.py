"""``tvvc compare``: compares the rate-distortion curves of two runs of ``tvvc bench``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from taichi_vvc.cli.options import common_options
from taichi_vvc.cli.progress import warn
from taichi_vvc.errors import DataError

SAME = ("capture", "frames", "downscale")


@click.command(epilog="Example:  tvvc compare before/results.json after/results.json")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option("--anchor", metavar="NAME", help="Compare all of B with this configuration of A, not with its namesake.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as one JSON object.")
@common_options
def command(a: Path, b: Path, anchor: str | None, as_json: bool) -> None:
    """BD-rate and BD-PSNR of the configurations in B against those in A, both results.json of `tvvc bench`.

    Negative rates mean that B needs fewer bytes; figures hold for the range that both curves cover.
    """
    import dataclasses

    from taichi_vvc.measure.curves import compare, delta_cells

    first, second = read_results(a), read_results(b)
    for key in SAME:
        if first.get(key) != second.get(key):
            warn(f"the benches differ in {key}: {first.get(key)} and {second.get(key)}")
    if anchor is not None and anchor not in first["points"]:
        raise click.UsageError(f"no configuration '{anchor}' in {a}; there are {', '.join(first['points'])}")
    pairs = [(name, anchor or name) for name in second["points"] if anchor is not None or name in first["points"]]
    if not pairs:
        raise DataError(f"{b}: expected a configuration that {a} has too, found none; give --anchor")
    deltas = {name: compare(first["points"][other], second["points"][name]) for name, other in pairs}
    if as_json:
        click.echo(json.dumps({name: dataclasses.asdict(delta) for name, delta in deltas.items()}, indent=2))
        return
    click.echo("| B | A | BD-rate (Akima) | BD-rate (PCHIP) | BD-PSNR (Akima) | BD-PSNR (PCHIP) | overlap | note |")
    click.echo("| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |")
    for name, other in pairs:
        click.echo(f"| {name} | {other} | {delta_cells(deltas[name])} |")


def read_results(path: Path) -> dict[str, Any]:
    """Reads a results.json.

    Raises:
        DataError: the file cannot be read or is no results.json.
    """
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        for points in results["points"].values():
            for point in points:
                float(point["bytes_per_frame"]), point["psnr"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: expected the results.json of `tvvc bench`, found something else or nothing") from None
    return results
