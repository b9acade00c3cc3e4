"""From cases of the scene to a dataset folder that a run can read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from SemiSegLib.cases.checks import Finding
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.config import to_json
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.annotation_image import annotationImage
from SemiSegModule.bridge.geometry import Grid, worldGrid
from SemiSegModule.bridge.images import writeImages, writeOnce
from SemiSegModule.bridge.scene_case import SceneCase, safeFileName

# Lowest intensity of a volume from which on it is taken for CT when nothing says what it is, in HU.
_CT_BELOW = -200.0


@dataclass(frozen=True)
class StudyExport:
    """What an export wrote.

    Attributes:
        path: the dataset's JSON file; its name holds the content's hash, so a run that uses it is never disturbed.
        dataset: what the file says.
        grids: case id to the grid of its first channel as written.
        findings: what the user should know, per case.
    """

    path: Path
    dataset: Dataset
    grids: Mapping[str, Grid]
    findings: tuple[Finding, ...]


def exportStudy(
    folder: Path,
    cases: Sequence[SceneCase],
    scheme: LabelScheme,
    *,
    name: str,
    modality: Mapping[str, str] | None = None,
    onProgress: Callable[[int, int, str], None] | None = None,
) -> StudyExport:
    """Write cases of the scene as a dataset; nodes of the scene are only read.

    Args:
        folder: made if missing; files of earlier exports are kept and used again where nothing changed.
        cases: all with the same channel roles in the same order.
        scheme: holds every structure that a case names.
        name: name of the study.
        modality: channel role to "CT" or "MR"; guessed from the scans if None.
        onProgress: called with cases done, cases in all, and the case that comes next.

    Raises:
        CaseError: there is no case, ids or roles do not fit, or a case cannot be written; names case and remedy.
        LabelError: a case names a structure that the scheme does not have.
    """
    folder = Path(folder)
    _checkCases(cases)
    written: list[Case] = []
    grids: dict[str, Grid] = {}
    findings: list[Finding] = []
    for index, case in enumerate(cases):
        if onProgress is not None:
            onProgress(index, len(cases), case.id)
        names, grids[case.id], notes = writeImages(case.volumes, case.id, folder / "images")
        annotation, more = _writeAnnotation(case, scheme, folder, grids[case.id])
        findings += [*notes, *more]
        images = {role: f"images/{file}" for role, file in names.items()}
        side = Side(case.side) if case.side else None
        written.append(
            Case(id=case.id, patient=case.patient or case.id, images=images, annotation=annotation, split=side)
        )
    dataset = Dataset(
        name=name,
        scheme=scheme,
        channels=tuple(cases[0].volumes),
        cases=tuple(written),
        root=folder,
        modality=dict(modality or suggestModality(cases)),
    )
    return StudyExport(_save(dataset, folder), dataset, grids, tuple(findings))


def suggestModality(cases: Sequence[SceneCase]) -> dict[str, str]:
    """Return channel role to "CT" or "MR", from the DICOM modality if the scene knows it, else from intensities."""
    return {role: _modalityOf(node) for role, node in cases[0].volumes.items()}


def _modalityOf(volumeNode: Any) -> str:
    scene = volumeNode.GetScene()
    hierarchy = scene.GetSubjectHierarchyNode() if scene else None
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy else 0
    if item:
        modality = hierarchy.GetItemAttribute(item, "DICOM.Modality")
        if modality in ("CT", "MR"):
            return str(modality)
    return "CT" if volumeNode.GetImageData().GetScalarRange()[0] < _CT_BELOW else "MR"


def _checkCases(cases: Sequence[SceneCase]) -> None:
    if not cases:
        raise CaseError(explain("no case is chosen", where="study", remedy="tick at least one volume"))
    seen: dict[str, str] = {}
    for case in cases:
        key = safeFileName(case.id).casefold()
        if key in seen:
            raise CaseError(
                explain(
                    f"'{case.id}' and '{seen[key]}' are the same name for a file system",
                    where="study",
                    remedy="rename one of the two volumes",
                )
            )
        seen[key] = case.id
        if tuple(case.volumes) != tuple(cases[0].volumes):
            raise CaseError(
                explain(
                    f"it has the channels {', '.join(case.volumes)}, the first case has {', '.join(cases[0].volumes)}",
                    where=f"case '{case.id}'",
                    remedy="give every case the same channels in the same order",
                )
            )


def _writeAnnotation(
    case: SceneCase, scheme: LabelScheme, folder: Path, writtenGrid: Grid
) -> tuple[Annotation | None, tuple[Finding, ...]]:
    image = annotationImage(case, scheme, worldGrid(next(iter(case.volumes.values()))))
    if image is None:
        return None, ()
    file = writeOnce(folder / "labels", safeFileName(case.id), image.voxels, writtenGrid)
    return Annotation(file=f"labels/{file}", values=dict(image.values)), image.findings


def _save(dataset: Dataset, folder: Path) -> Path:
    """Write the snapshot a run refers to, and ``dataset.json`` as the latest for people and tools."""
    content = json.dumps(to_json({**vars(dataset), "root": ""}), sort_keys=True, ensure_ascii=False)
    digest = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
    snapshot = folder / f"dataset_{digest}.json"
    if not snapshot.exists():
        save_dataset(dataset, snapshot)
    save_dataset(dataset, folder / "dataset.json")
    return snapshot
