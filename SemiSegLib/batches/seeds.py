"""Random numbers that depend on (seed, step, row) alone, so that a resumed run needs no generator's state."""

from __future__ import annotations

import hashlib
import struct

import numpy as np
import torch


def row_generator(seed: int, step: int, row: int, purpose: str) -> np.random.Generator:
    """Return a generator of its own for one purpose of one row of one step (Philox, keyed by a hash).

    Args:
        seed: of the run, any 64-bit integer.
        step: batch number.
        row: row of the batch, or -1 for what concerns the batch as a whole.
        purpose: keeps draws apart, so that one more draw for one thing changes nothing else.
    """
    packed = struct.pack("<qqq", seed, step, row) + purpose.encode()
    key = int.from_bytes(hashlib.blake2b(packed, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))


def device_generator(generator: np.random.Generator, device: torch.device) -> torch.Generator:
    """Return a torch generator on a device, seeded by the next draw of a numpy one."""
    return torch.Generator(device=device).manual_seed(int(generator.integers(0, 2**63)))
