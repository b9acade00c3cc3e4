"""The ways of cross pseudo supervision are compared on the same work, and one that fails does not hide the others."""

from argparse import Namespace

import cps_cost
import pytest
import torch

MACHINE = {
    "processor": "some processor",
    "cores": 2,
    "system": "some system",
    "python": "3",
    "packages": {"torch": "2"},
    "commit": "abc",
}
OPTIONS = Namespace(rounds=2, steps=2, device="cpu", threads=1)


def test_ratios_are_those_of_medians_and_a_failure_is_told(monkeypatch):
    # Seconds 1, 2, 3, 4 of two rounds for one network, three times as much for both together.
    rounds = {cps_cost.SINGLE: [[1.0, 2.0], [3.0, 4.0]], "joint": [[3.0, 6.0], [9.0, 12.0]]}

    def child(row, extra):
        gib = {cps_cost.SINGLE: 1.0, "joint": 2.0}.get(row.way, 1.2)
        if extra:
            # Its C library gives blocks back, so it holds less; its seconds do not count.
            return {"seconds": [99.0], "gib": gib / 2}
        if row.way in rounds:
            return {"seconds": rounds[row.way].pop(0), "gib": gib}
        return {"failed": "no memory"} if row.way == "stacked" else {"seconds": [5.0, 5.0], "gib": gib}

    monkeypatch.setattr(cps_cost, "in_process", child)
    found = cps_cost.measure_size("quick", "fp32", OPTIONS)
    assert found["joint"]["times_seconds"] == 3
    assert found["joint"]["times_gib"] == 2
    assert found["sequential"]["times_seconds"] == 2
    assert found["sequential"]["times_gib"] == pytest.approx(1.2)
    assert found["stacked"] == {"failed": "no memory"}
    text = cps_cost.page({("quick", "fp32"): found}, MACHINE, "python cps_cost.py", "1 thread")
    assert "| sequential | 5 | 5 to 5 | 2 | 0.6 | 1.2 | 1.2 | 1.2 |" in text
    assert "| stacked | failed |" in text
    assert "stacked: no memory" in text
    assert "its numbers say nothing" in text


def test_a_reduced_size_is_called_so():
    own = {"seconds": [1.0], "median_seconds": 1.0, "median_gib": 1.0, "median_resident_gib": 1.0}
    found = dict.fromkeys(cps_cost.WAYS, own)
    for name, is_reduced in (("basic_unet_64", True), ("basic_unet_128", False)):
        text = cps_cost.page({(name, "fp32"): found}, MACHINE, "python cps_cost.py", "1 thread")
        assert ("Reduced size" in text) == is_reduced


@pytest.mark.parametrize("way", cps_cost.WAYS)
def test_every_way_computes_every_row(way, monkeypatch):
    seen = []
    original = cps_cost.Steps.step

    def step(steps):
        for module in steps.method.modules():
            if module.__class__.__name__ == "BasicUNet" and hasattr(module, "divisor"):
                module.register_forward_pre_hook(lambda module, given: seen.append(given[0].shape[-5]))
        return original(steps)

    monkeypatch.setattr(cps_cost.Steps, "step", step)
    monkeypatch.setattr(cps_cost, "WARMUP", 0)
    found = cps_cost.measure(cps_cost.Row("quick", way, "fp32", "cpu", torch.get_num_threads(), 1))
    assert len(found["seconds"]) == 1
    assert set(seen) == {2}
    assert len(seen) == {cps_cost.SINGLE: 1, "joint": 2, "sequential": 3, "stacked": 1}[way]
