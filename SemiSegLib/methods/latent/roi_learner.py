"""A network whose head answers each ROI, and how labels teach it: what the methods of paper 002 build on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.methods.latent.leaves import leaf_probability, roi_logits_of, with_background
from SemiSegLib.methods.latent.roi_maps import RoiMaps, roi_maps_of
from SemiSegLib.methods.latent.roi_terms import (
    RoiLossOptions,
    binary_entropy,
    label_terms,
    with_deep_label_terms,
)
from SemiSegLib.methods.method import Study
from SemiSegLib.methods.parts.supervision import (
    LABELED,
    SegmentationOptions,
    nothing,
    segmentation_terms,
    study_backbone,
    with_deep_terms,
)
from SemiSegLib.networks.backbone import Backbone
from SemiSegLib.networks.dynamic import DynamicHead
from SemiSegLib.networks.embedding import EMBEDDINGS, RoiEmbedding
from SemiSegLib.networks.heads import LinearHead

OUTPUTS = ("sigmoid", "softmax")
# Without embeddings there is nothing to make heads from: one linear map of the features instead.
NO_EMBEDDING = "none"


@dataclass(frozen=True, kw_only=True)
class RoiOptions(RoiLossOptions):
    """The head of each ROI and what labels teach it.

    Attributes:
        embedding: what the controller knows of a ROI: "hierarchy" (learned, children start near their parent; ours),
            "learned", "one_hot", or vectors that the study brings: "text" (paper 002) or "file". With "none" there is
            no controller but one linear layer, and a step takes a seventh less time on a CPU.
        equalized: let the controller learn as slowly as the convolutions beside it, see ``EqualizedLinear`` (ours);
            the papers do not, and paper 002 has a low learning rate. Without it no head was learned at a rate of 0.01.
        output: "sigmoid" (one answer for each ROI; papers) or "softmax" (one head for each leaf, of which the labels
            teach the sum that each voxel may be: marginal losses; a ROI is then the sum of its leaves).
        containment_weight: of mean ReLU(q_child - q_parent), by which a tumor lies in its organ; ours, 0 in papers.
    """

    embedding: str = "hierarchy"
    equalized: bool = True
    output: str = "sigmoid"
    containment_weight: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("embedding", self.embedding, (*EMBEDDINGS, NO_EMBEDDING))
        check_choice("output", self.output, OUTPUTS)
        check_range("containment_weight", self.containment_weight, low=0.0, high=100.0)


@dataclass(frozen=True)
class RoiOutputs:
    """What a network with ROI heads says about an image.

    Attributes:
        logits: (B, H, *S), of the ROIs; with the softmax of the leaves, background only where there is no embedding.
        deep: the same at lower resolutions, finest first; empty but in training.
    """

    logits: Tensor
    deep: tuple[Tensor, ...] = ()

    def rows(self, chosen: slice) -> RoiOutputs:
        """Return the outputs of some rows, as views."""
        return RoiOutputs(self.logits[chosen], tuple(part[chosen] for part in self.deep))


def linear_roi_head(backbone: Backbone, channels: int, classes: int, dimensions: int, *, competes: bool) -> LinearHead:
    """Return a linear head on a map of the backbone, quick where heads on it are to be."""
    head = LinearHead(channels, classes, dimensions, competes=competes)
    if backbone.quick_heads:
        head.quicken()
    return head


def deep_roi_heads(backbone: Backbone, classes: int, dimensions: int, *, competes: bool) -> nn.ModuleList:
    """Return the heads of a backbone's lower resolutions."""
    widths = backbone.deep_channels
    return nn.ModuleList(linear_roi_head(backbone, width, classes, dimensions, competes=competes) for width in widths)


def implied_rois(table: RoiTable) -> Tensor:
    """Return (K,) bool, the ROIs that are what their parts are."""
    return torch.tensor([k in table.implied for k in range(len(table))])


