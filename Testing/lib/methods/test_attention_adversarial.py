"""ASDNet: who teaches whom, what is believed, where labels count more; and the slips of its released code."""

import math
from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.adversarial import attention_adversarial
from SemiSegLib.methods.adversarial.attention_adversarial import KEPT, deceiving
from SemiSegLib.methods.method import GroupSettings, Progress
from SemiSegLib.networks.network import Outputs
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.optimizers import Optimizers
from Testing.lib.methods import tiny

LATE = Progress(90, 0.9)
FULL_AND_NONE = {Regime.FULL: 2, Regime.NONE: 2}
NOTHING = torch.zeros(0)


def method(**options):
    preset = options.pop("preset", None)
    return tiny.method("attention_adversarial", preset=preset, options={"adversary_width": 4, **options})


def yields(built, made, progress=LATE):
    found = []
    for terms in built.losses(made, progress):
        found.append(terms)
        terms.total().backward(retain_graph=True)
        found[-1] = (terms, {n: p.grad.clone() for n, p in built.named_parameters() if p.grad is not None})
        built.zero_grad()
    return found


def taught(gradients, part):
    return any(found.abs().sum() > 0 for name, found in gradients.items() if name.startswith(part))


def slope(built, value):
    weight = built.learner.network.heads["subclass"].convolution.weight
    return torch.autograd.grad(value, weight, retain_graph=True)[0].flatten()


def shown_to(network):
    """A list that gets what the network is given, pass by pass."""
    seen = []
    network.register_forward_hook(lambda network, given, result: seen.append(given[0].detach()))
    return seen


def outputs_of(logits):
    return Outputs({"subclass": logits}, NOTHING, NOTHING)


@pytest.mark.parametrize("preset", ["ours", "paper", "code"])
def test_each_network_learns_from_its_own_terms_alone(preset):
    built = method(preset=preset)
    (main, of_main), (judgment, of_judgment) = yields(built, tiny.batch()[0])
    assert (main.group, judgment.group) == ("main", "adversary")
    assert taught(of_main, "learner.")
    assert not taught(of_main, "confidence.")
    assert taught(of_judgment, "confidence.")
    assert not taught(of_judgment, "learner.")


def test_a_confidence_network_that_is_not_frozen_would_learn_to_be_deceived(monkeypatch):
    monkeypatch.setattr(attention_adversarial, "frozen", lambda *networks: nullcontext())
    (_, of_main), _ = yields(method(), tiny.batch()[0])
    assert taught(of_main, "confidence.")


def test_probabilities_that_are_not_detached_would_teach_the_network_to_be_found_out():
    built = method()
    plain = built._segmentation
    built._segmentation = lambda batch, progress: (plain(batch, progress)[0], built.predict(batch.image))
    _, (_, of_judgment) = yields(built, tiny.batch()[0])
    assert taught(of_judgment, "learner.")


def test_every_term_moves_its_network():
    built = method()
    main, judgment = (terms for terms, _ in yields(built, tiny.batch()[0]))
    for name in ("adversarial", "self_labels", "cross_entropy", "dice"):
        assert slope(built, main.values[name]).abs().sum() > 0, name
    for name in ("told_drawn", "told_predicted"):
        found = torch.autograd.grad(judgment.values[name], built.confidence.head.weight, retain_graph=True)[0]
        assert found.abs().sum() > 0, name


def test_the_weights_rise_in_closed_form_and_that_of_the_own_labels_later():
    def risen(fraction):
        return 0.0 if fraction < 0 else math.exp(-5 * max(0, 1 - fraction / 0.1) ** 2)

    for preset, fractions in (("ours", (0.0, 0.05, 0.1, 0.29, 0.3, 0.35, 0.4, 1.0)), ("paper", (0.0, 0.5))):
        built = method(preset=preset)
        for fraction in fractions:
            first, later = (risen(fraction), risen(fraction - 0.3)) if preset == "ours" else (1.0, 1.0)
            weights = built._weights(Progress(0, fraction))
            assert weights["adversarial"] == pytest.approx(0.05 * first, rel=1e-5)
            assert weights["self_labels"] == pytest.approx(0.5 * later, rel=1e-5)
            terms = next(iter(built.losses(tiny.batch()[0], Progress(0, fraction))))
            assert terms.weights == weights


