"""Where a structure cannot be: worked by hand in small patches, and in cells where a patch is large."""

import pytest
import torch

from SemiSegLib.methods.latent import pieces as pieces_file
from SemiSegLib.methods.latent.pieces import MARGIN, Pieces

SIZE = 33
BIG = (slice(10, 16), slice(10, 16))
# The smaller one begins 5 + 1 voxels behind the last of the other.
FAR = (slice(10, 12), slice(16 + MARGIN, 18 + MARGIN))


def patch(*boxes, size=(SIZE, SIZE)):
    """One row whose voxels are leaf 1 in the boxes and background elsewhere."""
    leaves = torch.zeros((1, *size), dtype=torch.int64)
    for box in boxes:
        leaves[(0, *box)] = 1
    return leaves


def too_far(leaves, reach=0.0, *, spacing=1.0, asked=True, sure=True):
    """The voxels where leaf 1 cannot be."""
    finder = Pieces((None, reach), (spacing,) * (leaves.ndim - 1))
    sure = torch.ones_like(leaves, dtype=torch.bool) if sure is True else sure.bool()
    found = finder.too_far(leaves, sure, torch.tensor([[False, asked]]))
    assert not found[:, 0].any(), "background may be anywhere"
    return found[:, 1]


def test_a_structure_is_no_farther_than_reach_and_margin_from_its_largest_piece():
    places = torch.arange(SIZE)
    beyond = torch.stack(torch.meshgrid(places, places, indexing="ij"))
    outside = torch.maximum(10 - beyond, beyond - 15).clamp_min(0).double()
    for reach in (0.0, 2.5):
        expected = outside.square().sum(0).sqrt() > reach + MARGIN
        assert torch.equal(too_far(patch(BIG), reach)[0], expected)
        assert torch.equal(too_far(patch(BIG, FAR), reach)[0] | ~expected, torch.ones_like(expected)) == (reach == 0)
    assert too_far(patch(BIG, FAR))[(0, *FAR)].all()
    assert not too_far(patch(BIG, FAR), reach=1.0)[(0, *FAR)].any()
    assert too_far(patch(BIG, FAR), reach=1.0, spacing=2.0)[(0, *FAR)].all()
    assert not too_far(patch(BIG, FAR), reach=None).any()
    assert not too_far(patch(BIG, FAR), asked=False).any()


def test_a_piece_of_which_a_part_is_near_enough_counts_as_a_whole():
    long = (slice(10, 12), slice(15 + MARGIN, 31))
    found = too_far(patch(BIG, long))
    assert not found[0, 10:12, 5:33].any()
    assert found[0, 18, 30]


def test_a_patch_without_the_structure_says_nothing():
    assert not too_far(patch()).any()
    assert not too_far(patch((slice(None), slice(None)))).any()


def test_only_a_piece_that_the_teacher_is_sure_of_somewhere_counts():
    both = patch(BIG, FAR)
    assert not too_far(both, sure=patch()).any()
    # Where it is sure of the smaller one alone, the larger one may be the structure all the same.
    assert found_of(both, BIG) == (False, True)
    assert found_of(both, FAR) == (False, False)


def found_of(leaves, box):
    """Whether the larger and the smaller piece have a voxel too far away, where the teacher is sure of one in a box."""
    first = tuple(slice(part.start, part.start + 1) for part in box)
    found = too_far(leaves, sure=patch(first))
    return bool(found[(0, *BIG)].any()), bool(found[(0, *FAR)].any())


def test_of_pieces_of_about_one_size_nobody_knows_which_is_the_structure():
    alike = (slice(22, 28), slice(22, 25))
    found = too_far(patch(BIG, alike))
    assert not found[(0, *alike)].any()
    assert found[0, 30, 5]
    smaller = (slice(22, 27), slice(22, 25))
    assert too_far(patch(BIG, smaller))[(0, *smaller)].all()


def test_pieces_at_the_border_may_be_one_beyond_it():
    corners = [(slice(0, 5), slice(0, 5)), (slice(-2, None), slice(-2, None))]
    found = too_far(patch(*corners))
    assert not any(found[(0, *corner)].any() for corner in corners)
    # Together they are the largest piece, and what lies alone between them is too far away.
    alone = (slice(15, 17), slice(15, 17))
    found = too_far(patch(*corners, alone))
    assert found[(0, *alone)].all()
    # A smaller one at the border may be the tip of something larger.
    found = too_far(patch(BIG, (slice(0, 2), slice(0, 2))))
    assert not found[0, :5, :5].any()
    assert found[0, 30, 30]


def test_rows_and_leaves_are_looked_at_one_by_one():
    both, sure = patch(BIG, FAR), torch.ones((4, SIZE, SIZE), dtype=torch.bool)
    leaves = torch.cat([both, both, 2 * both, patch(BIG) + 2 * patch(FAR)])
    asked = torch.tensor([[False, True, False], [False, False, True], [False, True, True], [False, True, True]])
    found = Pieces((None, 0.0, 0.0), (1.0, 1.0)).too_far(leaves, sure, asked)
    alone, rest = too_far(both)[0], too_far(patch(FAR))[0]
    assert torch.equal(found[0, 1], alone)
    assert torch.equal(found[2, 2], alone)
    assert torch.equal(found[3, 1], alone)
    assert torch.equal(found[3, 2], rest)
    assert not found[0, 2].any()
    assert not found[1].any()
    # Of the third row alone the teacher is not sure.
    sure[2] = False
    found = Pieces((None, 0.0, 0.0), (1.0, 1.0)).too_far(leaves, sure, asked)
    assert [row.any().item() for row in found] == [True, False, False, True]


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("share", [1, 8])
def test_large_patches_are_looked_at_in_cells_and_thin_structures_do_not_fall_apart(dimensions, share, monkeypatch):
    monkeypatch.setattr(pieces_file, "MOST_CELLS", 37 * 41 * 35 ** (dimensions - 2) // share)
    size = (37, 41, 35)[:dimensions]
    # A line of single voxels along the diagonal, far longer than the limit, and a far piece.
    leaves = torch.zeros((1, *size), dtype=torch.int64)
    for step in range(4, 32):
        leaves[(0, *(step,) * dimensions)] = 1
    line = leaves == 1
    far = (0, slice(4, 6), slice(33, 35), *(slice(4, 6),) * (dimensions - 2))
    leaves[far] = 1
    found = too_far(leaves)
    assert found.shape == leaves.shape
    assert found[far].all()
    assert not found[line].any()


def test_coarse_axes_stay_as_they_are_until_the_fine_ones_are_as_coarse(monkeypatch):
    monkeypatch.setattr(pieces_file, "MOST_CELLS", 2**12)
    finder = Pieces((None, 0.0), (4.0, 1.0, 1.0))
    assert finder._cell((16, 64, 64)) == (1, 4, 4)
    assert finder._cell((16, 16, 16)) == (1, 1, 1)
    assert finder._cell((64, 128, 128)) == (4, 8, 8)