class RoiLearner(nn.Module):
    """A backbone with a dynamic head.

    Args:
        study: scheme, plan and embeddings.
        options: head and losses.
    """

    members: Tensor
    implied: Tensor

    def __init__(self, study: Study, options: RoiOptions) -> None:
        super().__init__()
        self.options = options
        self.table = RoiTable.of(study.scheme, study.implied)
        dimensions = study.plan.dimensions
        self.is_softmax, self.is_linear = options.output == "softmax", options.embedding == NO_EMBEDDING
        self.backbone = study_backbone(study)
        chosen = self.table.leaf_rois if self.is_softmax else tuple(range(len(self.table)))
        has_background = self.is_softmax and self.is_linear
        self.row_names = study.scheme.leaf_names if has_background else tuple(self.table.names[k] for k in chosen)
        classes = len(self.row_names)
        self.head: LinearHead | DynamicHead
        if self.is_linear:
            width = self.backbone.feature_channels
            self.head = linear_roi_head(self.backbone, width, classes, dimensions, competes=self.is_softmax)
        else:
            self.head = DynamicHead(
                self.backbone.feature_channels,
                self.backbone.bottleneck_channels,
                dimensions,
                embedding=RoiEmbedding(options.embedding, self.table, given=study.embeddings, chosen=chosen),
                is_equalized=options.equalized,
                competes=self.is_softmax,
            )
        self.deep_heads = deep_roi_heads(self.backbone, classes, dimensions, competes=self.is_softmax)
        self.pairs = [(k, parent) for k, parent in enumerate(self.table.parents) if parent >= 0]
        self.register_buffer("members", torch.from_numpy(self.table.members.copy()), persistent=False)
        self.register_buffer("implied", implied_rois(self.table), persistent=False)

    def forward(self, image: Tensor) -> RoiOutputs:
        """Return the outputs for (B, M, *S) images; at lower resolutions only while training."""
        found = self.backbone(image)
        pairs = zip(self.deep_heads, found.deep, strict=True) if self.training else ()
        logits = self.head(found.map) if self.is_linear else self.head(found.map, found.bottleneck)
        return RoiOutputs(logits, tuple(head(part) for head, part in pairs))

    @property
    def has_containment(self) -> bool:
        """A ROI lies in another, and the softmax does not keep it there by itself."""
        return bool(self.pairs) and not self.is_softmax and self.options.containment_weight > 0

    def weights(self) -> dict[str, float]:
        """Return the weight of each term of ``terms``."""
        own = {"containment": self.options.containment_weight} if self.has_containment else {}
        return {**self.options.weights(), **own}

    def maps(self, batch: Batch) -> RoiMaps:
        """Return what the labels of a batch say of each ROI."""
        return roi_maps_of(batch, self.members, exclusion=self.options.exclusion).without(self.implied)

    @property
    def reads_maps(self) -> bool:
        """Labels teach structure by structure; those of a softmax teach leaves."""
        return not self.is_softmax

    def terms(self, outputs: RoiOutputs, batch: Batch, maps: RoiMaps | None) -> dict[str, Tensor]:
        """Return what the labels teach, and how far ROIs leave those around them; 0 with a graph where no row does.

        Args:
            outputs: of the images of the whole batch.
            batch: whose outputs these are.
            maps: of the same batch; None where they are not read.
        """
        rows = batch.part(*LABELED)
        values = {name: nothing(self) for name in self.weights()}
        if len(rows) > 0:
            first = slice(len(rows))
            values |= self._label_terms(outputs.rows(first), rows, None if maps is None else maps.rows(first))
        if self.has_containment:
            values["containment"] = self.containment(outputs)
        return values

    def _label_terms(self, outputs: RoiOutputs, rows: Batch, maps: RoiMaps | None) -> dict[str, Tensor]:
        strides, average = self.backbone.deep_strides, self.options.average
        deep = outputs.deep
        if not self.is_softmax:
            assert maps is not None
            terms = label_terms(outputs.logits, maps, average)
            return with_deep_label_terms(terms, deep, strides[: len(deep)], maps, average)
        loss = SegmentationOptions()
        finest, *coarser = self.leaf_logits(outputs)
        found = segmentation_terms(finest, rows.codes, rows.label_sets, loss)
        return with_deep_terms(found, coarser, strides[: len(deep)], rows, loss)

    def containment(self, outputs: RoiOutputs) -> Tensor:
        """Return the mean over voxels and pairs of ReLU(q_child - q_parent)."""
        probability = outputs.logits.float().sigmoid()
        children, parents = zip(*self.pairs, strict=True)
        inner = torch.stack([probability[:, k] for k in children], dim=1)
        outer = torch.stack([probability[:, k] for k in parents], dim=1)
        return torch.relu(inner - outer).mean()

    def leaf_logits(self, outputs: RoiOutputs) -> tuple[Tensor, ...]:
        """Return (B, L, *Si) float32 leaf logits of a softmax at every resolution, finest first."""
        # A controller makes heads of structures; the logit of background, which is none, is 0.
        return tuple(
            part.float() if self.is_linear else with_background(part) for part in (outputs.logits, *outputs.deep)
        )

    def roi_logits(self, outputs: RoiOutputs) -> Tensor:
        """Return (B, K, *S) float32 logits of the ROIs."""
        if self.is_softmax:
            return roi_logits_of(self.leaf_logits(outputs)[0], self.members)
        return outputs.logits.float()

    def probability(self, outputs: RoiOutputs) -> Tensor:
        """Return (B, L, *S) float32 leaf probabilities."""
        if self.is_softmax:
            return self.leaf_logits(outputs)[0].softmax(1)
        return leaf_probability(outputs.logits, self.table)

    def doubt(self, outputs: RoiOutputs) -> Tensor:
        """Return (B, *S): the largest entropy of the ROIs' probabilities, each as a share of ln 2."""
        return binary_entropy(self.roi_logits(outputs)[:, ~self.implied]).amax(1)

    def output_rows(self, prefix: str) -> dict[str, tuple[str, ...]]:
        """Return the class names of each output layer's rows, for a warm start; ``prefix`` ends with a point."""
        linear = [f"{prefix}deep_heads.{i}.convolution" for i in range(len(self.deep_heads))]
        rows: dict[str, tuple[str, ...]] = {}
        if isinstance(self.head, DynamicHead):
            rows = {f"{prefix}head.{layer}": names for layer, names in self.head.output_rows().items()}
        else:
            linear.append(f"{prefix}head.convolution")
        return rows | {f"{layer}.{part}": self.row_names for layer in linear for part in ("weight", "bias")}
