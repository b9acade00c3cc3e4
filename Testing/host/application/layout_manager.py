"""qSlicerLayoutManager and the slice widgets: the view nodes and logics without the views themselves.

Pictures of the views are made by `Testing.host.rendering`.
"""

from typing import Any

from Testing.host.widgets.factory import behavior, stand_in


@behavior
class qMRMLLayoutManager:
    """Knows the slice views of the scene and the layout node."""

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._setup: Any = None
        self._slice_widgets: dict[str, Any] = {}

    def use(self, setup: Any) -> None:
        """Show the views of a scene."""
        self._setup = setup
        for name in setup.slice_logics:
            widget = stand_in("qMRMLSliceWidget")()
            widget.setObjectName(f"qMRMLSliceWidget{name}")
            widget.setMRMLScene(setup.scene)
            widget.setMRMLSliceNode(setup.slice_logics[name].GetSliceNode())
            widget._logic = setup.slice_logics[name]
            self._slice_widgets[name] = widget

    def mrmlScene(self) -> Any:
        return self._setup.scene

    def layoutLogic(self) -> Any:
        return self._setup.layout_logic

    def get_layout(self) -> int:
        return int(self._setup.layout_logic.GetLayoutNode().GetViewArrangement())

    def set_layout(self, layout: int) -> None:
        if layout != self.get_layout():
            self._setup.layout_logic.GetLayoutNode().SetViewArrangement(layout)
            self.layoutChanged.emit(layout)

    def setLayout(self, layout: int) -> None:
        self.set_layout(layout)

    def get_threeDViewCount(self) -> int:
        return 0

    def get_plotViewCount(self) -> int:
        return 0

    def get_tableViewCount(self) -> int:
        return 0

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(self._slice_widgets)

    def sliceWidget(self, name: str) -> Any:
        return self._slice_widgets.get(name)

    def threeDWidget(self, which: Any) -> None:
        return None

    def mrmlSliceLogics(self) -> Any:
        return self._setup.application_logic.GetSliceLogics()

    def resetSliceViews(self) -> None:
        for logic in self._setup.slice_logics.values():
            logic.FitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """There is no 3-D view to reset."""

    def pauseRender(self) -> None:
        """Nothing is rendered by itself."""

    def resumeRender(self) -> None:
        """Nothing is rendered by itself."""

    def setRenderPaused(self, is_paused: bool) -> None:
        """Nothing is rendered by itself."""


@behavior
class qMRMLSliceWidget:
    """A slice view's node and logic."""

    _logic: Any = None
    _node: Any = None

    def setMRMLSliceNode(self, node: Any) -> None:
        self._node = node

    def mrmlSliceNode(self) -> Any:
        return self._node

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def sliceLogic(self) -> Any:
        return self._logic

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground()

    def get_sliceOrientation(self) -> str:
        return str(self._node.GetOrientation())

    def set_sliceOrientation(self, orientation: str) -> None:
        self._node.SetOrientation(orientation)

    def setSliceOrientation(self, orientation: str) -> None:
        self._node.SetOrientation(orientation)

    def get_sliceViewName(self) -> str:
        return str(self._node.GetLayoutName())
