"""What the panel does with structures and with what the labels of a case mean, as calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.labels import edits
from SemiSegLib.labels.color_table import write_color_table
from SemiSegLib.labels.edits import Edit
from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Terminology, name_key
from SemiSegLib.labels.schemes import write_scheme
from SemiSegModule.bridge.annotation_image import drawnOverlaps
from SemiSegModule.bridge.color_tables import colorTableFromScheme, schemeFromColorTable
from SemiSegModule.bridge.drawing import readDrawing
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.images import writingTo
from SemiSegModule.bridge.meanings import Suggestion, proposeMeanings
from SemiSegModule.bridge.overlaps import Overlap, ruleKey
from SemiSegModule.bridge.region import Region
from SemiSegModule.bridge.scene_case import ANNOTATED_REGION, LEFT_OUT, SceneCase, schemeFromSegments, suggestLookedFor

# Share of the volume that a new box covers along each axis.
_BOX_SHARE = 0.5


class LabelsLogic:
    """Part of ``StudyLogic``; schemes and cases are values: every call returns a new one."""

    def addStructure(self, scheme: LabelScheme | None, name: str, parent: str | None = None) -> Edit:
        """Return the scheme (``.scheme`` of the result) with a new structure, alone or as a part of another one.

        Without a scheme (None) the structure begins one.

        Raises:
            LabelError: the name is empty, taken or cannot be used.
        """
        return edits.add_structure(scheme, name, parent=parent)

    def addRest(self, scheme: LabelScheme, whole: str) -> Edit:
        """Return the scheme with a part for what is in a whole and in none of its parts.

        Without it, all that is drawn as a whole with one part alone counts as that part.

        Raises:
            LabelError: there is no such whole, or it has the part already.
        """
        return edits.add_rest(scheme, whole)

    def renameStructure(self, scheme: LabelScheme, name: str, newName: str) -> Edit:
        """Return the scheme with another name for a structure; segments of the old name still match.

        Raises:
            LabelError: the name is empty, taken or cannot be used.
        """
        return edits.rename_structure(scheme, name, newName)

    def removeStructure(self, scheme: LabelScheme, name: str) -> Edit:
        """Return the scheme without a structure; its parts become parts of what it was part of.

        Raises:
            LabelError: it is background, or the last structure.
        """
        return edits.remove_structure(scheme, name)

    def moveStructure(self, scheme: LabelScheme, name: str, parent: str | None) -> Edit:
        """Return the scheme with a structure and its parts inside another one, or (None) on its own.

        Raises:
            LabelError: it would be inside itself.
        """
        return edits.move_structure(scheme, name, parent)

    def mergeStructures(self, scheme: LabelScheme, names: Sequence[str], into: str) -> Edit:
        """Return the scheme with several structures as one; segments of all their names match it.

        Raises:
            LabelError: one of them contains the structure that stays.
        """
        return edits.merge_structures(scheme, names, into)

    def recolorStructure(self, scheme: LabelScheme, name: str, color: tuple[float, float, float]) -> Edit:
        """Return the scheme with another color for a structure, each part 0 to 1."""
        return edits.recolor_structure(scheme, name, color)

    def codeStructure(self, scheme: LabelScheme, name: str, terminology: Terminology | None) -> Edit:
        """Return the scheme with another terminology entry for a structure, or none."""
        return edits.code_structure(scheme, name, terminology)

    def addSegments(
        self, scheme: LabelScheme | None, segmentations: Sequence[Any], meanings: Sequence[Mapping[str, str]] = ()
    ) -> Edit:
        """Return the scheme with a structure for each segment of some segmentations that it does not have yet.

        Args:
            scheme: is not changed.
            segmentations: nodes.
            meanings: segment ID to what was said of it, one for each node; what is no structure stays out.

        Raises:
            LabelError: there is no segment.
        """
        return edits.add_structures(scheme, schemeFromSegments(segmentations, "Scene", meanings))

    def addColorTable(self, scheme: LabelScheme | None, colorTable: Any) -> Edit:
        """Return the scheme with the structures of a color table node of the scene that it does not have yet.

        Raises:
            LabelError: the color table names no structure.
        """
        return edits.add_structures(scheme, schemeFromColorTable(colorTable))

    def addSchemeFile(self, scheme: LabelScheme | None, path: str | Path) -> Edit:
        """Return the scheme with the structures of a ready scheme, a scheme file or a color table file (.csv).

        Raises:
            LabelError: the file describes no scheme.
            ConfigError: there is no such file, or it cannot be read.
        """
        return edits.add_structures(scheme, self.readScheme(path))

    def saveScheme(self, scheme: LabelScheme, path: str | Path) -> Path:
        """Write a scheme to a file: ``.csv`` is a color table that Slicer loads, everything else is JSON.

        Raises:
            LabelError: a name cannot be written to a color table.
            CaseError: the file cannot be written.
        """
        path = Path(path)
        with writingTo(path):
            (write_color_table if path.suffix.lower() == ".csv" else write_scheme)(scheme, path)
        return path

    def makeColorTable(self, scheme: LabelScheme) -> Any:
        """Return a new color table node of the scene with the structures of a scheme.

        Raises:
            LabelError: a name cannot be kept in a color table.
        """
        return colorTableFromScheme(scheme)

    def proposeMeanings(
        self, case: SceneCase, scheme: LabelScheme, others: Sequence[SceneCase] = ()
    ) -> tuple[Suggestion, ...]:
        """Return what segments probably are that match no structure for sure, by other cases, codes or likeness."""
        return proposeMeanings(case, scheme, others)

    def acceptMeanings(self, case: SceneCase, scheme: LabelScheme, others: Sequence[SceneCase] = ()) -> SceneCase:
        """Return the case with all proposals of ``proposeMeanings`` taken."""
        taken = {item.segment: item.structure for item in proposeMeanings(case, scheme, others)}
        return replace(case, meanings={**case.meanings, **taken})

    def lookedForAll(self, case: SceneCase, scheme: LabelScheme) -> SceneCase:
        """Return the case as one that was searched for every structure.

        Parts of a whole that was drawn without any of its parts are not among them: what was drawn there says
        nothing of the parts.
        """
        drawn = {name_key(name) for name in case.meanings.values()}
        coarse = [
            s
            for s in scheme.structures
            if name_key(s.name) in drawn
            and not any(
                name_key(other.name) in drawn and scheme.leaves_of(other.name) < scheme.leaves_of(s.name)
                for other in scheme.structures
            )
        ]
        names = [
            s.name
            for s in scheme.structures
            if name_key(s.name) != BACKGROUND and not any(s is not c and c in scheme.ancestors(s.name) for c in coarse)
        ]
        return replace(case, lookedFor=tuple(names))

    def lookedForDrawn(self, case: SceneCase, scheme: LabelScheme) -> SceneCase:
        """Return the case as one that was searched for what was drawn, and for nothing else."""
        return replace(case, lookedFor=suggestLookedFor(case.meanings, scheme))

    def casesOfKind(self, case: SceneCase, cases: Sequence[SceneCase]) -> list[SceneCase]:
        """Return those of some cases in which the same structures were drawn as in one case."""
        return [other for other in cases if other.segmentation is not None and _kind(other) == _kind(case)]

    def annotatedIn(self, case: SceneCase, region: Region | None) -> SceneCase:
        """Return the case as annotated in a region alone; outside it nothing is known. None: everywhere."""
        return replace(case, region=region)

    def placeBox(self, case: SceneCase, box: Any = None) -> Any:
        """Return a box of the scene (a new one if None), put in the middle of a case's scan along its axes.

        Raises:
            CaseError: the scan holds no voxels, or is under a transform that is not linear.
        """
        grid = worldGrid(next(iter(case.volumes.values())))
        if box is None:
            name = slicer.mrmlScene.GenerateUniqueName(_("{case} annotated").format(case=case.id))
            box = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", name)
        box.CreateDefaultDisplayNodes()
        count = [*reversed(grid.shape)]
        corners = [
            grid.matrix @ [i * count[0] - 0.5, j * count[1] - 0.5, k * count[2] - 0.5, 1.0] for i, j, k in _CORNERS
        ]
        low, high = ([f(c[axis] for c in corners) for axis in range(3)] for f in (min, max))
        box.SetCenterWorld([(a + b) / 2 for a, b in zip(low, high, strict=True)])
        box.SetSizeWorld([(b - a) * _BOX_SHARE for a, b in zip(low, high, strict=True)])
        return box

    def findOverlaps(self, case: SceneCase, scheme: LabelScheme) -> tuple[Overlap, ...]:
        """Return which structures of a case exclude each other and share voxels, and how many.

        Raises:
            CaseError: a segment has no meaning yet, or cannot be read.
        """
        drawing = readDrawing(case, scheme, worldGrid(next(iter(case.volumes.values()))))
        return drawnOverlaps(drawing, scheme) if drawing is not None else ()

    def decideOverlap(self, case: SceneCase, first: str, second: str, rule: str) -> SceneCase:
        """Return the case with a rule for voxels that two structures share.

        Args:
            case: is not changed.
            first: name of one structure.
            second: name of the other.
            rule: name of the one that wins, ``overlaps.EITHER``, or ``overlaps.IGNORE``.
        """
        return replace(case, overlapRules={**case.overlapRules, ruleKey(first, second): rule})


_CORNERS = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]


def _kind(case: SceneCase) -> frozenset[str]:
    return frozenset(case.meanings.values()) - {ANNOTATED_REGION, LEFT_OUT, ""}
