"""What was trained is kept when structures are renamed, split or merged; whole methods, before any step."""

from types import SimpleNamespace

import pytest
import torch

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.scheme import LabelScheme, Structure, name_key
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.training.warm_start import warm_start
from Testing.lib.methods.tiny import study


def scheme(*entries):
    """Names, a part as "whole/part"."""
    parts = [entry.split("/") for entry in entries]
    return LabelScheme(
        name="s", structures=tuple(Structure(name=p[-1], parent=p[-2] if len(p) > 1 else None) for p in parts)
    )


BEFORE = scheme("organ", "organ/head", "organ/tail", "vessel", "nerve")
# The vessel is split, and everything is in another order.
SPLIT = scheme("nerve", "vessel", "vessel/vein", "organ", "vessel/artery", "organ/tail", "organ/head")
RENAMED = scheme("Nervus", "vessel", "corpus", "corpus/tail", "corpus/caput")
MERGED = scheme("vessel", "organ", "nerve")
METHODS = {
    "one softmax": ("marginal", {}),
    "superclasses first": ("modified_unet", {"combine": "superclass_first"}),
    "two outputs": ("modified_unet", {"combine": "subclass"}),
    "projection": ("efficient_subclass", {"projection": True, "combine": "superclass_first"}),
    "branches": ("efficient_subclass", {"separate_normalization": True, "combine": "subclass"}),
    "branches and prior": (
        "efficient_subclass",
        {"separate_normalization": True, "prior_concatenation": "logits", "combine": "subclass"},
    ),
    "branches, superclasses first": (
        "efficient_subclass",
        {"separate_normalization": True, "combine": "superclass_first"},
    ),
    "prior": ("efficient_subclass", {"prior_concatenation": "detached", "combine": "subclass", "projection": True}),
    "pair of networks": ("cross_pseudo_supervision", {}),
    "ROIs": ("dynamic_head", {"embedding": "hierarchy"}),
    "learned ROIs": ("dynamic_head", {"embedding": "learned"}),
    "ROIs in one softmax": ("dynamic_head", {"embedding": "learned", "output": "softmax"}),
    "one-hot ROIs": ("dynamic_head", {"embedding": "one_hot"}),
    "one-hot ROIs in one softmax": ("dynamic_head", {"embedding": "one_hot", "output": "softmax"}),
    "ROIs and a teacher": ("roi_mean_teacher", {"embedding": "hierarchy"}),
}
ONE_BY_ONE = ("ROIs", "learned ROIs", "one-hot ROIs", "ROIs and a teacher")


def built(name, of, seed=0):
    method, options = METHODS[name]
    torch.manual_seed(seed)
    made = build_method(method, study(scheme=of), resolve_options(card_of(method), None, options)).eval()
    # Norms with running means would make every output of an untrained network alike.
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    return made


def a_donor(method, of):
    return SimpleNamespace(method=method, study=SimpleNamespace(scheme=of), provenance={})


def probability(method, of, image):
    """Structure to the probability that a voxel is it."""
    with torch.no_grad():
        leaves = method.predict(image)
    return {name_key(s.name): leaves[:, sorted(of.leaves_of(s.name))].sum(1) for s in of.structures}


def before_and_after(name, after, **asked):
    old, new = built(name, BEFORE, seed=1), built(name, after, seed=2)
    table = warm_start(new, after, a_donor(old, BEFORE), **asked)
    image = torch.randn(2, 2, 8, 8, 8)
    return probability(old, BEFORE, image), probability(new, after, image), table


def _compared(name, structures):
    """Superclasses; leaves too, unless their order decides between parts that are both as likely as the whole."""
    return structures if name not in ONE_BY_ONE else [s for s in structures if s not in ("head", "tail")]


@pytest.mark.parametrize("name", METHODS)
def test_a_split_structure_is_as_likely_as_it_was_before_any_step(name):
    old, new, table = before_and_after(name, SPLIT)
    assert old["vessel"].std() > 1e-3
    for structure in _compared(name, old):
        torch.testing.assert_close(new[structure], old[structure], rtol=0, atol=1e-5)
    assert table.inherited == {"vein": "vessel", "artery": "vessel"}
    assert "vein starts from vessel" in table.structures()


@pytest.mark.parametrize("name", METHODS)
def test_renamed_structures_keep_what_was_trained(name):
    renamed = {"Nervus": "nerve", "corpus": "organ", "caput": "head"}
    old, new, table = before_and_after(name, RENAMED, renamed=renamed)
    pairs = {**renamed, "tail": "tail", "vessel": "vessel", "background": "background"}
    for now, then in pairs.items():
        if then in _compared(name, old):
            torch.testing.assert_close(new[name_key(now)], old[name_key(then)], rtol=0, atol=1e-5)
    # A group has no row in a single softmax.
    assert {"corpus": "organ", **table.inherited} == renamed
    assert not [text for text in table.new if ": " in text]
    assert not [text for text in table.dropped if "." not in text]


