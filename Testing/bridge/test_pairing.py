"""Which segmentation belongs to which volume, and what the labels amount to."""

from dataclasses import replace

import numpy as np
import pytest
import slicer

from SemiSegLib.labels.label_set import Regime
from SemiSegModule.bridge.pairing import findCases, sketchStudy
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.bridge.scene_case import schemeFromSegments, suggestLookedFor
from SemiSegModule.bridge.study_export import exportStudy
from Testing.bridge import scenes


def test_a_segmentation_belongs_to_the_volume_it_was_drawn_on(scene):
    generator = np.random.default_rng(0)
    one, two = scenes.a_volume(generator, name="one"), scenes.a_volume(generator, name="two")
    masks = scenes.blobs(generator)
    of_two = scenes.a_segmentation(two, masks, name="first in the scene")
    of_one = scenes.a_segmentation(one, masks, name="second")
    cases = findCases(scenes.SCHEME)
    assert [(case.id, case.segmentation) for case in cases] == [("one", of_one), ("two", of_two)]


def test_a_segmentation_without_source_belongs_to_the_volume_of_its_name(scene):
    generator = np.random.default_rng(1)
    short, long_ = scenes.a_volume(generator, name="liver"), scenes.a_volume(generator, name="liver 2")
    loose = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "liver 2-label")
    cases = {case.id: case.segmentation for case in findCases(scenes.SCHEME)}
    assert cases == {"liver": None, "liver 2": loose}
    assert short is not long_


def test_a_segmentation_without_source_belongs_to_the_only_volume_of_its_folder(scene):
    generator = np.random.default_rng(2)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    loose = []
    for patient in ("Ann", "Bob"):
        folder = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), patient)
        volume = scenes.a_volume(generator, name="T1")
        node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "drawn")
        for thing in (volume, node):
            hierarchy.SetItemParent(hierarchy.GetItemByDataNode(thing) or hierarchy.CreateItem(folder, thing), folder)
        loose.append(node)
    cases = findCases(scenes.SCHEME)
    assert [case.segmentation for case in cases] == loose
    assert [case.id for case in cases] == ["T1", "T1 (2)"]
    assert [case.patient for case in cases] == ["Ann", "Bob"]


def test_what_a_model_made_is_not_taken_for_labels(scene):
    generator = np.random.default_rng(3)
    volume = scenes.a_volume(generator)
    scenes.a_segmentation(volume, scenes.blobs(generator)).SetAttribute(RESULT_ATTRIBUTE, "job")
    (case,) = findCases(scenes.SCHEME)
    assert case.segmentation is None


def test_label_maps_and_color_images_are_no_cases(scene):
    for cls, shape in (("vtkMRMLLabelMapVolumeNode", (3, 4, 5)), ("vtkMRMLVectorVolumeNode", (3, 4, 5, 3))):
        slicer.util.addVolumeFromArray(np.zeros(shape, np.uint8), nodeClassName=cls)
    assert findCases(scenes.SCHEME) == []


def test_a_segment_is_matched_by_its_codes_before_its_name_and_slicers_default_code_says_nothing(scene):
    generator = np.random.default_rng(4)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    node = scenes.a_segmentation(volume, {"Gefäß": masks["vessel"], "caput": masks["head"], "Segment_3": masks["tail"]})
    segment = node.GetSegmentation().GetSegment("id Gefäß")
    entry = "list~SCT^123037004^Anatomical Structure~SCT^59820001^Blood vessel~^^~list~^^~^^"
    segment.SetTag(segment.GetTerminologyEntryTagName(), entry)
    tissue = "list~SCT^85756007^Tissue~SCT^85756007^Tissue~^^~list~^^~^^"
    for other in ("id caput", "id Segment_3"):
        segment = node.GetSegmentation().GetSegment(other)
        segment.SetTag(segment.GetTerminologyEntryTagName(), tissue)
    (case,) = findCases(scenes.SCHEME)
    assert case.meanings == {"id Gefäß": "vessel", "id caput": "head", "id Segment_3": ""}


