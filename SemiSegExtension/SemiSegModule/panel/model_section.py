"""The model that is used: which file it is, what it segments, open another one, export it."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ctk
import qt
from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.runs.model_info import ModelInfo
from SemiSegModule import jobs
from SemiSegModule.aside import Aside
from SemiSegModule.logic_model import exportFile
from SemiSegModule.panel.model_drop import MODEL_ENDING, ModelDropFilter
from SemiSegModule.panel.save_dialog import mayWrite
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.training_buttons import setButton
from SemiSegModule.parameters import wholePath
from SemiSegModule.waiting import Waiting, keepAnswering


@dataclass(frozen=True)
class _ModelFile:
    """What is known of the model to use.

    Attributes:
        asked: the chosen path and the folder of the shown run, from which it follows.
        path: of the file; None if there is none.
        size: in bytes.
        changed: moment of the last change, nanoseconds since 1970.
        info: what the file says of itself.
        problem: why it cannot be used, or "".
    """

    asked: tuple[str, str]
    path: Path | None = None
    size: int = 0
    changed: int = 0
    info: ModelInfo | None = None
    problem: str = ""


class ModelSection:
    """Shows the chosen model file, else the shown run's.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._file = _ModelFile(("", ""))
        self._isStale = self._isRefreshing = False
        self._aside: Aside[_ModelFile] = Aside(self._take)
        ui.modelEdit.filters = ctk.ctkPathLineEdit.Files
        ui.modelEdit.nameFilters = [_kinds()]
        ui.modelEdit.connect("currentPathChanged(QString)", self._onPathChanged)
        ui.openModelButton.connect("clicked()", self._onOpen)
        ui.exportModelButton.connect("clicked()", self._onExport)
        # The filter must live as long as the widget that it watches.
        self._drop = ModelDropFilter(self.openModel)
        # Also on the path, which would take a dropped file for text.
        for widget in (ui.modelSection, ui.modelEdit.comboBox().lineEdit()):
            widget.acceptDrops = True
            widget.installEventFilter(self._drop)

    @property
    def path(self) -> Path | None:
        """The model to use: the chosen file, else the shown run's; None if there is none, or that is not known yet."""
        return self._file.path if self._file.asked == self._asked() else None

    @property
    def info(self) -> ModelInfo | None:
        """What the file says of itself; None if there is none or it cannot be read."""
        return self._file.info

    @property
    def problem(self) -> str:
        """Why the file cannot be used, or the empty string."""
        modelPath, _run = self._file.asked
        if self._file.path is None and modelPath:
            text = _("There is no model file {path}: choose it where it is now, or connect its drive.")
            return text.format(path=modelPath)
        return self._file.problem

    @property
    def whyNot(self) -> str:
        """Why no model can be used, or the empty string."""
        if self._file.asked != self._asked():
            return _("The model file is being looked at.")
        if self.path is None and not self.problem:
            return _("Choose a model file, or train one above.")
        return self.problem.split("\n")[0]

    def refresh(self, _view: StudyView) -> None:
        """Show the model as its file says."""
        parameters = self.panel.parameters
        self._isRefreshing = True
        self._look()
        self._isRefreshing = False
        path = self.path
        if self.ui.modelEdit.currentPath != parameters.modelPath:
            self.ui.modelEdit.currentPath = parameters.modelPath
        isRuns = not parameters.modelPath and path is not None
        self.ui.modelEdit.comboBox().lineEdit().placeholderText = _("the model of the training above") if isRuns else ""
        self.ui.modelInfoLabel.text = self._description(path)
        what = _("Write a copy of the model: one file, which is all that another computer needs")
        setButton(self.ui.exportModelButton, self.whyNot, what)

    def openModel(self, path: str) -> None:
        """Use a model file of this or another computer, if it is one; else say why not and keep what was."""
        parameters = self.panel.parameters
        if parameters is None or not path or self.panel.isBusy:
            return
        try:
            self.panel.withFiles(partial(self.panel.logic.describeModel, path))
        except SemiSegError as error:
            self.panel.showError(_("The model cannot be used."), str(error))
            return
        if self.panel.parameters is parameters:
            parameters.modelPath = str(path)

    def exportModel(self, target: str) -> None:
        """Write a copy of the model and say how large it is."""
        source = self.path
        if source is None or self.panel.isBusy:
            return
        try:
            with self.panel.busy():
                path, size = self.panel.logic.exportModel(source, target, waiting=Waiting(apart=keepAnswering))
        except SemiSegError as error:
            self.panel.showError(_("The model could not be exported."), str(error))
            return
        text = _("Exported {name}, {size}.").format(name=path.name, size=fileSize(size))
        self.ui.applyStatusLabel.text = text

    def close(self) -> None:
        """Look for no file any more."""
        self._aside.close()
        self._isStale = False

    def _asked(self) -> tuple[str, str]:
        return self.panel.parameters.modelPath, self.panel.parameters.runFolder

    def _look(self) -> None:
        """Have the file looked at aside: its drive may take long to answer, and a refresh comes with every click."""
        asked, before, describe = self._asked(), self._file, self.panel.logic.describeModel
        self._aside.letGo(asked)
        self._isStale = self._aside.isBusy
        if not self._isStale:
            self._aside.ask(lambda: _lookedAt(asked, before, describe), about=asked)

    def _take(self, found: _ModelFile) -> None:
        if self.panel.parameters is None:
            return
        isNews, self._file = found != self._file, found
        if isNews and not self._isRefreshing:
            self.panel.scheduleRefresh()
        if self._isStale:
            self._look()

    def _description(self, path: Path | None) -> str:
        if self._file.asked != self._asked():
            return self.whyNot
        if path is None and not self.problem:
            return _("No model yet: train one, or open a file.")
        if self.info is None:
            return html.escape(self.problem).replace("\n", "<br>")
        lines = [_structures(self.info, self.panel.logic.modelColors(self.info)), *_facts(self.info)]
        return "<br>".join([*lines, _("File: {size}").format(size=fileSize(self._file.size))])

    def _onPathChanged(self, path: str) -> None:
        if self.panel.parameters is not None and path != self.panel.parameters.modelPath:
            self.panel.parameters.modelPath = path

    def _onOpen(self) -> None:
        self.openModel(qt.QFileDialog.getOpenFileName(self.ui.modelSection, _("Open model"), "", _kinds()))

    def _onExport(self) -> None:
        if self.info is None:
            return
        name = f"{self.info.title or self.info.scheme.name or self.info.method}{MODEL_ENDING}".replace("/", "-")
        target = qt.QFileDialog.getSaveFileName(self.ui.modelSection, _("Export model"), name, _kinds())
        if target and mayWrite(exportFile(target), target, _("Export model")):
            self.exportModel(target)


