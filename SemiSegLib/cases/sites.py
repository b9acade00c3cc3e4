"""A cohort from three sites, each of which drew only some of four structures: what partly labeled data are like.

The scans are those of the built-in cohort with a fourth structure. No scan of the training side shows all of them, and
what a site did not draw is there all the same. Site A drew the parts of the organ, site C the organ as a whole; vessel
and node were drawn at site B alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SemiSegLib.cases.cohort import CHANNEL
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.cases.phantom import SCHEME_WITH_NODE, phantom
from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.config import check_range
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import BACKGROUND

LEAVES = SCHEME_WITH_NODE.leaf_names


@dataclass(frozen=True)
class Site:
    """Cases that are annotated alike.

    Attributes:
        side: side of the split.
        first: number of the first phantom.
        drawn: structures that were drawn, each with its stored integer; 0 is all the rest.
    """

    side: Side
    first: int
    drawn: Mapping[str, int]

    def meanings(self) -> dict[int, tuple[str, ...]]:
        """Return stored integer to what such a voxel may be."""
        seen = SCHEME_WITH_NODE.leaf_set(list(self.drawn)) if self.drawn else frozenset()
        rest = SCHEME_WITH_NODE.cover(frozenset(range(len(LEAVES))) - seen)
        return {0: rest, **{value: (name,) for name, value in self.drawn.items()}}

    def stored(self) -> np.ndarray:
        """Return (L,) uint8: the stored integer of each leaf."""
        table = np.zeros(len(LEAVES), dtype=np.uint8)
        for name, value in self.drawn.items():
            table[sorted(SCHEME_WITH_NODE.leaves_of(name))] = value
        return table


_EVERY = {name: value for value, name in enumerate(LEAVES) if name != BACKGROUND}
SITES: Mapping[str, Site] = {
    "site_a": Site(Side.TRAIN, 0, {"head": 2, "tail": 1}),
    "site_b": Site(Side.TRAIN, 10_000, {"vessel": 1, "node": 2}),
    "site_c": Site(Side.TRAIN, 20_000, {"organ": 3}),
    "validation": Site(Side.VALIDATION, 40_000, _EVERY),
    "test": Site(Side.TEST, 50_000, _EVERY),
}


def write_sites(  # noqa: PLR0913 - a count for each kind of case, all with defaults
    folder: Path,
    *,
    each: int = 6,
    validation: int = 0,
    test: int = 6,
    full: bool = False,
    seed: int = 0,
    size: tuple[int, int, int] = (24, 44, 40),
) -> Dataset:
    """Write the cohort as a dataset folder and return the dataset.

    Args:
        folder: made if it does not exist; files of the same names are replaced.
        each: training cases of each site.
        validation: completely labeled cases on the validation side.
        test: completely labeled cases on the test side.
        full: draw everything at every site, for the upper bound; the scans are the same.
        seed: another seed is another cohort.
        size: voxels along the canonical axes; cases differ by up to 2.
    """
    counts = {"site_a": each, "site_b": each, "site_c": each, "validation": validation, "test": test}
    cases = []
    root = Path(folder).expanduser().absolute()
    for name, count in counts.items():
        check_range(name, count, low=0, high=9999)
        site = Site(SITES[name].side, SITES[name].first, _EVERY) if full else SITES[name]
        cases += [
            _write_case(root, f"{name}_{number:02d}", site, number, seed=seed, size=size) for number in range(count)
        ]
    dataset = Dataset(
        name="phantom cohort of three sites",
        scheme=SCHEME_WITH_NODE,
        channels=(CHANNEL,),
        cases=tuple(cases),
        root=root,
        modality={CHANNEL: "MR"},
    )
    save_dataset(dataset, root)
    return dataset


def _write_case(root: Path, name: str, site: Site, number: int, *, seed: int, size: tuple[int, int, int]) -> Case:
    made = phantom(seed, site.first + number, size, node=True)
    files = {
        f"images/{name}.nii.gz": made.image,
        f"labels/{name}.nii.gz": Volume(site.stored()[made.leaves], made.geometry),
    }
    for file, volume in files.items():
        path = root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        write_volume(volume, path)
    image, labels = files
    annotation = Annotation(file=labels, values=site.meanings())
    return Case(id=name, patient=name, images={CHANNEL: image}, annotation=annotation, split=site.side)
