"""What a person should know of a result before looking at it: how unsure the model is, why, and where most.

Written beside each result by a job that applies a model; read by the panel, which has no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from SemiSegLib.config import check_range, from_json, read_json, write_json


@dataclass(frozen=True, kw_only=True)
class Review:
    """How much a look at one result is worth.

    Attributes:
        score: 0 (sure everywhere) to 1; the case with the highest is worth the next look.
        reason: a sentence for a person.
        place_lps_mm: where the model is least sure, or None if it is sure everywhere.
        uncertain_ml: volume in which no structure has three quarters of the probability or more.
    """

    score: float
    reason: str
    place_lps_mm: tuple[float, float, float] | None
    uncertain_ml: float

    def __post_init__(self) -> None:
        check_range("score", self.score, low=0.0, high=1.0)
        check_range("uncertain_ml", self.uncertain_ml, low=0.0)


def write_review(review: Review, path: Path) -> None:
    """Write the review of one result as JSON."""
    write_json(path, review)


def read_review(path: Path) -> Review:
    """Return what ``write_review`` wrote.

    Raises:
        ConfigError: the file is missing or is no review.
    """
    return from_json(Review, read_json(path), where=Path(path).name)


def by_rank(reviews: Mapping[str, Review]) -> list[tuple[str, Review]]:
    """Return cases and their reviews, the one that is worth the next look first."""
    return sorted(reviews.items(), key=lambda item: (-item[1].score, -item[1].uncertain_ml, item[0]))
