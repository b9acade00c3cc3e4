"""A training step never waits for its device: no number is read from it, no shape depends on its numbers."""

import copy

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from SemiSegLib.losses import label_set, marginal
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny
from Testing.lib.methods.latent import SIGMOIDS

aten = torch.ops.aten
READS = {aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default}
SHAPED_BY_NUMBERS = {aten.nonzero.default, aten.masked_select.default, aten._unique2.default}
# Numbers that the host draws for itself are no news from the device.
DRAWN = {aten.randint.default, aten.randint.low, aten.rand.default}


class Waits(TorchDispatchMode):
    """Notes every call that would make a host wait for its device."""

    def __init__(self):
        super().__init__()
        self.found, self._drawn = [], []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func in DRAWN:
            # Kept alive, so that no other number gets its place.
            self._drawn.append(result)
        if func in SHAPED_BY_NUMBERS or (func in READS and not self._is_drawn(args[0])):
            self.found.append(str(func))
        if func is aten.index.Tensor and any(i is not None and i.dtype == torch.bool for i in args[1]):
            self.found.append("index by a mask")
        return result

    def _is_drawn(self, value):
        return any(value.data_ptr() == own.data_ptr() for own in self._drawn)


def without_looking(monkeypatch):
    """Let losses do what they do on a device other than a CPU."""
    structures_of = label_set.structures_of
    monkeypatch.setattr(marginal, "mend_found", marginal.mend_everywhere)
    monkeypatch.setattr(
        label_set,
        "structures_of",
        lambda sets, counts, **more: structures_of(sets, counts, **{**more, "only_eligible": False}),
    )


def waits_of(built, made, progress):
    with Waits() as waits:
        for terms in built.losses(made, progress):
            terms.total().backward()
        built.after_step(progress)
    return waits.found


# Two heads read which leaf lies where; other random numbers and other passes.
VARIANTS = [(name, {}) for name in tiny.all_methods()] + [
    ("efficient_subclass", {"mix": "full"}),
    ("efficient_subclass", {"mix": "full", "passes": "two", "pseudo_labels": "student", "agreement": "turns"}),
    ("cross_pseudo_supervision", {"supervision": "two_heads", "confidence": "above_chance", "predict_with": "teacher"}),
    ("mean_teacher", {"supervision": "two_heads", "rows": "all", "teacher_mode": "training"}),
    ("modified_unet", {"dice": "paper"}),
    ("attention_adversarial", {"threshold": "labeled_dice", "attention": "sample"}),
    ("uncertainty_aware_mean_teacher", {"target": "pass"}),
    ("dynamic_head", {"embedding": "text", "average": "sum", "exclusion": False}),
    ("dodnet", {"tasks": "one", "average": "sum"}),
    ("latent_classes", {**SIGMOIDS, "confidence_weighted": True, "negative_target": "teacher"}),
]


@pytest.mark.parametrize(("name", "options"), VARIANTS, ids=[f"{n}-{'+'.join(o)}" for n, o in VARIANTS])
def test_a_step_asks_its_device_for_no_number(name, options, monkeypatch):
    without_looking(monkeypatch)
    built, made = tiny.method(name, 2, options=options, norm="batch", dropout=0.1), tiny.batch_for(name, 2)[0]
    late = Progress(900, 0.9)
    # The first step reads what a loaded state says of the teacher's steps.
    waits_of(built, made, late)
    assert waits_of(built, made, late) == []


def test_looking_for_voxels_and_reading_numbers_are_noticed():
    built, made = tiny.method("mean_teacher", 2), tiny.batch(2)[0]
    late = Progress(900, 0.9)
    # On a CPU the losses look for what is to be mended.
    assert "aten.nonzero.default" in waits_of(built, made, late)
    kept = copy.deepcopy(built.teacher.state_dict())
    with Waits() as waits:
        built.teacher.load_state_dict(kept)
        built.teacher.follow(built.learner)
    assert "aten._local_scalar_dense.default" in waits.found
    with Waits() as waits:
        values = torch.randn(4)
        assert len(values[values > 0]) <= 4
        assert int(torch.randint(3, ())) < 3
    assert waits.found == ["index by a mask"]
