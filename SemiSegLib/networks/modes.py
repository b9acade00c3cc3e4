"""Forward passes apart from training ones: evaluation, dropout alone, and statistics that stay as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
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
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Record no gradient for the parameters of modules; what they are given still gets its own.

    For a pass through a network that judges another: its loss teaches the other alone, whatever is backpropagated, and
    the gradients of the judge's weights are not even computed.
    """
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    try:
        for parameter in parameters:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)


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


@contextmanager
def sparing_statistics(*modules: nn.Module) -> Iterator[None]:
    """Let a training pass normalize by its own batch and leave the running statistics alone.

    ``keeping_buffers`` serves passes without a graph: it writes to buffers that a backward pass would still need.
    """
    norms = [part for module in modules for part in module.modules() if isinstance(part, _BatchNorm)]
    before = [norm.track_running_stats for norm in norms]
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm, tracks in zip(norms, before, strict=True):
            norm.track_running_stats = tracks
