"""The modified U-Net of paper 000: a head of superclasses beside the head of leaves.

Efficient Subclass Segmentation (Tang et al., MICCAI 2023, https://arxiv.org/abs/2307.00257), row "Mod". With the
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

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.label_set import superclass_sets
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.supervision import (
    LABELED,
    SegmentationOptions,
    nothing,
    segmentation_terms,
    study_backbone,
    with_deep_terms,
)
from SemiSegLib.networks.heads import LinearHead, Projection
from SemiSegLib.networks.network import SegmentationNetwork

COMBINATIONS = ("superclass_first", "subclass")


@dataclass(frozen=True, kw_only=True)
class ModifiedUNetOptions(SegmentationOptions):
    """Options of the modified U-Net.

    Attributes:
        superclass_weight: of both superclass losses; 1 in the paper.
        combine: "superclass_first" (ours) or "subclass" (paper): what is predicted.
        projection: compute g before the heads (paper); without it both heads see F (ours).
    """

    superclass_weight: float = 1.0
    combine: str = "superclass_first"
    projection: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("superclass_weight", self.superclass_weight, low=0.0, high=100.0)
        check_choice("combine", self.combine, COMBINATIONS)


class ModifiedUNet(Method):
    """One network with a leaf head and a superclass head."""

    Options = ModifiedUNetOptions
    membership: Tensor

    def __init__(self, study: Study, options: ModifiedUNetOptions) -> None:
        super().__init__()
        self.options = options
        self.leaf_names = study.scheme.leaf_names
        self.superclass_names = study.scheme.superclass_names
        leaves, dimensions = len(self.leaf_names), study.plan.dimensions
        backbone = study_backbone(study)
        width = backbone.feature_channels
        projection = Projection(width, dimensions, norm=study.plan.network.norm) if options.projection else None
        heads = {
            "subclass": LinearHead(width, leaves, dimensions),
            "superclass": LinearHead(width, len(self.superclass_names), dimensions),
        }
        self.network = SegmentationNetwork(backbone, heads, leaves=leaves, projection=projection)
        membership = torch.from_numpy(study.scheme.membership.copy())
        self.register_buffer("membership", membership, persistent=False)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield the superclass loss of every labeled row and the leaf loss of the fully labeled ones."""
        rows = batch.part(*LABELED)
        weights = {
            **self.options.weights("subclass_"),
            **self.options.weights("superclass_", factor=self.options.superclass_weight),
        }
        values = {name: nothing(self) for name in weights}
        if len(rows) > 0:
            outputs = self.network(rows.image)
            sets = superclass_sets(rows.label_sets, self.membership)
            values |= segmentation_terms(outputs["superclass"], rows.codes, sets, self.options, prefix="superclass_")
            fine, full = rows.part(Regime.FULL), rows.rows[Regime.FULL]
            if len(fine) > 0:
                logits, deep = outputs["subclass"][full], [part[full] for part in outputs.deep]
                terms = segmentation_terms(logits, fine.codes, fine.label_sets, self.options, prefix="subclass_")
                values |= with_deep_terms(terms, deep, self.network.deep_strides, fine, self.options)
        yield LossTerms(values, weights)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        outputs = self.network(image)
        subclass: Tensor = outputs["subclass"].float()
        if self.options.combine == "subclass":
            return subclass.softmax(1)
        return superclass_first(subclass, outputs["superclass"].float(), self.membership)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of leaves and superclasses for each output layer."""
        names = {"subclass": self.leaf_names, "superclass": self.superclass_names}
        return self.network.output_rows(names, prefix="network.")


def superclass_first(subclass: Tensor, superclass: Tensor, membership: Tensor) -> Tensor:
    r"""Return p_l = softmax(z_c)_r * softmax over the leaves of r of z_f, with r the superclass of l.

    Args:
        subclass: (B, L, *S) leaf logits z_f.
        superclass: (B, R, *S) superclass logits z_c.
        membership: (R, L) bool, leaf l lies in superclass r.

    Returns:
        (B, L, *S), sums to 1 over L.
    """
    outer = superclass.softmax(1)
    parts: list[Tensor] = [torch.empty(0)] * subclass.shape[1]
    for index, row in enumerate(membership.tolist()):
        leaves = [leaf for leaf, inside in enumerate(row) if inside]
        inner = subclass[:, leaves].softmax(1) * outer[:, index : index + 1]
        for position, leaf in enumerate(leaves):
            parts[leaf] = inner[:, position]
    return torch.stack(parts, dim=1)
