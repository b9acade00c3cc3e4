"""Paper 000: every row of its Table 2, its heads in any number of superclasses, and who predicts."""

import copy

import pytest
import torch

from SemiSegLib.batches.batch import Batch
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.methods.subclass.efficient_subclass import EfficientSubclass
from SemiSegLib.prediction.model_file import Model
from SemiSegLib.training.warm_start import warm_start
from Testing.lib.methods import tiny
from Testing.lib.networks.test_hierarchy import INTERLEAVED

LATE = Progress(900, 0.9)
# HM, PC, SN of Table 2, in its order; the last three rows are more cases of the row before.
SWITCHES = [
    ("none", False, False),
    ("full", False, False),
    ("none", True, False),
    ("none", False, True),
    ("full", True, False),
    ("full", False, True),
    ("none", True, True),
    ("mixup", True, True),
    ("pseudo", True, True),
    ("full", True, True),
]


def method(dimensions=2, *, preset=None, options=None, **network):
    return tiny.method("efficient_subclass", dimensions, preset=preset, options=options, **network)


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


def row_of_table_2(mix, prior, separate):
    return {"mix": mix, "prior_concatenation": "logits" if prior else "none", "separate_normalization": separate}


@pytest.mark.parametrize(("mix", "prior", "separate"), SWITCHES)
def test_every_row_of_table_2_is_a_choice_of_options(mix, prior, separate):
    for preset in ("paper", "code"):
        built = method(preset=preset, options=row_of_table_2(mix, prior, separate))
        values, weights = terms_of(built, batch())
        assert set(values) == set(weights)
        assert all(value.isfinite() for value in values.values())
        assert any(name.startswith("mix_") for name in values) == (mix != "none")
        head = built.learner.network.heads["hierarchy"]
        assert (head.branches is not None) == separate
        assert head.prior == ("logits" if prior else "none")


def test_without_its_three_parts_it_is_the_modified_unet():
    plain = method(preset="paper", options=row_of_table_2("none", False, False))
    other = tiny.method("modified_unet", 2, preset="paper", seed=5)
    names = {"projection": "heads.hierarchy.projection", "heads": "heads.hierarchy"}
    state = {}
    for name, value in other.state_dict().items():
        first, second, part, rest = (*name.split(".", 3), "")[:4]
        state[".".join([first, second, names.get(part, part), rest])] = value
    plain.load_state_dict(state)
    made = batch()
    first, second = terms_of(plain, made), terms_of(other, made)
    assert {n: v.item() for n, v in first[0].items()} == pytest.approx({n: v.item() for n, v in second[0].items()})
    assert first[1] == second[1]
    assert torch.allclose(plain.eval().predict(made.image), other.eval().predict(made.image))


def test_the_teacher_and_the_thresholds_follow_after_a_step():
    built, made = method(options={"mix": "full"}), batch()
    optimizers = tiny.optimizers(built)
    tiny.step(built, made, optimizers, 0, 10)
    assert int(built.teacher.updates) == 1
    assert built.mix.threshold.seen.sum() > 0
    mine, theirs = built.learner.state_dict(), built.teacher.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in mine.items())


def test_who_predicts_is_an_option():
    image = torch.randn(1, 2, 9, 7)
    built = method(options={"predict_with": "teacher", "mix": "none"}).eval()
    with torch.no_grad():
        for parameter in built.learner.parameters():
            parameter.zero_()
    assert built.predict(image).std() > 0
    assert torch.equal(built.predict(image), built.teacher.network.probability(built.teacher(image)))
    assert method().teacher is None
    assert method(options={"mix": "pseudo"}).teacher is not None
    assert method(preset="paper").teacher is None


@pytest.mark.parametrize(
    ("labels", "regime", "expected"),
    [
        ("all", Regime.COARSE, True),
        ("all", Regime.PARTIAL, True),
        ("drawn", Regime.COARSE, False),
        ("drawn", Regime.PARTIAL, True),
        ("full", Regime.COARSE, False),
        ("full", Regime.PARTIAL, False),
        ("full", Regime.FULL, True),
    ],
)
def test_the_leaf_output_learns_from_the_labels_that_were_asked_for(labels, regime, expected):
    made = batch(rows={regime: 2})
    for preset in ("ours", "paper"):
        built = method(preset=preset, options={"mix": "none", "subclass_labels": labels, "prior_concatenation": "none"})
        seeded(0, terms_of, built, made)
        head = dict(built.learner.network.heads.named_parameters())
        leaves = [p for n, p in head.items() if "subclass.convolution.weight" in n or "leaves.convolution.weight" in n]
        taught = any(p.grad is not None and p.grad.abs().sum() > 0 for p in leaves)
        assert taught == expected


def test_partly_labeled_rows_teach_leaves_beside_coarse_ones():
    """Rows between them that teach no leaves neither shift nor weaken what the others teach."""
    chosen = {"subclass_labels": "drawn"}
    made = batch(rows={Regime.FULL: 2, Regime.COARSE: 1, Regime.PARTIAL: 2})
    built = method(options=chosen)
    values, _ = terms_of(built, made)
    alone, _ = terms_of(built, made.part(Regime.FULL, Regime.PARTIAL))
    assert values["subclass_cross_entropy"] == pytest.approx(float(alone["subclass_cross_entropy"]), rel=1e-5)
    assert values["subclass_dice"] == pytest.approx(float(alone["subclass_dice"]), rel=1e-5)
    everything, _ = terms_of(method(options={"subclass_labels": "all"}), made)
    assert everything["subclass_dice"] != values["subclass_dice"]


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("labels", ["full", "drawn", "all"])
def test_lower_resolutions_learn_with_the_joint_head(separate, labels):
    wanted = {"separate_normalization": separate, "subclass_labels": labels}
    built = method(options=wanted, stem_stride=(2, 2), deep_supervision=1)
    terms_of(built, batch())
    deep = built.learner.network.deep_heads[0].convolution.weight.grad
    assert deep.abs().sum() > 0


