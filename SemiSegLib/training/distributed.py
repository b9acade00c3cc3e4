"""Several processes as one training: gradients are averaged once per step, so a method need not know."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.source import BatchSource
from SemiSegLib.errors import TrainingError, explain

# The other ranks wait while rank 0 prepares cases or validates.
TIMEOUT = timedelta(hours=6)
# Far apart, so that the dropout of no two processes starts alike.
RANK_SEED_STEP = 7919
# How a piece of work ended in a process; where they differ, the largest counts.
WENT_ON, STOPPED, FAILED = range(3)


@dataclass(frozen=True)
class Ranks:
    """This process among all.

    Attributes:
        rank: number of this process; 0 writes files.
        count: number of processes.
        local_rank: number of this process on its machine; chooses the GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and decides."""
        return self.rank == 0

    def average(self, parameters: list[nn.Parameter], is_finite: bool) -> bool:
        """Replace all gradients by their mean over the processes; return whether every process had finite losses.

        One message per step holds all gradients and the flag. A parameter without a gradient in any process
        counts as 0 there, so that all processes agree on its gradient.
        """
        if self.count == 1:
            return is_finite
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        device = parameters[0].device
        flag = torch.tensor([0.0 if is_finite else 1.0], device=device)
        flat = torch.cat([flag, *(gradient.reshape(-1).float() for gradient in gradients)])
        dist.all_reduce(flat)
        offset = 1
        for parameter, gradient in zip(parameters, gradients, strict=True):
            mean = flat[offset : offset + gradient.numel()].view(gradient.shape) / self.count
            parameter.grad = torch.empty_like(parameter).copy_(mean)
            offset += gradient.numel()
        return bool(flat[0] == 0)

    def agree(self, values: list[float]) -> list[float]:
        """Return rank 0's values in every process."""
        if self.count == 1:
            return values
        message = torch.tensor(values, dtype=torch.float64)
        dist.broadcast(message, src=0)
        return [float(value) for value in message.tolist()]

    @contextlib.contextmanager
    def together(self, stopped: type[Exception]) -> Iterator[None]:
        """End a ``with`` block alike in all processes: each waits for the others, and a stop or failure ends all.

        Nothing in the block may send messages: a process that failed in it would wait here for others that wait there.

        Args:
            stopped: the error that says that a stop was asked for.

        Raises:
            TrainingError: another process failed in its block.
            Exception: ``stopped``, where another process raised it.
        """
        if self.count == 1:
            yield
            return
        try:
            yield
        except Exception as error:
            self._largest(STOPPED if isinstance(error, stopped) else FAILED)
            raise
        ending = self._largest(WENT_ON)
        if ending == STOPPED:
            raise stopped
        if ending == FAILED:
            raise TrainingError(
                explain(
                    "another process of this training failed",
                    where=f"process {self.rank + 1} of {self.count}",
                    remedy="read in the log, or in what torchrun printed, what the other one said; then resume the run",
                )
            )

    def _largest(self, value: int) -> int:
        """Return the largest of all processes' values, in every process."""
        message = torch.tensor([value])
        dist.all_reduce(message, op=dist.ReduceOp.MAX)
        return int(message.item())


@dataclass(frozen=True)
class ShareOfRank:
    """The batches of one process: every ``count``-th of the source's."""

    source: BatchSource
    ranks: Ranks

    def batch(self, step: int) -> Batch:
        """Return this process's batch of a step."""
        return self.source.batch(step * self.ranks.count + self.ranks.rank)


@contextlib.contextmanager
def join_ranks() -> Iterator[Ranks]:
    """Join the processes that torchrun started, for the length of a ``with`` block; alone without torchrun.

    The device of a tensor decides how it is sent: a computer with a GPU may still train on its CPU.
    """
    if not dist.is_torchelastic_launched():
        yield Ranks()
        return
    # NCCL cannot send what lies in main memory, and a build for Windows has none.
    has_nccl = torch.cuda.is_available() and dist.is_nccl_available()
    dist.init_process_group("cpu:gloo,cuda:nccl" if has_nccl else "gloo", timeout=TIMEOUT)
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), dist.get_node_local_rank(0))
    finally:
        dist.destroy_process_group()
