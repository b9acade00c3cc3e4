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
from SemiSegLib.methods.parts.supervision import LABELED, SegmentationOptions, nothing, segmentation_terms
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.hierarchy import PRIORS, HierarchyHead
from SemiSegLib.networks.network import Outputs, SegmentationNetwork

SUBCLASS_LABELS = ("drawn", "all", "full")


@dataclass(frozen=True, kw_only=True)
class HierarchyOptions(TwoHeadOptions):
    """The outputs of the network and what teaches them.

    Attributes:
        superclass_head: a superclass output beside the leaves (paper, ours); without it there is one output and no
            separate normalization or prior concatenation.
        subclass_labels: whose labels teach the leaf output, by what they allow: "full" (paper), "drawn" (ours: full and
            partly drawn rows; a coarse label says nothing that the superclass output does not learn) or "all". Without
            a superclass output "drawn" is "all", for nothing else would learn from coarse labels.
        separate_normalization: a branch with its own norm per superclass (paper); it costs a 3 x 3 convolution at full
            resolution per superclass.
        prior_concatenation: what of the superclass logits the leaf logits see: "none", "logits" (paper) or "detached",
            by which the leaf loss does not train the superclass logits.
    """

    superclass_head: bool = True
    subclass_labels: str = "drawn"
    separate_normalization: bool = False
    prior_concatenation: str = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("subclass_labels", self.subclass_labels, SUBCLASS_LABELS)
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
        if self.loss.subclass_labels == "full":
            return super()._terms(outputs, rows, emphasis)
        sets = superclass_sets(rows.label_sets, self.membership)
        superclass = segmentation_terms(
            outputs["superclass"], rows.codes, sets, self.loss, prefix="superclass_", emphasis=emphasis
        )
        leaves = {f"subclass_{name}": nothing(self) for name in self.loss.weights()}
        outputs, rows, emphasis = self._taught(outputs, rows, emphasis)
        if len(rows) > 0:
            taught = Learner._terms(self, outputs, rows, emphasis)
            leaves = {f"subclass_{name}": value for name, value in taught.items()}
        return {**leaves, **superclass}

    def _taught(self, outputs: Outputs, rows: Batch, emphasis: Tensor | None) -> tuple[Outputs, Batch, Tensor | None]:
        """Return the rows whose labels teach the leaves."""
        if self.loss.subclass_labels == "all":
            return outputs, rows, emphasis
        drawn = rows.part(Regime.FULL, Regime.PARTIAL)
        full, count = len(rows.part(Regime.FULL)), len(rows)
        chosen = [*range(full), *range(count - (len(drawn) - full), count)]
        # Partly drawn rows come after coarse ones; without them the full ones are neighbors, and views.
        places = slice(0, full) if len(drawn) == full else chosen
        return outputs.rows(places), drawn, None if emphasis is None else emphasis[places]


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
    return Learner(study, options, regimes=(Regime.FULL,) if options.subclass_labels == "full" else LABELED)
