"""Strict JSON to frozen dataclasses and back: an unknown key or a wrong type stops with the nearest name."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import threading
import time
import types
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, Union

from SemiSegLib.errors import ConfigError, did_you_mean, explain

T = TypeVar("T")

# Ten attempts in five seconds (need R15).
RENAME_ATTEMPTS = 10
RENAME_WAIT_SECONDS = 0.5
# In the metadata of a dataclass field that was added after files of its class had been written.
YOUNGER = "younger"
# In the metadata of a dataclass field that is no data, such as a function.
NO_DATA = "no data"
# Looking up the types of a class takes three times as long as checking one event of a run against them.
_type_hints = typing.cast("Callable[[type[Any]], dict[str, Any]]", functools.cache(typing.get_type_hints))


def check_range(name: str, value: float, *, low: float = -math.inf, high: float = math.inf) -> None:
    """Raise ConfigError unless ``low <= value <= high`` (NaN is refused)."""
    if not low <= value <= high:
        raise ConfigError(explain(f"{name} is {value}", where=name, remedy=f"choose a value from {low:g} to {high:g}"))


def check_choice(name: str, value: str, choices: typing.Iterable[str]) -> None:
    """Raise ConfigError unless ``value`` is one of ``choices``; the message names the nearest."""
    known = list(choices)
    if value not in known:
        raise ConfigError(explain(f"{name} is '{value}'", where=name, remedy=did_you_mean(value, known)))


def from_json(cls: type[T], data: object, *, where: str) -> T:
    """Return ``cls`` (a dataclass) built from parsed JSON, checking every key and type.

    Args:
        cls: dataclass; fields may be plain values, enums, tuples, mappings, optionals and dataclasses.
        data: what ``json.loads`` returned.
        where: the place to name in a message, for example "dataset.json: cases[3]".

    Raises:
        ConfigError: a key is unknown or missing, or a value has the wrong type.
    """
    return typing.cast("T", _convert(cls, data, where))


def to_json(value: Any) -> Any:
    """Return plain JSON data for a dataclass, enum, tuple, mapping, path or plain value.

    A field with ``YOUNGER`` in its metadata is left out while it has its default, so that what is written of earlier
    requests, and compared with what was kept of them, stays as it was before there was such a field;
    one with ``NO_DATA`` is left out always.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if _is_written(value, f)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset | set):
        items = sorted(value) if isinstance(value, frozenset | set) else value
        return [to_json(item) for item in items]
    return str(value) if isinstance(value, Path) else value


def _is_written(value: Any, field: dataclasses.Field[Any]) -> bool:
    """Return whether a field stands in JSON: if it is data, and of the younger ones only what was set."""
    if NO_DATA in field.metadata:
        return False
    if YOUNGER not in field.metadata:
        return field.init
    default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    return field.init and getattr(value, field.name) != default


def read_json(path: Path) -> Any:
    """Return the parsed content of a JSON file.

    Raises:
        ConfigError: the file is missing or is not JSON; the message names line and column.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(explain("the file does not exist", where=str(path), remedy="check the path")) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(explain(f"not valid JSON: {error}", where=str(path), remedy="mend the file")) from error


def write_json(path: Path, data: Any) -> None:
    """Write JSON so that a reader sees the old or the new file, never half of one."""
    write_atomically(path, (json.dumps(to_json(data), indent=1, ensure_ascii=False) + "\n").encode())


def write_atomically(path: Path, content: bytes) -> None:
    """Write bytes under a temporary name in the same folder, flush to disk, then rename."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        replace_file(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(source: Path, target: Path) -> None:
    """Rename over an existing file; on Windows a reader or virus scanner may hold it for a moment, so try again."""
    for attempt in range(RENAME_ATTEMPTS):
        try:
            os.replace(source, target)
            return
        except PermissionError:
            if attempt == RENAME_ATTEMPTS - 1:
                raise
            time.sleep(RENAME_WAIT_SECONDS)


def _convert(kind: Any, data: object, where: str) -> object:
    origin = typing.get_origin(kind)
    if kind is Any:
        return data
    if origin in (Union, types.UnionType):
        return _convert_union(kind, data, where)
    if dataclasses.is_dataclass(kind):
        return _convert_dataclass(typing.cast("type[Any]", kind), data, where)
    if origin in (tuple, list, frozenset):
        return _convert_sequence(kind, data, where)
    if origin is not None and issubclass(origin, Mapping):
        key_kind, item_kind = typing.get_args(kind)
        if not isinstance(data, dict):
            raise _wrong_type("an object", data, where)
        return {_key(key_kind, key, where): _convert(item_kind, item, f"{where}.{key}") for key, item in data.items()}
    return _convert_plain(kind, data, where)


def _convert_union(kind: Any, data: object, where: str) -> object:
    options = typing.get_args(kind)
    if data is None:
        if type(None) in options:
            return None
        raise _wrong_type(str(kind), data, where)
    candidates = [option for option in options if option is not type(None)]
    if len(candidates) == 1:
        return _convert(candidates[0], data, where)
    for option in candidates:
        try:
            return _convert(option, data, where)
        except ConfigError:
            continue
    raise _wrong_type(" or ".join(getattr(option, "__name__", str(option)) for option in candidates), data, where)


def _convert_dataclass(cls: type[Any], data: object, where: str) -> object:
    if not isinstance(data, dict):
        raise _wrong_type(f"an object ({cls.__name__})", data, where)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    hints = _type_hints(cls)
    for key in data:
        if key not in fields:
            remedy = did_you_mean(key, fields)
            raise ConfigError(explain(f"'{key}' is not a setting of {cls.__name__}", where=where, remedy=remedy))
    missing = [
        name
        for name, f in fields.items()
        if name not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise ConfigError(
            explain(f"{cls.__name__} lacks {', '.join(missing)}", where=where, remedy="add what is missing")
        )
    return cls(**{key: _convert(hints[key], item, f"{where}.{key}") for key, item in data.items()})


def _convert_sequence(kind: Any, data: object, where: str) -> object:
    origin = typing.get_origin(kind)
    items = typing.get_args(kind)
    if not isinstance(data, list | tuple):
        raise _wrong_type("a list", data, where)
    if origin is tuple and not (len(items) == 2 and items[1] is Ellipsis):
        if len(data) != len(items):
            raise _wrong_type(f"a list of {len(items)} values", data, where)
        return tuple(
            _convert(item, value, f"{where}[{i}]") for i, (item, value) in enumerate(zip(items, data, strict=True))
        )
    return origin(_convert(items[0], value, f"{where}[{i}]") for i, value in enumerate(data))


def _key(kind: Any, key: str, where: str) -> object:
    if kind is int:
        try:
            return int(key)
        except ValueError:
            raise _wrong_type("a whole number as key", key, where) from None
    return key


def _convert_plain(kind: Any, data: object, where: str) -> object:
    if isinstance(kind, type) and issubclass(kind, Enum):
        check_choice(where, str(data), [str(member.value) for member in kind])
        return kind(data)
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    if kind is Path and isinstance(data, str):
        return Path(data)
    if not isinstance(kind, type) or not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        raise _wrong_type(getattr(kind, "__name__", str(kind)), data, where)
    return data


def _wrong_type(expected: str, data: object, where: str) -> ConfigError:
    found = "null" if data is None else f"{type(data).__name__} {data!r}"
    return ConfigError(explain(f"expected {expected}, found {found[:80]}", where=where, remedy="change the value"))
