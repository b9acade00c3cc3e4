"""VTK observers that die with the widget they serve."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import shiboken6


class Observers:
    """The VTK events one widget listens to.

    Args:
        owner: the widget; it is held weakly, so that an observed scene does not keep it alive.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = weakref.ref(owner)
        self._tags: list[tuple[Any, int]] = []

    def add(self, target: Any, events: Iterable[Any], function: Callable[..., None]) -> None:
        """Call an unbound method of the owner when one of the events is invoked on a VTK object."""
        owner = self._owner

        def call(caller: Any, event: str) -> None:
            widget = owner()
            if widget is not None and shiboken6.isValid(widget):
                function(widget, caller, event)

        self._tags += [(target, target.AddObserver(event, call)) for event in events]

    def clear(self) -> None:
        """Listen to nothing any more."""
        for target, tag in self._tags:
            target.RemoveObserver(tag)
        self._tags.clear()
