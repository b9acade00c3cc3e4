"""The list of scans that a model can be applied to, with a box for each to tick."""

from __future__ import annotations

from typing import Any

import qt

from SemiSegModule.bridge.pairing import scalarVolumes

_MOST_ROWS = 6


class ApplyVolumes:
    """Shows the first channel of each scan of the scene and keeps which are ticked in the parameter node.

    Args:
        widget: the QListWidget.
        panel: gives ``parameters``.

    Attributes:
        volumes: nodes of the list, in its order.
    """

    def __init__(self, widget: Any, panel: Any) -> None:
        self.widget, self.panel = widget, panel
        self.volumes: list[Any] = []
        self._shown: Any = None
        self._updating = False
        widget.connect("itemChanged(QListWidgetItem*)", self._onTicked)

    @property
    def ticked(self) -> list[Any]:
        """The ticked volumes of the list: what it shows no longer, a person cannot untick either."""
        ticked = self.panel.parameters.applyVolumes
        return [node for node in self.volumes if any(node is other for other in ticked)]

    def show(self) -> None:
        """Show the scans of the scene as they are now."""
        channels = self.panel.parameters.channels
        rows = self.panel.parameters.rows()
        seconds = [row.volumes.get(channel) for row in rows for channel in channels[1:]]
        self.volumes = [node for node in scalarVolumes() if not any(node is second for second in seconds)]
        ticked = [node.GetID() for node in self.panel.parameters.applyVolumes]
        signature = [(node.GetID(), node.GetName(), node.GetID() in ticked) for node in self.volumes]
        if signature == self._shown:
            return
        self._shown = signature
        self._updating = True
        widget = self.widget
        widget.clear()
        for _id, name, isTicked in signature:
            item = qt.QListWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if isTicked else qt.Qt.Unchecked)
            widget.addItem(item)
        rowHeight = widget.sizeHintForRow(0) if signature else 0
        widget.setFixedHeight(max(1, min(len(signature), _MOST_ROWS)) * rowHeight + 2 * widget.frameWidth)
        self._updating = False

    def forget(self) -> None:
        """Show no volume, and hold none any more."""
        self.volumes, self._shown = [], None
        self._updating = True
        self.widget.clear()
        self._updating = False

    def _onTicked(self, _item: Any) -> None:
        if self._updating:
            return
        self.panel.parameters.applyVolumes = [
            node for index, node in enumerate(self.volumes) if self.widget.item(index).checkState() == qt.Qt.Checked
        ]
