"""What the tests of cross pseudo supervision share."""

from dataclasses import replace

import torch

from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

NAME = "cross_pseudo_supervision"
START, LATE = Progress(0, 0.0), Progress(900, 0.9)


def method(dimensions=3, *, preset=None, network=None, seed=0, **options):
    return tiny.method(NAME, dimensions, seed=seed, preset=preset, options=options, **(network or {}))


def double(made):
    return replace(made, image=made.image.double())


def learn(built, made, progress=LATE, seed=7):
    """Backpropagate as the trainer does; return gradients by parameter and values by term."""
    torch.manual_seed(seed)
    built.zero_grad()
    values = {}
    for terms in built.losses(made, progress):
        terms.total().backward()
        values |= {name: value.item() for name, value in terms.values.items()}
    return {name: p.grad.clone() for name, p in built.named_parameters() if p.grad is not None}, values


def yielded(built, made, progress=LATE):
    terms = list(built.losses(made, progress))
    values = {name: value for part in terms for name, value in part.values.items()}
    return values, {name: weight for part in terms for name, weight in part.weights.items()}


def largest_difference(found, expected):
    assert set(found) == set(expected)
    return max((found[name] - expected[name]).abs().max().item() for name in expected)


def gradients_of(value, built):
    """Return which of the two networks a term moves."""
    parameters = dict(built.named_parameters())
    found = torch.autograd.grad(value, list(parameters.values()), retain_graph=True, allow_unused=True)
    moved = {name for name, part in zip(parameters, found, strict=True) if part is not None and part.abs().sum() > 0}
    return {name.split(".")[0] for name in moved}
