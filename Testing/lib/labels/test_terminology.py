"""Slicer's terminology entries: read and written as vtkSlicerTerminologiesModuleLogic does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.scheme import Code, Terminology
from SemiSegLib.labels.terminology import from_slicer_string, to_slicer_string

# As Slicer writes it into the header of a .seg.nrrd file.
KIDNEY_MASS = (
    "Segmentation category and type - DICOM master list"
    "~SCT^49755003^Morphologically Altered Structure~SCT^4147007^Mass~^^"
    "~Anatomic codes - DICOM master list~SCT^64033007^Kidney~SCT^24028007^Right"
)


def test_an_entry_of_slicer_is_read_part_by_part():
    read = from_slicer_string(KIDNEY_MASS)
    assert read.category == Code(scheme="SCT", value="49755003", meaning="Morphologically Altered Structure")
    assert read.type == Code(scheme="SCT", value="4147007", meaning="Mass")
    assert read.type_modifier is None
    assert read.region == Code(scheme="SCT", value="64033007", meaning="Kidney")
    assert read.region_modifier == Code(scheme="SCT", value="24028007", meaning="Right")
    assert to_slicer_string(read) == KIDNEY_MASS


def test_an_entry_of_a_color_table_has_no_contexts_and_one_more_mark():
    text = "~SCT^123037004^Anatomical Structure~SCT^5366008^Hippocampus~SCT^255549009^Anterior~~^^~^^~"
    read = from_slicer_string(text)
    assert read.type_modifier.value == "255549009"
    assert read.region is None
    assert read.context == "Segmentation category and type - DICOM master list"


def test_an_entry_may_end_after_its_type():
    read = from_slicer_string("list~SCT^85756007^Tissue~SCT^51114001^Artery")
    assert (read.type.meaning, read.context) == ("Artery", "list")


word = st.text(st.characters(blacklist_characters="~^|\n\r", blacklist_categories=("Cs", "Cc", "Z")), min_size=1)
codes = st.builds(Code, scheme=word, value=word, meaning=word)
maybe = st.none() | codes


@given(
    st.builds(
        Terminology,
        category=codes,
        type=codes,
        type_modifier=maybe,
        region=maybe,
        region_modifier=maybe,
        context=word,
        region_context=word,
    )
)
def test_every_entry_survives_the_way_to_slicer_and_back(terminology):
    assert from_slicer_string(to_slicer_string(terminology)) == terminology


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1 parts, expected 3 to 7"),
        ("Kidney", "1 parts, expected 3 to 7"),
        ("~" * 9, "10 parts, expected 3 to 7"),
        ("~^^~^^~^^~~^^~^^~", "without the code of its category or type"),
        ("c~SCT^1^a~SCT^2", "'SCT\\^2' has 2 fields"),
        ("c~SCT^1^a~kidney", "'kidney' has 1 fields"),
        ("c~SCT^1^a~SCT^^Kidney", "lacks its scheme or its value"),
    ],
)
def test_a_damaged_entry_is_refused(text, message):
    with pytest.raises(LabelError, match=message):
        from_slicer_string(text)


@pytest.mark.parametrize("mark", [*"~^|", "\n"])
def test_a_term_with_a_separator_is_not_written(mark):
    code = Code(scheme="SCT", value="1", meaning=f"left{mark}right")
    with pytest.raises(LabelError, match="separators"):
        to_slicer_string(Terminology(category=code, type=code))


def test_the_key_ignores_the_words():
    renamed = from_slicer_string(KIDNEY_MASS.replace("Mass", "Masse").replace("Kidney", "Niere"))
    assert renamed.key == from_slicer_string(KIDNEY_MASS).key
