"""Label schemes as Slicer's color table CSV: label value, name, color and terminology, a row a structure."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from SemiSegLib.config import write_atomically
from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.scheme import BACKGROUND, Code, LabelScheme, Structure, Terminology, name_key

# Columns of vtkMRMLColorTableStorageNode (Slicer 5.10 and newer), in its order. Slicer ignores further columns,
# which is where the tree and the aliases travel.
_CODES = {
    "Category": "category",
    "Type": "type",
    "TypeModifier": "type_modifier",
    "Region": "region",
    "RegionModifier": "region_modifier",
}
_CODE_FIELDS = {"CodingScheme": "scheme", "CodeValue": "value", "CodeMeaning": "meaning"}
_PARENT, _ALIASES, _ALIAS_MARK = "SemiSeg_Parent", "SemiSeg_Aliases", "|"
COLUMNS = (
    *("LabelValue", "Name", "Color_R", "Color_G", "Color_B", "Color_A"),
    *(f"{group}_{field}" for group in _CODES for field in _CODE_FIELDS),
    *(_PARENT, _ALIASES),
)
# vtkDelimitedTextReader drops the text of a cell with an escaped quote and ends a row at any line break.
_LOST_MARKS = '"\n\r'
# What Slicer calls a color that nobody named.
_UNNAMED = ("", "(none)")


def write_color_table(scheme: LabelScheme, path: Path) -> None:
    """Write a scheme as a color table that Slicer loads.

    A leaf has its index as label value, as in the label images that SemiSeg writes; groups and superclasses have
    the values that follow. The terminology contexts are not part of Slicer's format and are not written.

    Raises:
        LabelError: a name cannot be written so that Slicer reads it back.
    """
    values = {leaf.name: index for index, leaf in enumerate(scheme.leaves)}
    for structure in scheme.structures:
        values.setdefault(structure.name, len(values))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for structure in scheme.structures:
        for alias in structure.aliases:
            _check(alias, _ALIAS_MARK, scheme)
        row = _row(structure, values[structure.name])
        for cell in row:
            _check(cell, _LOST_MARKS, scheme)
        writer.writerow(row)
    write_atomically(path, text.getvalue().encode())


def read_color_table(path: Path) -> tuple[LabelScheme, dict[int, str]]:
    """Return the scheme of a color table, and label value to structure name.

    A table written by Slicer has no tree: each of its rows is a superclass of one leaf. If no row is called
    background and none has the value 0, the value 0 is background, as everywhere in Slicer.

    Raises:
        LabelError: the file is missing or no color table, or a row is wrong; the message names its line.
    """
    path = Path(path)
    structures: list[Structure] = []
    values: dict[int, str] = {}
    for line, row in _rows(path):
        where = f"{path.name}, line {line}"
        name = row["Name"].strip()
        if name in _UNNAMED:
            continue
        value = round(_number(row, "LabelValue", where))
        if value in values:
            raise _error(f"the label value {value} stands for '{values[value]}' and '{name}'", where)
        values[value] = name
        structures.append(
            Structure(
                name=name,
                parent=row.get(_PARENT, "").strip() or None,
                color=_color(row, where),
                terminology=_terminology(row, where),
                aliases=tuple(alias.strip() for alias in row.get(_ALIASES, "").split(_ALIAS_MARK) if alias.strip()),
            )
        )
    scheme = LabelScheme(name=path.stem, structures=tuple(structures), source=path.name)
    if 0 not in values and BACKGROUND not in {name_key(name) for name in values.values()}:
        values[0] = BACKGROUND
    return scheme, values


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LabelError(explain("the file does not exist", where=str(path), remedy="check the path")) from None
    except UnicodeDecodeError as error:
        raise _error(f"the file is not text: {error}", str(path)) from error
    reader = csv.DictReader(io.StringIO(text))
    missing = [column for column in ("LabelValue", "Name") if column not in (reader.fieldnames or ())]
    if missing:
        raise _error(f"the column {' and the column '.join(missing)} is missing", str(path))
    # A short line leaves None in its last columns; a long one collects what is too much under None.
    return [(reader.line_num, {k: v or "" for k, v in row.items() if isinstance(k, str)}) for row in reader]


def _row(structure: Structure, value: int) -> list[str]:
    red, green, blue = (str(round(255 * part)) for part in structure.color)
    opacity = "0" if name_key(structure.name) == BACKGROUND else "255"
    cells = [str(value), structure.name, red, green, blue, opacity]
    for group in _CODES.values():
        code = getattr(structure.terminology, group) if structure.terminology else None
        cells += [getattr(code, field) if code else "" for field in _CODE_FIELDS.values()]
    return [*cells, structure.parent or "", _ALIAS_MARK.join(structure.aliases)]


def _check(text: str, marks: str, scheme: LabelScheme) -> None:
    if found := [mark for mark in marks if mark in text]:
        raise LabelError(
            explain(
                f"{text!r} holds the character {found[0]!r}, which a color table of Slicer cannot hold there",
                where=f"label scheme '{scheme.name}'",
                remedy="rename it",
            )
        )


def _color(row: Mapping[str, str], where: str) -> tuple[float, float, float]:
    columns = ("Color_R", "Color_G", "Color_B")
    if not any(row.get(column) for column in columns):
        return Structure(name="uncolored").color
    parts = [_number(row, column, where) for column in columns]
    if not all(0 <= part <= 255 for part in parts):
        raise _error(f"the color {parts} is not between 0 and 255", where)
    # Three decimals tell 256 levels apart and are what people write in JSON.
    red, green, blue = (round(part / 255, 3) for part in parts)
    return red, green, blue


def _terminology(row: Mapping[str, str], where: str) -> Terminology | None:
    codes: dict[str, Code] = {}
    for prefix, group in _CODES.items():
        fields = {name: row.get(f"{prefix}_{column}", "").strip() for column, name in _CODE_FIELDS.items()}
        if fields["scheme"] and fields["value"]:
            codes[group] = Code(**fields)
        elif any(fields.values()):
            raise _error(f"{prefix} has no coding scheme or no code value", where)
    if not codes:
        return None
    if "category" not in codes or "type" not in codes:
        raise _error("a terminology needs both Category and Type", where)
    return Terminology(
        category=codes["category"],
        type=codes["type"],
        type_modifier=codes.get("type_modifier"),
        region=codes.get("region"),
        region_modifier=codes.get("region_modifier"),
    )


def _number(row: Mapping[str, str], column: str, where: str) -> float:
    try:
        value = float(row.get(column, ""))
    except ValueError:
        raise _error(f"{column} is '{row.get(column, '')}', expected a number", where) from None
    if column == "LabelValue" and not (value.is_integer() and value >= 0):
        raise _error(f"LabelValue is {value:g}, expected a whole number from 0", where)
    return value


def _error(what: str, where: str) -> LabelError:
    return LabelError(explain(what, where=where, remedy="save the color table as CSV from Slicer's Colors module"))
