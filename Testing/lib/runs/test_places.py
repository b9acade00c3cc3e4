"""Files of a study that was moved as a whole are found again, and places where nobody can look are no error."""

import shutil
from dataclasses import replace
from pathlib import Path, PureWindowsPath

import pytest

from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.places import is_there, where_is
from SemiSegLib.runs.request import RunRequest

REQUEST = RunRequest(dataset="data", method="marginal")


def a_study(folder):
    """Write a study as the panel does: the data set of an export, prepared cases, an earlier run with a model."""
    (folder / "runs" / "prepared").mkdir(parents=True)
    (folder / "cache").mkdir()
    (folder / "dataset_1234.json").write_text("{}")
    (folder / "dataset.json").write_text("{}")
    earlier = RunFolder.create(folder / "runs", REQUEST, name="earlier")
    earlier.model_path.write_bytes(b"model")
    return earlier


def test_a_moved_study_has_its_data_set_prepared_cases_and_earlier_model_beside_its_runs(tmp_path):
    old, new = tmp_path / "old" / "study", tmp_path / "new" / "José 中"
    earlier = a_study(old)
    request = replace(
        REQUEST,
        dataset=str(old / "dataset_1234.json"),
        prepared_folder=str(old / "cache"),
        warm_start=str(earlier.model_path),
        after=str(earlier.path),
    )
    run = RunFolder.create(old / "runs", request, name="run")
    assert (run.dataset, run.prepared) == (old / "dataset_1234.json", old / "cache")
    new.parent.mkdir()
    shutil.move(old, new)
    run = RunFolder(new / "runs" / "run")
    assert run.dataset == new / "dataset_1234.json"
    assert run.prepared == new / "cache"
    assert run.warm_start == new / "runs" / "earlier" / "model.safetensors"
    assert run.after == new / "runs" / "earlier"


def test_a_data_set_that_is_the_folder_of_the_runs_moves_with_them(tmp_path):
    a_study(tmp_path / "old" / "study")
    run = RunFolder.create(tmp_path / "old" / "study" / "runs", replace(REQUEST, dataset=str(tmp_path / "old/study")))
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert RunFolder(tmp_path / "new" / "study" / "runs" / run.path.name).dataset == tmp_path / "new" / "study"


def test_a_path_of_another_system_is_found_by_its_end(tmp_path):
    a_study(tmp_path)
    asked = str(PureWindowsPath("D:/studies/heart/dataset_1234.json"))
    assert where_is(asked, tmp_path / "runs" / "run") == tmp_path / "dataset_1234.json"


def test_what_is_nowhere_keeps_its_name_for_the_message(tmp_path):
    assert where_is("/nowhere/data", tmp_path / "runs" / "run") == Path("/nowhere/data")


def test_where_nobody_can_look_nothing_is_there(tmp_path, monkeypatch):
    assert not is_there(tmp_path / ("x" * 300))

    def stale(path, **_):
        raise OSError(116, "Stale file handle")

    run = RunFolder.create(tmp_path, REQUEST)
    monkeypatch.setattr(Path, "stat", stale)
    assert not is_there(tmp_path)
    assert not run.stop_requested()
    with pytest.raises(OSError, match="Stale"):
        run.request_path.stat()
