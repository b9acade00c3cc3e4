"""SASSNet: who teaches whom, which rows count as labeled, what is judged; and the slips of its released code."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn import functional

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.adversarial import shape_aware_adversarial
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts.ramps import ramp
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.optimizers import Optimizers
from Testing.lib.methods import tiny

LATE = Progress(900, 0.9)
NAME = "shape_aware_adversarial"


def method(**options):
    preset = options.pop("preset", None)
    return tiny.method(NAME, preset=preset, options={"adversary_width": 4, **options})


def batch(**more):
    return tiny.batch_for(NAME, **more)


def yields(built, made, progress=LATE):
    found = []
    for terms in built.losses(made, progress):
        terms.total().backward(retain_graph=True)
        found.append((terms, {n: p.grad.clone() for n, p in built.named_parameters() if p.grad is not None}))
        built.zero_grad()
    return found


def taught(gradients, part):
    return any(found.abs().sum() > 0 for name, found in gradients.items() if name.startswith(part))


def shown_to(network):
    """A list that gets the map and the image that the network is given, pass by pass."""
    seen = []
    network.register_forward_hook(lambda network, given, result: seen.append(tuple(part.detach() for part in given)))
    return seen


@pytest.mark.parametrize("preset", ["ours", "paper", "code"])
def test_each_network_learns_from_its_own_terms_alone(preset):
    built = method(preset=preset)
    (main, of_main), (judgment, of_judgment) = yields(built, batch()[0])
    assert (main.group, judgment.group) == ("main", "adversary")
    assert taught(of_main, "learner.")
    assert not taught(of_main, "discriminator.")
    assert taught(of_judgment, "discriminator.")
    assert not taught(of_judgment, "learner.")


def test_a_discriminator_that_is_not_frozen_would_learn_to_be_deceived(monkeypatch):
    monkeypatch.setattr(shape_aware_adversarial, "frozen", lambda *networks: nullcontext())
    (_, of_main), _ = yields(method(), batch()[0])
    assert taught(of_main, "discriminator.")


def test_distances_that_are_not_detached_would_teach_the_network_to_be_told_apart():
    built = method()
    plain = built._segmentation
    built._segmentation = lambda made, progress: (plain(made, progress)[0], built.learner(made.image)["distance"])
    _, (_, of_judgment) = yields(built, batch()[0])
    assert taught(of_judgment, "learner.")


def test_the_adversary_moves_the_head_that_it_judges():
    made = batch()[0]
    for judges, head in (("distance", "distance"), ("probability", "subclass")):
        built = method(judges=judges)
        main = next(iter(built.losses(made, LATE)))
        heads = built.learner.network.heads
        for name in ("distance", "subclass"):
            found = torch.autograd.grad(
                main.values["adversarial"], heads[name].convolution.weight, retain_graph=True, allow_unused=True
            )[0]
            assert (found is not None and found.abs().sum() > 0) == (name == head)


def test_the_weight_rises_as_the_paper_says():
    for fraction in (0.0, 0.31, 0.9, 1.0):
        progress = Progress(0, fraction)
        for preset, levels in (("paper", None), ("code", 40)):
            terms = next(iter(method(preset=preset).losses(batch()[0], progress)))
            expected = 0.01 * ramp(progress, "gaussian", share=1.0, levels=levels)
            assert terms.weights["adversarial"] == pytest.approx(expected)
            assert terms.weights["distance"] == 0.3
            assert (terms.weights["cross_entropy"], terms.weights["dice"]) == (0.0, 1.0)


@pytest.mark.parametrize(("preset", "kept"), [("paper", 0.99), ("code", 0.99), ("ours", 0.999)])
def test_the_discriminator_is_trained_by_the_released_adam(preset, kept):
    # "ours" stays with PyTorch's own.
    optimizers = Optimizers(method(preset=preset), TrainingSettings(optimizer="sgd"))
    (group,) = optimizers._optimizers["adversary"].param_groups
    assert group["betas"] == (0.9, kept)
    assert (group["lr"], group["weight_decay"]) == (1e-4, 0.0)


def of_rows(built, made):
    """The two terms of the discriminator, worked from its logits and from what each row is."""
    is_labeled = torch.zeros(len(made), dtype=torch.bool)
    is_labeled[made.rows[Regime.FULL]] = True
    built.discriminator.eval()
    judged = torch.randn(len(made), len(built.task.names), *made.image.shape[2:])
    losses = functional.cross_entropy(built.discriminator(judged, made.image), is_labeled.long(), reduction="none")
    return built._judgment(made, judged).values, losses, is_labeled


@pytest.mark.parametrize(("full", "others"), [(2, 2), (1, 3), (3, 1), (3, 0), (0, 3)])
def test_which_rows_are_labeled_comes_from_the_batch(full, others):
    rows = {Regime.FULL: full, Regime.COARSE: others // 2, Regime.NONE: others - others // 2}
    found, losses, is_labeled = of_rows(method(), batch(rows=rows)[0])
    for name, chosen in (("told_labeled", is_labeled), ("told_unlabeled", ~is_labeled)):
        expected = losses[chosen].mean().item() if chosen.any() else 0.0
        assert found[name].item() == pytest.approx(expected, rel=1e-5), name


def test_the_released_list_of_targets_fails_for_any_rows_but_two_and_two():
    released = torch.tensor([1, 1, 0, 0])
    for full in (1, 2, 3):
        built = method()
        made = batch(rows={Regime.FULL: full, Regime.NONE: 4 - full})[0]
        built.discriminator.forward = lambda judged, image: torch.tensor([[0.0, 3.0], [0, 2], [0, 1], [0, 0]])
        terms = built._judgment(made, made.image).total().item()
        fixed = functional.cross_entropy(built.discriminator(None, None), released).item()
        assert (terms == pytest.approx(fixed, rel=1e-5)) == (full == 2)


def test_rows_that_are_not_fully_labeled_must_look_labeled_and_the_others_are_left_alone():
    built = method()
    made = batch(rows={Regime.FULL: 2, Regime.COARSE: 1, Regime.NONE: 1})[0]
    seen = shown_to(built.discriminator)
    main, _ = built.losses(made, LATE)
    (judged, image), (everything, images) = seen
    assert torch.equal(image, made.image[2:])
    assert torch.equal(images, made.image)
    assert torch.equal(judged, everything[2:])
    built.discriminator.eval()
    logits = built.discriminator(judged, image)
    expected = functional.cross_entropy(logits, torch.ones(2, dtype=torch.int64)).item()
    assert main.values["adversarial"].item() == pytest.approx(expected, rel=1e-5)


def test_the_discriminator_is_deceived_without_dropout_and_learns_with_it():
    built = method().train()
    modes = []
    built.discriminator.register_forward_hook(lambda network, given, result: modes.append(network.dropout.training))
    list(built.losses(batch()[0], LATE))
    assert modes == [False, True]
    assert built.discriminator.training


def test_it_learns_to_tell_labeled_rows_from_others():
    torch.manual_seed(0)
    built = method()
    made = batch(rows={Regime.FULL: 2, Regime.NONE: 2})[0]
    judged = torch.randn(4, len(built.task.names), 8, 8, 8).tanh()
    judged[2:] += 0.5
    optimizer = torch.optim.Adam(built.discriminator.parameters(), lr=0.01)
    for _ in range(60):
        built._judgment(made, judged).total().backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        found = built.discriminator.eval()(judged, made.image).argmax(1)
    assert found.tolist() == [1, 1, 0, 0]


def test_a_batch_without_other_rows_deceives_nobody():
    built = method()
    (main, of_main), _ = yields(built, batch(rows={Regime.FULL: 2})[0])
    assert main.values["adversarial"].item() == 0
    assert taught(of_main, "learner.")


@pytest.mark.parametrize("prediction", ["segmentation", "distance", "mean"])
def test_it_predicts_with_either_head_or_with_both(prediction):
    built = method(prediction=prediction).eval()
    image = torch.randn(1, 2, 9, 5, 7)
    outputs = built.learner(image)
    segmented, measured = built.learner.probability(outputs), built.task.logits(outputs["distance"]).softmax(1)
    expected = {"segmentation": segmented, "distance": measured, "mean": (segmented + measured) / 2}[prediction]
    assert torch.allclose(built.predict(image), expected, atol=1e-6)


@pytest.mark.parametrize(("judges", "channels"), [("distance", 4), ("probability", 4)])
def test_the_discriminator_takes_every_structure_or_every_leaf(judges, channels):
    # Structures: head, tail and vessel, and the organ that the first two make up; leaves: these three and background.
    assert method(judges=judges).discriminator.map_stem.weight.shape[1] == channels
