"""What a plan must know of the backbones whose shape it does not decide: divisor, memory, work, and what is theirs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.runs.request import PlanSettings

# Swin UNETR's attention heads (3, 6, 12, 24) divide its widths only if the first is a multiple of 12; MONAI's is 24.
SWIN_STEP, SWIN_WIDTH = 12, 24


@dataclass(frozen=True, kw_only=True)
class FixedBackbone:
    """One backbone; numbers per voxel are of one row, forward, and hold for every patch it divides to a few percent.

    Attributes:
        divisor: patches are best divisible by this.
        step_bytes: of memory that a training step takes per patch voxel and row.
        million_weights: that take memory.
        multiply_adds: per patch voxel, for 2 and 3 dimensions: what to multiply with 1, width and width squared.
        outputs: values that convolutions and linear layers put out per patch voxel, likewise.
        own: plan settings that do not shape it, with what it has instead. The dropout of paper_unet and vnet is theirs
            too, but stays as it is whatever a plan says, see ``PlanSettings.dropout``.
    """

    divisor: int
    step_bytes: float
    million_weights: float
    multiply_adds: Mapping[int, Sequence[float]]
    outputs: Mapping[int, Sequence[float]]
    own: Mapping[str, object]


# Memory was measured as that of planned networks was, see planning/memory.py; DoDNet's 17.3 million weights have
# standardized copies. The work was counted on the networks; a test counts it again.
FIXED_BACKBONES = {
    "paper_unet": FixedBackbone(
        divisor=16,
        step_bytes=2700.0,
        million_weights=5.9,
        multiply_adds={2: (53_100,), 3: (68_900,)},
        outputs={2: (122,), 3: (85,)},
        own={"features": (16, 32, 64, 128, 256), "norm": "batch", "deep_supervision": 0},
    ),
    "vnet": FixedBackbone(
        divisor=16,
        step_bytes=2350.0,
        million_weights=9.5,
        multiply_adds={2: (50_300,), 3: (39_900,)},
        outputs={2: (148,), 3: (82,)},
        own={"features": (16, 32, 64, 128, 256), "norm": "batch", "deep_supervision": 0},
    ),
    "basic_unet": FixedBackbone(
        divisor=16,
        step_bytes=4000.0,
        million_weights=5.8,
        multiply_adds={2: (75_400,), 3: (142_500,)},
        outputs={2: (232,), 3: (186,)},
        own={"features": (32, 32, 64, 128, 256, 32), "deep_supervision": 0},
    ),
    "dodnet_unet": FixedBackbone(
        divisor=16,
        step_bytes=4000.0,
        million_weights=28.0,
        multiply_adds={2: (167_500,), 3: (216_900,)},
        outputs={2: (348,), 3: (229,)},
        own={"features": (32, 64, 128, 256, 256), "norm": "group", "deep_supervision": 0, "dropout": 0.0},
    ),
    "unetr": FixedBackbone(
        divisor=16,
        step_bytes=2100.0,
        million_weights=92.7,
        multiply_adds={2: (351_000, 274, 173.8), 3: (22_500, 61, 230.8)},
        outputs={2: (327, 13.3), 3: (20.5, 9.37)},
        own={"deep_supervision": 0},
    ),
    "swin_unetr": FixedBackbone(
        divisor=32,
        step_bytes=7500.0,
        million_weights=15.7,
        multiply_adds={2: (0, 118, 116.4), 3: (0, 298, 149.8)},
        outputs={2: (0, 19.3), 3: (0, 11.4)},
        own={"deep_supervision": 0},
    ),
}


def require_heeded(settings: PlanSettings) -> None:
    """Refuse what a person fixed of the plan and the backbone would not heed; what it has anyway may be said.

    Raises:
        ConfigError: the backbone has another value of its own, or would take another width.
    """
    fixed = FIXED_BACKBONES.get(settings.backbone or "")
    if fixed is None:
        return
    for name, own in fixed.own.items():
        asked = getattr(settings, name)
        if asked is not None and asked != own:
            raise _not_heeded(settings, name, f"is {asked}", f"always has {own}")
    if "features" not in fixed.own and settings.features is not None:
        width = width_of(str(settings.backbone), settings.features)
        if width != settings.features[0]:
            raise _not_heeded(settings, "features", f"begins with {settings.features[0]}", f"would take {width}")


def width_of(backbone: str, features: Sequence[int]) -> int:
    """Return the width of a backbone's first stage for the plan's features; only transformers heed them."""
    first = features[0]
    return SWIN_WIDTH if backbone == "swin_unetr" and first % SWIN_STEP else first


def per_voxel(factors: Sequence[float], width: int) -> float:
    """Return a number per voxel from what is multiplied with 1, width and width squared."""
    return float(sum(factor * width**power for power, factor in enumerate(factors)))


def _not_heeded(settings: PlanSettings, name: str, asked: str, found: str) -> ConfigError:
    return ConfigError(
        explain(
            f"{name} {asked}, and the backbone '{settings.backbone}' {found}",
            where=f"plan settings: {name}",
            remedy=f"leave {name} out (null where a preset gives it), or take a backbone that heeds it: plan_unet does",
        )
    )
