"""What the panel does with cases, as calls: find them, load them from files, split sequences, check them, show them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import slicer

from SemiSegLib.errors import explain
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegModule import jobs
from SemiSegModule.bridge.case_check import CaseCheck, CaseSnapshot, check, copyOntoScan, lookedForWithout, snapshot
from SemiSegModule.bridge.case_files import CaseFiles, addCase
from SemiSegModule.bridge.case_import import ImportPlan, planImport
from SemiSegModule.bridge.frame_labels import FrameLabels, copyLabels, labelsOfFrames
from SemiSegModule.bridge.frames import Frames, framedVolumes, makeGray, parseFrames, requireChosen, splitFrames
from SemiSegModule.bridge.layers import SurfaceImages
from SemiSegModule.bridge.scene_case import LEFT_OUT, SceneCase
from SemiSegModule.used_sides import splitOf
from SemiSegModule.waiting import Waiting


class CasesLogic:
    """The calls of ``StudyLogic`` that are about cases."""

    def planImport(self, *paths: str | Path) -> ImportPlan:
        """Return what files and folders hold, without reading voxels: what ``importCases`` would load.

        Args:
            paths: a dataset (SemiSeg, Medical Segmentation Decathlon, nnU-Net; its folder or file), or folders and
                files of scans and labels. Files of several images (4-D) are listed in ``plan.framed``; choose of them
                by ``plan.withFrames("1, 5-7", labelsOf=5)``. Where ``plan.numbered`` is above 1, file names say that
                several files are channels of one scan: ``plan.withChannels(["T1", "FLAIR"])`` makes them one case.

        Raises:
            CaseError: nothing that can be read is there.
            ConfigError: the dataset file is wrong.
        """
        return planImport([Path(path) for path in paths])

    def importCases(self, plan: ImportPlan | str | Path, waiting: Waiting | None = None) -> list[SceneCase]:
        """Load cases from files as new nodes and return them, with patient, side and state as far as known.

        What their labels say and no segment can is logged as a warning, and so are files that become no case.

        Args:
            plan: what to load, or the path of a dataset or folder.
            waiting: is told how far it is, and has the reading done apart from the scene.

        Raises:
            CaseError: a file cannot be read; cases loaded before it stay.
        """
        if not isinstance(plan, ImportPlan):
            plan = self.planImport(plan)
        waiting = waiting or Waiting()
        for text in plan.leftOut:
            logging.warning("SemiSeg: %s", text)
        cases, readers = [], plan.readers()
        for number, (name, read) in enumerate(readers):
            waiting.tell(number, len(readers), name)
            files = waiting.apart(read)
            cases.append(self.addCase(files))
            for finding in files.findings:
                logging.warning("SemiSeg: %s", explain(finding.what, where=finding.where, remedy=finding.remedy))
        return cases

    def addCase(self, files: CaseFiles) -> SceneCase:
        """Make nodes of one case that was read, and return it."""
        return addCase(files)

    def framedVolumes(self) -> list[Frames]:
        """Return the volumes of the scene that are no cases: of several images (sequences, 4-D scans) or in color."""
        return framedVolumes()

    def splitFrames(self, frames: Frames, numbers: Sequence[int] | str, labelsOf: int | None = None) -> list[Any]:
        """Return new volume nodes, one for each chosen image of a sequence or 4-D scan, which is left as it is.

        What was drawn on it is copied too, as a new segmentation node beside each new volume: a sequence of
        segmentations image by image, a single one beside the image that it belongs to.

        Args:
            frames: one of ``framedVolumes()``.
            numbers: which images, counted from 1; or a text such as "1, 5-7" or "all".
            labelsOf: the image on which a single segmentation was drawn; None if it is the only one that is chosen, or
                if nobody knows: then it is left out.

        Raises:
            CaseError: there is no such image, or the labels are of one that was not chosen.
        """
        chosen = parseFrames(numbers, frames.count) if isinstance(numbers, str) else numbers
        requireChosen(labelsOf, chosen, where=frames.node.GetName())
        labels = labelsOfFrames(frames)
        volumes = splitFrames(frames, chosen)
        copied = copyLabels(labels, frames, chosen, volumes, labelsOf) if labels is not None else []
        if labels is not None and not copied:
            logging.warning("SemiSeg: '%s' is left out: which image it belongs to is not known", labels.node.GetName())
        return volumes

    def labelsOfFrames(self, frames: Frames) -> FrameLabels | None:
        """Return the segmentation that was drawn on a sequence or 4-D scan, or None; see ``splitFrames``."""
        return labelsOfFrames(frames)

    def makeGray(self, frames: Frames) -> Any:
        """Return a new volume node with the brightness of a color image, which is left as it is.

        Args:
            frames: one of ``framedVolumes()`` with ``isColor``.

        Raises:
            CaseError: it is no color image.
        """
        return makeGray(frames)

    def snapshotCase(self, case: SceneCase, scheme: LabelScheme, surfaces: SurfaceImages | None = None) -> CaseSnapshot:
        """Return a case as it is at this moment, for ``checkCase``.

        Args:
            case: of the scene.
            scheme: label scheme.
            surfaces: keeps closed surfaces that were turned into voxels; None keeps nothing.
        """
        return snapshot(case, scheme, surfaces)

    def checkCase(self, case: SceneCase | CaseSnapshot, scheme: LabelScheme | None = None) -> CaseCheck:
        """Return what is doubtful about a case, with remedies; nothing is written.

        Args:
            case: of the scene (then ``scheme`` is needed), or a snapshot, which can be checked in a thread.
            scheme: label scheme.
        """
        if isinstance(case, SceneCase):
            case = snapshot(case, scheme or self.readScheme())  # type: ignore[attr-defined]
        return check(case)

    def leaveOut(self, case: SceneCase, segments: Collection[str], scheme: LabelScheme) -> SceneCase:
        """Return a case of which empty segments say nothing: their structures are neither drawn nor absent.

        Args:
            case: of the scene.
            segments: IDs of segments without any voxel, as ``checkCase(...).emptySegments`` names them.
            scheme: label scheme.
        """
        left = [segmentId for segmentId in segments if segmentId in case.meanings]
        meanings = {**case.meanings, **dict.fromkeys(left, LEFT_OUT)}
        return replace(case, meanings=meanings, lookedFor=lookedForWithout(case, left, scheme))

    def copyOntoScan(
        self,
        segmentation: Any,
        volume: Any,
        *,
        surfaces: SurfaceImages | None = None,
        waiting: Waiting | None = None,
    ) -> Any:
        """Return a new segmentation node with the same segments on the voxels of a volume; neither node is changed.

        Args:
            segmentation: node with the segments.
            volume: node on whose voxels they are wanted.
            surfaces: closed surfaces that were turned into voxels already, and keeps the others; None keeps nothing.
            waiting: is told how far it is; without it the call returns when everything is copied.

        Raises:
            CaseError: a segment cannot be turned into voxels, or a node has left the scene meanwhile.
        """
        return copyOntoScan(segmentation, volume, surfaces=surfaces, waiting=waiting)

    def showCase(self, case: SceneCase) -> None:
        """Show a case in the slice views: its first volume, its segmentation, and of other segmentations none."""
        nodes = list(case.volumes.values())
        second = nodes[1] if len(nodes) > 1 else None
        slicer.util.setSliceViewerLayers(background=nodes[0], foreground=second, label=None, fit=True)
        for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
            display = node.GetDisplayNode()
            if display is not None:
                display.SetVisibility(node is case.segmentation)

    def usedSides(self, studyFolder: str | Path | None) -> dict[str, str]:
        """Return patient to the side of the split on which the study's first run with it has used it.

        A side that was used never changes again: a model may have seen the patient.
        """
        sides: dict[str, str] = {}
        for run in reversed(jobs.findRuns(studyFolder)) if studyFolder else ():
            for patient, side in splitOf(run.split_path).items():
                sides.setdefault(patient, side)
        return sides
