"""What the decoder in JavaScript shares with the package is made from it, and the folder is an npm package."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest
from javascript import DECODER, WEB
from places import script

import taichi_vvc

MODULES = sorted(path for folder in ("decoder", "three", "bin") for path in (WEB / folder).glob("*.js"))


@pytest.mark.parametrize("path", script("make_web").files(), ids=lambda path: path.name)
def test_files_are_as_they_are_made(path) -> None:
    made = script("make_web").files()[path]
    assert path.read_text(encoding="utf-8") == made, "run python docs/make_web.py"


def test_the_folder_is_a_package_of_npm() -> None:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    assert package["name"] == "taichi-vvc" and package["type"] == "module"
    assert package["version"] == taichi_vvc.__version__, "run python docs/make_web.py"
    assert not {"dependencies", "devDependencies", "peerDependencies"} & set(package)
    paths = [*package["exports"].values(), *package["bin"].values()]
    assert paths and all((WEB / path).is_file() for path in paths if "*" not in path)
    for path in package["bin"].values():
        assert (WEB / path).read_text(encoding="utf-8").startswith("#!/usr/bin/env node\n")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_are_small_and_import_each_other_only(path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert len(lines) < 400
    assert max(map(len, lines)) <= 120
    assert text.startswith(("/**", "#!")), "every module says what it is"
    for target in re.findall(r"""(?:from|import)\s*\(?\s*["']([^"']+)["']""", text):
        if target.startswith("node:"):
            # Only what runs in Node alone, or is loaded there when it is asked for.
            assert path.parent.name == "bin" or f'import("{target}")' in text
        else:
            assert target.startswith((".", "..")) and (path.parent / target).is_file()


@pytest.mark.skipif(shutil.which("tsc") is None, reason="tsc is not installed; the types of JSDoc are not checked")
def test_types(tmp_path) -> None:
    options = {"allowJs": True, "checkJs": True, "noEmit": True, "strict": True, "target": "ES2022", "module": "ES2022"}
    options |= {"moduleResolution": "node", "lib": ["ES2022", "DOM", "DOM.Iterable"], "types": []}
    # The types of Node need a package of their own; one function of it is used.
    (tmp_path / "node.d.ts").write_text('declare module "node:fs/promises" { export function open(path: any): any; }')
    config = {"compilerOptions": options, "include": [f"{DECODER}/*.js", "node.d.ts"]}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    done = subprocess.run(["tsc", "-p", tmp_path], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:]
