"""What every registered method must do; registering a method is having it tested here."""

import copy
from contextlib import nullcontext

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.cross.cross_pseudo_supervision import CrossPseudoSupervision
from SemiSegLib.methods.method import LossTerms, Progress
from Testing.lib.methods import tiny

every_method = pytest.mark.parametrize("name", tiny.all_methods())
in_2d_and_3d = pytest.mark.parametrize("dimensions", [2, 3])
at_the_start_and_late = pytest.mark.parametrize("progress", [Progress(0, 0.0), Progress(900, 0.9)], ids=["0", "0.9"])
START, LATE = Progress(0, 0.0), Progress(900, 0.9)


def used(name):
    return [Regime(word) for word in card_of(name).uses]


def values(built, made, progress=START):
    return [{name: v.item() for name, v in terms.values.items()} for terms in built.losses(made, progress)]


def gradients(built, made, progress=START):
    built.zero_grad()
    for terms in built.losses(made, progress):
        terms.total().backward()
    return {n: p.grad.clone() for n, p in built.named_parameters() if p.grad is not None}


@every_method
@in_2d_and_3d
def test_it_learns_one_batch(name, dimensions):
    built = tiny.method(name, dimensions).train()
    made, truth = tiny.batch_for(name, dimensions)
    optimizer_of = tiny.optimizers(built)
    for number in range(100):
        torch.manual_seed(number)
        tiny.step(built, made, optimizer_of, number, 100)
    with torch.no_grad():
        found = built.eval().predict(made.image).argmax(1)
    full, coarse = made.rows[Regime.FULL], made.rows[Regime.COARSE]
    assert (found[full] == truth[full]).float().mean() > 0.95
    pi = torch.tensor(tiny.SCHEME.superclass_of_leaf)
    if Regime.COARSE in used(name):
        assert (pi[found[coarse]] == pi[truth[coarse]]).float().mean() > 0.95


@every_method
@in_2d_and_3d
def test_every_term_has_a_weight_and_is_a_finite_scalar_with_a_graph(name, dimensions):
    built = tiny.method(name, dimensions)
    groups = built.parameter_groups()
    for terms in built.losses(tiny.batch_for(name, dimensions)[0], START):
        assert set(terms.values) == set(terms.weights)
        assert terms.group in groups
        for term, value in terms.values.items():
            assert value.shape == (), term
            assert value.isfinite(), term
            assert value.requires_grad, term
        terms.total().backward()


