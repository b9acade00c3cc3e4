"""The options of a method as a form, made from its card."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qt
from slicer.i18n import tr as _

from SemiSegLib.methods.catalogue import Card, Option
from SemiSegModule.panel.forms import comboBox
from SemiSegModule.panel.wheel import WheelFilter

# Digits after the point that a number is shown with, if its values need no more.
LEAST_DECIMALS, MOST_DECIMALS = 2, 6
NUMBER_FIELDS = ("QSpinBox", "QDoubleSpinBox")


class OptionsForm:
    """Shows the options of one card; what differs from the preset is kept and can be reset.

    Args:
        ui: widgets of the form by name.
        onChanged: called with all option values that differ from the preset when a person has changed one.
    """

    def __init__(self, ui: Any, onChanged: Callable[[dict[str, Any]], None]) -> None:
        self.ui = ui
        self._onChanged = onChanged
        self._card: Card | None = None
        self._preset: dict[str, Any] = {}
        self._editors: dict[str, Any] = {}
        self._isUpdating = False
        self._wheel = WheelFilter()
        ui.resetOptionsButton.connect("clicked()", self.reset)

    def show(self, card: Card | None, preset: str, changed: Mapping[str, Any]) -> None:
        """Show the options of a card with the values of a preset, and over them those that a person has changed."""
        self._isUpdating = True
        if card is not self._card:
            self._rebuild(card)
        self._preset = presetValues(card, preset) if card is not None else {}
        for name, editor in self._editors.items():
            setValue(editor, changed.get(name, self._preset[name]))
        self.ui.resetOptionsButton.enabled = bool(changed)
        title = _("Advanced ({count} changed)").format(count=len(changed)) if changed else _("Advanced")
        self.ui.advancedBox.title = title
        self.ui.advancedBox.visible = bool(self._editors)
        self._isUpdating = False

    def editor(self, name: str) -> Any:
        """Return the widget of an option."""
        return self._editors[name]

    def reset(self) -> None:
        """Take the values of the preset again."""
        self._onChanged({})

    def _rebuild(self, card: Card | None) -> None:
        layout = self.ui.optionsFrame.layout()
        while layout.rowCount():
            layout.removeRow(0)
        self._card, self._editors = card, {}
        for option in card.options if card is not None else ():
            editor = makeEditor(option, _values(card, option), self._onEdited)
            if editor.className() in NUMBER_FIELDS:
                self._wheel.watch(editor)
            label = qt.QLabel(_("{option}:").format(option=optionTitle(option.name)))
            editor.toolTip = label.toolTip = option.text
            layout.addRow(label, editor)
            self._editors[option.name] = editor

    def _onEdited(self, *_value: Any) -> None:
        if self._isUpdating:
            return
        values = {name: valueOf(editor) for name, editor in self._editors.items()}
        self._onChanged({name: value for name, value in values.items() if value != self._preset[name]})


def presetValues(card: Card, preset: str) -> dict[str, Any]:
    """Return every option's value under a preset; "" is the method's own."""
    return {**{option.name: option.default for option in card.options}, **card.presets.get(preset, {})}


def optionTitle(name: str) -> str:
    """Return the name of an option as a person reads it."""
    return name.replace("_", " ").capitalize()


def makeEditor(option: Option, values: list[Any], onEdited: Callable[..., None]) -> Any:
    """Return the widget that fits an option.

    Args:
        option: of a card.
        values: those it has in the presets; a number is shown with the digits they need.
        onEdited: called when a person has changed it.
    """
    if isinstance(option.default, bool):
        editor = qt.QCheckBox()
        editor.connect("toggled(bool)", onEdited)
    elif option.choices:
        editor = comboBox()
        for choice in option.choices:
            editor.addItem(choice.replace("_", " "), choice)
        # A long word must not make the panel wider.
        editor.minimumContentsLength = 10
        editor.connect("activated(int)", onEdited)
    elif isinstance(option.default, int):
        editor = qt.QSpinBox()
        _setRange(editor, option)
        editor.connect("valueChanged(int)", onEdited)
    else:
        editor = qt.QDoubleSpinBox()
        editor.decimals = max([LEAST_DECIMALS, *(_digits(value) for value in values)])
        _setRange(editor, option)
        editor.stepType = qt.QAbstractSpinBox.AdaptiveDecimalStepType
        editor.connect("valueChanged(double)", onEdited)
    return editor


def setValue(editor: Any, value: Any) -> None:
    """Show a value in the widget of an option."""
    kind = editor.className()
    if kind == "QCheckBox":
        editor.checked = value
    elif kind == "ctkComboBox":
        editor.currentIndex = editor.findData(value)
    else:
        editor.value = value


def valueOf(editor: Any) -> Any:
    """Return the value that the widget of an option shows."""
    kind = editor.className()
    if kind == "QCheckBox":
        return bool(editor.checked)
    if kind == "ctkComboBox":
        return str(editor.itemData(editor.currentIndex))
    return int(editor.value) if kind == "QSpinBox" else round(float(editor.value), editor.decimals)


def _setRange(editor: Any, option: Option) -> None:
    editor.minimum = option.low if option.low is not None else -1_000_000
    editor.maximum = option.high if option.high is not None else 1_000_000
    editor.keyboardTracking = False


def _values(card: Card, option: Option) -> list[Any]:
    return [option.default, *(values[option.name] for values in card.presets.values() if option.name in values)]


def _digits(value: float) -> int:
    text = f"{float(value):.{MOST_DECIMALS}f}".rstrip("0")
    return len(text.split(".")[1])
