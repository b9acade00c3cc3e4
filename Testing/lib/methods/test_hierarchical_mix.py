"""HierarchicalMix as it should be, and the released one, whose mixed images teach nothing."""

import copy
import math
from dataclasses import replace

import pytest
import torch

from SemiSegLib.config import from_json
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.released import released_targets
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.mix.mix_options import RELEASED_PASS
from SemiSegLib.methods.subclass.efficient_subclass import EfficientSubclassOptions
from SemiSegLib.networks.modes import evaluating
from Testing.lib.methods import tiny

LATE = Progress(900, 0.9)
# An untrained network is as sure as this.
UNSURE = {"threshold_start": 0.25, "threshold_end": 0.25}


def method(dimensions=2, *, preset=None, options=None, **network):
    """The method with HierarchicalMix; by default the variant of it that is ours, and one output."""
    ours = {"mix": "full", "superclass_head": False} if preset in (None, "ours") else {}
    return tiny.method("efficient_subclass", dimensions, preset=preset, options={**ours, **(options or {})}, **network)


def batch(dimensions=2, **more):
    return tiny.batch(dimensions, **more)[0]


def terms_of(built, made, progress=LATE):
    values, weights = {}, {}
    for terms in built.losses(made, progress):
        values |= {name: value.detach() for name, value in terms.values.items()}
        weights |= terms.weights
        terms.total().backward()
    return values, weights


def seeded(seed, call, *args):
    torch.manual_seed(seed)
    return call(*args)


def gradients_of_mix(built, made, progress=LATE):
    """Gradients that L_p alone leaves, by parameter."""
    built.zero_grad()
    for terms in built.losses(made, progress):
        mine = [value for name, value in terms.values.items() if name.startswith("mix_")]
        if mine:
            sum(mine).backward()
    return {n: p.grad.clone() for n, p in built.named_parameters() if p.grad is not None}


def mix_teaches(built, made):
    moved = seeded(3, gradients_of_mix, built, made)
    network = [name for name in moved if name.startswith("learner.network.backbone")]
    assert network
    assert any(moved[name].abs().sum() > 0 for name in network)
    assert not any(name.startswith("teacher.") for name in moved)


@pytest.mark.parametrize("mix", ["full", "mixup", "pseudo"])
@pytest.mark.parametrize("preset", ["ours", "paper"])
def test_mixed_images_teach_the_network_and_never_the_teacher(preset, mix):
    mix_teaches(method(preset=preset, options={"mix": mix, "mix_probability": 1.0, **UNSURE}), batch())


def test_the_released_mix_has_a_value_and_no_gradient():
    for mix in ("full", "mixup"):
        built = method(preset="code", options={"mix": mix})
        values, _ = seeded(0, terms_of, built, batch())
        assert values["mix_cross_entropy"] > 0
        with pytest.raises(AssertionError):
            mix_teaches(built, batch())
        assert all(part.abs().sum() == 0 for part in gradients_of_mix(built, batch()).values())
    mix_teaches(method(preset="code", options={"mix": "pseudo", **UNSURE}), batch())


REPLACED = [
    {"pseudo_labels": "teacher"},
    {"agreement": "noise"},
    {"threshold": "adaptive"},
    {"condition_on_label": True},
    {"renormalize": True},
]


@pytest.mark.parametrize("asked", REPLACED, ids=str)
def test_the_released_pass_refuses_what_it_would_not_do(asked):
    (name,) = asked
    with pytest.raises(ConfigError, match=rf"passes=released does not .*{name}=(.|\n)*preset 'code', set {name}="):
        method(preset="code", options=asked)
    # Where nothing is mixed in there is no share to aim at, and without pseudo-labels nobody makes them.
    idle = "pseudo" if name == "renormalize" else "mixup"
    for mix in (idle, "none"):
        method(preset="code", options={"mix": mix, **asked})


def test_the_released_pass_alone_says_what_else_it_needs():
    method(preset="paper", options={"passes": "released"})
    needs = "pseudo_labels=student, agreement=turns, threshold=exponential, condition_on_label=false, renormalize=false"
    with pytest.raises(ConfigError, match=f"set {needs}"):
        method(options={"passes": "released"})
    text = next(option.text for option in card_of("efficient_subclass").options if option.name == "passes")
    assert all(name in text or name == "threshold" for name in RELEASED_PASS)
    assert "a falling threshold" in text


