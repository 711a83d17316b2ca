"""``tvvc doctor``: its findings about backends, memory and versions; broken drivers do not stop it."""

from __future__ import annotations

import json
import sys

import pytest

from taichi_vvc.measure import doctor


def test_the_cpu_works_in_a_child_process() -> None:
    found = doctor.probe_in_child("cpu")
    assert found["works"] is True and found["seconds"] > 0 and "right" in found["message"]


def test_a_backend_that_is_not_here_is_reported_in_one_line() -> None:
    found = doctor.probe_in_child("metal" if sys.platform != "darwin" else "cuda")
    assert found["works"] is False and "\n" not in found["message"] and "not available" in found["message"]


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("import os; os.kill(os.getpid(), 11)" if sys.platform != "win32" else "import os; os._exit(3)", "SIGSEGV"),
        ("raise SystemExit(3)", "ended with status 3"),
        ("print('no JSON')", "ended with status 0"),
        ("print('{\"other\": 1}')", "ended with status 0"),
        ("import time; time.sleep(60)", "no answer within"),
    ],
)
def test_a_child_that_dies_or_hangs_does_no_harm(monkeypatch, program: str, expected: str) -> None:
    if sys.platform == "win32" and expected == "SIGSEGV":
        expected = "ended with status 3"
    run = doctor.subprocess.run

    def fake(command, **options):
        return run([command[0], "-c", program], **options)

    monkeypatch.setattr(doctor.subprocess, "run", fake)
    found = doctor._child(["--probe", "cpu"], 2.0)
    assert found["works"] is False and expected in found["message"]


def test_self_test_in_a_child_process() -> None:
    found = doctor._child(["--self-test", "cpu"], doctor.PROBE_TIMEOUT)
    assert found["works"] is True, found


def test_memory_is_plausible_or_unknown() -> None:
    found = doctor.memory()
    assert set(found) == {"total_bytes", "available_bytes"}
    total, available = found["total_bytes"], found["available_bytes"]
    assert total is None or total > 2**27
    assert available is None or (total is not None and 0 < available <= total)


def report(**changes) -> dict:
    plain = {
        "versions": {"taichi": "1.7.4"},
        "system": {"os": "Linux-6", "machine": "x86_64", "cpus": 2},
        "memory": {"total_bytes": 2**34, "available_bytes": 2**33},
        "backends": {name: {"works": True, "seconds": 1.0, "message": ""} for name in doctor.BACKENDS},
    }
    return {**plain, **changes}


def test_hints_say_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(doctor, "_linux_family", lambda: "debian")
    assert doctor.hints(report()) == []
    broken = {name: {"works": name == "cpu", "seconds": 1.0, "message": ""} for name in doctor.BACKENDS}
    assert any("apt-get install mesa-vulkan-drivers" in hint for hint in doctor.hints(report(backends=broken)))
    little = {"total_bytes": 2**34, "available_bytes": 2**30}
    assert any("--downscale" in hint for hint in doctor.hints(report(memory=little)))


def test_every_absent_backend_gets_a_line(monkeypatch) -> None:
    monkeypatch.setattr(doctor.shutil, "which", lambda program: None)
    monkeypatch.setattr(doctor, "_linux_family", lambda: "")
    absent = {name: {"works": False, "seconds": 1.0, "message": "not here"} for name in doctor.BACKENDS}
    systems = {
        name: doctor.hints(report(backends=absent, system={"os": name, "machine": "x", "cpus": 1}))
        for name in ("Linux-6", "Windows-11", "macOS-14-arm64", "Darwin-23", "FreeBSD-14")
    }
    for name, hints in systems.items():
        assert [hint.split(": ")[0] for hint in hints] == list(doctor.BACKENDS), name
        assert all(len(hint.split(": ", 1)[1]) > 20 and "\n" not in hint for hint in hints)
    linux, windows, mac = (systems[name] for name in ("Linux-6", "Windows-11", "macOS-14-arm64"))
    assert "install your distribution's Mesa Vulkan drivers" in linux[1] and "--gpus all" in linux[2]
    assert "macOS only" in linux[3] and "macOS only" in windows[3] and "macOS 11 or later" in mac[3]
    assert "newest one from its maker" in windows[1] and "Metal takes its place" in mac[2]
    monkeypatch.setattr(doctor.shutil, "which", lambda program: f"/usr/bin/{program}")
    (cuda,) = (hint for hint in doctor.hints(report(backends=absent)) if hint.startswith("cuda"))
    assert "check that it lists a GPU" in cuda
    slow = {**report()["backends"], "cuda": {"works": False, "seconds": 90.0, "message": "gave no answer within 90 s"}}
    assert doctor.hints(report(backends=slow)) == ["cuda: a first start compiles its kernels; give it more --timeout"]


def test_diagnosis_is_plain_json(monkeypatch) -> None:
    answers = {"cpu": True, "vulkan": False, "cuda": False, "metal": False}
    monkeypatch.setattr(
        doctor, "_child", lambda arguments, timeout: {"works": answers[arguments[1]], "seconds": 0.1, "message": "x"}
    )
    found = json.loads(json.dumps(doctor.diagnose()))
    assert found["works"] is True and found["self_test"]["backend"] == "cpu"
    assert {name: entry["works"] for name, entry in found["backends"].items()} == answers
    assert {"versions", "system", "memory", "hints"} <= set(found)
    answers["cpu"] = False
    assert doctor.diagnose()["works"] is False
