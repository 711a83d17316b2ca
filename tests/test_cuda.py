"""The kernels on Taichi's CUDA backend without a GPU: PTX is translated to C and run by a substitute driver.

Taichi's CUDA compiler with its fast arithmetic, its launcher, its memory, and the package's launches are the real ones.
Simulated are approximate instructions (their last bits are dropped), concurrency and timing.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import backends
import pytest
from conftest import child_environment
from test_other_backends import NO_ENCODES, QUICK

# What runs a second time, with the threads of every kernel in reverse, and a third time, with memory watched.
SHORT = [name for name in QUICK if name not in ("test_encode.py", "test_golden.py", "coding/test_motion.py")]
WATCHED = [
    "fit/test_rate_on_device.py",
    "kernels/test_mlp_gpu.py",
    "kernels/test_geometry_kernels.py",
    "kernels/test_grids.py",
    "kernels/test_march.py",
]
WATCHED += ["coding/test_motion.py", "field/test_pictures.py", "kernels/test_shade.py", "kernels/test_update.py"]

RACE = """
import sys
import numpy as np
sys.path.insert(0, "tests")
import backends
from taichi_vvc.kernels._taichi import I32, ti

@ti.kernel
def count(n: ti.i32, atomically: ti.template(), total: I32):
    for i in range(n):
        if ti.static(atomically):
            ti.atomic_add(total[0], 1)
        else:
            total[0] = total[0] + 1

total = backends.ints(np.zeros(1))
count(500, True, total)
assert backends.down(total)[0] == 500
print("counted", flush=True)
count(500, False, total)
"""


@pytest.fixture(scope="module")
def driver(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ``libcuda.so``; kernels that ran are left there as ``.ptx``."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or not shutil.which("cc"):
        pytest.skip("the driver without a card needs Linux on x86-64 and a C compiler")
    folder = tmp_path_factory.mktemp("cuda")
    source, library = root / "tests" / "cuda" / "driver.c", folder / "libcuda.so"
    subprocess.run(["cc", "-w", "-O1", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return folder


def run_on(driver: Path, python, root: Path, *arguments: object, **changes: str):
    """Run Python with CUDA's place taken; ``changes`` of the environment."""
    environment = {
        backends.VARIABLE: "cuda",
        "LD_LIBRARY_PATH": str(driver),
        "TVVC_CUDA_FOLDER": str(driver),
        "TVVC_CUDA_TRANSLATE": f"'{sys.executable}' '{root / 'tests' / 'cuda' / 'translate.py'}'",
        "XDG_CACHE_HOME": str(driver),
        **changes,
    }
    return python(*arguments, env=child_environment(**environment), cwd=root, timeout=900)


def watched(driver: Path) -> dict[str, str]:
    """What makes the driver watch memory: modules of their own."""
    folder = driver / "watched"
    folder.mkdir(exist_ok=True)
    return {"TVVC_CUDA_RACES": "1", "TVVC_CUDA_FOLDER": str(folder)}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["forwards", "backwards", "watched"])
def test_kernels_on_cuda_without_a_card(how: str, driver: Path, python, root: Path) -> None:
    files = {"forwards": QUICK, "backwards": SHORT, "watched": WATCHED}[how]
    changes = {"forwards": {}, "backwards": {"TVVC_CUDA_BACKWARDS": "1"}, "watched": watched(driver)}[how]
    options = ["-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:warnings", *NO_ENCODES]
    done = run_on(driver, python, root, *options, *(root / "tests" / name for name in files), **changes)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert " passed" in done.stdout and "failed" not in done.stdout
    assert list(driver.glob("**/*.ptx")), "nothing was compiled for CUDA"


def test_threads_that_meet_are_seen(driver: Path, python, root: Path, tmp_path: Path) -> None:
    script = tmp_path / "race.py"
    script.write_text(RACE, encoding="utf-8")
    done = run_on(driver, python, root, script, **watched(driver))
    assert done.returncode != 0 and "counted" in done.stdout
    assert re.search(r"count_\w+: thread 1 depends on the order of threads", done.stderr), done.stderr


@pytest.mark.slow
def test_kernels_stay_in_registers(driver: Path) -> None:
    """A card's compiler takes all of them, and none needs memory for what should be in registers."""
    assembler, modules = shutil.which("ptxas"), sorted(driver.glob("*.ptx"))
    if assembler is None:
        pytest.skip("no ptxas, which comes with CUDA's compiler")
    assert modules, "the tests before this one leave them here"
    seen = 0
    for module in modules:
        done = subprocess.run(
            [assembler, "-arch=sm_90", "-v", module, "-o", os.devnull], capture_output=True, text=True, check=True
        )
        properties = r"Function properties for (\w+_range_for)\s+(\d+) bytes stack frame, (\d+) bytes spill stores"
        for name, stack, spilled in re.findall(properties, done.stderr):
            assert (int(stack), int(spilled)) == (0, 0), name
            seen += 1
    assert seen > len(modules) // 2
