r"""SASSNet: signed distances carry the shape, and a discriminator may not tell labeled rows by theirs.

Shape-aware Semi-supervised 3D Semantic Segmentation for Medical Images (Li, Zhang and He, MICCAI 2020,
https://arxiv.org/abs/2007.10732), one of the methods that paper 003 compares with. A head of leaves and a head of
signed distances d share one backbone. With D(d, x) the logits of a discriminator that a row is labeled, G the distances
of the labels and sg(.) a stop of the gradient, added to supervised training:

    0.3 |d - G|^2                                                       rows with labels
    w(t) mean -log p_D(labeled | d, x)                                  rows that are not fully labeled
    L_D = 1/2 [mean_labeled -log p_D(labeled | sg(d), x) + mean_others -log p_D(unlabeled | sg(d), x)]

w rises to 0.01 over the training. With ``judges="probability"`` D sees leaf probabilities instead: the deep adversarial
network of Zhang et al., MICCAI 2017.

Where ours differs:
- Labels teach by their label sets, several structures stand each against all others, and distances are those of the
  whole case (see ``distance_task``); a row counts as labeled for D where it is fully labeled.
- D learns from the distances of the step's own forward pass; the released code computes them again after the step,
  without dropout and with running statistics.
- Which rows are labeled comes from the batch. The released code writes [1, 1, 0, 0], which any other batch makes wrong.
- D takes its mean over whatever is left of the patch, and both kinds of rows weigh the same, whatever their number.
Presets "paper" and "code" (the weight rises in 40 stairs) teach the leaves by the Dice alone: the released code
computes a cross entropy and leaves it out. Its published numbers keep the largest component of a prediction alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.adversarial.adversary import ADVERSARY, AdversaryOptions, two_groups
from SemiSegLib.methods.dual.distance_task import DistanceOptions, DistanceTask
from SemiSegLib.methods.dual.dual_learner import DualLearner
from SemiSegLib.methods.method import GroupSettings, LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.supervision import nothing
from SemiSegLib.networks.adversary import Discriminator
from SemiSegLib.networks.modes import evaluating, frozen

JUDGED = ("distance", "probability")
UNLABELED, LABELED = 0, 1


@dataclass(frozen=True, kw_only=True)
class ShapeAwareAdversarialOptions(AdversaryOptions, DistanceOptions):
    """The two heads and their discriminator.

    Attributes:
        adversarial_weight: w at the end of its rise; 0.01 in the paper (0.015 with 8 labeled scans).
        adversary_width: channels of the discriminator's first stage; 64 in the paper.
        ramp_share: 1 in the paper: 6,000 of 6,000 steps.
        distance_weight: of the squared error of the distances; 0.3 in the paper.
        prediction: "segmentation" (paper, and ours: nothing but their error ties the distances to what they stand for),
            "distance" or "mean".
        judges: what the discriminator sees beside the image: "distance" (paper) or "probability" (of the leaves).
    """

    distance_weight: float = 0.3
    ramp_share: float = 1.0
    prediction: str = "segmentation"
    judges: str = "distance"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("judges", self.judges, JUDGED)


class ShapeAwareAdversarial(Method):
    """A network of leaves and distances, and one that tells whether a row's were labeled."""

    Options = ShapeAwareAdversarialOptions

    def __init__(self, study: Study, options: ShapeAwareAdversarialOptions) -> None:
        super().__init__()
        self.options = options
        self.task = DistanceTask(study, options)
        self.learner = DualLearner(study, options, self.task)
        channels = len(self.task.names) if options.judges == "distance" else len(study.scheme.leaf_names)
        self.discriminator = Discriminator(
            channels, len(study.plan.channels), study.plan.dimensions, width=options.adversary_width
        )

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what labels and the discriminator teach; then, for its own group, what the discriminator learns."""
        terms, judged = self._segmentation(batch, progress)
        yield terms
        yield self._judgment(batch, judged)

    def _segmentation(self, batch: Batch, progress: Progress) -> tuple[LossTerms, Tensor]:
        """Return what the segmentation network learns, and the map that is judged, without a graph."""
        weight = self.options.adversarial_weight * self.options.force(progress)
        weights = {**self.learner.weights(), "adversarial": weight}
        if len(batch) == 0:
            return LossTerms({name: nothing(self.learner) for name in weights}, weights), batch.image
        outputs = self.learner(batch.image)
        values = self.learner.terms(outputs, batch)
        judged = outputs["distance"] if self.options.judges == "distance" else self.learner.probability(outputs)
        labeled = len(batch.part(Regime.FULL))
        values["adversarial"] = nothing(self.learner)
        if labeled < len(batch):
            # Released in evaluation: without dropout.
            with frozen(self.discriminator), evaluating(self.discriminator):
                logits = self.discriminator(judged[labeled:], batch.image[labeled:])
            values["adversarial"] = _is_told(logits, LABELED)
        return LossTerms(values, weights), judged.detach()

    def _judgment(self, batch: Batch, judged: Tensor) -> LossTerms:
        """Return what the discriminator learns; the kind of row that a batch lacks teaches 0, with a graph."""
        labeled = len(batch.part(Regime.FULL))
        values = {name: nothing(self.discriminator) for name in ("told_labeled", "told_unlabeled")}
        if len(batch) > 0:
            logits = self.discriminator(judged, batch.image)
            if labeled > 0:
                values["told_labeled"] = _is_told(logits[:labeled], LABELED)
            if labeled < len(batch):
                values["told_unlabeled"] = _is_told(logits[labeled:], UNLABELED)
        return LossTerms(values, dict.fromkeys(values, 0.5), group=ADVERSARY)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        outputs = self.learner(image)
        if self.options.prediction == "segmentation":
            return self.learner.probability(outputs)
        measured = self.task.logits(outputs["distance"]).softmax(1)
        if self.options.prediction == "distance":
            return measured
        return (self.learner.probability(outputs) + measured) / 2

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of the segmentation network, and of the discriminator as the adversary."""
        return two_groups(self.learner, self.discriminator)

    def group_settings(self) -> dict[str, GroupSettings]:
        """Return the discriminator's own optimizer."""
        return self.options.group_settings()

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of leaves and structures for each output layer."""
        return self.learner.output_rows("learner.")


def _is_told(logits: Tensor, kind: int) -> Tensor:
    """Return the mean cross entropy of (B, 2) logits of rows that are all of one kind."""
    return -functional.log_softmax(logits.float(), dim=1)[:, kind].mean()
