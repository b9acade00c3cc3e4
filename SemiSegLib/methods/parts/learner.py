"""A network and how labels teach it: what every method builds on, with one head or with a superclass head beside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.label_set import superclass_sets
from SemiSegLib.methods.method import LossTerms, Study
from SemiSegLib.methods.parts.supervision import (
    LABELED,
    SegmentationOptions,
    nothing,
    segmentation_terms,
    study_backbone,
    with_deep_terms,
)
from SemiSegLib.networks.heads import LinearHead, Projection
from SemiSegLib.networks.network import Outputs, SegmentationNetwork

COMBINATIONS = ("superclass_first", "subclass")
SUPERVISIONS = ("marginal", "two_heads", "full")


@dataclass(frozen=True, kw_only=True)
class TwoHeadOptions(SegmentationOptions):
    """The losses of labels where superclasses have a head of their own.

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


@dataclass(frozen=True, kw_only=True)
class LearnerOptions(TwoHeadOptions):
    """How labels teach a network of a method that adds something to it.

    Attributes:
        supervision: "marginal" (one head, every label by its label set; ours), "two_heads" (a superclass head beside
            the leaf head; paper 000 adapts its comparisons so) or "full" (one head, fully labeled rows alone, all
            others count as unlabeled; papers 001 and 003).
    """

    supervision: str = "marginal"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("supervision", self.supervision, SUPERVISIONS)


class Learner(nn.Module):
    """One network with one head of leaves.

    Args:
        study: scheme and plan.
        options: the losses.
        regimes: of the rows whose labels teach it; a beginning of the order full, coarse, partial.
    """

    def __init__(self, study: Study, options: SegmentationOptions, *, regimes: tuple[Regime, ...] = LABELED) -> None:
        super().__init__()
        self.regimes = regimes
        self.leaf_names = study.scheme.leaf_names
        self.network = self._network(study, options)
        self.loss = options

    def _network(self, study: Study, options: SegmentationOptions) -> SegmentationNetwork:
        backbone, leaves = study_backbone(study), len(study.scheme.leaf_names)
        head = LinearHead(backbone.feature_channels, leaves, study.plan.dimensions)
        return SegmentationNetwork(backbone, {"subclass": head}, leaves=leaves)

    def forward(self, image: Tensor) -> Outputs:
        """Return the network's outputs for (B, M, *S) images."""
        outputs: Outputs = self.network(image)
        return outputs

    def weights(self) -> dict[str, float]:
        """Return the weight of each term of ``terms``."""
        return self.loss.weights()

    def terms(self, outputs: Outputs, batch: Batch, *, emphasis: Tensor | None = None) -> dict[str, Tensor]:
        """Return what the labels teach; 0 with a graph where no row does.

        Args:
            outputs: of the images of the whole batch, or of its labeled rows alone.
            batch: whose outputs these are.
            emphasis: (B, *S) of the same rows: how much each voxel counts, at least 0; None for 1 everywhere.
        """
        rows = batch.part(*self.regimes)
        if len(rows) == 0:
            return {name: nothing(self) for name in self.weights()}
        return self._terms(outputs.first(len(rows)), rows, None if emphasis is None else emphasis[: len(rows)])

    def _terms(self, outputs: Outputs, rows: Batch, emphasis: Tensor | None) -> dict[str, Tensor]:
        terms = segmentation_terms(outputs["subclass"], rows.codes, rows.label_sets, self.loss, emphasis=emphasis)
        return with_deep_terms(terms, outputs.deep, self.network.deep_strides, rows, self.loss, emphasis=emphasis)

    def probability(self, outputs: Outputs) -> Tensor:
        """Return (B, L, *S) float32 leaf probabilities."""
        return outputs["subclass"].float().softmax(1)

    def output_rows(self, prefix: str) -> dict[str, tuple[str, ...]]:
        """Return the class names of each output layer's rows, for a warm start; ``prefix`` ends with a point."""
        return self.network.output_rows(self._head_names(), prefix=f"{prefix}network.")

    def _head_names(self) -> Mapping[str, tuple[str, ...]]:
        return {"subclass": self.leaf_names}


