"""Baselines of the bench: pictures come from decoded values, and every byte is counted."""

from __future__ import annotations

import dataclasses
import lzma
from fractions import Fraction
from pathlib import Path

import backends
import captures
import numpy as np
import pytest
from tiny import TWO_LEVELS

import taichi_vvc as tv
from taichi_vvc.bitstream import StreamReader
from taichi_vvc.coding.live_set import live_nodes
from taichi_vvc.config import layout_of
from taichi_vvc.encoder.settle import settle_background
from taichi_vvc.errors import ConfigError
from taichi_vvc.field.render import Workspace, render
from taichi_vvc.measure import baselines
from taichi_vvc.measure.baseline_fits import independent_frames, transformed_frames
from taichi_vvc.media.metrics import psnr
from taichi_vvc.media.pictures import composite

RNG = np.random.default_rng(4)
TINY = tv.EncoderConfig(**TWO_LEVELS)


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory):
    return tv.open_capture(captures.write_capture(tmp_path_factory.mktemp("c"), cameras=6, frames=2, size=32))


@pytest.fixture(scope="module")
def coded(sequence, tmp_path_factory: pytest.TempPathFactory) -> Path:
    backends.runtime()
    path = tmp_path_factory.mktemp("coded") / "a.tvvc"
    assert len(list(tv.encode(sequence, TINY, path))) == 2
    return path


def test_symbols_survive_lzma_at_every_width() -> None:
    grids = [RNG.integers(-bound, bound + 1, (50, 4)).astype(np.int32) for bound in (127, 128, 40000)]
    payload = baselines.lzma_symbols(grids)
    back = baselines.unpack_lzma_symbols(payload, [g.shape for g in grids])
    assert all(np.array_equal(a, b) for a, b in zip(grids, back, strict=True))
    assert len(lzma.decompress(payload)) == 3 + 200 * (1 + 2 + 4)


def test_lzma_count_replaces_the_grids_and_nothing_else(coded: Path) -> None:
    expected = coded.stat().st_size
    with tv.open(coded) as stream, StreamReader(coded) as reader:
        for number in range(2):
            frame = stream.symbols(number)
            live = live_nodes(stream.header.layout, frame.occupancy)
            sent = [r[m] for r, m in zip(frame.residuals, live, strict=True)]
            assert sum(np.abs(s).sum() for s in sent) == sum(np.abs(r).sum() for r in frame.residuals)
            expected += len(baselines.lzma_symbols(sent)) - sum(map(len, reader.read_frame(number).grids))
    assert baselines.bytes_with_lzma(coded) == expected != coded.stat().st_size


def test_whole_coefficients_change_inter_frames_only(coded: Path, tmp_path: Path, sequence) -> None:
    more = baselines.bytes_with_whole_coefficients(coded) - coded.stat().st_size
    assert more != 0
    key = tmp_path / "key.tvvc"
    assert len(list(tv.encode(sequence, dataclasses.replace(TINY, keyint=1), key))) == 2
    assert baselines.bytes_with_whole_coefficients(key) == key.stat().st_size


def test_the_transform_is_orthonormal() -> None:
    basis = baselines._dct()
    np.testing.assert_allclose(basis @ basis.T, np.eye(8), atol=1e-12)
    grid = RNG.standard_normal((9, 17, 8, 3))
    blocks = baselines._blocks(grid)
    assert blocks.shape == (2 * 3 * 1, 3, 8, 8, 8)
    assert np.array_equal(baselines._merged(blocks, grid.shape), grid)


def test_quality_scales_the_table_as_jpeg_does() -> None:
    assert baselines.quantisation_table(50)[0, 0, 0] == 16 and baselines.quantisation_table(50)[7, 7, 7] == 120
    assert baselines.quantisation_table(99)[0, 0, 0] == pytest.approx(0.32)
    assert baselines.quantisation_table(25)[0, 0, 0] == pytest.approx(32)
    with pytest.raises(ConfigError, match="below 100"):
        baselines.quantisation_table(100)


