"""What the panel must remember to come back: kept in the module's parameter node, saved with the scene."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SemiSegModule.review_parameters import ReviewParameters
from SemiSegModule.training_parameters import TrainingParameters

# Node reference roles are this word, the row's number and "channel" with its number, "segmentation" or "region", these
# two also with "Before" for the labels before those of a result. A scene file holds roles as they are, so a name that a
# person has typed (with "&", "<" or ";") would make the whole file unreadable. Names stand in parameters, which are
# written encoded.
_ROLE = "SemiSeg.case"
_APPLY_ROLE = "SemiSeg.apply"
_REMOVED_ROLE = "SemiSeg.removed"
# Choice of label scheme: built from the segments of the scene, or edited in the panel; else a ready scheme's name or a
# file's path.
SCHEME_FROM_SCENE = "scene"
SCHEME_EDITED = "edited"
# What of a row is no node.
_SAID = ("isChosen", "meanings", "lookedFor", "side", "isWithoutLabels", "region", "overlapRules")
_SAID += ("state", "patient", "usedAs", "sideOfAcceptance")


@dataclass
class CaseRow:
    """One row of the case table: nodes, and what a person said about them.

    Attributes:
        volumes: channel role to volume node; the first channel's volume is what the row is about.
        segmentation: segmentation node or None.
        isChosen: whether the case goes into the study.
        meanings: segment ID to structure name where a person has said so; else it is matched anew.
        lookedFor: structures that were looked for, or None to propose them from what was drawn.
        side: "train", "validation", "test" or None to let the run decide.
        isWithoutLabels: whether a person has said that the case has no segmentation.
        region: where the case was annotated, as ``bridge.region.regionToJson`` writes it; None: everywhere.
        regionBox: box (vtkMRMLMarkupsROINode) that the region means, or None.
        overlapRules: [structure, structure, rule] for structures that exclude each other and share voxels; see
            ``bridge.overlaps``.
        state: "untouched", "partial", "done", or "" for what the segments say.
        patient: as a person has said; "" for what the subject hierarchy says.
        usedAs: patients as which runs have used the case; a later name frees it from no side of the split.
        sideOfAcceptance: side on which accepting a result has put the case, which had none; "" if none has.
        before: the row, but for its volumes, as it was before its labels were accepted from a result; None if they were
            not.
    """

    volumes: dict[str, Any]
    segmentation: Any = None
    isChosen: bool = True
    meanings: dict[str, str] = field(default_factory=dict)
    lookedFor: list[str] | None = None
    side: str | None = None
    isWithoutLabels: bool = False
    region: dict[str, Any] | None = None
    regionBox: Any = None
    overlapRules: list[list[str]] = field(default_factory=list)
    state: str = ""
    patient: str = ""
    usedAs: list[str] = field(default_factory=list)
    sideOfAcceptance: str = ""
    before: CaseRow | None = None


class StudyParameters(TrainingParameters, ReviewParameters):
    """Typed access to a vtkMRMLScriptedModuleNode; every change is one Modified event of the node.

    Args:
        node: the module's parameter node.
    """

    def __init__(self, node: Any) -> None:
        self.node = node

    @property
    def studyFolder(self) -> str:
        """Folder of the study as a person has typed it; ``studyPath`` is the one to use."""
        return self._get("studyFolder", "")

    @studyFolder.setter
    def studyFolder(self, value: str) -> None:
        self._set("studyFolder", str(value))

    @property
    def studyPath(self) -> Path | None:
        """The study folder, or None unless a whole path was given."""
        return wholePath(self.studyFolder)

    @property
    def schemeSource(self) -> str:
        return self._get("schemeSource", SCHEME_FROM_SCENE)

    @schemeSource.setter
    def schemeSource(self, value: str) -> None:
        self._set("schemeSource", value)

    @property
    def editedScheme(self) -> dict[str, Any] | None:
        """The label scheme as edited in the panel, as JSON; None until something is edited."""
        return self._get("editedScheme", None)

    @editedScheme.setter
    def editedScheme(self, value: dict[str, Any] | None) -> None:
        self._set("editedScheme", value)

    @property
    def schemeSteps(self) -> list[dict[str, Any]]:
        """What became of names since the edited scheme was that of ``schemeBase``, each a ``name_steps.Step``."""
        return self._get("schemeSteps", [])

    @schemeSteps.setter
    def schemeSteps(self, value: list[dict[str, Any]]) -> None:
        self._set("schemeSteps", value)

    @property
    def schemeBase(self) -> str:
        """The ``schemeSource`` with which the edited scheme began."""
        return self._get("schemeBase", SCHEME_FROM_SCENE)

    @schemeBase.setter
    def schemeBase(self, value: str) -> None:
        self._set("schemeBase", value)

    @property
    def schemeUndo(self) -> dict[str, Any] | None:
        """What ``study_scheme.undoEdit`` needs to take back the last edit; None if there is nothing to take back."""
        return self._get("schemeUndo", None)

    @schemeUndo.setter
    def schemeUndo(self, value: dict[str, Any] | None) -> None:
        self._set("schemeUndo", value)

    @property
    def channels(self) -> list[str]:
        """Channel roles, the first being the one that rows of the case table stand for."""
        return self._get("channels", ["image"])

    @channels.setter
    def channels(self, value: list[str]) -> None:
        self._set("channels", value)

    @property
    def modelPath(self) -> str:
        """Model file to apply; the shown run's model if empty."""
        return self._get("modelPath", "")

    @modelPath.setter
    def modelPath(self, value: str) -> None:
        self._set("modelPath", str(value))

    @property
    def applyFolder(self) -> str:
        """Path of the last job that applies a model, empty if none."""
        return self._get("applyFolder", "")

    @applyFolder.setter
    def applyFolder(self, value: str) -> None:
        self._set("applyFolder", str(value))

    @property
    def removedVolumes(self) -> list[Any]:
        """Volumes of the scene that a person took out of the study."""
        return self._nodes(_REMOVED_ROLE)

    @removedVolumes.setter
    def removedVolumes(self, nodes: list[Any]) -> None:
        self._setNodes(_REMOVED_ROLE, nodes)

    @property
    def applyVolumes(self) -> list[Any]:
        """Volumes ticked for prediction."""
        return self._nodes(_APPLY_ROLE)

    @applyVolumes.setter
    def applyVolumes(self, nodes: list[Any]) -> None:
        self._setNodes(_APPLY_ROLE, nodes)

    def rows(self) -> list[CaseRow]:
        """Return the case table; rows whose first volume is gone from the scene are left out."""
        return self._rows(isRemoved=False)

    def removedRows(self) -> list[CaseRow]:
        """Return what was said of the cases that a person took out of the study, for the time when they come back."""
        return self._rows(isRemoved=True)

    def setRows(self, rows: list[CaseRow], removed: list[CaseRow] | None = None) -> None:
        """Replace the case table, as one change.

        Args:
            rows: the table.
            removed: cases out of the study, of which more is remembered than their volumes; None: those of before.
        """
        removed = self.removedRows() if removed is None else removed
        wasModifying = self.node.StartModify()
        roles = [self.node.GetNthNodeReferenceRole(index) for index in range(self.node.GetNumberOfNodeReferenceRoles())]
        for role in roles:
            if role.startswith(_ROLE):
                self.node.RemoveNodeReferenceIDs(role)
        stored = []
        for number, row in enumerate([*rows, *removed]):
            for place, node in enumerate(row.volumes.values()):
                self.node.SetNodeReferenceID(_channelRole(number, place), node.GetID())
            stored.append(self._stored(number, row) | {"channels": list(row.volumes), "isRemoved": number >= len(rows)})
        self._set("cases", stored)
        self.node.EndModify(wasModifying)

    def _rows(self, isRemoved: bool) -> list[CaseRow]:
        rows = []
        for number, data in enumerate(self._get("cases", [])):
            if data.get("isRemoved", False) != isRemoved:
                continue
            found = {name: self.node.GetNodeReference(role) for name, role in self._channelRoles(number, data).items()}
            volumes = {name: found[name] for name in self.channels if found.get(name) is not None}
            if self.channels[0] not in volumes:
                continue
            rows.append(self._row(number, data, volumes))
        return rows

    @property
    def storedRowCount(self) -> int:
        """Rows of the case table, those of volumes that are gone included."""
        return sum(not data.get("isRemoved", False) for data in self._get("cases", []))

    @property
    def isOfEarlierVersion(self) -> bool:
        """Whether the case table has channel names as roles; the next ``setRows`` gives it those of this version."""
        return any("channels" not in data for data in self._get("cases", []))

    def _row(self, number: int, data: dict[str, Any], volumes: dict[str, Any], mark: str = "") -> CaseRow:
        """Return a stored row.

        Args:
            number: of the row.
            data: what is stored of it beside nodes.
            volumes: of the row.
            mark: end of its node reference roles.
        """
        before = data.get("before")
        return CaseRow(
            volumes=volumes,
            segmentation=self.node.GetNodeReference(_role(number, f"segmentation{mark}")),
            isChosen=bool(data["isChosen"]),
            meanings=dict(data["meanings"]),
            lookedFor=data["lookedFor"],
            side=data["side"],
            isWithoutLabels=bool(data["isWithoutLabels"]),
            region=data.get("region"),
            regionBox=self.node.GetNodeReference(_role(number, f"region{mark}")),
            overlapRules=[list(rule) for rule in data.get("overlapRules", [])],
            state=data.get("state", ""),
            patient=data.get("patient", ""),
            usedAs=list(data.get("usedAs", [])),
            sideOfAcceptance=data.get("sideOfAcceptance", ""),
            before=self._row(number, before, {}, "Before") if before is not None else None,
        )

    def _stored(self, number: int, row: CaseRow, mark: str = "") -> dict[str, Any]:
        """Keep the nodes of a row but its volumes, and return the rest as ``_row`` takes it."""
        for what, node in (("segmentation", row.segmentation), ("region", row.regionBox)):
            if node is not None:
                self.node.SetNodeReferenceID(_role(number, f"{what}{mark}"), node.GetID())
        data = {key: getattr(row, key) for key in _SAID}
        return data if row.before is None else {**data, "before": self._stored(number, row.before, "Before")}

    def _channelRoles(self, number: int, data: dict[str, Any]) -> dict[str, str]:
        """Return channel to node reference role of a stored row."""
        if "channels" not in data:
            return {channel: _role(number, channel) for channel in self.channels}
        return {channel: _channelRole(number, place) for place, channel in enumerate(data["channels"])}

    def _nodes(self, role: str) -> list[Any]:
        count = self.node.GetNumberOfNodeReferences(role)
        nodes = [self.node.GetNthNodeReference(role, index) for index in range(count)]
        return [node for node in nodes if node is not None]

    def _setNodes(self, role: str, nodes: list[Any]) -> None:
        wasModifying = self.node.StartModify()
        self.node.RemoveNodeReferenceIDs(role)
        for node in nodes:
            self.node.AddNodeReferenceID(role, node.GetID())
        self.node.EndModify(wasModifying)

    def _get(self, name: str, default: Any) -> Any:
        text = self.node.GetParameter(f"SemiSeg.{name}")
        return json.loads(text) if text else default

    def _set(self, name: str, value: Any) -> None:
        self.node.SetParameter(f"SemiSeg.{name}", json.dumps(value, ensure_ascii=False))


def wholePath(text: str) -> Path | None:
    """Return a path that a person has typed, "~" being the home folder; None unless it begins at a drive or root.

    What a program takes for its current folder is no place that a person knows.
    """
    try:
        path = Path(text.strip()).expanduser()
    except RuntimeError:
        # "~name" of somebody whom this computer does not know.
        return None
    return path if path.is_absolute() else None


def _role(number: int, what: str) -> str:
    return f"{_ROLE}{number}.{what}"


def _channelRole(number: int, place: int) -> str:
    return _role(number, f"channel{place}")
