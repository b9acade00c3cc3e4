"""The check of the computer: one line of advice per finding, with and without torch."""

import importlib
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from SemiSegLib import computer_check
from SemiSegLib.computer_check import check_computer
from SemiSegLib.doctor import DeviceTrial

GIB = 2**30


@pytest.fixture
def trials(monkeypatch):
    """Devices that the doctor is said to have found."""

    def found(*devices, advice="Training will use cuda:0."):
        diagnosis = SimpleNamespace(devices=devices, advice=advice)
        fake = SimpleNamespace(diagnose=lambda: diagnosis)
        original = importlib.import_module
        monkeypatch.setattr(
            computer_check.importlib,
            "import_module",
            lambda name: fake if name == "SemiSegLib.doctor" else original(name),
        )

    return found


def test_every_finding_of_this_computer_is_one_line():
    found = check_computer()
    assert len(found) >= 5
    assert all("\n" not in advice.text and advice.text.endswith(".") for advice in found)
    assert found[0].severity == "good"


def test_a_device_that_does_not_work_is_a_warning_with_its_reason(trials):
    trials(DeviceTrial("cuda:0", "a card", 8.0, None, "no kernel image"), DeviceTrial("cpu", "x", None, 3.0))
    texts = {advice.text: advice.severity for advice in check_computer()}
    assert (
        texts["cuda:0 (a card) does not work: no kernel image. Update its driver, or install torch anew."] == "warning"
    )
    assert texts["cpu (x) works; a small 3-D convolution takes 3.0 ms."] == "good"


def test_without_torch_the_rest_is_checked_and_torch_is_said_to_be_missing(monkeypatch):
    original = importlib.util.find_spec
    monkeypatch.setattr(
        computer_check.importlib.util, "find_spec", lambda name, *a: None if name == "torch" else original(name, *a)
    )
    monkeypatch.setattr(computer_check.shutil, "which", lambda name: None)
    found = check_computer()
    assert found[0].text.startswith("Not installed: torch.")
    # A package of this name on the index is not ours.
    assert '`pip install -c constraints.txt ".[cli]"` in the folder of SemiSeg' in found[0].text
    assert found[0].severity == "warning"
    assert "No NVIDIA graphics card" in found[1].text


def test_a_torch_that_cannot_be_loaded_is_told_with_its_remedy(monkeypatch):
    def refuse(name):
        raise OSError("libcudart.so.12: cannot open shared object file")

    monkeypatch.setattr(computer_check.importlib, "import_module", refuse)
    (told,) = [advice for advice in check_computer() if "cannot be loaded" in advice.text]
    assert "libcudart" in told.text
    assert "install it again" in told.text


def test_little_memory_and_disk_are_warnings(monkeypatch, trials, tmp_path):
    trials()
    monkeypatch.setattr(computer_check, "memory_gib", lambda: 4.0)
    monkeypatch.setattr(computer_check.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2 * GIB))
    warnings = [advice.text for advice in check_computer(tmp_path / "not" / "yet") if advice.severity == "warning"]
    assert [text.split(" ")[0] for text in warnings] == ["4", "2.0"]


def test_it_is_written_to_a_file_by_a_command(tmp_path):
    answer = tmp_path / "answer.json"
    subprocess.run([sys.executable, "-m", "SemiSegLib.computer_check", str(answer), str(tmp_path)], check=True)
    assert {item["severity"] for item in json.loads(answer.read_text())} <= {"good", "note", "warning"}
