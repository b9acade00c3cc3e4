"""Table and picture of the cohort of three sites, from trainings too short to be worth showing."""

import json
from dataclasses import replace

import latent_picture
import numpy as np
import pytest
import three_sites

from SemiSegLib.cases.sites import write_sites
from SemiSegLib.errors import ConfigError
from SemiSegLib.runs.request import PlanSettings
from Testing.lib import site_lines

TINY = PlanSettings(dimensions=3, patch=(8, 16, 16), batch=2, features=(4, 8))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Scans of a few slices, and trainings of two steps that are counted."""
    trained = []

    def write_both(folder, *, seed=0):
        size = (9, 17, 15)
        return {
            full: write_sites(folder / f"{full}", each=1, test=1, full=full, seed=seed, size=size)
            for full in (False, True)
        }

    def train_line(runs, data, line, **asked):
        trained.append(line)
        return site_lines.train_line(runs, data, line, **{**asked, "steps": 2, "plan": TINY})

    for module in (three_sites, latent_picture):
        monkeypatch.setattr(module, "write_both", write_both)
        monkeypatch.setattr(module, "train_line", train_line)
    return trained


def dice(vessel, node):
    return {"organ": 0.5, "head": 0.5, "tail": 0.5, "vessel": vessel, "node": node}


def test_the_table_has_means_over_seeds_and_differences_of_the_same_seed():
    seeds = [
        {
            "naive": dice(0.1, 0.3),
            "baseline": dice(0.5, 0.7),
            "latent": dice(0.6, 0.8),
            "narrowed": dice(0.5, 0.6),
            "upper": dice(0.7, 0.9),
        },
        {
            "naive": dice(0.2, 0.4),
            "baseline": dice(0.4, 0.6),
            "latent": dice(0.6, 0.6),
            "narrowed": dice(0.5, 0.7),
            "upper": dice(0.8, 1.0),
        },
    ]
    found = three_sites.result_of(seeds)
    rows = {row[0]: row[1:] for row in found.rows}
    # (0.2, 0.3) and (0.6, 0.5): means of vessel and node.
    assert rows["dynamic heads, undrawn is background"][-1] == "0.250 ± 0.071"
    assert rows["dynamic heads"][3:] == ("0.450 ± 0.071", "0.650 ± 0.071", "0.550 ± 0.071")
    assert found.facts["baseline - naive, by seed"] == "+0.400, +0.200"
    assert found.facts["narrowed - baseline, by seed"] == "-0.050, +0.100"
    assert found.values["upper - baseline"] == pytest.approx(0.2)
    assert three_sites.result_of(seeds[:1]).rows[0][-1] == "0.200"


def test_every_line_is_trained_once_and_kept(tiny, tmp_path):
    first = three_sites.measure(tmp_path, 0)
    assert tiny == list(site_lines.LINES)
    models = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/model.safetensors")}
    assert len(models) == 5
    assert three_sites.measure(tmp_path, 0) == first
    assert models == {path: path.stat().st_mtime_ns for path in models}


def test_a_run_of_other_settings_is_not_taken_for_its_own(tiny, tmp_path, monkeypatch):
    three_sites.measure(tmp_path, 0)
    changed = replace(site_lines.LINES["narrowed"], asked={"method": "latent_classes", "options": {"decay": 0.5}})
    monkeypatch.setitem(site_lines.LINES, "narrowed", changed)
    with pytest.raises(ConfigError, match="run 'narrowed_seed0'"):
        three_sites.measure(tmp_path, 0)


def test_a_slice_is_chosen_by_the_structure_of_which_it_shows_least():
    truth = np.zeros((5, 9, 9), dtype=np.uint8)
    truth[:4, 1:7, 1:7] = 1
    truth[1, 7, 0:2] = 2
    truth[2, 7, 0:4] = 2
    truth[3, 7, 0:3] = 2
    truth[2, 1:7, 1:3] = 0
    plane, share = latent_picture.plane_of(truth, (3.0, 1.0, 1.0))
    # Slice 2 shows two thirds of the first and all of the second, slice 3 all and three quarters.
    assert (plane.axis, plane.index, share) == (0, 3, 0.75)


def test_the_picture_is_drawn_of_one_scan_of_each_site(tiny, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "latent.png"
    words = ["latent_picture.py", "--picture", str(picture), "--output", str(tmp_path / "out"), "--json"]
    monkeypatch.setattr("sys.argv", words)
    monkeypatch.setattr(latent_picture.torch, "set_num_threads", lambda count: None)
    latent_picture.main()
    assert tiny == ["narrowed"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row[0] for row in rows] == [f"site_{site}_00" for site in "abc" for _ in range(5)]
    states = {(row[0], row[1]): row[2] for row in rows}
    assert states["site_a_00", "head"] == states["site_b_00", "node"] == states["site_c_00", "organ"] == "annotated"
    assert "annotated" not in (states["site_a_00", "vessel"], states["site_c_00", "head"])
