"""Dual-task consistency and mutual learning: what each term teaches whom, the published traps, several classes."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from SemiSegLib.batches.distance import SIGNED_DISTANCE, SIGNED_DISTANCE_KNOWN
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.dual.dual_task_mutual_learning import DualTaskMutualLearning
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.networks.network import SegmentationNetwork
from Testing.lib.methods import tiny

CONSISTENCY, MUTUAL = "dual_task_consistency", "dual_task_mutual_learning"
both_methods = pytest.mark.parametrize("name", [CONSISTENCY, MUTUAL])
END = Progress(1000, 1.0)
GROUPS = ("segmentation", "distance")


def yielded(built, made, progress=END):
    return list(built.losses(made, progress))


def gradient(value, network):
    return torch.autograd.grad(value, list(network.parameters()), retain_graph=True, allow_unused=True)


def moves(value, network):
    return any(part is not None and part.abs().sum() > 0 for part in gradient(value, network))


def a_mutual(**options):
    built = tiny.method(MUTUAL, preset=options.pop("preset", None), options=options)
    return built, tiny.batch_for(MUTUAL)[0]


# One agreement, not detached, in both losses and backpropagated twice.


def hand_written(built, made):
    """The gradient of the agreement of each network when it counts once, by the released code's own words."""
    p_s = built.task.of_structures(built.segmentation.probability(built.segmentation(made.image)))
    p_d = built.task.probability(built.distance(made.image)["distance"], END)
    return {
        "segmentation": gradient(torch.mean((p_d.detach() - p_s) ** 2), built.segmentation),
        "distance": gradient(torch.mean((p_d - p_s.detach()) ** 2), built.distance),
    }


def ratio(found, expected):
    """How many times the gradient is the expected one; every parameter must say the same."""
    ratios = [
        (a.norm() / b.norm()).item() for a, b in zip(found, expected, strict=True) if b is not None and b.norm() > 1e-7
    ]
    assert ratios
    assert max(ratios) - min(ratios) < 1e-3 * max(ratios)
    return ratios[0]


def agreement_gradients(built, made):
    found = {}
    for terms in yielded(built, made):
        term = f"{terms.group}_consistency"
        network = getattr(built, terms.group)
        found[terms.group] = gradient(terms.weights[term] * terms.values[term], network)
    return found


@pytest.mark.parametrize(("preset", "expected"), [("ours", 0.1), ("paper", 0.1), ("code", 2.0)])
def test_each_network_gets_the_agreement_as_often_as_its_preset_says(preset, expected):
    # 0.1 is the paper's weight counted once; the code has 1.0 and counts it twice: 20 times the paper.
    options = {} if preset == "ours" else {"steepness": 5.0, "steepness_start": 5.0}
    built, made = a_mutual(preset=preset, respect_labels=False, **options)
    found, once = agreement_gradients(built, made), hand_written(built, made)
    for group in GROUPS:
        assert ratio(found[group], once[group]) == pytest.approx(expected, rel=1e-3)


class ReleasedMutualLearning(DualTaskMutualLearning):
    """The agreement as released: shared, not detached, in both losses."""

    def losses(self, batch, progress):
        for terms in super().losses(batch, progress):
            p_s = self.task.of_structures(self.segmentation.probability(self.segmentation(batch.image)))
            p_d = self.task.probability(self.distance(batch.image)["distance"], progress)
            term = f"{terms.group}_consistency"
            yield replace(terms, values={**terms.values, term: torch.mean((p_d - p_s) ** 2)})


def test_the_agreement_as_released_counts_twice_and_the_check_sees_it():
    study = tiny.study()
    card = card_of(MUTUAL)
    options = resolve_options(card, "paper", {"steepness": 5.0, "steepness_start": 5.0})
    torch.manual_seed(0)
    released = ReleasedMutualLearning(study, DualTaskMutualLearning.Options(**options))
    made = tiny.batch_for(MUTUAL)[0]
    sums = dict.fromkeys(GROUPS)
    for terms in yielded(released, made):
        term = f"{terms.group}_consistency"
        for group in GROUPS:
            parts = gradient(terms.weights[term] * terms.values[term], getattr(released, group))
            before = sums[group] or [torch.zeros_like(p) if p is not None else None for p in parts]
            sums[group] = [a if b is None else a + b for a, b in zip(before, parts, strict=True)]
    once = hand_written(released, made)
    for group in GROUPS:
        assert ratio(sums[group], once[group]) == pytest.approx(2 * 0.1, rel=1e-3)


