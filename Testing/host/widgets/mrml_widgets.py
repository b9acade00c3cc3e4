"""qMRMLWidget and qSlicerWidget: the widgets that know the scene."""

from Testing.host.widgets.factory import behavior
from Testing.host.widgets.observing import KnowsScene


class _TellsScene(KnowsScene):
    """Tells when the scene is another one."""

    def _on_new_scene(self) -> None:
        self.mrmlSceneChanged.emit(self._scene)


@behavior
class qMRMLWidget(_TellsScene):
    """The usual top widget of a module's .ui file."""


@behavior
class qSlicerWidget(_TellsScene):
    """What module widgets derive from."""
