"""Asks about volumes of the scene that are no case by themselves: sequences, 4-D scans and color images."""

from __future__ import annotations

from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegModule.bridge.frames import Frames, parseFrame, parseFrames


class FramesView:
    """Shows the first of them with what can be done; nothing of it is used in silence.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._frames: list[Frames] = []
        ui.splitFramesButton.connect("clicked()", self._onSplit)
        ui.makeGrayButton.connect("clicked()", self._onGray)
        ui.ignoreFramesButton.connect("clicked()", self._onIgnore)

    def show(self) -> None:
        """Show the first volume of which nobody has said yet what becomes of it."""
        removed = self.panel.parameters.removedVolumes
        frames = self.panel.logic.framedVolumes()
        self._frames = [item for item in frames if not any(item.node is node for node in removed)]
        self.ui.framesFrame.visible = bool(self._frames)
        if not self._frames:
            return
        first = self._frames[0]
        self.ui.splitFramesButton.visible = not first.isColor
        self.ui.makeGrayButton.visible = first.isColor
        name = first.node.GetName()
        if first.isColor:
            self.ui.framesLabel.text = _("{name} is a color image, so it is no case.").format(name=name)
        else:
            self.ui.framesLabel.text = _("{name} holds {count} images (sequence or 4-D), so it is no case.").format(
                name=name, count=first.count
            )

    def forget(self) -> None:
        """Hold no node any more."""
        self._frames = []

    def _onSplit(self) -> None:
        frames = self._frames[0]
        question = _("Which of the {count} images shall become cases? For example 1, 5-7 or all.").format(
            count=frames.count
        )
        text = qt.QInputDialog.getText(self.ui.casesTable, _("Choose images"), question)
        if not text:
            return
        try:
            numbers = parseFrames(text, frames.count)
            nodes = self.panel.logic.splitFrames(frames, numbers, self._labelsOf(frames, numbers))
        except SemiSegError as error:
            self.panel.showError(_("These images cannot be chosen."), str(error))
            return
        self._use(frames)
        # They are of one patient, whatever the scene knows: none may be trained on while another validates.
        rows = self.panel.parameters.rows()
        for row, case in zip(rows, self.panel.view.cases, strict=True):
            if not case.patient and any(node is volume for node in nodes for volume in row.volumes.values()):
                row.patient = frames.node.GetName()
        self.panel.parameters.setRows(rows)

    def _labelsOf(self, frames: Frames, numbers: tuple[int, ...]) -> int | None:
        """Ask to which image labels belong that do not say it; what cannot be used is told."""
        labels = self.panel.logic.labelsOfFrames(frames)
        if labels is None or (labels.sequence is None and len(numbers) == 1):
            return None
        name = labels.node.GetName()
        if labels.sequence is None:
            return askLabelsOf(self.ui.casesTable, name, frames.count)
        if labels.count != frames.count:
            text = _(
                "{labels} holds labels of {found} images, {name} holds {count} images: which belong together is not "
                "known, so the labels are left out. Choose the segmentation of each case below the table."
            )
            told = text.format(labels=name, found=labels.count, name=frames.node.GetName(), count=frames.count)
            slicer.util.infoDisplay(told, windowTitle="SemiSeg")
        return None

    def _onGray(self) -> None:
        frames = self._frames[0]
        try:
            self.panel.logic.makeGray(frames)
        except SemiSegError as error:
            self.panel.showError(_("No gray image can be made of it."), str(error))
            return
        self._use(frames)

    def _onIgnore(self) -> None:
        self._use(self._frames[0])

    def _use(self, frames: Frames) -> None:
        """Ask no more about a volume; what was made of it is in the table."""
        self.panel.parameters.removedVolumes = [*self.panel.parameters.removedVolumes, frames.node]
        self.panel.refresh()


def askLabelsOf(parent: Any, labels: str, count: int) -> int | None:
    """Ask to which of several images labels belong that are of one; None if they shall be left out.

    Raises:
        CaseError: the answer is no number of an image.
    """
    question = _(
        "{labels} has labels of one image. Of which of the {count}? Leave it empty to use the images without labels."
    ).format(labels=labels, count=count)
    text = qt.QInputDialog.getText(parent, _("Choose images"), question)
    return parseFrame(text or "", count)
