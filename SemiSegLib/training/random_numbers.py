"""Random numbers of a training, kept apart from those of the program around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of the global generators that computing on a device uses."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


@contextmanager
def random_numbers(state: dict[str, Tensor], device: torch.device) -> Iterator[None]:
    """Draw from ``state`` in a ``with`` block, note in it how far one got, and leave the global generators alone."""
    outside = random_state(device)
    _set_random(state, device)
    try:
        yield
    finally:
        state.update(random_state(device))
        _set_random(outside, device)


def _set_random(state: Mapping[str, Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)
