"""What the machine lacks is named in one line, and the check installs exactly that."""

import re
import subprocess
from pathlib import Path

from Testing.host import system_libraries

ROOT = Path(__file__).resolve().parents[2]


def test_a_complete_machine_lacks_nothing():
    system_libraries.missing.cache_clear()
    assert system_libraries.missing() == ""


def test_missing_libraries_are_named_with_one_apt_line(monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "ImportError: libEGL.so.1: cannot open shared object file")
    monkeypatch.setattr(system_libraries.subprocess, "run", lambda *_, **__: failed)
    monkeypatch.setattr(system_libraries, "_can_load", lambda library: library not in ("libEGL.so.1", "libX11.so.6"))
    system_libraries.missing.cache_clear()
    reason = system_libraries.missing()
    system_libraries.missing.cache_clear()
    assert reason == "system libraries missing: apt-get install -y --no-install-recommends libegl1 libgl1"


def test_a_crash_of_the_probe_is_survived(monkeypatch):
    monkeypatch.setattr(system_libraries, "_PROBE", "import os; os.abort()")
    system_libraries.missing.cache_clear()
    reason = system_libraries.missing()
    system_libraries.missing.cache_clear()
    assert reason.startswith("system libraries missing: Qt or OpenGL do not start")


def test_wheels_that_are_not_installed_are_told_apart(monkeypatch):
    monkeypatch.setattr(system_libraries, "_PROBE", "import no_such_wheel_is_here")
    system_libraries.missing.cache_clear()
    reason = system_libraries.missing()
    system_libraries.missing.cache_clear()
    assert reason.startswith("packages missing: ")
    assert "no_such_wheel_is_here" in reason


def test_the_check_on_a_clean_clone_installs_what_the_host_needs():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    installed = set(re.search(r'^needed="([^"]*)"', script, re.MULTILINE).group(1).split())
    needed = {system_libraries._IMPLIED.get(name, name) for name in system_libraries.PACKAGES.values()}
    assert needed <= installed
