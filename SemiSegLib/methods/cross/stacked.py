"""Several networks of one shape in one pass: their weights side by side, by torch.func.

The networks stay ordinary modules with their own parameters and state dict: the weights are put side by side anew in
every pass, and the gradients flow back through that. What it may save is launches; whether grouped convolutions are
faster than one network after the other depends on the device (``Testing/benchmarks/cps_cost.py``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.methods.parts.learner import Learner
from SemiSegLib.networks.network import Outputs


def check_stackable(learners: Sequence[Learner]) -> None:
    """Raise ConfigError unless the networks have one shape and layers that torch.vmap can run.

    Batch norm and dropout work: each network has its own statistics and its own random numbers. Group norm asks a
    tensor for its memory format, which torch.vmap does not answer (torch 2.13).
    """
    shapes = [{name: value.shape for name, value in learner.state_dict().items()} for learner in learners]
    kinds = [[type(part) for part in learner.modules()] for learner in learners]
    if any(shape != shapes[0] for shape in shapes) or any(kind != kinds[0] for kind in kinds):
        raise ConfigError(
            explain(
                "networks of different shape cannot be stacked",
                where="options: backward",
                remedy="choose 'sequential' or 'joint', or give both networks one backbone ('second_backbone': 'same')",
            )
        )
    if any(isinstance(part, nn.GroupNorm) for part in learners[0].modules()):
        raise ConfigError(
            explain(
                "networks with group norm cannot be stacked",
                where="options: backward",
                remedy="choose 'sequential' or 'joint', or plan the norm 'instance' or 'batch'",
            )
        )


def stacked_outputs(learners: Sequence[Learner], images: Sequence[Tensor]) -> list[Outputs]:
    """Return what each network says about its images, all computed side by side.

    Running statistics are updated as in separate passes; dropout draws other numbers than there.

    Args:
        learners: networks that passed ``check_stackable``, all training or none.
        images: (B, M, *S) for each network; one and the same tensor is not copied.
    """
    parameters = _side_by_side([dict(learner.named_parameters()) for learner in learners])
    with torch.no_grad():
        buffers = _side_by_side([dict(learner.named_buffers()) for learner in learners])
    is_shared = all(image is images[0] for image in images)
    shown = images[0] if is_shared else torch.stack(tuple(images))
    first = learners[0]

    def look(weights: Mapping[str, Tensor], statistics: Mapping[str, Tensor], image: Tensor) -> Any:
        found: Outputs = functional_call(first, (dict(weights), dict(statistics)), (image,))
        return dict(found.logits), found.features, found.bottleneck, found.deep

    across = torch.vmap(look, in_dims=(0, 0, None if is_shared else 0), randomness="different")
    logits, features, bottleneck, deep = across(parameters, buffers, shown)
    with torch.no_grad():
        for index, learner in enumerate(learners):
            for name, buffer in learner.named_buffers():
                buffer.copy_(buffers[name][index])
    return [
        Outputs(
            {name: part[index] for name, part in logits.items()},
            features[index],
            bottleneck[index],
            tuple(part[index] for part in deep),
        )
        for index in range(len(learners))
    ]


def _side_by_side(tensors: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([own[name] for own in tensors]) for name in tensors[0]}