def test_blocks_decode_within_the_steps_of_the_table() -> None:
    shapes = ((10, 12, 9, 4), (16, 8, 8, 2))
    live = [np.ones(s[:3], bool) for s in shapes]
    live[0][:9] = False
    grids = [np.where(m[..., None], 3 * RNG.standard_normal(s), 0) for s, m in zip(shapes, live, strict=True)]
    sizes = []
    for quality in (99, 90):
        coded = baselines.code_blocks(grids, live, quality)
        again = baselines.decode_blocks(coded.payload, shapes, live, quality)
        assert all(np.array_equal(a, b) for a, b in zip(coded.decoded, again, strict=True))
        # Orthonormal: the squared errors of values and coefficients agree, at most half a step each.
        error = np.square(coded.decoded[1] - grids[1]).mean()
        assert 0 < error <= np.square(baselines.quantisation_table(quality) / 2).mean()
        assert not coded.decoded[0][:9].any()
        sizes.append(len(coded.payload))
    assert sizes[1] < sizes[0]


def _quality(ws: Workspace, sequence, field, number: int, background) -> float:
    view = next(v for v in sequence.frame(number).views if v.camera.split == "test")
    picture = render(field, view.camera, background, workspace=ws).colour
    return psnr(picture, composite(view.image, background))


def test_independent_frames_hold_their_floats(sequence, monkeypatch) -> None:
    ws = Workspace(backends.runtime())
    config = settle_background(TINY, sequence)
    layout = layout_of(config, sequence.bounds)
    kept: list[bytes] = []
    pack = baselines.pack_floats
    monkeypatch.setattr(
        "taichi_vvc.measure.baseline_fits.pack_floats", lambda *arguments: kept.append(pack(*arguments)) or kept[-1]
    )
    for number, (field, size) in enumerate(independent_frames(ws, layout, config, sequence)):
        payload = kept[number]
        assert len(payload) < size < len(payload) + 32
        data = lzma.decompress(payload)
        cells = -(-field.mask.size // 8)
        mask = np.unpackbits(np.frombuffer(data[:cells], np.uint8), count=field.mask.size).astype(bool)
        assert np.array_equal(mask.reshape(field.mask.shape), field.mask)
        floats = np.frombuffer(data[cells:], "<f4")
        live = live_nodes(layout, field.mask)
        assert floats.size == sum(m.sum() * s[3] for m, s in zip(live, layout.grid_shapes, strict=True)) + sum(
            int(np.prod(s)) for s in layout.mlp_shapes
        )
        values = np.array(field.runtime.download(field.values, field.map.size))
        places = field.map.places(1, np.flatnonzero(live[1]))
        first = int(live[0].sum()) * layout.grid_shapes[0][3]
        assert np.array_equal(values[places].reshape(-1), floats[first : first + places.size])
        assert _quality(ws, sequence, field, number, (1.0, 1.0, 1.0)) > 14


def test_transformed_frames_lose_more_where_they_send_less(sequence) -> None:
    ws = Workspace(backends.runtime())
    config = settle_background(TINY, sequence)
    layout = layout_of(config, sequence.bounds)
    found = {}
    for quality in (99, 60):
        rows = list(transformed_frames(ws, layout, config, sequence, quality))
        assert len(rows) == 2
        found[quality] = (
            sum(size for _, size in rows),
            np.mean([_quality(ws, sequence, f, n, (1.0, 1.0, 1.0)) for n, (f, _) in enumerate(rows)]),
        )
    assert found[60][0] < found[99][0] and found[60][1] < found[99][1]


def test_hevc_gives_back_every_picture() -> None:
    pytest.importorskip("av")
    base = np.kron(RNG.integers(40, 220, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)[:47, :63]
    pictures = [np.roll(base, k, axis=1) for k in range(5)]
    try:
        fine, rough = (baselines.hevc(pictures, Fraction(25), crf) for crf in (12, 45))
    except ConfigError as error:
        pytest.skip(str(error))
    assert fine[0] > rough[0]
    assert [p.shape for p in fine[1]] == [p.shape for p in pictures]
    errors = [
        [np.abs(a.astype(int) - b).mean() for a, b in zip(pictures, out[1], strict=True)] for out in (fine, rough)
    ]
    assert max(errors[0]) < min(errors[1])


def test_scaled_grids_stay_usable() -> None:
    small = baselines.scaled(TINY, 0.1)
    assert small.coefficients == 4 and small.level_nodes == (4, 4)