def test_one_real_step_moves_each_network_by_its_own_optimizer():
    built = method(adversary_learning_rate=1e-3)
    optimizers = Optimizers(built, TrainingSettings(optimizer="sgd", learning_rate=0.1, weight_decay=0.0))
    assert built.group_settings()["adversary"] == GroupSettings(
        optimizer="adam", learning_rate=1e-3, schedule="constant", weight_decay=0.0, betas=(0.9, 0.999)
    )
    before = {name: value.clone() for name, value in built.named_parameters()}
    optimizers.set_learning_rate(LATE)
    for terms in built.losses(tiny.batch()[0], LATE):
        optimizers.backward(terms.total(), terms.group)
    optimizers.step(None)
    moved = {n: (p - before[n]).abs().max().item() for n, p in built.named_parameters()}
    # The first step of Adam is as long as the learning rate, wherever there is a gradient.
    assert max(m for n, m in moved.items() if n.startswith("confidence.")) == pytest.approx(1e-3, rel=1e-2)
    assert max(m for n, m in moved.items() if n.startswith("learner.")) > 1e-3


def test_it_learns_to_tell_what_was_drawn():
    built, made = method(), tiny.batch(rows={Regime.FULL: 3})[0]
    optimizer = torch.optim.Adam(built.confidence.parameters(), lr=0.01)
    told = []
    for _ in range(40):
        *_, judgment = built.losses(made, LATE)
        told.append(judgment.total().item())
        judgment.total().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert told[-1] < 0.5 * told[0]


def test_only_fully_labeled_rows_are_shown_as_drawn_whatever_the_batch_holds():
    # The released code of this family writes [1, 1, 0, 0].
    for full, others in ((3, 1), (1, 3), (2, 2), (1, 0)):
        built = method()
        seen = shown_to(built.confidence)
        made, truth = tiny.batch(rows={Regime.FULL: full, Regime.COARSE: others})
        list(built.losses(made, LATE))
        assert [len(part) for part in seen] == [full + others, 2 * full]
        assert torch.equal(seen[1][:full].argmax(1), truth[:full])
        assert torch.equal(seen[1][:full].amax(1), torch.ones_like(seen[1][:full, 0]))
        assert torch.equal(seen[1][full:], seen[0][:full])


def test_without_fully_labeled_rows_nothing_is_told_and_the_rest_goes_on():
    built = method()
    (main, of_main), (judgment, of_judgment) = yields(built, tiny.batch(rows={Regime.NONE: 2})[0])
    assert judgment.total().item() == 0
    assert not taught(of_judgment, "confidence.")
    assert main.values["adversarial"].item() > 0
    assert taught(of_main, "learner.")


def test_voxels_beyond_a_volume_are_the_same_in_both_maps_and_do_not_count():
    built = method()
    made, truth = tiny.batch(rows={Regime.FULL: 2})
    codes = made.codes.clone()
    codes[:, 4:] = 0
    made = replace(made, codes=codes)
    seen = shown_to(built.confidence)
    list(built.losses(made, LATE))
    drawn, predicted = seen[1].chunk(2)
    assert torch.equal(drawn[:, :, :4].argmax(1), truth[:, :4])
    assert torch.allclose(drawn[:, :, 4:], predicted[:, :, 4:], atol=1e-5)
    said = torch.randn(4, 8, 8, 8)
    built._judge = lambda judged, image: said
    found = built._judgment(made, seen[0])
    assert found["told_drawn"].item() == pytest.approx(functional.softplus(-said[:2, :4]).mean().item(), rel=1e-5)
    assert found["told_predicted"].item() == pytest.approx(functional.softplus(said[2:, :4]).mean().item(), rel=1e-5)


