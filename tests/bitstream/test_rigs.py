"""The header since version 8: compressed with a dictionary, with its cameras as integers."""

from __future__ import annotations

import math
from dataclasses import replace

import independent_reader
import numpy as np
import pytest
import streams

from taichi_vvc.bitstream import CameraRecord, Intrinsics, SequenceHeader, rigs, settings_text, versions
from taichi_vvc.bitstream.dictionary import DICTIONARY
from taichi_vvc.bitstream.poses import header_states
from taichi_vvc.config import PRESETS
from taichi_vvc.errors import ConfigError, CorruptStream


def random_header(seed: int, cameras: int = 9, lenses: int = 3) -> SequenceHeader:
    rng = np.random.default_rng(seed)
    found = []
    for number in range(cameras):
        q = rng.normal(size=4)
        q = np.float32(q / np.linalg.norm(q)).tolist()
        place = np.float32(rng.normal(0, 3, 3)).tolist()
        split = "test" if number % 4 == 1 else "train"
        found.append(CameraRecord(f"cam{number + 95:02d}", split, int(rng.integers(lenses)), tuple(q), tuple(place)))
    own = tuple(
        Intrinsics(
            640, 360 + k, *np.float32(rng.normal(500, 3, 4)).tolist(), *np.float32(rng.normal(0, 0.1, 4)).tolist()
        )
        for k in range(lenses)
    )
    settings = settings_text(replace(PRESETS["fast"], background=(255, 255, 255)).settings())
    return replace(
        streams.header(), cameras=tuple(found), intrinsics=own, settings=settings, rotation_bits=17, position_bits=78
    )


@pytest.mark.parametrize("seed", range(3))
def test_cameras_are_rounded_to_their_units(seed: int) -> None:
    header = random_header(seed)
    payload = rigs.pack(header)
    found = rigs.parse(payload)
    # The integers that moving cameras start from are the same.
    assert header_states(found) == header_states(header)
    for one, other in zip(found.cameras, header.cameras, strict=True):
        assert (one.name, one.split, one.intrinsics) == (other.name, other.split, other.intrinsics)
        assert np.abs(np.subtract(one.rotation, other.rotation)).max() <= 2.0**-18
        assert np.abs(np.subtract(one.position, other.position)).max() <= 2.0**-15
    assert rigs.pack(found) == payload and rigs.snapped(found) == found
    assert replace(found, cameras=(), intrinsics=()) == replace(header, cameras=(), intrinsics=())
    documented = independent_reader.read_header(payload, 8)
    assert [camera["name"] for camera in documented["cameras"]] == [camera.name for camera in found.cameras]
    for one, own in zip(documented["cameras"], found.cameras, strict=True):
        assert (tuple(one["rotation"]), tuple(one["position"])) == (own.rotation, own.position)
    assert documented["for_pictures"] == versions.picture_bytes(found, 8) == versions.picture_bytes(header, 8)


def test_headers_take_less() -> None:
    header = random_header(4, 32)
    assert len(versions.pack_header(header, 8)) < 0.45 * len(versions.pack_header(header, 7))


def test_names_count_on() -> None:
    assert [rigs.successor(n) for n in ("cam09", "cam99", "9", "a", "", "x0y", "a\n8")] == [
        "cam10",
        "cam100",
        "10",
        None,
        None,
        None,
        "a\n9",
    ]
    header = random_header(5, 3)
    names = ("a", "b7", "b8")
    header = replace(header, cameras=tuple(replace(c, name=n) for c, n in zip(header.cameras, names, strict=True)))
    assert rigs._plain(header).names == ("a", "b7", "")
    assert [camera.name for camera in rigs.parse(rigs.pack(header)).cameras] == list(names)


def test_what_cannot_be_stored_is_refused() -> None:
    header = random_header(6)
    nameless = (header.cameras[0], replace(header.cameras[1], name=""), *header.cameras[2:])
    with pytest.raises(ConfigError, match="an empty one"):
        rigs.pack(replace(header, cameras=nameless))
    with pytest.raises(ConfigError, match="128th of a pixel"):
        rigs.pack(replace(header, intrinsics=(replace(header.intrinsics[0], fx=0.001), *header.intrinsics[1:])))


def test_damaged_headers_are_refused() -> None:
    header = random_header(7)
    packed = rigs.PACKED.parse(rigs.pack(header), "here")
    for fields, rig in (
        (packed.fields[:-1], packed.rig),
        (packed.fields + b"x", packed.rig),
        (packed.fields, packed.rig[:-1]),
        (packed.fields, packed.rig + b"\0"),
        (packed.fields, b""),
    ):
        with pytest.raises(CorruptStream):
            rigs.parse(rigs.PACKED.pack(rigs.PackedHeader(fields, rig)))
    rng = np.random.default_rng(8)
    for _ in range(200):
        data = bytearray(rigs.pack(header))
        data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        try:
            found = rigs.parse(bytes(data))
        except CorruptStream:
            continue
        for camera in found.cameras:
            assert 0.999 < math.hypot(*camera.rotation) ** 2 < 1.001


def test_the_dictionary_is_that_of_the_document() -> None:
    assert independent_reader.documented_dictionary() == DICTIONARY
    assert b"\r" not in DICTIONARY and len(DICTIONARY) < 1 << 15
