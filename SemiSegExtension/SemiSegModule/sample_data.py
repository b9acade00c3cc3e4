"""The built-in study in Slicer's Sample Data: generated on this computer, nothing is downloaded."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

CATEGORY = "SemiSeg"
SAMPLE = "SemiSegStudy"
ICON = Path(__file__).resolve().parents[1] / "Resources/Icons/SemiSeg.png"
# Enough to train on and to look at; more cases would only fill the scene.
COUNTS = {"fine": 3, "coarse": 4, "partial": 1, "none": 1, "validation": 2, "test": 1}


def register(parameterNode: Callable[[], Any]) -> None:
    """Offer the study, once; does nothing where the Sample Data module is not there.

    Args:
        parameterNode: called for the module's parameter node, whose case table gets the cases.
    """
    try:
        sampleData = importlib.import_module("SampleData")
    except ImportError:
        return
    logic = sampleData.SampleDataLogic
    registered = getattr(slicer.modules, "sampleDataSources", {}).get(CATEGORY, [])
    if any(source.sampleName == SAMPLE for source in registered):
        return
    if hasattr(logic, "registerCustomSampleDataCategory"):
        logic.registerCustomSampleDataCategory(CATEGORY, title="SemiSeg")
    logic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE,
        # The downloader below takes the place of a download; the names are required, and not used.
        uris=f"generated:{SAMPLE}",
        fileNames=SAMPLE,
        nodeNames=SAMPLE,
        thumbnailFileName=str(ICON),
        customDownloader=lambda _source: loadStudy(parameterNode()),
    )


def loadStudy(parameterNode: Any) -> list[Any]:
    """Generate the study in Slicer's cache folder if it is not there yet, and return its cases as new nodes.

    The case table gets them as when the dataset is added, with the sides of the split that it gives them.
    """
    from SemiSegLib.cases.cohort import write_cohort
    from SemiSegLib.cases.formats import load_dataset
    from SemiSegModule.bridge.dataset_import import loadCase
    from SemiSegModule.panel.case_loading import addRow
    from SemiSegModule.parameters import StudyParameters

    folder = Path(cacheFolder()) / SAMPLE
    dataset = load_dataset(folder) if (folder / "dataset.json").is_file() else write_cohort(folder, **COUNTS)
    parameters = StudyParameters(parameterNode)
    if not parameters.rows():
        parameters.channels = list(dataset.channels)
    cases = [loadCase(dataset, case) for case in dataset.cases]
    for case in cases:
        addRow(parameters, case, isSaid=case.segmentation is not None)
    nodes = [node for case in cases for node in (*case.volumes.values(), case.segmentation)]
    return [node for node in nodes if node is not None]


def cacheFolder() -> str:
    """Return Slicer's folder for downloaded samples, which its settings let a user clear."""
    manager = slicer.mrmlScene.GetCacheManager()
    folder = manager.GetRemoteCacheDirectory() if manager is not None else ""
    return folder or slicer.app.temporaryPath
