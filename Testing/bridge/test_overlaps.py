"""Voxels that several structures cover: parts in wholes are legal, the rest goes by a rule, never in silence."""

from itertools import combinations

import numpy as np
import pytest

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegModule.bridge.annotation_image import annotationImage, drawnOverlaps
from SemiSegModule.bridge.drawing import Drawing, readDrawing
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.layers import Layer
from SemiSegModule.bridge.overlaps import EITHER, IGNORE, Overlap, resolved
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION
from Testing.bridge import scenes
from Testing.bridge.exports import a_case, exported, names_of

A, B, C = "a", "b", "c"
SETS = {"a": frozenset({1}), "b": frozenset({2}), "c": frozenset({3}), "ab": frozenset({1, 2})}
EVERYTHING = frozenset(range(5))


@pytest.mark.parametrize(
    ("names", "rules", "result"),
    [
        ("a ab", {}, {1}),
        ("a b", {}, EVERYTHING),
        ("a b", {(A, B): IGNORE}, EVERYTHING),
        ("a b", {(A, B): EITHER}, {1, 2}),
        ("a b", {(A, B): A}, {1}),
        ("a b ab", {(A, B): B}, {2}),
        ("a ab c", {(A, C): C}, {3}),
        ("a ab c", {(A, C): A}, {1}),
        ("a ab c", {("ab", C): C}, EVERYTHING),
        # One that beats both wins, whatever the two are to each other.
        ("a b c", {(A, B): A, (A, C): A}, {1}),
        # What lost only to a loser is not lost.
        ("a b c", {(A, B): A, (B, C): B}, EVERYTHING),
        ("a b c", {(A, B): A, (B, C): B, (A, C): EITHER}, {1, 3}),
        # A circle of rules has no winner.
        ("a b c", {(A, B): A, (B, C): B, (A, C): C}, EVERYTHING),
    ],
)
def test_what_a_voxel_is_follows_from_the_rules(scene, names, rules, result):
    for order in (names.split(), names.split()[::-1]):
        assert resolved(order, SETS, rules, EVERYTHING) == frozenset(result)


def an_overlapping_case(generator):
    volume = scenes.a_volume(generator, scenes.matrix(generator))
    masks = {name: generator.random(scenes.SHAPE) > 0.6 for name in ("head", "tail", "vessel")}
    masks["organ"] = masks["head"] | masks["tail"] | (generator.random(scenes.SHAPE) > 0.8)
    return volume, masks, scenes.a_segmentation(volume, masks)


@pytest.mark.parametrize("seed", range(12))
def test_no_voxel_changes_its_class_in_silence(scene, tmp_path, seed):
    """Every voxel is what all its structures allow, or what the rule of its pair says, or anything."""
    generator = np.random.default_rng(seed)
    volume, masks, segmentation = an_overlapping_case(generator)
    pairs = list(combinations(("head", "tail", "vessel"), 2))
    rules = {}
    for pair in pairs:
        choice = int(generator.integers(5))
        if choice:
            rules[pair] = (IGNORE, EITHER, *pair)[choice - 1]
    case = a_case(volume, segmentation, lookedFor=("organ", "vessel"), overlapRules=rules)
    study, _, labels = exported(tmp_path, case)
    values = study.dataset.cases[0].annotation.values
    for index in np.ndindex(scenes.SHAPE):
        found = scenes.SCHEME.leaf_set(values[int(labels.voxels[index])])
        names = [name for name in ("head", "tail", "vessel") if masks[name][index]]
        if len(names) == 1 and not (names == ["vessel"] and masks["organ"][index]):
            assert found == scenes.SCHEME.leaves_of(names[0])
        elif len(names) == 2:
            rule = rules.get((names[0], names[1]), IGNORE)
            named = {IGNORE: ["*"], EITHER: names}.get(rule, [rule])
            assert found == scenes.SCHEME.leaf_set(named)
        elif not names:
            assert found == scenes.SCHEME.leaf_set(["organ"] if masks["organ"][index] else ["background"])
        elif names == ["vessel"]:
            assert found == scenes.SCHEME.leaf_set(["*"])
    told = {finding.what for finding in study.findings if finding.code == "overlap"}
    for first, second in pairs:
        count = int((masks[first] & masks[second]).sum())
        assert any(text.startswith(f"'{first}' and '{second}' share {count} voxels") for text in told)
    assert any("'organ' and 'vessel'" in text for text in told)


