"""Files assembled from groups of others: every field against an independent reader, and what does not go together."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import independent_reader
import plain_cameras
import pytest
import streams

from taichi_vvc.bitstream import Intrinsics, SequenceHeader, StreamReader, StreamWriter, versions
from taichi_vvc.bitstream.assembly import Assembly, whole_groups
from taichi_vvc.bitstream.colours import NO_MAP, pack_colours
from taichi_vvc.bitstream.common import common_header
from taichi_vvc.bitstream.numbering import capture_frames, with_numbering
from taichi_vvc.bitstream.poses import CameraTrack, header_states, pack_cameras, parse_cameras
from taichi_vvc.errors import ConfigError, CorruptStream

MAPS = pack_colours([((16, -8, 4), (0, 2, 0)), NO_MAP], True)
OTHER_MAPS = pack_colours([NO_MAP, ((1, 0, 0), (0, 0, 0))], False)


def write(
    path: Path,
    header: SequenceHeader,
    groups: list[dict[str, Any]],
    frames: int = 2,
    cameras: tuple[bytes, ...] = (),
    version: int = versions.WRITTEN,
) -> None:
    """A file with groups of some ``frames`` each; ``groups``: fields of each group that differ from the usual ones."""
    with StreamWriter.create(path, header, version=version) as writer:
        for number, changed in enumerate(groups):
            first = number * frames
            writer.add_group(replace(streams.group(number, first), **changed))
            for k in range(frames):
                said = cameras[k] if k < len(cameras) else b""
                writer.add_frame(replace(streams.frame(first + k, number, k == 0), cameras=said))
        writer.finish()


def assemble(path: Path, sources: list[Path]) -> dict[str, Any]:
    """Joins files; the result as an independent reader has it."""
    opened = [StreamReader(source) for source in sources]
    header, version = common_header(opened)
    with Assembly.create(path, header, version) as out:
        for source in opened:
            out.add_all(source)
        out.finish()
    for source in opened:
        source.close()
    with StreamReader(path) as reader:
        assert reader.complete
        reader.scan()
    return independent_reader.read_file(path.read_bytes())


def effective(parsed: dict[str, Any], group: int) -> tuple[bytes, list[float], list[float]]:
    """The MLPs, their steps and the grids' steps that hold in a group."""
    own = parsed["groups"][group]
    owner = parsed["groups"][own["owner"]]
    return owner["mlp"], owner["mlp_steps"], own["grid_steps"]


SHARED: dict[str, Any] = {"mlp": b"", "mlp_steps": ()}


