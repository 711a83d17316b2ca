"""The benchmarks as a user starts them, at their smallest settings: that they run and write what they promise."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
from places import ROOT

from taichi_vvc.coding import choose_tables, context_weights, contexts
from taichi_vvc.coding.context_weights import SETS

SHARED = {"card", "measure", "mutate", "fitting", "torch_reference"}  # imported by others
# Those of the web need Node.js or a browser; what they measure is tested in tests/web.
ELSEWHERE = {"cut_capture", "planted_faults", "decode_web", "fuzz_web", "web_pictures"}
SMALL = ["--preset", "ultrafast", "--downscale", "4"]
RUNS = {
    "step": (
        [*SMALL, "--rays", "64", "--warm", "4", "--repeats", "1", "--threads", "1,2"],
        {
            "stages_ms",
            "step_ms",
            "rays_per_s",
            "samples_per_s",
            "torch_ms",
            "ratio",
            "ratio_median",
            "ratio_given_samples",
            "ratio_with_tables",
            "threads",
        },
    ),
    "fuzz": (
        ["--count", "40", "--seconds", "120", "--rendered", "0.2"],
        {"cases", "resealed", "drawn", "failed", "peak_mib", "slowest_s", "outcomes", "failures"},
    ),
    "estimate": (
        ["--presets", "ultrafast", "--frames", "1", "--iterations", "4", "--downscale", "4"],
        {"seconds", "estimated_s", "memory_mb", "estimated_mb", "bytes", "estimated_bytes", "work"},
    ),
    "workers": (
        ["--workers", "2", "--parts", "4", "--seconds", "0.3"],
        {
            "workers",
            "parts",
            "mean_s",
            "start_s",
            "processes",
            "seconds",
            "utilisation",
            "begin",
            "between",
            "end",
            "best",
            "with_start",
        },
    ),
    "seek": (["{file}", "--repeats", "3"], {"cold_s", "cold_cpu_s", "mean_ms", "longest_ms", "kept_kb"}),
    "exports": (
        ["{file}", "--triangles", "500", "--resolutions", "20", "--picture", "{plot}"],
        {"export", "bytes", "seconds", "psnr", "views"},
    ),
    "convergence": (
        [*SMALL, "--rays", "64", "--steps", "8", "--every", "4", "--threads", "1"],
        {"ours", "torch", "ratio", "torch_psnr", "torch_seconds", "ours_seconds_to_torch_psnr"},
    ),
    "decode": (
        ["{file}", "--repeats", "1"],
        {"parts_ms", "total_ms", "msymbols_per_s", "bytes_per_frame", "others", "symbols_per_frame"},
    ),
    "gpu": (
        ["--backend", "cpu", "--tiny", *SMALL, "--rays", "64", "--size", "32x24", "--warm", "2", "--repeats", "1"],
        {"rates", "step", "frames", "perceptrons", "encode"},
    ),
    "presets": (
        ["--presets", "ultrafast", "--frames", "1", "--downscale", "8", "--plot", "{plot}"],
        {"preset", "seconds", "seconds_per_frame", "kb_per_frame", "psnr", "charged", "views"},
    ),
    "context_weights": (
        ["{file}", "--steps", "60", "--samples", "2000", "--rounds", "2"],
        {"of", "sets", "grids", "symbols", "nonzero", "shipped_bits", "fitted_bits", "change_percent"},
    ),
    "render": (
        ["--presets", "ultrafast", "--sizes", "32x24", "--warm", "2", "--repeats", "1", "--downscale", "4"],
        {"rows", "threads"},
    ),
    "scaling": (
        [
            *(*SMALL, "--axes", "grid,rays,cameras,frames", "--grids", "0.5", "--batches", "64", "--counts", "2"),
            *("--lengths", "1", "--warm", "2", "--repeats", "1"),
        ],
        {"axis", "value", "step_ms", "tables_ms", "peak_mib", "symbols", "grid_values", "samples"},
    ),
}


def test_every_benchmark_is_run_by_a_test() -> None:
    assert {path.stem for path in (ROOT / "benchmarks").glob("*.py")} == SHARED | ELSEWHERE | RUNS.keys()


@pytest.mark.parametrize("name", RUNS)
def test_benchmark_runs(name: str, python, tmp_path) -> None:
    if name in ("step", "convergence"):
        pytest.importorskip("torch")
    if name == "presets":
        pytest.importorskip("matplotlib")
    arguments, keys = RUNS[name]
    plot = tmp_path / "plot.png"
    arguments = [a.format(file=ROOT / "tests" / "data" / "golden_v3.tvvc", plot=plot) for a in arguments]
    # Started elsewhere: a benchmark must not depend on where it is run, nor leave anything there.
    here, file = tmp_path / "here", tmp_path / "figures.json"
    here.mkdir()
    done = python(ROOT / "benchmarks" / f"{name}.py", *arguments, "--json", file, cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stdout and list(here.iterdir()) == []
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["surroundings"].keys() >= {"date", "backend", "processor", "cores", "python", "versions"}
    assert document["results"] and all(result.keys() >= keys for result in document["results"])
    if name == "step":
        assert [result["threads"] for result in document["results"]] == [1, 2]
        assert all(result["loss_difference"] < 1e-3 for result in document["results"])
        assert all(result["ratio"] > 0 for result in document["results"])
        # Both march the same rays, each with a random start of its own.
        assert all(abs(result["torch_samples"] / result["samples"] - 1) < 0.1 for result in document["results"])
    if name == "presets":
        assert document["results"][0]["charged"] < document["results"][0]["psnr"] and plot.stat().st_size > 1000
    if name == "decode":
        assert {"zlib -9", "LZMA -9"} <= document["results"][0]["others"].keys()
    if name == "fuzz":
        found = document["results"][0]
        assert found["cases"] == 40 and found["drawn"] and 10 < found["resealed"] < 35 and not found["failures"]
        assert found["peak_mib"] < 256 and len(found["outcomes"]) > 3
    if name == "context_weights":
        assert [row["sets"] for row in document["results"]] == ["3", "4", "5, 6"]
        # Sets for all captures cost a few per cent on one small file; its own are found in a few steps.
        assert all(-15 < row["change_percent"] < 3 for row in document["results"])
        assert all(row["change_percent"] < -1 for row in document["results"][1:])
        sets = eval(f"[{done.stdout[done.stdout.index('    WeightSet(') :]}]", vars(context_weights))
        assert len(sets) == 4 and [one.previous for one in sets] == [False, False, True, True]
        assert sets != list(SETS[context_weights.FIRST_WRITTEN :])
    if name == "render":
        assert [(row["width"], row["height"]) for row in document["results"][0]["rows"]] == [(32, 24)]


def test_weights_are_fitted_to_the_contexts_of_the_coder(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the shipped weights, magnitudes and signs are counted in the tables and classes that the coder has."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    fitting = importlib.import_module("context_weights")
    found = set()
    for grid in fitting.grids_of(ROOT / "tests" / "data" / "golden_v4.tvvc"):
        choice = choose_tables.choose(grid.residual, contexts.lattice(grid.live), grid.known, "context")
        magnitudes, signs = np.zeros((18, 17), np.int64), np.zeros((8, 2), np.int64)
        for part in choice.passes:
            np.add.at(magnitudes, (part.tables, np.abs(part.values)), 1)
            right = (part.values < 0) == part.flipped
            np.add.at(signs, (part.classes, right.astype(int)), part.values != 0)
        weights = SETS[choice.weights]
        symbols = fitting.symbols_of(grid, weights.stated)
        assert np.array_equal(fitting.histogram(symbols, fitting.rows_of(weights)), magnitudes)
        assert np.array_equal(symbols.signs, signs)
        found.add((weights.previous, weights.reference))
    assert len(found) == 3
