"""Negative learning: leaves from full rows, and from every label what a voxel is not."""

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.negative import negative_cross_entropy
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

START = Progress(0, 0.0)


def terms_of(built, made):
    return next(iter(built.losses(made, START)))


@pytest.mark.parametrize("preset", ["ours", "paper"])
def test_full_rows_teach_leaves_and_all_labeled_rows_what_is_excluded(preset):
    built, made = tiny.method("negative_learning", preset=preset), tiny.batch()[0]
    found = terms_of(built, made).values
    labeled = made.part(Regime.FULL, Regime.COARSE, Regime.PARTIAL)
    logits = built.learner(labeled.image)["subclass"]
    expected = negative_cross_entropy(
        logits, labeled.codes, made.label_sets, built.membership, balanced=preset == "paper"
    )
    assert found["negative"].item() == pytest.approx(expected.item(), rel=1e-5)
    other = terms_of(tiny.method("supervised", preset=preset), made).values
    built.learner.load_state_dict(tiny.method("supervised").learner.state_dict())
    found = terms_of(built, made).values
    assert {name: found[name].item() for name in other} == pytest.approx(
        {n: v.item() for n, v in other.items()}, rel=1e-4
    )


def test_coarse_rows_alone_move_the_network_between_superclasses_only():
    built, made = tiny.method("negative_learning"), tiny.batch(rows={Regime.COARSE: 2})[0]
    logits = built.learner(made.image)["subclass"].detach().requires_grad_()
    negative_cross_entropy(logits, made.codes, made.label_sets, built.membership).backward()
    organ = (made.codes == tiny.TABLE.code(frozenset([tiny.HEAD, tiny.TAIL]))).unsqueeze(1)
    p = logits.detach().softmax(1)
    # Inside the organ the gradient splits as the probabilities do: nothing is said of head against tail.
    ratio = logits.grad[:, tiny.HEAD] / logits.grad[:, tiny.TAIL]
    expected = p[:, tiny.HEAD] / p[:, tiny.TAIL]
    assert torch.allclose(ratio[organ[:, 0]], expected[organ[:, 0]], rtol=1e-3)
    assert terms_of(built, made).values["cross_entropy"].item() == 0


def test_its_weight_is_an_option():
    built = tiny.method("negative_learning", options={"negative_weight": 0.25})
    assert terms_of(built, tiny.batch()[0]).weights["negative"] == 0.25