def test_overlaps_are_found_with_names_and_counts_and_wholes_over_parts_are_none(scene):
    generator = np.random.default_rng(50)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    masks["organ"] = masks["head"] | masks["tail"]
    masks["vessel"] |= masks["tail"] & (generator.random(scenes.SHAPE) > 0.5)
    shared = int((masks["vessel"] & masks["tail"]).sum())
    segmentation = scenes.a_segmentation(volume, masks)
    before = scenes.digest(segmentation)
    drawing = readDrawing(a_case(volume, segmentation), scenes.SCHEME, worldGrid(volume))
    assert drawnOverlaps(drawing, scenes.SCHEME) == (Overlap("tail", "vessel", shared),)
    assert annotationImage(drawing, scenes.SCHEME).overlaps == (Overlap("tail", "vessel", shared),)
    assert scenes.digest(segmentation) == before


def many_segments(count, where=""):
    """A drawing of ``count`` structures, one voxel each; ``where`` names one more that says where it was annotated."""
    names = [f"s{number}" for number in range(count)]
    volume = scenes.a_volume(np.random.default_rng(52))
    voxels = np.zeros(scenes.SHAPE, dtype=np.uint16)
    voxels.flat[:count] = np.arange(1, count + 1)
    meanings = {f"id {name}": name for name in names}
    layers = [Layer(voxels, worldGrid(volume), {f"id {name}": number + 1 for number, name in enumerate(names)})]
    if where:
        meanings[where] = ANNOTATED_REGION
        inside = np.ones(scenes.SHAPE, dtype=np.uint8)
        inside.flat[-1] = 0
        layers.append(Layer(inside, worldGrid(volume), {where: 1}))
    scheme = LabelScheme(name="many", structures=tuple(Structure(name=name) for name in names))
    drawing = Drawing(
        "Ann", "Ann drawn", dict.fromkeys(meanings, ""), meanings, tuple(names), tuple(layers), worldGrid(volume)
    )
    return drawing, scheme


@pytest.mark.parametrize(("count", "where", "told"), [(255, "", 0), (254, "r", 0), (256, "", 257), (255, "r", 257)])
def test_more_regions_than_a_label_image_tells_apart_are_refused_before_one_is_written(scene, count, where, told):
    drawing, scheme = many_segments(count, where)
    if not told:
        image = annotationImage(drawing, scheme)
        assert len(image.values) == 256
        assert int(image.voxels.max()) == 255
        return
    with pytest.raises(LabelError, match=f"form {told} regions of different meaning, a label image tells 256 apart"):
        annotationImage(drawing, scheme)


def test_a_chosen_rule_is_a_note_and_an_open_one_a_warning(scene, tmp_path):
    generator = np.random.default_rng(51)
    volume = scenes.a_volume(generator)
    masks = scenes.blobs(generator)
    masks["vessel"] |= masks["head"]
    segmentation = scenes.a_segmentation(volume, masks)
    open_, _, _ = exported(tmp_path / "open", a_case(volume, segmentation))
    chosen, _, labels = exported(
        tmp_path / "chosen", a_case(volume, segmentation, overlapRules={("head", "vessel"): "vessel"})
    )
    (finding,) = open_.findings
    assert (finding.severity, "they are ignored" in finding.what) == ("warning", True)
    (finding,) = chosen.findings
    assert (finding.severity, "they count as 'vessel'" in finding.what) == ("note", True)
    assert np.array_equal(names_of(chosen, labels) == "vessel", masks["vessel"])
