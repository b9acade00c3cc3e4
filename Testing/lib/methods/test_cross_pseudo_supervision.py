"""Two networks teach each other: what each learns from labels and from the other, when, and what comes out."""

import math
from dataclasses import replace

import pytest
import torch

from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.losses.label_set import label_set_loss
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.cross import cross_pseudo_supervision
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts.supervision import DICE_RULES
from SemiSegLib.networks.backbone import BACKBONES
from Testing.lib.methods import tiny
from Testing.lib.methods.cross import LATE, NAME, START, gradients_of, largest_difference, learn, method, yielded

# What each term teaches, and whom.


@pytest.mark.parametrize("backward", ["sequential", "joint", "stacked"])
@pytest.mark.parametrize("preset", ["ours", "paper", "paper_000"])
def test_every_term_moves_its_own_network_and_never_the_one_that_it_listens_to(preset, backward):
    built = method(preset=preset, backward=backward)
    values, weights = yielded(built, tiny.batch()[0])
    pseudo = [name for name in values if "pseudo" in name]
    assert len(pseudo) == (4 if preset == "ours" else 2)
    for name, value in values.items():
        if weights[name] > 0:
            assert gradients_of(value, built) == {name.split("_")[0]}, name
    assert gradients_of(values["disagreement"], built) == set()


def test_a_pseudo_label_with_a_graph_is_caught():
    # Soft targets without a stop-gradient, as in paper 003's released code: both networks move.
    class Careless(cross_pseudo_supervision.CrossPseudoSupervision):
        def _pseudo_terms(self, logits, other, part):
            return {"pseudo_dice": (logits - self.second(made.image)["subclass"][part]).square().mean()}

    made = tiny.batch()[0]
    built = method(preset="paper", backward="joint")
    built.__class__ = Careless
    assert gradients_of(yielded(built, made)[0]["first_pseudo_dice"], built) == {"first", "second"}


def test_the_loss_of_paper_001_is_worked_with_plain_pytorch():
    made, truth = tiny.batch(rows={Regime.FULL: 2, Regime.NONE: 3})
    built = method(preset="paper")
    logits = [built.first(made.image)["subclass"], built.second(made.image)["subclass"]]

    def dice(index, target, rows):
        p, t = logits[index].softmax(1)[rows], torch.nn.functional.one_hot(target, 4).movedim(-1, 1)[rows]
        axes = (0, 2, 3, 4)
        shares = (2 * (p * t).sum(axes) + 1e-5) / (p.square().sum(axes) + t.sum(axes) + 1e-5)
        return (1 - shares.mean()).item()

    labeled, unlabeled = slice(0, 2), slice(2, 5)
    values, weights = yielded(built, made)
    for index, (name, other) in enumerate((("first", 1), ("second", 0))):
        hard = logits[other].argmax(1)
        assert values[f"{name}_dice"].item() == pytest.approx(dice(index, truth, labeled), abs=1e-5)
        expected = dice(index, hard, labeled) + dice(index, hard, unlabeled)
        assert values[f"{name}_pseudo_dice"].item() == pytest.approx(expected, abs=1e-5)
        assert weights[f"{name}_pseudo_dice"] == 0.5
        assert weights[f"{name}_dice"] == 1
        assert weights[f"{name}_cross_entropy"] == 0
    apart = (logits[0].argmax(1) != logits[1].argmax(1)).float().mean().item()
    assert values["disagreement"].item() == pytest.approx(apart)
    assert weights["disagreement"] == 0


def test_the_loss_of_paper_000_is_worked_with_plain_pytorch():
    made = tiny.batch(rows={Regime.FULL: 2, Regime.COARSE: 3})[0]
    built = method(preset="paper_000")
    logits = [built.first(made.image)["subclass"][2:], built.second(made.image)["subclass"][2:]]
    values, weights = yielded(built, made, Progress(30_000, 0.75))
    cross_entropy = torch.nn.functional.cross_entropy
    for index, name in enumerate(("first", "second")):
        expected = cross_entropy(logits[index], logits[1 - index].argmax(1)).item()
        assert values[f"{name}_pseudo_cross_entropy"].item() == pytest.approx(expected, abs=1e-5)
        assert weights[f"{name}_pseudo_cross_entropy"] == pytest.approx(0.1)
        assert {w for n, w in weights.items() if n.startswith(name) and "pseudo" not in n} == {0.25}


