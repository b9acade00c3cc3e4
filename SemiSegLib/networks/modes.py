"""Forward passes apart from training ones: evaluation, dropout alone, and statistics that stay as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd


@contextmanager
def evaluating(*modules: nn.Module, dropout: bool = False) -> Iterator[None]:
    """Put modules into evaluation for a pass, and each part back into its own mode.

    Args:
        modules: networks.
        dropout: leave dropout on, for several random passes of a Bayesian kind (Gal and Ghahramani 2016).
    """
    parts = [part for module in modules for part in module.modules()]
    before = [part.training for part in parts]
    try:
        for part in parts:
            part.training = dropout and isinstance(part, _DropoutNd)
        yield
    finally:
        for part, mode in zip(parts, before, strict=True):
            part.training = mode


@contextmanager
def keeping_buffers(*modules: nn.Module) -> Iterator[None]:
    """Put the buffers of modules (running statistics) back after a pass that must not change them."""
    buffers = [buffer for module in modules for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)
