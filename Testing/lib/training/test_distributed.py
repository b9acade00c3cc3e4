import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file

from SemiSegLib.training.distributed import Ranks, join_ranks
from SemiSegLib.training.trainer import Trainer
from Testing.lib.training.tiny_training import TinyMethod, a_batch, settings

ROOT = Path(__file__).resolve().parents[3]

# Without dropout and running statistics, two processes do exactly what one does with both batches.
SCRIPT = """
import sys
import torch
from safetensors.torch import save_file
from SemiSegLib.training.distributed import join_ranks
from SemiSegLib.training.trainer import Trainer
from Testing.lib.training.tiny_training import settings
from Testing.lib.training.test_distributed import Plain, spoiled

with join_ranks() as ranks:
    def batches(first):
        number = first
        while True:
            yield spoiled(number * ranks.count + ranks.rank)
            number += 1
    chosen = settings(steps=12, optimizer="sgd", learning_rate=0.05)
    trainer = Trainer(Plain(), batches, chosen, device="cpu", ranks=ranks)
    events = list(trainer.run())
    save_file(trainer.method.state_dict(), f"{sys.argv[1]}/{ranks.rank}.safetensors")
    save_file({"step": torch.tensor(trainer.step)}, f"{sys.argv[1]}/{ranks.rank}.step")
"""


class Plain(TinyMethod):
    """The tiny network without what depends on the rows of a process: dropout and running statistics."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(2)
            self.network = torch.nn.Sequential(torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.Conv3d(4, 2, 1))


def spoiled(number):
    """Return a batch; number 7 (of one process only) is not finite, so both must skip that step."""
    batch = a_batch(number)
    if number == 7:
        batch.image[0, 0, 0, 0, 0] = math.inf
    return batch


def spoiled_from(first):
    while True:
        yield spoiled(first)
        first += 1


def test_two_processes_agree_and_equal_one_with_both_batches(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(script), str(tmp_path)], env=environment, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    first, second = (load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    chosen = settings(steps=12, optimizer="sgd", learning_rate=0.05, accumulation=2)
    alone = Trainer(Plain(), spoiled_from, chosen, device="cpu")
    list(alone.run())
    for name, value in alone.method.state_dict().items():
        torch.testing.assert_close(first[name], value, rtol=1e-4, atol=1e-6)
    start = Plain().state_dict()
    assert not torch.allclose(first["network.0.weight"], start["network.0.weight"], atol=1e-3)


def test_alone_nothing_is_sent():
    ranks = Ranks()
    assert ranks.agree([1.0]) == [1.0]
    assert ranks.average([], True)
    assert not ranks.average([], False)
    with ranks.together(ZeroDivisionError):
        pass
    with pytest.raises(ZeroDivisionError), ranks.together(ZeroDivisionError):
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("has_gpu", "has_nccl", "expected"),
    [(True, True, "cpu:gloo,cuda:nccl"), (True, False, "gloo"), (False, True, "gloo")],
)
def test_what_lies_in_main_memory_is_never_sent_by_nccl(monkeypatch, has_gpu, has_nccl, expected):
    """A computer with a GPU may be told to train on its CPU, or fall back to it."""
    joined = []
    monkeypatch.setattr(dist, "is_torchelastic_launched", lambda: True)
    monkeypatch.setattr(dist, "is_nccl_available", lambda: has_nccl)
    monkeypatch.setattr(dist, "init_process_group", lambda backend, **_: joined.append(backend))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: joined.append("left"))
    monkeypatch.setattr(dist, "get_rank", lambda: 1)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "get_node_local_rank", lambda fallback: 1)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    with join_ranks() as ranks:
        assert ranks == Ranks(1, 2, 1)
    assert joined == [expected, "left"]
