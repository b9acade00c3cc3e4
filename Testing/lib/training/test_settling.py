"""Switches of torch that a session sets are as they were when it is over."""

import os

import pytest
import torch

from SemiSegLib.training.settling import WORKSPACE_VARIABLE, determinism


def switches():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        os.environ.get(WORKSPACE_VARIABLE),
    )


@pytest.mark.parametrize("is_wanted", [True, False])
@pytest.mark.parametrize("benchmark", [True, False])
@pytest.mark.parametrize("workspace", [None, ":16:8"])
def test_determinism_ends_with_its_block_also_after_an_error(monkeypatch, is_wanted, benchmark, workspace):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", benchmark)
    if workspace is None:
        monkeypatch.delenv(WORKSPACE_VARIABLE, raising=False)
    else:
        monkeypatch.setenv(WORKSPACE_VARIABLE, workspace)
    before = switches()
    with determinism(is_wanted):
        assert torch.are_deterministic_algorithms_enabled() == is_wanted
        assert torch.backends.cudnn.benchmark != is_wanted
        usual = ":4096:8" if is_wanted else None
        assert os.environ.get(WORKSPACE_VARIABLE) == (workspace or usual)
    assert switches() == before
    with pytest.raises(ZeroDivisionError), determinism(is_wanted):
        raise ZeroDivisionError
    assert switches() == before
