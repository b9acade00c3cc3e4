"""Prediction and uncertainty asked together: the same numbers, and every network looks once."""

from collections import Counter
from itertools import product

import pytest
import torch

from SemiSegLib.networks.backbone import Backbone
from SemiSegLib.prediction.forward import Forward
from Testing.lib.methods import tiny

CROSS, MUTUAL = "cross_pseudo_supervision", "dual_task_mutual_learning"
CHOICES = [
    *(
        (CROSS, {"prediction": prediction, "uncertainty": measure, "predict_with": "teacher"})
        for prediction, measure in product(("ensemble", "second"), ("mutual_information", "disagreement", "entropy"))
    ),
    *((MUTUAL, {"prediction": prediction}) for prediction in ("segmentation", "distance", "mean")),
    (MUTUAL, {"prediction": "segmentation", "networks": "distance"}),
    ("dynamic_head", {}),
    ("dynamic_head", {"output": "softmax"}),
    ("roi_mean_teacher", {"predict": "teacher"}),
    ("dodnet", {}),
]


@pytest.mark.parametrize("name", tiny.all_methods())
def test_asked_together_they_are_what_they_are_apart(name):
    built, image = tiny.method(name, 2, dropout=0.2).eval(), torch.randn(2, 2, 9, 7)
    with torch.inference_mode():
        together, apart = built.predict_with_uncertainty(image), (built.predict(image), built.uncertainty(image))
    assert torch.equal(together[0], apart[0])
    assert together[1] is apart[1] is None or torch.equal(together[1], apart[1])


@pytest.mark.parametrize(("name", "options"), CHOICES, ids=str)
def test_each_network_looks_once(name, options):
    built, image = tiny.method(name, 2, options=options).eval(), torch.randn(2, 2, 9, 7)
    with torch.inference_mode():
        expected, doubt = built.predict(image), built.uncertainty(image)
    looks = Counter()
    for key, part in built.named_modules():
        if isinstance(part, Backbone):
            part.register_forward_hook(lambda module, given, made, key=key: looks.update([key]))
    forward = Forward(built, mirror_axes=(), precision="fp32", uncertainty=True, device=torch.device("cpu"))
    found = forward(image)
    assert set(looks.values()) == {1}
    assert torch.equal(found[:, : expected.shape[1]], expected)
    assert forward.has_uncertainty == (doubt is not None)
    assert doubt is None or torch.equal(found[:, -1], doubt)
