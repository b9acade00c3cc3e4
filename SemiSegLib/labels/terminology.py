"""Terminology codes as Slicer serializes them in segments, ``.seg.nrrd`` files and color tables."""

from __future__ import annotations

from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.scheme import Code, Terminology

# Slicer's separators: between the parts of an entry, and between scheme, value and meaning of a code. The bar
# ends a tag in the header of a .seg.nrrd file.
_PART, _FIELD, _TAG = "~", "^", "|"


def to_slicer_string(terminology: Terminology) -> str:
    """Return a terminology entry as vtkSlicerTerminologiesModuleLogic serializes it.

    The parts are context, category, type, type modifier, anatomic context, region and region modifier; a part
    that is not given is "^^".

    Raises:
        LabelError: a text holds one of Slicer's separators, so that it could not be read back.
    """
    parts = (
        _plain(terminology.context),
        _code_text(terminology.category),
        _code_text(terminology.type),
        _code_text(terminology.type_modifier),
        _plain(terminology.region_context),
        _code_text(terminology.region),
        _code_text(terminology.region_modifier),
    )
    return _PART.join(parts)


def from_slicer_string(text: str) -> Terminology:
    """Return the terminology entry that Slicer wrote.

    The contexts and the region may be missing or empty, as in entries that come from a color table.

    Raises:
        LabelError: the text has fewer parts than category and type, or one of these two has no code.
    """
    parts = [part.strip() for part in text.strip().split(_PART)]
    if not 3 <= len(parts) <= 8:
        raise _error(f"a terminology entry of {len(parts)} parts, expected 3 to 7", text)
    parts += [""] * (7 - len(parts))
    category, kind, modifier = (_read_code(part, text) for part in parts[1:4])
    region, region_modifier = (_read_code(part, text) for part in parts[5:7])
    if category is None or kind is None:
        raise _error("a terminology entry without the code of its category or type", text)
    default = Terminology(category=category, type=kind)
    return Terminology(
        category=category,
        type=kind,
        type_modifier=modifier,
        region=region,
        region_modifier=region_modifier,
        context=parts[0] or default.context,
        region_context=parts[4] or default.region_context,
    )


def _code_text(code: Code | None) -> str:
    if code is None:
        return _FIELD * 2
    return _FIELD.join(_plain(text) for text in (code.scheme, code.value, code.meaning))


def _read_code(part: str, text: str) -> Code | None:
    fields = [field.strip() for field in part.split(_FIELD)]
    if len(fields) not in (1, 3) or (len(fields) == 1 and fields[0]):
        raise _error(f"the code '{part}' has {len(fields)} fields, expected scheme^value^meaning", text)
    if len(fields) == 1 or not any(fields):
        return None
    if not fields[0] or not fields[1]:
        raise _error(f"the code '{part}' lacks its scheme or its value", text)
    return Code(scheme=fields[0], value=fields[1], meaning=fields[2])


def _plain(text: str) -> str:
    if any(mark in text for mark in (_PART, _FIELD, _TAG, "\n", "\r")):
        raise LabelError(
            explain(
                f"'{text}' holds one of the characters ~ ^ | or a line break, which Slicer uses as separators",
                where="terminology",
                remedy="write the term without them",
            )
        )
    return text


def _error(what: str, text: str) -> LabelError:
    return LabelError(
        explain(
            what,
            where=f"terminology entry '{text[:120]}'",
            remedy="select the term again in Slicer's terminology selector and save",
        )
    )
