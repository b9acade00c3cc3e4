"""How tables of the panel fit their content."""

from __future__ import annotations

from typing import Any

import qt


def fitRows(table: Any, count: int, *, most: int = 8) -> None:
    """Give a table the height of its rows, up to a number of rows; beyond that it scrolls."""
    header = table.horizontalHeader()
    # The selected row is marked in the row itself; bold titles over all of it would only look like an emphasis.
    header.highlightSections = False
    table.resizeRowsToContents()
    rows = [table.rowHeight(row) for row in range(min(count, most))]
    # The header's own height is known only after it was shown.
    table.setFixedHeight(header.sizeHint.height() + sum(rows) + 2 * table.frameWidth)


def stretchColumns(table: Any) -> None:
    """Share the width of a table among its columns."""
    header = table.horizontalHeader()
    for column in range(table.columnCount):
        header.setSectionResizeMode(column, qt.QHeaderView.Stretch)
