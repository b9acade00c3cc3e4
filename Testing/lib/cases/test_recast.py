"""A fully labeled study becomes one of partly labeled cases, and naive, without touching a file."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.reading import read_codes
from SemiSegLib.cases.recast import (
    Assignment,
    assign_structures,
    read_assignment,
    recast,
    undrawn_as_background,
    write_assignment,
)
from SemiSegLib.cases.split import make_split
from SemiSegLib.cases.volume import write_volume
from SemiSegLib.errors import CaseError, ConfigError, LabelError
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.label_set import Regime
from Testing.lib.cases.test_split import COARSE, cases, study
from Testing.lib.cases.tiny import labels, oblique

STRUCTURES = ("head", "tail", "vessel")


def meanings(dataset, case_id):
    sets = dataset.case(case_id).annotation.value_sets(dataset.scheme)
    return {value: {dataset.scheme.leaf_names[leaf] for leaf in found} for value, found in sets.items()}


def test_each_patient_keeps_one_structure_and_each_structure_as_many_patients():
    dataset = study(cases(range(11), frames=2))
    found = assign_structures(dataset, STRUCTURES)
    assert set(found.patients) == {f"p{n}" for n in range(11)}
    assert sorted(Counter(found.patients.values()).values()) == [3, 4, 4]
    assert assign_structures(dataset, STRUCTURES) == found
    assert assign_structures(dataset.with_cases(dataset.cases[::-1]), STRUCTURES) == found
    assert assign_structures(dataset, STRUCTURES, seed=1).patients != found.patients


def test_both_scans_of_a_patient_show_the_same_structure_and_say_nothing_of_the_others():
    dataset = study(cases(range(3), frames=2))
    shown = recast(dataset, {"p0": "head", "p1": "organ", "p2": "vessel"})
    for case_id in ("p0_0", "p0_1"):
        others = {"background", "tail", "vessel"}
        assert meanings(shown, case_id) == {0: others, 1: {"head"}, 2: others, 3: others}
    rest, organ = {"background", "vessel"}, {"head", "tail"}
    assert meanings(shown, "p1_0") == {0: rest, 1: organ, 2: organ, 3: rest}
    assert {case.regime(shown.scheme) for case in shown.cases} == {Regime.PARTIAL}
    assert [case.annotation.file for case in shown.cases] == [case.annotation.file for case in dataset.cases]


def test_only_full_training_cases_of_named_patients_change():
    full = make_split(study(cases(range(8)) + cases(range(2), COARSE, start="c")), seed=0, test_share=0.2)
    found = assign_structures(full, STRUCTURES)
    trained = {case.patient for case in full.side(Side.TRAIN) if case.patient.startswith("p")}
    assert set(found.patients) == trained
    shown = recast(full, found.patients)
    for case, before in zip(shown.cases, full.cases, strict=True):
        assert (case != before) is (case.patient in trained)
    one = recast(full, {min(trained): "head"})
    assert sum(case != before for case, before in zip(one.cases, full.cases, strict=True)) == 1


def test_the_voxels_that_were_not_drawn_may_be_background_or_any_other_structure(tmp_path):
    write_volume(labels(1), tmp_path / "x.nrrd")
    dataset = replace(study(cases(range(1))), root=tmp_path)
    shown = recast(dataset, {"p0": "tail"})
    truth_codes, truth_table = read_codes(dataset, dataset.cases[0], oblique())
    truth = truth_table.array[truth_codes].argmax(-1)
    codes, table = read_codes(shown, shown.cases[0], oblique())
    possible = table.array[codes]
    tail = dataset.scheme.leaf_names.index("tail")
    assert np.array_equal(possible[truth == tail].sum(0) > 0, np.arange(4) == tail)
    assert (possible[truth != tail] == (np.arange(4) != tail)).all()
    assert np.take_along_axis(possible, truth[..., None], -1).all()


def test_segments_and_the_rest_become_partial_too():
    named = Annotation(file="a.seg.nrrd", segments={"x": ("head",), "y": ("tail",), "z": ("vessel",)})
    shown = recast(study(cases(range(1), named)), {"p0": "vessel"}).cases[0].annotation
    others = shown.elsewhere
    assert set(others) == {"background", "organ"}
    assert shown.segments == {"x": others, "y": others, "z": ("vessel",)}
    unlisted = Annotation(file="a.seg.nrrd")
    with pytest.raises(CaseError, match="p0_0"):
        recast(study(cases(range(1), unlisted)), {"p0": "vessel"})


def test_the_naive_reading_takes_what_was_not_drawn_for_background():
    dataset = study(cases(range(3)) + cases(range(1), COARSE, start="c") + cases(range(1), None, start="bare"))
    dataset = dataset.with_cases(tuple(replace(c, split=Side.TRAIN) for c in dataset.cases))
    shown = recast(dataset, {"p0": "head", "p1": "organ"})
    naive = undrawn_as_background(shown)
    assert meanings(naive, "p0_0") == {0: {"background"}, 1: {"head"}, 2: {"background"}, 3: {"background"}}
    organ = {"head", "tail"}
    assert meanings(naive, "p1_0") == {0: {"background"}, 1: organ, 2: organ, 3: {"background"}}
    for name in ("p2_0", "c0_0", "bare0_0"):
        assert naive.case(name) == shown.case(name)
    tested = shown.with_cases(tuple(replace(c, split=Side.TEST) for c in shown.cases))
    assert undrawn_as_background(tested) == tested


def test_what_may_be_anything_stays_so_in_the_naive_reading():
    scribble = Annotation(file="x.nrrd", values={0: ("*",), 1: ("head",), 2: ("background", "vessel")})
    naive = undrawn_as_background(study(cases(range(1), scribble)))
    assert meanings(naive, "p0_0") == {0: {"background", "head", "tail", "vessel"}, 1: {"head"}, 2: {"background"}}


def test_the_assignment_is_a_file_that_can_be_used_again(tmp_path):
    found = assign_structures(study(cases(range(7))), STRUCTURES, seed=3)
    write_assignment(found, tmp_path / "drawn.json")
    assert read_assignment(tmp_path / "drawn.json") == found
    assert list(read_assignment(tmp_path / "drawn.json").patients) == sorted(found.patients)
    (tmp_path / "newer.json").write_text('{"format": 2, "patients": {}}')
    with pytest.raises(CaseError, match="update"):
        read_assignment(tmp_path / "newer.json")
    (tmp_path / "other.json").write_text('{"patient": {}}')
    with pytest.raises(ConfigError, match="patients"):
        read_assignment(tmp_path / "other.json")


@pytest.mark.parametrize("names", [(), ("head", "caput"), ("background", "head"), ("head", "tail", "vessel")])
def test_structures_that_cannot_be_shared_out_are_refused(names):
    with pytest.raises(CaseError, match="structures"):
        assign_structures(study(cases(range(2))), names)


def test_unknown_structures_and_patients_are_refused():
    dataset = study(cases(range(2)))
    with pytest.raises(LabelError, match="heda"):
        assign_structures(dataset, ("heda",))
    with pytest.raises(LabelError, match="heda"):
        recast(dataset, {"p0": "heda"})
    with pytest.raises(CaseError, match="p9"):
        recast(dataset, {"p9": "head"})
    assert Assignment(patients={}).format == 1
