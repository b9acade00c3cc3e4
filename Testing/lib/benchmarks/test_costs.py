"""One command measures everything and writes one table, without telling where the machine keeps its files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from reporting import HERE, ROOT, child_environment


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
