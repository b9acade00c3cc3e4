"""The published JSON schema says what the reader accepts."""

import json

import pytest

from SemiSegLib.cases.formats import load_dataset, save_dataset
from SemiSegLib.errors import SemiSegError
from Testing.lib.cases.schema import SCHEMA_PATH, schema_text
from Testing.lib.cases.tiny import put_case, put_dataset


def test_the_stored_schema_is_that_of_the_records():
    remedy = "run `python -m Testing.lib.cases.schema` in the root of the project"
    assert SCHEMA_PATH.read_text(encoding="utf-8") == schema_text(), remedy


def violations(data, schema, root, where="dataset"):
    """What the schema objects to, for the few words of JSON schema that ours uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    if "anyOf" in schema:
        tried = [violations(data, option, root, where) for option in schema["anyOf"]]
        return [] if not all(tried) else min(tried, key=len)
    if "const" in schema or "enum" in schema:
        return [] if data in schema.get("enum", [schema.get("const")]) else [f"{where} is {data!r}"]
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "null": type(None)}
    stated = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(isinstance(data, kinds[kind]) for kind in stated):
        return [f"{where} is {data!r}"]
    if isinstance(data, list):
        inner = schema.get("prefixItems") or [schema["items"]] * len(data)
        found = [] if len(inner) == len(data) else [f"{where} has {len(data)} items"]
        parts = zip(data, inner, strict=False)
        return found + [
            v for n, (item, part) in enumerate(parts) for v in violations(item, part, root, f"{where}[{n}]")
        ]
    return violations_of_object(data, schema, root, where) if isinstance(data, dict) else []


def violations_of_object(data, schema, root, where):
    found = [f"{where} lacks {key}" for key in schema.get("required", []) if key not in data]
    if "propertyNames" in schema:
        found += [f"{where}.{key}" for key in data if not key.isdigit()]
    for key, item in data.items():
        part = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
        found += [f"{where}.{key}"] if part is False else violations(item, part, root, f"{where}.{key}")
    return found


def stored(folder):
    return json.loads((folder / "dataset.json").read_text())


def test_what_we_save_follows_the_schema(tmp_path):
    entries = [put_case(tmp_path, "a", 1), put_case(tmp_path, "b", 2, annotated=False)]
    entries[0] |= {"split": "train"}
    entries[0]["annotation"]["extent"] = {"slices": [1], "box": [[0, 0, 0], [1, 1, 1]], "mask": "labels/b.nii.gz"}
    put_dataset(tmp_path, entries, dimensions=3)
    schema = json.loads(SCHEMA_PATH.read_text())
    assert violations(stored(tmp_path), schema, schema) == []
    save_dataset(load_dataset(tmp_path), tmp_path)
    assert violations(stored(tmp_path), schema, schema) == []


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"chanels": ["T1"]}, "dataset.chanels"),
        ({"channels": "T1"}, "dataset.channels"),
        ({"modality": {"T1": "PET"}}, "dataset.modality.T1"),
        ({"dimensions": 4}, "dataset.dimensions"),
        ({"semiseg": 2}, "dataset.semiseg"),
        ({"cases": [{"id": "a", "images": {}}]}, "dataset.cases[0] lacks patient"),
        ({"cases": [{"id": "a", "patient": "a", "images": {"T1": 3}}]}, "dataset.cases[0].images.T1"),
        ({"cases": [{"id": "a", "patient": "a", "images": {}, "split": "val"}]}, "dataset.cases[0]"),
    ],
)
def test_what_the_schema_refuses_the_reader_refuses_too(tmp_path, changes, place):
    put_dataset(tmp_path, [], **changes)
    schema = json.loads(SCHEMA_PATH.read_text())
    assert any(found.startswith(place) for found in violations(stored(tmp_path), schema, schema))
    with pytest.raises(SemiSegError):
        load_dataset(tmp_path)
