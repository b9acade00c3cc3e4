"""What the tests of methods with a teacher share: a student that has moved away from its teacher, and checks."""

from dataclasses import replace

import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

HALFWAY = Progress(500, 0.5)
UNLABELED = (Regime.COARSE, Regime.PARTIAL, Regime.NONE)


def apart(name, *, preset=None, options=None, dimensions=3, seed=0, **network):
    """A method whose student has other weights than its teacher."""
    built = tiny.method(name, dimensions, seed=seed, preset=preset, options=options, **network)
    draw = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in built.learner.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw), alpha=0.2)
    return built.train()


def terms_of(built, made, progress=HALFWAY, seed=0):
    torch.manual_seed(seed)
    return next(iter(built.losses(made, progress)))


def agreement_of(built, made, progress=HALFWAY, seed=0):
    return terms_of(built, made, progress, seed).values["consistency"]


def gradients(value, built):
    """Gradient of a value for every weight of the student; 0 where it has none."""
    weights = list(built.learner.parameters())
    found = torch.autograd.grad(value, weights, allow_unused=True)
    return [torch.zeros_like(w) if g is None else g for w, g in zip(weights, found, strict=True)]


def same(first, second, tolerance=1e-5):
    return all(torch.allclose(a, b, rtol=1e-4, atol=tolerance) for a, b in zip(first, second, strict=True))


def check_that_it_teaches_the_student_alone(built, made, term="consistency"):
    value = terms_of(built, made).values[term]
    assert value.requires_grad, "the term has no gradient"
    assert sum(float(g.abs().sum()) for g in gradients(value, built)) > 0, "the term moves nothing"
    terms_of(built, made).total().backward()
    assert all(p.grad is None and not p.requires_grad for p in built.teacher.parameters()), "the teacher is trained"


def cut(made, size):
    """The batch with smaller patches."""
    crop = (slice(None), *(slice(0, n) for n in size))
    return replace(made, image=made.image[(slice(None), *crop)], codes=made.codes[crop])
