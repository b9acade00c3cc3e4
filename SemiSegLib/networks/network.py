"""Backbone and heads together, with named outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from SemiSegLib.networks.backbone import Backbone
from SemiSegLib.networks.heads import DistanceHead, LinearHead
from SemiSegLib.networks.hierarchy import HierarchyHead


@dataclass(frozen=True)
class Outputs:
    """What a network says about an image.

    Attributes:
        logits: head name to (B, classes, *S); "subclass" is the head of the leaves.
        features: (B, F, *S), the backbone's map before any projection.
        bottleneck: (B, Fb, *), lowest resolution.
        deep: leaf logits or distances at lower resolutions, (B, L, *Si), finest first; empty without deep supervision.
    """

    logits: Mapping[str, Tensor]
    features: Tensor
    bottleneck: Tensor
    deep: tuple[Tensor, ...] = ()

    def __getitem__(self, head: str) -> Tensor:
        return self.logits[head]

    def first(self, count: int) -> Outputs:
        """Return the outputs of the first rows; views, so gradients flow on."""
        return self.rows(slice(0, count))

    def rows(self, chosen: slice | list[int]) -> Outputs:
        """Return the outputs of some rows, views where they are neighbors; gradients flow on."""
        return Outputs(
            {name: part[chosen] for name, part in self.logits.items()},
            self.features[chosen],
            self.bottleneck[chosen],
            tuple(part[chosen] for part in self.deep),
        )


class SegmentationNetwork(nn.Module):
    """A backbone with one or more heads on its feature map.

    Args:
        backbone: image to features.
        heads: name to head; one is called "subclass" and gives the leaves, or a ``HierarchyHead`` of any name gives
            "subclass" and "superclass" together.
        leaves: number of leaves, for the heads at lower resolutions.
        projection: applied to the feature map before the heads, or None.
        measures: whether the heads at lower resolutions give distances instead of logits of one probability.
    """

    def __init__(
        self,
        backbone: Backbone,
        heads: Mapping[str, nn.Module],
        *,
        leaves: int,
        projection: nn.Module | None = None,
        measures: bool = False,
    ) -> None:
        super().__init__()
        dimensions = len(backbone.divisor)
        self.backbone = backbone
        self.projection = projection or nn.Identity()
        self.heads = nn.ModuleDict(dict(heads))
        deep_head = DistanceHead if measures else LinearHead
        self.deep_heads = nn.ModuleList(deep_head(n, leaves, dimensions) for n in backbone.deep_channels)

        if backbone.quick_heads:
            for part in self.modules():
                if isinstance(part, LinearHead):
                    part.quicken()

    @property
    def deep_strides(self) -> tuple[tuple[int, ...], ...]:
        """Downsampling of each of ``Outputs.deep``, per axis."""
        return self.backbone.deep_strides

    def output_rows(self, names: Mapping[str, tuple[str, ...]], *, prefix: str) -> dict[str, tuple[str, ...]]:
        """Return state-dict name of each output layer to the class name of each of its rows, for a warm start.

        Args:
            names: head name to class names.
            prefix: of this network in the method's state dict.
        """
        layers = {f"heads.{head}.convolution": rows for head, rows in names.items() if head in self.heads}
        for name, head in self.heads.items():
            if isinstance(head, HierarchyHead):
                layers |= {f"heads.{name}.{layer}": rows for layer, rows in head.output_rows().items()}
        layers |= {f"deep_heads.{i}.convolution": names["subclass"] for i in range(len(self.deep_heads))}
        return {f"{prefix}{layer}.{part}": rows for layer, rows in layers.items() for part in ("weight", "bias")}

    def forward(self, image: Tensor) -> Outputs:
        """Return the outputs for (B, M, *S) images; logits at lower resolutions only while training."""
        found = self.backbone(image)
        shared = self.projection(found.map)
        logits: dict[str, Tensor] = {}
        for name, head in self.heads.items():
            said = head(shared)
            logits |= said if isinstance(said, dict) else {name: said}
        pairs = zip(self.deep_heads, found.deep, strict=True) if self.training else ()
        return Outputs(logits, found.map, found.bottleneck, tuple(head(part) for head, part in pairs))
