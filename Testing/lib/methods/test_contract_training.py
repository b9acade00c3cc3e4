"""What every registered method must do over a training: ramps, resumes, presets, other trees, half precision."""

import copy
import math

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Progress
from SemiSegLib.training.trainer import Trainer
from Testing.lib.methods import tiny
from Testing.lib.training.tiny_training import settings

every_method = pytest.mark.parametrize("name", tiny.all_methods())
every_preset = pytest.mark.parametrize(
    ("name", "preset"), [(card.name, preset) for card in CARDS for preset in card.presets]
)
LATE = Progress(900, 0.9)


def gaussian(share, wait=0.0, weight=1.0):
    """A weight that rises as exp(-5 (1 - u)^2) over a share of the training, from a wait on."""

    def at(fraction):
        if fraction < wait:
            return 0.0
        return weight * math.exp(-5 * (1 - min((fraction - wait) / share, 1)) ** 2)

    return at


# What is off by default and has a ramp.
SWITCHED_ON = {"efficient_subclass": {"mix": "full"}}
# How the weights of each method's preset "ours" change over a training, by a part of the terms' names. All that is
# not named here must stay as it is, so a method with another ramp has to be written down.
RISING = {
    "efficient_subclass": {"mix_": gaussian(0.3)},
    "roi_mean_teacher": {"consistency": gaussian(0.1)},
    "latent_classes": {
        "latent_": gaussian(0.1, wait=0.5),
        "ambiguous": gaussian(0.1, wait=0.5),
        # Narrowed labels take the place of the labels.
        "cross_entropy": lambda fraction: 1 - gaussian(0.1, wait=0.5)(fraction),
        "dice": lambda fraction: 1 - gaussian(0.1, wait=0.5)(fraction),
    },
    "mean_teacher": {"consistency": gaussian(0.25)},
    "uncertainty_aware_mean_teacher": {"consistency": gaussian(0.25)},
    "transformation_consistent": {"consistency": gaussian(0.25)},
    "double_uncertainty": {"consistency": gaussian(0.25, weight=0.1)},
    "cross_pseudo_supervision": {"pseudo_": gaussian(0.2, wait=0.5, weight=0.5)},
    "dual_task_consistency": {"consistency": gaussian(1.0)},
    "dual_task_mutual_learning": {"consistency": gaussian(1.0, weight=0.1)},
    "shape_aware_adversarial": {"adversarial": gaussian(1.0, weight=0.01)},
    "attention_adversarial": {
        "adversarial": gaussian(0.1, weight=0.05),
        "self_labels": gaussian(0.1, wait=0.3, weight=0.5),
    },
}


def weights_of(built, made, fraction):
    torch.manual_seed(0)
    found = {}
    for terms in built.losses(made, Progress(round(1000 * fraction), fraction)):
        found |= terms.weights
    return found


@every_method
def test_the_weight_of_every_term_follows_its_ramp_in_closed_form(name):
    built, made = tiny.method(name, 2, options=SWITCHED_ON.get(name)), tiny.batch_for(name, 2)[0]
    constant = weights_of(built, made, 1.0)
    seen = set()
    for fraction in (0.0, 0.01, 0.07, 0.2, 0.35, 0.6, 1.0):
        for term, weight in weights_of(built, made, fraction).items():
            part = next((part for part in RISING.get(name, {}) if part in term), None)
            expected = constant[term] if part is None else RISING[name][part](fraction)
            assert weight == pytest.approx(expected), (term, fraction)
            seen.add(part)
    assert seen - {None} == set(RISING.get(name, {}))


# One superclass of two leaves, one that is a leaf, and three, of which one is a leaf; leaves in another order.
def tree(**superclasses):
    structures = [Structure(name=name) for name in superclasses]
    most = max(max(superclasses.values()), 1)
    for number in range(most):
        structures += [Structure(name=f"{name}{number}", parent=name) for name, n in superclasses.items() if number < n]
    return LabelScheme(name="tree", structures=tuple(structures))