def test_a_voxel_that_does_not_look_drawn_counts_more():
    confidence = torch.tensor([[0.0, 0.5, 1.0], [0.2, 0.2, 0.2]])
    found = method()._emphasis(confidence)
    assert found.flatten().tolist() == pytest.approx([2.0, 1.25, 1.0, 1.64, 1.64, 1.64])
    # Rows: mean doubt 0.5 and 0.8: 1 - 0.5, and 1 + 12.5 * 0.09 - 0.5.
    found = method(attention="sample")._emphasis(confidence)
    assert found.flatten().tolist() == pytest.approx([0.5] * 3 + [1.625] * 3)
    assert method(attention="none")._emphasis(confidence) is None


def test_attention_reaches_the_losses_of_labels():
    made = tiny.batch(rows=FULL_AND_NONE)[0]
    found = {}
    for attention in ("region", "sample", "none"):
        torch.manual_seed(0)
        terms = next(iter(method(attention=attention).losses(made, LATE)))
        found[attention] = terms.values["cross_entropy"].item()
    assert len(set(found.values())) == 3
    assert found["region"] > found["none"]


def test_the_released_attention_of_rows_is_the_same_whatever_the_confidence_network_says():
    def released(logits):
        # runGAN.py: averProbTensor = 1 - softmax(outputD)[0]; averProb = its mean, over both outputs.
        doubt = (1 - logits.softmax(1))[0].mean()
        return 1 + 12.5 * (doubt - 0.5) ** 2 - 0.5

    logits = [torch.randn(2, 2, 4, 4, 4) + torch.tensor([shift, 0.0]).view(1, 2, 1, 1, 1) for shift in (-6.0, 0.0, 6.0)]
    assert [released(part).item() for part in logits] == pytest.approx([0.5] * 3, abs=1e-4)
    built = method(attention="sample")
    ours = [built._emphasis((part[:, 1] - part[:, 0]).sigmoid())[0, 0, 0, 0].item() for part in logits]
    assert max(ours) > 3
    assert min(ours) < 0.6


def test_deceiving_takes_one_sigmoid_and_the_released_code_two():
    judged = torch.tensor([-8.0, -1.0, 0.0, 2.0], requires_grad=True)
    both = torch.stack([torch.zeros_like(judged), judged], dim=1)
    real = torch.ones(4, dtype=torch.int64)
    once, twice = deceiving(judged), deceiving(judged, twice=True)
    assert once.item() == pytest.approx(functional.cross_entropy(both, real).item(), rel=1e-6)
    assert twice.item() == pytest.approx(functional.cross_entropy(both.softmax(1), real).item(), rel=1e-6)
    # Where the confidence network is sure not to be deceived, the second softmax leaves next to no gradient.
    slopes = [torch.autograd.grad(loss, judged)[0][0].abs().item() for loss in (once, twice)]
    assert slopes[0] == pytest.approx(0.25, abs=1e-3)
    assert slopes[1] < 1e-3


def test_what_is_not_detached_teaches_the_network_to_look_predicted():
    made = tiny.batch(rows={Regime.FULL: 3})[0]
    terms = next(iter((leaking := method(detached=False)).losses(made, LATE)))
    assert terms.weights["leak"] == 1.0
    leak, adversarial = slope(leaking, terms.values["leak"]), slope(leaking, terms.values["adversarial"])
    assert torch.dot(leak, adversarial) < 0
    assert leak.norm() * terms.weights["leak"] > adversarial.norm() * terms.weights["adversarial"]
    assert "leak" not in next(iter(method().losses(made, LATE))).values


def test_self_labels_are_the_likeliest_leaves_where_they_are_believed():
    built, made = method(), tiny.batch(rows=FULL_AND_NONE)[0]
    torch.manual_seed(1)
    logits = torch.randn(4, 4, 8, 8, 8, requires_grad=True)
    confidence = torch.rand(4, 8, 8, 8)
    found = built._self_labels(outputs_of(logits), made, confidence)
    believed = confidence[2:] > 0.5
    best = logits[2:].log_softmax(1).amax(1)
    assert found.item() == pytest.approx(-best[believed].mean().item(), rel=1e-5)
    moved = torch.autograd.grad(found, logits)[0].abs().sum(1) > 0
    assert not moved[:2].any()
    assert torch.equal(moved[2:], believed)
    assert built._self_labels(outputs_of(logits), made, torch.zeros_like(confidence)).item() == 0


