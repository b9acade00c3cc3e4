"""When labels say that a patch holds a structure, when that it does not, and when they say nothing."""

import torch

from SemiSegLib.losses.presence import presence_targets
from SemiSegLib.losses.roi import roi_cross_entropy

# Leaves: background, head, tail, vessel; structures: organ (head and tail), tail, vessel.
SETS = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 1], [1, 1, 1, 0]]).bool()
ANYTHING, BACKGROUND, HEAD, ORGAN, VESSEL, NO_VESSEL = range(6)
MEMBERS = torch.tensor([[0, 1, 1, 0], [0, 0, 1, 0], [0, 0, 0, 1]]).bool()


def asked(minimum=(3, 3, 3), **voxels):
    """Return per structure "yes", "no" or "unknown" for a patch with so many voxels of each kind."""
    counts = [voxels.get(name, 0) for name in ("anything", "background", "head", "organ", "vessel", "no_vessel")]
    codes = torch.repeat_interleave(torch.arange(6), torch.tensor(counts))
    codes = codes[torch.randperm(len(codes), generator=torch.Generator().manual_seed(0))].reshape(1, -1, 1, 2)
    target, known = presence_targets(codes, SETS, MEMBERS, torch.tensor(minimum))
    pairs = zip(target[0].tolist(), known[0].tolist(), strict=True)
    return ["unknown" if not is_known else "yes" if there else "no" for there, is_known in pairs]


def test_a_fully_labeled_patch_answers_for_every_structure():
    assert asked(background=20, head=6, vessel=4) == ["yes", "no", "yes"]
    assert asked(background=20) == ["no", "no", "no"]


def test_less_than_the_minimum_is_neither_there_nor_absent():
    assert asked(background=20, head=3, vessel=1) == ["yes", "no", "unknown"]
    assert asked(background=20, head=2, vessel=2) == ["unknown", "no", "unknown"]
    assert asked(minimum=(1, 1, 1), background=20, head=1, vessel=1) == ["yes", "no", "yes"]


def test_coarse_labels_answer_for_the_coarse_structure_and_leave_its_parts_open():
    assert asked(background=20, organ=10) == ["yes", "unknown", "no"]


def test_what_nobody_looked_for_is_unknown_and_one_open_voxel_is_enough():
    assert asked(no_vessel=30) == ["unknown", "unknown", "no"]
    assert asked(anything=30) == ["unknown", "unknown", "unknown"]
    assert asked(background=29, anything=1) == ["unknown", "unknown", "unknown"]
    assert asked(background=20, vessel=9, anything=1) == ["unknown", "unknown", "yes"]


def test_what_is_unknown_is_not_taught():
    codes = torch.stack([torch.full((4, 4), VESSEL), torch.full((4, 4), ANYTHING), torch.full((4, 4), NO_VESSEL)])
    target, known = presence_targets(codes, SETS, MEMBERS, torch.tensor([1, 1, 1]))
    logits = torch.zeros(3, 3, requires_grad=True)
    roi_cross_entropy(logits, target, known).backward()
    assert torch.equal(logits.grad != 0, known)
    assert known.tolist() == [[True, True, True], [False, False, False], [False, False, True]]
    assert (logits.grad[0] > 0).tolist() == [True, True, False]
    assert (logits.grad[2, 2] > 0).item()


def test_nothing_known_is_a_loss_of_0_with_a_graph():
    logits = torch.randn(2, 3, requires_grad=True)
    loss = roi_cross_entropy(logits, *presence_targets(torch.zeros(2, 5, 5).long(), SETS, MEMBERS, torch.ones(3)))
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