TREES = {"one": tree(organ=2), "one leaf": tree(organ=0), "three": tree(b=2, a=3, c=0)}


def check_that_every_output_learns(built, made):
    """Every leaf, superclass and distance of every output layer that is trained gets a gradient of its own."""
    for terms in built.losses(made, LATE):
        terms.total().backward()
    parameters = dict(built.named_parameters())
    outputs = {layer: names for layer, names in built.warm_start_rows().items() if parameters[layer].requires_grad}
    assert outputs
    for layer, names in outputs.items():
        moved = parameters[layer].grad.flatten(1).abs().sum(1) if "weight" in layer else parameters[layer].grad.abs()
        for row, value in zip(names, moved, strict=True):
            assert value > 0, f"'{row}' of {layer} learns nothing"


def made_for(name, scheme, dimensions=2):
    leaves, rows = range(len(scheme.leaf_names)), dict.fromkeys(Regime, 3)
    return tiny.batch(dimensions, rows=rows, leaves=leaves, maps=card_of(name).maps, scheme=scheme)[0]


@every_method
@pytest.mark.parametrize(("kind", "dimensions"), [*((kind, 2) for kind in TREES), ("three", 3)])
def test_one_superclass_or_three_of_any_number_of_leaves_learn(name, kind, dimensions):
    scheme = TREES[kind]
    torch.manual_seed(0)
    built = build_method(name, tiny.study(dimensions, scheme=scheme), SWITCHED_ON.get(name, {})).train()
    made = made_for(name, scheme, dimensions)
    check_that_every_output_learns(built, made)
    with torch.no_grad():
        found = built.eval().predict(made.image[..., :7, :5])
    assert found.shape == (12, len(scheme.leaf_names), *(8,) * (dimensions - 2), 7, 5)
    assert torch.allclose(found.sum(1), torch.ones_like(found[:, 0]), atol=1e-5)


def test_trees_are_as_the_tests_think():
    assert TREES["three"].superclass_names == ("background", "b", "a", "c")
    assert TREES["three"].superclass_of_leaf == (0, 3, 1, 2, 1, 2, 2)
    assert len(TREES["one"].leaf_names) == 3
    assert len(TREES["one leaf"].leaf_names) == 2


def test_a_leaf_that_learns_nothing_is_noticed():
    # The released mapping by slices gives a superclass of several leaves one channel.
    scheme = TREES["three"]
    built = build_method("marginal", tiny.study(2, scheme=scheme), {})
    head = built.learner.network.heads["subclass"]
    head.convolution.weight.register_hook(lambda gradient: gradient * (torch.arange(7) != 4).view(-1, 1, 1, 1))
    with pytest.raises(AssertionError, match="learns nothing"):
        check_that_every_output_learns(built, made_for("marginal", scheme))


@every_preset
def test_every_preset_takes_steps_and_predicts(name, preset):
    built = tiny.method(name, 2, preset=preset, norm="batch", dropout=0.2).train()
    made = tiny.batch_for(name, 2)[0]
    optimizer_of = tiny.optimizers(built, 1e-3)
    before = {n: p.clone() for n, p in built.named_parameters()}
    for number in range(2):
        for terms in tiny.step(built, made, optimizer_of, number + 1, 2):
            assert all(value.isfinite() for value in terms.values.values())
    moved = {n for n, p in built.named_parameters() if not torch.equal(p, before[n])}
    trained = {n for n, p in built.named_parameters() if p.requires_grad}
    assert len(moved & trained) > 0.9 * len(trained)
    image = torch.randn(2, 2, 9, 7)
    with torch.no_grad():
        found, doubt = built.eval().predict(image), built.uncertainty(image)
    assert torch.allclose(found.sum(1), torch.ones(2, 9, 7), atol=1e-5)
    assert doubt is None or ((doubt >= 0).all() and (doubt <= 1).all())


