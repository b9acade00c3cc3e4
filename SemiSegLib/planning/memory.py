"""How much memory a training step needs, and how much there is."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch

from SemiSegLib.planning.cost import BYTES_PER_WEIGHT, GIB, unet_layers
from SemiSegLib.planning.fixed_backbones import FIXED_BACKBONES
from SemiSegLib.planning.plan import Plan

# Taken where the system does not tell how much is free.
ASSUMED_FREE_GIB = 8.0
# Bytes at the peak of a step per value that a convolution puts out: itself, its normalized copy, and what the backward
# pass holds of both. Fitted to the peak of 5 planned U-Nets of 2-D and 3-D on a CPU (float32, 0.23 to 0.68 GiB, largest
# error 14 %); Testing/benchmarks/memory_cost.py measures it again.
BYTES_PER_VALUE = 15.6
# The same per patch voxel, row and structure that a method answers by itself: two hidden maps of 8 channels, the logit,
# and what labels say of it. Fitted to dynamic heads of 4 to 40 structures in 2-D and 3-D (0.30 to 1.3 GiB, largest
# error 8 %); memory_cost.py measures it too.
BYTES_PER_STRUCTURE = 165.0
# Code that the first step loads and compiles.
OVERHEAD_GIB = 0.09
# What errors say that have no class of their own: those of the allocators of the CPU and of Apple's GPU.
OUT_OF_MEMORY_WORDS = ("out of memory", "can't allocate memory", "DefaultCPUAllocator", "not enough memory")


def estimate_memory_gib(plan: Plan, *, classes: int = 8, structures: int = 0, graphs: int = 1) -> float:
    """Return the estimated memory of one training step in GiB: activations, weights, gradients and Adam's moments.

    It is that of the networks whose graphs are held at once; others, such as a teacher, add their weights.

    Args:
        plan: of the study.
        classes: output channels.
        structures: that the method answers one by one, each with maps of its own at full resolution.
        graphs: networks whose activations a step holds at once, see ``methods.catalogue.graphs_at_once``.
    """
    if plan.network.backbone in FIXED_BACKBONES:
        fixed = FIXED_BACKBONES[plan.network.backbone]
        activations, weights = math.prod(plan.patch) * fixed.step_bytes, fixed.million_weights * 1e6
    else:
        layers = unet_layers(plan, classes=classes)
        activations = BYTES_PER_VALUE * sum(layer.voxels * layer.features for layer in layers)
        weights = sum(layer.weights for layer in layers)
    activations += BYTES_PER_STRUCTURE * structures * math.prod(plan.patch)
    return OVERHEAD_GIB + graphs * (plan.batch * activations + BYTES_PER_WEIGHT * weights) / GIB


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that the memory of a device or of the computer did not suffice."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY_WORDS)


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
