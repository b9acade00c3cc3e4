"""One forward pass over some windows: mirrored copies, reduced precision, too little memory, broken output."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from SemiSegLib.errors import CaseError, RunError, ShapeError, explain
from SemiSegLib.methods.method import Method
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
        result = self._within_memory(image, self.reduced)
        if self.reduced is not None and not torch.isfinite(result).all():
            # Half precision overflows above 65,504; the same window may be fine in float32.
            result = self._within_memory(image, None)
        if not torch.isfinite(result).all():
            raise CaseError(
                explain(
                    f"the network's output is not a finite number at {int((~torch.isfinite(result)).sum())} places",
                    where="prediction",
                    remedy="check the intensities of the scan; if other scans fail too, train the model again",
                )
            )
        return result

    def _within_memory(self, image: Tensor, reduced: torch.dtype | None) -> Tensor:
        try:
            return self._mirrored(image, reduced)
        except torch.cuda.OutOfMemoryError as error:
            if len(image) == 1:
                raise RunError(
                    explain(
                        f"one window of {' x '.join(str(n) for n in image.shape[2:])} voxels does not fit into memory",
                        where=f"device {self.device}",
                        remedy="close other programs that use the GPU, or choose the device 'cpu'",
                    )
                ) from error
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        half = len(image) // 2
        return torch.cat([self._within_memory(part, reduced) for part in (image[:half], image[half:])])

    def _mirrored(self, image: Tensor, reduced: torch.dtype | None) -> Tensor:
        total = self._once(image, reduced)
        for flip in self.flips[1:]:
            axes = [axis + 2 for axis in flip]
            total += self._once(image.flip(axes), reduced).flip(axes)
        return total / len(self.flips)

    def _once(self, image: Tensor, reduced: torch.dtype | None) -> Tensor:
        with torch.autocast(self.device.type, dtype=reduced or torch.bfloat16, enabled=reduced is not None):
            probability = self.method.predict(image)
            own = self.method.uncertainty(image) if self.has_uncertainty else None
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
