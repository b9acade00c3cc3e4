"""Dynamic heads: the last layers of a network, made for each ROI or task from what is known of it and of the image.

    h = C(ReLU(GN F)), 8 channels of the feature map F;     g = A mean ReLU(GN bottleneck), what the image shows
    w_k = controller([g ; e_k]);                            z_k = w_k'' ReLU(w_k' ReLU(w_k h)), three 1 x 1 convolutions

Of paper 002 and the CLIP-driven universal model (Liu et al., ICCV 2023, https://arxiv.org/abs/2301.00785): one logit
for each ROI of 64 + 64 + 8 weights and 8 + 8 + 1 shifts, A linear to 256. Of DoDNet (Zhang et al., CVPR 2021,
https://arxiv.org/abs/2011.10217): one set for each task, that is each organ, with as many logits as it has parts (an
organ and its tumor: 162 numbers); A is the identity and e_k one-hot.

All heads are computed at once: the first layer as one matrix product of the 8 channels with the weights of every ROI,
the others as one batched product. In the code of both papers each row, and in one each ROI, is a convolution of a loop.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from SemiSegLib.networks.embedding import RoiEmbedding
from SemiSegLib.networks.layers import GroupNorm, convolution

CHANNELS = 8
CONTEXT = 256
MOST_GROUPS = 16


def weight_count(logits: int) -> int:
    """Return the numbers that a head of so many logits consists of: 153 for 1, 162 for 2."""
    return 2 * CHANNELS * (CHANNELS + 1) + logits * (CHANNELS + 1)


def apply_heads(features: Tensor, numbers: Tensor, logits: int) -> Tensor:
    """Return what heads of three 1 x 1 convolutions say about features.

    Args:
        features: (B, 8, *S), seen by every head of the same row.
        numbers: (B, K, ``weight_count(logits)``), the weights and then the shifts of each head.
        logits: of each head, N.

    Returns:
        (B, K * N, *S); the logits of a head are neighbors.
    """
    rows, heads = numbers.shape[:2]
    square, last = CHANNELS * CHANNELS, CHANNELS * logits
    parts = torch.split(numbers, [square, square, last, CHANNELS, CHANNELS, logits], dim=2)
    image = features.flatten(2)
    first = parts[0].reshape(rows, heads * CHANNELS, CHANNELS)
    hidden = torch.baddbmm(parts[3].reshape(rows, -1, 1), first, image).relu_()
    hidden = hidden.view(rows * heads, CHANNELS, -1)
    second = parts[1].reshape(rows * heads, CHANNELS, CHANNELS)
    hidden = torch.baddbmm(parts[4].reshape(rows * heads, -1, 1), second, hidden).relu_()
    third = parts[2].reshape(rows * heads, logits, CHANNELS)
    found = torch.baddbmm(parts[5].reshape(rows * heads, -1, 1), third, hidden)
    return found.view(rows, heads * logits, *features.shape[2:])


class EqualizedLinear(nn.Linear):
    """A linear layer whose steps do not grow with the number of its inputs ("equalized", Karras et al., ICLR 2018).

    Its weights are kept sqrt(n) times as large and divided when they are used, so it begins as a plain one; but a step
    of an Adam, which changes each of n weights by the learning rate whatever its gradient, then changes the result by a
    share of 1 / sqrt(n). Without it the controller of 512 inputs is thrown about at rates that suit convolutions.

    Args:
        inputs: n.
        outputs: of the layer.
        is_equalized: False for a plain linear layer.
    """

    def __init__(self, inputs: int, outputs: int, *, is_equalized: bool) -> None:
        super().__init__(inputs, outputs)
        self.scale = inputs**-0.5 if is_equalized else 1.0
        with torch.no_grad():
            self.weight.div_(self.scale)

    @property
    def used(self) -> Tensor:
        """(outputs, inputs) the weights that inputs are multiplied with."""
        return self.weight * self.scale

    def forward(self, values: Tensor) -> Tensor:
        """Return (*, outputs) for (*, inputs)."""
        return functional.linear(values, self.used, self.bias)


class DynamicHead(nn.Module):
    """One logit for each ROI, by a head that a controller makes for it.

    Args:
        channels: of the feature map.
        bottleneck_channels: of the map at the lowest resolution.
        dimensions: 2 or 3.
        embedding: rows of the ROIs.
        is_equalized: let the layers that make the heads learn as slowly as convolutions do.
        competes: whether the ROIs share one probability, as a softmax gives it; for a warm start.
    """

    def __init__(
        self,
        channels: int,
        bottleneck_channels: int,
        dimensions: int,
        *,
        embedding: RoiEmbedding,
        is_equalized: bool = True,
        competes: bool = False,
    ) -> None:
        super().__init__()
        self.competes = competes
        self.reduce = _reduction(channels, dimensions)
        self.norm = group_norm(bottleneck_channels)
        self.context = EqualizedLinear(bottleneck_channels, CONTEXT, is_equalized=is_equalized)
        self.embedding = embedding
        self.controller = EqualizedLinear(CONTEXT + embedding.width, weight_count(1), is_equalized=is_equalized)

    def forward(self, features: Tensor, bottleneck: Tensor) -> Tensor:
        """Return (B, K, *S) logits for a feature map (B, channels, *S) and a bottleneck (B, bottleneck channels, *)."""
        return apply_heads(self.reduce(features), self.numbers(bottleneck), 1)

    def numbers(self, bottleneck: Tensor) -> Tensor:
        """Return (B, K, 153): the controller of [g ; e_k], of which each half is multiplied once."""
        seen = self.context(_pooled(self.norm(bottleneck)))
        of_image, of_roi = torch.split(self.controller.used, [CONTEXT, self.embedding.width], dim=1)
        image_part = functional.linear(seen, of_image, self.controller.bias)
        return image_part.unsqueeze(1) + functional.linear(self.embedding(), of_roi).unsqueeze(0)

    @torch.no_grad()
    def shift_logits(self, shifts: Tensor) -> None:
        """Add to the logit of each ROI, in every voxel; the smallest change of its learned row that does nothing else.

        Args:
            shifts: (K,).
        """
        of_roi = self.controller.used[:, CONTEXT:].double()
        wanted = torch.zeros(len(of_roi), 1, dtype=torch.float64, device=of_roi.device)
        # The last of a head's numbers is what it adds to its logit.
        wanted[-1] = 1
        step = torch.linalg.pinv(of_roi) @ wanted
        weight = self.embedding.get_parameter("weight")
        weight.add_((shifts.to(step)[:, None] * step.T).to(weight))

    def output_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the name of each layer with a row for each ROI, to the names of its rows."""
        return {f"embedding.{layer}": rows for layer, rows in self.embedding.output_rows().items()}


