"""CTK widgets that edit a number: slider and spin box."""

from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Qt

from Testing.host.widgets.factory import behavior, stored


def _filled(widget: QtWidgets.QWidget, *parts: QtWidgets.QWidget) -> None:
    layout = QtWidgets.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)


class _Range:
    """A number between two bounds, rounded to some decimals, behind a double spin box `_box`."""

    def get_value(self) -> float:
        return self._box.value()

    def set_value(self, value: float) -> None:
        self._box.setValue(value)

    def setValue(self, value: float) -> None:
        self._box.setValue(value)

    def get_minimum(self) -> float:
        return self._box.minimum()

    def set_minimum(self, value: float) -> None:
        self._box.setMinimum(value)
        self._on_range()

    def get_maximum(self) -> float:
        return self._box.maximum()

    def set_maximum(self, value: float) -> None:
        self._box.setMaximum(value)
        self._on_range()

    def get_singleStep(self) -> float:
        return self._box.singleStep()

    def set_singleStep(self, value: float) -> None:
        self._box.setSingleStep(value)
        self._on_range()

    def get_decimals(self) -> int:
        return self._box.decimals()

    def set_decimals(self, count: int) -> None:
        if count != self._box.decimals():
            self._box.setDecimals(count)
            self.decimalsChanged.emit(count)

    def setDecimals(self, count: int) -> None:
        self.set_decimals(count)

    def get_prefix(self) -> str:
        return self._box.prefix()

    def set_prefix(self, text: str) -> None:
        self._box.setPrefix(text)

    def get_suffix(self) -> str:
        return self._box.suffix()

    def set_suffix(self, text: str) -> None:
        self._box.setSuffix(text)

    def _on_range(self) -> None:
        """Follow changed bounds."""


@behavior
class ctkSliderWidget(_Range):
    """A slider and a spin box that hold the same value."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(Qt.Orientation.Horizontal, self)
        self._box = QtWidgets.QDoubleSpinBox(self)
        self._box.setRange(0.0, 99.0)
        _filled(self, self._slider, self._box)
        self._is_following = False
        self._told = 0.0
        self._on_range()
        self._box.valueChanged.connect(self._on_box)
        self._slider.valueChanged.connect(self._on_slider)

    def reset(self) -> None:
        self._box.setValue(0.0)

    def get_spinBoxVisible(self) -> bool:
        return not self._box.isHidden()

    def set_spinBoxVisible(self, is_visible: bool) -> None:
        self._box.setVisible(is_visible)

    def setSpinBoxVisible(self, is_visible: bool) -> None:
        self._box.setVisible(is_visible)

    def get_tracking(self) -> bool:
        return bool(stored(self).get("tracking", True))

    def _steps(self, value: float) -> int:
        return round((value - self._box.minimum()) / self._box.singleStep())

    def _on_range(self) -> None:
        self._is_following = True
        self._slider.setRange(0, min(self._steps(self._box.maximum()), 1_000_000))
        self._slider.setValue(self._steps(self._box.value()))
        self._is_following = False

    def _on_box(self, value: float) -> None:
        # Qt's spin box repeats its value when Return is pressed, CTK's slider does not.
        if value == self._told:
            return
        self._told = value
        self._on_range()
        self.valueIsChanging.emit(value)
        self.valueChanged.emit(value)

    def _on_slider(self, steps: int) -> None:
        if not self._is_following:
            self._box.setValue(self._box.minimum() + steps * self._box.singleStep())


@behavior
class ctkDoubleSpinBox(_Range):
    """A spin box with two signals of its value."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._box = QtWidgets.QDoubleSpinBox(self)
        _filled(self, self._box)
        self._box.valueChanged.connect(self.valueChanged.emit)
        self._box.textChanged.connect(self._valueChanged_1.emit)
        self._box.editingFinished.connect(self.editingFinished.emit)

    def get_cleanText(self) -> str:
        return self._box.cleanText()

    def get_readOnly(self) -> bool:
        return self._box.isReadOnly()

    def set_readOnly(self, is_read_only: bool) -> None:
        self._box.setReadOnly(is_read_only)

    def setReadOnly(self, is_read_only: bool) -> None:
        self._box.setReadOnly(is_read_only)

    def setValueIfDifferent(self, value: float) -> None:
        self._box.setValue(value)

    def setValueAlways(self, value: float) -> None:
        if value == self._box.value():
            self.valueChanged.emit(value)
        self._box.setValue(value)

    def stepUp(self) -> None:
        self._box.stepUp()

    def stepDown(self) -> None:
        self._box.stepDown()
