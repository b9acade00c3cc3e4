"""The built-in cohort: small phantom scans that pose the real problem, for demo, tests, tutorial and Sample Data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.cases.phantom import SCHEME, phantom
from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.config import check_choice, check_range
from SemiSegLib.labels.annotation import Annotation

CHANNEL = "T1"


@dataclass(frozen=True)
class Group:
    """Cases of the cohort that are annotated alike.

    Attributes:
        side: side of the split.
        first: number of the group's first phantom; a case does not change when other groups grow.
        leaf_values: stored integer of each leaf (background, head, tail, vessel), different in each group so that
            nothing can rely on integers; or None for cases without a label file.
        meanings: stored integer to structure names.
    """

    side: Side
    first: int
    leaf_values: tuple[int, int, int, int] | None = None
    meanings: Mapping[int, tuple[str, ...]] | None = None


_LEAVES = ("background", "head", "tail", "vessel")
GROUPS: Mapping[str, Group] = {
    "fine": Group(Side.TRAIN, 0, (0, 1, 2, 3), {value: (name,) for value, name in enumerate(_LEAVES)}),
    "coarse": Group(Side.TRAIN, 10_000, (0, 5, 5, 2), {0: ("background",), 5: ("organ",), 2: ("vessel",)}),
    # Only the vessel was drawn: what is not vessel may be any other structure.
    "partial": Group(Side.TRAIN, 20_000, (0, 0, 0, 1), {0: ("background", "head", "tail"), 1: ("vessel",)}),
    "none": Group(Side.TRAIN, 30_000),
    "validation": Group(
        Side.VALIDATION, 40_000, (0, 3, 1, 2), {0: ("background",), 3: ("head",), 1: ("tail",), 2: ("vessel",)}
    ),
    "test": Group(
        Side.TEST, 50_000, (0, 20, 30, 10), {0: ("background",), 20: ("head",), 30: ("tail",), 10: ("vessel",)}
    ),
}


def write_cohort(  # noqa: PLR0913 - a count for each kind of case, all with defaults
    folder: Path,
    *,
    fine: int = 4,
    coarse: int = 8,
    partial: int = 2,
    none: int = 2,
    validation: int = 4,
    test: int = 0,
    seed: int = 0,
    size: tuple[int, int, int] = (24, 44, 40),
) -> Dataset:
    """Write the cohort as a dataset folder and return the dataset.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        fine: training cases with head, tail and vessel drawn.
        coarse: training cases with organ and vessel drawn.
        partial: training cases with only the vessel drawn.
        none: training cases without labels.
        validation: completely labeled cases on the validation side.
        test: completely labeled cases on the test side.
        seed: another seed is another cohort.
        size: voxels along the canonical axes; cases differ by up to 2.
    """
    counts = {
        "fine": fine,
        "coarse": coarse,
        "partial": partial,
        "none": none,
        "validation": validation,
        "test": test,
    }
    dataset = cohort_dataset(folder, counts)
    dataset.root.mkdir(parents=True, exist_ok=True)
    for group, count in counts.items():
        for number in range(count):
            write_case(dataset.root, group, number, seed=seed, size=size)
    save_dataset(dataset, dataset.root)
    return dataset


def cohort_dataset(folder: Path, counts: Mapping[str, int]) -> Dataset:
    """Return the records of a cohort without writing a file.

    Args:
        folder: where ``write_case`` writes the files.
        counts: cases of each group; the groups are those of ``GROUPS``.
    """
    for group, count in counts.items():
        check_choice("group", group, GROUPS)
        check_range(group, count, low=0, high=9999)
    cases = tuple(case_record(group, number) for group, count in counts.items() for number in range(count))
    return Dataset(
        name="phantom cohort",
        scheme=SCHEME,
        channels=(CHANNEL,),
        cases=cases,
        root=Path(folder).expanduser().absolute(),
        modality={CHANNEL: "MR"},
    )


def write_case(
    folder: Path, group: str, number: int, *, seed: int = 0, size: tuple[int, int, int] = (24, 44, 40)
) -> Case:
    """Write the files of one case of the cohort and return its record.

    Args:
        folder: of the dataset; ``images`` and ``labels`` are made inside.
        group: one of ``GROUPS``.
        number: of the case in its group, from 0.
        seed: of the cohort.
        size: voxels along the canonical axes; a case differs by up to 2.
    """
    record = case_record(group, number)
    made = phantom(seed, GROUPS[group].first + number, size)
    files = {record.images[CHANNEL]: made.image}
    values = GROUPS[group].leaf_values
    if record.annotation is not None and values is not None:
        stored = np.array(values, dtype=np.uint8)[made.leaves]
        files[record.annotation.file] = Volume(stored, made.geometry)
    for name, volume in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(volume, path)
    return record


def case_record(group: str, number: int) -> Case:
    """Return the record of one case of the cohort: one patient a case."""
    kind = GROUPS[group]
    name = f"{group}_{number:02d}"
    annotation = None
    if kind.meanings is not None:
        annotation = Annotation(file=f"labels/{name}.nii.gz", values=kind.meanings)
    return Case(
        id=name, patient=name, images={CHANNEL: f"images/{name}.nii.gz"}, annotation=annotation, split=kind.side
    )
