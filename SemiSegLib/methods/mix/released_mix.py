"""HierarchicalMix as the released code of paper 000 computes it, faults included, for comparison.

EfficientSubclassLearning, ``networks/singlybranchedunet.py``, ``trainutils/train_branched.py`` and
``dataloaders/base_dataset.py``. What it does otherwise than the paper says:

- The pass over mixed images runs without a graph, so L_p trains nothing; it moves running statistics and random
  numbers. ("pseudo" alone has a gradient.)
- Targets take one share a for the whole image, background included, although the image is mixed in M alone.
- A leaf becomes a pseudo-label where both views give it more than the threshold: below 0.5, two at one voxel.
- Views are turned by quarters however long voxels are along either axis.
- Views are seen in training mode: with dropout, batch statistics, and running statistics that move.
- The Dice is masked by its own target, the cross entropy is a mean over all voxels.

Whose pseudo-labels, which agreement and which threshold is its own matter: options that say otherwise are refused
(``RELEASED_PASS``).

Any number of superclasses by the scheme, where the released code for more than one never ran. Partners come from the
batch and shares from a generator that goes on, where its workers begin again with the same numbers in every epoch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.losses.released import released_cross_entropy, released_dice, released_targets
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.mix.hierarchical_mix import HierarchicalMix
from SemiSegLib.methods.mix.pseudo_labels import draw_turn, released_pseudo_labels
from SemiSegLib.methods.mix.region_mix import Meaning, Scans, region_mix
from SemiSegLib.methods.parts.learner import Learner
from SemiSegLib.methods.parts.supervision import nothing


def released_terms(
    mix: HierarchicalMix, learner: Learner, logits: Tensor, pupils: Batch, full: Batch, progress: Progress
) -> dict[str, Tensor]:
    """Return the terms of the released L_p.

    Args:
        mix: options and tables.
        learner: in training mode.
        logits: (B, L, *S) leaf logits of the pupils, of the pass over all rows.
        pupils: rows without leaf labels.
        full: fully labeled rows.
        progress: how far the training is.
    """
    meaning = mix.meaning(pupils)
    pseudo = torch.zeros_like(logits, dtype=torch.float32)
    if mix.options.mix != "mixup":
        pseudo = _pseudo_labels(mix, learner, logits, pupils, progress)
    if mix.options.mix == "pseudo":
        return _terms(logits, pseudo)
    chosen = torch.randint(len(full), (len(pupils),)).tolist()
    donors = Scans(full.image[chosen], full.codes[chosen])
    alpha = mix.draw_alpha(len(pupils)).to(logits.device)
    alpha = alpha * (_holds_structures(pupils.codes, meaning) & _holds_structures(donors.codes, meaning))
    mixed = region_mix(Scans(pupils.image, pupils.codes), donors, meaning, alpha)
    leaf = torch.where(mixed.share > 0, mixed.leaf, 0)
    with torch.no_grad():
        found = _terms(learner(mixed.image)["subclass"], released_targets(pseudo, leaf, alpha))
    return {name: value + nothing(learner) for name, value in found.items()}


def _pseudo_labels(mix: HierarchicalMix, learner: Learner, logits: Tensor, pupils: Batch, progress: Progress) -> Tensor:
    shape = tuple(pupils.image.shape[2:])
    # It asks for the number of voxels alone, not for their size.
    view = draw_turn(shape, (1.0,) * len(shape), always_flips=True)
    with torch.no_grad():
        other = view.invert(learner(view.apply(pupils.image))["subclass"].float().softmax(1))
    allowed = mix.meaning(pupils).allowed(pupils.codes)
    own = logits.detach().float().softmax(1)
    return released_pseudo_labels(own, other, allowed, mix.options.threshold_at(progress))


def _terms(logits: Tensor, target: Tensor) -> dict[str, Tensor]:
    return {
        "mix_cross_entropy": released_cross_entropy(logits, target),
        "mix_dice": released_dice(logits.float().softmax(1), target),
    }


def _holds_structures(codes: Tensor, meaning: Meaning) -> Tensor:
    """Return (B,) bool: some voxel is surely of a superclass other than background."""
    region = meaning.superclass[codes]
    return ((region >= 0) & (region != meaning.background)).flatten(1).any(1)