@pytest.mark.parametrize("respect", [True, False])
def test_self_labels_stay_within_the_labels_of_a_coarse_row_if_asked(respect):
    built, (made, truth) = method(respect_labels=respect), tiny.batch(rows={Regime.COARSE: 2})
    logits = torch.zeros(2, 4, 8, 8, 8)
    # The vessel is likeliest everywhere, then the tail, then the background.
    logits[:, tiny.VESSEL], logits[:, tiny.TAIL], logits[:, tiny.BACKGROUND] = 3.0, 2.0, 1.0
    found = built._self_labels(outputs_of(logits), made, torch.ones(2, 8, 8, 8))
    said = logits.log_softmax(1)[0, :, 0, 0, 0]
    allowed = torch.tensor([tiny.BACKGROUND, tiny.TAIL, tiny.TAIL, tiny.VESSEL]) if respect else torch.full((4,), 3)
    assert found.item() == pytest.approx(-said[allowed[truth]].mean().item(), rel=1e-5)


def test_with_the_threshold_of_the_released_code_nothing_is_believed_until_labels_are_met():
    built, made = method(threshold="labeled_dice"), tiny.batch(rows=FULL_AND_NONE)[0]
    confidence = torch.full((4, 8, 8, 8), 0.999)
    outputs = outputs_of(torch.randn(4, 4, 8, 8, 8))
    assert built._self_labels(outputs, made, confidence).item() == 0
    built.labeled_dice.fill_(0.6)
    assert built._self_labels(outputs, made, confidence).item() > 0
    assert built._self_labels(outputs, made, torch.full_like(confidence, 0.39)).item() == 0


def test_the_running_dice_is_taken_in_after_the_step_and_lies_in_the_state():
    built, made = method(threshold="labeled_dice"), tiny.batch(rows=FULL_AND_NONE)[0]
    terms = next(iter(built.losses(made, LATE)))
    assert built.labeled_dice.item() == 0, "a step that is skipped must leave no trace"
    built.after_step(LATE)
    assert built.labeled_dice.item() == pytest.approx((1 - KEPT) * (1 - terms.values["dice"].item()), rel=1e-4)
    assert "labeled_dice" in built.state_dict()
    resumed = method(threshold="labeled_dice")
    resumed.load_state_dict(built.state_dict())
    list(resumed.losses(tiny.batch(rows={Regime.NONE: 2})[0], LATE))
    resumed.after_step(LATE)
    assert torch.equal(resumed.labeled_dice, built.labeled_dice)


def test_the_running_dice_takes_in_every_batch_of_a_step():
    built, dice = method(threshold="labeled_dice"), []
    for seed, rows in ((0, FULL_AND_NONE), (1, FULL_AND_NONE), (2, {Regime.NONE: 2})):
        terms = next(iter(built.losses(tiny.batch(rows=rows, seed=seed)[0], LATE)))
        dice += [1 - terms.values["dice"].item()] * (Regime.FULL in rows)
    built.after_step(LATE)
    first, second = dice
    assert first != pytest.approx(second, rel=1e-3)
    assert built.labeled_dice.item() == pytest.approx((1 - KEPT) * (first + second) / 2, rel=1e-4)
    # A step without labeled rows changes nothing.
    before = built.labeled_dice.clone()
    built.after_step(LATE)
    assert torch.equal(built.labeled_dice, before)


def test_the_confidence_network_sees_the_image_if_asked():
    made = tiny.batch(rows=FULL_AND_NONE)[0]
    built = method(sees_image=True)
    assert built.confidence.stem.weight.shape[1] == len(tiny.LEAVES) + 2
    assert len(yields(built, made)) == 2


def test_two_heads_are_judged_by_what_they_predict_together():
    built, made = method(supervision="two_heads", threshold="labeled_dice"), tiny.batch()[0]
    seen = shown_to(built.confidence)
    terms, _ = built.losses(made, LATE)
    assert torch.allclose(seen[0], built.learner.probability(built.learner(made.image)), atol=1e-5)
    assert slope(built, terms.values["adversarial"]).abs().sum() > 0
