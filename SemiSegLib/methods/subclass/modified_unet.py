"""The modified U-Net of paper 000: a head of superclasses beside the head of leaves.

Efficient Subclass Segmentation (Dai et al., MICCAI 2023, https://arxiv.org/abs/2307.00257), row "Mod". With the
feature map F: g = ReLU(conv3(ReLU(BN F))), z_c = W_c g, z_f = W_f g; the superclass loss over every labeled row, the
leaf loss over fully labeled rows only.

Where ours differs: the heads see F itself, whose last layers are the plan's (g costs a third of a step where the
network works below full resolution), or, with g, its norm is the plan's; each superclass target is a label set, so
partial labels teach too; and the prediction takes the superclass from the superclass head, which has seen the most
labels, and the leaf inside it from the leaf head. Preset "paper" has g and predicts with the leaf head alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.learner import TwoHeadLearner, TwoHeadOptions, label_losses


@dataclass(frozen=True, kw_only=True)
class ModifiedUNetOptions(TwoHeadOptions):
    """The two heads and their losses; nothing else to choose."""


class ModifiedUNet(Method):
    """One network with a leaf head and a superclass head."""

    Options = ModifiedUNetOptions

    def __init__(self, study: Study, options: ModifiedUNetOptions) -> None:
        super().__init__()
        self.learner = TwoHeadLearner(study, options)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield the superclass loss of every labeled row and the leaf loss of the fully labeled ones."""
        yield from label_losses(self.learner, batch)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        return self.learner.probability(self.learner(image))

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of leaves and superclasses for each output layer."""
        return self.learner.output_rows("learner.")
