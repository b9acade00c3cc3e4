"""Dual-task methods trained on prepared cases of every regime: an interrupted training ends as a whole one."""

import math
from dataclasses import replace

import pytest
import torch

from SemiSegLib.batches.source import BatchSource, prefetch
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Study
from SemiSegLib.planning.plan import NetworkPlan
from SemiSegLib.training.trainer import Trainer
from Testing.lib.batches.study import a_plan, put_study
from Testing.lib.methods import tiny
from Testing.lib.training.tiny_training import settings

NETWORK = NetworkPlan(**{**tiny.shape(3), "dropout": 0.2}, norm="batch")
PLAN = a_plan(patch=(6, 8, 8), batch=4, network=NETWORK)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return put_study(tmp_path_factory.mktemp("study"), ("full", "coarse", "partial", "none"))


def a_trainer(name, study, cache, state=None):
    torch.manual_seed(0)
    method = build_method(name, Study(scheme=study.scheme, plan=PLAN), {})
    card = card_of(name)
    source = BatchSource(
        PreparedStore(cache, study, PLAN),
        study.cases,
        PLAN,
        composition=card.composition,
        seed=5,
        maps=card.maps,
    )
    torch.manual_seed(1)
    return Trainer(
        method, lambda first: prefetch(source, first), replace(settings(), steps=6), device="cpu", state=state
    )


@pytest.mark.parametrize("name", ["dual_task_consistency", "dual_task_mutual_learning"])
def test_a_killed_and_resumed_training_equals_an_uninterrupted_one(name, study, tmp_path):
    whole = a_trainer(name, study, tmp_path / "first")
    saved = None
    for _ in whole.run():
        if whole.step == 3 and saved is None:
            saved = whole.state()
        # Told of every step.
        whole.clock._told = -math.inf
    assert saved is not None
    assert saved[1]["step"] == 3
    # Another process: nothing is kept but the checkpoint, not even the cache.
    resumed = a_trainer(name, study, tmp_path / "second", saved)
    for _ in resumed.run():
        pass
    expected, found = whole.method.state_dict(), resumed.method.state_dict()
    assert all(torch.equal(expected[key], found[key]) for key in expected)
    fresh = a_trainer(name, study, tmp_path / "second").method.state_dict()
    assert any(not torch.equal(expected[key], fresh[key]) for key in expected)
