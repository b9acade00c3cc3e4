"""DoDNet: one organ and its tumor at a time, by a head made for the organ from the image and the organ's number.

Zhang et al., CVPR 2021 (https://arxiv.org/abs/2011.10217); released code https://github.com/jianpengz/DoDNet. A task is
a superclass of the scheme with the structures in it, but for what lesions leave of it (a liver without its tumor): that
follows from the others. A row of a batch trains the head of a task that was drawn in it:

    L = mean over the parts k of the task of BCE(z_k, y_k) + Dice(s(z_k), y_k)

With an organ and its tumor a head has 162 numbers as published; with more or fewer parts, 144 + 9 for each. The network
is computed once for all tasks, of which only the heads differ; the authors' code computes it once for each at
prediction, with the same result.

Where ours differs: the heads of all tasks that a row shows are trained at once, where fully drawn rows show several;
preset "paper" draws one of them by lot, as rows of its data know but one. Released code leaves out a missing organ by
looking at one corner voxel and divides by zero where all are missing; here every voxel says for itself what it knows.
Where rows of a batch have tasks of one and of two parts, every part of every row counts alike; released code averages
the organs of the rows, then their tumors, and takes the mean of both. A part that is empty in the patch has no Dice
here and a constant one there.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.methods.latent.leaves import leaf_probability
from SemiSegLib.methods.latent.roi_learner import deep_roi_heads, implied_rois
from SemiSegLib.methods.latent.roi_maps import RoiMaps, roi_maps_of
from SemiSegLib.methods.latent.roi_terms import (
    RoiLossOptions,
    binary_entropy,
    label_terms,
    with_deep_label_terms,
)
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.supervision import LABELED, nothing, study_backbone
from SemiSegLib.networks.backbone import Features
from SemiSegLib.networks.dynamic import TaskHead

TASKS = ("all", "one")


@dataclass(frozen=True, kw_only=True)
class DodnetOptions(RoiLossOptions):
    """What labels teach the head of each task.

    Attributes:
        equalized: let the controller learn as slowly as the convolutions beside it, see ``EqualizedLinear`` (ours).
        tasks: "all" (every task that a row shows; ours) or "one" of them, drawn at random (DoDNet).
    """

    equalized: bool = True
    tasks: str = "all"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("tasks", self.tasks, TASKS)


def task_parts(table: RoiTable) -> tuple[tuple[int, ...], ...]:
    """Return the ROIs of each task: of each root, itself and the ROIs in it that do not follow from the others."""
    parts = []
    for root in table.roots:
        inside = [k for k in range(len(table)) if table.leaf_sets[k] < table.leaf_sets[root]]
        parts.append((root, *(k for k in inside if k not in table.rests and k not in table.implied)))
    return tuple(parts)


class Dodnet(Method):
    """A network with one head for each organ, taught by labels."""

    Options = DodnetOptions
    members: Tensor
    implied: Tensor
    parts: Tensor
    is_part: Tensor

    def __init__(self, study: Study, options: DodnetOptions) -> None:
        super().__init__()
        self.options, self.table = options, RoiTable.of(study.scheme, study.implied)
        tasks, dimensions = task_parts(self.table), study.plan.dimensions
        most = max(len(task) for task in tasks)
        self.backbone = study_backbone(study)
        self.head = TaskHead(
            self.backbone.feature_channels,
            self.backbone.bottleneck_channels,
            dimensions,
            names=tuple(self.table.names[task[0]] for task in tasks),
            parts=most,
            is_equalized=options.equalized,
        )
        self.deep_heads = deep_roi_heads(self.backbone, len(self.table), dimensions, competes=False)
        # Of a task with fewer parts than another, the last heads stand for its organ once more and are not taught.
        padded = [[*task, *[task[0]] * (most - len(task))] for task in tasks]
        self.place_of = {k: t * most + n for t, task in enumerate(tasks) for n, k in enumerate(task)}
        self.register_buffer("members", torch.from_numpy(self.table.members.copy()), persistent=False)
        self.register_buffer("implied", implied_rois(self.table), persistent=False)
        self.register_buffer("parts", torch.tensor(padded), persistent=False)
        self.register_buffer(
            "is_part", torch.tensor([[n < len(task) for n in range(most)] for task in tasks]), persistent=False
        )

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what the labels teach; only labeled rows are computed."""
        weights, average, rows = self.options.weights(), self.options.average, batch.part(*LABELED)
        if len(rows) == 0:
            yield LossTerms({name: nothing(self.head) for name in weights}, weights)
            return
        maps = roi_maps_of(rows, self.members, exclusion=self.options.exclusion).without(self.implied)
        found: Features = self.backbone(rows.image)
        tasks = self._tasks(maps)
        logits = self.head(found.map, found.bottleneck, tasks)
        taught = self._taught(maps, tasks)
        if average == "mean":
            logits, taught = _as_one_row(logits, taught)
        terms = label_terms(logits, taught, average)
        deep = [head(part) for head, part in zip(self.deep_heads, found.deep, strict=True)]
        strides = self.backbone.deep_strides
        yield LossTerms(with_deep_label_terms(terms, deep, strides, maps, average), weights)

    def _tasks(self, maps: RoiMaps) -> Tensor:
        """Return (B, Q) the tasks that each row trains; a row that shows none trains any, and is taught nothing."""
        count = len(self.parts)
        rows = len(maps.annotated)
        if self.options.tasks == "all":
            return torch.arange(count, device=self.parts.device).expand(rows, count)
        shown = (maps.annotated[:, self.parts] & self.is_part).any(2)
        lots = torch.rand(rows, count).to(self.parts.device)
        return (lots + shown).argmax(1, keepdim=True)

    def _taught(self, maps: RoiMaps, tasks: Tensor) -> RoiMaps:
        """Return the maps of the parts of the tasks of each row, (B, Q * N, *S)."""
        chosen, real = self.parts[tasks].flatten(1), self.is_part[tasks].flatten(1)
        lead = (*chosen.shape, *(1,) * (maps.known.ndim - 2))
        places = chosen.view(lead).expand(*chosen.shape, *maps.known.shape[2:])
        known = maps.known.gather(1, places) & real.view(lead)
        return RoiMaps(maps.target.gather(1, places), known, maps.annotated.gather(1, chosen))

    def roi_logits(self, image: Tensor) -> Tensor:
        """Return (B, K, *S) float32 logits of all ROIs for (B, M, *S) images."""
        found: Features = self.backbone(image)
        count = len(self.parts)
        tasks = torch.arange(count, device=image.device).expand(len(image), count)
        logits = self.head(found.map, found.bottleneck, tasks).float()
        said = {k: logits[:, place] for k, place in self.place_of.items()}
        for k in self.table.rests:
            # What is in the parent and in none of its lesions: the least of q_parent and each 1 - q_lesion.
            parent = self.table.parents[k]
            others = [-said[c] for c in self.table.children[parent] if c != k]
            said[k] = torch.stack([said[parent], *others]).amin(0)
        for k in self.table.implied:
            inside = [self.table.leaf_rois[leaf - 1] for leaf in sorted(self.table.leaf_sets[k])]
            said[k] = torch.stack([said[part] for part in inside]).amax(0)
        return torch.stack([said[k] for k in range(len(self.table))], dim=1)

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        return leaf_probability(self.roi_logits(image), self.table)

    def uncertainty(self, image: Tensor) -> Tensor | None:
        """Return (B, *S): the doubt of the structure of which there is most."""
        return binary_entropy(self.roi_logits(image)).amax(1)

    def predict_with_uncertainty(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what ``predict`` and ``uncertainty`` do, from one pass."""
        logits = self.roi_logits(image)
        return leaf_probability(logits, self.table), binary_entropy(logits).amax(1)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the organs for the controller's rows, and of the structures at lower resolutions."""
        layers = [f"deep_heads.{i}.convolution.{part}" for i in range(len(self.deep_heads)) for part in _PARTS]
        return {f"head.{layer}": names for layer, names in self.head.output_rows().items()} | dict.fromkeys(
            layers, self.table.names
        )


_PARTS = ("weight", "bias")


def _as_one_row(logits: Tensor, maps: RoiMaps) -> tuple[Tensor, RoiMaps]:
    """Return outputs and maps with every output of every row as a structure of its own: heads of rows differ."""
    one, target, known = (part.flatten(0, 1).unsqueeze(0) for part in (logits, maps.target, maps.known))
    return one, RoiMaps(target, known, maps.annotated.flatten().unsqueeze(0))