def test_what_a_network_is_taught_never_moves_the_other():
    for preset in ("ours", "paper", "code"):
        built, made = a_mutual(preset=preset)
        for terms, other in zip(yielded(built, made), reversed(GROUPS), strict=True):
            for term, value in terms.values.items():
                assert not moves(value, getattr(built, other)), term
                if term.endswith("consistency") and preset == "ours":
                    assert moves(value, getattr(built, terms.group)), term
    released = ReleasedMutualLearning(tiny.study(), DualTaskMutualLearning.Options())
    terms = next(released.losses(made, END))
    assert moves(terms.values["segmentation_consistency"], released.distance)


def test_the_agreement_of_two_heads_moves_both():
    built = tiny.method(CONSISTENCY)
    (terms,) = yielded(built, tiny.batch_for(CONSISTENCY)[0])
    for head in ("subclass", "distance"):
        assert moves(terms.values["consistency"], built.learner.network.heads[head]), head


# The error of the distances over all rows would use the labels of unlabeled ones.


def with_labels_where_none_are(made):
    """What a broken batch might hold: labels and distances of rows whose regime says that there are none."""
    rows = made.rows[Regime.NONE]
    maps = {name: value.clone() for name, value in made.maps.items()}
    maps[SIGNED_DISTANCE][rows] = float("nan")
    maps[SIGNED_DISTANCE_KNOWN][rows] = True
    codes = made.codes.clone()
    codes[rows] = 1
    return replace(made, codes=codes, maps=maps)


def supervised_values(built, made):
    torch.manual_seed(0)
    return {
        term: value.item()
        for terms in yielded(built, made)
        for term, value in terms.values.items()
        if "consistency" not in term
    }


@both_methods
@pytest.mark.parametrize("preset", ["ours", "paper", "code"])
def test_labels_of_unlabeled_rows_are_never_used(name, preset):
    built, made = tiny.method(name, preset=preset), tiny.batch_for(name)[0]
    assert supervised_values(built, made) == supervised_values(built, with_labels_where_none_are(made))


def test_an_error_over_all_rows_as_released_would_be_noticed(monkeypatch):
    built, made = tiny.method(CONSISTENCY), tiny.batch_for(CONSISTENCY)[0]
    before = supervised_values(built, made)
    terms = built.learner.terms
    monkeypatch.setattr(
        built.learner,
        "terms",
        lambda outputs, rows: {**terms(outputs, rows), "distance": built.task.error(outputs["distance"], rows)},
    )
    assert supervised_values(built, made) != supervised_values(built, with_labels_where_none_are(made))
    assert supervised_values(built, made).keys() == before.keys()


@both_methods
def test_full_supervision_takes_no_label_of_coarse_and_partial_rows(name):
    built, made = tiny.method(name, preset="paper"), tiny.batch_for(name)[0]
    poisoned = made.codes.clone()
    for regime in (Regime.COARSE, Regime.PARTIAL):
        poisoned[made.rows[regime]] = 2
    assert supervised_values(built, made) == supervised_values(built, replace(made, codes=poisoned))
    ours = tiny.method(name)
    assert supervised_values(ours, made) != supervised_values(ours, replace(made, codes=poisoned))


@both_methods
def test_the_agreement_is_on_every_row(name):
    built, made = tiny.method(name), tiny.batch_for(name)[0]
    for row in range(len(made)):
        image = made.image.clone()
        image[row] += 1.0
        for before, after in zip(yielded(built, made), yielded(built, replace(made, image=image)), strict=True):
            for term in (term for term in before.values if "consistency" in term):
                assert before.values[term].item() != after.values[term].item(), (term, row)


# Weights.


@both_methods
def test_weights_follow_their_ramp_in_closed_form(name):
    largest = {CONSISTENCY: 1.0, MUTUAL: 0.1}[name]
    for fraction in (0.0, 0.25, 0.5, 1.0):
        expected = largest * torch.exp(torch.tensor(-5.0 * (1 - fraction) ** 2)).item()
        for terms in yielded(tiny.method(name), tiny.batch_for(name)[0], Progress(0, fraction)):
            (weight,) = (value for term, value in terms.weights.items() if "consistency" in term)
            assert weight == pytest.approx(expected)


