"""``tvvc bench`` and ``tvvc compare``: BD figures, points kept on disk, outputs, and errors of one line."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from captures import write_capture
from PIL import Image
from test_baselines import TINY

from taichi_vvc.cli import run
from taichi_vvc.config import PRESETS
from taichi_vvc.errors import ConfigError
from taichi_vvc.measure import bench, curves

pytest.importorskip("bjontegaard")
pytest.importorskip("matplotlib")

RATES = (1000.0, 2000.0, 4000.0, 8000.0)


def curve(rates=RATES, offset: float = 0.0, split: str = "test") -> list[dict]:
    """3 dB per doubling, from 25 dB at 1000 bytes."""
    return [
        {
            "setting": f"s {rate:g}",
            "bytes_per_frame": rate,
            "psnr": 25 + 3 * float(np.log2(rate / 1000)) + offset,
            "ssim": 0.9,
            "psnr_train": 30.0,
            "seconds": 1.0,
            "split": split,
            "free_viewpoint": True,
        }
        for rate in rates
    ]


def test_half_the_rate_is_minus_fifty_percent_and_three_decibels() -> None:
    delta = curves.compare(curve(), curve(offset=3.0))
    assert delta.rate == pytest.approx(-50, abs=0.1) and delta.rate_pchip == pytest.approx(-50, abs=0.1)
    assert delta.psnr == pytest.approx(3, abs=0.01) and delta.psnr_pchip == pytest.approx(3, abs=0.01)
    assert delta.overlap == pytest.approx(6 / 12) and delta.note == ""
    assert curves.compare(curve(), curve()).rate == pytest.approx(0, abs=1e-9)


def test_curves_without_common_quality_get_no_figure_but_a_note() -> None:
    delta = curves.compare(curve(), curve(offset=20.0))
    assert delta.rate is None and delta.rate_pchip is None and delta.overlap == 0
    assert "share 0 %" in delta.note
    # The rates are the same, so that the other figure exists.
    assert delta.psnr == pytest.approx(20, abs=0.01)


def test_little_overlap_is_said() -> None:
    delta = curves.compare(curve(), curve(offset=6.0))
    assert delta.rate == pytest.approx(-75, abs=0.5) and "share 20 %" in delta.note


def test_points_that_cost_more_and_show_less_are_left_out() -> None:
    worse = {**curve()[0], "bytes_per_frame": 9000.0}
    rates, quality = curves.frontier([*curve(), worse])
    assert rates.tolist() == list(RATES) and np.all(np.diff(quality) > 0)
    delta = curves.compare(curve(), [*curve(), worse])
    assert delta.rate == pytest.approx(0, abs=1e-9) and "1 points left out" in delta.note
    assert "only 3 points" in curves.compare(curve(), curve()[:3]).note
    assert curves.compare(curve(), curve()[:1]).rate is None


def flat_end(psnr: tuple[float, ...]) -> list[dict]:
    """A curve whose last point costs much and shows hardly more."""
    return [{**point, "psnr": value} for point, value in zip(curve((1000.0, 1100.0, 1700.0)), psnr, strict=True)]


def test_interpolations_that_disagree_give_no_figure_but_a_note() -> None:
    import bjontegaard

    anchor, test = flat_end((19.5, 21.4, 21.402)), flat_end((19.6, 21.4, 21.45))
    raw = [
        bjontegaard.bd_rate(
            *curves.frontier(anchor), *curves.frontier(test), method=method, require_matching_points=False
        )
        for method in ("akima", "pchip")
    ]
    low, high = sorted(1 + percent / 100 for percent in raw)
    assert high > 1.25 * low, "the case that this test is about"
    delta = curves.compare(anchor, test)
    assert delta.rate is None and delta.rate_pchip is None
    assert "no BD-rate: the interpolations disagree" in delta.note
    # What they agree on stays a figure.
    assert delta.psnr == pytest.approx(delta.psnr_pchip, abs=0.5) and "no BD-PSNR" not in delta.note
    assert curves.delta_cells(delta).startswith(f"- | - | {delta.psnr:.2f} dB | ")


@pytest.mark.parametrize(
    ("akima", "pchip", "shown"),
    [
        (-50.0, -40.0, True),  # half the bytes and six tenths
        (-50.0, -30.0, False),
        (100.0, 160.0, False),
        (300.0, 380.0, True),
        (math.inf, 2.7, False),
        (math.inf, math.nan, False),
    ],
)
def test_rates_agree_by_their_factor(akima: float, pchip: float, shown: bool, monkeypatch) -> None:
    found = {"akima": akima, "pchip": pchip}
    monkeypatch.setattr("bjontegaard.bd_rate", lambda *_curves, method, **_more: found[method])
    delta = curves.compare(curve(), curve())
    assert (delta.rate, delta.rate_pchip) == ((akima, pchip) if shown else (None, None))
    # Without a number of either there is nothing to disagree on.
    assert ("disagree" in delta.note) == (not shown and math.isfinite(pchip))
    assert delta.psnr == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(("pchip", "shown"), [(1.4, True), (1.6, False)])
def test_psnr_agrees_within_half_a_decibel(pchip: float, shown: bool, monkeypatch) -> None:
    found = {"akima": 1.0, "pchip": pchip}
    monkeypatch.setattr("bjontegaard.bd_psnr", lambda *_curves, method, **_more: found[method])
    delta = curves.compare(curve(), curve())
    assert (delta.psnr, delta.psnr_pchip) == ((1.0, pchip) if shown else (None, None))
    assert ("no BD-PSNR: the interpolations disagree" in delta.note) == (not shown)


def test_tables_compare_each_pair_once_and_only_the_same_pictures() -> None:
    table = curves.delta_table({"a": curve(), "b": curve(offset=1), "c": curve(split="train")})
    assert [row.split("|")[1:3] for row in table.splitlines()[2:]] == [[" a ", " b "]]
    points = curves.points_table({"c": curve(split="train")})
    assert points.count("30.00 dB") == 4 and "| - |" in points


def test_pictures_are_shown_at_about_equal_rate() -> None:
    sent = [{**p, "free_viewpoint": False} for p in curve()]
    chosen = curves.equal_rate({"a": curve(), "b": curve((3900.0, 9000.0)), "sent": sent})
    assert {name: p["bytes_per_frame"] for name, p in chosen.items()} == {"a": 4000.0, "b": 3900.0}
    assert curves.equal_rate({"sent": sent}) == {}


def test_crop_is_the_upper_half_of_the_subject() -> None:
    alpha = np.zeros((40, 60), bool)
    alpha[10:30, 20:30] = True
    rows, columns = curves.crop_around(alpha)
    assert (rows.start, rows.stop) == (10, 20) and columns.start <= 20 and columns.stop >= 29
    assert curves.crop_around(np.zeros((4, 4), bool)) == (slice(None), slice(None))


def test_settings_of_the_points() -> None:
    for name, configuration in bench.CONFIGURATIONS.items():
        for count in (4, 6):
            values = configuration.values(count, TINY)
            assert len(set(values)) == count, name
    assert bench.CONFIGURATIONS["full"].values(4, TINY)[1] == pytest.approx(TINY.lambda_rate)
    assert bench.CONFIGURATIONS["posthoc"].values(4, TINY) == [0.6, 1.13, 2.13, 4.0]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("capture"), cameras=4, frames=2, size=24)


@pytest.fixture(scope="module")
def quick():
    """The smallest preset, smaller still; the command line has only the real ones."""
    import dataclasses

    before = PRESETS["ultrafast"]
    PRESETS["ultrafast"] = dataclasses.replace(TINY, key_iterations=20, inter_iterations=10)
    yield
    PRESETS["ultrafast"] = before


CONFIGS = "full,paper,laplace,dynamic,simulcast"


@pytest.fixture(scope="module")
def measured(capture: Path, quick, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench") / "out"
    assert run(arguments(capture, out)) == 0
    return out


def arguments(capture: Path, out: Path, configs: str = CONFIGS) -> list[str]:
    return ["bench", str(capture), "-o", str(out), "--configs", configs, "--preset", "ultrafast", "--backend", "cpu"]


def test_bench_writes_everything(measured: Path) -> None:
    results = json.loads((measured / "results.json").read_text(encoding="utf-8"))
    assert list(results["points"]) == CONFIGS.split(",")
    for name, points in results["points"].items():
        assert len(points) == 4
        for point in points:
            assert point["bytes_per_frame"] == point["bytes"] / 2 > 0
            assert point["psnr"] > 5 and point["psnr_train"] > 5 and 0 < point["ssim"] < 1
            assert point["split"] == ("train" if name == "simulcast" else "test")
            assert point["free_viewpoint"] == (name != "simulcast")
    table = (measured / "table.md").read_text(encoding="utf-8")
    assert "| full | lambda" in table and "| full | paper |" in table and "no: the sent cameras only" in table
    assert "| full | simulcast |" not in table
    assert "<svg" in (measured / "curves.svg").read_text(encoding="utf-8")
    for name in ("curves.png", "crops.png"):
        with Image.open(measured / name) as picture:
            assert min(picture.size) > 100


def test_files_are_counted_whole(measured: Path) -> None:
    points = json.loads((measured / "results.json").read_text(encoding="utf-8"))["points"]

    def sizes(name: str) -> list[int]:
        return sorted(path.stat().st_size for path in (measured / "files").glob(f"{name}-*.tvvc"))

    for name in ("full", "laplace"):
        assert sorted(p["bytes"] for p in points[name]) == sizes(name)
    # paper's files hold differences of the coefficient grid, which is counted whole.
    whole = sorted(p["bytes"] for p in points["paper"])
    # At the largest lambda nothing of it may be left.
    assert sum(a != b for a, b in zip(whole, sizes("paper"), strict=True)) >= 3
    assert len(list((measured / "files").glob("*.tvvc"))) == 16


def test_a_stopped_run_goes_on(measured: Path, capture: Path, monkeypatch, capfd) -> None:
    before = json.loads((measured / "results.json").read_text(encoding="utf-8"))
    lost = next((measured / "points").glob("full-*.json"))
    lost.unlink()

    def refuse(*_arguments, **_named):
        raise AssertionError("encoded again")

    monkeypatch.setattr(bench, "encode", refuse)
    assert run(arguments(capture, measured)) == 0
    assert lost.exists()
    after = json.loads((measured / "results.json").read_text(encoding="utf-8"))
    assert after["points"] == before["points"]
    capfd.readouterr()
    # Other settings are other points.
    assert run([*arguments(capture, measured, "full"), "--frames", "0"]) == 1
    assert "encoded again" in capfd.readouterr().err


def test_compare_two_benches(measured: Path, tmp_path: Path, capfd) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    results = {"capture": "c", "frames": [0, 4], "downscale": 1}
    first.write_text(json.dumps({**results, "points": {"full": curve(), "paper": curve()}}), encoding="utf-8")
    second.write_text(json.dumps({**results, "downscale": 2, "points": {"full": curve(offset=3)}}), encoding="utf-8")
    assert run(["compare", str(first), str(second)]) == 0
    out, err = capfd.readouterr()
    assert "| full | full | -50.0 % | -50.0 % | 3.00 dB |" in out and "differ in downscale" in err
    assert run(["compare", str(first), str(second), "--anchor", "paper", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["full"]["rate"] == pytest.approx(-50, abs=0.1)
    assert run(["compare", str(measured / "results.json"), str(measured / "results.json")]) == 0
    assert run(["compare", str(first), str(second), "--anchor", "none"]) == 2
    second.write_text("{}", encoding="utf-8")
    assert run(["compare", str(first), str(second)]) == 3


@pytest.mark.parametrize("package", ["bjontegaard", "matplotlib"])
def test_missing_packages_are_one_line(package: str, capture: Path, tmp_path: Path, monkeypatch, capfd) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert run(arguments(capture, tmp_path / "out")) == 2
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error")]
    assert package in line and "taichi_vvc[bench]" in line
    assert not (tmp_path / "out").exists()


def test_usage_errors(capture: Path, tmp_path: Path, capfd) -> None:
    assert run(arguments(capture, tmp_path / "out", "full,nothing")) == 2
    assert "nothing" in capfd.readouterr().err
    assert run([*arguments(capture, tmp_path / "out"), "--points", "3"]) == 2
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run(arguments(capture, tmp_path / "file")) == 2
    with pytest.raises(ConfigError, match="4 or more"):
        bench.run_bench(None, TINY, tmp_path, ["full"], 2)  # type: ignore[arg-type]
