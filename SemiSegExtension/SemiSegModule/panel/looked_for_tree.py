"""The tree of ticks: which structures were looked for in a case; a whole is half ticked when only some parts are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import qt

from SemiSegLib.labels.scheme import BACKGROUND, LabelScheme, Structure, name_key
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.panel.structure_icons import colorIcon

_MOST_ROWS = 10


class LookedForTree:
    """Shows ticks and tells the structures that are ticked after a click.

    A whole and its parts are ticked apart: "all of the kidney was drawn" says nothing of where its tumor is. When all
    parts are ticked, so is the whole.

    Args:
        tree: QTreeWidget.
        tell: called with the names of the structures that were looked for.
    """

    def __init__(self, tree: Any, tell: Callable[[Sequence[str]], None]) -> None:
        self._tree, self._tell = tree, tell
        self._updating = False
        self._scheme: LabelScheme | None = None
        self._names: tuple[str, ...] = ()
        tree.headerHidden = True
        tree.connect("itemChanged(QTreeWidgetItem*,int)", self._onTicked)

    def show(self, case: SceneCase, scheme: LabelScheme) -> None:
        """Show what was looked for in a case."""
        self._updating = True
        self._scheme, self._names = scheme, case.lookedFor
        tree = self._tree
        tree.clear()
        tree.setColumnCount(1)
        items: dict[str, Any] = {}
        ticked = _ticked(case.lookedFor, scheme)
        # Wholes first, whatever the order in the scheme, so that every parent has its item.
        for structure in sorted(scheme.structures, key=lambda s: len(scheme.ancestors(s.name))):
            if name_key(structure.name) == BACKGROUND:
                continue
            # Added explicitly: addChild and addTopLevelItem hand the item to Qt, a constructor with parent may not.
            item = qt.QTreeWidgetItem()
            parent = items.get(scheme.find(structure.parent).name) if structure.parent else None
            if parent is not None:
                parent.addChild(item)
            else:
                tree.addTopLevelItem(item)
            item.setText(0, structure.name)
            item.setFlags(qt.Qt.ItemIsEnabled | qt.Qt.ItemIsSelectable | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(0, _state(structure, ticked, scheme))
            item.setIcon(0, colorIcon(structure.color))
            items[structure.name] = item
        tree.expandAll()
        rowHeight = tree.sizeHintForRow(0) if items else 0
        tree.setFixedHeight(max(1, min(len(items), _MOST_ROWS)) * rowHeight + 2 * tree.frameWidth)
        self._updating = False

    def _onTicked(self, item: Any, _column: int) -> None:
        if self._updating or self._scheme is None:
            return
        scheme = self._scheme
        changed = scheme.find(item.text(0))
        inside = {s.name for s in scheme.structures if changed in scheme.ancestors(s.name)}
        # A whole that is not ticked has no ticked parts; a whole whose part is not ticked may still be.
        isTicked = item.checkState(0) == qt.Qt.Checked
        names = {*self._names, changed.name} if isTicked else set(self._names) - inside
        self._tell([s.name for s in scheme.structures if s.name in names])


def _ticked(names: Sequence[str], scheme: LabelScheme) -> set[str]:
    """Return the names with the wholes all of whose parts are among them."""
    found = {scheme.find(name).name for name in names}
    for structure in sorted(scheme.structures, key=lambda s: -len(scheme.ancestors(s.name))):
        parts = _parts(structure, scheme)
        if parts and all(part.name in found for part in parts):
            found.add(structure.name)
    return found


def _parts(structure: Structure, scheme: LabelScheme) -> list[Structure]:
    return [s for s in scheme.structures if s.parent and scheme.find(s.parent) is structure]


def _state(structure: Structure, ticked: set[str], scheme: LabelScheme) -> Any:
    if structure.name in ticked:
        return qt.Qt.Checked
    inside = [s for s in scheme.structures if s is not structure and structure in scheme.ancestors(s.name)]
    return qt.Qt.PartiallyChecked if any(s.name in ticked for s in inside) else qt.Qt.Unchecked
