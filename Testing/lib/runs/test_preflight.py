"""What is needed against what there is, judged as an error, a warning or nothing; without torch."""

from pathlib import Path

from SemiSegLib.runs.preflight import (
    Needs,
    Preflight,
    Requirement,
    disk_requirement,
    free_disk_gib,
    in_order,
    memory_requirement,
    missing_packages,
    packages_requirement,
    time_requirement,
)


def needs(**changes):
    usual = {
        "cases": 4,
        "device": "cpu",
        "patch": (8, 8, 8),
        "batch": 2,
        "weights": 10,
        "memory_gib": 1.0,
        "memory_free_gib": 4.0,
        "prepared_gib": 1.0,
        "checkpoints_gib": 0.5,
        "model_gib": 0.25,
        "disk_free_gib": 9.0,
    }
    return Needs(**{**usual, **changes})


def test_a_disk_is_enough_nearly_full_or_too_small():
    folder = Path("a") / "runs"
    assert disk_requirement(7.9, 10.0, folder) is None
    assert disk_requirement(8.1, 10.0, folder).severity == "warning"
    full = disk_requirement(10.1, 10.0, folder)
    assert (full.severity, full.code) == ("error", "disk")
    assert "'runs'" in full.where
    assert needs().disk_gib == 1.75


def test_too_little_main_memory_is_an_error_and_too_little_on_a_gpu_a_warning():
    assert memory_requirement(3.9, 4.0, "cpu") is None
    assert memory_requirement(4.1, 4.0, "cpu").severity == "error"
    assert memory_requirement(4.1, 4.0, "cuda:0").severity == "warning"


def test_a_package_that_carries_no_metadata_is_there(tmp_path, monkeypatch):
    (tmp_path / "built_by_slicer").mkdir()
    (tmp_path / "built_by_slicer/__init__.py").write_text("raise ImportError('not to be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing_packages(["built_by_slicer"]) == ()


def test_missing_packages_are_named_and_none_is_imported():
    assert missing_packages(["numpy", "no-such-package-at-all"]) == ("no-such-package-at-all",)
    assert packages_requirement(()) is None
    found = packages_requirement(("monai", "edt"))
    assert found.severity == "error"
    assert found.what == "monai, edt are not installed"


def test_days_of_training_are_told_before():
    assert time_requirement(needs(step_seconds=1.0), 10_000) is None
    assert time_requirement(needs(step_seconds=None), 10**9) is None
    assert time_requirement(needs(step_seconds=20.0), None) is None
    assert time_requirement(needs(step_seconds=20.0), 10_000).what == "10000 steps will take about 56 hours"


def test_the_worst_comes_first_and_errors_alone_forbid_the_start():
    parts = [Requirement(code=s, severity=s, what="", where="") for s in ("note", "error", "warning")]
    assert [part.code for part in in_order(parts)] == ["error", "warning", "note"]
    assert not Preflight(requirements=tuple(parts)).can_start
    assert Preflight(requirements=(parts[0], parts[2])).can_start


def test_the_disk_of_a_folder_that_is_not_there_yet_is_that_of_its_parent(tmp_path):
    assert free_disk_gib(tmp_path / "a" / "b") > 0
