"""Every kind of damage is named, placed and given a remedy, and nothing is written."""

import hashlib
import tracemalloc

import numpy as np
import pytest

from SemiSegLib.cases.checks import check_dataset, require_usable
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from SemiSegLib.errors import CaseError
from Testing.lib.cases.damage import write_damaged_dataset
from Testing.lib.cases.tiny import SHAPE, oblique, put_case, put_dataset

NOT_FATAL = {"unknown_channel", "resampled", "constant", "empty_label", "overlap", "same_image", "missing_segment"}


def snapshot(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "damaged"
    expected = write_damaged_dataset(folder)
    before = snapshot(folder)
    dataset = load_dataset(folder)
    findings = check_dataset(dataset)
    return dataset, expected, findings, before, snapshot(folder)


def test_at_least_fifteen_kinds_of_damage_are_each_found(damaged):
    _, expected, findings, _, _ = damaged
    found = {(f.case, f.code) for f in findings}
    assert len(set(expected.values())) >= 15
    assert set(expected.items()) <= found, set(expected.items()) - found


def test_nothing_is_said_of_sound_cases_or_twice_of_one_damage(damaged):
    _, expected, findings, _, _ = damaged
    allowed = set(expected.items()) | {("misnamed_channel", "missing_channel")}
    by_case = [f for f in findings if f.case]
    surplus = [f for f in by_case if (f.case, f.code) not in allowed]
    # The same files stand behind this and another name, which is a finding of its own.
    assert {(f.case, f.code) for f in surplus} <= {("aux:con", "same_image")}
    assert not [f for f in findings if f.case.startswith("sound")]


def test_a_rounded_direction_is_accepted_and_a_shift_below_a_voxel_is_noted(damaged):
    _, _, findings, _, _ = damaged
    assert not [f for f in findings if f.case == "sound_with_rounded_header"]
    note = next(f for f in findings if f.case == "label_nearby")
    assert note.severity == "note"
    assert "0.224 mm" in note.what  # the length of (0.2, 0, 0.1)


def test_each_finding_says_what_where_and_what_to_do(damaged):
    _, expected, findings, _, _ = damaged
    for finding in findings:
        assert finding.what
        assert finding.where
        assert finding.remedy
        if finding.case in expected:
            assert (finding.severity != "error") == (finding.code in NOT_FATAL), finding


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("with_nan", ["images/with_nan_T1.nii.gz", "i, j, k = 4, 3, 2"]),
        ("unknown_value", ["labels/unknown_value.nii.gz", "i, j, k = 6, 5, 4"]),
        ("label_of_fractions", ["i, j, k = 6, 5, 4", "1.5"]),
        ("label_too_large", ["i, j, k = 6, 5, 4", "70000"]),
        ("mask_of_255", ["255 stands for"]),
        ("misspelled_structure", ["did you mean 'vessel'"]),
        ("misnamed_segment", ["tial", "did you mean 'tail'"]),
        ("lacking_segment", ["the segment 'Caudal' is listed", "counts as background and not as tail"]),
        ("overlapping", ["share 1 voxel ", "i, j, k = 3, 3, 2"]),
        ("label_of_other_size", ["8 x 11 x 6", "9 x 11 x 6"]),
        ("label_of_other_origin", ["2, -1, 0 mm"]),
        ("label_flipped", ["other way along i"]),
        ("label_of_other_spacing", ["1 x 1 x 3 mm", "0.9 x 0.7 x 3 mm"]),
        ("label_turned", ["15 degrees"]),
        ("four_dimensional", ["3 frames"]),
        ("sheared", ["right angles", "resample"]),
        ("cut_image", ["images/cut_image_T1.nii.gz"]),
        ("cut_label", ["labels/cut_label.nii.gz"]),
        ("left_side", ["left_side", "right_side", "one person"]),
        ("copied", ["left_side"]),
    ],
)
def test_a_finding_names_what_a_person_needs_to_find_the_place(damaged, case, words):
    _, expected, findings, _, _ = damaged
    text = " ".join(f"{f.what} {f.where} {f.remedy}" for f in findings if (f.case, f.code) == (case, expected[case]))
    for word in words:
        assert word in text


