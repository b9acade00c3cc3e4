"""The plan: everything about data and network shape that prediction must repeat exactly."""

from __future__ import annotations

from dataclasses import dataclass, field

from SemiSegLib.config import YOUNGER, check_choice, check_range
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.runs.request import NORMALIZATIONS


@dataclass(frozen=True, kw_only=True)
class ChannelPlan:
    """How one channel is brought to the network's range.

    Attributes:
        role: channel role.
        normalization: "zscore" (per image), "zscore_nonzero" (the same over the voxels that are not exactly 0,
            which stay 0: skull-stripped or otherwise blanked images), "ct" (clip to low..high, then subtract mean,
            divide by deviation, all of the training foreground) or "unit" (per image to 0..1, papers 000 and 003's
            readers).
        low, high, mean, deviation: intensities used by "ct".
    """

    role: str
    normalization: str = "zscore"
    low: float = 0.0
    high: float = 1.0
    mean: float = 0.0
    deviation: float = 1.0

    def __post_init__(self) -> None:
        check_choice("normalization", self.normalization, NORMALIZATIONS)


@dataclass(frozen=True, kw_only=True)
class NetworkPlan:
    """The shape of the network.

    Attributes:
        backbone: registered backbone name.
        features: channels of each stage, highest resolution first.
        strides: downsampling of each stage after the first, per axis; one fewer than ``features``.
        kernels: convolution size of each stage, per axis.
        stem_stride: downsampling before the first stage, per axis; 1 keeps full resolution.
        blocks: convolutions per stage, each with norm and activation; two make a residual block.
        norm: "instance", "batch" or "group".
        residual: residual blocks instead of plain ones.
        deep_supervision: number of lower resolutions that also get the supervised loss; 0 is none.
        dropout: probability, 0 to 1.
        quick_heads: let heads of few features learn as quickly as those of 64 (ours); papers have plain ones.
        made_for: patch that the weights were made for, where a lack of memory has cut the plan's since; None is the
            plan's. UNETR has a weight for each of its places.
    """

    backbone: str = "plan_unet"
    features: tuple[int, ...] = (16, 32, 64, 128, 256)
    strides: tuple[tuple[int, ...], ...] = ((2, 2, 2),) * 4
    kernels: tuple[tuple[int, ...], ...] = ((3, 3, 3),) * 5
    stem_stride: tuple[int, ...] = (1, 1, 1)
    blocks: int = 2
    norm: str = "instance"
    residual: bool = True
    deep_supervision: int = 0
    dropout: float = 0.0
    quick_heads: bool = field(default=False, metadata={YOUNGER: True})
    made_for: tuple[int, ...] | None = field(default=None, metadata={YOUNGER: True})

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, ("instance", "batch", "group"))
        check_range("dropout", self.dropout, low=0.0, high=1.0)
        if len(self.strides) != len(self.features) - 1 or len(self.kernels) != len(self.features):
            raise ConfigError(
                explain(
                    f"{len(self.features)} stages with {len(self.strides)} strides and {len(self.kernels)} kernels",
                    where="network plan",
                    remedy="give one stride fewer than stages and one kernel per stage",
                )
            )


def has_quick_heads(backbone: str) -> bool:
    """Return whether heads on a newly planned backbone are quick: on the planned network, not on those of papers."""
    return backbone == "plan_unet"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Data and network plan of a study.

    Axes are plan axes: the canonical array axes (D, H, W point to superior, posterior, left) reordered so that a
    much thicker one comes first.

    Attributes:
        dimensions: 2 (each slice along the first plan axis is an image) or 3.
        channels: one per channel, in network order.
        axis_order: for each plan axis the canonical array axis it is.
        spacing_mm: of the plan grid, per plan axis; 0 means "as in the image" (2-D plans, first axis).
        patch: voxels, one per network axis (3, or 2 for a 2-D plan).
        batch: rows of a training batch.
        network: network shape.
        median_shape: median image shape on the plan grid, for reports.
    """

    dimensions: int
    channels: tuple[ChannelPlan, ...]
    axis_order: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    patch: tuple[int, ...]
    batch: int
    network: NetworkPlan
    median_shape: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if self.dimensions not in (2, 3) or len(self.patch) != self.dimensions:
            raise ConfigError(
                explain(
                    f"{self.dimensions} dimensions with a patch of {len(self.patch)} axes",
                    where="plan",
                    remedy="use 2 or 3 dimensions and one patch size per axis",
                )
            )
        check_range("batch", self.batch, low=1, high=4096)

    @property
    def patch_spacing_mm(self) -> tuple[float, ...]:
        """Spacing along the axes of a patch: all of them, or those of a slice in 2-D."""
        return self.spacing_mm[-self.dimensions :]
