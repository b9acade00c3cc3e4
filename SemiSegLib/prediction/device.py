"""The device and precision that a name stands for."""

from __future__ import annotations

import functools
import logging
import time

import torch
from torch.nn import functional

from SemiSegLib.config import check_choice
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.planning.memory import is_out_of_memory

logger = logging.getLogger(__name__)

PRECISIONS = ("auto", "fp32", "bf16", "fp16")
TRIAL_SHAPE = (1, 8, 32, 48, 48)


def try_device(name: str) -> float:
    """Compute a 3-D convolution and its gradient on a device and return the milliseconds that it took.

    Raises:
        RuntimeError: it cannot: torch also finds cards that its build has no kernels for.
        NotImplementedError: it has no such operation.
    """
    milliseconds = 0.0
    with torch.inference_mode(False), torch.enable_grad():
        image = torch.ones(TRIAL_SHAPE, device=name, requires_grad=True)
        kernel = torch.full((16, TRIAL_SHAPE[1], 3, 3, 3), 0.01, device=name)
        for _ in range(3):
            start = time.perf_counter()
            # .item() waits for the device, so that the time is of the work and not of its start.
            (gradient,) = torch.autograd.grad(functional.conv3d(image, kernel, padding=1).square().mean(), image)
            gradient.sum().item()
            milliseconds = 1000 * (time.perf_counter() - start)
    return milliseconds


@functools.cache
def _works(name: str) -> bool:
    """Return whether a device that torch finds can compute, as ``try_device`` finds out; told once if not."""
    try:
        try_device(name)
    except (RuntimeError, NotImplementedError) as error:
        if is_out_of_memory(error):
            # It works, for somebody else; what is asked for here may say so with numbers.
            return True
        logger.warning("%s is there but does not work, so it is not used: %s", name, str(error).splitlines()[0])
        return False
    return True


def pick_device(name: str | torch.device) -> torch.device:
    """Return the device; "auto" takes the first of CUDA, Apple's MPS and the CPU that works.

    Raises:
        ConfigError: the name is not a device, or the machine has no such device. Nothing falls back silently.
    """
    text = str(name)
    kind = text.split(":")[0]
    check_choice("device", kind, ("auto", "cpu", "cuda", "mps"))
    found = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        cards = ["cuda", *(f"cuda:{number}" for number in range(1, torch.cuda.device_count()))] if found["cuda"] else []
        others = [*cards, *(["mps"] if found["mps"] else [])]
        return torch.device(next((other for other in others if _works(other)), "cpu"))
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
