"""Which structures an image holds: a classifier of images, and what it says of the ROIs of a study.

Source: the ROI-aware network of paper 002 (methods for latent classes), a 3-D ResNet-18 with a sigmoid for every class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from monai.networks.nets.resnet import resnet18
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.networks.layers import exchange_strided_pointwise

GROUPS = 8


@dataclass(frozen=True, kw_only=True)
class PresenceShape:
    """The shape of a presence network.

    Attributes:
        classes: names of the outputs.
        channels: M of its images.
        dimensions: 2 or 3.
        width: channels relative to ResNet-18.
        stem_stride: of the first convolution.
        norm: "group" or "batch".
    """

    classes: tuple[str, ...]
    channels: int
    dimensions: int
    width: float = 1.0
    stem_stride: int = 1
    norm: str = "group"

    def __post_init__(self) -> None:
        if not self.classes or len(set(self.classes)) != len(self.classes):
            raise ConfigError(
                explain("a class is named twice, or there is none", where="presence network", remedy="name each once")
            )
        check_range("channels", self.channels, low=1, high=1024)
        check_range("dimensions", self.dimensions, low=2, high=3)
        check_range("width", self.width, low=0.125, high=4.0)
        check_range("stem_stride", self.stem_stride, low=1, high=4)
        check_choice("norm", self.norm, ("group", "batch"))


@dataclass(frozen=True, kw_only=True)
class PresenceDescription:
    """All that must be known to build a ``PresenceModel``; plain data for a model file.

    Attributes:
        shape: of the network.
        classes_of: ROI, in the order of ``RoiTable``, to the classes of which the likeliest decides.
    """

    shape: PresenceShape
    classes_of: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        for roi, names in self.classes_of.items():
            for name in names:
                check_choice(f"class of {roi}", name, self.shape.classes)


class PresenceNetwork(nn.Module):
    """ResNet-18 with one output per class.

    MONAI's ``norm`` reaches the first convolution alone (1.6.1): the blocks always get batch normalization. So it is
    exchanged here.

    Args:
        shape: of the network.
    """

    def __init__(self, shape: PresenceShape) -> None:
        super().__init__()
        self.shape = shape
        self.body = resnet18(
            spatial_dims=shape.dimensions,
            n_input_channels=shape.channels,
            num_classes=len(shape.classes),
            widen_factor=shape.width,
            conv1_t_stride=shape.stem_stride,
        )
        exchange_strided_pointwise(self.body)
        if shape.norm == "group":
            _exchange_norms(self.body)

    def forward(self, image: Tensor) -> Tensor:
        """Return (B, C) float32 logits of (B, M, *S) images of any size."""
        logits: Tensor = self.body(image)
        return logits.float()


class PresenceModel(nn.Module):
    """A trained presence network that answers for the ROIs of a study. Nothing of it is trained any more.

    Args:
        description: of the network and of how its classes belong to ROIs.
    """

    temperature: Tensor
    decides: Tensor

    def __init__(self, description: PresenceDescription) -> None:
        super().__init__()
        self.description = description
        classes = description.shape.classes
        self.network = PresenceNetwork(description.shape)
        self.register_buffer("temperature", torch.ones(len(classes)))
        decides = [[name in chosen for name in classes] for chosen in description.classes_of.values()]
        self.register_buffer("decides", torch.tensor(decides, dtype=torch.bool))
        self.requires_grad_(False)
        self.eval()

    @property
    def rois(self) -> tuple[str, ...]:
        """Names of the ROIs, in the order of the result."""
        return tuple(self.description.classes_of)

    def train(self, mode: bool = True) -> PresenceModel:
        """Stay as it is: running statistics must not move when the method around it is trained."""
        del mode
        super().train(False)
        return self

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        r"""Return the calibrated probability that each image holds each ROI.

            p_k = max over the classes c of ROI k of sigmoid(z_c / T_c)

        Args:
            image: (B, M, *S), patches as the network was trained on.

        Returns:
            (B, K) float32, 0 to 1.
        """
        probability = torch.sigmoid(self.network(image) / self.temperature.float())
        return torch.where(self.decides, probability[:, None, :], 0.0).amax(-1)


def _exchange_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, _BatchNorm):
            setattr(module, name, nn.GroupNorm(_groups(child.num_features), child.num_features))
        else:
            _exchange_norms(child)


def _groups(channels: int) -> int:
    return next(count for count in range(min(GROUPS, channels), 0, -1) if channels % count == 0)
