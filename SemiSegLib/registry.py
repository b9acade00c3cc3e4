"""Names to things, once: an unknown name is answered with the nearest known one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from SemiSegLib.errors import ConfigError, did_you_mean, explain

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of named things of one kind, filled by a decorator where each thing is written.

    Args:
        kind: what the names stand for, used in messages, for example "backbone".
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._items: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Return a decorator that files its argument under ``name``; a second use of a name raises."""

        def add(item: T) -> T:
            if name in self._items:
                raise ConfigError(
                    explain(
                        f"the {self.kind} name '{name}' is taken",
                        where=f"registration of {item!r}",
                        remedy="choose another name",
                    )
                )
            self._items[name] = item
            return item

        return add

    def __getitem__(self, name: str) -> T:
        if name not in self._items:
            raise ConfigError(
                explain(f"there is no {self.kind} '{name}'", where=self.kind, remedy=did_you_mean(name, self._items))
            )
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items
