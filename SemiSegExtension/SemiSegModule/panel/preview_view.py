"""The check box that lets the scene follow what the model has learned so far."""

from __future__ import annotations

from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.errors import SemiSegError
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.training.events import Previewed
from SemiSegModule.bridge.preview import removePreview
from SemiSegModule.waiting import Waiting, keepAnswering


class PreviewView:
    """Loads each new preview of the shown run while the box is ticked.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters`` and ``logic``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self._run: RunFolder | None = None
        self._preview: Previewed | None = None
        # Run and step of the preview that is shown, and what is said of it.
        self._loaded: Any = None
        self._text = ""
        self._isLoading = False
        ui.previewCheckBox.connect("toggled(bool)", self._onToggled)

    def refresh(self) -> None:
        """Show whether previews are wanted."""
        self.ui.previewCheckBox.checked = self.panel.parameters.showsPreview

    def show(self, run: RunFolder | None, preview: Previewed | None) -> None:
        """Show the newest preview of a run in the scene, if that is wanted and it is not shown already."""
        isOther = self._run is not None and (run is None or run.path != self._run.path)
        self._run, self._preview = run, preview
        if isOther:
            # What it said is of another run.
            self.ui.previewLabel.text = ""
        parameters = self.panel.parameters
        if run is None or preview is None or parameters is None or not parameters.showsPreview or self._isLoading:
            return
        key = (run.path, preview.step)
        if key == self._loaded:
            self.ui.previewLabel.text = self._text
            return
        # An error is told once for each preview, not each second.
        self._loaded, self._text, self._isLoading = key, "", True
        try:
            node = self.panel.logic.showPreview(run, preview, waiting=Waiting(apart=keepAnswering))
            text = _("{case} at step {step}") if node is not None else _("{case} is not in the scene")
            text = text.format(case=preview.case, step=preview.step)
        except SemiSegError as error:
            text = str(error).split("\n")[0]
        finally:
            self._isLoading = False
        if key == self._loaded and self.panel.parameters is parameters:
            self._text = text
            if self._run is not None and self._run.path == run.path:
                self.ui.previewLabel.text = text

    def close(self) -> None:
        """Forget what was shown: the scene is closing, or the module."""
        self._run, self._preview, self._loaded = None, None, None
        self.ui.previewLabel.text = ""

    def _onToggled(self, isOn: bool) -> None:
        parameters = self.panel.parameters
        if parameters is None or parameters.showsPreview == isOn:
            return
        parameters.showsPreview = isOn
        self._loaded = None
        self.ui.previewLabel.text = ""
        if isOn:
            self.show(self._run, self._preview)
        else:
            removePreview()
