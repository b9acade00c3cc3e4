"""The case table follows the scene: volumes and segmentations come and go, what a person has said of them stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from SemiSegModule.bridge.pairing import scalarVolumes, segmentationOf, segmentations
from SemiSegModule.panel.row_labels import withLabelsLeft, withoutGoneSegments, withSegmentation
from SemiSegModule.parameters import CaseRow, StudyParameters


def updateRows(parameters: StudyParameters) -> bool:
    """Bring the case table in line with the scene and return whether it changed.

    New volumes get a row with the segmentation that belongs to them, and removed ones that were added again their row
    of before. Rows of volumes that are gone go, and of those that are a further channel of another row. What a person
    has chosen is kept, but for what was said of segments and segmentations that are gone.
    """
    before = parameters.rows()
    further = [node for row in before for channel, node in row.volumes.items() if channel != parameters.channels[0]]
    rows = [replace(row) for row in before if not any(row.volumes[parameters.channels[0]] is node for node in further)]
    back, removed = _returned(rows, parameters)
    rows = [withLabelsLeft(row) for row in [*rows, *back]]
    volumes = scalarVolumes()
    known = [*(node for row in rows for node in row.volumes.values()), *parameters.removedVolumes]
    taken = [held.segmentation for row in [*rows, *removed] for held in (row, row.before) if held is not None]
    free = [node for node in segmentations(withResults=False) if not any(node is t for t in taken)]
    for number, row in enumerate(rows):
        if row.segmentation is not None:
            rows[number] = withoutGoneSegments(row)
        elif not row.isWithoutLabels:
            found = (segmentationOf(node, free, volumes) for node in row.volumes.values())
            labels = next((node for node in found if node is not None), None)
            if labels is not None:
                rows[number] = withSegmentation(row, labels)
                free = [node for node in free if node is not labels]
    for volume in volumes:
        if not any(volume is node for node in known):
            found = segmentationOf(volume, free, volumes)
            free = [node for node in free if node is not found]
            rows.append(CaseRow(volumes={parameters.channels[0]: volume}, segmentation=found))
    changed = rows != before or len(rows) != parameters.storedRowCount or parameters.isOfEarlierVersion
    if changed:
        parameters.setRows(rows, removed)
    return changed


def _returned(rows: Sequence[CaseRow], parameters: StudyParameters) -> tuple[list[CaseRow], list[CaseRow]]:
    """Return the rows of removed cases that may come back, without images that are another case's now, and the rest."""
    back: list[CaseRow] = []
    left: list[CaseRow] = []
    for row in parameters.removedRows():
        first = row.volumes[parameters.channels[0]]
        if any(first is node for node in parameters.removedVolumes):
            left.append(row)
            continue
        row = withoutImagesOf([*rows, *back], row)
        if parameters.channels[0] in row.volumes:
            back.append(row)
    return back, left


def withoutImagesOf(rows: Sequence[CaseRow], row: CaseRow) -> CaseRow:
    """Return a row without the images that are those of other rows."""
    used = [node for other in rows for node in other.volumes.values()]
    volumes = {name: node for name, node in row.volumes.items() if not any(node is other for other in used)}
    return replace(row, volumes=volumes)
