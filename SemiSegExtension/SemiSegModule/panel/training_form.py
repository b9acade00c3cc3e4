"""What the next training will be: method, preset, options, start, budget, device, baseline."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.methods.catalogue import PAPER_AUTHORS, Card
from SemiSegLib.runs.request import OUTSIDE_EMBEDDINGS
from SemiSegModule.panel.embedding_form import EmbeddingForm
from SemiSegModule.panel.run_entry import RunEntry
from SemiSegModule.panel.study_view import StudyView
from SemiSegModule.panel.training_options import OptionsForm, presetValues
from SemiSegModule.parameters import wholePath
from SemiSegModule.study_scheme import namesInModel

DEVICES = ("auto", "cuda", "mps", "cpu")
OWN_PRESET = "ours"
# Entry of the box "Start from" that opens a file dialog.
CHOOSE_FILE = "*"


class TrainingForm:
    """Keeps the choices for the next training in step with the parameter node.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters``, ``view`` and ``recommendation``.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self.options = OptionsForm(ui, self._onOptions)
        self.embedding = EmbeddingForm(ui, panel)
        self._presets: list[str] = []
        self._starts: list[str] = []
        ui.methodComboBox.connect("activated(int)", self._onMethodActivated)
        ui.presetComboBox.connect("activated(int)", self._onPresetActivated)
        ui.startFromComboBox.connect("activated(int)", self._onStartActivated)
        ui.minutesSpinBox.connect("valueChanged(int)", self._onMinutesChanged)
        ui.deviceComboBox.connect("activated(int)", self._onDeviceActivated)
        ui.baselineCheckBox.connect("toggled(bool)", self._onBaselineToggled)
        for text in (_("Automatic"), _("Graphics card (CUDA)"), _("Apple GPU (MPS)"), _("Processor (CPU)")):
            ui.deviceComboBox.addItem(text)

    def refresh(self, view: StudyView, entries: Sequence[RunEntry]) -> None:
        """Show the choices, and what they can be for a study and its runs."""
        parameters = self.panel.parameters
        self.ui.minutesSpinBox.value = parameters.minutes
        self.ui.deviceComboBox.currentIndex = DEVICES.index(parameters.device)
        self._showMethods(view)
        card = self.card(view)
        self._showPresets(card)
        changed = parameters.options.get(card.name, {}) if card is not None else {}
        self.options.show(card, parameters.preset, changed)
        self.embedding.refresh(self._outsideEmbedding(card))
        self._showStarts(entries)
        self._showBaseline(view, card)

    def card(self, view: StudyView) -> Card | None:
        """Return the card of the method that will be trained, or None if none can be proposed yet."""
        recommended = self.panel.recommendation(view)
        name = self.panel.parameters.method or (recommended.method if recommended else "")
        return next((card for card in CARDS if card.name == name), None)

    def asked(self, card: Card) -> dict[str, Any]:
        """Return what ``StudyLogic.startTraining`` is asked for, beside method, title, queue and ``namesInModel``."""
        parameters = self.panel.parameters
        asked: dict[str, Any] = {
            "minutes": parameters.minutes,
            "device": parameters.device,
            "preset": parameters.preset if parameters.preset in card.presets else None,
            "options": parameters.options.get(card.name, {}),
        }
        kind = self._outsideEmbedding(card)
        if kind:
            asked["embeddings"] = self.embedding.settings(kind)
        if parameters.warmStart:
            asked["warm_start"] = parameters.warmStart
        return asked

    def namesInModel(self) -> Callable[[], tuple[dict[str, str], dict[str, tuple[str, ...]]]]:
        """Return a work that tells under which names the model to go on from knows structures; it reads its file."""
        parameters = self.panel.parameters
        return namesInModel(parameters, parameters.warmStart)

    def close(self) -> None:
        """Look at no file any more."""
        self.embedding.close()

    def whyNotEmbedded(self, view: StudyView) -> str:
        """Return why the vectors of structures that the method is to take cannot be had, or the empty string."""
        return self.embedding.whyNot(self._outsideEmbedding(self.card(view)))

    def needsText(self, view: StudyView) -> bool:
        """Return whether the names of structures are to be embedded as texts."""
        return self._outsideEmbedding(self.card(view)) == "text"

    def whyNoBaseline(self, view: StudyView, card: Card | None) -> str:
        """Return why there is nothing to compare with, or the empty string."""
        regimes = [view.regimes.get(number) for number, row in enumerate(view.rows) if row.isChosen]
        if Regime.FULL not in regimes:
            return _("None of the ticked cases has all its fine labels.")
        if card is None or all(regime is Regime.FULL or regime.value not in card.uses for regime in regimes if regime):
            return _("This training uses fine labels alone.")
        return ""

    def _outsideEmbedding(self, card: Card | None) -> str:
        """Return "text" or "file" if the method is to take vectors from there, else the empty string."""
        if card is None:
            return ""
        parameters = self.panel.parameters
        values = {**presetValues(card, parameters.preset), **parameters.options.get(card.name, {})}
        kind = values.get("embedding", "")
        return kind if kind in OUTSIDE_EMBEDDINGS else ""

    def _showMethods(self, view: StudyView) -> None:
        combo = self.ui.methodComboBox
        recommended = self.panel.recommendation(view)
        names = [card.name for card in CARDS]
        best = recommended.method if recommended else ""
        texts = [_("{title} (recommended)").format(title=c.title) if c.name == best else c.title for c in CARDS]
        setEntries(combo, texts, [card.summary for card in CARDS])
        chosen = self.panel.parameters.method or best
        combo.currentIndex = names.index(chosen) if chosen in names else -1
        reason = ""
        unclear = sum(view.rows[number].isChosen for number in view.rowProblems)
        if unclear:
            # They would pass for unlabeled ones.
            reason = _("Not clear yet for {count} of the ticked cases: see Check above.").format(count=unclear)
        elif recommended and chosen == best:
            reason = recommended.reason
        elif chosen in names:
            reason = CARDS[names.index(chosen)].summary
        self.ui.methodReasonLabel.text = reason
        self.ui.methodReasonLabel.visible = bool(reason)

    def _showPresets(self, card: Card | None) -> None:
        self._presets = list(card.presets) if card is not None else []
        texts = [presetTitle(name) for name in self._presets]
        setEntries(self.ui.presetComboBox, texts, [card.paper] * len(texts) if card is not None else [])
        chosen = self.panel.parameters.preset or OWN_PRESET
        place = self._presets.index(chosen) if chosen in self._presets else 0
        self.ui.presetComboBox.currentIndex = place if texts else -1
        for widget in (self.ui.presetLabel, self.ui.presetComboBox):
            widget.visible = len(texts) > 1

    def _showStarts(self, entries: Sequence[RunEntry]) -> None:
        chosen = self.panel.parameters.warmStart
        starts = {"": _("A new model")}
        for entry in entries:
            if entry.hasModel:
                starts[str(entry.run.model_path)] = _("{title} ({when})").format(title=entry.title, when=entry.when)
        if chosen:
            starts.setdefault(chosen, Path(chosen).name)
        starts[CHOOSE_FILE] = _("Choose a model file...")
        self._starts = list(starts)
        setEntries(self.ui.startFromComboBox, list(starts.values()), [p.strip(CHOOSE_FILE) for p in self._starts])
        self.ui.startFromComboBox.currentIndex = self._starts.index(chosen)

    def _showBaseline(self, view: StudyView, card: Card | None) -> None:
        box = self.ui.baselineCheckBox
        why = self.whyNoBaseline(view, card)
        box.checked = self.panel.parameters.withBaseline
        box.enabled = not why
        box.toolTip = why or _(
            "When the training has ended, a second one of the same length sees the finely labeled cases only. Both "
            "compared on the validation cases tell whether the other scans helped, structure by structure."
        )

    def _onMethodActivated(self, index: int) -> None:
        recommended = self.panel.recommendation(self.panel.view)
        name = CARDS[index].name
        self.panel.parameters.method = "" if recommended and name == recommended.method else name

    def _onPresetActivated(self, index: int) -> None:
        name = self._presets[index]
        self.panel.parameters.preset = "" if name == OWN_PRESET else name
        # What was changed was changed of the other preset.
        self._onOptions({})

    def _onOptions(self, changed: dict[str, Any]) -> None:
        card = self.card(self.panel.view)
        if card is not None:
            others = {name: values for name, values in self.panel.parameters.options.items() if name != card.name}
            self.panel.parameters.options = {**others, **({card.name: changed} if changed else {})}
            # Also where nothing else changed: the form shows what the preset says again.
            self.panel.scheduleRefresh()

    def _onStartActivated(self, index: int) -> None:
        path = self._starts[index]
        if path == CHOOSE_FILE:
            kinds = _("SemiSeg models (*.safetensors)")
            chosen = wholePath(qt.QFileDialog.getOpenFileName(self.ui.startFromComboBox, _("Start from"), "", kinds))
            path = str(chosen) if chosen is not None else self.panel.parameters.warmStart
        self.panel.parameters.warmStart = path
        self.panel.scheduleRefresh()

    def _onMinutesChanged(self, value: int) -> None:
        if self.panel.parameters is not None and self.panel.parameters.minutes != value:
            self.panel.parameters.minutes = value

    def _onDeviceActivated(self, index: int) -> None:
        self.panel.parameters.device = DEVICES[index]

    def _onBaselineToggled(self, isOn: bool) -> None:
        if self.panel.parameters is not None and self.panel.parameters.withBaseline != isOn:
            self.panel.parameters.withBaseline = isOn


def setEntries(combo: Any, texts: Sequence[str], toolTips: Sequence[str]) -> None:
    """Give a box its entries, unless it has them already."""
    if [combo.itemText(index) for index in range(combo.count)] == list(texts):
        return
    combo.clear()
    combo.addItems(list(texts))
    for index, text in enumerate(toolTips):
        combo.setItemData(index, text, qt.Qt.ToolTipRole)


def presetTitle(name: str) -> str:
    """Return what a preset is called on screen."""
    first, _separator, variant = name.partition("_")
    title = {"ours": _("SemiSeg's own"), "paper": _("As in the paper"), "code": _("As in the authors' code")}[first]
    words = " ".join(PAPER_AUTHORS.get(word, word) for word in variant.split("_"))
    return _("{preset}, {variant}").format(preset=title, variant=words) if variant else title
