"""What a network is told of each ROI: a row of numbers, learned or given."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.labels.rois import RoiTable

EMBEDDINGS = ("hierarchy", "learned", "one_hot", "text", "file")
# These come with the study.
GIVEN = ("text", "file")
# Of learned rows, as of the projected texts of paper 002 and the CLIP-driven universal model (Liu et al. 2023).
WIDTH = 256
# Distance of a child's first row from its parent's, where unrelated rows have distance 1.4 for each number. Ours.
SPREAD = 0.5


class RoiEmbedding(nn.Module):
    """One row of numbers for each ROI.

    "learned" rows start as independent normal numbers; those of "hierarchy" (ours) start near their parent's, so that a
    tumor begins as a variant of its organ. "one_hot" rows are the numbers of the ROIs, as in DoDNet. Rows of a "text"
    (paper 002) or of a "file" stay as they are and pass a linear layer and a rectifier; they are part of the state, so
    prediction needs nothing else.

    Args:
        kind: one of ``EMBEDDINGS``.
        table: the ROIs.
        given: (K, E) float rows in the order of the table, for "text" and "file".
        chosen: the ROIs that get a row, by default all.

    Attributes:
        width: numbers in a row.

    Raises:
        ConfigError: "text" or "file" without rows, or not one row for each ROI.
    """

    def __init__(
        self, kind: str, table: RoiTable, *, given: Tensor | None = None, chosen: tuple[int, ...] | None = None
    ) -> None:
        super().__init__()
        self.kind = kind
        rows = list(range(len(table))) if chosen is None else list(chosen)
        self.names = tuple(table.names[k] for k in rows)
        self.width = len(rows) if kind == "one_hot" else WIDTH
        if kind == "one_hot":
            self.register_buffer("fixed", torch.eye(len(rows)), persistent=False)
        elif kind in GIVEN:
            self.register_buffer("fixed", _checked(given, table)[rows])
            self.project = nn.Linear(self.fixed.shape[1], WIDTH)
        else:
            drawn = torch.randn(len(table), WIDTH)
            self.weight = nn.Parameter((_near_parents(drawn, table) if kind == "hierarchy" else drawn)[rows].clone())

    fixed: Tensor

    def forward(self) -> Tensor:
        """Return (K, width) rows."""
        if self.kind == "one_hot":
            return self.fixed
        if self.kind in GIVEN:
            return functional.relu(self.project(self.fixed))
        return self.weight

    def output_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the name of the layer that has a row for each ROI, to the names of its rows; none where none has."""
        return {"weight": self.names} if self.kind in ("hierarchy", "learned") else {}


def _near_parents(drawn: Tensor, table: RoiTable) -> Tensor:
    """Return rows of the same variance in which a child is its parent's with some change."""
    rows = drawn.clone()
    for k in table.downward:
        if table.parents[k] >= 0:
            rows[k] = (rows[table.parents[k]] + SPREAD * drawn[k]) / (1 + SPREAD**2) ** 0.5
    return rows


def _checked(given: Tensor | None, table: RoiTable) -> Tensor:
    if given is None:
        raise ConfigError(
            explain(
                "the study has no embeddings of its structures",
                where="options: embedding",
                remedy="compute them before the training, or set embedding to hierarchy, learned or one_hot",
            )
        )
    if given.ndim != 2 or len(given) != len(table):
        raise ConfigError(
            explain(
                f"embeddings of shape {tuple(given.shape)} for {len(table)} structures",
                where="options: embedding",
                remedy=f"give one row for each of {', '.join(table.names)}, in this order",
            )
        )
    return given.detach().float().clone()