@pytest.mark.filterwarnings("ignore:TF32 acceleration")
def test_mixed_images_teach_under_autocast():
    # The pass for pseudo-labels comes first; weights cast for it without a graph must not be used again.
    built, made = method(preset="paper", options=UNSURE), batch()
    torch.manual_seed(3)
    terms = built.losses(made, LATE)
    # Plain kernels: some machines die of oneDNN's bf16 instructions.
    with torch.backends.mkldnn.flags(enabled=False):
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16):
                found = next(terms)
            built.zero_grad()
            found.total().backward()
    gradients = {n: p.grad for n, p in built.named_parameters() if "encoder" in n and p.ndim > 1}
    assert all(part.abs().sum() > 0 for part in gradients.values())


def test_copies_of_weights_made_without_a_graph_are_forgotten_before_mixed_images_teach(monkeypatch):
    # Torch that keeps such copies, as older ones do, would hand them to the pass over mixed images.
    built, made, told = method(preset="paper", options=UNSURE), batch(), []
    backbone = built.learner.network.backbone
    backbone.register_forward_hook(lambda *given: told.append("pass" if torch.is_grad_enabled() else "quiet pass"))
    monkeypatch.setattr(torch, "clear_autocast_cache", lambda: told.append("forget"))
    list(built.losses(made, LATE))
    after = told[told.index("quiet pass") + 1 :]
    assert after[:2] == ["forget", "pass"]


def lesson(built, made, seed=0, progress=LATE):
    torch.manual_seed(seed)
    pupils, full = made.part(Regime.COARSE), made.part(Regime.FULL)
    return pupils, built.mix.lesson(built._look, pupils, full, progress)


def is_a_fair_target(target, alpha, structures):
    """Each entry is a share that can be; no structure is taught to be background."""
    shares = torch.tensor([0.0, alpha, 1 - alpha, 1.0])
    for part in (target, target.sum(1)):
        assert (part.unsqueeze(-1) - shares).abs().amin(-1).max() < 1e-5
    assert target[:, tiny.BACKGROUND][structures].abs().max() == 0


@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_target_holds_shares_and_never_calls_a_structure_background(dimensions):
    options = {"alpha_low": 0.7, "alpha_high": 0.7, **UNSURE}
    built, made = (
        method(dimensions, preset="paper", options=options),
        batch(dimensions, rows={Regime.FULL: 2, Regime.COARSE: 3}, seed=4),
    )
    pupils, found = lesson(built, made)
    background = tiny.TABLE.code(frozenset([tiny.BACKGROUND]))
    structures = pupils.codes != background
    is_a_fair_target(found.target, 0.7, structures)
    assert (found.target[:, tiny.BACKGROUND][~structures] == 1).all()
    assert (found.target == 0.7).any()
    # The released targets take the share for the whole image, so structures that were not covered become background.
    torch.manual_seed(0)
    mixed = built.mix.mixed(pupils, made.part(Regime.FULL))
    released = released_targets(
        torch.zeros_like(found.target), torch.where(mixed.share > 0, mixed.leaf, 0), torch.full((3,), 0.7)
    )
    with pytest.raises(AssertionError):
        is_a_fair_target(released, 0.7, structures)


def test_the_label_stays_true_of_a_mixed_image():
    for name in ("paper", "ours"):
        built, made = (
            method(preset=name),
            batch(rows={Regime.FULL: 2, Regime.COARSE: 2, Regime.PARTIAL: 2, Regime.NONE: 1}),
        )
        for seed in range(3):
            torch.manual_seed(seed)
            pupils = made.part(Regime.COARSE, Regime.PARTIAL, Regime.NONE)
            found = built.mix.lesson(built._look, pupils, made.part(Regime.FULL), LATE)
            allowed = made.label_sets[pupils.codes].movedim(-1, 1)
            assert found.target[~allowed].abs().max() == 0
            changed = (found.image != pupils.image).any(1)
            lies_in_one = built.mix.meaning(pupils).superclass[pupils.codes]
            assert (lies_in_one[changed] > 0).all()


def leaves_the_network_alone(look, built, image):
    kept = copy.deepcopy(built.state_dict())
    first, second = look(image), look(image)
    assert torch.equal(first, second)
    assert all(torch.equal(kept[name], value) for name, value in built.state_dict().items())
    assert not first.requires_grad


