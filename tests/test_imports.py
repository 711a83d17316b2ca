"""Imports point one way: rooms stand above each other, and each imports from those below it only."""

from __future__ import annotations

import pytest
from imports import MODULES, PACKAGE, ROOMS, arrows, inside, outside, reach, room_of, within

import taichi_vvc


def test_the_parser_sees_what_is_there() -> None:
    assert f"{PACKAGE}.errors" in inside(f"{PACKAGE}.runtime")
    assert "numpy" in outside(f"{PACKAGE}.runtime")
    assert f"{PACKAGE}.kernels._taichi" in inside(f"{PACKAGE}.runtime"), "an import inside a function"


def test_every_module_has_a_room() -> None:
    assert {room_of(module) for module in MODULES} - {""} == set(ROOMS)
    assert len(set(ROOMS)) == len(ROOMS)


def test_rooms_import_downwards() -> None:
    level = {room: number for number, room in enumerate(ROOMS)}
    found = arrows()
    assert len(found) > 50
    upwards = [f"{a} -> {b}" for (x, y), imports in found.items() if level[x] >= level[y] for a, b in imports]
    assert upwards == [], "an import from a room above; see the order in tests/imports.py"


def test_modules_form_layers() -> None:
    """No cycles within a room: each module can be read after the ones it imports."""
    done: set[str] = set()
    for module in MODULES:
        path: list[str] = []

        def visit(name: str, path: list[str] = path) -> None:
            if name in done:
                return
            assert name not in path, " -> ".join([*path[path.index(name) :], name])
            path.append(name)
            for target in inside(name) - {PACKAGE}:
                # A package's __init__ and its own modules are one unit.
                if not (name.startswith(f"{target}.") or target.startswith(f"{name}.")):
                    visit(target)
            path.pop()
            done.add(name)

        visit(module)


def test_bitstream_needs_the_standard_library_only() -> None:
    for module in within("bitstream"):
        assert outside(module) == set(), module
        assert reach(module) <= {PACKAGE, f"{PACKAGE}._version", *within("errors", "words", "bitstream")}, module


def test_only_the_entropy_coder_imports_constriction() -> None:
    assert {module for module in MODULES if "constriction" in outside(module)} <= within("coding.entropy")


def test_only_kernels_and_runtime_import_taichi() -> None:
    allowed = within("kernels", "runtime")
    assert {module for module in MODULES if outside(module) & {"taichi", "quadrants"}} <= allowed
    # The language object goes by way of kernels/_taichi.py; taking it from there counts the same.
    assert {module for module in MODULES if f"{PACKAGE}.kernels._taichi" in inside(module)} <= allowed


def test_kernels_import_nothing_of_the_package_but_each_other() -> None:
    for module in within("kernels"):
        assert inside(module) <= within("kernels"), module
        assert outside(module) <= {"taichi", "quadrants", "numpy"}, module


def test_the_core_does_not_import_torch() -> None:
    assert {module for module in MODULES if "torch" in outside(module)} <= within("torch")


DECODERS = ("decode", "play.playback", "coding.entropy", "coding.grid_decoder", "field.grids", "field.render")
ENCODER_ONLY = ("fit", "encoder", "encode", "capture", "coding.choose_tables", "coding.grid_encoder")


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoding_never_reaches_the_encoder(decoder: str) -> None:
    assert f"{PACKAGE}.{decoder}" in MODULES
    assert reach(f"{PACKAGE}.{decoder}") & within(*ENCODER_ONLY) == set()


def test_the_encoder_reaches_what_decoding_does_not() -> None:
    """Keeps the test above honest: the names exist, and the walk does follow imports that far."""
    far = {f"{PACKAGE}.{name}" for name in ("fit.optimize", "coding.choose_tables", "coding.grid_encoder")}
    assert far <= reach(f"{PACKAGE}.encode")
    assert all(within(name) for name in ENCODER_ONLY)


def test_only_programs_import_the_commands() -> None:
    programs = within("cli", "__main__")
    assert {module for module in MODULES if inside(module) & within("cli")} <= programs


def test_commands_use_public_rooms_only() -> None:
    for module in within("cli"):
        assert inside(module) & within("kernels", "coding", "fit", "encoder", "torch") == set(), module


HEAVY = ("taichi", "torch", "constriction", "av", "PIL", "skimage", "scipy")


def _heavy_modules_after(python, code: str, *arguments: object) -> list[str]:
    report = f"import sys; print('HEAVY', *[name for name in {HEAVY!r} if name in sys.modules])"
    done = python("-c", f"{code}\n{report}", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


def test_importing_the_package_is_light(python) -> None:
    assert _heavy_modules_after(python, "import taichi_vvc, taichi_vvc.errors; dir(taichi_vvc)") == []


def test_importing_the_package_starts_nothing_even_with_all_names(python) -> None:
    code = "import taichi_vvc as tv\nfor name in tv.__all__: getattr(tv, name)\nprint(tv.encode, tv.render, tv.open)"
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<function ") == 3


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["info", "--help"]])
def test_the_command_starts_light(python, arguments: list[str]) -> None:
    code = f"from taichi_vvc.cli import run\nassert run({arguments!r}) == 0"
    assert _heavy_modules_after(python, code) == []


def test_help_does_not_wait_for_the_bitstream(python) -> None:
    code = (
        "from taichi_vvc.cli import run; assert run(['--help']) == 0\n"
        "import sys; assert 'taichi_vvc.words' in sys.modules and 'taichi_vvc.bitstream' not in sys.modules"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_functions_are_not_hidden_by_modules_of_the_same_name(python) -> None:
    code = """
import taichi_vvc
import taichi_vvc.encode, taichi_vvc.render, taichi_vvc.decode
assert callable(taichi_vvc.encode) and callable(taichi_vvc.render) and callable(taichi_vvc.open)
from taichi_vvc import encode, render
assert callable(encode) and callable(render)
assert encode.__module__ == "taichi_vvc.encode"
"""
    done = python("-c", code)
    assert done.returncode == 0, done.stderr


def test_public_names_are_listed_and_unknown_ones_refused() -> None:
    assert len(set(taichi_vvc.__all__)) == len(taichi_vvc.__all__)
    assert set(taichi_vvc.__all__) <= set(dir(taichi_vvc))
    assert set(taichi_vvc._PUBLIC) == set(taichi_vvc.__all__) - {"__version__", "errors"}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = taichi_vvc.nothing


def test_old_names_load_the_modules_of_today(python) -> None:
    code = """
import warnings
warnings.simplefilter("error")
import taichi_vvc
warnings.simplefilter("always")
from importlib import import_module
from taichi_vvc._moved import MOVED
for old, new in MOVED.items():
    with warnings.catch_warnings(record=True) as caught:
        module = import_module(old)
    if new:
        told = [w for w in caught if str(w.message) == f"{old} is {' and '.join(new)} now"]
        assert [w.category for w in told] == [DeprecationWarning], old
    if len(new) == 1:
        assert module is import_module(new[0]), old
    for part in map(import_module, new):
        for name, value in vars(part).items():
            if getattr(value, "__module__", "") == part.__name__ and not name.startswith("_"):
                assert getattr(module, name) is value, (old, name)
from taichi_vvc.demo import capture_path, side_by_side
from taichi_vvc.entropy import decode_grid, encode_grid, known_grids
from taichi_vvc.metrics import composite, psnr
assert callable(taichi_vvc.render)
import taichi_vvc.io.nothing
"""
    done = python("-c", code)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ModuleNotFoundError: No module named 'taichi_vvc.io.nothing'"
