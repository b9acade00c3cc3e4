"""The device and precision that a name stands for."""

from __future__ import annotations

import torch

from SemiSegLib.config import check_choice
from SemiSegLib.errors import ConfigError, explain

PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def pick_device(name: str | torch.device) -> torch.device:
    """Return the device; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: the name is not a device, or the machine has no such device. Nothing falls back silently.
    """
    text = str(name)
    kind = text.split(":")[0]
    check_choice("device", kind, ("auto", "cpu", "cuda", "mps"))
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return torch.device(next(other for other in ("cuda", "mps", "cpu") if found[other]))
    index = torch.device(text).index or 0
    if not found[kind] or (kind == "cuda" and index >= torch.cuda.device_count()):
        raise ConfigError(
            explain(
                f"this computer has no device '{text}' that torch {torch.__version__} can use",
                where="device",
                remedy="choose 'cpu' or 'auto'; `semiseg doctor` says what was found",
            )
        )
    return torch.device(text)


def reduced_precision(name: str, device: torch.device) -> torch.dtype | None:
    """Return the type that a network's forward pass runs in, or None for float32.

    "auto" is fp16 on CUDA, whose rounding is eight times finer than that of bf16 and whose overflow is noticed and
    repeated in float32; elsewhere it is float32, so that one model gives one result on every computer.
    """
    check_choice("precision", name, PRECISIONS)
    if name == "auto":
        return torch.float16 if device.type == "cuda" else None
    return {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[name]
