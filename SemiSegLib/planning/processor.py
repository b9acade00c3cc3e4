"""What the processor brings to a training: how many of its cores are used well, and how fast they compute."""

from __future__ import annotations

import os

import torch

from SemiSegLib.runs.request import TrainingSettings

# More cores than this hardly make the small steps of a CPU plan faster.
MOST_CORES = 8
# How many times faster a step is in bf16 where there are instructions for it. Measured 2.4 to 3 (AVX-512, V-Net and
# planned U-Nets in 3-D) and 1.7 (U-Net in 2-D); the lower end, so that a short budget still holds its steps.
BF16_SPEED = 1.7


def usable_cores(threads: int | None) -> int:
    """Return how many cores a training uses well: so many threads, or those that this process may use if None."""
    if threads is None:
        # Containers and batch systems give a process fewer cores than the machine has; not every system tells.
        allowed = getattr(os, "sched_getaffinity", None)
        threads = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(1, min(threads, MOST_CORES))


def announces_bf16() -> bool:
    """Return whether the processor has instructions for bf16; without them it is emulated, and slower than fp32."""
    names = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in names)


def fp32_cores(training: TrainingSettings) -> float:
    """Return how many cores that compute in fp32 do what a training does on this processor.

    Which precision a training takes is tried at its beginning; here bf16 is expected wherever it may be taken and the
    processor has instructions for it.
    """
    may_take_bf16 = training.precision in ("auto", "bf16") and not training.deterministic
    return usable_cores(training.threads) * (BF16_SPEED if may_take_bf16 and announces_bf16() else 1.0)
