"""bf16 on a CPU is tried where a crash harms nobody."""

import signal

import pytest
import torch

from SemiSegLib.training import instructions
from SemiSegLib.training.instructions import LIMIT_VARIABLE, WITHOUT_AMX, Bf16Support, try_bf16


@pytest.fixture(autouse=True)
def no_limit_set(monkeypatch):
    monkeypatch.delenv(LIMIT_VARIABLE, raising=False)


def test_a_processor_that_runs_everything_needs_no_limit():
    assert try_bf16(lambda environment: 0) == Bf16Support(works=True, limit=None)


def test_tiles_that_trap_are_switched_off():
    def dies_with_tiles(environment):
        return 0 if environment.get(LIMIT_VARIABLE) == WITHOUT_AMX else -signal.SIGILL

    assert try_bf16(dies_with_tiles) == Bf16Support(works=True, limit=WITHOUT_AMX)


def test_a_processor_that_always_traps_gets_no_bf16():
    assert try_bf16(lambda environment: -signal.SIGILL) == Bf16Support(works=False, limit=None)


def test_a_limit_that_the_user_set_is_kept(monkeypatch):
    monkeypatch.setenv(LIMIT_VARIABLE, "AVX2")
    seen = []

    def record(environment):
        seen.append(environment[LIMIT_VARIABLE])
        return -signal.SIGILL

    assert not try_bf16(record).works
    assert seen == ["AVX2"]


def test_the_real_trial_answers_by_its_exit_code(monkeypatch):
    monkeypatch.setattr(instructions, "PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    assert not try_bf16().works


def test_bf16_is_not_quick_where_tiles_are_switched_off(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    assert instructions.bf16_is_quick()
    monkeypatch.setenv(LIMIT_VARIABLE, WITHOUT_AMX)
    assert not instructions.bf16_is_quick()
