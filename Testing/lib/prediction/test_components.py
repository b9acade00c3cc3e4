"""Pieces of structures: the largest alone or those near it; strays go to what they touch of their own superclass."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from SemiSegLib.cases.volume import Volume
from SemiSegLib.labels.reach import ALIKE, MARGIN, Reach
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.prediction.components import largest_components, near_components
from SemiSegLib.prediction.predictor import Predictor
from Testing.lib.cases.tiny import oblique
from Testing.lib.methods import tiny
from Testing.lib.prediction.test_predictor import predictor

BINARY = LabelScheme(name="binary", structures=(Structure(name="atrium"),))
HEAD, TAIL, VESSEL = tiny.HEAD, tiny.TAIL, tiny.VESSEL


@pytest.mark.parametrize("seed", range(5))
def test_one_structure_keeps_its_largest_piece_as_the_released_code_does(seed):
    mask = (np.random.default_rng(seed).random((9, 11, 8)) < 0.08).astype(np.uint8)
    found = largest_components(mask, BINARY)
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
    assert count > 1
    # getLargestCC of the released code.
    assert np.array_equal(found, pieces == np.bincount(pieces.flat)[1:].argmax() + 1)
    assert found.dtype == np.uint8
    assert np.array_equal(largest_components(found, BINARY), found)


def test_corners_hold_a_piece_together():
    mask = np.zeros((3, 3, 3), dtype=np.uint8)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 2] = 1
    assert np.array_equal(largest_components(mask, BINARY), mask)


def check_that_a_single_piece_or_none_stays_as_it_is(keep, value):
    mask = np.full((3, 4, 5), value, dtype=np.uint8)
    assert np.array_equal(keep(mask, BINARY), mask)


@pytest.mark.parametrize("value", [0, 1])
def test_nothing_and_everything_stay_as_they_are(value):
    check_that_a_single_piece_or_none_stays_as_it_is(largest_components, value)


def test_a_prediction_of_nothing_that_is_taken_for_an_error_is_noticed():
    # Paper 003's released code asserts that there is a piece before it asks whether anything was predicted.
    def released(mask, scheme):
        pieces, count = ndimage.label(mask, structure=np.ones((3, 3, 3)))
        assert count != 0
        return (pieces == np.bincount(pieces.flat)[1:].argmax() + 1).astype(mask.dtype)

    check_that_a_single_piece_or_none_stays_as_it_is(released, 1)
    with pytest.raises(AssertionError):
        check_that_a_single_piece_or_none_stays_as_it_is(released, 0)


def test_a_stray_in_its_organ_becomes_the_neighbor_and_elsewhere_background():
    leaves = np.zeros((5, 6, 20), dtype=np.uint8)
    leaves[1:4, 1:5, 1:6] = HEAD
    leaves[1:4, 1:5, 6:11] = TAIL
    leaves[2, 2, 8] = HEAD
    leaves[2, 2, 18] = TAIL
    leaves[4, 4, 9] = VESSEL
    leaves[0, 0, 12:20] = VESSEL
    found = largest_components(leaves, tiny.SCHEME)
    assert found[2, 2, 8] == TAIL
    assert found[2, 2, 18] == 0
    # It touches the organ, which is not its own.
    assert found[4, 4, 9] == 0
    others = np.ones_like(leaves, dtype=bool)
    others[2, 2, 8] = others[2, 2, 18] = others[4, 4, 9] = False
    assert np.array_equal(found[others], leaves[others])


def by_whole_volumes(leaves, scheme):
    """The definition without a thought for memory: the pieces of every leaf numbered in a volume of their own."""
    kept, every = np.zeros_like(leaves), np.ones((3, 3, 3))
    numbered = {leaf: ndimage.label(leaves == leaf, structure=every) for leaf in range(1, len(scheme.leaf_names))}
    for leaf, (pieces, count) in numbered.items():
        sizes = np.bincount(pieces.ravel(), minlength=2)[1:]
        numbered[leaf] = (np.where(pieces == sizes.argmax() + 1, 0, pieces), count)
        kept[pieces == sizes.argmax() + 1] = leaf
    found, owner = kept.copy(), scheme.superclass_of_leaf
    for leaf, (pieces, count) in numbered.items():
        relatives = [other for other in numbered if owner[other] == owner[leaf] and other != leaf]
        for number in range(1, count + 1):
            piece = pieces == number
            touched = kept[ndimage.binary_dilation(piece, structure=every) & ~piece]
            counts = [(touched == other).sum() for other in relatives]
            if any(counts):
                found[piece] = relatives[int(np.argmax(counts))]
    return found


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int64])
@pytest.mark.parametrize("seed", range(6))
def test_boxes_give_what_whole_volumes_gave(seed, kind):
    random = np.random.default_rng(seed)
    count = len(tiny.SCHEME.leaf_names)
    # Smooth, so that there are pieces of many sizes, at the faces of the volume too; in some a leaf is absent.
    fields = ndimage.gaussian_filter(random.random((count, 14, 9, 17)), (0, 1, 1, 1))
    leaves = fields[: count - seed % 2].argmax(0).astype(kind)
    found = largest_components(leaves, tiny.SCHEME)
    assert found.dtype == kind
    assert np.array_equal(found, by_whole_volumes(leaves, tiny.SCHEME))
    assert not np.array_equal(found, leaves)


def test_memory_does_not_grow_with_the_number_of_structures():
    many = LabelScheme(name="many", structures=tuple(Structure(name=f"bone {n}") for n in range(40)))
    leaves = np.zeros((40, 100, 250), dtype=np.uint8)
    for leaf in range(1, 41):
        leaves[:, 20:30, 6 * leaf : 6 * leaf + 4] = leaf
        leaves[3, 40, 6 * leaf] = leaf
    tracemalloc.start()
    try:
        found = largest_components(leaves, many)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.count_nonzero(found) == np.count_nonzero(leaves) - 40
    # What is returned, and a copy; whole volumes of piece numbers would be 160 bytes a voxel.
    assert peak < 3 * leaves.nbytes


def test_a_predictor_keeps_one_piece_where_it_is_asked_to():
    voxels = np.random.default_rng(0).normal(size=(12, 14, 13)).astype(np.float32)
    scan = [Volume(voxels, oblique(voxels.shape, (1.5, 1.0, 1.0)))]
    plain, cleaned = (predictor(largest_component=wish).predict(scan) for wish in (False, True))
    assert np.array_equal(cleaned.leaves.voxels, largest_components(plain.leaves.voxels, plain.scheme))
    assert not np.array_equal(cleaned.leaves.voxels, plain.leaves.voxels)
    assert np.array_equal(cleaned.leaves.geometry.affine, plain.leaves.geometry.affine)


SPACING_MM = (3.0, 0.5, 1.0)


def with_pieces(*boxes):
    """A vessel of 3 x 8 x 4 voxels, beside it an organ of head and tail, and more boxes."""
    leaves = np.zeros((13, 40, 30), dtype=np.uint8)
    leaves[1:4, 2:10, 2:6] = VESSEL
    leaves[1:6, 20:36, 2:10] = HEAD
    leaves[6:11, 20:36, 2:10] = TAIL
    for leaf, box in boxes:
        leaves[box] = leaf
    return leaves


@pytest.mark.parametrize(
    ("box", "distance_mm"),
    [
        (np.s_[8:10, 4, 4], 5 * 3.0),
        (np.s_[2, 13:15, 4], 4 * 0.5),
        (np.s_[2, 4, 12], 7 * 1.0),
        (np.s_[6, 12, 12], np.hypot(np.hypot(9.0, 1.5), 7.0)),
    ],
)
def test_a_piece_stays_as_far_as_the_limit_in_millimeters(box, distance_mm):
    leaves = with_pieces((VESSEL, box))
    for limit, stays in ((distance_mm + 0.01, True), (distance_mm - 0.01, False)):
        found = near_components(leaves, tiny.SCHEME, (None, None, None, limit), SPACING_MM)
        assert np.array_equal(found, leaves if stays else with_pieces())
    assert np.array_equal(near_components(leaves, tiny.SCHEME, (None,) * 4, SPACING_MM), leaves)


def test_a_piece_stays_as_a_whole_and_so_does_one_that_is_half_as_large_as_the_largest():
    long = np.s_[2, 13:39, 14]
    leaves = with_pieces((VESSEL, long))
    assert np.array_equal(near_components(leaves, tiny.SCHEME, (None, None, None, 9.5), SPACING_MM), leaves)
    count = int(ALIKE * 3 * 8 * 4)
    for size, stays in ((count, True), (count - 1, False)):
        row = np.zeros(40 * 10, dtype=np.uint8)
        row[:size] = VESSEL
        leaves = with_pieces()
        leaves[12, :, 20:30] = row.reshape(40, 10)
        found = near_components(leaves, tiny.SCHEME, (None, None, None, 1.0), SPACING_MM)
        assert np.array_equal(found, leaves if stays else with_pieces())


def test_a_far_piece_inside_its_organ_becomes_what_is_around_it():
    leaves = with_pieces((HEAD, np.s_[9, 34, 8]), (HEAD, np.s_[1:3, 2, 27]))
    found = near_components(leaves, tiny.SCHEME, (None, 2.0, 2.0, 2.0), SPACING_MM)
    assert np.array_equal(found, with_pieces())
    assert found.dtype == leaves.dtype


def test_a_predictor_leaves_out_what_lies_farther_than_its_models_labels_showed():
    # Smooth, so that pieces are some voxels apart.
    voxels = 9 * ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(24, 28, 26)), 1.5).astype(np.float32)
    scan = [Volume(voxels, oblique(voxels.shape, (1.5, 1.0, 1.0)))]
    made = predictor(place=0.0)
    plain = made.predict(scan)
    count = len(plain.scheme.leaf_names)
    reach = Reach(image_mm=(None,) * count, case_mm=(None, *([-2.95] * (count - 2)), None))
    model = replace(made.model, study=replace(made.model.study, reach=reach))
    found = Predictor(model, device="cpu").predict(scan, drawn=(), review=True)
    limits = (None, *([MARGIN * 1.0 - 2.95] * (count - 2)), None)
    expected = near_components(plain.leaves.voxels, plain.scheme, limits, (1.5, 1.0, 1.0))
    assert not np.array_equal(expected, plain.leaves.voxels)
    assert np.array_equal(found.leaves.voxels, expected)
    # What is said of the result is said of what is left.
    assert found.findings is not None
    assert found.review is not None
    everything = Predictor(model, device="cpu", all_pieces=True).predict(scan)
    assert np.array_equal(everything.leaves.voxels, plain.leaves.voxels)
