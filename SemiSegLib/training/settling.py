"""What a session settles before it trains: what the CPU can do, what earlier sessions chose, whether to repeat bits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from SemiSegLib.config import from_json
from SemiSegLib.errors import TrainingError, explain
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.instructions import Bf16Support, apply_limit, try_bf16

# cuBLAS repeats its sums in the same order only with a workspace of fixed size.
WORKSPACE_VARIABLE = "CUBLAS_WORKSPACE_CONFIG"


def find_bf16_support(
    settings: TrainingSettings, device: torch.device, known: Mapping[str, Any] | None
) -> Bf16Support | None:
    """Return whether the CPU runs bf16, as found by an earlier session or now; None where it does not matter."""
    if device.type != "cpu" or settings.precision not in ("auto", "bf16") or settings.deterministic:
        return None
    return try_bf16() if known is None else from_json(Bf16Support, dict(known), where="environment.json: bf16")


def settle(
    settings: TrainingSettings,
    device: torch.device,
    *,
    support: Bf16Support | None,
    before: Mapping[str, Any] | None,
) -> TrainingSettings:
    """Return the settings with what an earlier session chose, and without bf16 where the CPU cannot do it.

    Args:
        settings: as requested; what they fix stays.
        device: of this session.
        support: what ``find_bf16_support`` returned; its limit is set for this process.
        before: ``Compute`` of an earlier session as JSON data, or None. Another kind of device chooses anew.

    Raises:
        TrainingError: bf16 is asked for and the CPU does not run it.
    """
    if support is not None:
        apply_limit(support)
        if not support.works and settings.precision == "bf16":
            raise TrainingError(
                explain(
                    "this CPU does not run bf16",
                    where="training settings: precision",
                    remedy="choose 'auto' or 'fp32'",
                )
            )
        settings = settings if support.works else replace(settings, precision="fp32")
    if before is None or torch.device(before["device"]).type != device.type:
        return settings
    return replace(
        settings,
        precision=before["precision"] if settings.precision == "auto" else settings.precision,
        channels_last=before["channels_last"] if settings.channels_last is None else settings.channels_last,
        threads=before["threads"] if settings.threads is None else settings.threads,
    )


@contextlib.contextmanager
def determinism(is_wanted: bool) -> Iterator[None]:
    """Switch to algorithms that repeat bit for bit, where there are such, for the length of a ``with`` block.

    Args:
        is_wanted: False switches to whatever is fastest instead.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    tried_out, workspace = torch.backends.cudnn.benchmark, os.environ.get(WORKSPACE_VARIABLE)
    try:
        if is_wanted and workspace is None:
            os.environ[WORKSPACE_VARIABLE] = ":4096:8"
        torch.use_deterministic_algorithms(is_wanted, warn_only=True)
        torch.backends.cudnn.benchmark = not is_wanted
        yield
    finally:
        torch.backends.cudnn.benchmark = tried_out
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        if is_wanted and workspace is None:
            os.environ.pop(WORKSPACE_VARIABLE, None)
