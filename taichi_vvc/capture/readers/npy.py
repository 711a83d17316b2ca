"""Reads ``.npy`` files from untrusted sources: headers are checked against the file's size before any allocation."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np

from taichi_vvc.errors import DataError


def read_header(stream: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether the array is in Fortran order, element type) from the beginning of a file.

    Raises:
        ValueError: it is no valid header.
    """
    try:
        with warnings.catch_warnings():  # NumPy warns about headers written by Python 2
            warnings.simplefilter("ignore")
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = read(stream)
    except Exception as error:  # NumPy evaluates the header as a Python literal, which can raise nearly anything
        raise ValueError(" ".join(str(error).split())[:120] or type(error).__name__) from None
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise ValueError(f"an array of the shape {shape!s:.60}")
    return shape, fortran, dtype


def load_numbers(file: Path) -> np.ndarray:
    """The array of numbers in ``file``, float64, of any shape. Pickled objects are refused, so that no code is run.

    Raises:
        DataError: the file cannot be read, is damaged, or holds no numbers.
    """
    try:
        with file.open("rb") as stream:
            shape, fortran, dtype = read_header(stream)
            if dtype.kind not in "fiu" or dtype.hasobject:
                raise ValueError(f"an array of {dtype!s:.40}")
            data = stream.read()
    except OSError as error:
        raise DataError(f"{file}: expected an array of numbers, cannot read it: {error.strerror or error}") from None
    except ValueError as error:
        raise DataError(f"{file}: expected an array of numbers, cannot read it: {error}") from None
    count = math.prod(shape)
    if count * dtype.itemsize != len(data):
        raise DataError(
            f"{file}: expected an array of numbers, found a header of shape {shape!s:.60}, which takes"
            f" {count * dtype.itemsize} bytes, and {len(data)} bytes"
        )
    values = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return values.astype(np.float64)
