"""One command measures everything and writes one table, without telling where the machine keeps its files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from costs import Measured, _shown, page, remarks
from reporting import HERE, ROOT, Result, child_environment

PUBLISHED = ROOT / "Resources" / "Documentation" / "costs"


def test_the_published_page_is_what_the_published_numbers_give():
    found = json.loads(PUBLISHED.with_suffix(".json").read_text(encoding="utf-8"))
    measured = {
        script: Measured(**{**one, "result": Result(**one["result"])}) for script, one in found["benchmarks"].items()
    }
    text = page(measured, found["machine"], found["command"], quick=False)
    assert PUBLISHED.with_suffix(".md").read_text(encoding="utf-8") == text


@pytest.mark.parametrize("given", ["../../elsewhere/heart", "/data/somebody/heart", "heart/../../heart"])
def test_of_a_folder_elsewhere_only_its_name_is_told(given):
    assert _shown(Path(given)) == "heart"
    assert _shown(Path("studies/heart")) == "studies/heart"


def test_why_an_aim_was_missed_is_told_by_what_was_measured():
    def step(factor, computes):
        return Result("step", {"ours computes on": computes}, (), (), {"MONAI: factor": factor})

    assert "announces AMX" in remarks(step(1.35, "cpu fp32, channels last"), announces_amx=True)
    missed = remarks(step(1.35, "cpu fp32, channels last"), announces_amx=False)
    assert "was not reached" in missed
    assert "AMX" not in missed
    assert "fp32" not in remarks(step(1.35, "cpu bf16, channels last"), announces_amx=True)
    assert "not reached" not in remarks(step(1.6, "cpu fp32, channels last"), announces_amx=True)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_command_writes_the_table_and_all_numbers(tmp_path):
    command = [sys.executable, str(HERE / "costs.py"), "--quick", "--output", str(tmp_path / "costs")]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "costs.md").read_text()
    found = json.loads((tmp_path / "costs.json").read_text())
    for words in ("Data and augmentation, share of a step", "Step, end to end", "Largest memory", "medpy"):
        assert words in page
    assert "these numbers mean nothing" in page
    assert found["command"] == "python Testing/benchmarks/costs.py --output costs --quick"
    for text in (page, json.dumps(found)):
        for place in (tmp_path, ROOT, Path.home(), Path(sys.prefix)):
            assert str(place) == os.sep or str(place) not in text
    step = found["benchmarks"]["step_cost.py"]["result"]["values"]
    assert step["MONAI: factor"] == pytest.approx(step["MONAI: median s"] / step["ours: median s"], rel=1e-3)
    memory = found["benchmarks"]["worker_memory.py"]["result"]["values"]
    # Python, torch and a tiny network: more than nothing, less than a gigabyte and a half.
    assert 100 < memory["4 cases: peak MiB"] < 1500