def test_ours_drops_the_dice_of_absent_classes_and_adds_cross_entropy():
    made = tiny.batch(rows={Regime.NONE: 2})[0]
    built = method()
    logits, hard = built.first(made.image)["subclass"], built.second(made.image)["subclass"].argmax(1)
    values = yielded(built, made)[0]
    kept = torch.unique(hard)[torch.unique(hard) > 0]
    p = logits.softmax(1)
    shares = [2 * p[:, k][hard == k].sum() / (p[:, k].sum() + (hard == k).sum()) for k in kept]
    assert values["first_pseudo_dice"].item() == pytest.approx(1 - torch.stack(shares).mean().item(), abs=1e-4)
    expected = torch.nn.functional.cross_entropy(logits, hard).item()
    assert values["first_pseudo_cross_entropy"].item() == pytest.approx(expected, abs=1e-5)


def test_the_dice_of_an_absent_class_teaches_nothing_and_ours_does_not_count_it():
    # The other network finds background alone; the paper's loss of three absent classes is next to 3/4 all the same.
    logits = torch.randn(1, 4, 6, 6, 6, requires_grad=True)
    hard, leaves = torch.zeros(1, 6, 6, 6, dtype=torch.int64), torch.eye(4, dtype=torch.bool)
    found = {name: label_set_loss(logits, hard, leaves, rule=DICE_RULES[name])["dice"] for name in ("paper", "present")}
    assert found["paper"].item() > 0.75
    assert found["present"].item() == 0


# When.