@pytest.mark.parametrize("preset", ["paper", "ours"])
def test_making_pseudo_labels_drops_nothing_out_and_moves_no_statistic(preset):
    built = method(preset=preset, norm="batch", dropout=0.5).train()
    image = batch().image
    leaves_the_network_alone(built._look, built, image)
    assert built.training

    def released(image):
        with torch.no_grad():
            return built.learner.probability(built.learner(image))

    with pytest.raises(AssertionError):
        leaves_the_network_alone(released, built, image)


def statistics(built):
    return {n: v.clone() for n, v in built.learner.state_dict().items() if "running" in n or "tracked" in n}


def test_only_images_as_they_are_move_the_running_statistics():
    made = batch(rows={Regime.FULL: 2, Regime.COARSE: 2})
    found = {}
    for mix in ("none", "full"):
        built = method(preset="paper", options={"mix": mix}, norm="batch").train()
        seeded(0, terms_of, built, made)
        found[mix] = statistics(built)
    assert found["full"]
    assert all(torch.equal(found["none"][name], value) for name, value in found["full"].items())
    built = method(preset="code", norm="batch").train()
    seeded(0, terms_of, built, made)
    # Once over all rows, once over a view, once over mixed images.
    assert {int(v) for n, v in statistics(built).items() if "tracked" in n} == {3}


def draws_anew(built, made):
    images = [lesson(built, made, seed=0)[1].image]
    images += [
        built.mix.lesson(built._look, made.part(Regime.COARSE), made.part(Regime.FULL), LATE).image for _ in range(3)
    ]
    assert all(not torch.equal(images[0], other) for other in images[1:])
    assert torch.equal(images[0], lesson(built, made, seed=0)[1].image)


def test_shares_and_partners_are_drawn_anew_in_every_step_and_repeat_for_a_seed():
    built, made = method(preset="paper"), batch(rows={Regime.FULL: 3, Regime.COARSE: 2})
    draws_anew(built, made)
    drawn = [seeded(seed, built.mix.draw_alpha, 4) for seed in range(50)]
    assert torch.stack(drawn).min() >= 0.5
    assert torch.stack(drawn).max() <= 1.0
    assert torch.stack(drawn).std() > 0.1

    class Reseeding(torch.nn.Module):
        """Draws from a generator that begins again, as the released workers do in every epoch."""

        threshold = None

        def lesson(self, *arguments):
            torch.manual_seed(1)
            return kept.lesson(*arguments)

    kept, built.mix = built.mix, Reseeding()
    with pytest.raises(AssertionError):
        draws_anew(built, made)


def test_released_shares_are_tenths():
    built = method(preset="code")
    torch.manual_seed(0)
    drawn = torch.cat([built.mix.draw_alpha(64) for _ in range(4)])
    assert sorted(set((drawn * 10).round(decimals=3).tolist())) == [5, 6, 7, 8, 9, 10]


def test_a_share_of_the_rows_is_mixed():
    built = method(options={"mix_probability": 0.25})
    torch.manual_seed(0)
    assert (built.mix.draw_alpha(4000) > 0).float().mean().item() == pytest.approx(0.25, abs=0.03)
    assert (method(options={"mix_probability": 0.0}).mix.draw_alpha(100) == 0).all()


def at(step):
    return Progress(step, step / 40_000)


def options(preset, **more):
    return from_json(
        EfficientSubclassOptions, resolve_options(card_of("efficient_subclass"), preset, more), where="test"
    )


