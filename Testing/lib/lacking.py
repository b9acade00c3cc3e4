"""Scans with three structures, some of which lack one in their labels: it is in the scan, but nobody drew it."""

from pathlib import Path

import numpy as np

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import LabelScheme, Structure

SCHEME = LabelScheme(name="three", structures=tuple(Structure(name=name) for name in ("ball", "rod", "body")))
ALONE = "complete.json"
# Brightness of background, ball, rod and body. The noise is such that a single voxel does not tell one from another.
BRIGHTNESS = np.array([0.0, 1.0, 2.0, -1.0])
NOISE = 0.5


def scan(seed: int, number: int) -> tuple[Volume, np.ndarray]:
    """Return a scan of odd size and thick slices, and the leaf of each voxel."""
    random = np.random.default_rng([seed, number])
    depth, rows, columns = (int(n) for n in np.array([11, 29, 27]) + random.integers(-1, 2, 3))
    up, back, left = np.meshgrid(
        np.linspace(-1, 1, depth), np.linspace(-1, 1, rows), np.linspace(-1, 1, columns), indexing="ij"
    )

    def round_about(center, radius):
        shift = random.uniform(-0.15, 0.15, 3)
        places = zip((up, back, left), center, shift, strict=True)
        return sum((axis - c - s) ** 2 for axis, c, s in places) < (radius * random.uniform(0.85, 1.15)) ** 2

    leaves = np.zeros((depth, rows, columns), dtype=np.uint8)
    leaves[round_about((0.0, 0.2, 0.25), 0.65)] = 3
    leaves[round_about((0.0, -0.5, -0.4), 0.4)] = 1
    leaves[np.hypot(back - random.uniform(0.4, 0.6), left - random.uniform(-0.7, -0.5)) < 0.15] = 2
    gain, shade = random.uniform(150.0, 250.0), random.uniform(-0.3, 0.3) * back
    image = gain * (BRIGHTNESS[leaves] + shade + NOISE * random.normal(size=leaves.shape) + 4.0)
    tilt = np.deg2rad(random.uniform(-10.0, 10.0))
    affine = np.eye(4)
    affine[:3, :3] = [[0.0, -np.sin(tilt), np.cos(tilt)], [0.0, np.cos(tilt), np.sin(tilt)], [1.0, 0.0, 0.0]]
    affine[:3, :3] *= [3.0, 1.2, 1.2]
    affine[:3, 3] = random.uniform(-50.0, 50.0, 3)
    return Volume(image.round().astype(np.int16), Geometry((depth, rows, columns), affine)), leaves


def write_lacking(
    folder: Path, lacked: str, *, complete: int = 10, lacking: int = 30, test: int = 6, seed: int = 0
) -> Dataset:
    """Write the data set, and beside it ``ALONE``, the same without the cases that lack a structure.

    Args:
        folder: made if it does not exist.
        lacked: name of the structure.
        complete: training cases with all three structures drawn.
        lacking: training cases in which it was not drawn.
        test: complete cases on the test side.
        seed: another seed is another data set.
    """
    drawn = {value: (leaf.name,) for value, leaf in enumerate(SCHEME.leaves)}
    without = {value: names for value, names in drawn.items() if names != (lacked,)}
    without[0] = (*drawn[0], lacked)
    groups = (("complete", complete, Side.TRAIN, drawn), ("lacking", lacking, Side.TRAIN, without))
    cases = []
    for group, (name, count, side, values) in enumerate((*groups, ("test", test, Side.TEST, drawn))):
        for index in range(count):
            image, leaves = scan(seed, 1000 * group + index)
            stored = np.where(np.isin(leaves, list(values)), leaves, 0).astype(np.uint8)
            files = {f"images/{name}_{index:02d}.nii.gz": image}
            files[f"labels/{name}_{index:02d}.nii.gz"] = Volume(stored, image.geometry)
            for file, volume in files.items():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                write_volume(volume, folder / file)
            scan_file, label_file = files
            identity = f"{name}_{index:02d}"
            annotation = Annotation(file=label_file, values=values)
            cases.append(
                Case(id=identity, patient=identity, images={"T1": scan_file}, annotation=annotation, split=side)
            )
    dataset = Dataset(
        name="three", scheme=SCHEME, channels=("T1",), cases=tuple(cases), root=folder, modality={"T1": "MR"}
    )
    save_dataset(dataset, folder)
    alone = tuple(case for case in cases if not case.id.startswith("lacking"))
    save_dataset(dataset.with_cases(alone), folder / ALONE)
    return dataset
