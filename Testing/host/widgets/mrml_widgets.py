"""qMRMLWidget and qSlicerWidget: the widgets that know the scene."""

from typing import Any

from Testing.host.widgets.factory import behavior


class _KnowsScene:
    """Holds a scene and tells when it is another one."""

    _scene: Any = None

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)


@behavior
class qMRMLWidget(_KnowsScene):
    """The usual top widget of a module's .ui file."""


@behavior
class qSlicerWidget(_KnowsScene):
    """What module widgets derive from."""
