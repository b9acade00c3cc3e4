"""The list of scans that a model can be applied to, with a box for each to tick."""

from __future__ import annotations

from typing import Any

import qt

from SemiSegModule.bridge.pairing import scalarVolumes

_MOST_ROWS = 6


class ApplyVolumes:
    """Shows the first channel of each scan of the scene and keeps which are ticked in the parameter node.

    Args:
        ui: widgets of the form by name.
        panel: gives ``parameters``.

    Attributes:
        volumes: nodes of the list, in its order.
    """

    def __init__(self, ui: Any, panel: Any) -> None:
        self.ui, self.panel = ui, panel
        self.volumes: list[Any] = []
        self._shown: Any = None
        self._updating = False
        ui.applyVolumesList.connect("itemChanged(QListWidgetItem*)", self._onTicked)

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
        self.ui.applyVolumesList.clear()
        for _id, name, isTicked in signature:
            item = qt.QListWidgetItem(name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if isTicked else qt.Qt.Unchecked)
            self.ui.applyVolumesList.addItem(item)
        rowHeight = self.ui.applyVolumesList.sizeHintForRow(0) if signature else 0
        height = max(1, min(len(signature), _MOST_ROWS)) * rowHeight + 2 * self.ui.applyVolumesList.frameWidth
        self.ui.applyVolumesList.setFixedHeight(height)
        self._updating = False

    def forget(self) -> None:
        """Show no volume, and hold none any more."""
        self.volumes, self._shown = [], None
        self._updating = True
        self.ui.applyVolumesList.clear()
        self._updating = False

    def _onTicked(self, _item: Any) -> None:
        if self._updating:
            return
        self.panel.parameters.applyVolumes = [
            node
            for index, node in enumerate(self.volumes)
            if self.ui.applyVolumesList.item(index).checkState() == qt.Qt.Checked
        ]
