"""Structures of one scan in another: the right box, the right voxels, nothing else."""

import pytest
import torch
from torch.nn import functional

from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.methods.mix.region_mix import Meaning, Scans, boxes, region_mix
from SemiSegLib.networks.layers import is_channels_last

# Leaves: background, a1, b, a2, a3; superclasses background, a, b. Leaves of a are not neighbors.
MEMBERSHIP = torch.tensor([[1, 0, 0, 0, 0], [0, 1, 0, 1, 1], [0, 0, 1, 0, 0]], dtype=torch.bool)
A, B = [1, 3, 4], 2
TABLE = LabelSetTable.of(5, [frozenset(s) for s in ([0], [1], [2], [3], [4], A, [1, 3], [0, 1, 3, 4])])
SETS = torch.from_numpy(TABLE.array.copy())


def code(*leaves):
    return TABLE.code(frozenset(leaves))


def meaning(label_sets=SETS):
    return Meaning.of(label_sets, MEMBERSHIP, background=0)


def painted(size, *areas):
    """Codes of one row: background, and a code in each area, given by the slices of each axis."""
    codes = torch.full((1, *size), code(0))
    for what, area in areas:
        codes[(0, *(slice(*ends) for ends in area))] = what
    return codes


def scans(codes, seed=0):
    return Scans(torch.randn(1, 2, *codes.shape[1:], generator=torch.Generator().manual_seed(seed)), codes)


def full(*alpha):
    return torch.tensor(alpha or [1.0])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_region_is_cropped_and_resized_as_pytorch_does_it(dimensions):
    generator = torch.Generator().manual_seed(1)
    size = (12, 15, 11)[:dimensions]
    mode = "bilinear" if dimensions == 2 else "trilinear"
    for _ in range(5):
        ends = torch.stack(
            [torch.randperm(min(size), generator=generator)[:2].sort().values for _ in range(2 * dimensions)]
        )
        mine, other = ends[:dimensions].tolist(), ends[dimensions:].tolist()
        recipient, donor = scans(painted(size, (code(*A), mine))), scans(painted(size, (code(1), other)), seed=2)
        # Leaves vary inside the donor's box, whose corners keep it as large as it is.
        area = tuple(slice(*e) for e in other)
        leaves = torch.tensor([code(1), code(3), code(4)])
        shape = donor.codes[(0, *area)].shape
        donor.codes[(0, *area)] = leaves[torch.randint(3, shape, generator=generator)]
        found = region_mix(recipient, donor, meaning(), full())
        goal = tuple(slice(*e) for e in mine)
        target = [high - low for low, high in mine]
        crop = donor.image[(slice(None), slice(None), *area)]
        expected = functional.interpolate(crop, size=target, mode=mode, align_corners=False)
        assert torch.allclose(found.image[(slice(None), slice(None), *goal)], expected, atol=1e-4)
        labels = meaning().leaf[donor.codes[(slice(None), *area)]].float().unsqueeze(1)
        nearest = functional.interpolate(labels, size=target, mode="nearest-exact")[:, 0].long()
        assert torch.equal(found.leaf[(slice(None), *goal)], nearest)


def test_nothing_changes_outside_the_region():
    recipient = scans(painted((8, 9), (code(*A), ((2, 6), (3, 8)))))
    donor = scans(painted((8, 9), (code(1), ((1, 4), (1, 4)))), seed=2)
    found = region_mix(recipient, donor, meaning(), full(0.6))
    is_mixed = recipient.codes == code(*A)
    assert torch.equal(found.share, torch.where(is_mixed, 0.6, 0.0))
    assert torch.equal(found.image[:, :, ~is_mixed[0]], recipient.image[:, :, ~is_mixed[0]])
    assert not torch.equal(found.image[:, :, is_mixed[0]], recipient.image[:, :, is_mixed[0]])


def test_the_share_blends_the_images():
    recipient = scans(painted((6, 6), (code(*A), ((1, 5), (1, 5)))))
    donor = scans(painted((6, 6), (code(3), ((1, 5), (1, 5)))), seed=2)
    found = region_mix(recipient, donor, meaning(), full(0.25))
    inside = (slice(None), slice(None), slice(1, 5), slice(1, 5))
    # The boxes are equal, so each voxel comes from its own place.
    assert torch.allclose(found.image[inside], 0.75 * recipient.image[inside] + 0.25 * donor.image[inside], atol=1e-5)


def test_only_the_same_superclass_is_mixed_in():
    # The box of a in the donor holds background and b too; those places stay as they are.
    recipient = scans(painted((6, 8), (code(*A), ((1, 5), (1, 7)))))
    donor = scans(
        painted((6, 8), (code(1), ((1, 5), (1, 3))), (code(B), ((1, 5), (3, 5))), (code(4), ((1, 5), (6, 7)))), seed=2
    )
    found = region_mix(recipient, donor, meaning(), full(0.5))
    expected = torch.zeros(6, 8)
    expected[1:5, 1:3], expected[1:5, 6:7] = 0.5, 0.5
    assert torch.equal(found.share[0], expected)
    assert set(found.leaf[found.share > 0].tolist()) == {1, 4}


