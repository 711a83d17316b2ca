"""Which pixels have changed since they were fitted: not what was always wrong, nor noise, but what adds up."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
from captures import ring_cameras

from taichi_vvc.encoder.evidence import Evidence, smoothed
from taichi_vvc.encoder.quality import Shown
from taichi_vvc.fit.changes import Change
from taichi_vvc.types import View

SIZE = 40
BLACK = (0.0, 0.0, 0.0)
CAMERAS = ring_cameras(2, SIZE, test_cameras=0)
RNG = np.random.default_rng(3)
SCENE = RNG.uniform(60, 190, (2, SIZE, SIZE, 3))
# What the decoder shows is wrong by 8 levels, differently in each pixel.
DECODED = SCENE + RNG.normal(0, 8, SCENE.shape)


def views(pictures: np.ndarray, alpha: Any = 255) -> list[View]:
    images = [np.zeros((SIZE, SIZE, 4), np.uint8) for _ in CAMERAS]
    for image, picture in zip(images, pictures, strict=True):
        image[..., :3], image[..., 3] = np.clip(np.rint(picture), 0, 255), alpha
    return [View(camera, image) for camera, image in zip(CAMERAS, images, strict=True)]


def shown(of: list[View], opacity: float = 1.0) -> list[Shown]:
    pictures = [np.dstack([d / 255, np.full((SIZE, SIZE), opacity)]).astype(np.float32) for d in DECODED]
    return [Shown(view, picture, BLACK) for view, picture in zip(of, pictures, strict=True)]


def begun(pictures: np.ndarray = SCENE) -> Evidence:
    evidence, of = Evidence(), views(pictures)
    evidence.observe(None, shown(of), of, None)  # type: ignore[arg-type]
    return evidence


def found(evidence: Evidence, pictures: np.ndarray) -> np.ndarray:
    changed = evidence.changed(views(pictures))
    assert changed is not None
    return np.stack([changed[0][camera.name] for camera in CAMERAS])


def noisy(sigma: float) -> np.ndarray:
    return SCENE + RNG.normal(0, sigma, SCENE.shape)


def test_what_was_always_wrong_is_no_change() -> None:
    assert not found(begun(), SCENE).any()


def test_noise_is_no_change() -> None:
    # Where noise is all of the error, too.
    for sigma in (2.0, 6.0):
        assert (found(begun(noisy(sigma)), noisy(sigma)) > 0).mean() < 0.003


def test_a_small_thing_is_a_change_amid_noise() -> None:
    after = noisy(2.0)
    after[1, 20:22, 10:12] = 250, 40, 20
    changed = found(begun(noisy(2.0)), after) > 0
    assert changed[1, 20:22, 10:12].all() and not changed[1, 18:24, 20:].any()
    assert changed.mean() < 0.01


def test_the_error_that_has_come_up_is_measured() -> None:
    after = SCENE.copy()
    after[0, 5:15, 5:15] += 51
    changed = found(begun(), after)
    # 51 levels are a fifth, in each of three channels.
    np.testing.assert_allclose(changed[0, 7:13, 7:13], 3 * 0.04, rtol=0.02)


def test_drift_adds_up_until_it_is_a_change() -> None:
    evidence = begun(noisy(1.0))
    seen = []
    for frame in range(1, 16):
        of = views(noisy(1.0) + 0.5 * frame)
        changed = evidence.changed(of)
        assert changed is not None
        seen.append(np.stack(list(changed[0].values())).astype(bool).mean())
        nothing = Change(np.zeros((1, 1, 1), bool), np.ones((1, 1, 1), bool), np.zeros(0, np.int32), 0.0)
        evidence.observe(None, shown(of), of, nothing)  # type: ignore[arg-type]
    assert seen[0] < 0.01 and seen[-1] > 0.9


def test_pictures_that_get_darker_have_changed_before_they_are_much_worse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dark pixels change less than bright ones, so that what differs between them passes for noise."""
    scene = np.zeros_like(SCENE) + np.linspace(10, 245, SIZE)[:, None]
    decoded = scene + DECODED - SCENE
    monkeypatch.setattr(sys.modules[__name__], "DECODED", decoded)
    evidence, worse = begun(scene), 1.0
    for frame in range(1, 30):
        after = scene * (1 - 0.004 * frame)
        worse = float(((decoded - after) ** 2).mean() / ((decoded - scene) ** 2).mean())
        if (found(evidence, after) > 0).mean() > 0.3:
            break
    assert 1.03 < worse < 1.12, worse


def test_only_what_was_fitted_is_measured_anew() -> None:
    evidence = begun()
    after = SCENE.copy()
    after[:, :, :20] += 60
    of = views(after)
    first = SIZE * SIZE
    rows = first + np.arange(first).reshape(SIZE, SIZE)[:10]
    change = Change(np.ones((1, 1, 1), bool), np.ones((1, 1, 1), bool), rows.reshape(-1).astype(np.int32), 0.1)
    evidence.observe(None, shown(of), of, change)  # type: ignore[arg-type]
    changed = found(evidence, after) > 0
    assert changed[0, :, :18].all() and changed[1, 12:, :18].all() and not changed[1, :8].any()


def test_opacity_counts_where_there_are_masks() -> None:
    white = np.full_like(SCENE, 255.0)
    for alpha, expected in ((254, True), (255, False)):
        evidence, of = Evidence(), views(white, alpha)
        evidence.observe(None, shown(of), of, None)  # type: ignore[arg-type]
        there = np.full((SIZE, SIZE), alpha, np.uint8)
        after = views(white, alpha)
        pictures = [dataclasses.replace(s, picture=s.picture.copy()) for s in evidence.shown]
        for s in pictures:
            s.picture[10:20, 10:20, 3] = 0.2
        evidence.shown = tuple(pictures)
        changed = evidence.changed(after)
        assert changed is not None and there.all()
        assert (changed[0][CAMERAS[0].name][12:18, 12:18] > 0).all() == expected


def test_nothing_can_be_told_of_other_cameras() -> None:
    evidence, of = begun(), views(SCENE)
    assert evidence.changed(of[:1]) is None and Evidence().changed(of) is None
    turned = dataclasses.replace(of[0], camera=dataclasses.replace(of[0].camera, fx=of[0].camera.fx + 1))
    assert evidence.changed([turned, of[1]]) is None


def test_unknown_pixels_do_not_change() -> None:
    after = SCENE.copy()
    after[0, 10:20, 10:20] += 60
    of = views(after)
    unknown = np.zeros((SIZE, SIZE), bool)
    unknown[8:22, 8:22] = True
    changed = begun().changed([dataclasses.replace(of[0], unknown=unknown), of[1]])
    assert changed is not None and not changed[0][CAMERAS[0].name].any()


def test_smoothing_takes_the_mean_of_nine_pixels() -> None:
    picture = RNG.normal(size=(6, 5, 2)).astype(np.float32)
    padded = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    expected = sum(padded[y : y + 6, x : x + 5] for y in range(3) for x in range(3)) / 9
    np.testing.assert_allclose(smoothed(picture), expected, atol=1e-6)
