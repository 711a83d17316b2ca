"""Reads the pickled dictionary in a ``.npy`` file without running code from the file.

A pickle is a program. This reader admits numbers, text, lists, tuples, dictionaries and NumPy arrays of these. It
builds the arrays itself and never calls a function that a file names. Time and memory are limited by the file's size
and by :data:`MOST_VALUES`. The second limit is needed since a pickle can contain one list many times, so that a few
bytes can stand for any number of values.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from taichi_vvc.capture.readers.npy import read_header
from taichi_vvc.errors import DataError

DTYPES = frozenset("b1 i1 i2 i4 i8 u1 u2 u4 u8 f2 f4 f8".split())
MOST_VALUES = 1 << 22  # lists, dictionaries and their items, counted as often as the pickle refers to them
DEEPEST = 32
LARGEST = 1 << 26  # elements of one array


class _Refused(Exception):
    """The pickle contains something that the reader does not admit; the text says what."""


class _Dtype:
    """Stands in for ``numpy.dtype``."""

    def __init__(self, code: Any = None, *_flags: Any) -> None:
        code = code.decode("latin1") if isinstance(code, bytes) else code
        if code not in DTYPES | {"O8", "O"} and not (
            isinstance(code, str) and code[:1] == "U" and code[1:].isdecimal()
        ):
            raise _Refused(f"arrays of type {code!r:.40}")
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else "="
        self.order = {"<": "<", ">": ">"}.get(order.decode("latin1") if isinstance(order, bytes) else order, "=")

    def real(self) -> np.dtype:
        """The NumPy type; objects have none."""
        return np.dtype(self.order + self.code) if self.code not in ("b1", "i1", "u1") else np.dtype(self.code)


class _Array:
    """Stands in for ``numpy.ndarray``; ``value`` is the array once its state was set."""

    value: Any = None

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Dtype):
            raise _Refused("an array in an unknown form")
        _, shape, dtype, fortran, data = state
        if not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise _Refused(f"an array of shape {shape!r:.40}")
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if count > LARGEST:
            raise _Refused(f"an array of {count} elements")
        order = "F" if fortran else "C"
        if dtype.code in ("O8", "O"):
            if not isinstance(data, list) or len(data) != count:
                raise _Refused("an array of objects in an unknown form")
            flat = np.empty(count, object)
            flat[:] = data
            self.value = flat.reshape(shape, order=order)  # type: ignore[call-overload]
            return
        raw = data.encode("latin1") if isinstance(data, str) else data
        if not isinstance(raw, bytes) or len(raw) != count * dtype.real().itemsize:
            raise _Refused("an array whose data do not fit its shape")
        self.value = np.frombuffer(raw, dtype.real()).reshape(shape, order=order).copy()  # type: ignore[call-overload]


def _reconstruct(*_arguments: Any) -> _Array:
    return _Array()


def _scalar(dtype: Any, data: Any) -> Any:
    array = _Array()
    array.__setstate__((1, (), dtype, False, data))
    return array.value.item()


def _encode(text: Any, encoding: Any) -> bytes:
    """Stands in for ``_codecs.encode``: old protocols write bytes as text to be encoded in Latin-1."""
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("text in an unknown encoding")
    return text.encode("latin1")


_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_ADMITTED: dict[tuple[str, str], Any] = {
    **{(module, "_reconstruct"): _reconstruct for module in _MULTIARRAY},
    **{(module, "scalar"): _scalar for module in _MULTIARRAY},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise _Refused(f"the function or class {module}.{name}")
        return _ADMITTED[module, name]


def load_npy_object(file: Path) -> Any:
    """The object that ``numpy.save`` wrote into a file: a dictionary, or any nesting of plain values.

    Of an array with one element, that element is returned.

    Raises:
        DataError: the file cannot be read, is damaged, or contains anything but plain values and arrays.
    """
    try:
        with file.open("rb") as stream:
            shape = _header(stream)
            data = stream.read()
        _check_program(data)
        # Files of Python 2 have byte strings in place of text. Latin-1 also preserves the bytes of arrays.
        value = _Unpickler(io.BytesIO(data), encoding="latin1").load()
        _check_size(value)
        value = _plain(value)
    except _Refused as refused:
        raise DataError(
            f"{file}: expected numbers, text, lists, dictionaries and arrays only, found {refused}; such a file could"
            " run a program and is not read"
        ) from None
    except OSError as error:
        raise DataError(f"{file}: cannot read it: {error.strerror or error}") from None
    except Exception as error:  # a damaged pickle can raise nearly anything
        line = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{file}: expected a dictionary saved by NumPy, found a damaged file: {line:.120}") from None
    if isinstance(value, np.ndarray) and value.dtype == object and value.size == 1:
        value = value.reshape(-1)[0]
    elif isinstance(value, np.ndarray) and value.shape != shape:
        raise DataError(f"{file}: expected an array of shape {shape} as its header says, found {value.shape}")
    return value


def _header(stream: BinaryIO) -> tuple[int, ...]:
    shape, _, dtype = read_header(stream)
    if dtype != np.dtype(object):
        raise _Refused(f"an array of {dtype}, no dictionary")
    return shape


def _check_program(data: bytes) -> None:
    """Raises _Refused for a pickle with a memo index out of proportion to its size.

    A pickle chooses the indices itself, and Python allocates memory up to the largest one.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(data)):
        if "PUT" in opcode.name and isinstance(argument, int) and argument > count + 1:
            raise _Refused("numbered values out of order")
        if opcode.name.startswith(("INT", "LONG")) and isinstance(argument, int) and argument.bit_length() > 64:
            raise _Refused("an integer of more than 64 bits")


def _check_size(value: Any) -> None:
    """Raises _Refused for a value that contains itself or has too many items; each list is visited once."""
    sizes: dict[int, int | None] = {}

    def size(value: Any, depth: int) -> int:
        value = value.value if isinstance(value, _Array) else value
        if not isinstance(value, (list, tuple, dict)) and not _has_objects(value):
            return 1
        if depth > DEEPEST:
            raise _Refused("values nested too deeply")
        if id(value) not in sizes:
            sizes[id(value)] = None
            items = (
                value.flat if isinstance(value, np.ndarray) else value.values() if isinstance(value, dict) else value
            )
            sizes[id(value)] = 1 + sum(size(item, depth + 1) for item in items)
        found = sizes[id(value)]
        if found is None:
            raise _Refused("values nested too deeply: a list that holds itself")
        return found

    if size(value, 0) > MOST_VALUES:
        raise _Refused(f"more than {MOST_VALUES} values")


def _has_objects(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype == object


def _plain(value: Any, depth: int = 0) -> Any:
    """The value with stand-ins replaced. Raises _Refused for anything that is not plain."""
    if depth > 2 * DEEPEST:
        raise _Refused("values nested too deeply")
    if isinstance(value, _Array):
        return _plain(value.value, depth + 1)
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            for i, item in enumerate(value.flat):
                value.flat[i] = _plain(item, depth + 1)
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item, depth + 1) for key, item in value.items() if isinstance(key, (str, int, float))}
    if value is None or isinstance(value, (str, bytes, int, float)):
        return value
    raise _Refused(f"a value of type {type(value).__name__.strip('_')}")
