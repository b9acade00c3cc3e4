"""Where the vectors of structures come from, for a method that is to take them from a file or from texts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ctk
from slicer.i18n import tr as _

from SemiSegLib.embeddings.encoder_files import encoder_folder, seems_kept
from SemiSegLib.errors import SemiSegError
from SemiSegLib.methods.presets import embeds_texts
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.places import is_there
from SemiSegLib.runs.request import EmbeddingSettings
from SemiSegModule.aside import Aside
from SemiSegModule.parameters import wholePath

# A file may be made, or an encoder copied, while the panel is open.
SECONDS = 3.0


class EmbeddingForm:
    """Asks for the file, or for leave to fetch the text encoder.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        # Kind and place that were looked at last, and whether the file or the encoder is there.
        self._looked: tuple[tuple[str, Path | None], bool] = (("", None), False)
        self._when = 0.0
        self._isRefreshing = False
        self._aside: Aside[tuple[tuple[str, Path | None], bool]] = Aside(self._take)
        ui.embeddingFileEdit.filters = ctk.ctkPathLineEdit.Files
        ui.embeddingFileEdit.nameFilters = [_("Vectors of structures (*.json *.safetensors)")]
        ui.embeddingFileEdit.connect("currentPathChanged(QString)", self._onFileChanged)
        ui.fetchEncoderCheckBox.connect("toggled(bool)", self._onFetchToggled)

    def refresh(self, kind: str) -> None:
        """Show what a kind of embedding needs; nothing for those that come from nowhere else."""
        parameters = self.panel.parameters
        self._isRefreshing = True
        self._look(self._asked(kind))
        self._isRefreshing = False
        self.ui.embeddingFileFrame.visible = kind == "file"
        self.ui.fetchEncoderCheckBox.visible = kind == "text" and self._isHere(kind) is False
        if self.ui.embeddingFileEdit.currentPath != parameters.embeddingFile:
            self.ui.embeddingFileEdit.currentPath = parameters.embeddingFile
        self.ui.fetchEncoderCheckBox.checked = parameters.fetchesEncoder

    def whyNot(self, kind: str) -> str:
        """Return why the vectors cannot be had, or the empty string."""
        parameters, isHere = self.panel.parameters, self._isHere(kind)
        if kind == "file":
            if not parameters.embeddingFile:
                return _("Choose the file with a vector for each structure, or another embedding.")
            if wholePath(parameters.embeddingFile) is None:
                return _("Give the whole path of the file of vectors; ~ stands for your home folder.")
            if isHere is None:
                return _("The file of vectors is being looked for.")
            return "" if isHere else _("The file of vectors is not there.")
        if kind == "text" and not parameters.fetchesEncoder:
            if isHere is None:
                return _("The text encoder is being looked for.")
            return "" if isHere else _("Allow the text encoder to be fetched, or choose another embedding.")
        return ""

    def settings(self, kind: str) -> EmbeddingSettings:
        """Return what is asked of a training."""
        parameters = self.panel.parameters
        path = wholePath(parameters.embeddingFile) if kind == "file" else None
        return EmbeddingSettings(
            file=None if path is None else str(path), fetch=kind == "text" and parameters.fetchesEncoder
        )

    def close(self) -> None:
        """Look at no file any more."""
        self._aside.close()

    def _asked(self, kind: str) -> tuple[str, Path | None]:
        if kind == "file":
            return kind, wholePath(self.panel.parameters.embeddingFile)
        return kind, encoder_folder() if kind == "text" else None

    def _isHere(self, kind: str) -> bool | None:
        """Return whether the file or the encoder is there; None while that is not known."""
        asked, isHere = self._looked
        return isHere if asked == self._asked(kind) else None

    def _look(self, asked: tuple[str, Path | None]) -> None:
        self._aside.letGo(asked)
        isFresh = asked == self._looked[0] and time.monotonic() < self._when + SECONDS
        if asked[1] is not None and not isFresh and not self._aside.isBusy:
            self._when = time.monotonic()
            self._aside.ask(lambda: (asked, _isHere(*asked)), about=asked)

    def _take(self, found: tuple[tuple[str, Path | None], bool]) -> None:
        self._looked = found
        if self.panel.parameters is not None and not self._isRefreshing:
            self.panel.scheduleRefresh()

    def _onFileChanged(self, path: str) -> None:
        if self.panel.parameters is not None and self.panel.parameters.embeddingFile != path:
            self.panel.parameters.embeddingFile = path

    def _onFetchToggled(self, isOn: bool) -> None:
        if self.panel.parameters is not None and self.panel.parameters.fetchesEncoder != isOn:
            self.panel.parameters.fetchesEncoder = isOn


def runNeedsText(run: RunFolder) -> bool:
    """Return whether a run that is resumed has to embed texts first."""
    try:
        return embeds_texts(run.request) and not is_there(run.embeddings_path)
    except SemiSegError:
        # It is told when the run is resumed.
        return False


def _isHere(kind: str, place: Path) -> bool:
    return is_there(place) if kind == "file" else seems_kept(place)
