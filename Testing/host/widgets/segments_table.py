"""qMRMLSegmentsTableView: the segments of a segmentation node with visibility, color, opacity, name and status."""

from typing import Any

import slicer
from PySide6 import QtGui, QtWidgets
from PySide6.QtCore import Qt

from Testing.host.widgets.factory import behavior, stored
from Testing.host.widgets.observing import Observers

_COLUMNS = ("visibility", "color", "opacity", "name", "status", "layer")
_VISIBILITY, _COLOR, _OPACITY, _NAME, _STATUS, _LAYER = range(len(_COLUMNS))
_STATUS_WORDS = ("Not started", "In progress", "Completed", "Flagged")
_ID_ROLE = Qt.ItemDataRole.UserRole
_SHOWN = {"visibility": True, "color": True, "opacity": False, "status": False, "layer": False}


@behavior
class qMRMLSegmentsTableView:
    """A table with one row per segment."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._table = QtWidgets.QTableWidget(0, len(_COLUMNS), self)
        self._table.setHorizontalHeaderLabels([column.capitalize() for column in _COLUMNS])
        self._table.setSelectionBehavior(QtWidgets.QAbstractItemView.SelectionBehavior.SelectRows)
        self._table.horizontalHeader().setSectionResizeMode(_NAME, QtWidgets.QHeaderView.ResizeMode.Stretch)
        self._table.verticalHeader().hide()
        layout = QtWidgets.QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._table)
        self._node: Any = None
        self._observers = Observers(self)
        self._hidden: tuple[str, ...] = ()
        self._statuses = set(range(len(_STATUS_WORDS)))
        self._is_filling = False
        for column, is_shown in _SHOWN.items():
            self._show_column(column, is_shown)
        self._table.itemChanged.connect(self._on_item)
        self._table.selectionModel().selectionChanged.connect(self.selectionChanged.emit)

    def tableWidget(self) -> QtWidgets.QTableWidget:
        return self._table

    def segmentationNode(self) -> Any:
        return self._node

    def setSegmentationNode(self, node: Any) -> None:
        self._observers.clear()
        self._node = node
        if node is not None:
            kinds = slicer.vtkSegmentation
            events = (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified, kinds.SegmentsOrderModified)
            self._observers.add(node, events, type(self)._on_event)
            self._observers.add(node, [slicer.vtkMRMLDisplayableNode.DisplayModifiedEvent], type(self)._on_event)
        self._fill()

    def _on_new_scene(self) -> None:
        super()._on_new_scene()
        if self._node is not None and self._node.GetScene() is not self._scene:
            self.setSegmentationNode(None)

    def get_segmentCount(self) -> int:
        return len(self._ids())

    def _ids(self) -> tuple[str, ...]:
        return () if self._node is None else tuple(self._node.GetSegmentation().GetSegmentIDs())

    def _segment(self, segment_id: str) -> Any:
        return self._node.GetSegmentation().GetSegment(segment_id)

    def _is_displayed(self, segment_id: str) -> bool:
        segment = self._segment(segment_id)
        words = (stored(self).get("textFilter") or "").lower()
        status = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(segment)
        return (
            words in (segment.GetName() or "").lower() and segment_id not in self._hidden and status in self._statuses
        )

    def _on_event(self, caller: Any, event: str) -> None:
        self._fill()

    def _fill(self) -> None:
        if self._is_filling:
            return
        selected = self.selectedSegmentIDs()
        self._is_filling = True
        displayed = [segment_id for segment_id in self._ids() if self._is_displayed(segment_id)]
        self._table.setRowCount(len(displayed))
        for row, segment_id in enumerate(displayed):
            self._fill_row(row, segment_id)
        self._is_filling = False
        self.setSelectedSegmentIDs(selected)

    def _fill_row(self, row: int, segment_id: str) -> None:
        segment, display = self._segment(segment_id), self._node.GetDisplayNode()
        items = [QtWidgets.QTableWidgetItem() for _ in _COLUMNS]
        is_visible = display is None or display.GetSegmentVisibility(segment_id)
        items[_VISIBILITY].setCheckState(Qt.CheckState.Checked if is_visible else Qt.CheckState.Unchecked)
        items[_COLOR].setBackground(QtGui.QColor.fromRgbF(*segment.GetColor()))
        items[_OPACITY].setText(f"{display.GetSegmentOpacity3D(segment_id):.2f}" if display else "")
        items[_NAME].setText(segment.GetName() or "")
        status = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentStatus(segment)
        items[_STATUS].setText(_STATUS_WORDS[status])
        items[_LAYER].setText(str(self._node.GetSegmentation().GetLayerIndex(segment_id)))
        for column, item in enumerate(items):
            item.setData(_ID_ROLE, segment_id)
            is_editable = column == _NAME and not self.readOnly
            flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
            flags |= Qt.ItemFlag.ItemIsEditable if is_editable else Qt.ItemFlag.NoItemFlags
            flags |= Qt.ItemFlag.ItemIsUserCheckable if column == _VISIBILITY else Qt.ItemFlag.NoItemFlags
            item.setFlags(flags)
            self._table.setItem(row, column, item)

    def _on_item(self, item: QtWidgets.QTableWidgetItem) -> None:
        if self._is_filling:
            return
        segment_id = item.data(_ID_ROLE)
        self.segmentAboutToBeModified.emit(segment_id)
        if item.column() == _VISIBILITY:
            is_visible = item.checkState() == Qt.CheckState.Checked
            self._node.GetDisplayNode().SetSegmentVisibility(segment_id, is_visible)
        elif item.column() == _NAME:
            self._segment(segment_id).SetName(item.text())

    def displayedSegmentIDs(self) -> tuple[str, ...]:
        return tuple(self.segmentIDForRow(row) for row in range(self._table.rowCount()))

    def segmentIDForRow(self, row: int) -> str:
        item = self._table.item(row, _NAME)
        return item.data(_ID_ROLE) if item else ""

    def rowForSegmentID(self, segment_id: str) -> int:
        displayed = self.displayedSegmentIDs()
        return displayed.index(segment_id) if segment_id in displayed else -1

    def selectedSegmentIDs(self) -> tuple[str, ...]:
        rows = sorted({index.row() for index in self._table.selectedIndexes()})
        return tuple(self.segmentIDForRow(row) for row in rows)

    def setSelectedSegmentIDs(self, segment_ids: Any) -> None:
        if tuple(segment_ids) == self.selectedSegmentIDs():
            return
        self._table.clearSelection()
        mode = self._table.selectionMode()
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode.MultiSelection)
        for segment_id in segment_ids:
            row = self.rowForSegmentID(segment_id)
            if row >= 0:
                self._table.selectRow(row)
        self._table.setSelectionMode(mode)

    def clearSelection(self) -> None:
        self._table.clearSelection()

    def get_selectionMode(self) -> int:
        return int(self._table.selectionMode().value)

    def set_selectionMode(self, mode: int) -> None:
        self._table.setSelectionMode(QtWidgets.QAbstractItemView.SelectionMode(mode))

    def setSelectionMode(self, mode: int) -> None:
        self.set_selectionMode(mode)

    def set_textFilter(self, text: str) -> None:
        stored(self)["textFilter"] = text
        self._fill()

    def setTextFilter(self, text: str) -> None:
        self.set_textFilter(text)

    def setHideSegments(self, segment_ids: Any) -> None:
        self._hidden = tuple(segment_ids)
        self._fill()

    def hideSegments(self) -> tuple[str, ...]:
        return self._hidden

    def statusShown(self, status: int) -> bool:
        return status in self._statuses

    def setStatusShown(self, status: int, is_shown: bool) -> None:
        self._statuses = self._statuses | {status} if is_shown else self._statuses - {status}
        self._fill()

    def setSelectedSegmentsStatus(self, status: int) -> None:
        for segment_id in self.selectedSegmentIDs():
            slicer.vtkSlicerSegmentationsModuleLogic.SetSegmentStatus(self._segment(segment_id), status)

    def showOnlySelectedSegments(self) -> None:
        selected = self.selectedSegmentIDs()
        for segment_id in self.displayedSegmentIDs():
            self._node.GetDisplayNode().SetSegmentVisibility(segment_id, segment_id in selected)

    def toggleSelectedSegmentsVisibility(self) -> None:
        display = self._node.GetDisplayNode()
        for segment_id in self.selectedSegmentIDs():
            display.SetSegmentVisibility(segment_id, not display.GetSegmentVisibility(segment_id))

    def set_readOnly(self, is_read_only: bool) -> None:
        stored(self)["readOnly"] = bool(is_read_only)
        self._fill()

    def setReadOnly(self, is_read_only: bool) -> None:
        self.set_readOnly(is_read_only)

    def set_headerVisible(self, is_visible: bool) -> None:
        self._table.horizontalHeader().setVisible(is_visible)

    def get_headerVisible(self) -> bool:
        return not self._table.horizontalHeader().isHidden()

    def setHeaderVisible(self, is_visible: bool) -> None:
        self.set_headerVisible(is_visible)

    def _show_column(self, column: str, is_shown: bool) -> None:
        self._table.setColumnHidden(_COLUMNS.index(column), not is_shown)


def _add_column_property(column: str) -> None:
    name = f"{column}ColumnVisible"

    def put(self: Any, is_shown: bool) -> None:
        self._show_column(column, bool(is_shown))

    setattr(qMRMLSegmentsTableView, f"set_{name}", put)
    setattr(qMRMLSegmentsTableView, f"set{name[0].upper()}{name[1:]}", put)
    get_name = f"get_{name}"
    setattr(qMRMLSegmentsTableView, get_name, lambda self: not self._table.isColumnHidden(_COLUMNS.index(column)))


for _column in _SHOWN:
    _add_column_property(_column)
