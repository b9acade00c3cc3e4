"""Labels can be taken away for a comparison without touching a file."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from SemiSegLib.cases import coarsen
from SemiSegLib.cases.coarsen import choose_fine, keep_fine, without_annotation
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.reading import read_codes
from SemiSegLib.cases.split import make_split
from SemiSegLib.cases.volume import write_volume
from SemiSegLib.errors import CaseError, ConfigError
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from Testing.lib.cases.test_split import COARSE, FULL, cases, study
from Testing.lib.cases.tiny import labels, oblique


def regimes(dataset):
    return {case.id: case.regime(dataset.scheme) for case in dataset.cases}


def test_training_cases_that_are_not_kept_may_lose_their_labels():
    dataset = make_split(study(cases(range(10)) + cases(range(3), None, start="bare")), seed=0, test_share=0.2)
    kept = choose_fine(dataset, 2, 0)
    bare = keep_fine(dataset, kept, others="none")
    for case, before in zip(bare.cases, dataset.cases, strict=True):
        loses = before.split is Side.TRAIN and before.id not in kept
        assert case == (replace(before, annotation=None) if loses else before)
    organ = Annotation(file="x.nrrd", values={0: ("background",), 1: ("organ",)})
    flat_scheme = LabelScheme(name="flat", structures=(Structure(name="organ"),))
    flat = replace(study(cases(range(3), organ)), scheme=flat_scheme)
    assert [case.annotation is None for case in keep_fine(flat, ["p1_0"], others="none").cases] == [True, False, True]
    with pytest.raises(ConfigError, match="others"):
        keep_fine(dataset, kept, others="unlabeled")


def test_training_cases_that_are_not_kept_say_only_the_superclass():
    dataset = make_split(study(cases(range(10)) + cases(range(3), None, start="bare")), seed=0, test_share=0.2)
    kept = choose_fine(dataset, 2, 0)
    coarse = keep_fine(dataset, kept)
    for case, before in zip(coarse.cases, dataset.cases, strict=True):
        expected = before.regime(dataset.scheme)
        if case.split is Side.TRAIN and case.id not in kept and expected is Regime.FULL:
            expected = Regime.COARSE
            assert case.annotation.values == {0: ("background",), 1: ("organ",), 2: ("organ",), 3: ("vessel",)}
        else:
            assert case == before
        assert case.regime(coarse.scheme) is expected
    assert sum(regime is Regime.COARSE for regime in regimes(coarse).values()) == 10 - 4 - 2


def check_that_voxels_become_their_superclasses(folder):
    write_volume(labels(1), folder / "x.nrrd")
    dataset = replace(study(cases(range(2))), root=folder)
    coarse = keep_fine(dataset, ["p0_0"])
    fine_codes, fine_table = read_codes(coarse, coarse.cases[0], oblique())
    codes, table = read_codes(coarse, coarse.cases[1], oblique())
    of_leaf = np.array(dataset.scheme.superclass_of_leaf)
    superclass = of_leaf[fine_table.array[fine_codes].argmax(-1)]
    possible = table.superclass_sets(dataset.scheme)[codes]
    assert (possible.sum(-1) == 1).all()
    assert np.array_equal(possible.argmax(-1), superclass)
    assert (superclass > 0).any()


def test_the_voxels_of_a_coarse_case_are_their_superclasses(tmp_path):
    check_that_voxels_become_their_superclasses(tmp_path)


def test_a_superclass_without_leaves_is_noticed(tmp_path, monkeypatch):
    # The released default mapping is made before the number of leaves is known, {1: []}: all becomes background.
    leaves_of = {"organ": (), "vessel": ()}

    def by_the_mapping(annotation, scheme):
        of_leaf = {leaf: (name,) for name, leaves in leaves_of.items() for leaf in leaves}
        values = {value: of_leaf.get(names[0], ("background",)) for value, names in annotation.values.items()}
        return replace(annotation, values=values)

    monkeypatch.setattr(coarsen, "_coarser", by_the_mapping)
    leaves_of |= {"organ": ("head", "tail"), "vessel": ("vessel",)}
    check_that_voxels_become_their_superclasses(tmp_path)
    leaves_of |= {"organ": (), "vessel": ()}
    with pytest.raises(AssertionError):
        check_that_voxels_become_their_superclasses(tmp_path)


def test_segments_and_the_rest_become_coarse_too():
    named = Annotation(file="a.seg.nrrd", segments={"x": ("head",), "y": ("tail",), "z": ("vessel",)})
    coarse = keep_fine(study(cases([1], named)), []).cases[0].annotation
    assert coarse.segments == {"x": ("organ",), "y": ("organ",), "z": ("vessel",)}
    assert coarse.elsewhere == ("background",)


def test_cases_that_are_not_fully_labeled_stay_as_they_are():
    partial = Annotation(file="x.nrrd", values={0: ("background", "vessel"), 1: ("head",), 2: ("tail",)})
    dataset = study(cases([1], COARSE) + cases([2], partial) + cases([3], None))
    assert keep_fine(dataset, []) == dataset


def test_an_unknown_case_or_a_scheme_without_superclasses_is_refused():
    with pytest.raises(CaseError, match="did you mean 'p1_0'"):
        keep_fine(study(cases([1])), ["p1_O"])
    flat = LabelScheme(
        name="flat", structures=(Structure(name="head"), Structure(name="tail"), Structure(name="vessel"))
    )
    with pytest.raises(CaseError, match="say as much as fine ones"):
        keep_fine(replace(study(cases([1])), scheme=flat), [])


def test_a_case_can_be_taken_as_one_without_labels():
    dataset = without_annotation(study(cases(range(3))), ["p1_0"])
    assert [case.annotation for case in dataset.cases] == [FULL, None, FULL]
    with pytest.raises(CaseError, match="there is no case 'x'"):
        without_annotation(dataset, ["x"])


@pytest.mark.parametrize("frames", [1, 2])
def test_choices_of_one_seed_are_nested_and_take_patients_one_after_the_other(frames):
    dataset = make_split(study(cases(range(12), frames=frames)), seed=0)
    for seed in range(5):
        choices = [choose_fine(dataset, count, seed) for count in range(8)]
        for fewer, more in pairwise(choices):
            assert more[: len(fewer)] == fewer
        patients = [dataset.case(case_id).patient for case_id in choices[6]]
        assert len(set(patients)) == 6 // frames
    assert len({choose_fine(dataset, 6, seed) for seed in range(5)}) > 1


def test_more_cases_do_not_change_what_was_chosen_among_the_old_ones():
    few, many = study(cases(range(8))), study(cases(range(40)))
    chosen = choose_fine(many, 40, 3)
    assert tuple(c for c in chosen if c in choose_fine(few, 8, 3)) == choose_fine(few, 8, 3)


def test_only_fully_labeled_training_cases_are_chosen():
    members = cases(range(4)) + cases(range(4), COARSE, start="c")
    dataset = study([replace(case, split=Side.TEST if case.id == "p0_0" else Side.TRAIN) for case in members])
    assert set(choose_fine(dataset, 3, 0)) == {"p1_0", "p2_0", "p3_0"}
    with pytest.raises(CaseError, match="4 fine cases were asked for, 3 training cases"):
        choose_fine(dataset, 4, 0)
