"""Passes of a teacher: noise on what it sees, what is random in it, several passes averaged, and what labels allow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.marginal import one_hot_codes
from SemiSegLib.networks.modes import evaluating

PASS_MODES = ("evaluation", "dropout", "training")
# Stands in for probabilities below it, so that logarithms and quotients stay finite.
SMALLEST = 1e-6


def noisy(image: Tensor, deviation: float) -> Tensor:
    """Return a copy with Gaussian noise cut at twice its deviation (UA-MT, Yu et al. 2019: 0.1, cut at 0.2).

    It comes from torch's own generator, which a training saves and restores.

    Args:
        image: (B, M, *S) normalized intensities.
        deviation: at least 0; 0 is no noise.
    """
    if deviation == 0:
        return image
    return torch.randn_like(image).mul_(deviation).clamp_(-2 * deviation, 2 * deviation).add_(image)


@contextmanager
def passing(network: nn.Module, mode: str) -> Iterator[None]:
    """Put a network into a mode for some passes, and each part back into its own afterwards.

    Args:
        network: of any mode.
        mode: "evaluation" (nothing is random), "dropout" (dropout alone is on: Gal and Ghahramani 2016) or "training"
            (dropout, and batch norms use and gather the statistics of what they see: released mean teachers).
    """
    check_choice("pass mode", mode, PASS_MODES)
    with evaluating(network, dropout=mode != "evaluation"):
        if mode == "training":
            for part in network.modules():
                part.training = part.training or isinstance(part, _BatchNorm)
        yield


def has_dropout(network: nn.Module) -> bool:
    """Return whether several passes with dropout differ."""
    return any(isinstance(part, _DropoutNd) and part.p > 0 for part in network.modules())


@torch.no_grad()
def mean_of_passes(look: Callable[[Tensor], Tensor], image: Tensor, *, count: int, deviation: float) -> Tensor:
    """Return the mean of what several passes over differently noisy copies say, without a graph.

    One after the other, which needs the memory of one pass and is faster on a CPU: 8 passes of the V-Net of paper 003
    over two patches of 64 x 64 x 48 took 8.0 s so and 12.8 s side by side in one batch (one core, fp32).

    Args:
        look: image to a float32 tensor.
        image: (B, M, *S).
        count: passes, at least 1.
        deviation: of the noise.
    """
    total = look(noisy(image, deviation)).clone()
    for _ in range(count - 1):
        total += look(noisy(image, deviation))
    return total.div_(count)


def entropy(probability: Tensor) -> Tensor:
    """Return (B, *S) entropy in nats, 0 to ln L, of (B, L, *S) probabilities; its gradient is finite at 0."""
    safe = probability.clamp_min(SMALLEST)
    return -(safe * safe.log()).sum(1).clamp_max(0.0)


def uncertainty_of_passes(
    network: nn.Module, look: Callable[[Tensor], Tensor], image: Tensor, *, count: int
) -> Tensor | None:
    """Return the entropy of the mean of several passes with dropout as a share of the largest; (B, *S), 0 to 1.

    The passes draw the same random numbers for every image and leave torch's generators as they were, so a prediction
    can be repeated. Without dropout there would be one pass, not several, and the answer is None.

    Args:
        network: that looks.
        look: image to (B, L, *S) float32 probabilities, through the network.
        image: (B, M, *S).
        count: passes, at least 1.
    """
    if not has_dropout(network):
        return None
    devices = [image.device] if image.device.type == "cuda" else []
    with torch.random.fork_rng(devices), passing(network, "dropout"):
        torch.manual_seed(0)
        mean = mean_of_passes(look, image, count=count, deviation=0.0)
    return (entropy(mean) / math.log(mean.shape[1])).clamp(0.0, 1.0)


def within_labels(probability: Tensor, rows: Batch) -> Tensor:
    """Return each voxel's probabilities within its label set, scaled to sum to 1, so that they never contradict it.

    A set to which almost nothing was given gets equal shares.

    Args:
        probability: (B, L, *S), no graph needed.
        rows: whose probabilities these are; where a label says nothing, nothing changes.
    """
    if len(rows.part(Regime.NONE)) == len(rows):
        return probability
    table = rows.label_sets.to(probability.dtype)
    # A product with one-hot codes; looking each voxel's code up in the table takes 4 times as long.
    allowed = torch.matmul(table.T, one_hot_codes(rows.codes, len(table), table.dtype)).view_as(probability)
    share = (probability + SMALLEST) * allowed
    return share / share.sum(1, keepdim=True)
