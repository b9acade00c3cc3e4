"""The recommended method fits what the labels say, and the reason says so in plain words."""

from pathlib import Path

import pytest

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.recommend import recommend
from Testing.lib.methods import tiny

FULL = {0: ("background",), 1: ("head",), 2: ("tail",), 3: ("vessel",)}
COARSE = {0: ("background",), 1: ("organ",), 3: ("vessel",)}
PARTIAL = {0: ("background", "organ"), 3: ("vessel",)}


def study(*meanings, split=None):
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
    return Dataset(name="tiny", scheme=tiny.SCHEME, channels=("t1",), cases=cases, root=Path(), modality={"t1": "MR"})


def test_full_labels_alone_call_for_supervised_training():
    found = recommend(study(FULL, FULL))
    assert found.method == "supervised"
    assert found.reason.startswith("2 cases have all structures drawn.")


def test_full_and_coarse_labels_call_for_a_method_that_uses_both():
    found = recommend(study(FULL, COARSE, COARSE, None))
    assert found.method == "marginal"
    assert found.alternatives == ("modified_unet", "supervised")
    assert "1 case has all structures drawn, 2 cases have only the coarse structures drawn." in found.reason
    assert found.reason.endswith("1 case has no label and is not used by it.")


def test_partial_labels_are_named_beside_coarse_ones():
    reason = recommend(study(FULL, COARSE, PARTIAL)).reason
    assert "1 case has only the coarse structures drawn and 1 case has only some structures drawn" in reason


def test_a_structure_nobody_drew_by_itself_is_named():
    found = recommend(study(COARSE, PARTIAL))
    assert found.method == "marginal"
    assert found.alternatives == ()
    assert "No case shows head or tail by itself" in found.reason
    assert "by itself" not in recommend(study(FULL, COARSE)).reason


def test_a_study_without_labels_is_told_what_to_draw():
    for cases in ((), (None, None)):
        found = recommend(study(*cases))
        assert "Draw every structure in at least one case" in found.reason
        assert found.method == "supervised"


def test_cases_set_aside_for_the_test_do_not_count():
    dataset = study(FULL, COARSE, split=Side.TEST)
    assert "No case is labeled yet" in recommend(dataset).reason


@pytest.mark.parametrize(
    "meanings", [(FULL,), (FULL, COARSE), (FULL, PARTIAL), (COARSE,), (PARTIAL, None), (FULL, None)]
)
def test_what_is_recommended_can_be_trained_with_these_labels(meanings):
    dataset = study(*meanings)
    present = {regime.value for regime, cases in dataset.by_regime().items() if cases}
    found = recommend(dataset)
    for name in (found.method, *found.alternatives):
        assert name in [card.name for card in CARDS]
        assert present & set(card_of(name).needs)
    assert found.method not in found.alternatives
