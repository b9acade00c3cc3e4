"""The split is by patient, keeps every decision it ever made, and works for few patients."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.split import apply_split, make_split, write_split
from SemiSegLib.errors import CaseError, ConfigError
from SemiSegLib.labels.annotation import Annotation
from Testing.lib.cases.tiny import scheme

FULL = Annotation(file="x.nrrd", values={0: ("background",), 1: ("head",), 2: ("tail",), 3: ("vessel",)})
COARSE = Annotation(file="x.nrrd", values={0: ("background",), 1: ("organ",), 3: ("vessel",)})


def cases(numbers, annotation=FULL, frames=1, start="p"):
    return tuple(
        Case(id=f"{start}{n}_{f}", patient=f"{start}{n}", images={"T1": f"{n}_{f}.nrrd"}, annotation=annotation)
        for n in numbers
        for f in range(frames)
    )


def study(members):
    return Dataset(
        name="study", scheme=scheme(), channels=("T1",), cases=tuple(members), root=Path("study"), modality={"T1": "MR"}
    )


def count(dataset):
    return tuple(len({case.patient for case in dataset.side(side)}) for side in Side)


def sides(dataset):
    return {case.id: case.split for case in dataset.cases}


@pytest.mark.parametrize(
    ("patients", "expected"),
    [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (2, 1, 0)), (4, (3, 1, 0)), (5, (4, 1, 0)), (7, (6, 1, 0))],
)
def test_few_patients_keep_one_for_training_before_one_for_validation(patients, expected):
    for seed in range(5):
        assert count(make_split(study(cases(range(patients))), seed=seed)) == expected


@pytest.mark.parametrize(
    ("patients", "expected"), [(1, (1, 0, 0)), (2, (1, 1, 0)), (3, (1, 1, 1)), (10, (5, 2, 3)), (200, (100, 40, 60))]
)
def test_shares_are_of_the_labeled_patients(patients, expected):
    dataset = study(cases(range(patients)) + cases(range(50), None, start="bare"))
    split = make_split(dataset, seed=0, validation_share=0.2, test_share=0.3)
    labeled = study([case for case in split.cases if case.annotation])
    assert count(labeled) == expected
    assert all(case.split is Side.TRAIN for case in split.cases if case.annotation is None)


def test_a_share_of_nothing_gives_no_validation():
    assert count(make_split(study(cases(range(9))), seed=0, validation_share=0.0)) == (9, 0, 0)
    with pytest.raises(ConfigError, match="validation_share"):
        make_split(study(cases(range(9))), seed=0, validation_share=1.5)


def test_the_seed_decides_and_the_order_of_cases_does_not():
    members = cases(range(30))
    splits = [sides(make_split(study(members), seed=seed)) for seed in range(6)]
    assert len({tuple(split.values()) for split in splits}) > 1
    assert sides(make_split(study(members[::-1]), seed=3)) == splits[3]


def test_all_cases_of_a_patient_stand_on_one_side():
    split = make_split(study(cases(range(20), frames=3)), seed=0, test_share=0.2)
    for patient in {case.patient for case in split.cases}:
        assert len({case.split for case in split.cases if case.patient == patient}) == 1
    assert count(split) == (12, 4, 4)


def test_fully_labeled_patients_are_validated_on_if_there_are_any():
    split = make_split(study(cases(range(6)) + cases(range(100), COARSE, start="c")), seed=0, validation_share=0.34)
    assert all(case.id.startswith("p") for case in split.side(Side.VALIDATION))
    assert len(split.side(Side.VALIDATION)) == 2
    only_coarse = make_split(study(cases(range(10), COARSE)), seed=0)
    assert len(only_coarse.side(Side.VALIDATION)) == 2


def test_adding_ten_cases_ten_times_never_moves_a_case(tmp_path):
    members = list(cases(range(5), frames=2))
    known = {}
    for more in range(10):
        dataset = study(members)
        if known:
            dataset = apply_split(dataset, tmp_path / "split.json")
        dataset = make_split(dataset, seed=1, test_share=0.1)
        write_split(dataset, tmp_path / "split.json")
        assert all(sides(dataset)[case_id] is side for case_id, side in known.items())
        assert all(case.split is not None for case in dataset.cases)
        known = sides(dataset)
        members += cases(range(100 * more, 100 * more + 5), FULL if more % 2 else COARSE, frames=2, start=f"n{more}_")
        members.reverse()
    train, validation, test = count(dataset)
    full = {case.patient for case in dataset.cases if case.annotation == FULL}
    assert validation == round(0.2 * len(full))
    assert test == max(1, round(0.1 * len(full)))
    assert train == 50 - validation - test


def test_a_patients_new_case_joins_the_old_ones():
    split = make_split(study(cases(range(10))), seed=0)
    grown = study((*split.cases, *cases(range(10), None, frames=2)[1::2]))
    again = make_split(grown, seed=99)
    for case in again.cases:
        assert case.split is next(c.split for c in split.cases if c.patient == case.patient)


def test_sides_that_the_dataset_states_are_kept():
    members = [replace(case, split=Side.TEST if n < 3 else None) for n, case in enumerate(cases(range(10)))]
    split = make_split(study(members), seed=0)
    assert all(case.split is Side.TEST for case in split.cases[:3])
    assert count(split) == (5, 2, 3)
    done = make_split(study([replace(case, split=Side.TRAIN) for case in cases(range(10))]), seed=0)
    assert count(done) == (10, 0, 0)


def test_a_patient_on_two_sides_is_refused_by_name():
    first, second = cases([1], frames=2)
    dataset = study([replace(first, split=Side.TRAIN), replace(second, split=Side.VALIDATION)])
    with pytest.raises(CaseError, match=r"patient 'p1' is on two sides: 'p1_0' is for train, 'p1_1' for validation"):
        make_split(dataset, seed=0)


def test_a_stored_split_is_by_patient_and_comes_back(tmp_path):
    dataset = make_split(study(cases(range(9), frames=2)), seed=4)
    write_split(dataset, tmp_path / "split.json")
    assert set(json.loads((tmp_path / "split.json").read_text())["patients"]) == {f"p{n}" for n in range(9)}
    assert apply_split(study(cases(range(9), frames=2)), tmp_path / "split.json") == dataset
    unknown = apply_split(study(cases([1, 77])), tmp_path / "split.json")
    assert [case.split is None for case in unknown.cases] == [False, True]


def test_a_dataset_that_disagrees_with_a_stored_split_is_refused(tmp_path):
    dataset = study([replace(case, split=Side.TRAIN) for case in cases(range(3))])
    write_split(dataset, tmp_path / "split.json")
    other = study([replace(case, split=Side.VALIDATION) for case in cases([2])])
    with pytest.raises(CaseError, match="'p2' is on the side 'validation' in the dataset and on 'train'"):
        apply_split(other, tmp_path / "split.json")
    (tmp_path / "split.json").write_text('{"patients": {"p1": "trian"}}')
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        apply_split(dataset, tmp_path / "split.json")
