"""What the module's own test checks inside Slicer: no torch, no network, a few seconds."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import slicer

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegModule.bridge.dataset_import import loadCase


def checkRoundTrip(logic: Any) -> None:
    """Load a generated study under a transform, write it from the scene, and compare what the files say.

    Args:
        logic: SemiSegLogic.
    """
    with TemporaryDirectory() as folder:
        original = write_cohort(Path(folder) / "cohort", fine=1, coarse=1, partial=1, none=1, validation=0)
        cases = [loadCase(original, case) for case in original.cases]
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        for case in cases:
            for node in filter(None, (*case.volumes.values(), case.segmentation)):
                node.SetAndObserveTransformNodeID(transform.GetID())
        study = logic.exportStudy(Path(folder) / "study", cases, original.scheme, name="self test")
        for before, after in zip(original.cases, study.dataset.cases, strict=True):
            assert before.regime(original.scheme) is after.regime(study.dataset.scheme)
            (image,), (was,) = read_images(study.dataset, after), read_images(original, before)
            assert image.geometry.displacement_mm(was.geometry) < 0.01
            assert np.array_equal(image.voxels, was.voxels)
            if before.annotation is not None:
                codes, table = read_codes(original, before, was.geometry)
                found, foundTable = read_codes(study.dataset, after, image.geometry)
                assert np.array_equal(table.array[codes], foundTable.array[found])
        assert logic.recommend(study.dataset).method
