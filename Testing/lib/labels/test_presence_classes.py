"""Which classes of a presence network tell of which structure: what is given, what names say, what the organ has."""

import pytest

from SemiSegLib.errors import ConfigError, LabelError
from SemiSegLib.labels.presence_classes import classes_of_rois
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.labels.schemes import ready_scheme

TOTAL = (
    "liver",
    "kidney_left",
    "kidney_right",
    "pancreas",
    "spleen",
    "colon",
    "lung_upper_lobe_left",
    "lung_lower_lobe_right",
)


def scheme(*pairs):
    return LabelScheme(name="test", structures=tuple(Structure(name=n, parent=p) for n, p in pairs))


ORGANS = scheme(("liver", None), ("segment", "liver"), ("liver tumor", "liver"), ("spleen", None))


def test_a_structure_takes_its_own_class_and_a_lesion_that_of_its_organ():
    found = classes_of_rois(ORGANS, ("spleen", "LIVER", "segment", "liver tumor"))
    assert found == {
        "liver": ("LIVER",),
        "segment": ("segment",),
        "liver tumor": ("LIVER",),
        "spleen": ("spleen",),
    }
    assert list(found) == ["liver", "segment", "liver tumor", "spleen"]


def test_a_structure_without_a_class_takes_that_of_the_nearest_structure_around_it():
    deep = scheme(("body", None), ("liver", "body"), ("left", "liver"), ("right", "liver"), ("rest", "body"))
    found = classes_of_rois(deep, ("body", "liver", "right"))
    assert found["left"] == ("liver",)
    assert found["right"] == ("right",)
    assert found["rest"] == ("body",)


def test_a_group_without_a_class_takes_those_of_its_parts_if_all_have_one():
    deep = scheme(("heart", None), ("RV", "heart"), ("LV", "heart"), ("spleen", None))
    assert classes_of_rois(deep, ("LV", "RV", "spleen"))["heart"] == ("RV", "LV")
    with pytest.raises(LabelError, match="holds: heart, RV"):
        classes_of_rois(deep, ("LV", "spleen"))


def test_a_lesion_whose_organ_has_no_class_takes_its_own():
    bare = scheme(("liver", None), ("segment", "liver"), ("liver tumor", "liver"))
    found = classes_of_rois(bare, ("segment", "liver tumor"))
    assert found == {"liver": ("segment", "liver tumor"), "segment": ("segment",), "liver tumor": ("liver tumor",)}


def test_several_classes_may_tell_of_one_structure():
    found = classes_of_rois(ready_scheme("abdomen"), TOTAL)
    assert found["kidney"] == found["kidney tumor"] == ("kidney_left", "kidney_right")
    assert found["hepatic vessel"] == found["hepatic vessel tumor"] == found["liver parenchyma"] == ("liver",)
    assert found["lung tumor"] == ("lung_upper_lobe_left", "lung_lower_lobe_right")
    assert found["colon tumor"] == ("colon",)


def test_what_a_person_gives_comes_first_also_for_a_lesion():
    given = {"Liver-Tumor": ("spleen",), "segment": ("kidney-left", "kidney_right")}
    found = classes_of_rois(ORGANS, TOTAL, given=given)
    assert found["liver tumor"] == ("spleen",)
    assert found["segment"] == ("kidney_left", "kidney_right")
    assert found["liver"] == ("liver",)


def test_an_alias_is_a_name():
    study = LabelScheme(name="test", structures=(Structure(name="Milz", aliases=("Spleen",)),))
    assert classes_of_rois(study, TOTAL) == {"Milz": ("spleen",)}


def test_structures_that_no_class_tells_of_are_named_with_a_remedy():
    with pytest.raises(LabelError, match=r"holds: spleen(.|\n)*kidney_left(.|\n)*name its classes(.|\n)*\"spleen\""):
        classes_of_rois(ORGANS, ("liver", "kidney_left"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"livr": ("liver",)}, "'livr' is not a structure of the study(.|\n)*did you mean 'liver'"),
        ({"liver": ("livr",)}, "'livr' is not a class of the presence network(.|\n)*did you mean 'liver'"),
    ],
)
def test_given_names_must_exist(given, words):
    with pytest.raises(ConfigError, match=words):
        classes_of_rois(ORGANS, TOTAL, given=given)
