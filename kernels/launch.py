"""Kernels that start in a tenth of the time on the CPU.

Taichi sorts out all arguments anew at each launch, some twelve microseconds per NumPy array: as long as a small kernel
runs. Here each kernel keeps the launch that it has prepared, and only what has changed is set. This uses parts of
Taichi 1.7 that are not documented; with anything else kernels start as Taichi starts them.
"""

from __future__ import annotations

import functools
import weakref
from threading import Lock

import numpy as np

from ._taichi import ti

_KNOWN = ti.__name__ == "taichi" and tuple(ti.__version__[:2]) == (1, 7)
_FLOAT, _INT, _ARRAY = range(3)


def kernel(function):
    """``ti.kernel``, with quick launches on NumPy arrays where that is possible."""
    plain = ti.kernel(function)
    if not _KNOWN or "return" in function.__annotations__:
        return plain
    return functools.wraps(function)(_Quick(plain))


class _Prepared:
    """One specialisation of a kernel, ready to be launched, and the arguments that it holds."""

    def __init__(self, program, primal, arguments):
        key = primal.ensure_compiled(*arguments)
        made = primal.compiled_kernels[key]
        self.program = program
        self.compiled = program.compile_kernel(program.config(), program.get_device_caps(), made)
        self.context = made.make_launch_context()
        self.held = [None] * len(arguments)

    def point(self, place, slot, array, annotation):
        """Set an array; False where it is not one that the kernel can take as it is."""
        dtype, width = annotation
        if type(array) is not np.ndarray or array.dtype != dtype or array.shape[1:] != width or array.ndim == 0:
            return False
        if not array.flags.c_contiguous:
            return False
        self.context.set_arg_external_array_with_shape(slot, array.ctypes.data, array.nbytes, array.shape[:1], 0)
        self.held[place] = weakref.ref(array)
        return True


class _Quick:
    def __init__(self, plain):
        self._plain = plain
        self._primal = plain._primal
        self._templates = []
        self._others = []
        slot = 0
        for place, argument in enumerate(self._primal.arguments):
            note = argument.annotation
            if isinstance(note, ti.template) or note is ti.template:
                self._templates.append(place)
                continue
            kind = _INT if note is ti.i32 else _FLOAT if note is ti.f32 else _ARRAY
            if kind == _ARRAY:
                single = note.dtype in (ti.f32, ti.i32)
                dtype = np.dtype(np.int32 if note.dtype is ti.i32 else np.float32)
                note = dtype, () if single else tuple(note.dtype.get_shape())
            self._others.append((kind, place, (slot,), note))
            slot += 1
        self._prepared = {}
        # Two threads must not fill in the same launch.
        self._lock = Lock()

    def __call__(self, *arguments):
        if len(arguments) != len(self._primal.arguments):
            return self._plain(*arguments)
        program = ti.lang.impl.get_runtime().prog
        key = tuple([arguments[place] for place in self._templates])
        with self._lock:
            prepared = self._prepared.get(key)
            if prepared is None or prepared.program is not program:
                prepared = self._prepare(key, arguments)
            if prepared is None or not self._fill(prepared, arguments):
                return self._plain(*arguments)
            program.launch_kernel(prepared.compiled, prepared.context)
        return None

    def _prepare(self, key, arguments):
        """None where arguments are not NumPy arrays on the CPU, or wrong, which Taichi itself then says."""
        if ti.lang.impl.get_runtime().prog is None or ti.cfg.arch not in (ti.x64, ti.arm64):
            return None
        if any(kind == _ARRAY and type(arguments[place]) is not np.ndarray for kind, place, _, _ in self._others):
            return None
        prepared = _Prepared(ti.lang.impl.get_runtime().prog, self._primal, arguments)
        self._prepared[key] = prepared
        return prepared

    def _fill(self, prepared, arguments):
        held, context = prepared.held, prepared.context
        for kind, place, slot, note in self._others:
            value = arguments[place]
            before = held[place]
            if kind == _ARRAY:
                if (before is None or before() is not value) and not prepared.point(place, slot, value, note):
                    return False
            elif before is None or before != value:
                if kind == _INT:
                    if not isinstance(value, (int, np.integer)):
                        return False
                    context.set_arg_int(slot, int(value))
                else:
                    if not isinstance(value, (int, float, np.integer, np.floating)):
                        return False
                    context.set_arg_float(slot, float(value))
                held[place] = value
        return True
