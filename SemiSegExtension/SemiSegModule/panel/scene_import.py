"""A scene that is added to a scene: the study of the one keeps what was said of it, the cases of the other join it.

The parameter node is one of its kind in a scene: Slicer gives it the content of the added scene's in place of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SemiSegModule.parameters import CaseRow, StudyParameters


@dataclass(frozen=True)
class StudyBefore:
    """What a parameter node held before a scene was added.

    Attributes:
        texts: parameter name to its text.
        nodes: node reference role to the nodes that it names.
    """

    texts: Mapping[str, str]
    nodes: Mapping[str, tuple[Any, ...]]


class StudyJoining:
    """Joins the studies whenever a scene is added, whether the panel is seen or not, and tells once it is.

    Args:
        owner: the module's widget; observes the scene as long as it is there.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        # The parameter node while a scene is read, and what it held before.
        self._before: tuple[Any, StudyBefore] | None = None
        self._news = ""
        scene = slicer.mrmlScene
        owner.addObserver(scene, scene.StartImportEvent, self._onStart)
        # Before anybody shows what the scene holds now.
        owner.addObserver(scene, scene.EndImportEvent, self._onEnd, priority=1.0)

    def tell(self) -> None:
        """Tell what became of the studies, if there is news and the panel is seen."""
        if not self._news or not self._owner.parent.isEntered:
            return
        news, self._news = self._news, ""
        slicer.util.infoDisplay(news, windowTitle="SemiSeg")

    def _onStart(self, scene: Any, _event: Any) -> None:
        node = scene.GetSingletonNode(self._owner.moduleName, "vtkMRMLScriptedModuleNode")
        before = studyBefore(node)
        self._before = (node, before) if before is not None else None

    def _onEnd(self, _scene: Any, _event: Any) -> None:
        if self._before is None:
            return
        node, before = self._before
        self._before = None
        self._news = joinStudies(node, before)
        # Whoever reads the scene is not done yet.
        qt.QTimer.singleShot(0, self.tell)


def studyBefore(node: Any) -> StudyBefore | None:
    """Return what a parameter node holds; None if it is None or has no cases: then an added scene's are taken whole."""
    return _contentOf(node) if node is not None and StudyParameters(node).rows() else None


def joinStudies(node: Any, before: StudyBefore) -> str:
    """Give a parameter node back what it held before a scene was added, with the cases of that scene behind its own.

    Returns:
        What a person should know of it; the empty string if the added scene had no study.
    """
    if _contentOf(node) == before:
        return ""
    parameters = StudyParameters(node)
    theirs, theirRemoved, theirChannels = parameters.rows(), parameters.removedRows(), parameters.channels
    removed, ticked = parameters.removedVolumes, parameters.applyVolumes
    wasModifying = node.StartModify()
    _restore(node, before)
    rows = [_rowOf(row, theirChannels, parameters.channels) for row in theirs]
    joined = [row for row in rows if row is not None]
    out = [_rowOf(row, theirChannels, parameters.channels) for row in theirRemoved]
    # Images that belong to no channel of this study are no cases; they can be added again.
    used = [volume for row in joined for volume in row.volumes.values()]
    loose = [v for row in theirs for v in row.volumes.values() if not any(v is other for other in used)]
    parameters.removedVolumes = _withoutRepeats([*parameters.removedVolumes, *removed, *loose])
    parameters.applyVolumes = _withoutRepeats([*parameters.applyVolumes, *ticked])
    parameters.setRows(
        [*parameters.rows(), *joined],
        removed=[*parameters.removedRows(), *(row for row in out if row is not None)],
    )
    node.EndModify(wasModifying)
    return _told(len(joined), len(rows) - len(joined), parameters.channels[0])


def _told(joined: int, left: int, channel: str) -> str:
    text = _(
        "The cases of the scene that was added stand behind those of your study: {count}. Study folder, structures and "
        "settings are those of your study, as before."
    ).format(count=joined)
    if left:
        more = _("Left out, because they have no image of channel {name}: {count}.").format(name=channel, count=left)
        text = f"{text}\n\n{more}"
    return text


def _rowOf(row: CaseRow, theirs: Sequence[str], ours: Sequence[str]) -> CaseRow | None:
    """Return a row with the channels of this study, by name or, where no name is shared, in order.

    None if it has no image of the first channel.
    """
    names = {name: name for name in theirs} if set(theirs) & set(ours) else dict(zip(theirs, ours, strict=False))
    found = {names[channel]: node for channel, node in row.volumes.items() if channel in names}
    volumes = {channel: found[channel] for channel in ours if channel in found}
    return replace(row, volumes=volumes) if ours[0] in volumes else None


def _contentOf(node: Any) -> StudyBefore:
    roles = [node.GetNthNodeReferenceRole(index) for index in range(node.GetNumberOfNodeReferenceRoles())]
    nodes = {role: _nodes(node, role) for role in roles}
    texts = {name: node.GetParameter(name) for name in node.GetParameterNames()}
    return StudyBefore(texts, {role: named for role, named in nodes.items() if named})


def _nodes(node: Any, role: str) -> tuple[Any, ...]:
    named = (node.GetNthNodeReference(role, index) for index in range(node.GetNumberOfNodeReferences(role)))
    return tuple(other for other in named if other is not None)


def _restore(node: Any, before: StudyBefore) -> None:
    for role in _contentOf(node).nodes:
        node.RemoveNodeReferenceIDs(role)
    node.UnsetAllParameters()
    for name, text in before.texts.items():
        node.SetParameter(name, text)
    for role, nodes in before.nodes.items():
        for other in nodes:
            node.AddNodeReferenceID(role, other.GetID())


def _withoutRepeats(nodes: Sequence[Any]) -> list[Any]:
    return [node for number, node in enumerate(nodes) if not any(node is other for other in nodes[:number])]
