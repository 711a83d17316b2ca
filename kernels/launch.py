"""Kernels that start in a fraction of Taichi's time.

Taichi sorts out all arguments anew at each launch, some twelve microseconds per NumPy array: as long as a small kernel
runs, on a GPU mostly longer. Here each kernel keeps what it has compiled. On the CPU it keeps the launch as well, and
only what has changed is set; on a GPU a launch serves once (Taichi's CUDA launcher leaves a freed buffer in it) and is
filled anew, without the sorting. This uses parts of Taichi 1.7 that are not documented; with anything else kernels
start as Taichi starts them.
"""

from __future__ import annotations

import functools
import weakref
from threading import Lock
from typing import Any

import numpy as np

from ._taichi import ti

_KNOWN = ti.__name__ == "taichi" and tuple(ti.__version__[:2]) == (1, 7)
_FLOAT, _INT, _ARRAY = range(3)
_ON_HOST = (ti.x64, ti.arm64) if _KNOWN else ()
_RESIDENT = ti.ScalarNdarray if _KNOWN else None


class Process:
    """``refusal``: makes the error that a launch raises in this process; None: kernels run.

    In a process that was forked from one with a running backend its threads are not there, and a launch would wait for
    them for ever.
    """

    refusal = None


process = Process()


def kernel(function):
    """``ti.kernel``, with quick launches on NumPy arrays (CPU) and Taichi's own (GPU) where that is possible.

    A launch raises the ``refusal`` of this :class:`Process`, if there is one.
    """
    plain = ti.kernel(function)
    if _KNOWN and "return" not in function.__annotations__:
        return functools.wraps(function)(_Quick(plain))

    @functools.wraps(function)
    def launched(*arguments):
        check_process()
        return plain(*arguments)

    return launched


def check_process():
    """Raises what this process refuses launches with."""
    if process.refusal is not None:
        raise process.refusal()


class _Prepared:
    """One specialisation of a kernel, ready to be launched, and on the CPU the arguments that its launch holds."""

    def __init__(self, program, primal, arguments):
        key = primal.ensure_compiled(*arguments)
        self.made = primal.compiled_kernels[key]
        self.program = program
        self.compiled = program.compile_kernel(program.config(), program.get_device_caps(), self.made)
        self.resident = ti.cfg.arch not in _ON_HOST
        self.forget(len(arguments))

    def forget(self, count):
        """Begin a launch that holds none of its ``count`` arguments."""
        self.context = self.made.make_launch_context()
        self.held: list[Any] = [None] * count

    def point(self, place, slot, array, annotation):
        """Set an array; False where it is not one that the kernel can take as it is."""
        dtype, width, taichi_dtype = annotation
        if self.resident:
            flat = type(array) is _RESIDENT and array.grad is None and len(array.shape) == 1
            if not flat or array.dtype is not taichi_dtype:
                return False
            self.context.set_arg_ndarray(slot, array.arr)
            return True
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
                note = dtype, () if single else tuple(note.dtype.get_shape()), note.dtype
            self._others.append((kind, place, (slot,), note))
            slot += 1
        self._prepared = {}
        # Two threads must not fill in the same launch.
        self._lock = Lock()

    def __call__(self, *arguments):
        if process.refusal is not None:
            raise process.refusal()
        if len(arguments) != len(self._primal.arguments):
            return self._plain(*arguments)
        program = ti.lang.impl.get_runtime().prog
        key = tuple([arguments[place] for place in self._templates])
        with self._lock:
            prepared = self._prepared.get(key)
            if prepared is None or prepared.program is not program:
                prepared = self._prepare(program, key, arguments)
            elif prepared.resident:
                prepared.forget(len(arguments))
            if prepared is None or not self._fill(prepared, arguments):
                return self._plain(*arguments)
            program.launch_kernel(prepared.compiled, prepared.context)
        return None

    def _prepare(self, program, key, arguments):
        """None where arguments are not arrays of the backend, or wrong, which Taichi itself then says."""
        if program is None:
            return None
        array = np.ndarray if ti.cfg.arch in _ON_HOST else _RESIDENT
        if any(kind == _ARRAY and type(arguments[place]) is not array for kind, place, _, _ in self._others):
            return None
        prepared = _Prepared(program, self._primal, arguments)
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
