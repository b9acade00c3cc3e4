"""From cases of the scene to a dataset folder that a run can read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from SemiSegLib.cases.checks import Finding
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.config import to_json, write_json
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule.bridge.annotation_image import annotationImage
from SemiSegModule.bridge.case_reading import readCase
from SemiSegModule.bridge.drawing import Drawing
from SemiSegModule.bridge.geometry import Grid
from SemiSegModule.bridge.images import Channel, Scan, writeOnce, writeScan, writingTo
from SemiSegModule.bridge.layers import SurfaceImages
from SemiSegModule.bridge.scene_case import SceneCase, safeFileName, suggestState
from SemiSegModule.bridge.states import STATES_FILE, readStates
from SemiSegModule.waiting import Waiting

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
    surfaces: SurfaceImages | None = None,
    waiting: Waiting | None = None,
) -> StudyExport:
    """Write cases of the scene as a dataset; nodes of the scene are only read, each case as it is at one moment.

    Args:
        folder: made if missing; files of earlier exports are kept and used again where nothing changed.
        cases: all with the same channel roles in the same order.
        scheme: holds every structure that a case names.
        name: name of the study.
        modality: channel role to "CT" or "MR"; guessed from the scans if None.
        surfaces: closed surfaces that were turned into voxels already, and keeps the others; None keeps nothing.
        waiting: is told how far it is, has what takes long done apart from the scene, and lets Slicer answer between
            one surface or image and the next; None: nobody waits.

    Raises:
        CaseError: there is no case, ids or roles do not fit, a case cannot be written, or one was removed from the
            scene meanwhile; names case and remedy.
        LabelError: a case names a structure that the scheme does not have.
    """
    folder, waiting = Path(folder), waiting or Waiting()
    _checkCases(cases)
    written: list[Case] = []
    grids: dict[str, Grid] = {}
    findings: list[Finding] = []
    for index, case in enumerate(cases):
        tell = partial(waiting.tell, index, len(cases))
        scan, drawing = readCase(case, scheme, surfaces=surfaces, waiting=waiting, tell=tell)
        tell(case.id)
        if not modality:
            modality = waiting.apart(partial(_suggestModality, scan, _knownModality(case)))
        done, notes = waiting.apart(partial(_writeCase, case, scan, drawing, scheme=scheme, folder=folder))
        written.append(done)
        grids[case.id] = scan.grid
        findings += notes
    dataset = Dataset(
        name=name,
        scheme=scheme,
        channels=tuple(cases[0].volumes),
        cases=tuple(written),
        root=folder,
        modality=dict(modality or {}),
    )
    with writingTo(folder):
        path = _save(dataset, folder)
        states = {case.id: case.state or suggestState(case.segmentation) for case in cases}
        # What other exports have said of cases that this one leaves out is kept.
        write_json(folder / STATES_FILE, {**readStates(folder), **states})
    return StudyExport(path, dataset, grids, tuple(findings))


def _knownModality(case: SceneCase) -> dict[str, str]:
    """Return channel role to "CT" or "MR", for the channels of which the scene knows the DICOM modality."""
    known = {role: _dicomModality(node) for role, node in case.volumes.items()}
    return {role: modality for role, modality in known.items() if modality in ("CT", "MR")}


def _dicomModality(volumeNode: Any) -> str:
    scene = volumeNode.GetScene()
    hierarchy = scene.GetSubjectHierarchyNode() if scene else None
    item = hierarchy.GetItemByDataNode(volumeNode) if hierarchy else 0
    return str(hierarchy.GetItemAttribute(item, "DICOM.Modality")) if item else ""


def _suggestModality(scan: Scan, known: Mapping[str, str]) -> dict[str, str]:
    """Return channel role to "CT" or "MR", from intensities where nothing else says it; touches no node."""
    return {role: known.get(role) or _likelyModality(channel) for role, channel in scan.channels.items()}


def _likelyModality(channel: Channel) -> str:
    # The lowest of all that is a number.
    return "CT" if np.fmin.reduce(channel.voxels, axis=None) < _CT_BELOW else "MR"


def _checkCases(cases: Sequence[SceneCase]) -> None:
    if not cases:
        raise CaseError(explain(_("no case is chosen"), where=_("study"), remedy=_("tick at least one volume")))
    seen: dict[str, str] = {}
    for case in cases:
        key = safeFileName(case.id).casefold()
        if key in seen:
            raise CaseError(
                explain(
                    _("'{case}' and '{other}' are the same name for a file system").format(
                        case=case.id, other=seen[key]
                    ),
                    where=_("study"),
                    remedy=_("rename one of the two volumes"),
                )
            )
        seen[key] = case.id
        if tuple(case.volumes) != tuple(cases[0].volumes):
            raise CaseError(
                explain(
                    _("it has the channels {channels}, the first case has {others}").format(
                        channels=", ".join(case.volumes), others=", ".join(cases[0].volumes)
                    ),
                    where=_("case '{case}'").format(case=case.id),
                    remedy=_("give every case the same channels in the same order"),
                )
            )


def _writeCase(
    case: SceneCase, scan: Scan, drawing: Drawing | None, *, scheme: LabelScheme, folder: Path
) -> tuple[Case, tuple[Finding, ...]]:
    """Write what was read of a case; touches no node."""
    names, findings = writeScan(scan, case.id, folder / "images")
    annotation = None
    if drawing is not None:
        # Labels follow the voxels of their scan, whatever frame it is written in.
        image = annotationImage(drawing, scheme)
        file = writeOnce(folder / "labels", safeFileName(case.id), image.voxels, scan.grid)
        annotation = Annotation(file=f"labels/{file}", values=dict(image.values))
        findings += image.findings
    images = {role: f"images/{file}" for role, file in names.items()}
    side = Side(case.side) if case.side else None
    return Case(id=case.id, patient=case.patient or case.id, images=images, annotation=annotation, split=side), findings


def _save(dataset: Dataset, folder: Path) -> Path:
    """Write the snapshot a run refers to, and ``dataset.json`` as the latest for people and tools."""
    content = json.dumps(to_json({**vars(dataset), "root": ""}), sort_keys=True, ensure_ascii=False)
    digest = hashlib.blake2b(content.encode(), digest_size=6).hexdigest()
    snapshot = folder / f"dataset_{digest}.json"
    if not snapshot.exists():
        save_dataset(dataset, snapshot)
    save_dataset(dataset, folder / "dataset.json")
    return snapshot
