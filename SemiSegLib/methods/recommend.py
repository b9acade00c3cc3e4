"""Which method suits a study, and why, in words a clinician understands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.labels.label_set import Regime


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to train.

    Attributes:
        method: registered name.
        reason: one to three plain sentences.
        alternatives: names of other methods that these labels can train, better first.
    """

    method: str
    reason: str
    alternatives: tuple[str, ...] = ()


def recommend(dataset: Dataset) -> Recommendation:
    """Return the method that fits what the labels of a study's training cases say.

    Cases without a side count as training cases. Without a single labeled case the reason says what to draw.
    """
    cases = [case for case in dataset.cases if case.split in (None, Side.TRAIN)]
    full, coarse, partial, unlabeled = (_of(regime, cases, dataset) for regime in Regime)
    mixed = coarse + partial
    if not full and not mixed:
        return Recommendation(
            method="supervised",
            reason="No case is labeled yet. Draw every structure in at least one case, then train on it.",
        )
    if not mixed:
        return Recommendation(
            method="supervised",
            reason=f"{_cases(full)} all structures drawn. Every label is complete, so plain supervised training "
            f"uses all of them.{_unused(unlabeled)}",
            alternatives=("marginal",),
        )
    less = " and ".join(
        part
        for part in (
            f"{_cases(coarse)} only the coarse structures drawn" if coarse else "",
            f"{_cases(partial)} only some structures drawn" if partial else "",
        )
        if part
    )
    hints = _never_drawn(dataset, cases) + _unused(unlabeled)
    if not full:
        return Recommendation(
            method="marginal",
            reason=f"{less}. Marginal training learns from all of them.{hints}",
        )
    return Recommendation(
        method="marginal",
        reason=f"{_cases(full)} all structures drawn, {less}. Marginal training learns from both kinds, so the "
        f"quicker labels are not wasted.{hints}",
        alternatives=("modified_unet", "supervised"),
    )


def _of(regime: Regime, cases: Sequence[Case], dataset: Dataset) -> list[Case]:
    return [case for case in cases if case.regime(dataset.scheme) is regime]


def _cases(cases: Sequence[Case]) -> str:
    return "1 case has" if len(cases) == 1 else f"{len(cases)} cases have"


def _unused(unlabeled: Sequence[Case]) -> str:
    if not unlabeled:
        return ""
    verb = "case has no label and is" if len(unlabeled) == 1 else "cases have no label and are"
    return f" {len(unlabeled)} {verb} not used by it."


def _never_drawn(dataset: Dataset, cases: Sequence[Case]) -> str:
    """Return a warning about structures that no case tells apart from their siblings."""
    annotations = [case.annotation for case in cases if case.annotation is not None]
    drawn = {next(iter(s)) for a in annotations for s in a.sets(dataset.scheme) if len(s) == 1}
    missing = [name for leaf, name in enumerate(dataset.scheme.leaf_names) if leaf not in drawn]
    if not missing:
        return ""
    return (
        f" No case shows {' or '.join(missing)} by itself: draw it in a few cases, or the model cannot tell it apart."
    )
