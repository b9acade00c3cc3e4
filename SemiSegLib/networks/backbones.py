"""One factory for every backbone."""

from __future__ import annotations

from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.networks import basic_unet, dodnet_unet, paper_unet, plan_unet, transformers, vnet
from SemiSegLib.networks.backbone import BACKBONES, Backbone, Shape
from SemiSegLib.planning.plan import NetworkPlan

# Importing a file registers its backbones; this tuple is what the imports are for.
FILES = (basic_unet, dodnet_unet, paper_unet, plan_unet, transformers, vnet)


def build_backbone(
    plan: NetworkPlan, *, in_channels: int, dimensions: int, patch: tuple[int, ...], raw_map: bool = False
) -> Backbone:
    """Return a freshly initialized backbone.

    Args:
        plan: names the backbone and gives its shape; networks of a paper have their own and use only its name.
        in_channels: image channels.
        dimensions: 2 or 3.
        patch: training patch, voxels per axis.
        raw_map: leave the last block of the feature map without norm and rectifier, for heads that bring their own.

    Raises:
        ConfigError: no backbone has this name, the plan does not fit it, or it has no raw map.
    """
    make = BACKBONES[plan.backbone]
    if raw_map and not getattr(make, "offers_raw_map", False):
        able = ", ".join(name for name in BACKBONES if getattr(BACKBONES[name], "offers_raw_map", False))
        raise ConfigError(
            explain(
                f"the backbone '{plan.backbone}' cannot leave its last block without a norm",
                where="network of a head with separate normalization",
                remedy=f"choose one of {able}, or switch separate normalization off",
            )
        )
    built = make(Shape(plan=plan, channels=in_channels, dimensions=dimensions, patch=patch, raw_map=raw_map))
    built.quick_heads = plan.quick_heads
    return built
