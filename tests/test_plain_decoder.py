"""Golden files decoded by the tests' own decoder, which follows the document alone: all symbols and MLPs."""

from __future__ import annotations

import hashlib

import independent_reader
import numpy as np
import plain_file
import pytest
from test_golden import FILES, Golden

import taichi_vvc as tv


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_golden_symbols_by_the_document_alone(golden: Golden) -> None:
    digest = hashlib.sha256()
    for frame in plain_file.decode_file(independent_reader.read_file(golden.file.read_bytes())):
        digest.update(frame["mask"].astype(np.uint8).tobytes())
        for grid in frame["symbols"]:
            digest.update(grid.astype("<i4").tobytes())
    assert digest.hexdigest() == golden.hash


@pytest.mark.parametrize("golden", FILES, ids=lambda g: g.file.stem)
def test_golden_mlps_by_the_document_alone(golden: Golden) -> None:
    groups = independent_reader.read_file(golden.file.read_bytes())["groups"]
    with tv.open(golden.file) as stream:
        documented = plain_file.mlps_of_groups(groups, list(stream.header.layout.mlp_shapes))
        for group, tensors in zip(groups, documented, strict=True):
            parameters = stream.parameters(group["first_frame"])
            assert list(parameters.steps) == group["grid_steps"]
            for a, b in zip(parameters.mlp, tensors, strict=True):
                np.testing.assert_array_equal(a, b)
