"""Which volumes and segmentations of the scene belong together, and what they amount to as a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import slicer

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, name_key
from SemiSegLib.prediction.findings import drawn_structures
from SemiSegModule.bridge.frames import framedVolumes
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.bridge.scene_case import (
    ANNOTATED_REGION,
    LEFT_OUT,
    SceneCase,
    suggestLookedFor,
    suggestMeanings,
    suggestState,
)

_CONSTANTS = slicer.vtkMRMLSubjectHierarchyConstants


def scalarVolumes() -> list[Any]:
    """Return the scene's scalar volumes, in the scene's order; one whose file was not read holds no voxels.

    Label maps, color images and what holds several images are none, nor are maps of uncertainty that a model made.
    """
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    scalar = [n for n in nodes if n.GetClassName() == "vtkMRMLScalarVolumeNode" and not n.GetHideFromEditors()]
    framed = {frames.node.GetID() for frames in framedVolumes()}
    return [n for n in scalar if not n.GetAttribute(RESULT_ATTRIBUTE) and n.GetID() not in framed]


def segmentations(*, withResults: bool = True) -> list[Any]:
    """Return the scene's segmentation nodes, with or without those that a model made."""
    nodes = [n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if not n.GetHideFromEditors()]
    return [n for n in nodes if withResults or not n.GetAttribute(RESULT_ATTRIBUTE)]


def segmentationOf(volumeNode: Any, candidates: Sequence[Any], volumes: Sequence[Any]) -> Any:
    """Return the segmentation that belongs to a volume, or None.

    By its source volume; else by the folder, study or patient of the subject hierarchy if that holds one volume
    only; else by a name that starts with the volume's and with no longer volume name.
    """
    role = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
    for node in candidates:
        if node.GetNodeReferenceID(role) == volumeNode.GetID():
            return node
    loose = [n for n in candidates if not n.GetNodeReference(role)]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parent = _parentItem(hierarchy, volumeNode)
    if parent and sum(_parentItem(hierarchy, v) == parent for v in volumes) == 1:
        for node in loose:
            if _parentItem(hierarchy, node) == parent:
                return node
    for node in loose:
        starts = [v for v in volumes if name_key(node.GetName()).startswith(name_key(v.GetName()))]
        if starts and max(starts, key=lambda v: len(v.GetName())) is volumeNode:
            return node
    return None


