"""qSlicerTerminologyNavigatorWidget: choose a category, type and modifier of the terminologies that are loaded."""

from typing import Any

import slicer
import vtk
from PySide6 import QtGui, QtWidgets

from Testing.host.widgets.factory import behavior


@behavior
class qSlicerTerminologyNavigatorWidget:
    """Lists of categories and types, and a combo box of the type's modifiers; regions are kept as they were set."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._contexts, self._modifiers = QtWidgets.QComboBox(self), QtWidgets.QComboBox(self)
        self._categories, self._types = QtWidgets.QListWidget(self), QtWidgets.QListWidget(self)
        layout = QtWidgets.QVBoxLayout(self)
        for widget in (self._contexts, self._categories, self._types, self._modifiers):
            layout.addWidget(widget)
        self._region = slicer.vtkSlicerTerminologyEntry()
        self._contexts.currentTextChanged.connect(lambda _text: self._list_categories())
        self._categories.currentRowChanged.connect(lambda _row: self._list_types())
        self._types.currentRowChanged.connect(lambda _row: self._list_modifiers())
        self._types.itemDoubleClicked.connect(lambda _item: self.typeDoubleClicked.emit())
        self._contexts.addItems(self._context_names())

    @property
    def _logic(self) -> Any:
        return slicer.modules.terminologies.logic()

    def _context_names(self) -> list[str]:
        names = vtk.vtkStringArray()
        self._logic.GetLoadedTerminologyNames(names)
        return [names.GetValue(number) for number in range(names.GetNumberOfValues())]

    def _nth_category(self, row: int) -> Any:
        category = slicer.vtkSlicerTerminologyCategory()
        found = row >= 0 and self._logic.GetNthCategoryInTerminology(self._contexts.currentText(), row, category)
        return category if found else None

    def _nth_type(self, row: int) -> Any:
        category, kind = self._nth_category(self._categories.currentRow()), slicer.vtkSlicerTerminologyType()
        if category is None or row < 0:
            return None
        context = self._contexts.currentText()
        return kind if self._logic.GetNthTypeInTerminologyCategory(context, category, row, kind) else None

    def _list_categories(self) -> None:
        self._categories.clear()
        count = self._logic.GetNumberOfCategoriesInTerminology(self._contexts.currentText())
        self._categories.addItems([self._nth_category(row).GetCodeMeaning() for row in range(count)])

    def _list_types(self) -> None:
        self._types.clear()
        category = self._nth_category(self._categories.currentRow())
        if category is not None:
            count = self._logic.GetNumberOfTypesInTerminologyCategory(self._contexts.currentText(), category)
            self._types.addItems([self._nth_type(row).GetCodeMeaning() for row in range(count)])

    def _list_modifiers(self) -> None:
        self._modifiers.clear()
        kind = self._nth_type(self._types.currentRow())
        self.selectionValidityChanged.emit(kind is not None)
        if kind is None:
            return
        category, context = self._nth_category(self._categories.currentRow()), self._contexts.currentText()
        self._modifiers.addItem("")
        if not kind.GetHasModifiers():
            return
        for number in range(self._logic.GetNumberOfTypeModifiersInTerminologyType(context, category, kind)):
            modifier = slicer.vtkSlicerTerminologyType()
            self._logic.GetNthTypeModifierInTerminologyType(context, category, kind, number, modifier)
            self._modifiers.addItem(modifier.GetCodeMeaning())

    def terminologyEntry(self, entry: Any) -> bool:
        kind = self._nth_type(self._types.currentRow())
        if kind is None:
            return False
        category, context = self._nth_category(self._categories.currentRow()), self._contexts.currentText()
        entry.SetTerminologyContextName(context)
        entry.GetCategoryObject().Copy(category)
        entry.GetTypeObject().Copy(kind)
        number = self._modifiers.currentIndex() - 1
        modifier = slicer.vtkSlicerTerminologyType()
        if number >= 0:
            self._logic.GetNthTypeModifierInTerminologyType(context, category, kind, number, modifier)
        entry.GetTypeModifierObject().Copy(modifier)
        entry.SetRegionContextName(self._region.GetRegionContextName())
        entry.GetRegionObject().Copy(self._region.GetRegionObject())
        entry.GetRegionModifierObject().Copy(self._region.GetRegionModifierObject())
        return True

    def setTerminologyEntry(self, entry: Any) -> bool:
        self._region.Copy(entry)
        context = entry.GetTerminologyContextName()
        if self._contexts.findText(context or "") < 0:
            return False
        self._contexts.setCurrentText(context)
        for row in range(self._categories.count()):
            if self._nth_category(row).GetCodeValue() == entry.GetCategoryObject().GetCodeValue():
                self._categories.setCurrentRow(row)
        for row in range(self._types.count()):
            if self._nth_type(row).GetCodeValue() == entry.GetTypeObject().GetCodeValue():
                self._types.setCurrentRow(row)
                return True
        return False

    def nameFromTerminology(self, entry: Any) -> str:
        return str(entry.GetTypeObject().GetCodeMeaning() or "")

    def recommendedColorFromTerminology(self, entry: Any) -> QtGui.QColor:
        return QtGui.QColor(*entry.GetTypeObject().GetRecommendedDisplayRGBValue())
