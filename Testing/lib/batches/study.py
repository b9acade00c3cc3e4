"""A small study on disk with cases of every regime, for the tests of planning and batches."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.volume import Volume, write_volume
from SemiSegLib.labels.annotation import Annotation, Extent
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from Testing.lib.cases.tiny import oblique, scheme

SPACING_MM = (1.6, 0.7, 0.9)
MEANING = {
    "full": {0: ("background",), 1: ("head",), 2: ("tail",), 3: ("vessel",)},
    "coarse": {0: ("background",), 1: ("organ",), 2: ("organ",), 3: ("vessel",)},
    "partial": {0: ("background", "organ"), 1: ("*",), 2: ("*",), 3: ("vessel",)},
}


def drawing(shape, seed):
    """Labels 0 to 3: two touching halves of an organ and a vessel of one voxel column, somewhere in the volume."""
    generator = np.random.default_rng(seed)
    labels = np.zeros(shape, dtype=np.uint8)
    d, h, w = (max(1, n // 2) for n in shape)
    first = [int(generator.integers(0, n - m + 1)) for n, m in zip(shape, (d, h, w), strict=True)]
    block = tuple(slice(a, a + n) for a, n in zip(first, (d, h, w), strict=True))
    labels[block] = 1
    labels[block[0], block[1], first[2] + max(1, w // 2) : first[2] + w] = 2
    labels[:, -1, -1] = 3
    return labels


def put_case(folder: Path, case_id: str, regime: str, *, shape=(7, 13, 11), seed=0, spacing_mm=SPACING_MM) -> Case:
    """Write image and labels and return the case; a case without annotation gets no label file."""
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    grid = oblique(shape, spacing_mm)
    labels = drawing(shape, seed)
    voxels = generator.normal(100.0 + 40.0 * labels, 10.0).astype(np.float32)
    write_volume(Volume(voxels, grid), folder / "images" / f"{case_id}.nii.gz")
    annotation = None
    if regime != "none":
        write_volume(Volume(labels, grid), folder / "labels" / f"{case_id}.nii.gz")
        extent = Extent(slices=tuple(range(0, shape[0], 2))) if regime == "partial" else Extent()
        annotation = Annotation(file=f"labels/{case_id}.nii.gz", values=MEANING[regime], extent=extent)
    return Case(
        id=case_id,
        patient=case_id,
        images={"T1": f"images/{case_id}.nii.gz"},
        annotation=annotation,
        split=Side.TRAIN,
    )


def put_study(folder: Path, regimes=("full", "full", "coarse", "partial", "none"), **options) -> Dataset:
    """Write one case for each regime named."""
    cases = tuple(put_case(folder, f"{regime}{i}", regime, seed=i, **options) for i, regime in enumerate(regimes))
    return of_cases(folder, cases)


def of_cases(folder: Path, cases) -> Dataset:
    return Dataset(
        name="small study",
        scheme=scheme(),
        channels=("T1",),
        cases=tuple(cases),
        root=folder,
        modality={"T1": "MR"},
    )


def a_plan(*, patch=(6, 8, 10), batch=4, dimensions=3, spacing_mm=SPACING_MM, **changes) -> Plan:
    plan = Plan(
        dimensions=dimensions,
        channels=(ChannelPlan(role="T1"),),
        axis_order=(0, 1, 2),
        spacing_mm=spacing_mm,
        patch=patch,
        batch=batch,
        network=NetworkPlan(),
    )
    return replace(plan, **changes)