def test_every_field_of_a_joined_file(tmp_path: Path) -> None:
    header = streams.newest_header()
    write(tmp_path / "a.tvvc", header, [{"colours": MAPS}, SHARED])
    others = replace(header, first_frame=9)
    write(tmp_path / "b.tvvc", others, [{"mlp": b"other", "colours": OTHER_MAPS}, {**SHARED, "grid_steps": (1.0,) * 3}])
    a, b = (independent_reader.read_file((tmp_path / name).read_bytes()) for name in ("a.tvvc", "b.tvvc"))
    joined = assemble(tmp_path / "out.tvvc", [tmp_path / "a.tvvc", tmp_path / "b.tvvc"])
    assert joined["version"] == 8 and joined["header"] == a["header"]
    assert [g["number"] for g in joined["groups"]] == [0, 1, 2, 3]
    assert [g["first_frame"] for g in joined["groups"]] == [0, 2, 4, 6]
    for number in range(4):
        source, there = (a, number) if number < 2 else (b, number - 2)
        assert effective(joined, number) == effective(source, there)
        assert joined["groups"][number]["maps"] == source["groups"][there]["maps"]
    for number, frame in enumerate(joined["frames"]):
        source, there = (a, number) if number < 4 else (b, number - 4)
        assert (frame["number"], frame["group"]) == (number, number // 2)
        for field in ("type", "occupancy", "motion", "grids", "cameras"):
            assert frame[field] == source["frames"][there][field], (number, field)
    index = joined["index"]
    assert index["frames"] == 8 and len(index["entries"]) == 12
    assert sum(size for _, _, size in index["entries"]) + index["first"] < (tmp_path / "out.tvvc").stat().st_size
    # What both files share is there once.
    assert [bool(g["mlp"]) for g in joined["groups"]] == [True, False, True, False]


def test_pieces_of_a_file_joined_again_are_the_file_to_the_byte(tmp_path: Path) -> None:
    header = with_numbering(streams.newest_header(), range(5, 500, 3))
    write(
        tmp_path / "all.tvvc",
        header,
        [{"colours": MAPS}, SHARED, {"mlp": b"x"}, SHARED, {**SHARED, "colours": OTHER_MAPS}],
    )
    with StreamReader(tmp_path / "all.tvvc") as source:
        numbers = capture_frames(source.header, len(source.frames))
        assert numbers is not None
        for name, groups in (("a", [0]), ("b", [1, 2, 3]), ("c", [4])):
            first = with_numbering(header, numbers[2 * groups[0] : 2 * groups[-1] + 2])
            with Assembly.create(tmp_path / f"{name}.tvvc", first) as piece:
                piece.add_all(source, groups)
                piece.finish()
    with StreamReader(tmp_path / "b.tvvc") as piece_b:
        # Made whole: the MLPs and colour maps of groups that are not in this file.
        assert piece_b.read_group(0) == replace(streams.group(0, 0), colours=MAPS)
    assemble(tmp_path / "again.tvvc", [tmp_path / f"{name}.tvvc" for name in "abc"])
    assert (tmp_path / "again.tvvc").read_bytes() == (tmp_path / "all.tvvc").read_bytes()


def test_groups_without_colour_maps_keep_none_behind_groups_that_have_some(tmp_path: Path) -> None:
    header = streams.newest_header()
    write(tmp_path / "a.tvvc", header, [{"colours": MAPS}])
    write(tmp_path / "b.tvvc", header, [{}])
    assemble(tmp_path / "out.tvvc", [tmp_path / "b.tvvc", tmp_path / "a.tvvc", tmp_path / "b.tvvc"])
    with StreamReader(tmp_path / "out.tvvc") as reader:
        none = pack_colours([NO_MAP, NO_MAP], False)
        assert [reader.read_colours(number) for number in range(3)] == [b"", MAPS, none]


def test_moving_cameras_stay_where_they_are_under_another_header(tmp_path: Path) -> None:
    """A camera of the second file moves, and both files have other header poses and units."""
    header = streams.header()
    front, back = header.cameras
    far = replace(
        header,
        first_frame=9,
        cameras=(replace(front, position=(0.5, 0.25, -3.0)), replace(back, rotation=(0.0, 0.0, -1.0, 0.0))),
        intrinsics=(
            replace(header.intrinsics[0], fx=61.0),
            Intrinsics(64, 48, 60.0, 60.5, 32.0, 24.0, 0.125, 0.0, 0.0, -0.25),
        ),
        rotation_bits=header.rotation_bits - 2,
        position_bits=header.position_bits - 3,
    )
    far = replace(far, cameras=(far.cameras[0], replace(far.cameras[1], intrinsics=1)))
    states = header_states(far)
    track, said = CameraTrack(states, states), []
    for k in range(3):
        pose = (*states[0].pose[:4], *(part + 40 * (k + 1) for part in states[0].pose[4:]))
        wanted = (replace(states[0], pose=pose), states[1])
        said.append(pack_cameras(wanted, track, ["", ""]))
        track = parse_cameras(said[-1], track, k == 0, far.rotation_bits, "")
    write(tmp_path / "a.tvvc", header, [{}])
    write(tmp_path / "b.tvvc", far, [{}, {}], frames=3, cameras=tuple(said))
    joined = assemble(tmp_path / "out.tvvc", [tmp_path / "a.tvvc", tmp_path / "b.tvvc"])
    theirs = independent_reader.read_file((tmp_path / "b.tvvc").read_bytes())
    there, here = plain_cameras.camera_values(theirs), plain_cameras.camera_values(joined)
    position, turn = 2.0 ** (64 - header.position_bits), 2.0**-header.rotation_bits
    for k in range(6):
        for ours, own in zip(here[2 + k], there[k], strict=True):
            assert ours["position"] == pytest.approx(own["position"], abs=position)
            assert ours["rotation"] == pytest.approx(own["rotation"], abs=4 * turn)
            assert ours["lens"] == pytest.approx(own["lens"], abs=2.0**-8)
    # What has moved is there exactly, since its units are multiples of those of the joined file.
    assert (here[3][0]["position"] == there[1][0]["position"]).all()
    assert (here[3][0]["position"] != here[2][0]["position"]).all()
    # Cameras of the first file are as they were.
    assert [frame["cameras"] for frame in joined["frames"][:2]] == [b"", b""]


def test_a_wrong_place_of_the_second_camera_would_be_seen(tmp_path: Path) -> None:
    """Cameras of files that stand still, in different places: the second file's stand where they stood."""
    header = streams.header()
    moved = replace(header, cameras=(header.cameras[0], replace(header.cameras[1], position=(0.0, 1.0, 3.0))))
    for version in (3, 6):
        write(tmp_path / f"a{version}.tvvc", header, [{}], version=version)
        write(tmp_path / f"b{version}.tvvc", moved, [{}], version=version)
        out = tmp_path / f"out{version}.tvvc"
        joined = assemble(out, [tmp_path / f"a{version}.tvvc", tmp_path / f"b{version}.tvvc"])
        # Version 3 has no cameras that move.
        assert joined["version"] == max(version, 4)
        places = [row[1]["position"].tolist() for row in plain_cameras.camera_values(joined)]
        assert places == [[0.0, 0.0, 3.0]] * 2 + [[0.0, 1.0, 3.0]] * 2


@pytest.mark.parametrize("versions", [(1, 1), (1, 2, 3, 4, 5, 6), (6, 4, 1), (4, 4), (5, 4)])
def test_the_version_is_the_newest_of_the_files(tmp_path: Path, versions: tuple[int, ...]) -> None:
    for version in set(versions):
        header = streams.header()
        header = replace(header, layout=replace(header.layout, motion_block=0))
        with StreamWriter.create(tmp_path / f"{version}.tvvc", header, version=version) as writer:
            writer.add_group(streams.group(0, 0))
            writer.add_frame(replace(streams.frame(0, 0, True), motion=b""))
            writer.finish()
    joined = assemble(tmp_path / "out.tvvc", [tmp_path / f"{version}.tvvc" for version in versions])
    assert joined["version"] == max(versions)
    assert len(joined["frames"]) == len(versions)
    # From version 3 on, MLPs that are the same are there once.
    shared = max(versions) >= 3
    assert [bool(g["mlp"]) for g in joined["groups"]] == [k == 0 or not shared for k in range(len(versions))]


HEADER = streams.newest_header()


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (replace(HEADER, fps=Fraction(25)), "fps 25 (there 30000/1001)"),
        (replace(HEADER, downscale=1), "downscale 1 (there 2)"),
        (replace(HEADER, background=(0, 0, 0)), "background 0 0 0 (there 255 128 0)"),
        (replace(HEADER, layout=replace(HEADER.layout, cell=0.5)), "cell 0.5 (there 0.25)"),
        (replace(HEADER, layout=replace(HEADER.layout, near=0.25)), "near 0.25 (there 0.5)"),
        (replace(HEADER, layout=replace(HEADER.layout, levels=HEADER.layout.levels[:1])), "levels"),
        (replace(HEADER, cameras=HEADER.cameras[:1]), "cameras, without bäck"),
        (replace(HEADER, cameras=HEADER.cameras[::-1]), "cameras, in another order"),
        (
            replace(HEADER, cameras=tuple(replace(camera, split="train") for camera in HEADER.cameras)),
            "held-out cameras (bäck)",
        ),
        (
            replace(HEADER, intrinsics=(replace(HEADER.intrinsics[0], width=63),)),
            "picture sizes of cameras (front, bäck)",
        ),
    ],
)
def test_what_differs_is_named_in_one_line(tmp_path: Path, changed: SequenceHeader, line: str) -> None:
    write(tmp_path / "a.tvvc", HEADER, [{}])
    write(tmp_path / "b.tvvc", changed, [{}])
    with StreamReader(tmp_path / "a.tvvc") as a, StreamReader(tmp_path / "b.tvvc") as b:
        with pytest.raises(ConfigError) as error:
            common_header([a, b])
    assert f"b.tvvc: expected a file like {tmp_path / 'a.tvvc'}, found other {line};" in str(error.value)


