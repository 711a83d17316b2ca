"""The one place that names the kernel language, so that a fork of Taichi can take its place.

``TVVC_TAICHI=quadrants`` selects the fork; without it Taichi is used, or the fork where only that is installed.
"""

import importlib
import os

# A line on stdout has no place among a program's results.
os.environ.setdefault("ENABLE_TAICHI_HEADER_PRINT", "0")
os.environ.setdefault("ENABLE_QUADRANTS_HEADER_PRINT", "0")
# Where sys.stdout is not the console's (pytest, a worker of Ray), Taichi collects what kernels print after every launch
# and logs a line for every kernel, with the file that it is in, which takes long. Ours print nothing.
os.environ.setdefault("TI_ENABLE_PYBUF", "0")


def _load():
    wanted = os.environ.get("TVVC_TAICHI")
    names = (wanted,) if wanted else ("taichi", "quadrants")
    for name in names[:-1]:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    return importlib.import_module(names[-1])


ti = _load()
F32 = ti.types.ndarray(dtype=ti.f32, ndim=1)
F32X4 = ti.types.ndarray(dtype=ti.types.vector(4, ti.f32), ndim=1)
F32X16 = ti.types.ndarray(dtype=ti.types.vector(16, ti.f32), ndim=1)
I32 = ti.types.ndarray(dtype=ti.i32, ndim=1)
