"""One factory for every backbone."""

from __future__ import annotations

from SemiSegLib.networks import basic_unet, paper_unet, plan_unet, transformers, vnet
from SemiSegLib.networks.backbone import BACKBONES, Backbone, Shape
from SemiSegLib.planning.plan import NetworkPlan

# Importing a file registers its backbones; this tuple is what the imports are for.
FILES = (basic_unet, paper_unet, plan_unet, transformers, vnet)


def build_backbone(plan: NetworkPlan, *, in_channels: int, dimensions: int, patch: tuple[int, ...]) -> Backbone:
    """Return a freshly initialized backbone.

    Args:
        plan: names the backbone and gives its shape; networks of a paper have their own and use only its name.
        in_channels: image channels.
        dimensions: 2 or 3.
        patch: training patch, voxels per axis.

    Raises:
        ConfigError: no backbone has this name, or the plan does not fit it.
    """
    return BACKBONES[plan.backbone](Shape(plan=plan, channels=in_channels, dimensions=dimensions, patch=patch))