def test_settings_are_those_on_which_all_agree(tmp_path: Path) -> None:
    header = streams.header(lambda_rate=0.5, frame_step=2, keyint=5)
    write(tmp_path / "a.tvvc", header, [{}])
    later = replace(streams.header(lambda_rate=0.25, frame_step=2, keyint=5, title="x"), first_frame=9, library="other")
    write(tmp_path / "b.tvvc", later, [{}])
    joined = assemble(tmp_path / "out.tvvc", [tmp_path / "a.tvvc", tmp_path / "b.tvvc"])["header"]
    assert joined["settings"] == {"preset": "fast", "keyint": 5, "frame_step": 2}
    assert (joined["first_frame"], joined["library"]) == (5, "test 1")
    swapped = assemble(tmp_path / "swapped.tvvc", [tmp_path / "b.tvvc", tmp_path / "a.tvvc"])["header"]
    assert swapped["settings"] == {"preset": "fast", "keyint": 5, "pieces": [[9, 2, 2], [5, 2, 2]]}
    assert swapped["first_frame"] == 9


@pytest.mark.parametrize(
    "numbers", [range(7, 8), range(3, 9), range(0, 40, 4), [5, 6, 7, 30, 31], [9, 4, 0], [1, 1, 1], [2, 9, 10, 11]]
)
def test_frames_of_the_capture_are_kept(numbers: list[int]) -> None:
    header = with_numbering(streams.header(frame_step=7), numbers)
    assert capture_frames(header, len(numbers)) == list(numbers)