def test_checking_writes_nothing(damaged):
    _, _, _, before, after = damaged
    assert before == after


def test_a_dataset_with_errors_is_refused_with_the_list_of_them(damaged):
    dataset, _, findings, _, _ = damaged
    with pytest.raises(CaseError, match=r"missing_image.*the file does not exist"):
        require_usable(dataset, findings)
    require_usable(dataset, [f for f in findings if f.severity != "error"])


def test_sound_cases_give_no_finding_and_progress_is_told(tmp_path):
    entries = [put_case(tmp_path, f"case{n}", seed=n) for n in range(3)]
    told = []
    dataset = load_dataset(put_dataset(tmp_path, entries))
    assert check_dataset(dataset, on_progress=lambda done, total: told.append((done, total))) == ()
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_garbage_beside_a_case_without_annotation_is_never_opened(tmp_path):
    entry = put_case(tmp_path, "bare", seed=1, annotated=False)
    (tmp_path / "labels" / "bare.nii.gz").write_bytes(b"garbage")
    entries = [entry, put_case(tmp_path, "drawn", seed=2)]
    assert check_dataset(load_dataset(put_dataset(tmp_path, entries))) == ()


def test_a_study_without_cases_or_without_labels_is_an_error(tmp_path):
    empty = load_dataset(put_dataset(tmp_path / "a", []))
    assert [f.code for f in check_dataset(empty)] == ["no_cases"]
    bare = load_dataset(put_dataset(tmp_path / "b", [put_case(tmp_path / "b", "x", seed=1, annotated=False)]))
    assert [f.code for f in check_dataset(bare)] == ["nothing_annotated"]


def test_a_structure_that_some_or_all_cases_lack_is_told_once(tmp_path):
    entries = [put_case(tmp_path, f"case{n}", seed=n) for n in range(3)]
    for name in ("case0", "case1", "case2"):
        voxels = np.ones(SHAPE, np.uint8)
        voxels[0] = 2 if name == "case2" else 0
        write_volume(Volume(voxels, oblique()), tmp_path / "labels" / f"{name}.nii.gz")
    findings = {f.what: f for f in check_dataset(load_dataset(put_dataset(tmp_path, entries)))}
    assert sorted((f.code, f.severity, f.case) for f in findings.values()) == [
        ("absent_structure", "note", ""),
        ("absent_structure", "note", ""),
        ("never_drawn", "warning", ""),
    ]
    text = " ".join(findings)
    assert "'tail' has 0 voxels in 2 of the 3 cases annotated for it: case0, case1" in text
    assert "'vessel' has no voxel in any of the 3 cases" in text
    assert "'background' has 0 voxels in 1 of the 3 cases" in text


def test_ct_that_is_not_in_hounsfield_units_is_doubted(tmp_path):
    entry = put_case(tmp_path, "scan", seed=1)
    voxels = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    write_volume(Volume(voxels, oblique()), tmp_path / "images" / "scan.nii.gz")
    findings = check_dataset(load_dataset(put_dataset(tmp_path, [entry], modality={"T1": "CT"})))
    assert [f.code for f in findings] == ["not_hounsfield"]


def test_memory_does_not_grow_with_the_number_of_cases(tmp_path):
    geometry = Geometry((20, 40, 40), np.diag([3.0, 1.0, 1.0, 1.0]))
    (tmp_path / "images").mkdir()
    entries = []
    for n in range(24):
        voxels = np.random.default_rng(n).normal(size=geometry.shape).astype(np.float32)
        write_volume(Volume(voxels, geometry), tmp_path / "images" / f"{n}.nrrd")
        entries.append({"id": str(n), "patient": str(n), "images": {"T1": f"images/{n}.nrrd"}})

    dataset = load_dataset(put_dataset(tmp_path, entries))
    tracemalloc.start()
    check_dataset(dataset)
    _, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    one_image = 4 * 20 * 40 * 40
    assert highest < 6 * one_image
