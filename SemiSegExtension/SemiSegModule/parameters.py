"""What the panel must remember to come back: kept in the module's parameter node, saved with the scene."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Node reference roles are this word, the row's number and the channel or "segmentation".
_ROLE = "SemiSeg.case"
_APPLY_ROLE = "SemiSeg.apply"
# Choice of label scheme: built from the segments of the scene; else "ready:<name>" or "file:<path>".
SCHEME_FROM_SCENE = "scene"


@dataclass
class CaseRow:
    """One row of the case table: nodes, and what a person said about them.

    Attributes:
        volumes: channel role to volume node; the first channel's volume is what the row is about.
        segmentation: segmentation node or None.
        isChosen: whether the case goes into the study.
        meanings: segment ID to structure name where a person has said so; else it is matched anew.
        lookedFor: structures that were looked for, or None to propose them from what was drawn.
        side: "train", "validation" or None to let the run decide.
        isWithoutLabels: whether a person has said that the case has no segmentation.
    """

    volumes: dict[str, Any]
    segmentation: Any = None
    isChosen: bool = True
    meanings: dict[str, str] = field(default_factory=dict)
    lookedFor: list[str] | None = None
    side: str | None = None
    isWithoutLabels: bool = False


class StudyParameters:
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
    def parents(self) -> dict[str, str]:
        """Structure name to the name of the whole it is part of, as a person has said it."""
        return self._get("parents", {})

    @parents.setter
    def parents(self, value: dict[str, str]) -> None:
        self._set("parents", value)

    @property
    def channels(self) -> list[str]:
        """Channel roles, the first being the one that rows of the case table stand for."""
        return self._get("channels", ["image"])

    @channels.setter
    def channels(self, value: list[str]) -> None:
        self._set("channels", value)

    @property
    def method(self) -> str:
        """Name of the chosen method; the recommended one if empty."""
        return self._get("method", "")

    @method.setter
    def method(self, value: str) -> None:
        self._set("method", value)

    @property
    def minutes(self) -> int:
        """Time budget of a training."""
        return self._get("minutes", 30)

    @minutes.setter
    def minutes(self, value: int) -> None:
        self._set("minutes", int(value))

    @property
    def device(self) -> str:
        return self._get("device", "auto")

    @device.setter
    def device(self, value: str) -> None:
        self._set("device", value)

    @property
    def runFolder(self) -> str:
        """Path of the run that is shown, empty if none."""
        return self._get("runFolder", "")

    @runFolder.setter
    def runFolder(self, value: str) -> None:
        self._set("runFolder", str(value))

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
    def applyVolumes(self) -> list[Any]:
        """Volumes ticked for prediction."""
        nodes = [self.node.GetNthNodeReference(_APPLY_ROLE, i) for i in range(self._count(_APPLY_ROLE))]
        return [node for node in nodes if node is not None]

    @applyVolumes.setter
    def applyVolumes(self, nodes: list[Any]) -> None:
        wasModifying = self.node.StartModify()
        self.node.RemoveNodeReferenceIDs(_APPLY_ROLE)
        for node in nodes:
            self.node.AddNodeReferenceID(_APPLY_ROLE, node.GetID())
        self.node.EndModify(wasModifying)

    def rows(self) -> list[CaseRow]:
        """Return the case table; rows whose first volume is gone from the scene are left out."""
        rows = []
        for number, data in enumerate(self._get("cases", [])):
            roles = {channel: self.node.GetNodeReference(_role(number, channel)) for channel in self.channels}
            if roles[self.channels[0]] is None:
                continue
            rows.append(
                CaseRow(
                    volumes={channel: node for channel, node in roles.items() if node is not None},
                    segmentation=self.node.GetNodeReference(_role(number, "segmentation")),
                    isChosen=bool(data["isChosen"]),
                    meanings=dict(data["meanings"]),
                    lookedFor=data["lookedFor"],
                    side=data["side"],
                    isWithoutLabels=bool(data["isWithoutLabels"]),
                )
            )
        return rows

    def setRows(self, rows: list[CaseRow]) -> None:
        """Replace the case table, as one change."""
        wasModifying = self.node.StartModify()
        for number in range(len(self._get("cases", []))):
            for channel in (*self.channels, "segmentation"):
                self.node.RemoveNodeReferenceIDs(_role(number, channel))
        for number, row in enumerate(rows):
            for channel, node in row.volumes.items():
                self.node.SetNodeReferenceID(_role(number, channel), node.GetID())
            if row.segmentation is not None:
                self.node.SetNodeReferenceID(_role(number, "segmentation"), row.segmentation.GetID())
        keys = ("isChosen", "meanings", "lookedFor", "side", "isWithoutLabels")
        self._set("cases", [{key: getattr(row, key) for key in keys} for row in rows])
        self.node.EndModify(wasModifying)

    @property
    def storedRowCount(self) -> int:
        """Rows of the case table, those of removed volumes included."""
        return len(self._get("cases", []))

    def _count(self, role: str) -> int:
        return int(self.node.GetNumberOfNodeReferences(role))

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


def _role(number: int, channel: str) -> str:
    return f"{_ROLE}{number}.{channel}"
