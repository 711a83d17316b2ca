"""Cameras whose colours differ are found in the pictures, with their gains, and no others."""

from __future__ import annotations

from pathlib import Path

import captures
import numpy as np
import pytest

from taichi_vvc.capture.colour_agreement import CAMERAS, ColourAgreement, colour_agreement
from taichi_vvc.capture.sequence import open_capture

PLANTED = {"cam02": (0.7, 0.7, 0.7), "cam05": (1.15, 1.0, 0.85)}


def found_in(folder: Path) -> ColourAgreement:
    sequence = open_capture(folder)
    return colour_agreement([views.views for views in sequence], sequence.bounds)


@pytest.mark.parametrize("masks", [None, "alpha"])
def test_planted_gains_are_found(tmp_path: Path, masks: str | None) -> None:
    folder = captures.write_capture(tmp_path, cameras=12, frames=2, size=48, masks=masks)
    clean = found_in(folder)
    assert clean.outliers(masks is not None) == []
    captures.plant_colours(folder, PLANTED)
    found = found_in(folder)
    assert set(found.outliers()) >= set(PLANTED)
    if masks is None:
        assert found.outliers() == ["cam05", "cam02"]
    # A subject alone is lit from one side, which looks like a gain.
    for name, gains, before in zip(found.names, found.gains, clean.gains, strict=True):
        np.testing.assert_allclose(gains / before, PLANTED.get(name, (1.0,) * 3), rtol=0.03 if masks is None else 0.06)


def test_the_common_look_is_that_of_most(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=9, frames=1, size=48, masks=None)
    captures.plant_colours(folder, {f"cam{k:02d}": (0.8, 0.8, 0.8) for k in range(4)})
    found = found_in(folder)
    np.testing.assert_allclose(found.gains[:4], 0.8, rtol=0.04)
    np.testing.assert_allclose(found.gains[4:], 1.0, rtol=0.04)


def test_cameras_that_show_nothing_have_no_gains(tmp_path: Path) -> None:
    folder = captures.write_capture(tmp_path, cameras=8, frames=1, size=32, masks=None)
    captures.plant_colours(folder, {"cam03": (0.0, 0.0, 0.0)})
    found = found_in(folder)
    assert found.points[3] == 0 and (found.gains[3] == 1.0).all() and found.outliers() == []


def test_of_few_cameras_none_is_named() -> None:
    gains = np.ones((CAMERAS, 3))
    gains[0] = 1.5
    names = tuple("abcde")
    assert ColourAgreement(names, gains, np.full(CAMERAS, 100)).outliers() == ["a"]
    assert ColourAgreement(names[1:], gains[1:], np.full(CAMERAS - 1, 100)).outliers() == []
    assert ColourAgreement(names[:4], gains[:4], np.full(CAMERAS - 1, 100)).outliers() == []
