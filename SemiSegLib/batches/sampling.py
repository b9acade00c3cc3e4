"""Which case and which patch of it each row of a batch shows: rows by regime, rare classes as often as common ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from SemiSegLib.batches.seeds import row_generator
from SemiSegLib.batches.store import CaseSummary, PreparedCase
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.label_set import Regime

# Of the patches of a partly annotated case that are drawn without a target, where voxels without labels teach too.
ELSEWHERE_SHARE = 0.5


@dataclass(frozen=True)
class Pick:
    """What one row shows.

    Attributes:
        case_id: the case.
        regime: its regime.
        target: name of the class to center on, or None for any place.
    """

    case_id: str
    regime: Regime
    target: str | None


@dataclass(frozen=True)
class Sampler:
    """Draws the rows of a batch.

    Attributes:
        cases: case id to what is known of it.
        shares: share of each regime that is present, summing to 1.
        batch: rows.
        seed: of the run.
        target_share: probability that a row is centered on a class (nnU-Net: 1/3), drawn uniformly over the classes of
            its regime; the case is then drawn among those that have the class, so a rare class is seen as often as a
            common one.
    """

    cases: Mapping[str, CaseSummary]
    shares: Mapping[Regime, float]
    batch: int
    seed: int
    target_share: float
    _ids: Mapping[Regime, tuple[str, ...]] = field(init=False, repr=False)
    _ids_by_class: Mapping[Regime, Mapping[str, tuple[str, ...]]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ids: dict[Regime, tuple[str, ...]] = {}
        by_class: dict[Regime, dict[str, tuple[str, ...]]] = {}
        for regime in Regime:
            chosen = {i: s for i, s in self.cases.items() if s.regime is regime}
            names = sorted({name for summary in chosen.values() for name in summary.classes})
            ids[regime] = tuple(chosen)
            by_class[regime] = {n: tuple(i for i, s in chosen.items() if n in s.classes) for n in names}
        object.__setattr__(self, "_ids", ids)
        object.__setattr__(self, "_ids_by_class", by_class)

    def rows(self, step: int) -> dict[Regime, slice]:
        """Return the rows of each regime in a step: neighbors, in the order of Regime.

        Rows sit at equal distances on a line of length 1 on which each regime covers its share, from a random start.
        So every step has the share times the batch, rounded up or down, and the mean over steps is exact even where
        regimes are more than rows.
        """
        start = row_generator(self.seed, step, -1, "rows").random()
        ends = np.cumsum([self.shares.get(regime, 0.0) for regime in Regime])
        # The small term keeps a share that ends exactly at a row, such as a half, from being rounded to the other side.
        edges = np.clip(np.ceil(ends * self.batch - start - 1e-9), 0, self.batch).astype(int)
        edges[np.flatnonzero(ends > 1 - 1e-9)] = self.batch
        starts = [0, *edges[:-1]]
        return {regime: slice(int(a), int(b)) for regime, a, b in zip(Regime, starts, edges, strict=True)}

    def picks(self, step: int) -> tuple[Pick, ...]:
        """Return what each row of a step shows."""
        result = []
        for regime, rows in self.rows(step).items():
            for row in range(rows.start, rows.stop):
                generator = row_generator(self.seed, step, row, "pick")
                classes = self._ids_by_class[regime]
                target = None
                ids: Sequence[str] = self._ids[regime]
                if generator.random() < self.target_share and classes:
                    target = list(classes)[int(generator.integers(len(classes)))]
                    ids = classes[target]
                result.append(Pick(ids[int(generator.integers(len(ids)))], regime, target))
        return tuple(result)


def regime_shares(composition: Mapping[str, float], present: Sequence[Regime]) -> dict[Regime, float]:
    """Return the share of each regime that is present; those of absent regimes go to the others in proportion.

    Raises:
        CaseError: no regime of the composition is present.
    """
    wanted = {Regime(name): share for name, share in composition.items() if share > 0}
    kept = {regime: wanted[regime] for regime in Regime if regime in wanted and regime in present}
    total = sum(kept.values())
    if not kept:
        names = ", ".join(regime.value for regime in wanted) or "nothing"
        raise CaseError(
            explain(
                f"a batch is made of cases with labels {names}, and there is none",
                where=f"cases with labels: {', '.join(r.value for r in present) or 'none'}",
                remedy="choose a method that uses these labels, or annotate a case as the method needs it",
            )
        )
    return {regime: share / total for regime, share in kept.items()}


def draw_center(
    case: PreparedCase,
    target: str | None,
    *,
    patch: Sequence[int],
    shift: bool,
    elsewhere: bool = False,
    generator: np.random.Generator,
) -> np.ndarray:
    """Return the (3,) middle of a patch in voxels of the case, a multiple of one half.

    The patch lies inside the volume; along an axis on which the volume is smaller, the volume lies in the middle of
    the patch, or with ``shift`` anywhere in it. A partly annotated case without target is centered on an annotated
    voxel (nnU-Net does the same), as elsewhere nothing can be learned from its labels; with ``elsewhere`` half of the
    times.

    Args:
        case: the prepared case.
        target: class whose voxels to center on, or None.
        patch: voxels along the plan axes.
        shift: see above.
        elsewhere: something else teaches where nobody annotated.
        generator: decides.
    """
    size, shape = np.array(patch), np.array(case.codes.shape)
    lowest, highest = np.minimum(0, shape - size), np.maximum(0, shape - size)
    # Where the volume is smaller only one place is allowed, unless shifts are wanted.
    middle = -((size - shape + 1) // 2)
    if not shift:
        lowest = np.where(shape < size, middle, lowest)
        highest = np.where(shape < size, middle, highest)
    start = generator.integers(lowest, highest + 1)
    places = case.known if target is None else case.centers[target]
    is_anywhere = elsewhere and target is None and len(places) > 0 and generator.random() < ELSEWHERE_SHARE
    if len(places) and not is_anywhere:
        wanted = places[int(generator.integers(len(places)))].astype(int) - size // 2
        start = np.where(shape > size, np.clip(wanted, lowest, highest), start)
    center: np.ndarray = start + (size - 1) / 2
    return center
