"""HierarchicalMix: which rows it teaches, and what another view of a row is."""

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

LATE = Progress(900, 0.9)


# An untrained network is as sure as this.
UNSURE = {"threshold": "linear", "threshold_start": 0.25, "threshold_end": 0.25}


def method(**options):
    return tiny.method("efficient_subclass", 2, options={"mix": "full", **UNSURE, **options})


def rows_that_the_mix_moves(built, made):
    """Rows whose leaf logits have a gradient from the terms of the mix alone, pass by pass."""
    seen = []

    def keep(module, given, outputs):
        if torch.is_grad_enabled():
            outputs["subclass"].retain_grad()
            seen.append(outputs["subclass"])

    built.learner.register_forward_hook(keep)
    torch.manual_seed(0)
    for terms in built.losses(made, LATE):
        mine = [value for name, value in terms.values.items() if name.startswith("mix_")]
        if mine:
            sum(mine).backward()
    return [[] if part.grad is None else part.grad.flatten(1).any(1).nonzero().flatten().tolist() for part in seen]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [[2, 3, 4]]),
        ({"superclass_head": False}, [[2, 3, 4]]),
        ({"use_partial": False}, [[2, 3]]),
        ({"mix": "pseudo"}, [[2, 3, 4]]),
        ({"passes": "two", "use_partial": False}, [[], [0, 1]]),
    ],
)
def test_the_mix_teaches_the_rows_without_leaf_labels_and_no_others(options, expected):
    # Rows 0 and 1 are full, 2 and 3 coarse, 4 partly drawn, 5 without labels.
    built, made = method(**options), tiny.batch(2)[0]
    assert rows_that_the_mix_moves(built, made) == expected


def test_a_noisy_view_is_the_image_with_weak_noise():
    built, made = method(agreement="noise"), tiny.batch(2)[0].part(Regime.COARSE)
    seen = []

    def look(image):
        seen.append(image)
        return torch.full((len(image), 4, *image.shape[2:]), 0.25)

    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        built.mix.pseudo_labels(look, made, LATE)
    noises = []
    for both in seen:
        first, second = both.chunk(2)
        assert torch.equal(first, made.image)
        noises.append(second - first)
        assert 0 < noises[-1].abs().max() <= 0.2 + 1e-6
        assert 0.05 < noises[-1].std() < 0.15
    assert torch.equal(noises[0], noises[1])
    assert not torch.equal(noises[0], noises[2])
