"""What a training step sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from SemiSegLib.labels.label_set import Regime


@dataclass(frozen=True)
class Batch:
    """Patches and what their voxels may be. Rows of one regime are neighbors: full, coarse, partial, none.

    Attributes:
        image: (B, M, *S) float, normalized intensities.
        codes: (B, *S) int64, rows of ``label_sets``.
        label_sets: (C, L) bool, the leaves that a voxel with each code may be; row 0 is every leaf.
        rows: regime to the slice of the rows that have it (empty slices included).
        case_ids: case of each row.
        maps: extra maps that the method asked for, rows first: "signed_distance" (B, K, *S) float32 mm and
            "signed_distance_known" (B, K) bool, see ``BatchSource``.
        case_codes: (B, C) bool, the codes that the labels of each row's case have, anywhere in it; code 0 where they
            leave a part of it open. None if that is not known: then a row stands for its case.
    """

    image: Tensor
    codes: Tensor
    label_sets: Tensor
    rows: Mapping[Regime, slice]
    case_ids: tuple[str, ...]
    maps: Mapping[str, Tensor]
    case_codes: Tensor | None = None

    def part(self, *regimes: Regime) -> Batch:
        """Return the rows of some regimes as a batch of their own (possibly of 0 rows)."""
        order = [regime for regime in Regime if regime in regimes]
        indices = [i for regime in order for i in range(*self.rows[regime].indices(len(self.case_ids)))]
        start, rows = 0, {}
        for regime in Regime:
            count = len(range(*self.rows[regime].indices(len(self.case_ids)))) if regime in order else 0
            rows[regime] = slice(start, start + count)
            start += count
        first = indices[0] if indices else 0
        # Neighboring rows are a view, which costs nothing and keeps the memory format.
        chosen = slice(first, first + start) if indices == list(range(first, first + start)) else indices
        return replace(
            self,
            image=self.image[chosen],
            codes=self.codes[chosen],
            rows=rows,
            case_ids=tuple(self.case_ids[i] for i in indices),
            maps={name: value[chosen] for name, value in self.maps.items()},
            case_codes=None if self.case_codes is None else self.case_codes[chosen],
        )

    def __len__(self) -> int:
        return len(self.case_ids)
