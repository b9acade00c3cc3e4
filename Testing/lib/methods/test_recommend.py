"""The recommended method fits what the labels say, and the reason says so in plain words."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.recommend import FEW_CASES, MOST_PER_OTHER, RULES, recommend
from Testing.lib.methods import tiny

FULL = {0: ("background",), 1: ("head",), 2: ("tail",), 3: ("vessel",)}
COARSE = {0: ("background",), 1: ("organ",), 3: ("vessel",)}
PARTIAL = {0: ("background", "organ"), 3: ("vessel",)}
ONE = LabelScheme(name="one", structures=(Structure(name="atrium"),))
DRAWN = {0: ("background",), 1: ("atrium",)}
JARGON = ("loss", "softmax", "regime", "annotation", "label set", "leaf", "leaves", "superclass", "pseudo-label")


def study(*meanings, split=None, scheme=tiny.SCHEME, dimensions=None):
    cases = tuple(
        Case(
            id=f"case_{i}",
            patient=f"patient_{i}",
            images={"t1": f"image_{i}.nii.gz"},
            annotation=Annotation(file=f"label_{i}.nii.gz", values=values) if values else None,
            split=split,
        )
        for i, values in enumerate(meanings)
    )
    return Dataset(
        name="tiny",
        scheme=scheme,
        channels=("t1",),
        cases=cases,
        root=Path(),
        modality={"t1": "MR"},
        dimensions=dimensions,
    )


def test_full_labels_alone_call_for_supervised_training():
    for count in (1, 2, 30):
        found = recommend(study(*[FULL] * count))
        assert found.method == "supervised"
        assert "not used" not in found.reason
    assert found.reason.startswith("30 cases have every structure drawn. ")


def test_full_and_coarse_labels_call_for_a_method_that_knows_fine_inside_coarse():
    found = recommend(study(FULL, COARSE, COARSE))
    assert found.method == "efficient_subclass"
    assert found.alternatives == ("modified_unet", "marginal")
    assert found.reason.startswith("1 case has every structure drawn and 2 only the coarse ones. ")


def test_every_kind_of_case_is_counted_in_the_reason():
    found = recommend(study(FULL, FULL, FULL, *[COARSE] * 16, *[PARTIAL] * 4, None, None))
    assert found.method == "efficient_subclass"
    assert found.reason.startswith(
        "3 cases have every structure drawn, 16 only the coarse ones, 4 only some and 2 none. "
    )
    assert found.reason.endswith("; the 2 cases without labels are not used.")


def test_a_mixture_without_a_complete_case_is_told_what_to_draw():
    found = recommend(study(COARSE, COARSE, PARTIAL, None))
    assert found.method == "marginal"
    assert found.reason.startswith("2 cases have only the coarse structures drawn, 1 only some and 1 none. ")
    assert "; the case without labels is not used." in found.reason
    assert found.reason.endswith(
        "No case shows head or tail by itself: draw them in a few cases, or the model cannot learn them."
    )


def test_partial_cases_that_show_everything_together_are_asked_for_complete_ones():
    head = {0: ("background", "tail", "vessel"), 1: ("head",)}
    tail = {0: ("background", "head", "vessel"), 1: ("tail",)}
    found = recommend(study(head, tail, PARTIAL))
    assert found.method == "marginal"
    assert "by itself" not in found.reason
    assert found.reason.endswith("methods that need complete cases can be trained too.")


def test_background_is_never_to_be_drawn():
    assert "background" not in recommend(study(PARTIAL)).reason


def test_a_structure_that_not_even_complete_cases_show_is_named():
    without_tail = {0: ("background",), 1: ("head",), 3: ("vessel",)}
    assert "No case shows tail by itself: draw it in a few cases" in recommend(study(without_tail)).reason
    assert "by itself" not in recommend(study(FULL, COARSE)).reason


def test_a_long_list_of_structures_to_draw_is_cut_short():
    many = LabelScheme(name="many", structures=tuple(Structure(name=f"part {i}") for i in range(9)))
    reason = recommend(study({0: ("background", "part 1"), 1: ("part 0",)}, scheme=many)).reason
    assert "No case shows part 1, part 2, part 3 or 5 other structures by itself" in reason


def test_nothing_is_said_to_be_missing_where_segments_are_found_by_their_names():
    case = study(FULL).cases[0]
    by_name = replace(case, annotation=Annotation(file="label.seg.nrrd"))
    assert "by itself" not in recommend(study().with_cases((by_name,))).reason


def test_full_and_partial_labels_call_for_marginal_training():
    found = recommend(study(FULL, PARTIAL, None))
    assert found.method == "marginal"
    assert "1 only some and 1 none" in found.reason
    assert "the case without labels is not used" in found.reason


def test_few_partial_cases_beside_many_without_labels_do_not_decide():
    found = recommend(study(FULL, FULL, PARTIAL, *[None] * 9))
    assert found.method == "mean_teacher"
    assert {"full", "partial", "none"} <= set(card_of(found.method).uses)


def test_few_complete_cases_and_unlabeled_ones_call_for_the_method_that_trusts_a_model_least():
    for count in range(1, FEW_CASES):
        for dataset in (study(*[FULL] * count, *[None] * 8), study(*[DRAWN] * count, *[None] * 8, scheme=ONE)):
            assert recommend(dataset).method == "mean_teacher"


def test_one_structure_in_volumes_calls_for_distances_to_its_surface():
    cases = [DRAWN] * 16 + [None] * 64
    found = recommend(study(*cases, scheme=ONE))
    assert found.method == "dual_task_mutual_learning"
    assert found.reason.startswith("16 cases have every structure drawn and 64 none. ")
    assert recommend(study(*cases, scheme=ONE, dimensions=3)) == found
    assert recommend(study(*cases, scheme=ONE, dimensions=2)).method == "cross_pseudo_supervision"


def test_several_structures_and_unlabeled_cases_call_for_two_networks_that_teach_each_other():
    for dimensions in (None, 2, 3):
        found = recommend(study(*[FULL] * FEW_CASES, *[None] * 8, dimensions=dimensions))
        assert found.method == "cross_pseudo_supervision"


@pytest.mark.parametrize("other", [None, PARTIAL, COARSE], ids=["none", "partial", "coarse"])
def test_a_few_other_cases_beside_many_complete_ones_change_nothing(other):
    most = recommend(study(*[FULL] * (MOST_PER_OTHER + 1), other))
    assert most.method == "supervised"
    assert "is not used." in most.reason
    assert recommend(study(*[FULL] * MOST_PER_OTHER, other)).method != "supervised"


def test_a_study_without_labels_is_told_what_to_draw():
    for cases in ((), (None, None)):
        found = recommend(study(*cases))
        assert "Draw every structure in at least one case" in found.reason
        assert found.method == "supervised"


def test_cases_set_aside_do_not_count():
    for side in (Side.TEST, Side.VALIDATION):
        assert "No case is labeled yet" in recommend(study(FULL, COARSE, split=side)).reason
    mixed = study(FULL, COARSE, None)
    aside = tuple(replace(case, split=Side.TEST) for case in mixed.cases[1:])
    assert recommend(mixed.with_cases((mixed.cases[0], *aside))) == recommend(study(FULL))


@pytest.mark.parametrize("scheme", [tiny.SCHEME, ONE], ids=["several", "one"])
@pytest.mark.parametrize("counts", list(product((0, 1, 5), repeat=4)), ids=str)
def test_what_is_recommended_can_be_trained_and_the_reason_is_plain(counts, scheme):
    meanings = (
        (FULL, COARSE, PARTIAL, None) if scheme is tiny.SCHEME else (DRAWN, DRAWN, {1: ("atrium",), 0: ("*",)}, None)
    )
    dataset = study(*(m for m, count in zip(meanings, counts, strict=True) for _ in range(count)), scheme=scheme)
    present = {regime.value for regime, cases in dataset.by_regime().items() if cases}
    found = recommend(dataset)
    assert found.method not in found.alternatives
    assert len(set(found.alternatives)) == len(found.alternatives)
    if present - {"none"}:
        for name in (found.method, *found.alternatives):
            assert present & set(card_of(name).needs), name
    assert 1 <= len(re.findall(r"\.(?: |$)", found.reason)) <= 3
    assert found.reason.endswith(".")
    assert not [word for word in JARGON if word in found.reason]
    if "not used" not in found.reason and present - {"none"}:
        assert present <= set(card_of(found.method).uses)


def test_every_rule_can_be_reached_and_names_methods_that_exist():
    names = {card.name for card in CARDS}
    assert all({rule.method, *rule.alternatives} <= names for rule in RULES)
    dozen = [FULL] * 12
    studies = [
        study(COARSE),
        study(FULL),
        study(FULL, COARSE),
        study(FULL, PARTIAL),
        study(FULL, None),
        study(*[DRAWN] * 12, *[None] * 12, scheme=ONE),
        study(*dozen, *[None] * 12),
    ]
    assert [recommend(dataset).method for dataset in studies] == [rule.method for rule in RULES]
