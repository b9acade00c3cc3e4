"""How the numbers are computed: device, precision, memory format and threads, and what keeps bf16 honest on a CPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from SemiSegLib.batches.batch import Batch
from SemiSegLib.config import from_json
from SemiSegLib.errors import TrainingError, explain
from SemiSegLib.networks.dodnet_unet import Standardized
from SemiSegLib.runs.request import TrainingSettings

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}
# What oneDNN in torch 2.13 cannot do in bf16: the weight gradient of a convolution whose input or output has
# - fewer than 3 voxels along the last axis, with a stride too: it reads memory that was never written (values to 1e37);
# - fewer along another axis than a kernel whose windows overlap, such as 3 x 3 x 3 over 2 slices: it takes in numbers
#   that are none and writes beyond its memory, which ends the process then or much later.
# Such maps are small: fp32 is nearly free.
SMALLEST_BF16_WIDTH = 4
# Every module that calls a convolution: the last one keeps its layer for the weights and never calls it.
CONVOLVING = (nn.modules.conv._ConvNd, Standardized)


@dataclass(frozen=True, kw_only=True)
class Compute:
    """How a training computes; recorded, so that a resumed run computes in the same way.

    Attributes:
        device: torch device.
        precision: "fp32", "bf16" or "fp16".
        channels_last: memory format of images and convolution weights.
        threads: CPU threads.
    """

    device: str
    precision: str = "fp32"
    channels_last: bool = False
    threads: int = 1

    @property
    def words(self) -> str:
        """The setting in words, for people."""
        layout = "channels last" if self.channels_last else "channels first"
        threads = f", {self.threads} thread{'s' if self.threads > 1 else ''}" if self.device == "cpu" else ""
        return f"{self.device} {self.precision}, {layout}{threads}"

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which losses are computed."""
        kind = torch.device(self.device).type
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(kind, AUTOCAST[self.precision])

    def place(self, batch: Batch) -> Batch:
        """Return the batch on the device and in the memory format."""
        image = batch.image.to(self.device, memory_format=self.memory_format(batch.image.ndim))
        return replace(
            batch,
            image=image,
            codes=batch.codes.to(self.device),
            label_sets=batch.label_sets.to(self.device),
            maps={name: value.to(self.device) for name, value in batch.maps.items()},
            case_codes=None if batch.case_codes is None else batch.case_codes.to(self.device),
        )

    def place_method(self, method: nn.Module) -> None:
        """Move a method to the device and its convolution weights into the memory format, in place."""
        method.to(self.device)
        for parameter in method.parameters():
            if parameter.ndim in (4, 5):
                parameter.data = parameter.data.contiguous(memory_format=self.memory_format(parameter.ndim))

    def memory_format(self, ndim: int) -> torch.memory_format:
        """Return the memory format of a tensor of so many axes."""
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        return formats.get(ndim, torch.contiguous_format) if self.channels_last else torch.contiguous_format


def settled_choice(
    settings: TrainingSettings, device: torch.device, recorded: Mapping[str, Any] | None
) -> tuple[Compute, bool]:
    """Return the setting to start with, and whether it is settled: recorded by an earlier session, or fixed.

    Args:
        settings: what a person fixed; this comes first.
        device: torch device.
        recorded: the setting of an earlier session as JSON data, or None.
    """
    plain = _plain_choice(settings, device)
    if recorded is not None and torch.device(recorded["device"]).type == device.type:
        before = from_json(Compute, dict(recorded), where="checkpoint: compute")
        again = replace(
            plain,
            precision=before.precision if settings.precision == "auto" else plain.precision,
            channels_last=before.channels_last if settings.channels_last is None else plain.channels_last,
            threads=before.threads if settings.threads is None else plain.threads,
        )
        return again, True
    is_fixed = settings.channels_last is not None
    if device.type == "cpu":
        is_fixed = is_fixed and settings.precision != "auto" and settings.threads is not None
    return plain, is_fixed or settings.deterministic or device.type == "mps"


