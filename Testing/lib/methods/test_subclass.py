"""What each of the first methods does with superclasses, beyond the contract."""

from dataclasses import replace

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts.learner import superclass_first
from Testing.lib.methods import tiny

START = Progress(0, 0.0)


def terms_of(built, made):
    return next(iter(built.losses(made, START)))


def test_marginal_training_does_not_care_which_leaf_of_a_superclass_a_coarse_voxel_is():
    built = tiny.method("marginal").eval()
    made, truth = tiny.batch(rows={Regime.COARSE: 2})
    logits = built.learner.network(made.image)["subclass"].detach()
    swapped = logits[:, [0, 2, 1, 3]]
    organ = ((truth == tiny.HEAD) | (truth == tiny.TAIL)).unsqueeze(1)
    outputs = built.learner.network(made.image)
    found = []
    for chosen in (logits, torch.where(organ, swapped, logits)):
        said = replace(outputs, logits={"subclass": chosen})
        built.learner.network.forward = lambda image, said=said: said
        found.append({name: value.item() for name, value in terms_of(built, made).values.items()})
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_supervised_training_equals_marginal_training_on_full_labels():
    made = tiny.batch(rows={Regime.FULL: 3})[0]
    first, second = (terms_of(tiny.method(name), made).values for name in ("supervised", "marginal"))
    assert {k: v.item() for k, v in first.items()} == {k: v.item() for k, v in second.items()}


def test_the_leaf_head_of_the_modified_unet_learns_from_full_rows_only():
    built = tiny.method("modified_unet")
    made = tiny.batch()[0]
    before = terms_of(built, made).values
    after = terms_of(built, tiny.without_labels(made, Regime.COARSE, Regime.PARTIAL)).values
    for name in before:
        assert (before[name].item() == after[name].item()) == name.startswith("subclass_"), name


def test_the_superclass_head_of_the_modified_unet_sees_every_labeled_row():
    built, made = tiny.method("modified_unet"), tiny.batch(rows={Regime.COARSE: 2, Regime.PARTIAL: 1})[0]
    terms = terms_of(built, made)
    assert terms.values["subclass_cross_entropy"].item() == 0
    terms.total().backward()
    heads = built.learner.network.heads
    assert heads["superclass"].convolution.weight.grad.abs().sum() > 0
    assert (
        heads["subclass"].convolution.weight.grad is None or heads["subclass"].convolution.weight.grad.abs().sum() == 0
    )


def test_the_papers_heads_share_a_convolution():
    built = tiny.method("modified_unet", preset="paper")
    terms_of(built, tiny.batch()[0]).total().backward()
    shared = dict(built.learner.network.projection.named_parameters())
    assert {tuple(p.shape) for p in shared.values()} == {(8,), (8, 8, 3, 3, 3)}
    assert all(p.grad.abs().sum() > 0 for p in shared.values())


def test_superclass_first_is_worked_by_hand():
    # Superclasses background, organ {1, 2}, vessel with 0.5, 0.3, 0.2; inside the organ head : tail is 3 : 1.
    superclass = torch.tensor([0.5, 0.3, 0.2]).log().view(1, 3, 1)
    subclass = torch.tensor([9.0, 3.0, 1.0, 9.0]).log().view(1, 4, 1)
    found = superclass_first(subclass, superclass, ((0,), (1, 2), (3,)))
    assert found.flatten().tolist() == pytest.approx([0.5, 0.3 * 0.75, 0.3 * 0.25, 0.2])


def test_leaves_of_one_superclass_need_not_be_neighbors():
    superclass, subclass = torch.randn(2, 2, 5), torch.randn(2, 4, 5)
    order = [2, 0, 3, 1]
    found = superclass_first(subclass, superclass, ((0, 2), (1, 3)))
    moved = superclass_first(subclass[:, order], superclass, ((0, 1), (2, 3)))
    assert torch.allclose(found[:, order], moved)


def test_the_predicted_leaf_lies_in_the_predicted_superclass():
    built = tiny.method("modified_unet").eval()
    image = torch.randn(2, 2, 9, 8, 7)
    outputs = built.learner.network(image)
    probability = built.predict(image)
    membership = torch.from_numpy(tiny.SCHEME.membership.copy()).float()
    masses = torch.einsum("rl,bl...->br...", membership, probability)
    assert torch.allclose(masses, outputs["superclass"].softmax(1), atol=1e-6)
    paper = tiny.method("modified_unet", preset="paper", options={"projection": False}).eval()
    paper.load_state_dict(built.state_dict())
    assert torch.allclose(paper.predict(image), outputs["subclass"].softmax(1), atol=1e-6)


def test_the_papers_loss_is_half_the_sum_of_cross_entropy_and_dice_of_all_classes():
    # Worked with plain PyTorch, as ESL's trainer writes it.
    built = tiny.method("supervised", preset="paper")
    made, truth = tiny.batch(rows={Regime.FULL: 3})
    logits = built.learner.network(made.image)["subclass"]
    p, t = logits.softmax(1), torch.nn.functional.one_hot(truth, 4).movedim(-1, 1)
    axes = (0, 2, 3, 4)
    dice = 1 - (2 * (p * t).sum(axes) + 1e-5) / (p.square().sum(axes) + t.sum(axes) + 1e-5)
    expected = 0.5 * (torch.nn.functional.cross_entropy(logits, truth) + dice.mean())
    assert terms_of(built, made).total().item() == pytest.approx(expected.item(), abs=1e-5)


def test_deep_supervision_weighs_each_resolution_half_of_the_finer_one():
    built = tiny.method(
        "supervised", features=(6, 8, 8), strides=((2,) * 3,) * 2, kernels=((3,) * 3,) * 3, deep_supervision=1
    )
    made, truth = tiny.batch(rows={Regime.FULL: 2})
    outputs = built.learner.network(made.image)
    cross_entropy = torch.nn.functional.cross_entropy
    expected = cross_entropy(outputs["subclass"], truth) + 0.5 * cross_entropy(outputs.deep[0], truth[:, ::2, ::2, ::2])
    found = terms_of(built, made).values["cross_entropy"]
    assert found.item() == pytest.approx(expected.item() / 1.5, abs=1e-5)
