"""The script that plants faults: its table, and that it tells a fault that is noticed from one that is not."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from places import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))

from planted_faults import TABLE, files_of, planted, read_faults


def test_the_table_names_files_and_tests_that_there_are() -> None:
    faults = read_faults(TABLE.read_text(encoding="utf-8"))
    assert len(faults) > 100 and len({(f.file, f.old, f.new) for f in faults}) == len(faults)
    for fault in faults:
        assert (ROOT / fault.file).is_file(), fault
        assert fault.tests and all(len(files_of(ROOT, name)) == 1 for name in fault.tests), fault
        assert fault.old and fault.old != fault.new, fault


def test_a_table_is_read_as_its_description_says() -> None:
    text = "# a comment\n\n@ a.py | b.py c.py | what | ever\n"
    with pytest.raises(ValueError, match="line 3"):
        read_faults(text)
    (fault,) = read_faults("@ a.py | b.py c.py | what it is\n- old\n-     more\n+ new\n")
    assert (fault.file, fault.tests, fault.what) == ("a.py", ("b.py", "c.py"), "what it is")
    assert planted("x = old\n    more", fault) == "x = new"
    assert planted("no such text", fault) is None and planted("old\n    more, old\n    more", fault) is None


def test_faults_are_noticed_or_not(python, tmp_path: Path) -> None:
    table, found = tmp_path / "table.txt", tmp_path / "found.json"
    table.write_text(
        "@ taichi_vvc/config.py | test_settings.py | noticed\n- if self.keyint < 0:\n+ if False:\n"
        "@ taichi_vvc/config.py | test_settings.py | unnoticed\n- data, not code\n+ nothing\n"
        "@ taichi_vvc/config.py | test_settings.py | gone\n- there is no such text\n+ nothing\n",
        encoding="utf-8",
    )
    script = ROOT / "benchmarks" / "planted_faults.py"
    listed = python(script, "--table", table, "--list", cwd=tmp_path)
    assert listed.returncode == 1 and listed.stdout.count("cannot be planted") == 1
    done = python(script, "--table", table, "--json", found, cwd=tmp_path)
    assert done.returncode == 1 and "1 of 3 faults were noticed" in done.stdout, done.stderr
    outcomes = {row["what"]: row for row in json.loads(found.read_text(encoding="utf-8"))}
    assert outcomes["noticed"]["outcome"] == "noticed" and "keyint" in outcomes["noticed"]["test"]
    assert outcomes["unnoticed"]["outcome"] == "UNNOTICED"
    assert outcomes["gone"]["outcome"] == "cannot be planted"
