"""How much memory a training step needs, and how much there is."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from SemiSegLib.planning.cost import BYTES_PER_WEIGHT, GIB, unet_layers
from SemiSegLib.planning.plan import Plan

# Taken where the system does not tell how much is free.
ASSUMED_FREE_GIB = 8.0
# Besides activations: bytes per activation value that gradients and the optimizer's temporaries need at the peak.
BYTES_PER_ACTIVATION = 4
KEPT_PER_LAYER = 2
# Measured once for backbones of fixed shape: activation bytes per patch voxel and row, and million weights.
FIXED_BACKBONES = {
    "paper_unet": (1400.0, 4.0),
    "vnet": (1500.0, 9.5),
    "basic_unet": (3000.0, 5.8),
    "unetr": (1600.0, 93.0),
    "swin_unetr": (9000.0, 62.0),
}


def estimate_memory_gib(plan: Plan, *, classes: int = 8) -> float:
    """Return the estimated memory of one training step in GiB: activations, weights, gradients and Adam's moments.

    A method with two networks, or with a teacher, needs more; it says so by its own factor.
    """
    if plan.network.backbone in FIXED_BACKBONES:
        per_voxel, million_weights = FIXED_BACKBONES[plan.network.backbone]
        return (math.prod(plan.patch) * plan.batch * per_voxel + million_weights * 1e6 * BYTES_PER_WEIGHT) / GIB
    layers = unet_layers(plan, classes=classes)
    kept = sum(layer.voxels * layer.features for layer in layers) * KEPT_PER_LAYER
    passing = 3 * max(layer.voxels * layer.features for layer in layers)
    weights = sum(layer.weights for layer in layers)
    return (plan.batch * BYTES_PER_ACTIVATION * (kept + passing) + BYTES_PER_WEIGHT * weights) / GIB


def free_memory_gib(device: str) -> float:
    """Return the free memory of a device ("cpu", "cuda:0", "mps") in GiB."""
    kind = torch.device(device).type
    if kind == "cuda":
        return float(torch.cuda.mem_get_info(torch.device(device))[0]) / GIB
    if kind == "mps":
        return float(torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()) / GIB
    return _free_main_memory_gib()


def _free_main_memory_gib() -> float:
    listing = Path("/proc/meminfo")
    if listing.exists():
        for line in listing.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return float(line.split()[1]) * 1024 / GIB
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        # macOS does not tell what is free through sysconf; half of what is installed usually is.
        return 0.5 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB
    return ASSUMED_FREE_GIB