def test_parts_that_need_a_superclass_output_say_so():
    for wanted in ({"separate_normalization": True}, {"prior_concatenation": "logits"}):
        with pytest.raises(ConfigError, match="need a superclass output"):
            method(options={"superclass_head": False, **wanted})
    with pytest.raises(ConfigError, match="cannot leave its last block without a norm"):
        method(preset="paper", backbone="vnet")
    assert isinstance(
        method(preset="paper", options={"separate_normalization": False}, backbone="vnet"), EfficientSubclass
    )


def interleaved_study(scheme=INTERLEAVED):
    return Study(scheme=scheme, plan=tiny.study(2).plan)


def interleaved_batch(seed=0):
    """Two full and four coarse rows of four superclasses and seven leaves, in blocks that the image shows."""
    count, pi = len(INTERLEAVED.leaf_names), INTERLEAVED.superclass_of_leaf
    inside = [frozenset(leaf for leaf in range(count) if pi[leaf] == own) for own in range(4)]
    table = LabelSetTable.of(count, [*(frozenset([leaf]) for leaf in range(count)), *inside])
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, count, (6, 4, 4), generator=generator).repeat_interleave(4, 1).repeat_interleave(4, 2)
    image = torch.randn(6, 2, 16, 16, generator=generator) * 0.1
    image[:, 0] += torch.tensor(pi)[truth] - 1.5
    image[:, 1] += truth / 2.0 - 1.5
    fine = torch.tensor([table.code(frozenset([leaf])) for leaf in range(count)])
    coarse = torch.tensor([table.code(inside[pi[leaf]]) for leaf in range(count)])
    codes = torch.cat([fine[truth[:2]], coarse[truth[2:]]])
    rows = {Regime.FULL: slice(0, 2), Regime.COARSE: slice(2, 6), Regime.PARTIAL: slice(6, 6), Regime.NONE: slice(6, 6)}
    made = Batch(
        image=image,
        codes=codes,
        label_sets=torch.from_numpy(table.array.copy()),
        rows=rows,
        case_ids=tuple(map(str, range(6))),
        maps={},
    )
    return made, truth


@pytest.mark.parametrize("preset", ["paper", "ours"])
def test_four_superclasses_with_seven_leaves_and_a_singleton_are_learned(preset):
    torch.manual_seed(0)
    chosen = resolve_options(card_of("efficient_subclass"), preset, {})
    built = build_method("efficient_subclass", interleaved_study(), chosen).train()
    made, truth = interleaved_batch()
    optimizers = tiny.optimizers(built)
    for number in range(80):
        torch.manual_seed(number)
        tiny.step(built, made, optimizers, number, 80)
    with torch.no_grad():
        found = built.eval().predict(made.image).argmax(1)
    pi = torch.tensor(INTERLEAVED.superclass_of_leaf)
    assert (found[:2] == truth[:2]).float().mean() > 0.9
    assert (pi[found[2:]] == pi[truth[2:]]).float().mean() > 0.8


def test_a_warm_start_finds_each_branch_by_the_name_of_its_superclass():
    turned = LabelScheme(name="turned", structures=tuple(reversed(INTERLEAVED.structures[1:])))
    assert turned.superclass_names != INTERLEAVED.superclass_names
    chosen = resolve_options(card_of("efficient_subclass"), "paper", {})
    torch.manual_seed(0)
    donor = build_method("efficient_subclass", interleaved_study(), chosen)
    built = build_method("efficient_subclass", interleaved_study(turned), chosen)
    warm_start(built, turned, Model(donor, interleaved_study(), "efficient_subclass", chosen, {}))
    image = torch.randn(2, 2, 9, 8)
    first, second = donor.eval().predict(image), built.eval().predict(image)
    order = [turned.leaf_names.index(name) for name in INTERLEAVED.leaf_names]
    assert torch.allclose(first, second[:, order], atol=1e-6)


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_state_and_prediction_of_the_presets(preset):
    made = batch()
    # In the paper's own network, whose batch norm has statistics to keep.
    own = {"backbone": "paper_unet", "norm": "batch"}
    first, second = (tiny.method("efficient_subclass", 2, preset=preset, seed=seed, **own) for seed in (0, 4))
    optimizers = tiny.optimizers(first)
    for number in range(2):
        tiny.step(first, made, optimizers, number, 5)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    results = [seeded(7, terms_of, built, made)[0] for built in (first, second)]
    assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])
    found = first.eval().predict(torch.randn(2, 2, 5, 13))
    assert torch.allclose(found.sum(1), torch.ones(2, 5, 13), atol=1e-5)


def test_the_paper_predicts_with_the_leaf_output_alone():
    built, image = method(preset="paper").eval(), torch.randn(1, 2, 8, 8)
    expected = built.learner.network(image)["subclass"].softmax(1)
    assert torch.allclose(built.predict(image), expected, atol=1e-6)


def test_structures_of_the_interleaved_scheme_are_as_the_tests_think():
    assert INTERLEAVED.superclass_of_leaf == (0, 2, 1, 3, 2, 1, 2)
    assert Structure(name="vessel") in INTERLEAVED.structures