def test_a_segment_whose_name_and_codes_are_two_structures_must_be_decided_by_a_person(scene):
    generator = np.random.default_rng(7)
    node = scenes.a_segmentation(scenes.a_volume(generator), {"head": scenes.blobs(generator)["head"]})
    segment = node.GetSegmentation().GetSegment("id head")
    entry = "list~SCT^123037004^Anatomical Structure~SCT^59820001^Blood vessel~^^~list~^^~^^"
    segment.SetTag(segment.GetTerminologyEntryTagName(), entry)
    (case,) = findCases(scenes.SCHEME)
    assert case.meanings == {"id head": ""}


def test_what_was_drawn_is_proposed_as_looked_for_but_not_a_part_of_a_drawn_whole():
    scheme = scenes.SCHEME
    assert suggestLookedFor({"1": "head", "2": "tail"}, scheme) == ("head", "tail")
    assert suggestLookedFor({"1": "organ", "2": "head", "3": "vessel"}, scheme) == ("organ", "vessel")
    assert suggestLookedFor({"1": "organ", "2": "head", "3": "tail"}, scheme) == ("organ", "head", "tail")
    assert suggestLookedFor({"1": "background", "2": ""}, scheme) == ()


def test_a_scheme_is_built_from_segments_and_their_superclass_tags(scene):
    generator = np.random.default_rng(5)
    volume = scenes.a_volume(generator)
    node = scenes.a_segmentation(volume, scenes.blobs(generator))
    for name, whole in (("head", "organ"), ("tail", "organ"), ("vessel", "vessel")):
        node.GetSegmentation().GetSegment(f"id {name}").SetTag("SemiSeg.Superclass", whole)
    scheme = schemeFromSegments([node], "Scene")
    assert scheme.leaf_names == ("background", "head", "tail", "vessel")
    assert scheme.superclass_names == ("background", "vessel", "organ")


@pytest.mark.parametrize(
    ("said", "structures"),
    [
        ({"one": "two"}, {"two", "three"}),
        ({"one": "Two "}, {"two", "three"}),
        # What nobody is called, or what is exchanged, takes no structure away.
        ({"one": "four"}, {"one", "two", "three"}),
        ({"one": "two", "two": "one"}, {"one", "two", "three"}),
        # The one that another was said to be stays, for that other.
        ({"one": "two", "two": "three"}, {"two", "three"}),
        ({"one": "two", "two": "two"}, {"two", "three"}),
        # A whole that is called so by its parts alone is there too.
        ({"one": "whole"}, {"two", "three", "whole"}),
        ({"three": "whole"}, {"one", "two", "three", "whole"}),
    ],
)
def test_a_segment_that_is_another_structure_is_none_of_its_own(scene, said, structures):
    generator = np.random.default_rng(8)
    mask = np.ones(scenes.SHAPE, bool)
    names = ("one", "two", "three")
    nodes = {name: scenes.a_segmentation(scenes.a_volume(generator, name=name), {name: mask}) for name in names}
    if "whole" in structures:
        nodes["three"].GetSegmentation().GetSegment("id three").SetTag("SemiSeg.Superclass", "whole")
    meanings = [{f"id {name}": said[name]} if name in said else {} for name in names]
    scheme = schemeFromSegments([*nodes.values()], "Scene", meanings)
    assert {structure.name for structure in scheme.structures if structure.name != "background"} == structures


def test_the_sketch_has_the_regimes_that_the_files_will_have(scene, tmp_path):
    generator = np.random.default_rng(6)
    masks = scenes.blobs(generator)
    organ = masks["head"] | masks["tail"]
    drawn = {
        "fine": masks,
        "coarse": {"organ": organ, "vessel": masks["vessel"]},
        "partial": {"vessel": masks["vessel"]},
        "rest": {"organ": organ, "head": masks["head"], "vessel": masks["vessel"]},
    }
    for name, segments in drawn.items():
        scenes.a_segmentation(scenes.a_volume(generator, name=name), segments, name=name)
    scenes.a_volume(generator, name="none")
    cases = findCases(scenes.SCHEME)
    cases[3] = replace(cases[3], lookedFor=("organ", "head", "vessel"))
    expected = [Regime.FULL, Regime.COARSE, Regime.PARTIAL, Regime.FULL, Regime.NONE]
    sketch = sketchStudy(cases, scenes.SCHEME, "")
    assert [case.regime(scenes.SCHEME) for case in sketch.cases] == expected
    written = exportStudy(tmp_path, cases, scenes.SCHEME, name="study").dataset
    assert [case.regime(scenes.SCHEME) for case in written.cases] == expected