class TaskHead(nn.Module):
    """The parts of one organ at a time, by a head that a controller makes for the organ: DoDNet's.

    The controller's columns for the one-hot task are kept as rows of a table, ``tasks``, which is the same and can be
    given on by name.

    Args:
        channels: of the feature map.
        bottleneck_channels: of the map at the lowest resolution.
        dimensions: 2 or 3.
        names: of the tasks.
        parts: logits of each task, N.
        is_equalized: let the controller learn as slowly as convolutions do.
    """

    def __init__(
        self,
        channels: int,
        bottleneck_channels: int,
        dimensions: int,
        *,
        names: tuple[str, ...],
        parts: int,
        is_equalized: bool = True,
    ) -> None:
        super().__init__()
        self.names, self.parts = names, parts
        self.reduce = _reduction(channels, dimensions)
        self.norm = group_norm(bottleneck_channels)
        self.controller = EqualizedLinear(bottleneck_channels, weight_count(parts), is_equalized=is_equalized)
        self.tasks = nn.Embedding(len(names), weight_count(parts))
        # As one linear layer of both would begin.
        bound = (bottleneck_channels + len(names)) ** -0.5
        for weight in (self.controller.weight, self.controller.bias, self.tasks.weight):
            nn.init.uniform_(weight, -bound, bound)
        with torch.no_grad():
            self.controller.weight.div_(self.controller.scale)

    def forward(self, features: Tensor, bottleneck: Tensor, tasks: Tensor) -> Tensor:
        """Return (B, Q * N, *S) logits of Q tasks of each row.

        Args:
            features: (B, channels, *S).
            bottleneck: (B, bottleneck channels, *).
            tasks: (B, Q) int64, indices of tasks.
        """
        seen = self.controller(_pooled(self.norm(bottleneck)))
        return apply_heads(self.reduce(features), seen.unsqueeze(1) + self.tasks(tasks), self.parts)

    def output_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the name of the layer with a row for each task, to the names of its rows."""
        return {"tasks.weight": self.names}


def group_norm(channels: int) -> GroupNorm:
    """Return a group norm of up to 16 groups (both papers), each of at least two channels where there are two.

    A group of one channel over a single voxel has no spread.
    """
    groups = max(g for g in range(1, MOST_GROUPS + 1) if channels % g == 0 and (g == 1 or channels >= 2 * g))
    return GroupNorm(groups, channels)


def _reduction(channels: int, dimensions: int) -> nn.Sequential:
    return nn.Sequential(group_norm(channels), nn.ReLU(), convolution(channels, CHANNELS, (1,) * dimensions))


def _pooled(bottleneck: Tensor) -> Tensor:
    """Return (B, C): the mean over space of what is above 0."""
    return functional.relu(bottleneck).flatten(2).mean(2)
