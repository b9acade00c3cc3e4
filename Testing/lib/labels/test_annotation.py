"""Annotations: stored integers and segments to label sets, whatever their order and numbering."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.annotation import Annotation, Extent, combine_segments, encode_values
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure

# Leaves: 0 background, 1 head, 2 tail, 3 vessel, 4 nodule.
SCHEME = LabelScheme(
    name="test",
    structures=(
        Structure(name="organ"),
        Structure(name="head", parent="organ"),
        Structure(name="tail", parent="organ"),
        Structure(name="vessel", aliases=("artery",)),
        Structure(name="nodule"),
    ),
)
COUNT = len(SCHEME.leaves)
EVERY_SET = [frozenset(leaf for leaf in range(COUNT) if bits >> leaf & 1) for bits in range(1, 2**COUNT)]


def decoded(codes, table):
    """(D, H, W, L) bool: what each voxel may be, which is all that a training may depend on."""
    return table.array[codes]


@st.composite
def label_images(draw):
    """A label image, what its values mean, and another numbering of the same values."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    meaning_count = draw(st.integers(1, 6))
    meanings = [EVERY_SET[i] for i in random.choice(len(EVERY_SET), meaning_count)]
    shape = tuple(random.integers(1, 8, 3))
    drawn = random.integers(0, meaning_count, shape)
    kind = draw(st.sampled_from([np.uint8, np.int16, np.uint16, np.int32]))
    limits = np.iinfo(kind)
    numberings = [
        random.choice(np.arange(max(limits.min, -200), min(limits.max, 400)), meaning_count, replace=False)
        for _ in range(2)
    ]
    return drawn, meanings, [n.astype(kind) for n in numberings], random


@settings(max_examples=500, deadline=None)
@given(label_images())
def test_stored_integers_and_their_listing_change_nothing(case):
    drawn, meanings, numberings, random = case
    results = []
    for numbering in numberings:
        order = random.permutation(len(meanings))
        value_sets = {int(numbering[i]): meanings[i] for i in order}
        table = LabelSetTable.of(COUNT, [meanings[i] for i in random.permutation(len(meanings))])
        codes = encode_values(numbering[drawn], value_sets, table, where="file")
        assert codes.dtype == np.uint8
        results.append((codes, table))
    (first, table), (second, other) = results
    assert table == other
    assert np.array_equal(first, second)
    truth = np.array([[leaf in meaning for leaf in range(COUNT)] for meaning in meanings])[drawn]
    assert np.array_equal(decoded(first, table), truth)


def naive(masks, sets, elsewhere):
    """Say voxel by voxel what combine_segments must find."""
    shape = next(iter(masks.values())).shape
    result = np.zeros((*shape, COUNT), dtype=bool)
    for voxel in np.ndindex(shape):
        covering = [sets[name] for name in masks if masks[name][voxel]]
        common = frozenset.intersection(*covering) if covering else elsewhere
        result[voxel][sorted(common or frozenset().union(*covering))] = True
    return result


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_segment_order_and_layers_change_nothing(seed, segment_count):
    random = np.random.default_rng(seed)
    shape = tuple(random.integers(1, 6, 3))
    names = [f"segment {i}" for i in range(segment_count)]
    sets = {name: EVERY_SET[random.integers(len(EVERY_SET))] for name in names}
    elsewhere = EVERY_SET[random.integers(len(EVERY_SET))]
    masks = {name: random.random(shape) < random.uniform(0, 0.8) for name in names}
    codes, table, overlaps = combine_segments(masks, sets, elsewhere, leaf_count=COUNT)
    assert np.array_equal(decoded(codes, table), naive(masks, sets, elsewhere))

    # The same segments in another order, each read back from a layer in which it has an arbitrary label value.
    shuffled = {}
    for i in random.permutation(segment_count):
        layer = masks[names[i]] * np.uint8(random.integers(1, 255))
        shuffled[names[i]] = layer == layer.max() if layer.any() else layer.astype(bool)
    again = combine_segments(shuffled, dict(reversed(sets.items())), elsewhere, leaf_count=COUNT)
    assert np.array_equal(again[0], codes)
    assert again[1:] == (table, overlaps)

    # Other names give another order inside, but the same meaning.
    renamed = {f"{random.integers(1000)}-{name}": name for name in names}
    codes, table, _ = combine_segments(
        {new: masks[old] for new, old in renamed.items()},
        {new: sets[old] for new, old in renamed.items()},
        elsewhere,
        leaf_count=COUNT,
    )
    assert np.array_equal(decoded(codes, table), naive(masks, sets, elsewhere))


def test_a_part_over_its_whole_is_the_part():
    whole, part = np.zeros((2, 1, 1, 4), dtype=bool)
    whole[..., :3], part[..., 2] = True, True
    sets = {"organ": SCHEME.leaves_of("organ"), "tail": SCHEME.leaves_of("tail")}
    codes, table, overlaps = combine_segments({"organ": whole, "tail": part}, sets, frozenset({0}), leaf_count=COUNT)
    assert [table.sets[code] for code in codes.ravel()] == [{1, 2}, {1, 2}, {2}, {0}]
    assert overlaps == {}


def test_overlapping_siblings_may_be_either_and_are_counted():
    masks = {name: np.zeros((3, 1, 5), dtype=bool) for name in ("head", "tail", "vessel")}
    masks["head"][:, :, :3] = True
    masks["tail"][:, :, 2:] = True
    masks["vessel"][0] = True
    sets = {name: SCHEME.leaves_of(name) for name in masks}
    codes, table, overlaps = combine_segments(masks, sets, frozenset({0}), leaf_count=COUNT)
    # Row 0 holds the vessel in all 5 columns; head and tail meet in column 2 of all three rows.
    assert overlaps == {("head", "tail"): 3, ("head", "vessel"): 3, ("tail", "vessel"): 3}
    assert table.sets[codes[0, 0, 2]] == {1, 2, 3}
    assert table.sets[codes[1, 0, 2]] == {1, 2}


