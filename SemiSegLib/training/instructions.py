"""Whether this CPU really runs the bf16 instructions it announces, tried where a crash harms nobody.

Some virtual machines announce AMX tiles and then trap on them: the process dies with "illegal instruction", which no
``except`` can catch. So bf16 is tried in a child process first, with every instruction set, then without AMX.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

LIMIT_VARIABLE = "ONEDNN_MAX_CPU_ISA"
WITHOUT_AMX = "AVX512_CORE_FP16"
PROBE_SECONDS = 120

# Large enough to be computed in tiles and to be interrupted by the scheduler, which is when the tiles were lost.
PROBE = """
import torch
torch.manual_seed(0)
network = torch.nn.Conv3d(16, 32, 3, padding=1).to(memory_format=torch.channels_last_3d)
image = torch.randn(2, 16, 24, 32, 24).contiguous(memory_format=torch.channels_last_3d)
with torch.autocast("cpu", torch.bfloat16):
    for _ in range(6):
        network(image).float().square().mean().backward()
        (torch.randn(512, 256) @ torch.randn(256, 256)).sum().item()
assert torch.isfinite(network.weight.grad).all()
"""


@dataclass(frozen=True)
class Bf16Support:
    """What the trial found.

    Attributes:
        works: whether bf16 can be used on this CPU.
        limit: value that ``ONEDNN_MAX_CPU_ISA`` must have for it, or None if no limit is needed.
    """

    works: bool
    limit: str | None


Runner = Callable[[Mapping[str, str]], int]


def try_bf16(run: Runner | None = None) -> Bf16Support:
    """Return whether bf16 works here, and under which limit of the instruction set.

    Args:
        run: runs the trial under an environment and returns its exit code; a child process by default.
    """
    run = run or _run_probe
    limits = (None,) if LIMIT_VARIABLE in os.environ else (None, WITHOUT_AMX)
    for limit in limits:
        environment = dict(os.environ) if limit is None else {**os.environ, LIMIT_VARIABLE: limit}
        if run(environment) == 0:
            return Bf16Support(works=True, limit=limit)
    return Bf16Support(works=False, limit=None)


def apply_limit(support: Bf16Support) -> None:
    """Set the limit for this process; it holds if no oneDNN kernel has run here before."""
    if support.limit is not None:
        os.environ[LIMIT_VARIABLE] = support.limit


def bf16_is_quick() -> bool:
    """Return whether bf16 has tiles to be computed in; without them it is slower than fp32 on a processor."""
    has_tiles = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return bool(has_tiles) and os.environ.get(LIMIT_VARIABLE) != WITHOUT_AMX


def _run_probe(environment: Mapping[str, str]) -> int:
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROBE],
            env=dict(environment),
            capture_output=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1
    return done.returncode
