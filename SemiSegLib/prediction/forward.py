"""One forward pass over some windows: mirrored copies, reduced precision, too little memory, broken output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

from SemiSegLib.errors import CaseError, RunError, ShapeError, explain
from SemiSegLib.methods.method import Method
from SemiSegLib.planning.memory import is_out_of_memory
from SemiSegLib.prediction.device import reduced_precision


class Forward:
    """Evaluates a method on windows.

    Args:
        method: in evaluation mode when called.
        mirror_axes: space axes (0 first) along which copies are mirrored and averaged.
        precision: "auto", "fp32", "bf16" or "fp16".
        uncertainty: also ask for the method's uncertainty.
        device: of the method.
    """

    def __init__(
        self,
        method: Method,
        *,
        mirror_axes: Sequence[int],
        precision: str,
        uncertainty: bool,
        device: torch.device,
    ) -> None:
        self.method = method
        self.flips = [flip for size in range(len(mirror_axes) + 1) for flip in combinations(mirror_axes, size)]
        self.reduced = reduced_precision(precision, device)
        self.device = device
        self.has_uncertainty = uncertainty

    @torch.inference_mode()
    def __call__(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) float32 probabilities; with an uncertainty of the method's own (B, L + 1, *S).

        Raises:
            CaseError: a value is not finite, in float32 too.
            RunError: one window alone does not fit into memory.
        """
        return evaluated(self._mirrored, image, reduced=self.reduced, device=self.device)

    def _mirrored(self, image: Tensor) -> Tensor:
        total = self._once(image)
        for flip in self.flips[1:]:
            axes = [axis + 2 for axis in flip]
            total += self._once(image.flip(axes)).flip(axes)
        return total / len(self.flips)

    def _once(self, image: Tensor) -> Tensor:
        if self.has_uncertainty:
            probability, own = self.method.predict_with_uncertainty(image)
        else:
            probability, own = self.method.predict(image), None
        if probability.shape[0] != image.shape[0] or probability.shape[2:] != image.shape[2:]:
            raise ShapeError(
                explain(
                    f"windows of shape {tuple(image.shape)} gave probabilities of shape {tuple(probability.shape)}",
                    where=f"method {type(self.method).__name__}",
                    remedy="return one probability per leaf and voxel from predict()",
                )
            )
        self.has_uncertainty = own is not None
        values = probability.float()
        return values.clone() if own is None else torch.cat([values, own.float().unsqueeze(1)], dim=1)


def evaluated(
    compute: Callable[[Tensor], Tensor], image: Tensor, *, reduced: torch.dtype | None, device: torch.device
) -> Tensor:
    """Return what a network says of windows, in as many passes as memory demands.

    Args:
        compute: (B, M, *S) windows to (B, ...) float32; each window by itself.
        image: (B, M, *S).
        reduced: type that it runs in, or None for float32; see ``reduced_precision``.
        device: where.

    Raises:
        CaseError: a value is not finite, in float32 too.
        RunError: one window alone does not fit into memory.
    """
    result = _within_memory(compute, image, reduced, device)
    if reduced is not None and not torch.isfinite(result).all():
        # Half precision overflows above 65,504; the same window may be fine in float32.
        result = _within_memory(compute, image, None, device)
    if not torch.isfinite(result).all():
        raise CaseError(
            explain(
                f"the network's output is not a finite number at {int((~torch.isfinite(result)).sum())} places",
                where="prediction",
                remedy="check the intensities of the scan; if other scans fail too, train the model again",
            )
        )
    return result


def _within_memory(
    compute: Callable[[Tensor], Tensor], image: Tensor, reduced: torch.dtype | None, device: torch.device
) -> Tensor:
    try:
        with torch.autocast(device.type, dtype=reduced or torch.bfloat16, enabled=reduced is not None):
            return compute(image)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        if len(image) == 1:
            rest = "use a computer with more memory" if device.type == "cpu" else "choose the device 'cpu'"
            raise RunError(
                explain(
                    f"one window of {' x '.join(str(n) for n in image.shape[2:])} voxels does not fit into memory",
                    where=f"device {device}",
                    remedy=f"close other programs, or {rest}",
                )
            ) from error
    if device.type == "cuda":
        torch.cuda.empty_cache()
    half = len(image) // 2
    return torch.cat([_within_memory(compute, part, reduced, device) for part in (image[:half], image[half:])])
