"""The tests for a real Slicer, run in the host: they must be right before somebody runs them there."""

import importlib.util
import unittest
from pathlib import Path

import pytest
import slicer

FILE = Path(__file__).resolve().parents[1] / "slicer/SemiSegInSlicer.py"
specification = importlib.util.spec_from_file_location("SemiSegInSlicer", FILE)
CASES = importlib.util.module_from_spec(specification)
NAMES = [
    line.split("(")[0].removeprefix("    def ")
    for line in FILE.read_text(encoding="utf-8").splitlines()
    if line.startswith("    def test_")
]
# pydicom and requests come with Slicer and not with the host; torch is loaded by other tests of the same process.
ONLY_IN_SLICER = ("test_what_is_missing_is_known", "test_opening_the_panel_imports_neither")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith(ONLY_IN_SLICER)])
def test_it_passes_in_the_host(module, name):
    assert slicer.modules.semiseg is module
    specification.loader.exec_module(CASES)
    result = unittest.TestResult()
    CASES.SemiSegInSlicerTest(name).run(result)
    assert [text for _case, text in (*result.errors, *result.failures)] == []
    assert result.testsRun == 1
