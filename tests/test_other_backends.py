"""The kernels' tests once more on every other backend of this machine, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

import backends
import pytest
from conftest import child_environment

from taichi_vvc.runtime import BACKENDS, present_backends

# All that launches kernels; the twins decide what is right on every backend.
FILES = (
    "kernels/test_adam.py",
    "kernels/test_compact.py",
    "kernels/test_mlp_gpu.py",
    "fit/test_rate_on_device.py",
    "encoder/test_trusted_views.py",
    "test_encode.py",
    "kernels/test_geometry_kernels.py",
    "test_golden.py",
    "kernels/test_grids.py",
    "kernels/test_launch_anywhere.py",
    "coding/test_live_set.py",
    "kernels/test_march.py",
    "coding/test_motion.py",
    "fit/test_newcomers.py",
    "field/test_pictures.py",
    "fit/test_training_rays.py",
    "kernels/test_quantize.py",
    "kernels/test_rate_kernels.py",
    "field/test_render.py",
    "field/test_detail.py",
    "kernels/test_shade.py",
    "kernels/test_shelled.py",
    "field/test_shell_by_the_document.py",
    "kernels/test_update.py",
)

# Choices, limits and figures of the host, on the CPU; the kernels that they launch are tested by FILES.
ON_THE_CPU = (
    "capture/test_agreement.py",
    "fit/test_changes.py",
    "coding/test_coder_choices.py",
    "fit/test_fit_schedule.py",
    "encoder/test_keyframe_choice.py",
    "encoder/test_openings.py",
    "coding/test_memory.py",
    "fit/test_motion_choice.py",
    "test_moving_cameras.py",
    "fit/test_objective.py",
    "field/test_odd_layouts.py",
    "parts/test_cluster.py",
    "parts/test_parts.py",
    "parts/test_worker.py",
    "test_plain_picture.py",
    "encoder/test_refined_poses.py",
    "test_rate_distortion.py",
    "coding/test_refusals.py",
    "encoder/test_still_scenes.py",
    "test_thresholds.py",
    "fit/test_coarse.py",
    "fit/test_whole_scene.py",
    "web/test_player_levels.py",
)

# Whole encodes take minutes on a software rasteriser; test_encode.py shows that they work on a backend.
ENCODES = ("encoder/test_trusted_views.py", "fit/test_newcomers.py")
QUICK = [name for name in FILES if name not in ENCODES]
NO_ENCODES = ("-k", "not resuming and not without_motion and not brings and not damaged")


@pytest.mark.slow
@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "cpu"])
def test_kernels_on(backend: str, python, root: Path) -> None:
    if backend not in present_backends():
        pytest.skip(f"no {backend} on this machine; found {', '.join(present_backends())}")
    done = python(
        *("-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:warnings", *NO_ENCODES),
        *(root / "tests" / name for name in QUICK),
        env=child_environment(**{backends.VARIABLE: backend}),
        cwd=root,
        timeout=900,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert " passed" in done.stdout and "failed" not in done.stdout


def test_every_file_that_uses_the_backend_is_in_the_list(root: Path) -> None:
    tests = root / "tests"
    files = {path.relative_to(tests).as_posix(): path for path in tests.rglob("test_*.py")}
    users = {name for name, path in files.items() if "\nfrom backends import" in path.read_text(encoding="utf-8")}
    assert users == {*FILES, *ON_THE_CPU}