def test_the_weight_follows_its_ramp_in_closed_form():
    cases = {
        "ours": {0.0: 0.0, 0.49: 0.0, 0.5: 0.5 * math.exp(-5), 0.6: 0.5 * math.exp(-1.25), 0.7: 0.5, 1.0: 0.5},
        "paper": {0.0: 0.0, 0.0149: 0.0, 0.015: 0.5, 1.0: 0.5},
        # 200 stairs over 30,000 of 40,000 steps: one every 150 steps.
        "paper_000": {
            step / 40_000: 0.1 * math.exp(-5 * (1 - min(step // 150, 200) / 200) ** 2)
            for step in (0, 149, 150, 15_000, 30_000)
        },
    }
    for preset, expected in cases.items():
        built = method(preset=preset)
        for fraction, weight in expected.items():
            assert built.pseudo_weight(Progress(0, fraction)) == pytest.approx(weight), (preset, fraction)
    made = tiny.batch()[0]
    weights = yielded(method(), made, Progress(0, 0.6))[1]
    pseudo = [weight for name, weight in weights.items() if "pseudo" in name]
    assert pseudo == pytest.approx([0.5 * math.exp(-1.25)] * 4)


@pytest.mark.parametrize("backward", ["sequential", "joint", "stacked"])
@pytest.mark.parametrize("preset", ["ours", "paper"])
def test_while_waiting_only_labeled_rows_are_computed_and_the_names_are_the_same(preset, backward):
    built, made = method(preset=preset, backward=backward), tiny.batch()[0]
    rows = []
    for learner in (built.first, built.second):
        learner.network.backbone.register_forward_pre_hook(lambda module, given: rows.append(len(given[0])))
    waiting = yielded(built, made, START)
    computed, rows[:] = list(rows), []
    later = yielded(built, made, LATE)
    labeled = 2 if preset == "paper" else 5
    assert set(computed) == {labeled}
    assert len(computed) == (1 if backward == "stacked" else 2)
    assert set(rows) == {6}
    assert len(rows) == {"sequential": 3, "joint": 2, "stacked": 1}[backward]
    assert set(waiting[0]) == set(later[0])
    assert all(value.item() == 0 and waiting[1][name] == 0 for name, value in waiting[0].items() if "pseudo" in name)


def test_rows_without_labels_change_nothing_while_waiting_and_move_the_networks_later():
    made = tiny.batch()[0]
    other = tiny.without_labels(made, Regime.NONE)
    for progress, is_same in ((START, True), (LATE, False)):
        found = [learn(method(preset="paper"), part, progress)[0] for part in (made, other)]
        assert (largest_difference(*found) == 0) == is_same


def test_only_rows_without_full_labels_learn_if_so_asked():
    made = tiny.batch(rows={Regime.FULL: 3})[0]
    values = yielded(method(rows="unlabeled"), made)[0]
    assert values["first_pseudo_dice"].item() == 0
    assert yielded(method(rows="all"), made)[0]["first_pseudo_dice"].item() > 0


# What the labels say.


def test_a_pseudo_label_never_contradicts_a_coarse_or_partial_label():
    made = tiny.batch()[0]
    for supervision in ("marginal", "two_heads"):
        built = method(supervision=supervision)
        found = built._opinion(1, built.second(made.image), made)
        allowed = made.label_sets[made.codes].gather(-1, found.leaf.unsqueeze(-1)).squeeze(-1)
        assert allowed[2:].all()
        careless = method(supervision=supervision, respect_labels=False)
        plain = careless._opinion(1, careless.second(made.image), made)
        # The same check fails for the papers' pseudo-labels, and full rows are left as they are.
        assert not made.label_sets[made.codes].gather(-1, plain.leaf.unsqueeze(-1))[2:].all()
        assert torch.equal(plain.leaf[:2], found.leaf[:2])
        assert torch.equal(plain.leaf, careless.second.probability(careless.second(made.image)).argmax(1))


def test_confidence_is_that_among_what_the_label_allows():
    # Probabilities 0.6, 0.3, 0.1, 0 under the set {head, tail}: head with 0.3 / 0.4.
    built, made = method(), tiny.batch(rows={Regime.COARSE: 1}, leaves=[tiny.TAIL])[0]
    given = torch.tensor([0.6, 0.3, 0.1, 0.0]).view(1, 4, 1, 1, 1).expand(1, 4, 8, 8, 8)
    built.second.probability = lambda outputs: given
    found = built._opinion(1, None, made)
    assert set(found.leaf.unique().tolist()) == {tiny.HEAD}
    assert found.confidence.flatten().tolist() == pytest.approx([0.75] * 512, abs=1e-4)


def test_an_unsure_voxel_counts_less_if_so_asked():
    made = tiny.batch(rows={Regime.NONE: 2})[0]
    built = method(confidence="plain")
    logits, other = built.first(made.image)["subclass"], built.second(made.image)["subclass"].softmax(1)
    confidence, hard = other.max(1)
    expected = (torch.nn.functional.cross_entropy(logits, hard, reduction="none") * confidence).mean().item()
    assert yielded(built, made)[0]["first_pseudo_cross_entropy"].item() == pytest.approx(expected, abs=1e-4)
    assert gradients_of(yielded(built, made)[0]["first_pseudo_dice"], built) == {"first"}


# Views and kinds of networks.


def test_strong_views_differ_and_pseudo_labels_come_from_the_unchanged_image():
    made = tiny.batch()[0]
    built = method(views="strong")
    shown = {"first": [], "second": []}
    for name in shown:
        getattr(built, name).register_forward_pre_hook(
            lambda module, given, name=name: shown[name].append((given[0].clone(), torch.is_grad_enabled()))
        )
    yielded(built, made)
    taught = []
    for name, passes in shown.items():
        assert [graph for _, graph in passes] == [False, True], name
        assert torch.equal(passes[0][0], made.image)
        # Full labels are learned from the image as it is.
        assert torch.equal(passes[1][0][:2], made.image[:2])
        assert not torch.equal(passes[1][0][2:], made.image[2:])
        taught.append(passes[1][0])
    assert not torch.equal(*taught)


def test_strong_views_repeat_with_torchs_generator():
    made = tiny.batch()[0]
    values = [learn(method(views="strong"), made, seed=seed)[1] for seed in (1, 1, 2)]
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_the_second_network_may_be_of_another_kind():
    built = method(second_backbone="basic_unet")
    assert type(built.first.network.backbone) is BACKBONES["plan_unet"]
    assert type(built.second.network.backbone) is BACKBONES["basic_unet"]
    gradients = learn(built, tiny.batch()[0])[0]
    assert {name.split(".")[0] for name in gradients} == {"first", "second"}


def test_every_backbone_can_be_the_second():
    option = next(option for option in card_of(NAME).options if option.name == "second_backbone")
    assert sorted(option.choices) == sorted(("same", *BACKBONES))


def test_two_networks_start_differently():
    built = method()
    pairs = zip(built.first.parameters(), built.second.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


# What comes out.


def test_the_ensemble_is_the_mean_and_each_network_can_be_asked_alone():
    image, found = torch.randn(2, 2, 8, 8, 8), {}
    for prediction in ("ensemble", "first", "second"):
        with torch.no_grad():
            found[prediction] = method(prediction=prediction).eval().predict(image)
    assert torch.allclose(found["ensemble"], (found["first"] + found["second"]) / 2, atol=1e-6)
    assert not torch.allclose(found["first"], found["second"])


def test_uncertainty_is_0_where_two_networks_agree_and_1_where_they_are_sure_of_different_things():
    image = torch.randn(1, 2, 8, 8, 8)
    sure = torch.eye(4)[[0, 1]].view(2, 4, 1, 1, 1).expand(2, 4, 8, 8, 8)
    half = torch.tensor([0.5, 0.5, 0.0, 0.0]).view(1, 4, 1, 1, 1).expand(1, 4, 8, 8, 8)
    for kind in ("mutual_information", "disagreement"):
        built = method(uncertainty=kind).eval()
        for first, second, expected in ((sure[:1], sure[:1], 0), (half, half, 0), (sure[:1], sure[1:], 1)):
            built.first.probability, built.second.probability = lambda o, p=first: p, lambda o, p=second: p
            with torch.no_grad():
                assert built.uncertainty(image).unique().tolist() == pytest.approx([expected], abs=1e-6)
    # One sure of a leaf, the other even between it and a second: the mean is 3/4 and 1/4.
    worked = {
        "mutual_information": (-0.75 * math.log(0.75) - 0.25 * math.log(0.25) - math.log(2) / 2) / math.log(2),
        "disagreement": 0.5,
    }
    for kind, expected in worked.items():
        built = method(uncertainty=kind).eval()
        built.first.probability, built.second.probability = lambda o: sure[:1], lambda o: half
        with torch.no_grad():
            assert built.uncertainty(image).flatten()[0].item() == pytest.approx(expected, abs=1e-6)
    assert method(uncertainty="entropy").uncertainty(image) is None


def test_how_it_is_computed_does_not_show_in_the_state():
    states = [method(backward=backward).state_dict() for backward in ("sequential", "joint", "stacked")]
    for other in states[1:]:
        assert list(states[0]) == list(other)
        assert all(torch.equal(states[0][key], other[key]) for key in other)


def test_one_superclass_and_many_small_ones_train():
    for scheme in (_scheme({"organ": ("a", "b")}), _scheme({"one": (), "two": ("a", "b", "c"), "three": ("d", "e")})):
        study = replace(tiny.study(), scheme=scheme)
        leaves = len(scheme.leaf_names)
        for supervision in ("marginal", "two_heads", "full"):
            torch.manual_seed(0)
            built = build_method(NAME, study, {"supervision": supervision})
            made = _fully_labeled(leaves)
            gradients = learn(built, made)[0]
            assert all(part.isfinite().all() for part in gradients.values())
            with torch.no_grad():
                assert built.eval().predict(made.image).shape[1] == leaves


def _scheme(tree):
    structures = [Structure(name=name) for name in tree]
    structures += [Structure(name=leaf, parent=name) for name, leaves in tree.items() for leaf in leaves]
    return LabelScheme(name="tree", structures=tuple(structures))


def _fully_labeled(leaves):
    table = LabelSetTable.of(leaves, [frozenset([leaf]) for leaf in range(leaves)])
    made = tiny.batch(rows={Regime.FULL: 2, Regime.NONE: 2})[0]
    codes = torch.randint(1, leaves + 1, made.codes.shape)
    codes[2:] = 0
    return replace(made, codes=codes, label_sets=torch.from_numpy(table.array.copy()))
