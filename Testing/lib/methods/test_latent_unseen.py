"""Latent classes: a structure that is there and that the teacher does not find yet."""

import pytest
import torch

from SemiSegLib.methods.latent.latent_classes import Sets, without_unseen
from Testing.lib.methods import tiny
from Testing.lib.methods.latent import SIGMOIDS, lesson

PRESENT = 2


def method(**options):
    return tiny.method("latent_classes", 2, options={**SIGMOIDS, **options})


def a_lesson(*present):
    """One row, four structures, two voxels; the stand-in finds 0 and 3 absent, 1 uncertain, 2 present."""
    student = torch.tensor([[[0.0, 1.0], [2.0, -1.0], [0.5, 0.2], [1.0, 1.0]]]).requires_grad_()
    teacher = torch.tensor([[[0.2, -0.3], [0.0, 1.0], list(present), [0.4, 0.0]]])
    shown = torch.zeros(1, 4, dtype=torch.bool)
    return lesson(student, teacher, annotated=shown)


def slope(built, given):
    """What the present structure's logits are moved by, term by term."""
    terms = built.teacher_terms(given)
    return {
        name: torch.autograd.grad(value, given.student, retain_graph=True)[0][0, PRESENT]
        for name, value in terms.items()
    }


def test_what_is_there_and_not_found_is_taught_to_be_nowhere_as_published_or_is_ambiguous():
    published = slope(method(), a_lesson(-0.4, -0.2))
    assert (published["latent"] > 0).all(), "logits are pushed down although the structure is there"
    assert (published["ambiguous"] == 0).all()
    mended = slope(method(unseen="ambiguous"), a_lesson(-0.4, -0.2))
    assert (mended["latent"] == 0).all()
    assert (mended["ambiguous"] != 0).all()


def test_one_voxel_that_is_found_is_enough():
    for name in ("latent", "ambiguous"):
        found = [slope(method(unseen=unseen), a_lesson(-0.4, 0.2))[name] for unseen in ("sharpen", "ambiguous")]
        assert torch.equal(*found), name


def test_only_positive_structures_move_and_only_open_voxels_are_asked():
    positive = torch.tensor([[True, True, False, False]])
    sets = Sets(positive, torch.tensor([[False, False, True, False]]), torch.tensor([[False, False, False, True]]))
    teacher, is_open = torch.full((1, 4, 2, 2), -1.0), torch.ones(1, 4, 2, 2, dtype=torch.bool)
    teacher[0, :2, 0, 0] = 1.0
    is_open[0, 1, 0, 0] = False
    found = without_unseen(sets, teacher, is_open)
    assert found.positive.tolist() == [[True, False, False, False]]
    assert found.negative.tolist() == sets.negative.tolist()
    assert found.ambiguous.tolist() == [[False, True, False, True]]
    times = sum(part.long() for part in (found.positive, found.negative, found.ambiguous))
    assert (times == 1).all()


@pytest.mark.parametrize("preset", ["paper", "paper_without_squares", "ours"])
def test_the_published_rule_is_the_one_of_every_preset(preset):
    assert tiny.method("latent_classes", 2, preset=preset).options.unseen == "sharpen"