def test_the_papers_schedules_in_closed_form():
    paper, code = options("paper"), options("code")
    for step in (0, 10_000, 39_999):
        assert paper.threshold_at(at(step)) == pytest.approx(1 - 0.6 * step / 40_000)
        assert paper.ramp_at(at(step)) == 1.0
    for step in (0, 9, 10, 999, 1000, 5000, 9150, 9160, 9170, 39_999):
        assert code.threshold_at(at(step)) == pytest.approx(max(0.999 ** (step // 10), 0.4))
        assert code.ramp_at(at(step)) == pytest.approx(1 / (1 + math.exp(-step // 1000)))
    assert code.threshold_at(at(9159)) > 0.4 == code.threshold_at(at(9170))
    assert [round(code.ramp_at(at(step)), 3) for step in (0, 1, 5000)] == [0.5, 0.731, 0.993]
    ours = options("ours")
    assert ours.ramp_at(Progress(0, 0.15)) == pytest.approx(math.exp(-5 * 0.25))


def test_weights_are_those_of_the_papers_loss_times_the_ramp():
    _, weights = terms_of(method(preset="code"), batch(), at(1))
    assert weights["mix_cross_entropy"] == weights["mix_dice"] == pytest.approx(0.5 / (1 + math.exp(-1)))
    assert weights["subclass_cross_entropy"] == 0.5


@pytest.mark.parametrize("preset", ["ours", "paper", "code"])
def test_without_a_donor_or_a_pupil_the_mix_says_nothing(preset):
    for rows in ({Regime.COARSE: 2}, {Regime.FULL: 2}, {Regime.FULL: 1}, {Regime.NONE: 2}, {Regime.FULL: 0}):
        values, weights = terms_of(method(preset=preset), batch(rows=rows))
        assert {"mix_cross_entropy", "mix_dice"} <= set(values) == set(weights)
        assert values["mix_cross_entropy"] == 0
        assert values["mix_dice"] == 0


def test_pseudo_labels_alone_need_no_donor():
    built = method(options={"mix": "pseudo"})
    values, _ = terms_of(built, batch(rows={Regime.COARSE: 2}))
    assert values["mix_cross_entropy"] > 0


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_the_paper_mixes_coarse_rows_only(preset):
    built = method(preset=preset, options=UNSURE)
    made = batch()
    first, second = (seeded(0, terms_of, built, given)[0] for given in (made, tiny.without_labels(made, Regime.NONE)))
    assert first["mix_cross_entropy"] == second["mix_cross_entropy"]


def test_a_partly_labeled_row_takes_lessons_where_asked():
    made = batch(rows={Regime.FULL: 1, Regime.PARTIAL: 1})
    for wanted in (True, False):
        built = method(options={"use_partial": wanted})
        assert (terms_of(built, made)[0]["mix_cross_entropy"] > 0) == wanted


def test_ours_sees_each_row_once_and_the_paper_sees_mixed_rows_again():
    for preset, expected in (("ours", [5]), ("paper", [5, 2])):
        built, made, seen = method(preset=preset), batch(), []
        built.learner.network.backbone.register_forward_hook(
            lambda module, inputs, output, seen=seen: seen.append(len(inputs[0])) if torch.is_grad_enabled() else None
        )
        seeded(0, terms_of, built, made)
        assert seen == expected


def test_turns_and_noise_must_agree():
    made = batch(rows={Regime.FULL: 1, Regime.COARSE: 3})
    pupils = made.part(Regime.COARSE)
    counts = {}
    for agreement in ("none", "noise", "turns"):
        built = method(options={"agreement": agreement, "threshold": "linear", "threshold_start": 0.5})
        torch.manual_seed(0)
        counts[agreement] = built.mix.pseudo_labels(built._look, pupils, Progress(0, 0.0)).sum().item()
    assert counts["turns"] < counts["none"]
    assert counts["noise"] <= counts["none"]


def test_a_turned_view_is_turned_back():
    # A network that looks at each voxel alone agrees with itself in every view, so nothing is lost.
    built = method(
        3, options={"agreement": "turns", "threshold": "linear", "threshold_start": 0.0, "threshold_end": 0.0}
    )
    pupils = batch(3, rows={Regime.COARSE: 2})

    def look(image):
        return torch.stack([image[:, 0], -image[:, 0], image[:, 1], image[:, 0] * 0], 1).softmax(1)

    for seed in range(6):
        torch.manual_seed(seed)
        found = built.mix.pseudo_labels(look, pupils, LATE)
        assert (found.sum(1) == 1).all()


def test_renormalizing_aims_at_certainty_where_only_the_donor_is_known():
    made = batch(rows={Regime.FULL: 2, Regime.COARSE: 2})
    logits = torch.zeros(2, 4, tiny.SIZE, tiny.SIZE)
    values = {}
    for wanted in (True, False):
        built = method(
            preset="paper", options={"renormalize": wanted, "alpha_low": 0.5, "alpha_high": 0.5, "mix": "mixup"}
        )
        _, found = lesson(built, made)
        values[wanted] = built.mix.terms(logits, found.target)
    assert values[True]["mix_cross_entropy"] == values[False]["mix_cross_entropy"]
    assert values[True]["mix_dice"] != values[False]["mix_dice"]


def test_looking_leaves_the_mode_of_every_part():
    built = method(preset="paper").train()
    with evaluating(built.learner):
        expected = built.learner(batch().image)["subclass"].softmax(1)
    assert torch.equal(built._look(batch().image), expected)
    assert all(part.training for part in built.learner.modules())
    assert replace(built.options, mix="none").is_mixing is False
