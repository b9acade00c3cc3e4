"""The JSON schema of our ``dataset.json``, derived from the records that read it; run to write it anew."""

import dataclasses
import json
import re
import types
import typing
from collections.abc import Mapping
from enum import Enum
from pathlib import Path

from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.cases.formats import FORMAT, FORMAT_KEY

SCHEMA_PATH = Path(__file__).resolve().parents[3] / "Resources" / "dataset.schema.json"


def dataset_schema() -> dict:
    """Return the schema: every class becomes a definition, its docstring the descriptions."""
    definitions: dict[str, dict] = {}
    _define(Dataset, definitions)
    root = definitions.pop("Dataset")
    properties = {
        FORMAT_KEY: {"const": FORMAT, "description": "Marks SemiSeg's format and gives its version."},
        **{key: item for key, item in root["properties"].items() if key != "root"},
    }
    properties["scheme"] = {
        "description": "The label scheme, or the name of a ready one.",
        "anyOf": [{"type": "string"}, {"$ref": "#/$defs/LabelScheme"}],
    }
    properties["modality"]["additionalProperties"] = {"enum": ["CT", "MR"]}
    properties["dimensions"] = {**properties["dimensions"], "enum": [2, 3, None]}
    properties["dimensions"].pop("type", None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "SemiSeg dataset",
        "description": root["description"],
        "type": "object",
        "additionalProperties": False,
        "required": [key for key in root["required"] if key != "root"],
        "properties": properties,
        "$defs": dict(sorted(definitions.items())),
    }


def _define(cls: type, definitions: dict[str, dict]) -> None:
    if cls.__name__ in definitions:
        return
    definitions[cls.__name__] = {}
    hints = typing.get_type_hints(cls)
    words = _attributes(cls)
    properties, required = {}, []
    for field in dataclasses.fields(cls):
        if not field.init:
            continue
        properties[field.name] = _schema_of(hints[field.name], definitions)
        if field.name in words:
            properties[field.name] = {"description": words[field.name], **properties[field.name]}
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            required.append(field.name)
    definitions[cls.__name__] = {
        "description": (cls.__doc__ or "").split("\n")[0],
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


def _schema_of(kind: object, definitions: dict[str, dict]) -> dict:
    origin, items = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return _union([_schema_of(item, definitions) for item in items])
    if dataclasses.is_dataclass(kind):
        _define(kind, definitions)
        return {"$ref": f"#/$defs/{kind.__name__}"}
    if origin is tuple and items[-1] is Ellipsis:
        return {"type": "array", "items": _schema_of(items[0], definitions)}
    if origin is tuple:
        inner = [_schema_of(item, definitions) for item in items]
        return {"type": "array", "prefixItems": inner, "minItems": len(items), "maxItems": len(items)}
    if origin is not None and issubclass(origin, Mapping):
        table = {"type": "object", "additionalProperties": _schema_of(items[1], definitions)}
        return table | ({"propertyNames": {"pattern": "^[0-9]+$"}} if items[0] is int else {})
    if isinstance(kind, type) and issubclass(kind, Enum):
        return {"enum": [member.value for member in kind]}
    plain = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", Path: "string"}
    return {"type": plain[kind]}


def _union(options: list[dict]) -> dict:
    plain = [option["type"] for option in options if set(option) == {"type"}]
    return {"type": plain} if len(plain) == len(options) else {"anyOf": options}


def _attributes(cls: type) -> dict[str, str]:
    """Return the words on each attribute from a Google docstring."""
    _, _, section = (cls.__doc__ or "").partition("Attributes:\n")
    section = re.split(r"\n\s*\n", section)[0]
    words: dict[str, str] = {}
    current: list[str] = []
    for line in section.splitlines():
        named = re.match(r"^ {8}([a-z_]+(?:, [a-z_]+)*): (.*)", line)
        if named:
            current = named[1].split(", ")
            words |= dict.fromkeys(current, named[2].strip())
        elif line.strip():
            words |= {name: f"{words[name]} {line.strip()}" for name in current}
    return {name: re.sub(r"\bNone\b", "null", text).replace("``", "") for name, text in words.items()}


def schema_text() -> str:
    """Return the schema as it is stored."""
    return json.dumps(dataset_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")