def moved_by(value, parameters):
    """Names of the parameters for which a term has a gradient that is not 0."""
    found = torch.autograd.grad(value, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {name for name, part in zip(parameters, found, strict=True) if part is not None and part.abs().sum() > 0}


def check_that_every_term_teaches_its_own_group_alone(built, made, progress=LATE):
    """Each term that weighs anything moves networks of its group, no other group and nothing that is not trained."""
    names = {id(p): n for n, p in built.named_parameters()}
    groups = {group: {names[id(p)]: p for p in own} for group, own in built.parameter_groups().items()}
    fixed = {n: p.clone() for n, p in built.named_parameters() if not p.requires_grad}
    everything = {n: p for n, p in built.named_parameters() if p.requires_grad}
    for terms in built.losses(made, progress):
        for term, value in terms.values.items():
            moved = moved_by(value, everything)
            assert moved <= set(groups[terms.group]), f"{term} moves what another group trains"
            assert moved or terms.weights[term] == 0, f"{term} moves nothing"
        terms.total().backward()
    after = dict(built.named_parameters())
    assert all(torch.equal(after[n], value) and after[n].grad is None for n, value in fixed.items())


# Their teacher begins as its student and sees the same view: there is nothing to learn from it yet.
SAME_VIEW = {"latent_classes"}


@every_method
@in_2d_and_3d
def test_every_term_moves_the_networks_of_its_group_and_nothing_else(name, dimensions):
    torch.manual_seed(0)
    built = tiny.method(name, dimensions).train()
    if name in SAME_VIEW:
        with torch.no_grad():
            for parameter in built.learner.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    check_that_every_term_teaches_its_own_group_alone(built, tiny.batch_for(name, dimensions)[0])


def test_a_term_without_a_gradient_is_noticed():
    built = tiny.method("mean_teacher", 2)
    agreement = built.agreement

    def detached(*arguments):
        return {term: value.detach().requires_grad_() for term, value in agreement(*arguments).items()}

    built.agreement = detached
    with pytest.raises(AssertionError, match="consistency moves nothing"):
        check_that_every_term_teaches_its_own_group_alone(built, tiny.batch(2)[0])


def test_a_target_with_a_gradient_is_noticed():
    built = tiny.method("dual_task_mutual_learning", 2)
    built._target = lambda probability, batch: probability
    with pytest.raises(AssertionError, match="another group"):
        check_that_every_term_teaches_its_own_group_alone(built, tiny.batch_for("dual_task_mutual_learning", 2)[0])


# Each regime, and all but it.
MISSING = [*([regime] for regime in Regime), *(set(Regime) - {one} for one in Regime)]


@every_method
@at_the_start_and_late
@pytest.mark.parametrize("missing", MISSING)
def test_a_batch_may_lack_any_regime_and_hold_one_alone(name, missing, progress):
    rows = {regime: 0 if regime in missing else count for regime, count in tiny.ROWS.items()}
    built, made = tiny.method(name, 2), tiny.batch_for(name, 2, rows=rows)[0]
    assert len(made) == sum(rows.values())
    expected = {term for terms in built.losses(tiny.batch_for(name, 2)[0], progress) for term in terms.values}
    found = set()
    for terms in built.losses(made, progress):
        found |= set(terms.values)
        assert terms.total().isfinite()
        terms.total().backward()
    assert found == expected
    built.after_step(progress)
    for parameter in built.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


@pytest.mark.parametrize(("name", "preset"), [(card.name, preset) for card in CARDS for preset in card.presets])
def test_volumes_that_lack_regimes_are_learned_step_by_step(name, preset):
    """One training in 3-D, for each step is dear there: every batch lacks something else, and the last nothing."""
    built = tiny.method(name, 3, preset=preset).train()
    optimizer_of, names = tiny.optimizers(built, 1e-3), []
    before = {key: value.clone() for key, value in built.state_dict().items()}
    for number, missing in enumerate([*MISSING, []]):
        rows = {regime: 0 if regime in missing else 1 for regime in Regime}
        made = tiny.batch_for(name, 3, rows=rows, seed=number)[0]
        torch.manual_seed(number)
        terms = tiny.step(built, made, optimizer_of, 90 + number, 100)
        assert all(value.isfinite() for part in terms for value in part.values.values()), missing
        names.append({term for part in terms for term in part.values})
    assert all(found == names[-1] for found in names)
    after = built.state_dict()
    assert all(value.isfinite().all() for value in after.values() if value.is_floating_point())
    assert any(not torch.equal(value, before[key]) for key, value in after.items())


@every_method
@at_the_start_and_late
@in_2d_and_3d
def test_a_batch_may_lack_any_leaf(name, dimensions, progress):
    built = tiny.method(name, dimensions)
    for leaves in ([tiny.BACKGROUND], [tiny.VESSEL], [tiny.BACKGROUND, tiny.HEAD], [tiny.TAIL, tiny.VESSEL]):
        found = gradients(built, tiny.batch_for(name, dimensions, leaves=leaves)[0], progress)
        assert any(part.abs().sum() > 0 for part in found.values())
        assert all(part.isfinite().all() for part in found.values())


@every_method
def test_every_regime_it_uses_moves_the_network(name):
    built = tiny.method(name)
    made = tiny.batch_for(name)[0]
    for regime in used(name):
        fewer = tiny.without_labels(made, regime)
        torch.manual_seed(0)
        before = gradients(built, made, LATE)
        torch.manual_seed(0)
        after = gradients(built, fewer, LATE)
        assert any(not torch.equal(before[n], after[n]) for n in before if n in after), regime


@every_method
def test_a_regime_it_does_not_use_changes_nothing(name):
    unused = [regime for regime in Regime if regime not in used(name)]
    built, made = tiny.method(name), tiny.batch_for(name)[0]
    torch.manual_seed(0)
    before = values(built, made)
    torch.manual_seed(0)
    assert values(built, tiny.without_labels(made, *unused)) == before


@every_method
def test_rows_of_one_regime_alone_teach_if_the_card_says_so(name):
    for regime in used(name):
        found = gradients(tiny.method(name), tiny.batch_for(name, rows={regime: 3})[0], LATE)
        is_taught = any(part.abs().sum() > 0 for part in found.values())
        assert is_taught or regime.value not in card_of(name).needs, regime


@every_method
@in_2d_and_3d
def test_prediction_is_a_probability_of_every_leaf_for_any_size(name, dimensions):
    built = tiny.method(name, dimensions).eval()
    for size in ((1, 1, 1), (5, 13, 7), (16, 3, 9)):
        with torch.inference_mode():
            found = built.predict(torch.randn(2, 2, *size[:dimensions]))
            doubt = built.uncertainty(torch.randn(2, 2, *size[:dimensions]))
        assert found.shape == (2, len(tiny.LEAVES), *size[:dimensions])
        assert found.dtype == torch.float32
        assert (found >= 0).all()
        assert torch.allclose(found.sum(1), torch.ones_like(found[:, 0]), atol=1e-5)
        if doubt is not None:
            assert doubt.shape == (2, *size[:dimensions])
            assert doubt.min() >= 0
            assert doubt.max() <= 1


def check_that_all_state_is_in_the_state_dict(first, second, made):
    """After some steps a state of the first, loaded by the second, makes them learn and predict the same."""
    total, optimizer_of = 6, tiny.optimizers(first)
    for number in range(3):
        tiny.step(first, made, optimizer_of, number, total)
    second.load_state_dict(copy.deepcopy(first.state_dict()), strict=True)
    results = []
    for built in (first, second):
        torch.manual_seed(7)
        results.append((values(built.train(), made, Progress(3, 0.5)), built.eval().predict(made.image)))
    assert results[0][0] == results[1][0]
    assert torch.equal(results[0][1], results[1][1])


@every_method
def test_all_state_is_in_the_state_dict(name):
    first, second = tiny.method(name, seed=0), tiny.method(name, seed=1)
    check_that_all_state_is_in_the_state_dict(first, second, tiny.batch_for(name)[0])


def test_a_second_network_that_is_saved_by_another_name_than_it_is_read_by_is_noticed():
    # The released code of paper 000 saves "model2_state_dict" and reads "model_state_dict2".
    class Misnamed(CrossPseudoSupervision):
        def state_dict(self, **arguments):
            return {name.replace("second.", "model2."): value for name, value in super().state_dict().items()}

    class Tolerant(Misnamed):
        def load_state_dict(self, state, strict=True):
            return super().load_state_dict(state, strict=False)

    made = tiny.batch()[0]
    for kind, error in ((CrossPseudoSupervision, None), (Misnamed, RuntimeError), (Tolerant, AssertionError)):
        first, second = (
            tiny.method("cross_pseudo_supervision", seed=seed, options={"prediction": "second"}) for seed in (0, 1)
        )
        first.__class__ = second.__class__ = kind
        with nullcontext() if error is None else pytest.raises(error):
            check_that_all_state_is_in_the_state_dict(first, second, made)


@every_method
def test_one_seed_gives_one_network(name):
    states = [tiny.method(name, seed=seed).state_dict() for seed in (3, 3, 4)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert any(not torch.equal(states[0][key], states[2][key]) for key in states[0])


@every_method
def test_a_batch_is_never_changed(name):
    made = tiny.batch_for(name)[0]
    kept = copy.deepcopy(made)
    values(tiny.method(name), made)
    assert torch.equal(made.image, kept.image)
    assert torch.equal(made.codes, kept.codes)
    assert all(torch.equal(made.maps[key], kept.maps[key]) for key in kept.maps)


@every_method
def test_every_trainable_parameter_is_in_one_group(name):
    built = tiny.method(name)
    listed = [id(p) for group in built.parameter_groups().values() for p in group]
    assert sorted(listed) == sorted(id(p) for p in built.parameters() if p.requires_grad)


@every_method
@in_2d_and_3d
def test_lower_resolutions_learn_too(name, dimensions):
    built = tiny.method(name, dimensions, stem_stride=(2,) * dimensions, deep_supervision=1)
    found = gradients(built, tiny.batch_for(name, dimensions)[0])
    deep = [part for key, part in found.items() if "deep_heads" in key]
    assert deep
    assert all(part.abs().sum() > 0 for part in deep)


@every_method
def test_output_rows_carry_the_names_of_their_classes(name):
    built = tiny.method(name)
    state, known = built.state_dict(), {*tiny.LEAVES, *tiny.SCHEME.superclass_names}
    for layer, names in built.warm_start_rows().items():
        assert len(state[layer]) == len(names)
        assert set(names) <= known


@every_method
def test_the_total_is_the_weighted_sum_of_the_terms(name):
    for terms in tiny.method(name).losses(tiny.batch_for(name)[0], START):
        expected = sum(terms.weights[term] * value.item() for term, value in terms.values.items())
        assert terms.total().item() == pytest.approx(expected, rel=1e-5)
        terms.total().backward()


def test_a_total_needs_every_weight():
    one = torch.tensor(2.0)
    assert LossTerms({"a": one, "b": one}, {"a": 0.5, "b": 3.0}).total().item() == 7.0
    with pytest.raises(KeyError):
        LossTerms({"a": one, "b": one}, {"a": 0.5}).total()
