"""What a plan must know of the backbones whose shape it does not decide: divisor, memory and work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """

    divisor: int
    step_bytes: float
    million_weights: float
    multiply_adds: Mapping[int, Sequence[float]]
    outputs: Mapping[int, Sequence[float]]


# Memory was measured as that of planned networks was, see planning/memory.py; DoDNet's 17.3 million weights have
# standardized copies. The work was counted on the networks; a test counts it again.
FIXED_BACKBONES = {
    "paper_unet": FixedBackbone(
        divisor=16,
        step_bytes=2700.0,
        million_weights=5.9,
        multiply_adds={2: (53_100,), 3: (68_900,)},
        outputs={2: (122,), 3: (85,)},
    ),
    "vnet": FixedBackbone(
        divisor=16,
        step_bytes=2350.0,
        million_weights=9.5,
        multiply_adds={2: (50_300,), 3: (39_900,)},
        outputs={2: (148,), 3: (82,)},
    ),
    "basic_unet": FixedBackbone(
        divisor=16,
        step_bytes=4000.0,
        million_weights=5.8,
        multiply_adds={2: (75_400,), 3: (142_500,)},
        outputs={2: (232,), 3: (186,)},
    ),
    "dodnet_unet": FixedBackbone(
        divisor=16,
        step_bytes=4000.0,
        million_weights=28.0,
        multiply_adds={2: (167_500,), 3: (216_900,)},
        outputs={2: (348,), 3: (229,)},
    ),
    "unetr": FixedBackbone(
        divisor=16,
        step_bytes=2100.0,
        million_weights=92.7,
        multiply_adds={2: (351_000, 274, 173.8), 3: (22_500, 61, 230.8)},
        outputs={2: (327, 13.3), 3: (20.5, 9.37)},
    ),
    "swin_unetr": FixedBackbone(
        divisor=32,
        step_bytes=7500.0,
        million_weights=15.7,
        multiply_adds={2: (0, 118, 116.4), 3: (0, 298, 149.8)},
        outputs={2: (0, 19.3), 3: (0, 11.4)},
    ),
}


def width_of(backbone: str, features: Sequence[int]) -> int:
    """Return the width of a backbone's first stage for the plan's features; only transformers heed them."""
    first = features[0]
    return SWIN_WIDTH if backbone == "swin_unetr" and first % SWIN_STEP else first


def per_voxel(factors: Sequence[float], width: int) -> float:
    """Return a number per voxel from what is multiplied with 1, width and width squared."""
    return float(sum(factor * width**power for power, factor in enumerate(factors)))
