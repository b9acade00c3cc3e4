"""What a controller that is told structures as one-hot vectors knows of each is a column, given on by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from SemiSegLib.networks.dynamic import DynamicHead


@torch.no_grad()
def copy_controller(
    head: DynamicHead, donor: DynamicHead, origins: Mapping[str, tuple[str, ...]], shifts: Mapping[str, float]
) -> None:
    """Copy what makes the heads, in place; a structure without an origin keeps its column.

    Args:
        head: to be trained, its structures told as one-hot vectors.
        donor: the earlier one, likewise.
        origins: structure to the earlier ones whose mean it starts from.
        shifts: structure to what is added to its logit in every voxel.
    """
    rows, known = head.embedding.names, donor.embedding.names
    # As they are used: the two keep their weights in scales of their own if they have other many structures.
    own, values = head.controller.used.clone(), donor.controller.used
    own[:, : -len(rows)] = values[:, : -len(known)]
    columns = values[:, -len(known) :]
    for index, row in enumerate(rows):
        if row in origins:
            column = torch.stack([columns[:, known.index(old)] for old in origins[row]]).mean(0)
            # The last of a head's numbers is what it adds to its logit.
            column[-1] += shifts.get(row, 0.0)
            own[:, index - len(rows)] = column
    head.controller.weight.copy_(own / head.controller.scale)