@both_methods
def test_the_released_ramp_rises_every_150_of_6000_steps(name):
    built, made = tiny.method(name, preset="code"), tiny.batch_for(name, rows={Regime.FULL: 1})[0]
    largest = {CONSISTENCY: 1.0, MUTUAL: 2.0}[name]
    for step in (0, 149, 150, 3000, 5999):
        terms = next(built.losses(made, Progress(step, step / 6000)))
        (weight,) = (value for term, value in terms.weights.items() if "consistency" in term)
        # Their ramp counts stairs of 150 steps, 40 of them.
        expected = largest * torch.exp(torch.tensor(-5.0 * (1 - (step // 150) / 40) ** 2)).item()
        assert weight == pytest.approx(expected)


def test_the_papers_total_is_dice_and_three_tenths_of_the_error_and_the_agreement():
    # DTC with plain PyTorch, one structure, as its code writes it.
    scheme = LabelScheme(name="binary", structures=(Structure(name="atrium"),))
    study = Study(scheme=scheme, plan=tiny.study().plan)
    torch.manual_seed(0)
    built = build_method(CONSISTENCY, study, resolve_options(card_of(CONSISTENCY), "paper", {}))
    truth = torch.zeros(2, 8, 8, 8, dtype=torch.int64)
    truth[:, 2:6, 2:7, 1:5] = 1
    made = tiny.batch(rows={Regime.FULL: 1, Regime.NONE: 1})[0]
    sets = torch.tensor([[True, True], [True, False], [False, True]])
    codes = torch.stack([truth[0] + 1, torch.zeros_like(truth[1])])
    maps = {SIGNED_DISTANCE: torch.zeros(2, 1, 8, 8, 8), SIGNED_DISTANCE_KNOWN: torch.tensor([[True], [False]])}
    made = replace(made, codes=codes, label_sets=sets, maps=maps)
    outputs = built.learner(made.image)
    soft, d = outputs["subclass"].softmax(1)[:, 1], outputs["distance"][:, 0]
    p, t = soft[:1], truth[:1].float()
    dice = 1 - (2 * (p * t).sum() + 1e-5) / (p.square().sum() + t.sum() + 1e-5)
    distance = torch.nn.functional.mse_loss(d[:1], built.task.target(made.part(Regime.FULL))[0][:, 0])
    agreement = torch.mean((torch.sigmoid(-1500 * d) - soft) ** 2)
    (terms,) = yielded(built, made)
    assert terms.total().item() == pytest.approx((dice + 0.3 * distance + agreement).item(), rel=1e-4)


# Variants of paper 003.


@pytest.mark.parametrize("loss", ["mask", "distance", "both"])
def test_each_loss_of_the_distances_teaches_the_distance_network(loss):
    built, made = a_mutual(distance_loss=loss)
    terms = yielded(built, made)[1]
    masks = {"mask_cross_entropy", "mask_dice"}
    expected = {"mask": masks, "distance": {"distance"}, "both": {*masks, "distance"}}[loss]
    assert set(terms.values) == {*expected, "distance_consistency"}
    for term in expected:
        assert moves(terms.values[term], built.distance), term


@pytest.mark.parametrize("alone", GROUPS)
def test_a_network_alone_learns_from_labels_and_predicts_alone(alone):
    built, made = a_mutual(networks=alone)
    assert set(built.parameter_groups()) == {alone}
    assert not any("consistency" in term for terms in yielded(built, made) for term in terms.values)
    optimizer_of = tiny.optimizers(built)
    for number in range(60):
        tiny.step(built, made, optimizer_of, number, 60)
    truth = tiny.batch_for(MUTUAL)[1]
    full = made.rows[Regime.FULL]
    found = built.eval().predict(made.image).argmax(1)
    assert (found[full] == truth[full]).float().mean() > 0.9
    assert built.uncertainty(made.image) is None
    for rows in ({Regime.NONE: 2}, {Regime.COARSE: 1}):
        for terms in yielded(built, tiny.batch_for(MUTUAL, rows=rows)[0]):
            terms.total().backward()


def test_the_mean_of_both_is_predicted_and_the_doubt_is_its_entropy():
    image, found, doubt = torch.randn(1, 2, 5, 6, 7), {}, {}
    for prediction in ("segmentation", "distance", "mean"):
        built = tiny.method(MUTUAL, options={"prediction": prediction}).eval()
        found[prediction], doubt[prediction] = built.predict(image), built.uncertainty(image)
    mean = (found["segmentation"] + found["distance"]) / 2
    torch.testing.assert_close(found["mean"], mean)
    assert not torch.allclose(found["segmentation"], found["distance"], atol=0.01)
    # Without a doubt of its own the entropy of the prediction is taken, which is the same.
    assert doubt["mean"] is None
    expected = -(mean * mean.log()).sum(1) / torch.log(torch.tensor(4.0))
    for prediction in ("segmentation", "distance"):
        torch.testing.assert_close(doubt[prediction], expected, atol=1e-4, rtol=0)


def test_targets_respect_the_labels_there_are():
    built, made = a_mutual()
    guess = torch.full((len(made), 4, 8, 8, 8), 0.25)
    found = built._target(guess, made)
    truth = tiny.batch_for(MUTUAL)[1]
    head, vessel, organ = 0, 2, 3
    for row in range(made.rows[Regime.FULL].start, made.rows[Regime.FULL].stop):
        assert torch.equal(found[row, head], (truth[row] == tiny.HEAD).float())
    for row in range(made.rows[Regime.COARSE].start, made.rows[Regime.COARSE].stop):
        is_organ = (truth[row] == tiny.HEAD) | (truth[row] == tiny.TAIL)
        assert torch.equal(found[row, organ], is_organ.float())
        assert (found[row, head][is_organ] == 0.25).all()
        assert (found[row, head][~is_organ] == 0).all()
    for row in range(made.rows[Regime.PARTIAL].start, made.rows[Regime.PARTIAL].stop):
        assert torch.equal(found[row, vessel], (truth[row] == tiny.VESSEL).float())
    none = made.rows[Regime.NONE]
    assert torch.equal(found[none], guess[none])
    plain, made = a_mutual(respect_labels=False)
    assert torch.equal(plain._target(guess, made), guess)


def test_more_classes_and_superclasses_of_one_train_too():
    # L = 7 with background and R = 4: two superclasses of several leaves, one of one.
    parts = {"a": 3, "b": 2}
    leaves = [Structure(name=f"{name}{i}", parent=name) for name, count in parts.items() for i in range(count)]
    scheme = LabelScheme(name="many", structures=(*(Structure(name=n) for n in parts), *leaves, Structure(name="c")))
    study = Study(scheme=scheme, plan=tiny.study().plan)
    image = torch.randn(3, 2, 8, 8, 8)
    sets = torch.cat([torch.ones(1, 7, dtype=torch.bool), torch.eye(7, dtype=torch.bool)])
    rows = {regime: slice(0, 3) if regime is Regime.FULL else slice(3, 3) for regime in Regime}
    maps = {SIGNED_DISTANCE: torch.randn(3, 8, 8, 8, 8), SIGNED_DISTANCE_KNOWN: torch.ones(3, 8, dtype=torch.bool)}
    made = replace(tiny.batch()[0], image=image, codes=torch.randint(1, 8, (3, 8, 8, 8)), label_sets=sets, rows=rows)
    made = replace(made, case_ids=("x", "y", "z"), maps=maps)
    for name in (CONSISTENCY, MUTUAL):
        built = build_method(name, study, {})
        for terms in yielded(built, made):
            terms.total().backward()
        assert all(p.grad.isfinite().all() for p in built.parameters())
        assert built.eval().predict(image).shape == (3, 7, 8, 8, 8)


@both_methods
def test_outputs_in_half_precision_give_nearly_the_same_terms(name, monkeypatch):
    built, made = tiny.method(name), tiny.batch_for(name)[0]
    exact = yielded(built, made)
    forward = SegmentationNetwork.forward

    def rounded(network, image):
        outputs = forward(network, image)
        return replace(outputs, logits={head: part.bfloat16() for head, part in outputs.logits.items()})

    monkeypatch.setattr(SegmentationNetwork, "forward", rounded)
    for first, second in zip(exact, yielded(built, made), strict=True):
        for term in first.values:
            assert second.values[term].dtype == torch.float32
            assert second.values[term].item() == pytest.approx(first.values[term].item(), rel=0.02, abs=0.01), term


def test_terms_keep_their_names_through_a_training():
    built, made = a_mutual()
    seen = [[set(terms.values) for terms in yielded(built, made, Progress(i, i / 4))] for i in range(5)]
    assert all(first == second for first, second in pairwise(seen))
