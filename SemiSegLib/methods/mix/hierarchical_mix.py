"""HierarchicalMix: scans with coarse labels learn leaves from mixed-in structures and from pseudo-labels (paper 000).

For a coarse row (x, y) and a full row (x', y', z') of the batch, with the share a, the region M and x_mix of
``region_mix`` and the pseudo-labels z_pse of ``pseudo_labels``:

    q(v) = a onehot(z'(v)) + (1 - a) z_pse(v)  on M,   z_pse(v)  elsewhere,   onehot(leaf)  where y allows one leaf only
    L_p  = CE(f(x_mix), q) + Dice(f(x_mix), q),  over the voxels with a target

z_pse is onehot(c*) where the network is sure of c* and the label allows it, else nothing. Because x' enters only where
both scans are of one superclass, y stays true of x_mix; and because a label set says what a voxel may be, coarse,
partly drawn and unlabeled rows are one case: what is not drawn as a superclass is not mixed, and what is not labeled at
all may take any pseudo-label.

Differences from the released code (EfficientSubclassLearning), whose L_p has no gradient in any commit: only the
pseudo-labels are made without a graph; a is a map, 0 where nothing was mixed in; the Dice counts the same voxels for
every class; the cross entropy is a mean over voxels with a target; a pseudo-label is one leaf; making them neither
drops out nor moves running statistics; a turn may be about any axis; shares and partners are drawn anew in every step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.views import WEAK_NOISE, View
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.losses.soft import soft_cross_entropy
from SemiSegLib.losses.soft_dice import soft_dice
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.mix.mix_options import MixOptions
from SemiSegLib.methods.mix.pseudo_labels import (
    AdaptiveThreshold,
    agreed,
    conditioned,
    draw_turn,
    least_confidence,
    one_hot,
)
from SemiSegLib.methods.mix.region_mix import Meaning, Mixed, Scans, region_mix
from SemiSegLib.methods.parts.passes import noisy
from SemiSegLib.methods.parts.supervision import DICE_RULES

# Image to (B, L, *S) probabilities, without a graph.
Look = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Lesson:
    """What the rows without leaf labels learn in a step.

    Attributes:
        image: (B, M, *S).
        target: (B, L, *S) float, at least 0; 0 for every leaf where nothing is known.
    """

    image: Tensor
    target: Tensor


class HierarchicalMix(nn.Module):
    """Makes lessons and their loss; the networks belong to the method.

    Args:
        scheme: leaves and superclasses.
        options: how.
        spacing_mm: along the spatial axes of the images, which must not be sheared by turns.
    """

    membership: Tensor

    def __init__(self, scheme: LabelScheme, options: MixOptions, spacing_mm: Sequence[float]) -> None:
        super().__init__()
        self.options = options
        self.spacing_mm = tuple(spacing_mm)
        self.leaf_count = len(scheme.leaf_names)
        self.background = scheme.superclass_of_leaf[0]
        self.register_buffer("membership", torch.from_numpy(scheme.membership.copy()), persistent=False)
        self.threshold = AdaptiveThreshold(self.leaf_count) if options.threshold == "adaptive" else None

    def meaning(self, batch: Batch) -> Meaning:
        """Return what the codes of a batch say."""
        return Meaning.of(batch.label_sets, self.membership, background=self.background)

    def lesson(self, look: Look, pupils: Batch, full: Batch, progress: Progress) -> Lesson:
        """Return the lesson of the rows ``pupils``; ``full`` may be empty if nothing is to be mixed."""
        meaning = self.meaning(pupils)
        pseudo = None
        if self.options.mix != "mixup":
            pseudo = self.pseudo_labels(look, pupils, progress)
            if self.options.mix == "pseudo":
                return Lesson(pupils.image, pseudo)
        mixed = self.mixed(pupils, full)
        return Lesson(mixed.image, self.target(mixed, pseudo, meaning, pupils.codes))

    def pseudo_labels(self, look: Look, pupils: Batch, progress: Progress) -> Tensor:
        """Return (B, L, *S) float, 1 at the pseudo-label of each voxel that has one."""
        meaning = self.meaning(pupils)
        allowed = meaning.allowed(pupils.codes)
        probability, other = self._views(look, pupils.image)
        if self.options.condition_on_label:
            probability = conditioned(probability, allowed)
            other = None if other is None else conditioned(other, allowed)
        leaf, confidence = agreed(probability, other, allowed)
        if self.threshold is None:
            return one_hot(leaf, confidence > self.options.threshold_at(progress), self.leaf_count)
        is_open = (meaning.leaf[pupils.codes] < 0) & (confidence > 0)
        thresholds = self.threshold(leaf, confidence, is_open)
        choices = allowed.sum(1) if self.options.condition_on_label else torch.full_like(leaf, self.leaf_count)
        return one_hot(leaf, confidence > torch.maximum(thresholds[leaf], least_confidence(choices)), self.leaf_count)

    def mixed(self, pupils: Batch, full: Batch) -> Mixed:
        """Return the pupils, each mixed with a full row drawn for it."""
        chosen = torch.randint(len(full), (len(pupils),)).tolist()
        alpha = self.draw_alpha(len(pupils)).to(pupils.image.device)
        donors = Scans(full.image[chosen], full.codes[chosen])
        return region_mix(Scans(pupils.image, pupils.codes), donors, self.meaning(pupils), alpha)

    def draw_alpha(self, count: int) -> Tensor:
        """Return (count,) shares of the donors, on the CPU; 0 for rows that are left unmixed."""
        options = self.options
        drawn = torch.rand(count)
        if options.alpha_levels > 0:
            drawn = (drawn * (options.alpha_levels + 1)).floor() / options.alpha_levels
        alpha = options.alpha_low + (options.alpha_high - options.alpha_low) * drawn
        return torch.where(torch.rand(count) < options.mix_probability, alpha, 0.0)

    def target(self, mixed: Mixed, pseudo: Tensor | None, meaning: Meaning, codes: Tensor) -> Tensor:
        """Return the (B, L, *S) target q of mixed images.

        Args:
            mixed: of the pupils.
            pseudo: (B, L, *S) pseudo-labels, or None to learn from what was mixed in alone.
            meaning: of the codes.
            codes: (B, *S) of the pupils.
        """
        share = mixed.share.unsqueeze(1)
        target = share * one_hot(mixed.leaf, mixed.share > 0, self.leaf_count)
        if pseudo is None:
            return target
        only = meaning.leaf[codes]
        is_only = only >= 0
        return torch.where(is_only.unsqueeze(1), one_hot(only, is_only, self.leaf_count), target + (1 - share) * pseudo)

    def terms(self, logits: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Return the terms of L_p for (B, L, *S) leaf logits."""
        mass = target.sum(1)
        known = mass > 0
        rule = DICE_RULES[self.options.dice]
        aim = target
        if self.options.renormalize:
            aim = target / torch.where(known, mass, 1.0).unsqueeze(1)
        probability = logits.float().softmax(1)
        return {
            "mix_cross_entropy": soft_cross_entropy(logits, target, known),
            "mix_dice": soft_dice(
                probability,
                aim,
                known,
                include_background=rule.include_background,
                skip_absent=rule.skip_absent,
            ),
        }

    def weights(self, progress: Progress) -> dict[str, float]:
        """Return the weight of each term of ``terms``."""
        return self.options.weights("mix_", factor=self.options.mix_weight * self.options.ramp_at(progress))

    def _views(self, look: Look, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the probabilities of the image and of another view of it, computed together."""
        if self.options.agreement == "none":
            return look(image), None
        view: View | None = None
        if self.options.agreement == "turns":
            view = draw_turn(tuple(image.shape[2:]), self.spacing_mm)
            second = view.apply(image)
        else:
            second = noisy(image, WEAK_NOISE)
        first, other = look(torch.cat([image, second])).chunk(2)
        return first, other if view is None else view.invert(other)
