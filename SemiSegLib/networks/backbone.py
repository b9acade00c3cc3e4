"""The contract of a backbone: from an image of any size to a feature map of the same size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, prod

from torch import Tensor, nn
from torch.nn import functional

from SemiSegLib.errors import ShapeError, explain
from SemiSegLib.planning.plan import NetworkPlan
from SemiSegLib.registry import Registry


@dataclass(frozen=True)
class Features:
    """What a backbone sees in an image.

    Attributes:
        map: (B, F, *S), at the resolution of the image.
        bottleneck: (B, Fb, *), at the lowest resolution, padding included.
        deep: maps at lower resolutions, (B, Fi, *Si), finest first; Si is S divided by the stride, rounded up.
    """

    map: Tensor
    bottleneck: Tensor
    deep: tuple[Tensor, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a backbone is built for.

    Attributes:
        plan: network plan.
        channels: image channels.
        dimensions: 2 or 3.
        patch: training patch, voxels per axis.
        raw_map: leave the last block of the feature map without norm and rectifier, for heads that bring their own.
    """

    plan: NetworkPlan
    channels: int
    dimensions: int
    patch: tuple[int, ...]
    raw_map: bool = False


class Backbone(nn.Module, ABC):
    """Image in, features out; pads to a multiple of ``divisor`` and crops back, so every size works.

    The image is padded by 0 at the end of each axis, which is also how a patch larger than a volume is padded: after
    the intensity normalization. So voxel i of a map of stride s lies over voxel i * s of the image.

    Attributes:
        channels: of the image.
        feature_channels: F of ``Features.map``.
        bottleneck_channels: Fb of ``Features.bottleneck``.
        deep_channels: Fi of each map of ``Features.deep``.
        deep_strides: downsampling of each of them, per axis.
        divisor: what the inner size is a multiple of, per axis.
        quick_heads: heads on it are to be quick, see ``LinearHead``.
        offers_raw_map: it can leave the last block of its feature map without norm and rectifier.
    """

    channels: int
    feature_channels: int
    bottleneck_channels: int
    deep_channels: tuple[int, ...] = ()
    deep_strides: tuple[tuple[int, ...], ...] = ()
    divisor: tuple[int, ...]
    quick_heads: bool = False
    offers_raw_map: bool = False

    @abstractmethod
    def extract(self, image: Tensor) -> Features:
        """Return features of an image whose size is a multiple of the divisor."""

    def forward(self, image: Tensor) -> Features:
        """Return features of (B, M, *S) images.

        Raises:
            ShapeError: the image has the wrong number of axes or channels, or no voxel.
        """
        self._check(image)
        size = tuple(image.shape[2:])
        missing = [whole - part for whole, part in zip(padded_size(size, self.divisor), size, strict=True)]
        if not any(missing):
            return self.extract(image)
        found = self.extract(functional.pad(image, [side for extra in reversed(missing) for side in (0, extra)]))
        deep = [
            _crop(part, [ceil(n / s) for n, s in zip(size, stride, strict=True)])
            for part, stride in zip(found.deep, self.deep_strides, strict=True)
        ]
        return Features(_crop(found.map, size), found.bottleneck, tuple(deep))

    def _check(self, image: Tensor) -> None:
        dimensions = len(self.divisor)
        if image.ndim != dimensions + 2 or image.shape[1] != self.channels or image.numel() == 0:
            raise ShapeError(
                explain(
                    f"an image tensor of shape {tuple(image.shape)} for a {dimensions}-D network of {self.channels} "
                    "channels",
                    where="network input",
                    remedy="pass (rows, channels, *voxels) with the channels of the training, in the same order",
                )
            )


def padded_size(size: Sequence[int], divisor: Sequence[int]) -> tuple[int, ...]:
    """Return the smallest size that is a multiple of the divisor and leaves two voxels at the bottleneck.

    A norm over one voxel is not defined, so an image that would shrink to one is padded by one more divisor.
    """
    parts = [ceil(n / d) for n, d in zip(size, divisor, strict=True)]
    if prod(parts) == 1:
        parts[-1] = 2
    return tuple(n * d for n, d in zip(parts, divisor, strict=True))


def _crop(image: Tensor, size: Sequence[int]) -> Tensor:
    for axis, length in enumerate(size):
        image = image.narrow(axis + 2, 0, length)
    return image


BACKBONES: Registry[Callable[[Shape], Backbone]] = Registry("backbone")
