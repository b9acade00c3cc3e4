"""A network with the joint head of leaves and superclasses, and how labels teach it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.label_set import superclass_sets
from SemiSegLib.methods.method import Study
from SemiSegLib.methods.parts.learner import Learner, TwoHeadLearner, TwoHeadOptions
from SemiSegLib.methods.parts.supervision import LABELED, SegmentationOptions, segmentation_terms
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.hierarchy import PRIORS, HierarchyHead
from SemiSegLib.networks.network import Outputs, SegmentationNetwork


@dataclass(frozen=True, kw_only=True)
class HierarchyOptions(TwoHeadOptions):
    """The outputs of the network and what teaches them.

    Attributes:
        superclass_head: a superclass output beside the leaves (paper); without it (ours) there is one output and no
            separate normalization or prior concatenation.
        marginal: every label teaches the leaves by what it allows (ours), or fully labeled rows alone do (paper).
        separate_normalization: a branch with its own norm per superclass (paper); it costs a 3 x 3 convolution at full
            resolution per superclass.
        prior_concatenation: what of the superclass logits the leaf logits see: "none", "logits" (paper) or "detached",
            by which the leaf loss does not train the superclass logits.
    """

    superclass_head: bool = False
    marginal: bool = True
    separate_normalization: bool = False
    prior_concatenation: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("prior_concatenation", self.prior_concatenation, PRIORS)


class HierarchyLearner(TwoHeadLearner):
    """One network with the joint head; what each output learns from is the options'."""

    loss: HierarchyOptions

    def _network(self, study: Study, options: SegmentationOptions) -> SegmentationNetwork:
        assert isinstance(options, HierarchyOptions)
        plan = study.plan
        backbone = build_backbone(
            plan.network,
            in_channels=len(plan.channels),
            dimensions=plan.dimensions,
            patch=tuple(plan.patch),
            raw_map=options.separate_normalization,
        )
        head = HierarchyHead(
            backbone.feature_channels,
            study.scheme,
            plan.dimensions,
            norm=plan.network.norm,
            separate=options.separate_normalization,
            prior=options.prior_concatenation,
            projection=options.projection,
        )
        return SegmentationNetwork(backbone, {"hierarchy": head}, leaves=len(study.scheme.leaf_names))

    def _terms(self, outputs: Outputs, rows: Batch, emphasis: Tensor | None) -> dict[str, Tensor]:
        if not self.loss.marginal:
            return super()._terms(outputs, rows, emphasis)
        sets = superclass_sets(rows.label_sets, self.membership)
        superclass = segmentation_terms(
            outputs["superclass"], rows.codes, sets, self.loss, prefix="superclass_", emphasis=emphasis
        )
        leaves = Learner._terms(self, outputs, rows, emphasis)
        return {**{f"subclass_{name}": value for name, value in leaves.items()}, **superclass}


def build_hierarchy_learner(study: Study, options: HierarchyOptions) -> Learner:
    """Return the network that the options ask for.

    Raises:
        ConfigError: separate normalization or prior concatenation without a superclass output.
    """
    if options.superclass_head:
        return HierarchyLearner(study, options)
    if options.separate_normalization or options.prior_concatenation != "none":
        raise ConfigError(
            explain(
                "separate normalization and prior concatenation need a superclass output",
                where="options: superclass_head",
                remedy="switch superclass_head on, or both of them off",
            )
        )
    return Learner(study, options, regimes=LABELED if options.marginal else (Regime.FULL,))
