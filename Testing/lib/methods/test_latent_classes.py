"""Latent classes: three sets, sharpened targets in any precision, and what each set learns; worked by hand."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.presence_classes import classes_of_rois
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.latent.latent_classes import LatentClassesOptions, sharpen, three_sets
from SemiSegLib.methods.method import Progress
from SemiSegLib.networks.presence import PresenceDescription, PresenceModel, PresenceShape
from Testing.lib.methods import tiny
from Testing.lib.methods.latent import SIGMOIDS, lesson

NAME = "latent_classes"
LATE = Progress(900, 0.9)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1) | st.just(math.nan), st.booleans()), min_size=1, max_size=12),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_three_sets_share_out_what_was_not_drawn_for_any_thresholds(rois, low, high):
    presence, annotated = torch.tensor([[p for p, _ in rois]]), torch.tensor([[a for _, a in rois]])
    sets = three_sets(presence, annotated, low=low, high=high)
    times = sum(part.long() for part in (sets.positive, sets.negative, sets.ambiguous))
    assert torch.equal(times, (~annotated).long())
    assert (presence[sets.positive] > high).all()
    assert (presence[sets.negative] < low).all()


def test_thresholds_of_the_paper_are_strict():
    sets = three_sets(
        torch.tensor([[0.05, 0.1, 0.5, 0.8, 0.9]]), torch.zeros(1, 5, dtype=torch.bool), low=0.1, high=0.8
    )
    assert [part.flatten().tolist() for part in (sets.positive, sets.negative, sets.ambiguous)] == [
        [False, False, False, False, True],
        [True, False, False, False, False],
        [False, True, True, True, False],
    ]
    options = LatentClassesOptions()
    assert (options.low, options.high, options.temperature) == (0.1, 0.8, 0.1)


def test_a_tumor_goes_with_its_organ():
    scheme = LabelScheme(
        name="t",
        structures=(
            Structure(name="liver"),
            Structure(name="parenchyma", parent="liver"),
            Structure(name="liver tumor", parent="liver"),
            Structure(name="spleen"),
        ),
    )
    told = {"liver": 0.9, "parenchyma": 0.5, "liver tumor": 0.02, "spleen": 0.3}
    shape = PresenceShape(classes=tuple(told), channels=2, dimensions=2, width=0.125, stem_stride=4)
    # Unless a person gives a lesion a class of its own.
    for own, tumor in (({}, "positive"), ({"liver tumor": ("liver tumor",)}, "negative")):
        classes_of = classes_of_rois(scheme, shape.classes, given=own)
        presence = PresenceModel(PresenceDescription(shape=shape, classes_of=classes_of))
        with torch.no_grad():
            presence.network.body.fc.weight.zero_()
            presence.network.body.fc.bias.copy_(torch.tensor(list(told.values())).logit())
        built = build_method(NAME, replace(tiny.study(2, scheme=scheme), presence=presence), {})
        sets = built.sets(torch.zeros(1, 2, 32, 32), torch.zeros(1, 4, dtype=torch.bool))
        assert sets.positive.tolist() == [[True, False, tumor == "positive", False]]
        assert sets.negative.tolist() == [[False, False, tumor == "negative", False]]
        assert sets.ambiguous.tolist() == [[False, True, False, True]]


def by_powers(logits, temperature):
    """Sharpening as the equation is written, in the precision of the network."""
    q = logits.sigmoid()
    high, low = q ** (1 / temperature), (1 - q) ** (1 / temperature)
    return high / (high + low)


def check_that_sharpening_is_stable(how):
    logits = torch.tensor([-math.inf, -65504.0, -40.0, -8.0, 0.0, 8.0, 40.0, 65504.0, math.inf], dtype=torch.float16)
    found = how(logits, 0.1)
    assert found.isfinite().all(), "a target is no number"
    assert found.tolist() == [0, 0, 0, 0, 0.5, 1, 1, 1, 1] or (found[3] < 1e-20 and found[5] == 1)
    middle = how(torch.tensor([0.55, 0.6, 0.4]).logit().half(), 0.1).float()
    # q = 0.55: 0.55^10 / (0.55^10 + 0.45^10) = 0.8815; 0.6: 0.9829.
    assert middle.tolist() == pytest.approx([0.8815, 0.9829, 0.0171], abs=3e-3)


def test_sharpening_is_stable_in_half_precision_at_0_and_1():
    check_that_sharpening_is_stable(sharpen)


def test_sharpening_by_powers_is_noticed():
    with pytest.raises(AssertionError):
        check_that_sharpening_is_stable(lambda logits, temperature: by_powers(logits, 0.01))
    # Powers of half-precision numbers: 0.4 ** 100 is 0 in it, and so is their sum at 0.5.
    assert not by_powers(torch.zeros(1, dtype=torch.float16), 0.01).isfinite().all()


def a_lesson(*, annotated=None):
    """One row, four ROIs, two voxels; the stand-in finds ROI 0 absent, 1 uncertain, 2 present, 3 absent."""
    student = torch.tensor([[[0.0, 1.0], [2.0, -1.0], [0.5, 0.0], [1.0, 1.0]]]).requires_grad_()
    teacher = torch.tensor([[[0.2, -0.3], [0.0, 1.0], [0.1, -0.2], [0.4, 0.0]]])
    shown = torch.tensor([annotated or [False] * 4])
    return lesson(student, teacher, annotated=shown)


def method(**options):
    return tiny.method(NAME, 2, options={**SIGMOIDS, **options})


def cross_entropy(z, t):
    q = 1 / (1 + math.exp(-z))
    return -t * math.log(q) - (1 - t) * math.log(1 - q)


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def test_each_set_learns_what_it_should():
    found = {key: value.item() for key, value in method().teacher_terms(a_lesson()).items()}
    absent = [cross_entropy(z, 0) for z in (0.0, 1.0)], [cross_entropy(z, 0) for z in (1.0, 1.0)]
    present = [cross_entropy(z, sigmoid(10 * t)) for z, t in ((0.5, 0.1), (0.0, -0.2))]
    assert found["latent"] == pytest.approx(np.mean([np.mean(absent[0]), np.mean(absent[1]), np.mean(present)]))
    squares = [(sigmoid(z) - sigmoid(t)) ** 2 for z, t in ((2.0, 0.0), (-1.0, 1.0))]
    assert found["ambiguous"] == pytest.approx(np.mean(squares))


def test_the_paper_sums_and_believes_the_teacher_of_absent_structures():
    built = tiny.method(NAME, 2, preset="paper")
    found = {key: value.item() for key, value in built.teacher_terms(a_lesson()).items()}
    pairs = [[(0.0, 0.2), (1.0, -0.3)], [(0.5, 0.1), (0.0, -0.2)], [(1.0, 0.4), (1.0, 0.0)]]
    expected = sum(np.mean([cross_entropy(z, sigmoid(10 * t)) for z, t in roi]) for roi in pairs)
    assert found["latent"] == pytest.approx(expected, rel=1e-5)


def test_a_doubtful_voxel_of_a_sharpened_answer_counts_less():
    drawn = a_lesson(annotated=[True, True, False, True])
    plain, weighted = (
        method(confidence_weighted=on).teacher_terms(replace(drawn, teacher=torch.full((1, 4, 2), 9.0) * on_off))
        for on, on_off in ((False, torch.tensor([1.0, 0.0])), (True, torch.tensor([1.0, 0.0])))
    )
    sure = cross_entropy(0.5, sigmoid(90))
    assert plain["latent"].item() == pytest.approx((sure + math.log(2)) / 2, rel=1e-3)
    assert weighted["latent"].item() == pytest.approx(sure / 2, rel=5e-3)


def test_what_was_drawn_is_in_no_set():
    terms = method().teacher_terms(a_lesson(annotated=[True] * 4))
    assert [value.item() for value in terms.values()] == [0, 0]
    drawn = a_lesson(annotated=[False, True, False, True])
    sum(method().teacher_terms(drawn).values()).backward()
    assert (drawn.student.grad[:, [1, 3]] == 0).all()
    assert (drawn.student.grad[:, [0, 2]] != 0).any()


def terms_of(built, made, progress=LATE):
    torch.manual_seed(0)
    return next(iter(built.losses(made, progress)))


def test_the_row_without_the_squared_loss_has_no_weight_for_it():
    paper, without = (tiny.method(NAME, 2, preset=preset) for preset in ("paper", "paper_without_squares"))
    made = tiny.batch(2)[0]
    assert terms_of(paper, made).weights["ambiguous"] == 1
    assert terms_of(without, made).weights["ambiguous"] == 0
    options = [dict(card_of(NAME).presets[preset]) for preset in ("paper", "paper_without_squares")]
    assert [chosen.pop("ambiguous_weight") for chosen in options] == [1, 0]
    assert options[0] == options[1]


def check_that_teacher_and_student_see_the_same_voxels(built):
    made, seen = tiny.batch(2)[0], {}
    built.learner.backbone.register_forward_pre_hook(lambda _, given: seen.setdefault("student", given[0]))
    built.teacher.network.backbone.register_forward_pre_hook(lambda _, given: seen.setdefault("teacher", given[0]))
    terms_of(built, made)
    last = len(made) - len(seen["teacher"])
    assert torch.equal(seen["teacher"], made.image[last:]), "the teacher does not see the patch as it is"
    student = seen["student"][last:]
    assert not torch.equal(student, seen["teacher"])
    # The leaves lie in blocks of 4 that differ in brightness: edges stay where they are.
    for row, own in zip(student, seen["teacher"], strict=True):
        edges = [part[0].diff(dim=0).abs().mean(1) for part in (row, own)]
        if edges[1][3] > 4 * edges[1][[1, 5]].mean() and edges[0].sum() > 0:
            assert edges[0][2:5].sum() > edges[0][[0, 1, 5, 6]].mean(), "the student's patch is turned"


@pytest.mark.parametrize("name", [NAME, "roi_mean_teacher"])
def test_both_views_are_of_the_same_voxels(name):
    check_that_teacher_and_student_see_the_same_voxels(tiny.method(name, 2, options={"views": "strong"}))


def test_a_turned_view_is_noticed():
    built = tiny.method(NAME, 2, options={"views": "strong"})
    built.strong = lambda image: torch.roll(image, 2, dims=2)
    with pytest.raises(AssertionError, match="turned"):
        check_that_teacher_and_student_see_the_same_voxels(built)


def test_the_same_view_for_both_changes_no_intensity():
    built, made, seen = tiny.method(NAME, 2, options={"views": "same"}), tiny.batch(2)[0], []
    built.learner.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    terms_of(built, made)
    assert torch.equal(seen[0], made.image)


def test_the_teacher_over_structures_agrees_on_all_that_was_not_drawn():
    built, made = tiny.method("roi_mean_teacher", 2, options={"views": "same"}), tiny.batch(2)[0]
    with torch.no_grad():
        for parameter in built.learner.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    maps = built.learner.maps(made)
    outputs = [net.eval()(made.image).logits for net in (built.learner, built.teacher)]
    squares = (outputs[0].sigmoid() - outputs[1].sigmoid()).square()
    means = [
        squares[row, k][maps.open[row, k]].mean().item()
        for row in range(len(made))
        for k in range(4)
        if maps.open[row, k].any()
    ]
    built.learner.eval()
    assert terms_of(built, made).values["consistency"].item() == pytest.approx(np.mean(means), rel=1e-4)


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
@pytest.mark.parametrize("name", [NAME, "roi_mean_teacher"])
def test_the_teacher_teaches_the_student_alone(name, output):
    built = tiny.method(name, 2, options={"output": output}).train()
    with torch.no_grad():
        for parameter in built.learner.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    terms = terms_of(built, tiny.batch(2)[0])
    for key in built.teacher_weights():
        weights = list(built.learner.parameters())
        moved = torch.autograd.grad(terms.values[key], weights, retain_graph=True, allow_unused=True)
        assert any(part is not None and part.abs().sum() > 0 for part in moved), key
    terms.total().backward()
    assert all(p.grad is None for p in (*built.teacher.parameters(),))


def test_the_presence_network_is_frozen_state_of_the_method():
    study = tiny.study(2)
    built = build_method(NAME, study, {}).train()
    assert not built.presence.training
    assert not any(p.requires_grad for p in built.presence.parameters())
    assert built.presence is not study.presence
    assert all(p.requires_grad for p in study.presence.parameters())
    state = copy.deepcopy(built.state_dict())
    assert "presence.told" in state
    other = build_method(NAME, replace(study, presence=tiny.Presence(told=(0.5, 0.5, 0.5))), {})
    other.load_state_dict(state)
    assert torch.equal(other.presence.told, study.presence.told)


def test_without_a_presence_network_it_says_what_to_do():
    with pytest.raises(ConfigError, match="roi_mean_teacher"):
        build_method(NAME, replace(tiny.study(2), presence=None), {})
    assert card_of(NAME).stages == ("presence",)


def test_weights_begin_small_because_the_teacher_begins_as_random_as_the_student():
    made = tiny.batch(2)[0]
    for preset, begin, name in (("ours", 0.5, "latent_dice"), ("paper", 0.0, "latent")):
        built = tiny.method(NAME, 2, preset=preset)
        assert terms_of(built, made, Progress(0, begin)).weights[name] == pytest.approx(math.exp(-5))
        assert terms_of(built, made, Progress(100, begin + 0.1)).weights[name] == 1


def test_until_it_speaks_the_teacher_is_not_asked():
    built, made = tiny.method(NAME, 2, options={"views": "strong"}), tiny.batch(2)[0]
    asked, seen = [], []
    built.teacher.register_forward_pre_hook(lambda *_: asked.append(True))
    built.learner.backbone.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    terms = terms_of(built, made, Progress(499, 0.499))
    assert not asked
    assert torch.equal(seen[0], made.image), "strong changes of intensity without a teacher to agree with"
    assert not any(weight for name, weight in terms.weights.items() if name in built.teacher_weights())
    terms_of(built, made, Progress(500, 0.5))
    assert asked


@pytest.mark.parametrize(("options", "steps"), [(SIGMOIDS, 30), ({"output": "softmax"}, 100)], ids=str)
def test_structures_that_nobody_drew_in_a_case_are_learned_from_their_presence(options, steps):
    """Absent ones are unlearned there, without a label."""
    study = replace(tiny.study(2), presence=tiny.Presence(told=(0.01,)))
    torch.manual_seed(0)
    built = build_method(NAME, study, {**options, "views": "same"}).train()
    made = tiny.batch(2, rows={Regime.PARTIAL: 2})[0]
    blank = replace(made, codes=torch.zeros_like(made.codes))
    optimizer_of = tiny.optimizers(built)
    for number in range(steps):
        tiny.step(built, blank, optimizer_of, number + 900, 1000)
    with torch.no_grad():
        assert built.eval().predict(made.image)[:, 0].mean() > 0.9
