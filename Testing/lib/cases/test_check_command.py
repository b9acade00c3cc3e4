"""``semiseg check`` tells everything it finds on a screen and as JSON, and writes nothing."""

import json

import pytest
from typer.testing import CliRunner

from SemiSegLib.cli import app
from Testing.lib.cases.damage import write_damaged_dataset


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return folder, write_damaged_dataset(folder)


def test_every_damage_is_on_the_screen_and_the_exit_code_tells_it(damaged):
    folder, expected = damaged
    before = sorted((p.name, p.stat().st_mtime_ns) for p in folder.rglob("*"))
    told = CliRunner().invoke(app, ["check", str(folder)])
    assert told.exit_code == 3, told.output
    for case_id, code in expected.items():
        assert f"{case_id} {code}" in told.output
    assert told.output.count("remedy:") == told.output.count("where:") >= len(expected)
    assert sorted((p.name, p.stat().st_mtime_ns) for p in folder.rglob("*")) == before


def test_a_script_reads_the_findings_as_json(damaged):
    folder, expected = damaged
    told = json.loads(CliRunner().invoke(app, ["check", str(folder), "--json"]).stdout)
    assert set(expected.items()) <= {(finding["case"], finding["code"]) for finding in told["findings"]}