# A killed and resumed training.
TOTAL, KILLED_AT = 5, 3
# What draws random numbers or keeps numbers of its own beyond the defaults.
RESTLESS = {
    "cross_pseudo_supervision": {"views": "strong", "predict_with": "teacher"},
    "dual_task_mutual_learning": {"predict_with": "teacher"},
    "efficient_subclass": {"mix": "full", "agreement": "turns", "predict_with": "teacher"},
    "transformation_consistent": {"turns": True},
    "dodnet": {"tasks": "one"},
    "attention_adversarial": {"threshold": "labeled_dice"},
}


def a_training(name, state=None, dimensions=2):
    built = tiny.method(name, dimensions, options=RESTLESS.get(name), norm="batch", dropout=0.3)

    def batches(first):
        number = first
        while True:
            yield tiny.batch_for(name, dimensions, seed=number)[0]
            number += 1

    torch.manual_seed(11)
    return Trainer(built, batches, settings(steps=TOTAL), device="cpu", state=state)


def told_of_every_step(trainer):
    for _ in trainer.run():
        yield trainer.step
        trainer.clock._told = -math.inf


def check_that_a_resumed_training_equals_a_whole_one(name, dimensions=2, forget=None):
    whole, saved = a_training(name, dimensions=dimensions), None
    for step in told_of_every_step(whole):
        if step == KILLED_AT and saved is None:
            saved = copy.deepcopy(whole.state())
    assert saved is not None
    torch.manual_seed(99)
    if forget is not None:
        saved = ({key: value for key, value in saved[0].items() if forget not in key}, saved[1])
    resumed = a_training(name, saved, dimensions)
    for _ in told_of_every_step(resumed):
        pass
    expected, found = whole.method.state_dict(), resumed.method.state_dict()
    for key, value in expected.items():
        assert torch.equal(found[key], value), key
    assert torch.equal(whole._random["cpu"], resumed._random["cpu"])
    return expected, saved[0]


@every_method
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_killed_and_resumed_training_equals_an_uninterrupted_one(name, dimensions):
    ended, saved = check_that_a_resumed_training_equals_a_whole_one(name, dimensions)
    # The steps after the kill did something.
    assert any(not torch.equal(value, saved[f"method.{key}"]) for key, value in ended.items())


def test_a_resume_with_other_random_numbers_is_noticed():
    with pytest.raises(AssertionError):
        check_that_a_resumed_training_equals_a_whole_one("mean_teacher", forget="random.")


# Half precision.


def losses_and_gradients(name, precision):
    torch.manual_seed(0)
    built = tiny.method(name, 2, options=SWITCHED_ON.get(name)).train()
    made = tiny.batch_for(name, 2)[0]
    torch.manual_seed(1)
    values, found = {}, built.losses(made, LATE)
    while True:
        with torch.autocast("cpu", precision or torch.bfloat16, enabled=precision is not None):
            terms = next(found, None)
        if terms is None:
            break
        values |= {term: value.item() for term, value in terms.values.items()}
        assert all(value.dtype == torch.float32 for value in terms.values.values())
        terms.total().backward()
    return values, {n: p.grad for n, p in built.named_parameters() if p.grad is not None}


@every_method
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16], ids=["bf16", "fp16"])
@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_terms_in_half_precision_are_nearly_those_in_single(name, precision):
    # Plain kernels: some machines die of oneDNN's bf16 instructions.
    with torch.backends.mkldnn.flags(enabled=False):
        exact, found = (losses_and_gradients(name, kind) for kind in (None, precision))
    for term, value in exact[0].items():
        assert found[0][term] == pytest.approx(value, rel=0.05, abs=0.02), term
    assert set(found[1]) == set(exact[1])
    both = [torch.cat([part.flatten() for part in gradients.values()]) for _, gradients in (exact, found)]
    assert both[1].isfinite().all()
    assert torch.cosine_similarity(*both, dim=0) > 0.97
