"""What labels teach the network that tells which structures an image holds."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.losses.presence import presence_targets
from SemiSegLib.losses.roi import roi_cross_entropy
from SemiSegLib.methods.method import LossTerms, Progress, Trainable
from SemiSegLib.networks.presence import PresenceNetwork, PresenceShape


class PresenceLearner(Trainable):
    """A presence network, taught by binary cross entropy whatever the labels of a patch tell.

    Args:
        shape: of the network.
        members: (C, L) bool, the leaves of each of its classes.
        minimum: (C,) voxels from which on a class is in a patch.
    """

    members: Tensor
    minimum: Tensor

    def __init__(self, shape: PresenceShape, members: Tensor, minimum: Tensor) -> None:
        super().__init__()
        self.network = PresenceNetwork(shape)
        self.register_buffer("members", members)
        self.register_buffer("minimum", minimum)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield the cross entropy over the known answers, each class with the same weight."""
        logits, target, known = self.answers(batch)
        yield LossTerms(values={"presence": roi_cross_entropy(logits, target, known)}, weights={"presence": 1.0})

    def answers(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return (B, C) logits, targets, and which targets are known."""
        target, known = presence_targets(batch.codes, batch.label_sets, self.members, self.minimum)
        return self.network(batch.image), target, known
