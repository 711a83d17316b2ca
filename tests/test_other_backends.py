"""The kernels' tests once more on every other backend of this machine, each in a process of its own."""

from __future__ import annotations

from pathlib import Path

import backends
import pytest
from conftest import child_environment

from taichi_vvc.runtime import BACKENDS, present_backends

# All that launches kernels; the twins decide what is right on every backend.
FILES = (
    "test_adam.py",
    "test_dense.py",
    "test_device_plan.py",
    "test_believed.py",
    "test_encode.py",
    "test_geometry_kernels.py",
    "test_golden.py",
    "test_grids.py",
    "test_launch_anywhere.py",
    "test_live.py",
    "test_march.py",
    "test_motion.py",
    "test_newcomers.py",
    "test_pictures.py",
    "test_problem.py",
    "test_quant.py",
    "test_rate_kernels.py",
    "test_render.py",
    "test_shade.py",
    "test_update.py",
)

# Choices, limits and figures of the host, on the CPU; the kernels that they launch are tested by FILES.
ON_THE_CPU = (
    "test_agreement.py",
    "test_coder_choices.py",
    "test_fit_schedule.py",
    "test_keyframe_choice.py",
    "test_memory.py",
    "test_motion_choice.py",
    "test_moving_cameras.py",
    "test_objective.py",
    "test_odd_layouts.py",
    "test_plain_picture.py",
    "test_rate_distortion.py",
    "test_refusals.py",
    "test_thresholds.py",
)

# Whole encodes take minutes on a software rasteriser; test_encode.py shows that they work on a backend.
ENCODES = ("test_believed.py", "test_newcomers.py")
QUICK = [name for name in FILES if name not in ENCODES]
NO_ENCODES = ("-k", "not resuming and not without_motion and not brings and not damaged")


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
    files = (root / "tests").glob("test_*.py")
    users = {path.name for path in files if "\nfrom backends import" in path.read_text(encoding="utf-8")}
    assert users == {*FILES, *ON_THE_CPU}