class TwoHeadLearner(Learner):
    """One network with a leaf head for fully labeled rows and a superclass head for every labeled row (paper 000).

    Raises:
        ConfigError: no label says where a superclass is not, so its output would learn that it is everywhere.
    """

    membership: Tensor
    loss: TwoHeadOptions

    def __init__(self, study: Study, options: TwoHeadOptions) -> None:
        _require_excluded(study)
        super().__init__(study, options)
        self.superclass_names = study.scheme.superclass_names
        self.leaves_of = tuple(tuple(np.flatnonzero(row).tolist()) for row in study.scheme.membership)
        self.register_buffer("membership", torch.from_numpy(study.scheme.membership.copy()), persistent=False)

    def _network(self, study: Study, options: SegmentationOptions) -> SegmentationNetwork:
        assert isinstance(options, TwoHeadOptions)
        backbone, dimensions = study_backbone(study), study.plan.dimensions
        leaves, width = len(study.scheme.leaf_names), backbone.feature_channels
        projection = Projection(width, dimensions, norm=study.plan.network.norm) if options.projection else None
        heads = {
            "subclass": LinearHead(width, leaves, dimensions),
            "superclass": LinearHead(width, len(study.scheme.superclass_names), dimensions),
        }
        return SegmentationNetwork(backbone, heads, leaves=leaves, projection=projection)

    def weights(self) -> dict[str, float]:
        """Return the weight of each term of ``terms``."""
        return {
            **self.loss.weights("subclass_"),
            **self.loss.weights("superclass_", factor=self.loss.superclass_weight),
        }

    def _terms(self, outputs: Outputs, rows: Batch, emphasis: Tensor | None) -> dict[str, Tensor]:
        values = {name: nothing(self) for name in self.weights()}
        sets = superclass_sets(rows.label_sets, self.membership)
        values |= segmentation_terms(
            outputs["superclass"], rows.codes, sets, self.loss, prefix="superclass_", emphasis=emphasis
        )
        fine = rows.part(Regime.FULL)
        if len(fine) > 0:
            own, first = outputs.first(len(fine)), None if emphasis is None else emphasis[: len(fine)]
            terms = segmentation_terms(
                own["subclass"], fine.codes, fine.label_sets, self.loss, prefix="subclass_", emphasis=first
            )
            values |= with_deep_terms(terms, own.deep, self.network.deep_strides, fine, self.loss, emphasis=first)
        return values

    def probability(self, outputs: Outputs) -> Tensor:
        """Return (B, L, *S) float32 leaf probabilities."""
        if self.loss.combine == "subclass":
            return super().probability(outputs)
        return superclass_first(outputs["subclass"].float(), outputs["superclass"].float(), self.leaves_of)

    def _head_names(self) -> Mapping[str, tuple[str, ...]]:
        return {"subclass": self.leaf_names, "superclass": self.superclass_names}


def build_learner(study: Study, options: LearnerOptions) -> Learner:
    """Return the network that ``options.supervision`` asks for."""
    if options.supervision == "two_heads":
        return TwoHeadLearner(study, options)
    return Learner(study, options, regimes=(Regime.FULL,) if options.supervision == "full" else LABELED)


def label_losses(learner: Learner, batch: Batch) -> Iterator[LossTerms]:
    """Yield what the labels of a batch teach, for a method that adds nothing to it; only labeled rows are computed."""
    weights, rows = learner.weights(), batch.part(*learner.regimes)
    if len(rows) == 0:
        yield LossTerms({name: nothing(learner) for name in weights}, weights)
        return
    yield LossTerms(learner.terms(learner(rows.image), rows), weights)


def superclass_first(subclass: Tensor, superclass: Tensor, leaves_of: Sequence[Sequence[int]]) -> Tensor:
    r"""Return p_l = softmax(z_c)_r * softmax over the leaves of r of z_f, with r the superclass of l.

    Args:
        subclass: (B, L, *S) leaf logits z_f.
        superclass: (B, R, *S) superclass logits z_c.
        leaves_of: the leaves of each superclass, every leaf once; numbers, for which no device is asked.

    Returns:
        (B, L, *S), sums to 1 over L.
    """
    outer = superclass.softmax(1)
    parts: list[Tensor] = [torch.empty(0)] * subclass.shape[1]
    for index, leaves in enumerate(leaves_of):
        own = torch.stack([subclass[:, leaf] for leaf in leaves], dim=1)
        inner = own.softmax(1) * outer[:, index : index + 1]
        for position, leaf in enumerate(leaves):
            parts[leaf] = inner[:, position]
    return torch.stack(parts, dim=1)


def _require_excluded(study: Study) -> None:
    implied = [name for name in study.scheme.superclass_names if name in study.implied]
    if implied:
        raise ConfigError(
            explain(
                f"no label says what is not {', '.join(implied)}: an output of superclasses would find it everywhere",
                where="labels of the training cases",
                remedy="choose marginal or latent_classes, or label one case in which all its parts were looked for",
            )
        )
