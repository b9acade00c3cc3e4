"""What the benchmarks on published data sets are made of: lines, tables, sizes and sides.

A benchmark is a list of tables; a table is a list of lines, each a method with its own settings, and of pairs of lines
that are compared. All runs of a benchmark are one comparison of ``SemiSegLib.compare`` in one folder.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import reporting  # noqa: F401 - a source tree that is not installed is found through it

from SemiSegLib.arms import Arm, read_arm
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import FILE_NAME
from SemiSegLib.cases.orientation import closest_orientation
from SemiSegLib.cases.reading import read_images
from SemiSegLib.cli_settings import read_settings
from SemiSegLib.comparison import ComparisonSettings
from SemiSegLib.config import read_json
from SemiSegLib.methods.presets import OwnSettings

SIZES = ("published", "reduced")
REDUCED = (
    "Reduced size: smaller patches and batches and a short time budget, the same for every line. These numbers compare "
    "the lines with each other at this size; they are not those of the published sizes."
)
LAST_STEP = "no case is for validation, so the model is that of the last step; the test side chose nothing"


@dataclass(frozen=True, kw_only=True)
class Line:
    """One method of a benchmark.

    Attributes:
        key: its word on the command line and in folder names.
        title: its name in tables.
        text: method, preset and options as ``semiseg compare`` takes them.
        own: settings that belong to it.
        published: Dice of its paper, 0 to 1, or None.
        published_largest: the same where the paper scored the largest piece alone.
        labels: which of the labels it sees, see ``Arm``.
    """

    key: str
    title: str
    text: str
    own: OwnSettings = field(default_factory=OwnSettings)
    published: float | None = None
    published_largest: float | None = None
    labels: str = ""

    def arm(self, fine: int | None) -> Arm:
        """Return its line of a comparison on so many fine cases; None for all."""
        shown = self.labels or f"{fine or 'all'} fine"
        title = f"{self.title}, {shown}"
        return replace(read_arm(self.text, fine=fine), key=self.key, own=self.own, title=title, labels=self.labels)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One table.

    Attributes:
        heading: what its lines have in common.
        lines: with the number of their fine cases, None for all; the first is the lower bound.
        pairs: keys of a line and of the one that it is compared with, besides the lower bound.
    """

    heading: str
    lines: tuple[tuple[Line, int | None], ...]
    pairs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """All that is asked.

    Attributes:
        title: of the page.
        size: "published" or "reduced"; "" if it has one size alone.
        study: cases with their sides.
        facts: what a reader must know of sides, sizes and rules.
        parts: the tables.
        budget: ``steps`` or ``seconds`` of every training.
        settings: of the comparison; its arms, budget and seeds are filled in.
    """

    title: str
    size: str
    study: Dataset
    facts: Mapping[str, str]
    parts: tuple[Part, ...]
    budget: Mapping[str, float]
    settings: ComparisonSettings

    def asked(self, *, seeds: int, only: Sequence[str] | None, settings: Sequence[str]) -> ComparisonSettings:
        """Return the comparison, where settings that were typed win over those of size and line.

        Args:
            seeds: number of seeds, from 0.
            only: keys of lines to train, or folder names where a line stands in several tables; None for all.
            settings: as typed.
        """
        arms: dict[str, Arm] = {}
        trained = []
        for part in self.parts:
            for line, fine in part.lines:
                arm = arms.setdefault(line.arm(fine).name, line.arm(fine))
                if only and (line.key in only or arm.name in only):
                    trained.append(arm.name)
        texts = list(settings)
        if not any(text.startswith(("steps=", "seconds=")) for text in texts):
            texts += [f"{name}={value}" for name, value in self.budget.items()]
        if any(text.startswith("seconds=") for text in texts):
            texts.append("steps=null")
        given = read_settings(texts)
        return replace(
            self.settings,
            arms=tuple(arms.values()),
            seeds=seeds,
            only=tuple(dict.fromkeys(trained)) if only else None,
            with_full=False,
            training=given.training,
            plan=given.plan,
            given=given.names,
        )


def shared_grid(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a line with a plan of its own must share: at the reduced size, grid and crops; else nothing."""
    return {name: plan[name] for name in ("patch", "batch", "spacing_mm") if "spacing_mm" in plan}


def stated(data: Path, *keys: str) -> list[str]:
    """Return a list of case names that the data set's file states under these keys."""
    found: Any = read_json(data / FILE_NAME)
    for key in keys:
        found = found.get(key) if isinstance(found, dict) else None
    if not isinstance(found, list) or not found:
        raise SystemExit(f"{FILE_NAME} of the data set states no list of cases under '{'.'.join(keys)}'")
    return [str(name) for name in found]


def with_sides(dataset: Dataset, tested: Sequence[str]) -> Dataset:
    """Return the dataset with these cases for the test and every other one for training."""
    known = {case.id for case in dataset.cases}
    if lost := [name for name in tested if name not in known]:
        raise SystemExit(f"the data set has no case '{lost[0]}'")
    sides = dict.fromkeys(tested, Side.TEST)
    return dataset.with_cases(tuple(replace(case, split=sides.get(case.id, Side.TRAIN)) for case in dataset.cases))


def grids(dataset: Dataset, cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Return (N, 3) shapes and spacings in mm of cases, along the canonical axes (D, H, W)."""
    found = [read_images(dataset, case)[0].geometry for case in cases]
    turned = [closest_orientation(grid).apply_geometry(grid) for grid in found]
    return np.array([g.shape for g in turned]), np.array([g.spacing_mm for g in turned])


def median_grid(dataset: Dataset, cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Return median shape and spacing in mm of cases, along the canonical axes (D, H, W)."""
    shapes, spacings = grids(dataset, cases)
    return np.median(shapes, axis=0), np.median(spacings, axis=0)
