"""The joint head of leaves and superclasses of paper 000: separate normalization and prior concatenation.

Efficient Subclass Segmentation (Dai et al., MICCAI 2023, https://arxiv.org/abs/2307.00257). F is the feature map,
N a norm, C a 3 x 3 convolution with ReLU, W, w and V linear maps of each voxel:

    plain       g = C(ReLU(N F));          z_c = W_c g;         z_f = W_f g  (W_f [g ; z_c] with prior concatenation)
    separate    g_r = C_r(ReLU(N_r F));    z_c[r] = w_r g_r;    z_f[leaves of r] = V_r g_r  (V_r [g_r ; z_c[r]])

With separate normalization every superclass, background included, is a branch with a norm of its own, which sees the
whole map, and F comes from a block that is left without a norm. A superclass of one leaf has no V: its leaf is the
superclass, so both outputs share its logit. For background alone the paper says so; for the others it follows.

Works for any number of superclasses; the released code for more than one besides background never ran. Which leaf lies
in which superclass is read from the scheme's tree, never from the order of numbers. The paper concatenates "logit
scores" in one sentence and "probabilities" in the next; logits here, as in its code, where the subclass loss also
trains the superclass logits. "detached" keeps it from that.
"""

from __future__ import annotations

import math
from collections.abc import Collection

import torch
from torch import Tensor, nn

from SemiSegLib.config import check_choice
from SemiSegLib.labels.scheme import LabelScheme, name_key
from SemiSegLib.networks.heads import LinearHead, Projection

PRIORS = ("none", "logits", "detached")


class Branch(nn.Module):
    """What one superclass sees: a norm of its own, one logit for itself and one for each of several leaves.

    Args:
        channels: of the feature map.
        leaves: of this superclass.
        dimensions: 2 or 3.
        norm: "batch" (paper), "instance" or "group".
        prior: "none", "logits" or "detached".
    """

    def __init__(self, channels: int, leaves: int, dimensions: int, *, norm: str, prior: str) -> None:
        super().__init__()
        self.prior = prior
        self.projection = Projection(channels, dimensions, norm=norm)
        self.superclass = LinearHead(channels, 1, dimensions)
        width = channels + (0 if prior == "none" else 1)
        self.leaves: nn.Module | None = LinearHead(width, leaves, dimensions) if leaves > 1 else None

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return (B, 1, *S) and (B, leaves, *S) logits for (B, channels, *S) features."""
        projected = self.projection(features)
        own: Tensor = self.superclass(projected)
        if self.leaves is None:
            return own, own
        return own, self.leaves(_with_prior(projected, own, self.prior))


class HierarchyHead(nn.Module):
    """Leaf and superclass logits from one feature map; see the module.

    Args:
        channels: of the feature map.
        scheme: leaves and their superclasses.
        dimensions: 2 or 3.
        norm: of the projections, "batch" (paper), "instance" or "group".
        separate: one branch with its own norm per superclass; the feature map should come without a norm.
        prior: what of the superclass logits the leaf logits see: "none", "logits" (paper) or "detached".
        projection: compute g in the plain form (paper); without it both outputs see F.
    """

    def __init__(  # noqa: PLR0913 - two switches of the paper, one of ours, and the shape
        self,
        channels: int,
        scheme: LabelScheme,
        dimensions: int,
        *,
        norm: str = "batch",
        separate: bool = False,
        prior: str = "none",
        projection: bool = True,
    ) -> None:
        super().__init__()
        check_choice("prior_concatenation", prior, PRIORS)
        self.prior, self.scheme = prior, scheme
        count = len(scheme.superclass_names)
        pi = scheme.superclass_of_leaf
        self.leaves_of = tuple(tuple(leaf for leaf, r in enumerate(pi) if r == own) for own in range(count))
        self.branches: nn.ModuleDict | None = None
        if separate:
            self.branches = nn.ModuleDict(
                {
                    module_name(name): Branch(channels, len(leaves), dimensions, norm=norm, prior=prior)
                    for name, leaves in zip(scheme.superclass_names, self.leaves_of, strict=True)
                }
            )
            return
        self.projection = Projection(channels, dimensions, norm=norm) if projection else nn.Identity()
        self.superclass = LinearHead(channels, count, dimensions)
        width = channels + (0 if prior == "none" else count)
        self.subclass = LinearHead(width, len(pi), dimensions)

    def forward(self, features: Tensor) -> dict[str, Tensor]:
        """Return "superclass" (B, R, *S) and "subclass" (B, L, *S) logits for (B, channels, *S) features."""
        if self.branches is None:
            projected = self.projection(features)
            superclass = self.superclass(projected)
            return {
                "superclass": superclass,
                "subclass": self.subclass(_with_prior(projected, superclass, self.prior)),
            }
        parts: list[Tensor] = [features] * len(self.scheme.leaf_names)
        owns = []
        for branch, indices in zip(self.branches.values(), self.leaves_of, strict=True):
            own, leaves = branch(features)
            owns.append(own)
            for position, leaf in enumerate(indices):
                parts[leaf] = leaves[:, position : position + 1]
        return {"superclass": torch.cat(owns, 1), "subclass": torch.cat(parts, 1)}

    @torch.no_grad()
    def begin_leaves(self, copied: Collection[str]) -> dict[str, tuple[str, ...]]:
        """Let leaves begin as their superclass is, in branches of which a warm start copied the superclass alone.

        Each leaf gets the superclass's logit less ln(n), so that together they are as likely as it is.

        Args:
            copied: names of this head's tensors that were copied.

        Returns:
            Name of each layer that began so, to its leaves.
        """
        begun: dict[str, tuple[str, ...]] = {}
        for layer, names in self.output_rows().items():
            branch = layer.removesuffix(".leaves.convolution")
            own = f"{branch}.superclass.convolution"
            if branch == layer or f"{own}.weight" not in copied or f"{layer}.weight" in copied:
                continue
            leaves, superclass = self.get_submodule(layer), self.get_submodule(own)
            weight, bias = leaves.get_parameter("weight"), leaves.get_parameter("bias")
            # What is left out is the column that sees the superclass's logit.
            weight.zero_()
            weight[:, : superclass.get_parameter("weight").shape[1]] = superclass.get_parameter("weight")
            bias[:] = superclass.get_parameter("bias") - math.log(len(names))
            begun[layer] = names
        return begun

    def output_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the name of each output layer to the class names of its rows."""
        names = self.scheme.leaf_names
        if self.branches is None:
            return {"superclass.convolution": self.scheme.superclass_names, "subclass.convolution": names}
        layers: dict[str, tuple[str, ...]] = {}
        for name, leaves in zip(self.scheme.superclass_names, self.leaves_of, strict=True):
            prefix = f"branches.{module_name(name)}"
            layers[f"{prefix}.superclass.convolution"] = (name,)
            if len(leaves) > 1:
                layers[f"{prefix}.leaves.convolution"] = tuple(names[leaf] for leaf in leaves)
        return layers


def module_name(name: str) -> str:
    """Return a class name as a part of a state-dict name; different for names that a scheme tells apart.

    Named, not numbered, so that a warm start from a scheme of another order finds each branch again.
    """
    return "of_" + "".join(c if c.isalnum() else f"_{ord(c):x}_" for c in name_key(name))


def _with_prior(projected: Tensor, superclass: Tensor, prior: str) -> Tensor:
    if prior == "none":
        return projected
    seen = superclass.detach() if prior == "detached" else superclass
    return torch.cat([projected, seen.to(projected.dtype)], 1)
