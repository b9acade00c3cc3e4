"""Negative learning: leaves from full rows, and from every label what a voxel is not."""

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.label_set import label_set_cross_entropy, label_set_loss
from SemiSegLib.losses.negative import negative_cross_entropy
from SemiSegLib.methods.method import LossTerms, Progress
from SemiSegLib.methods.subclass.negative_learning import NegativeLearning
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


def check_that_rows_are_told_by_their_labels(built):
    """Leaves are learned from every full row, and what is excluded from every labeled row, however many there are."""
    for full, coarse in ((3, 1), (1, 3), (2, 0)):
        made = tiny.batch(rows={Regime.FULL: full, Regime.COARSE: coarse, Regime.NONE: 1})[0]
        logits = built.learner(made.image)["subclass"]
        labeled = slice(0, full + coarse)
        terms = terms_of(built, made).values
        negative = negative_cross_entropy(
            logits[labeled], made.codes[labeled], made.label_sets, built.membership, balanced=True
        )
        assert terms["negative"].item() == pytest.approx(negative.item(), rel=1e-4)
        expected = label_set_cross_entropy(logits[:full], made.codes[:full], made.label_sets)
        assert terms["cross_entropy"].item() == pytest.approx(expected.item(), rel=1e-4)


class ByPosition(NegativeLearning):
    """The released trainer's slices: the first two rows are full, the others are coarse, whatever the loader gave."""

    def losses(self, batch, progress):
        outputs = self.learner(batch.image)["subclass"]
        fine = label_set_loss(outputs[:2], batch.codes[:2], batch.label_sets)
        negative = negative_cross_entropy(outputs[2:], batch.codes[2:], batch.label_sets, self.membership)
        values = {**fine, "negative": negative}
        yield LossTerms(values, dict.fromkeys(values, 1.0))


def test_which_rows_are_full_comes_from_the_batch():
    built = tiny.method("negative_learning", preset="paper")
    check_that_rows_are_told_by_their_labels(built)
    built.__class__ = ByPosition
    with pytest.raises(AssertionError):
        check_that_rows_are_told_by_their_labels(built)


def test_its_weight_is_an_option():
    built = tiny.method("negative_learning", options={"negative_weight": 0.25})
    assert terms_of(built, tiny.batch()[0]).weights["negative"] == 0.25


def test_the_released_loss_leaves_out_full_rows():
    built, made = tiny.method("negative_learning", preset="code"), tiny.batch()[0]
    labeled = made.part(Regime.FULL, Regime.COARSE, Regime.PARTIAL)
    full = len(made.part(Regime.FULL))
    logits = built.learner(labeled.image)["subclass"]
    expected = negative_cross_entropy(
        logits[full:], labeled.codes[full:], made.label_sets, built.membership, balanced=True
    )
    found = terms_of(built, made).values
    assert found["negative"].item() == pytest.approx(expected.item(), rel=1e-5)
    published = terms_of(tiny.method("negative_learning", preset="paper"), made).values
    assert found["negative"].item() != pytest.approx(published["negative"].item(), rel=1e-3)
    assert {name: value.item() for name, value in found.items() if name != "negative"} == {
        name: value.item() for name, value in published.items() if name != "negative"
    }


def test_full_rows_alone_teach_nothing_of_what_the_released_loss_excludes():
    built, made = tiny.method("negative_learning", preset="code"), tiny.batch(rows={Regime.FULL: 2})[0]
    value = terms_of(built, made).values["negative"]
    assert value.item() == 0
    value.backward()
    assert all(p.grad is None or not p.grad.any() for p in built.parameters())
