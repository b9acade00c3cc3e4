"""The whole loss of a published preset, term by term and weight by weight, worked with plain PyTorch."""

import math

import pytest
import torch
from torch.nn import functional

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

E = 1e-5
AT = Progress(900, 0.9)
FULL_AND_COARSE = {Regime.FULL: 2, Regime.COARSE: 2}


def one_hot(leaf, count):
    return functional.one_hot(leaf, count).movedim(-1, 1).float()


def dice(p, q, mask=1.0):
    """Mean over all classes of 1 - the Dice with squared sums over batch and space."""
    axes = (0, *range(2, p.ndim))
    p, q = p * mask, q * mask
    shares = (2 * (p * q).sum(axes) + E) / (p.square().sum(axes) + q.square().sum(axes) + E)
    return 1 - shares.mean()


def seg(logits, target):
    """Seg of paper 000: half of cross entropy and of the mean Dice of all classes."""
    count = logits.shape[1]
    return (functional.cross_entropy(logits, target) + dice(logits.softmax(1), one_hot(target, count))) / 2


def superclass(truth):
    return torch.tensor(tiny.SCHEME.superclass_of_leaf)[truth]


def total(built, made, progress=AT, seed=5):
    torch.manual_seed(seed)
    return sum(terms.total() for terms in built.losses(made, progress)).item()


def test_efficient_subclass_as_paper_000_writes_it(monkeypatch):
    built = tiny.method("efficient_subclass", 2, preset="paper", options={"threshold_end": 0.25})
    made, truth = tiny.batch(2, rows=FULL_AND_COARSE)
    lessons, teach = [], built.mix.lesson
    monkeypatch.setattr(built.mix, "lesson", lambda *given: lessons.append(teach(*given)) or lessons[-1])
    found = total(built, made)
    outputs, mixed = built.learner(made.image), built.learner(lessons[0].image)["subclass"]
    target = lessons[0].target
    known = (target.sum(1, keepdim=True) > 0).float()
    assert 0 < known.mean() <= 1
    cross_entropy = -(target * mixed.log_softmax(1)).sum() / target.sum()
    mix = (cross_entropy + dice(mixed.softmax(1), target, known)) / 2
    expected = seg(outputs["superclass"], superclass(truth)) + seg(outputs["subclass"][:2], truth[:2]) + mix
    assert found == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize("preset", ["paper", "code"])
def test_negative_learning_as_paper_000_writes_it(preset):
    # One foreground superclass, as there: what is not background is one of the leaves of the other.
    scheme = LabelScheme(
        name="heart",
        structures=(Structure(name="heart"), *(Structure(name=name, parent="heart") for name in ("left", "right"))),
    )
    torch.manual_seed(0)
    options = resolve_options(card_of("negative_learning"), preset, {})
    built = build_method("negative_learning", tiny.study(2, scheme=scheme), options)
    made, truth = tiny.batch(2, rows=FULL_AND_COARSE, leaves=range(3), scheme=scheme)
    logits = built.learner(made.image)["subclass"]
    first = 0 if preset == "paper" else 2
    background, is_drawn = logits.softmax(1)[first:, 0], truth[first:] > 0
    negative = -(1 - background[is_drawn]).log().mean() - background[~is_drawn].log().mean()
    assert total(built, made) == pytest.approx((seg(logits[:2], truth[:2]) + negative).item(), rel=1e-4)


@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_the_uncertainty_aware_mean_teacher_as_paper_000_adapts_it(fraction):
    built = tiny.method("uncertainty_aware_mean_teacher", 2, preset="paper_000")
    # A teacher that differs from its student, and is sure somewhere.
    torch.manual_seed(1)
    with torch.no_grad():
        for own in built.teacher.network.parameters():
            own.add_(0.3 * torch.randn_like(own))
    made, truth = tiny.batch(2, rows=FULL_AND_COARSE)
    progress = Progress(round(40_000 * fraction), fraction)
    found = total(built, made, progress)
    image, teacher = made.image[2:], built.teacher.network.eval()

    def look():
        noise = (torch.randn_like(image) * 0.1).clamp(-0.2, 0.2)
        with torch.no_grad():
            return teacher(image + noise)["subclass"].softmax(1)

    torch.manual_seed(5)
    mean = sum(look() for _ in range(8)) / 8
    target = look()
    doubt = -(mean * mean.log()).sum(1, keepdim=True)
    mask = (doubt < (0.75 + 0.25 * math.exp(-5 * (1 - fraction) ** 2)) * math.log(4)).float()
    assert 0 < mask.mean() < 1
    outputs = built.learner(made.image)
    own = outputs["subclass"][2:].softmax(1)
    agreement = (mask * (own - target).square()).sum() / (4 * mask.sum())
    stair = min(progress.step // 150, 200) / 200
    labels = seg(outputs["superclass"], superclass(truth)) + seg(outputs["subclass"][:2], truth[:2])
    expected = labels + 0.1 * math.exp(-5 * (1 - stair) ** 2) * agreement
    assert found == pytest.approx(expected.item(), rel=1e-5)


def test_dynamic_heads_as_paper_002_writes_them():
    built = tiny.method("dynamic_head", 2, preset="paper")
    made, truth = tiny.batch(2, rows={Regime.FULL: 2, Regime.PARTIAL: 1})
    logits = built.learner.roi_logits(built.learner(made.image))
    organ = (truth == tiny.HEAD) | (truth == tiny.TAIL)
    rois = [organ, truth == tiny.HEAD, truth == tiny.TAIL, truth == tiny.VESSEL]
    assert built.learner.table.names == ("organ", "head", "tail", "vessel")
    expected = 0.0
    # The last row shows the vessel alone. A structure that is empty in its row has no Dice.
    for row, shown in ((0, range(4)), (1, range(4)), (2, [3])):
        for k in shown:
            z, t = logits[row, k], rois[k][row].float()
            q = z.sigmoid()
            expected = expected + functional.binary_cross_entropy_with_logits(z, t)
            if t.any():
                expected = expected + 1 - (2 * (q * t).sum() + E) / (q.sum() + t.sum() + E)
    assert total(built, made) == pytest.approx(expected.item() / 3, rel=1e-4)
