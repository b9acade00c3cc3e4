r"""ASDNet: a confidence network says of each voxel whether it looks drawn; it is deceived, and believed.

Nie et al., MICCAI 2018 (https://doi.org/10.1007/978-3-030-00937-3_43), one of the methods that paper 003 compares with.
With p = S(x), M = sigmoid(D(p)) the confidence that a voxel was drawn, y the one-hot label of fully labeled rows, and
sg(.) a stop of the gradient, added to supervised training:

    a       = (1 - sg(M))^2                                    how much more a labeled voxel counts in the losses: 1 + a
    L_adv   = mean_v -log M                                    all rows: S deceives D
    L_self  = mean_{v: M > th} -log p_argmax                   rows that are not fully labeled: S believes itself
    L_D     = mean_v -log(1 - D(sg(p))) + mean_v -log D(y)     fully labeled rows, D's own optimizer

The equations of the paper were not at hand; these are its abstract's in the form of the author's code
(github.com/ginobilinie/asdnet, runGAN.py). "Region" attention is a above; "sample" attention gives every voxel of a row
1 + 12.5 (m - 1/2)^2 - 1/2 with m the row's mean of 1 - M.

Where ours differs:
- Coarse and partial rows teach by their label sets and also count as not fully labeled, within their labels.
- The weights rise over a tenth of the training, while D and S learn to walk: that of L_adv from the beginning, that of
  L_self after three tenths, for a D that knows nothing yet believes about half of the voxels.
- One forward pass of S and one optimizer step for labeled and unlabeled rows; the code draws one of them by a coin,
  three times a step, and computes S anew for each loss.
- The region factor is 1 + a, as the code has it for samples, not a: voxels that look drawn go on teaching.
Where the released code is not followed even in preset "code":
- Its threshold is 1 minus the Dice of the last validation, which no method knows; the running Dice of the labeled rows
  stands in. Like there, nothing is believed at first.
- Its S-step also leaves gradients in D, of weight 0.05, and each of its three micro-steps adds those before it again.
- Its sample attention averages 1 - softmax over both outputs of D, which is 1/2 whatever D says, so its factor is
  always 1/2; its region attention takes the first row's two outputs for the maps of two rows. Both are off by default
  there, and in "code".
Preset "code" does take the softmax of D's output twice, and lets the first part of L_D reach S (its output is not
detached there): S then learns to look predicted, with 20 times the weight with which it learns to look drawn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.adversarial.adversary import ADVERSARY, AdversaryOptions, two_groups
from SemiSegLib.methods.method import GroupSettings, LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.learner import LearnerOptions, build_learner
from SemiSegLib.methods.parts.passes import within_labels
from SemiSegLib.methods.parts.supervision import nothing
from SemiSegLib.networks.adversary import ConfidenceNetwork
from SemiSegLib.networks.modes import frozen
from SemiSegLib.networks.network import Outputs

ATTENTIONS = ("region", "sample", "none")
THRESHOLDS = ("fixed", "labeled_dice")
LESS_THAN_FULL = (Regime.COARSE, Regime.PARTIAL, Regime.NONE)
# Share of its past that the running Dice of the labeled rows keeps at a step: a half-life of 69 steps. Ours.
KEPT = 0.99


@dataclass(frozen=True, kw_only=True)
class AttentionAdversarialOptions(AdversaryOptions, LearnerOptions):
    """What the confidence network teaches.

    Attributes:
        adversarial_weight: of deceiving the confidence network; 0.05 in the released code.
        adversary_width: channels of the confidence network at full resolution; 32 in the released code.
        self_label_weight: of believing oneself where the confidence network is deceived; 0.5 in the released code.
        self_label_wait: share of the training, 0 to 1, in which that weight is 0; its rise begins then. Ours 0.3, 0 in
            the released code.
        confidence_threshold: of that belief, 0 to 1, if it is fixed; 0.5 in the released code.
        threshold: "fixed", or "labeled_dice": 1 minus the running Dice of labeled rows, for the released code's 1 minus
            the Dice of the last validation.
        attention: "region", "sample" or "none": where labels count more.
        sees_image: whether the confidence network sees the image beside the segmentation; not in the released code.
        respect_labels: keep what is believed within the labels of coarse and partial rows. Ours.
        double_softmax: take the softmax of the confidence twice in the adversarial loss, as the released code does.
        detached: keep the confidence network's own loss from the segmentation network; the released code does not.
    """

    adversarial_weight: float = 0.05
    adversary_width: int = 16
    self_label_weight: float = 0.5
    self_label_wait: float = 0.3
    confidence_threshold: float = 0.5
    threshold: str = "fixed"
    attention: str = "region"
    sees_image: bool = False
    respect_labels: bool = True
    double_softmax: bool = False
    detached: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("self_label_weight", self.self_label_weight, low=0.0, high=100.0)
        check_range("self_label_wait", self.self_label_wait, low=0.0, high=1.0)
        check_range("confidence_threshold", self.confidence_threshold, low=0.0, high=1.0)
        check_choice("threshold", self.threshold, THRESHOLDS)
        check_choice("attention", self.attention, ATTENTIONS)


class AttentionAdversarial(Method):
    """A network that segments and one that says where this looks drawn."""

    Options = AttentionAdversarialOptions
    labeled_dice: Tensor
    step_dice: Tensor
    step_batches: Tensor

    def __init__(self, study: Study, options: AttentionAdversarialOptions) -> None:
        super().__init__()
        self.options = options
        self.learner = build_learner(study, options)
        channels = len(study.scheme.leaf_names) + (len(study.plan.channels) if options.sees_image else 0)
        self.confidence = ConfidenceNetwork(
            channels, study.plan.dimensions, width=options.adversary_width, norm=study.plan.network.norm
        )
        self.register_buffer("labeled_dice", torch.zeros(()))
        # Of the batches of a step with labeled rows: the sum of their Dice, and their number. Taken in after the step;
        # the trainer puts them back if it skips the step.
        self.register_buffer("step_dice", torch.zeros(()), persistent=False)
        self.register_buffer("step_batches", torch.zeros(()), persistent=False)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what labels and the confidence network teach; then, for its own group, what that network learns."""
        terms, probability = self._segmentation(batch, progress)
        yield terms
        values = self._judgment(batch.part(Regime.FULL), probability)
        yield LossTerms(values, dict.fromkeys(values, 1.0), group=ADVERSARY)

    def _segmentation(self, batch: Batch, progress: Progress) -> tuple[LossTerms, Tensor]:
        """Return what the segmentation network learns, and its (B, L, *S) probabilities without a graph."""
        weights = self._weights(progress)
        if len(batch) == 0:
            return LossTerms({name: nothing(self.learner) for name in weights}, weights), batch.image
        outputs = self.learner(batch.image)
        probability = self.learner.probability(outputs)
        with frozen(self.confidence):
            judged = self._judge(probability, batch.image)
        confidence = judged.detach().sigmoid()
        labeled = len(batch.part(Regime.FULL))
        values = self.learner.terms(outputs, batch, emphasis=self._emphasis(confidence))
        self._note_dice(values, labeled)
        values["adversarial"] = deceiving(judged, twice=self.options.double_softmax)
        values["self_labels"] = self._self_labels(outputs, batch, confidence)
        if not self.options.detached:
            values["leak"] = functional.softplus(judged[:labeled]).mean() if labeled else nothing(self.learner)
        return LossTerms(values, weights), probability.detach()

    def _weights(self, progress: Progress) -> dict[str, float]:
        options = self.options
        own = {
            "adversarial": options.force(progress) * options.adversarial_weight,
            "self_labels": options.force(progress, wait=options.self_label_wait) * options.self_label_weight,
        }
        return {**self.learner.weights(), **own, **({} if self.options.detached else {"leak": 1.0})}

    def _judge(self, judged: Tensor, image: Tensor) -> Tensor:
        """Return (B, *S) float32 logits: does this (B, L, *S) map look drawn?"""
        logits: Tensor = self.confidence(torch.cat([judged, image], 1) if self.options.sees_image else judged)
        return logits.float()

    def _emphasis(self, confidence: Tensor) -> Tensor | None:
        """Return how much each labeled voxel counts, 1 + importance, from (B, *S) confidences."""
        if self.options.attention == "region":
            return 1 + (1 - confidence).square()
        if self.options.attention == "sample":
            doubt = 1 - confidence.flatten(1).mean(1)
            return (0.5 + 12.5 * (doubt - 0.5).square()).view(-1, *(1,) * (confidence.ndim - 1)).expand_as(confidence)
        return None

    def _self_labels(self, outputs: Outputs, batch: Batch, confidence: Tensor) -> Tensor:
        """Return the cross entropy of the likeliest leaves, where they are believed, of rows not fully labeled."""
        rows = batch.part(*LESS_THAN_FULL)
        if len(rows) == 0:
            return nothing(self.learner)
        own = outputs.rows(slice(len(batch) - len(rows), len(batch)))
        probability = self.learner.probability(own).detach()
        if self.options.respect_labels:
            probability = within_labels(probability, rows)
        threshold = self.options.confidence_threshold
        is_believed = confidence[-len(rows) :] > (1 - self.labeled_dice if self._follows_dice else threshold)
        losses = functional.cross_entropy(own["subclass"].float(), probability.argmax(1), reduction="none")
        return torch.where(is_believed, losses, 0.0).sum() / is_believed.sum().clamp_min(1)

    def _judgment(self, rows: Batch, probability: Tensor) -> dict[str, Tensor]:
        """Return what the confidence network learns from fully labeled rows; 0 with a graph where there are none."""
        if len(rows) == 0:
            return {"told_drawn": nothing(self.confidence), "told_predicted": nothing(self.confidence)}
        predicted = probability[: len(rows)]
        # Voxels outside what was drawn (a patch may be larger than its volume) are the same in both and do not count.
        drawn = within_labels(predicted, rows)
        is_known = (rows.label_sets.sum(1) == 1)[rows.codes]
        judged = self._judge(torch.cat([drawn, predicted]), torch.cat([rows.image, rows.image]))
        count = is_known.sum().clamp_min(1)
        of_drawn = torch.where(is_known, functional.softplus(-judged[: len(rows)]), 0.0)
        of_predicted = torch.where(is_known, functional.softplus(judged[len(rows) :]), 0.0)
        return {"told_drawn": of_drawn.sum() / count, "told_predicted": of_predicted.sum() / count}

    @property
    def _follows_dice(self) -> bool:
        return self.options.threshold == "labeled_dice"

    @torch.no_grad()
    def _note_dice(self, values: dict[str, Tensor], labeled: int) -> None:
        if self._follows_dice and labeled:
            now = 1 - values["subclass_dice" if "subclass_dice" in values else "dice"]
            self.step_dice = self.step_dice + now.float()
            self.step_batches = self.step_batches + 1

    def after_step(self, progress: Progress) -> None:
        """Take in the Dice of the step's labeled rows, the mean of its batches that have any."""
        rate = (1 - KEPT) * (self.step_batches > 0)
        self.labeled_dice.lerp_(self.step_dice / self.step_batches.clamp_min(1), rate)
        self.step_dice = torch.zeros_like(self.step_dice)
        self.step_batches = torch.zeros_like(self.step_batches)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        return self.learner.probability(self.learner(image))

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters of the segmentation network, and of the confidence network as the adversary."""
        return two_groups(self.learner, self.confidence)

    def group_settings(self) -> dict[str, GroupSettings]:
        """Return the confidence network's own optimizer."""
        return self.options.group_settings()

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the classes for each output layer of the segmentation network."""
        return self.learner.output_rows("learner.")


def deceiving(judged: Tensor, *, twice: bool = False) -> Tensor:
    r"""Return how far a confidence network is from being deceived: the mean of -log M, M = sigmoid(z).

    Args:
        judged: float32 logits z that what was predicted was drawn, any shape.
        twice: the released code's loss, whose two inputs 1 - M and M are a softmax already:
            -log of e^M / (e^M + e^(1 - M)). It lies between 0.31 and 1.31, and its gradient vanishes where the network
            is sure not to be deceived.
    """
    return functional.softplus(1 - 2 * judged.sigmoid() if twice else -judged).mean()