def suggestChannel(volumeNode: Any, first: str, channel: str, volumes: Sequence[Any], taken: Sequence[Any]) -> Any:
    """Return the volume that is probably a further channel of a case, or None if none or several could be.

    Its name holds the channel's, it is no channel of another case, and it is of the same patient or folder of the
    subject hierarchy, or its name begins with that of the case's volume or is the same but for the channel.

    Args:
        volumeNode: the case's volume, which is its image of the channel ``first``.
        first: name of that channel.
        channel: name of the further channel.
        volumes: to choose from.
        taken: channels of cases.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    parent, patient = _parentItem(hierarchy, volumeNode), patientOf(volumeNode)
    own = name_key(volumeNode.GetName())
    base = own.replace(name_key(first), "")
    found = []
    for node in volumes:
        if node is volumeNode or any(node is other for other in taken):
            continue
        isNear = (parent and _parentItem(hierarchy, node) == parent) or (patient and patientOf(node) == patient)
        name = name_key(node.GetName())
        isNamed = name.startswith(own) or (base and name.replace(name_key(channel), "") == base)
        if name_key(channel) in name and (isNear or isNamed):
            found.append(node)
    return found[0] if len(found) == 1 else None


def patientOf(volumeNode: Any) -> str:
    """Return who a volume is of by the patient item above it in the subject hierarchy, or the empty string.

    DICOM's Patient ID comes before the item's name: two patients can have one name.
    """
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(volumeNode)
    while item and item != hierarchy.GetSceneItemID():
        if hierarchy.GetItemLevel(item) == _CONSTANTS.GetDICOMLevelPatient():
            patientId = hierarchy.GetItemAttribute(item, _CONSTANTS.GetDICOMPatientIDAttributeName())
            return str(patientId or hierarchy.GetItemUID(item, "DICOM") or hierarchy.GetItemName(item))
        item = hierarchy.GetItemParent(item)
    return ""


def findCases(scheme: LabelScheme, channel: str = "image") -> list[SceneCase]:
    """Return every scalar volume of the scene as a case of one channel, with its segmentation as far as known.

    Meanings are matched by terminology, name or alias and are "" where a person must say.
    """
    volumes, left = scalarVolumes(), segmentations(withResults=False)
    names = [volume.GetName() for volume in volumes]
    cases = []
    for index, volume in enumerate(volumes):
        segmentation = segmentationOf(volume, left, volumes)
        left = [node for node in left if node is not segmentation]
        meanings = suggestMeanings(segmentation, scheme) if segmentation else {}
        # Scans are often all called "1: T1"; the number of the repetition keeps case names apart.
        repeat = names[:index].count(names[index])
        cases.append(
            SceneCase(
                id=names[index] if not repeat else f"{names[index]} ({repeat + 1})",
                volumes={channel: volume},
                segmentation=segmentation,
                meanings=meanings,
                lookedFor=suggestLookedFor(meanings, scheme),
                patient=patientOf(volume),
                state=suggestState(segmentation),
            )
        )
    return cases


def sketchStudy(cases: Sequence[SceneCase], scheme: LabelScheme, name: str) -> Dataset:
    """Return the study that an export would write, without voxels or files: for regimes and recommendations."""
    return Dataset(
        name=name,
        scheme=scheme,
        channels=tuple(cases[0].volumes) if cases else (),
        cases=tuple(_sketchCase(case, scheme) for case in cases),
        root=Path(),
        modality={},
    )


def drawnIn(volume: Any, cases: Sequence[SceneCase], scheme: LabelScheme, model: LabelScheme) -> tuple[str, ...]:
    """Return the structures of a model that a person has drawn in a volume, as the model calls them.

    Args:
        volume: node.
        cases: of the study; the first that has the volume tells.
        scheme: of the study.
        model: scheme of the model.
    """
    case = next((case for case in cases if any(node is volume for node in case.volumes.values())), None)
    annotation = None if case is None else _sketchCase(case, scheme).annotation
    drawn = {name_key(name) for name in drawn_structures(annotation, scheme)} if annotation is not None else ()
    return tuple(s.name for s in model.structures if name_key(s.name) in drawn)


def _sketchCase(case: SceneCase, scheme: LabelScheme) -> Case:
    segments = _segmentSets(case, scheme)
    everything = frozenset(range(len(scheme.leaves)))
    elsewhere = everything - frozenset().union(*(scheme.leaves_of(s) for s in case.lookedFor if s != BACKGROUND))
    region = case.region is not None or ANNOTATED_REGION in case.meanings.values()
    annotation = None
    if case.segmentation is not None and (segments or elsewhere != everything):
        more = {"*": scheme.cover(everything)} if region else {}
        annotation = Annotation(file="", segments={**segments, **more}, elsewhere=scheme.cover(elsewhere))
    return Case(
        id=case.id,
        patient=case.patient or case.id,
        images=dict.fromkeys(case.volumes, ""),
        annotation=annotation,
        split=Side(case.side) if case.side else None,
    )


def _segmentSets(case: SceneCase, scheme: LabelScheme) -> Mapping[str, tuple[str, ...]]:
    """Return structure name to what its voxels may be: a whole loses the parts that were looked for."""
    result = {}
    lookedFor = [scheme.leaves_of(name) for name in case.lookedFor]
    for meaning in set(case.meanings.values()) - {"", ANNOTATED_REGION, LEFT_OUT}:
        leaves = scheme.leaves_of(meaning)
        rest = leaves.difference(*(inside for inside in lookedFor if inside < leaves))
        result[meaning] = scheme.cover(rest or leaves)
    return result


def _parentItem(hierarchy: Any, node: Any) -> int:
    item = hierarchy.GetItemByDataNode(node)
    parent = hierarchy.GetItemParent(item) if item else 0
    return 0 if parent == hierarchy.GetSceneItemID() else int(parent)
