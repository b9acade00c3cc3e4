"""What the segments of a case say: wholes, parts, overlaps, what was looked for, where, and in which spelling."""

import numpy as np
import pytest

from SemiSegLib.errors import CaseError
from SemiSegLib.labels.label_set import Regime
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT
from Testing.bridge import scenes
from Testing.bridge.exports import SEARCHED, a_case, exported, names_of


def test_a_whole_drawn_over_its_part_is_legal_and_says_what_it_says(scene, tmp_path):
    generator = np.random.default_rng(7)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    both = {"organ": masks["head"] | masks["tail"], "head": masks["head"]}
    segmentation = scenes.a_segmentation(volume, both)
    study, _, labels = exported(tmp_path, a_case(volume, segmentation, lookedFor=("organ", "vessel")))
    found = names_of(study, labels)
    assert np.array_equal(found == "head", both["head"])
    assert np.array_equal(found == "organ", both["organ"] & ~both["head"])
    assert not study.findings
    assert study.dataset.cases[0].regime(scenes.SCHEME) is Regime.COARSE


def test_the_rest_of_a_whole_whose_part_was_looked_for_is_its_other_part(scene, tmp_path):
    generator = np.random.default_rng(8)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    both = {"organ": masks["head"] | masks["tail"], "head": masks["head"]}
    segmentation = scenes.a_segmentation(volume, both)
    study, _, labels = exported(tmp_path, a_case(volume, segmentation, lookedFor=("organ", "head", "vessel")))
    found = names_of(study, labels)
    assert np.array_equal(found == "tail", both["organ"] & ~both["head"])
    assert study.dataset.cases[0].regime(scenes.SCHEME) is Regime.FULL


def test_a_whole_with_a_gap_between_its_parts_is_reported_and_the_gap_stays_open(scene, tmp_path):
    generator = np.random.default_rng(9)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    whole = np.zeros(scenes.SHAPE, bool)
    whole[2:5, 3:6, 2:9] = True
    segmentation = scenes.a_segmentation(volume, {"organ": whole, "head": masks["head"], "tail": masks["tail"]})
    study, _, labels = exported(tmp_path, a_case(volume, segmentation, lookedFor=("organ", *SEARCHED)))
    gap = whole & ~masks["head"] & ~masks["tail"]
    assert np.array_equal(names_of(study, labels) == "organ", gap)
    (finding,) = study.findings
    assert finding.code == "part_missing"
    assert str(gap.sum()) in finding.what


def test_overlapping_siblings_are_reported_with_their_count_and_no_voxel_changes_class(scene, tmp_path):
    generator = np.random.default_rng(10)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    masks["vessel"] |= masks["head"] & (generator.random(scenes.SHAPE) > 0.5)
    shared = masks["vessel"] & masks["head"]
    segmentation = scenes.a_segmentation(volume, masks)
    study, _, labels = exported(tmp_path, a_case(volume, segmentation))
    found = names_of(study, labels)
    assert np.array_equal(found == "*", shared)
    assert np.array_equal(found == "head", masks["head"] & ~shared)
    (finding,) = study.findings
    assert (finding.code, finding.severity) == ("overlap", "warning")
    assert finding.what == f"'head' and 'vessel' share {shared.sum()} voxels; they are ignored"


def test_a_structure_that_was_not_looked_for_is_unknown_where_no_segment_is(scene, tmp_path):
    generator = np.random.default_rng(11)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    segmentation = scenes.a_segmentation(volume, {"vessel": masks["vessel"]})
    study, _, labels = exported(tmp_path, a_case(volume, segmentation, lookedFor=("vessel",)))
    values = study.dataset.cases[0].annotation.values
    everywhere_else = scenes.SCHEME.leaf_set(values[int(labels.voxels[~masks["vessel"]][0])])
    assert everywhere_else == scenes.SCHEME.leaf_set(["background", "organ"])
    assert study.dataset.cases[0].regime(scenes.SCHEME) is Regime.PARTIAL


def test_a_structure_that_was_looked_for_and_not_found_is_absent(scene, tmp_path):
    volume = scenes.a_volume(np.random.default_rng(12))
    segmentation = scenes.a_segmentation(volume, {})
    study, _, labels = exported(tmp_path, a_case(volume, segmentation))
    assert set(names_of(study, labels).ravel()) == {"background"}


def test_outside_the_annotated_region_nothing_is_known(scene, tmp_path):
    generator = np.random.default_rng(13)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    region = np.zeros(scenes.SHAPE, bool)
    region[3] = True
    segmentation = scenes.a_segmentation(volume, {**masks, "drawn here": region})
    meanings = {**{f"id {name}": name for name in masks}, "id drawn here": ANNOTATED_REGION}
    study, _, labels = exported(tmp_path, a_case(volume, segmentation, meanings=meanings))
    found = names_of(study, labels)
    assert (found[~region] == "*").all()
    for name, mask in masks.items():
        assert np.array_equal(found == name, mask & region)


def test_a_segment_nobody_has_named_stops_the_export_and_is_named(scene, tmp_path):
    generator = np.random.default_rng(14)
    volume = scenes.a_volume(generator)
    segmentation = scenes.a_segmentation(volume, {**scenes.blobs(generator), "Segment_1": np.ones(scenes.SHAPE, bool)})
    case = a_case(volume, segmentation)
    assert case.meanings["id Segment_1"] == ""
    with pytest.raises(CaseError, match="which structure these segments are: Segment_1"):
        exported(tmp_path, case)
    assert not (tmp_path / "dataset.json").exists()
    left_out = {**case.meanings, "id Segment_1": LEFT_OUT}
    study, _, labels = exported(tmp_path, a_case(volume, segmentation, meanings=left_out))
    assert set(names_of(study, labels).ravel()) == {"head", "tail", "vessel", "background"}


@pytest.mark.parametrize("seed", range(25))
def test_order_names_layers_and_label_values_of_segments_change_nothing(scene, tmp_path, seed):
    generator = np.random.default_rng(seed)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    spellings = {"head": ["head", "HEAD", "Caput"], "tail": ["tail", "Tail "], "vessel": ["vessel", "VESSEL"]}
    targets = []
    for _ in range(4):
        order = generator.permutation(list(masks))
        chosen = {str(generator.choice(spellings[name])): masks[name] for name in order}
        segmentation = scenes.a_segmentation(volume, chosen)
        segmentation.GetSegmentation().CollapseBinaryLabelmaps(bool(generator.integers(2)))
        study, _, labels = exported(tmp_path, a_case(volume, segmentation))
        targets.append(names_of(study, labels))
        scene.RemoveNode(segmentation)
    assert all(np.array_equal(targets[0], target) for target in targets[1:])
