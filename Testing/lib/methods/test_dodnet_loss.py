"""The loss of DoDNet, worked with plain PyTorch for tasks of one and of two parts."""

import pytest
import torch
from torch.nn import functional

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

# A liver with its tumor, of which the rest follows, and a spleen.
SCHEME = LabelScheme(
    name="two_tasks",
    structures=(
        Structure(name="liver"),
        Structure(name="healthy liver", parent="liver"),
        Structure(name="liver tumor", parent="liver"),
        Structure(name="spleen"),
    ),
)
HEALTHY, TUMOR, SPLEEN = 1, 2, 3


def built(preset, **options):
    torch.manual_seed(0)
    chosen = resolve_options(card_of("dodnet"), preset, options)
    return build_method("dodnet", tiny.study(2, scheme=SCHEME), chosen)


def full_rows():
    """Two rows that hold a tumor and a spleen each, so that no part is empty."""
    for seed in range(100):
        made, truth = tiny.batch(2, rows={Regime.FULL: 2}, scheme=SCHEME, seed=seed)
        if all((row == leaf).any() for row in truth for leaf in (TUMOR, SPLEEN)):
            return made, truth
    raise AssertionError("no such rows")


def released(logits, target):
    """Mean over the parts of a task of binary cross entropy and 1 - Dice, each a mean over rows; (B, N, *S)."""
    parts = []
    for z, t in zip(logits.unbind(1), target.unbind(1), strict=True):
        q, axes = z.sigmoid(), (1, 2)
        dice = 2 * (q * t).sum(axes) / (q.sum(axes) + t.sum(axes))
        entropy = functional.binary_cross_entropy_with_logits(z, t, reduction="none").mean(axes)
        parts.append(torch.stack([entropy.mean(), (1 - dice).mean()]))
    return torch.stack(parts).mean(0)


def _tasks_of(method):
    return zip(method.parts.tolist(), method.is_part.tolist(), strict=True)


@pytest.mark.parametrize("preset", ["paper", "ours"])
@pytest.mark.parametrize("task", [0, 1])
def test_the_loss_is_the_mean_over_the_parts_of_the_task(task, preset, monkeypatch):
    method = built(preset)
    names = [[method.table.names[k] for k, real in zip(*row, strict=True) if real] for row in _tasks_of(method)]
    assert names == [["liver", "liver tumor"], ["spleen"]]
    made, truth = full_rows()
    monkeypatch.setattr(method, "_tasks", lambda maps: torch.full((2, 1), task))
    found = method.backbone(made.image)
    logits = method.head(found.map, found.bottleneck, torch.full((2, 1), task))
    spleen, tumor = truth == SPLEEN, truth == TUMOR
    parts = [spleen] if task == 1 else [tumor | (truth == HEALTHY), tumor]
    expected = released(logits[:, : len(parts)], torch.stack(parts, 1).float())
    values = next(iter(method.losses(made, Progress(0, 0.0)))).values
    assert values["cross_entropy"].item() == pytest.approx(expected[0].item(), rel=1e-5)
    assert values["dice"].item() == pytest.approx(expected[1].item(), rel=1e-4)


def test_the_sum_over_two_parts_would_be_twice_the_released_loss(monkeypatch):
    found = {}
    for average in ("mean", "sum"):
        method = built("paper", average=average)
        monkeypatch.setattr(method, "_tasks", lambda maps: torch.zeros(2, 1, dtype=torch.int64))
        found[average] = next(iter(method.losses(full_rows()[0], Progress(0, 0.0)))).total().item()
    assert found["sum"] == pytest.approx(2 * found["mean"], rel=1e-5)