SUPERCLASS_ANSWERS = (
    "superclasses first",
    "projection",
    "branches, superclasses first",
    "ROIs",
    "learned ROIs",
    "one-hot ROIs",
    "ROIs and a teacher",
)


@pytest.mark.parametrize("name", SUPERCLASS_ANSWERS)
def test_parts_merged_into_their_superclass_are_as_likely_as_it_was(name):
    old, new, table = before_and_after(name, MERGED)
    torch.testing.assert_close(new["organ"], old["organ"], rtol=0, atol=1e-5)
    assert "organ" in (*table.kept, *table.merged)


@pytest.mark.parametrize(
    "name", ["one softmax", "two outputs", "pair of networks", "ROIs in one softmax", "one-hot ROIs in one softmax"]
)
def test_parts_without_an_answer_of_their_superclass_merge_to_at_most_their_sum(name):
    old, new, table = before_and_after(name, MERGED)
    assert table.merged == {"organ": ("head", "tail")}
    if name != "pair of networks":
        # Beside what was not touched; the mean of two networks' softmaxes has no such ratio.
        ratio = (new["organ"] / new["vessel"]) / (old["organ"] / old["vessel"])
        # A head made of the mean of what tells two structures is not quite the mean of their heads.
        assert (ratio < 1 + (1e-2 if "ROIs" in name else 1e-3)).all()


def test_two_structures_that_had_one_name_split_it_without_a_common_parent():
    after = scheme("organ", "organ/head", "organ/tail", "left vessel", "right vessel", "nerve")
    asked = {"renamed": {"left vessel": "vessel", "right vessel": "vessel"}}
    for name in ("one softmax", "superclasses first", "branches", "branches, superclasses first"):
        old, new, table = before_and_after(name, after, **asked)
        both = new["leftvessel"] + new["rightvessel"]
        torch.testing.assert_close(both, old["vessel"], rtol=0, atol=1e-5)
        torch.testing.assert_close(new["head"], old["head"], rtol=0, atol=1e-5)
        assert table.inherited == {"left vessel": "vessel", "right vessel": "vessel"}


def test_merged_structures_with_the_same_logits_get_exactly_the_sum():
    after = scheme("organ", "organ/head", "organ/tail", "tubes")
    old, new = built("one softmax", BEFORE, seed=1), built("one softmax", after, seed=2)
    names, head = BEFORE.leaf_names, old.learner.network.heads["subclass"].convolution
    with torch.no_grad():
        vessel, nerve = names.index("vessel"), names.index("nerve")
        head.weight[vessel], head.bias[vessel] = head.weight[nerve], head.bias[nerve]
    table = warm_start(new, after, a_donor(old, BEFORE), merged={"tubes": ("vessel", "nerve")})
    image = torch.randn(1, 2, 8, 8, 8)
    then, now = probability(old, BEFORE, image), probability(new, after, image)
    torch.testing.assert_close(now["tubes"], then["vessel"] + then["nerve"], rtol=0, atol=1e-5)
    torch.testing.assert_close(now["head"], then["head"], rtol=0, atol=1e-5)
    assert table.merged == {"tubes": ("vessel", "nerve")}
    assert "tubes starts from vessel and nerve" in table.structures()


@pytest.mark.parametrize("embedding", ["text", "file"])
def test_given_vectors_of_structures_stay_those_of_the_study(embedding):
    chosen = resolve_options(card_of("dynamic_head"), None, {"embedding": embedding})
    old, new = (build_method("dynamic_head", study(scheme=of), chosen) for of in (BEFORE, BEFORE))
    own = {n: t.clone() + 1 for n, t in new.state_dict().items() if n.endswith("embedding.fixed")}
    new.load_state_dict(own, strict=False)
    warm_start(new, BEFORE, a_donor(old, BEFORE))
    assert own
    for name, value in own.items():
        assert torch.equal(new.state_dict()[name], value)


def test_distances_of_parts_begin_as_those_of_the_whole():
    options = resolve_options(card_of("dual_task_consistency"), None, {})
    old, new = (build_method("dual_task_consistency", study(scheme=of), options).eval() for of in (BEFORE, SPLIT))
    warm_start(new, SPLIT, a_donor(old, BEFORE))
    rows, known = new.warm_start_rows(), old.warm_start_rows()
    (name,) = [n for n in rows if n.endswith("heads.distance.convolution.bias")]
    for part in ("vein", "artery"):
        if part in rows[name]:
            value = new.state_dict()[name][rows[name].index(part)]
            assert value == old.state_dict()[name][known[name].index("vessel")]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"renamed": {"artary": "vessel"}}, "artary"),
        ({"renamed": {"artery": "vesel"}}, "vesel"),
        ({"merged": {"artery": ("vessel", "nobody")}}, "nobody"),
    ],
)
def test_a_name_that_is_none_is_refused(asked, words):
    old, new = built("one softmax", BEFORE), built("one softmax", SPLIT)
    with pytest.raises(LabelError, match=words):
        warm_start(new, SPLIT, a_donor(old, BEFORE), **asked)