def test_every_superclass_has_its_own_box_and_background_has_none():
    recipient = scans(painted((10, 10), (code(*A), ((0, 4), (0, 4))), (code(B), ((6, 10), (5, 10)))))
    donor = scans(painted((10, 10), (code(B), ((0, 2), (0, 5))), (code(3), ((5, 9), (5, 9)))), seed=2)
    found = region_mix(recipient, donor, meaning(), full())
    assert torch.equal(found.share[0] > 0, recipient.codes[0] != code(0))
    assert (found.leaf[0, :4, :4] == 3).all()
    assert torch.allclose(found.image[..., :4, :4], donor.image[..., 5:9, 5:9], atol=1e-5)
    assert (found.leaf[0, 6:, 5:] == B).all()


def test_a_label_between_leaf_and_superclass_takes_only_what_it_allows():
    recipient = scans(painted((4, 6), (code(1, 3), ((0, 4), (0, 6)))))
    donor = scans(painted((4, 6), (code(1), ((0, 4), (0, 3))), (code(4), ((0, 4), (3, 6)))), seed=2)
    found = region_mix(recipient, donor, meaning(), full())
    assert (found.share[0, :, :3] == 1).all()
    assert (found.share[0, :, 3:] == 0).all()


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        (((code(*A), ((1, 3), (1, 3))),), ()),
        ((), ((code(1), ((1, 3), (1, 3))),)),
        (((code(*A), ((1, 3), (1, 3))),), ((code(B), ((1, 3), (1, 3))),)),
        ((), ()),
    ],
)
def test_without_a_common_superclass_nothing_is_mixed(mine, theirs):
    recipient, donor = scans(painted((5, 5), *mine)), scans(painted((5, 5), *theirs), seed=2)
    found = region_mix(recipient, donor, meaning(), full())
    assert torch.equal(found.image, recipient.image)
    assert found.image.isfinite().all()
    assert (found.share == 0).all()


def test_what_is_not_drawn_is_neither_mixed_nor_mixed_in():
    recipient = scans(
        painted((6, 6), (code(*A), ((0, 3), (0, 6))), (code(0, 1, 3, 4), ((3, 5), (0, 6))), (0, ((5, 6), (0, 6))))
    )
    donor = scans(painted((6, 6), (code(1), ((0, 2), (0, 6))), (0, ((2, 6), (0, 6)))), seed=2)
    found = region_mix(recipient, donor, meaning(), full())
    assert torch.equal(found.share[0] > 0, recipient.codes[0] == code(*A))


def test_rows_do_not_see_each_other():
    pairs = []
    for seed in range(3):
        place = ((seed, seed + 4), (1, 5 + seed))
        pairs.append(
            (
                scans(painted((9, 9), (code(*A), place)), seed),
                scans(painted((9, 9), (code(1 + 2 * (seed % 2)), ((2, 7), (2, 7)))), 9 + seed),
            )
        )
    alpha = torch.tensor([0.5, 0.75, 0.0])
    alone = [region_mix(mine, theirs, meaning(), alpha[i : i + 1]) for i, (mine, theirs) in enumerate(pairs)]
    together = region_mix(
        *(
            Scans(torch.cat([p[side].image for p in pairs]), torch.cat([p[side].codes for p in pairs]))
            for side in (0, 1)
        ),
        meaning(),
        alpha,
    )
    assert torch.allclose(together.image, torch.cat([found.image for found in alone]), atol=1e-6)
    assert torch.equal(together.share, torch.cat([found.share for found in alone]))
    assert torch.equal(together.image[2], pairs[2][0].image[0])


def test_codes_are_names_whose_order_means_nothing():
    order = torch.tensor([0, 5, 2, 7, 1, 3, 6, 4, 8])
    recipient = scans(painted((6, 8), (code(*A), ((1, 5), (1, 7)))))
    donor = scans(painted((6, 8), (code(4), ((1, 3), (1, 3))), (code(1), ((3, 5), (3, 5)))), seed=2)
    other = torch.empty_like(order)
    other[order] = torch.arange(9)
    first = region_mix(recipient, donor, meaning(), full(0.5))
    renamed = [Scans(part.image, other[part.codes]) for part in (recipient, donor)]
    second = region_mix(*renamed, meaning(SETS[order]), full(0.5))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.leaf, second.leaf)


def test_boxes_are_the_smallest():
    regions = torch.full((2, 5, 6), -1)
    regions[0, 1:3, 2:6] = 1
    regions[0, 4, 0] = 0
    found = boxes(regions, 2)
    assert found.low[0].tolist() == [[4, 0], [1, 2]]
    assert found.size[0].tolist() == [[1, 1], [2, 4]]
    assert (found.size[1] == 0).all()


def test_memory_format_and_precision_are_kept():
    recipient = scans(painted((6, 6), (code(*A), ((1, 5), (1, 5)))))
    donor = scans(painted((6, 6), (code(3), ((1, 5), (1, 5)))), seed=2)
    expected = region_mix(recipient, donor, meaning(), full(0.5)).image
    last = [Scans(p.image.contiguous(memory_format=torch.channels_last), p.codes) for p in (recipient, donor)]
    found = region_mix(*last, meaning(), full(0.5)).image
    assert is_channels_last(found)
    assert torch.allclose(found, expected)
    half = [Scans(p.image.half(), p.codes) for p in (recipient, donor)]
    assert region_mix(*half, meaning(), full(0.5)).image.dtype == torch.float16
