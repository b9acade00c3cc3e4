"""VTK observers that die with the widget they serve, and what every widget does that shows a scene."""

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import shiboken6
import slicer


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


class KnowsScene:
    """The part of a widget that holds a scene; `_on_new_scene` says what it does with another one."""

    _scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self._on_new_scene()

    def _on_new_scene(self) -> None:
        """Take note of another scene, or none."""
        raise NotImplementedError


class FollowsScene(KnowsScene):
    """The part of a widget that shows the nodes of its scene; `_on_nodes` brings it up to date."""

    @property
    def _scene_observers(self) -> Observers:
        observers: Observers = self.__dict__.setdefault("_observers_of_scene", Observers(self))
        return observers

    def _on_new_scene(self) -> None:
        self._scene_observers.clear()
        if self._scene is None:
            return
        kinds = slicer.vtkMRMLScene
        events = (kinds.NodeAddedEvent, kinds.NodeRemovedEvent, kinds.EndImportEvent, kinds.EndBatchProcessEvent)
        self._scene_observers.add(self._scene, events, type(self)._on_nodes)
        self._scene_observers.add(self._scene, [kinds.StartCloseEvent], type(self)._on_start_close)
        self._scene_observers.add(self._scene, [kinds.EndCloseEvent], type(self)._on_end_close)

    def _is_changing(self) -> bool:
        """Return whether the scene is in the middle of many changes, after which it tells once."""
        return self._scene is not None and bool(self._scene.IsBatchProcessing())

    def _on_nodes(self, caller: Any, event: str) -> None:
        """Take note that nodes came or went."""
        raise NotImplementedError

    def _on_start_close(self, caller: Any, event: str) -> None:
        """Let go of what will not outlive the closing of the scene."""

    def _on_end_close(self, caller: Any, event: str) -> None:
        self._on_nodes(caller, event)