def _lookedAt(asked: tuple[str, str], before: _ModelFile, describe: Callable[[Path], ModelInfo]) -> _ModelFile:
    """Return the model file of a path or a run; read only if it is not the one of before. In a thread."""
    modelPath, runFolder = asked
    run = None if modelPath else jobs.runAt(runFolder)
    path = wholePath(modelPath) if modelPath else run and run.model_path
    try:
        if path is None or not path.is_file():
            return _ModelFile(asked)
        found = path.stat()
    except OSError:
        # Its drive is away, or the name is too long.
        return _ModelFile(asked)
    known = _ModelFile(asked, path, found.st_size, found.st_mtime_ns)
    if replace(before, asked=asked, info=None, problem="") == known:
        return replace(before, asked=asked)
    try:
        return replace(known, info=describe(path))
    except SemiSegError as error:
        return replace(known, problem=str(error))


def fileSize(size: int) -> str:
    """Return a number of bytes in words."""
    if size < 1_000_000:
        return _("{size} kB").format(size=max(1, round(size / 1000)))
    return _("{size} MB").format(size=f"{size / 1e6:.1f}")


def _kinds() -> str:
    return _("SemiSeg models (*.safetensors)")


def _structures(info: ModelInfo, colors: dict[str, tuple[float, float, float]]) -> str:
    """Return every structure with a square of its color, parts in brackets behind their whole."""
    scheme, texts = info.scheme, []
    for whole in scheme.superclasses[1:]:
        parts = [leaf for leaf in scheme.leaves[1:] if scheme.ancestors(leaf.name)[-1] is whole]
        named = ", ".join(_colored(leaf.name, colors[leaf.name]) for leaf in parts)
        texts.append(named if parts == [whole] else f"{html.escape(whole.name)} ({named})")
    return _("Segments: {structures}").format(structures=", ".join(texts))


def _colored(name: str, color: tuple[float, float, float]) -> str:
    red, green, blue = (round(255 * part) for part in color)
    return f'<span style="color:#{red:02x}{green:02x}{blue:02x}">&#9632;</span>&nbsp;{html.escape(name)}'


def _facts(info: ModelInfo) -> list[str]:
    """Return the lines about channels, method, training and validation."""
    channels = [f"{role} (CT)" if role in info.ct_channels else role for role in info.channels]
    lines = [_("Channels: {names}").format(names=html.escape(", ".join(channels)))]
    title = next((card.title for card in CARDS if card.name == info.method), info.method)
    lines.append(_("Method: {title}").format(title=html.escape(title)))
    words = {"full": _("fine"), "coarse": _("coarse"), "partial": _("partial"), "none": _("unlabeled")}
    counts = [f"{count} {words.get(name, name)}" for name, count in info.training_cases.items() if count]
    if counts:
        day = info.created.split(" ")[0]
        text = _("Trained on cases: {counts}").format(counts=", ".join(counts))
        lines.append(f"{text}{f' ({html.escape(day)})' if day else ''}")
    if info.validation_dice is not None:
        each = ", ".join(f"{html.escape(name)} {dice:.2f}" for name, dice in info.structure_dice.items())
        text = _("Validation Dice: {dice}").format(dice=f"{info.validation_dice:.2f}")
        lines.append(f"{text}{f' ({each})' if each else ''}")
    return lines