def test_more_than_a_byte_of_combinations_is_combined_rightly():
    # 9 segments that all mean organ or more, in all 512 combinations: more groups than one byte counts.
    combination = np.arange(512).reshape(8, 8, 8)
    masks = {f"s{bit}": (combination >> bit & 1).astype(bool) for bit in range(9)}
    pool = [frozenset({1, 2}), frozenset({1, 2, 3}), frozenset({1, 2, 0})]
    sets = {name: pool[i % 3] for i, name in enumerate(masks)}
    codes, table, _ = combine_segments(masks, sets, frozenset({0}), leaf_count=COUNT)
    assert np.array_equal(decoded(codes, table), naive(masks, sets, frozenset({0})))


def test_memory_beyond_the_masks_is_about_a_byte_a_voxel():
    masks = {f"s{i}": np.zeros((24, 300, 301), dtype=bool) for i in range(6)}
    for i, mask in enumerate(masks.values()):
        mask[:, 20 * i : 20 * i + 150, 10 * i :] = True
    sets = {name: frozenset({i % COUNT}) for i, name in enumerate(masks)}
    tracemalloc.start()
    try:
        codes, _, _ = combine_segments(masks, sets, frozenset({0}), leaf_count=COUNT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The slab of a million voxels needs up to 18 bytes a voxel for a moment, which does not grow with the image.
    assert peak < codes.size + 20 * 2**20


def test_segments_of_different_shape_are_refused():
    masks = {"a": np.zeros((2, 2, 2), dtype=bool), "b": np.zeros((2, 2, 3), dtype=bool)}
    sets = dict.fromkeys(masks, frozenset({1}))
    with pytest.raises(LabelError, match=r"'b' \(2, 2, 3\)"):
        combine_segments(masks, sets, frozenset({0}), leaf_count=COUNT)


def test_no_segment_at_all_is_refused():
    with pytest.raises(LabelError, match="found none"):
        combine_segments({}, {}, frozenset({0}), leaf_count=COUNT)


def test_a_segment_without_meaning_is_refused_by_name():
    with pytest.raises(LabelError, match="segment 'mystery'"):
        combine_segments({"mystery": np.ones((1, 1, 1), bool)}, {}, frozenset({0}), leaf_count=COUNT)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int64])
def test_a_value_without_meaning_is_refused_with_its_count(kind):
    image = np.array([[[0, 1, 7], [7, 7, 9]]], dtype=kind)
    table = LabelSetTable.of(COUNT, [frozenset({0}), frozenset({1})])
    with pytest.raises(LabelError, match=r"7 \(3 voxels\), 9 \(1 voxels\)") as caught:
        encode_values(image, {0: frozenset({0}), 1: frozenset({1})}, table, where="case_3.nii.gz")
    assert "where:  case_3.nii.gz" in str(caught.value)


def test_values_far_apart_are_encoded_too():
    image = np.array([[[-(2**40), 0, 2**40]]])
    value_sets = {-(2**40): frozenset({1}), 0: frozenset({0}), 2**40: frozenset({2})}
    table = LabelSetTable.of(COUNT, value_sets.values())
    assert encode_values(image, value_sets, table, where="file").tolist() == [[[2, 1, 3]]]
    with pytest.raises(LabelError, match="values without a meaning"):
        encode_values(image, {0: frozenset({0})}, table, where="file")


def test_an_annotation_knows_its_sets_and_regime_without_its_file():
    annotation = Annotation(file="missing.nii.gz", values={0: ("background",), 4: ("organ",), 9: ("artery",)})
    assert annotation.sets(SCHEME) == {frozenset({0}), frozenset({1, 2}), frozenset({3})}
    assert annotation.regime(SCHEME) is Regime.COARSE
    partial = Annotation(file="missing.nii.gz", values={0: ("background", "organ", "nodule"), 1: ("vessel",)})
    assert partial.regime(SCHEME) is Regime.PARTIAL
    scribble = Annotation(file="missing.nii.gz", values={0: ("*",), 1: ("head",), 2: ("background",)})
    assert scribble.regime(SCHEME) is Regime.PARTIAL


def test_some_slices_make_a_full_annotation_partial():
    values = {0: ("background",), 1: ("head",), 2: ("tail",)}
    assert Annotation(file="f", values=values).regime(SCHEME) is Regime.FULL
    extent = Extent(slices=(3, 4))
    assert not extent.is_everything
    assert Annotation(file="f", values=values, extent=extent).regime(SCHEME) is Regime.PARTIAL


def test_segments_and_elsewhere_make_the_sets_of_a_segmentation():
    annotation = Annotation(
        file="f.seg.nrrd", segments={"Segment_1": ("vessel",)}, elsewhere=("background", "organ", "nodule")
    )
    assert annotation.sets(SCHEME) == {frozenset({3}), frozenset({0, 1, 2, 4})}
    assert annotation.regime(SCHEME) is Regime.PARTIAL


def test_an_unknown_structure_in_a_value_table_is_named():
    with pytest.raises(LabelError, match=r"'vesel' is not a structure[^$]*did you mean 'vessel'"):
        Annotation(file="f", values={1: ("vesel",)}).sets(SCHEME)


def test_a_value_that_names_no_structure_is_refused():
    with pytest.raises(LabelError, match="value 1 names no structure"):
        Annotation(file="f", values={1: ()}).value_sets(SCHEME)


def test_a_label_image_without_a_value_table_is_refused():
    with pytest.raises(LabelError, match="no table says what the values mean"):
        Annotation(file="f").value_sets(SCHEME)