def _plain_choice(settings: TrainingSettings, device: torch.device) -> Compute:
    """Return what is fixed, and the safe or usual value of what is not."""
    precision = settings.precision
    if precision == "auto":
        precision = _gpu_precision(device) if device.type == "cuda" else "fp32"
    if device.type in ("cpu", "mps") and precision == "fp16":
        raise TrainingError(
            explain(
                f"fp16 is not trained on the device '{device.type}'",
                where="training settings: precision",
                remedy="choose 'auto', 'bf16' or 'fp32'",
            )
        )
    return Compute(
        device=str(device),
        precision=precision,
        channels_last=bool(settings.channels_last),
        threads=settings.threads or torch.get_num_threads(),
    )


@contextlib.contextmanager
def set_threads(count: int) -> Iterator[None]:
    """Use so many CPU threads for the length of a ``with`` block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def fp32_where_tiny(method: nn.Module, compute: Compute) -> Iterator[None]:
    """Compute convolutions from or to very small maps in fp32 while bf16 is used on a CPU; see SMALLEST_BF16_WIDTH."""
    if compute.precision != "bf16" or torch.device(compute.device).type != "cpu":
        yield
        return
    guards = [_TinyGuard(module) for module in method.modules() if isinstance(module, CONVOLVING)]
    try:
        yield
    finally:
        for guard in guards:
            guard.remove()


class _TinyGuard:
    """Two hooks that switch autocast off around one convolution if its input or its output is tiny."""

    def __init__(self, module: nn.Module) -> None:
        self._contexts: list[contextlib.AbstractContextManager[Any]] = []
        self._handles: list[RemovableHandle] = [
            module.register_forward_pre_hook(self._before),
            module.register_forward_hook(self._after, always_call=True),
        ]

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def _before(self, module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        is_tiny = _is_tiny(module, arguments[0].shape[2:])
        context = torch.autocast("cpu", enabled=False) if is_tiny else contextlib.nullcontext()
        context.__enter__()
        self._contexts.append(context)
        return (arguments[0].float(), *arguments[1:]) if is_tiny else arguments

    def _after(self, module: nn.Module, arguments: tuple[Tensor, ...], result: Tensor) -> None:
        self._contexts.pop().__exit__(None, None, None)


def _is_tiny(module: nn.Module, shape: Sequence[int]) -> bool:
    """Return whether what a convolution sees, an image of a shape, or what it makes of it is too small for bf16."""
    layer = module
    if isinstance(module, Standardized):
        shape, layer = [-(-n // step) for n, step in zip(shape, module.steps, strict=True)], module.layer
    assert isinstance(layer, nn.modules.conv._ConvNd), "hooks sit on nothing else"
    smallest = [min(n, _made(layer, axis, n)) for axis, n in enumerate(shape)]
    if smallest[-1] < SMALLEST_BF16_WIDTH:
        return True
    windows = zip(smallest[:-1], layer.kernel_size, layer.stride, strict=False)
    return any(n < kernel for n, kernel, stride in windows if kernel > stride)


def _made(layer: nn.modules.conv._ConvNd, axis: int, extent: int) -> int:
    """Return the voxels along an axis that a convolution makes of so many; for a transposed one, those it sees."""
    if layer.transposed:
        return extent
    # What torch itself pads by, whether the padding was given in voxels or by name; the last axis comes first.
    first = 2 * (len(layer.kernel_size) - 1 - axis)
    padded = extent + sum(layer._reversed_padding_repeated_twice[first : first + 2])
    return (padded - layer.dilation[axis] * (layer.kernel_size[axis] - 1) - 1) // layer.stride[axis] + 1


def _gpu_precision(device: torch.device) -> str:
    # Cards before Ampere (8.0) emulate bf16, which is slower than fp32 there.
    return "bf16" if torch.cuda.get_device_capability(device)[0] >= 8 else "fp16"
