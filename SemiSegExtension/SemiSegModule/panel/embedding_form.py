"""Where the vectors of structures come from, for a method that is to take them from a file or from texts."""

from __future__ import annotations

from typing import Any

import ctk
from slicer.i18n import tr as _

from SemiSegLib.embeddings.encoder_files import encoder_folder, seems_kept
from SemiSegLib.runs.places import is_there
from SemiSegLib.runs.request import EmbeddingSettings
from SemiSegModule.parameters import wholePath


class EmbeddingForm:
    """Asks for the file, or for leave to fetch the text encoder.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        # Looked up when the form is shown anew, not at each question why Train is disabled.
        self._isEncoderHere = self._isFileHere = False
        ui.embeddingFileEdit.filters = ctk.ctkPathLineEdit.Files
        ui.embeddingFileEdit.nameFilters = [_("Vectors of structures (*.json *.safetensors)")]
        ui.embeddingFileEdit.connect("currentPathChanged(QString)", self._onFileChanged)
        ui.fetchEncoderCheckBox.connect("toggled(bool)", self._onFetchToggled)

    def refresh(self, kind: str) -> None:
        """Show what a kind of embedding needs; nothing for those that come from nowhere else."""
        parameters = self.panel.parameters
        path = wholePath(parameters.embeddingFile)
        self._isEncoderHere = kind == "text" and seems_kept(encoder_folder())
        self._isFileHere = kind == "file" and path is not None and is_there(path)
        self.ui.embeddingFileFrame.visible = kind == "file"
        self.ui.fetchEncoderCheckBox.visible = kind == "text" and not self._isEncoderHere
        if self.ui.embeddingFileEdit.currentPath != parameters.embeddingFile:
            self.ui.embeddingFileEdit.currentPath = parameters.embeddingFile
        self.ui.fetchEncoderCheckBox.checked = parameters.fetchesEncoder

    def whyNot(self, kind: str) -> str:
        """Return why the vectors cannot be had, or the empty string."""
        parameters = self.panel.parameters
        if kind == "file":
            if not parameters.embeddingFile:
                return _("Choose the file with a vector for each structure, or another embedding.")
            if wholePath(parameters.embeddingFile) is None:
                return _("Give the whole path of the file of vectors; ~ stands for your home folder.")
            if not self._isFileHere:
                return _("The file of vectors is not there.")
        if kind == "text" and not self._isEncoderHere and not parameters.fetchesEncoder:
            return _("Allow the text encoder to be fetched, or choose another embedding.")
        return ""

    def settings(self, kind: str) -> EmbeddingSettings:
        """Return what is asked of a training."""
        parameters = self.panel.parameters
        path = wholePath(parameters.embeddingFile) if kind == "file" else None
        return EmbeddingSettings(
            file=None if path is None else str(path), fetch=kind == "text" and parameters.fetchesEncoder
        )

    def _onFileChanged(self, path: str) -> None:
        if self.panel.parameters is not None and self.panel.parameters.embeddingFile != path:
            self.panel.parameters.embeddingFile = path

    def _onFetchToggled(self, isOn: bool) -> None:
        if self.panel.parameters is not None and self.panel.parameters.fetchesEncoder != isOn:
            self.panel.parameters.fetchesEncoder = isOn