@pytest.mark.parametrize(
    "pieces", [[], [[0, 1, 3]], [[0, 1, 2], [5, 1]], [[0, 0, 5]], [[-1, 1, 5]], "x", [[0, 1, 10**9]]]
)
def test_pieces_that_make_no_sense_say_nothing(pieces: object) -> None:
    assert capture_frames(streams.header(pieces=pieces), 5) is None


def test_numbers_that_do_not_fit_the_header_are_left_out() -> None:
    header = with_numbering(streams.header(), list(range(60000, 0, -1)))
    assert capture_frames(header, 60000) is None and header.first_frame == 60000


def test_a_damaged_group_leaves_the_groups_before_it(tmp_path: Path) -> None:
    write(tmp_path / "a.tvvc", HEADER, [{"colours": MAPS}, SHARED, SHARED], frames=3)
    with StreamReader(tmp_path / "a.tvvc") as reader:
        at = reader.frames[5].offset + 20
    data = bytearray((tmp_path / "a.tvvc").read_bytes())
    data[at] ^= 1
    (tmp_path / "a.tvvc").write_bytes(data)
    with StreamReader(tmp_path / "a.tvvc") as source, Assembly.create(tmp_path / "out.tvvc", HEADER) as out:
        with pytest.raises(CorruptStream, match=r"a\.tvvc: frame 5"):
            out.add_all(source)
    with StreamReader(tmp_path / "out.tvvc") as reader:
        assert len(reader.frames) == 3 and not reader.complete
        reader.scan()


def test_the_file_plays_after_each_group(tmp_path: Path) -> None:
    write(tmp_path / "a.tvvc", HEADER, [{"colours": MAPS}, SHARED, SHARED], frames=3)
    with StreamReader(tmp_path / "a.tvvc") as source, Assembly.create(tmp_path / "out.tvvc", HEADER) as out:
        for number in range(3):
            out.add(source, number, stop=8)
            with StreamReader(tmp_path / "out.tvvc") as reader:
                reader.scan()
                assert len(reader.frames) == min(3 * number + 3, 8) == out.frames
        with pytest.raises(ConfigError, match="expected frames of group 2, found none"):
            out.add(source, 2, stop=6)


def test_a_group_without_frames_is_left_out(tmp_path: Path) -> None:
    with StreamWriter.create(tmp_path / "a.tvvc", HEADER) as writer:
        writer.add_group(streams.group(0, 0))
        writer.add_frame(streams.frame(0, 0, True))
        writer.add_group(streams.group(1, 1))
    with StreamReader(tmp_path / "a.tvvc") as source:
        assert len(source.groups) == 2 and whole_groups(source) == range(1)
    assert len(assemble(tmp_path / "out.tvvc", [tmp_path / "a.tvvc"] * 2)["groups"]) == 2
