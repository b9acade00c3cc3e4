"""Pictures of slice and 3-D views, made by Slicer's own displayable managers in offscreen VTK windows."""

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
)


class View:
    """An offscreen window with the displayable managers of one kind of view."""

    def __init__(self, factory: Any, managers: tuple[str, ...], size: tuple[int, int]) -> None:
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetShowWindow(False)
        self.window.SetMultiSamples(0)
        self.window.AddRenderer(self.renderer)
        self.window.SetSize(*size)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self.window)
        instance = factory.GetInstance()
        instance.SetMRMLApplicationLogic(slicer.app.applicationLogic())
        for manager in managers:
            if not instance.IsDisplayableManagerRegistered(manager):
                instance.RegisterDisplayableManager(manager)
        self.group = slicer.vtkMRMLDisplayableManagerGroup()
        self.group.SetRenderer(self.renderer)
        self.group.Initialize(instance, self.renderer)

    def array(self) -> np.ndarray:
        """Return the picture, (height, width, 3) bytes, first row on top."""
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        width, height, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
        return pixels[::-1, :, :3].copy()

    def close(self) -> None:
        """Let go of the nodes and of the window."""
        # Setting no displayable node instead makes every manager warn that it has no scene.
        self.group = None
        self.window.Finalize()


class SliceView(View):
    """One of the scene's slice views.

    Args:
        name: "Red", "Green" or "Yellow".
        size: width and height in pixels.
    """

    def __init__(self, name: str = "Red", size: tuple[int, int] = (400, 400)) -> None:
        super().__init__(slicer.vtkMRMLSliceViewDisplayableManagerFactory, SLICE_MANAGERS, size)
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        widget = slicer.app.layoutManager().sliceWidget(name)
        self.logic, self.node = widget.sliceLogic(), widget.mrmlSliceNode()
        # In Slicer a CTK light box shows the slice's pixels; an image mapper draws the same ones.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self.renderer.AddViewProp(self._actor)
        self.group.SetMRMLDisplayableNode(self.node)
        self.logic.ResizeSliceNode(*size)

    def fit(self, offset_share: float | None = None) -> None:
        """Show the whole background volume, at a share of its depth (0 to 1) or where the view is."""
        self.logic.FitSliceToBackground()
        if offset_share is not None:
            low, high = self._offset_range()
            self.logic.SetSliceOffset(low + offset_share * (high - low))
        self.logic.SnapSliceOffsetToIJK()

    def _offset_range(self) -> tuple[float, float]:
        bounds = [0.0] * 6
        self.logic.GetLowestVolumeSliceBounds(bounds)
        return bounds[4], bounds[5]

    def array(self) -> np.ndarray:
        """Return the picture, (height, width, 3) bytes, first row on top."""
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        return super().array()


class ThreeDView(View):
    """A 3-D view of the scene's closed surfaces.

    Args:
        size: width and height in pixels.
    """

    def __init__(self, size: tuple[int, int] = (400, 400)) -> None:
        super().__init__(slicer.vtkMRMLThreeDViewDisplayableManagerFactory, THREE_D_MANAGERS, size)
        self.node = slicer.mrmlScene.GetSingletonNode("1", "vtkMRMLViewNode")
        self.group.SetMRMLDisplayableNode(self.node)

    def fit(self) -> None:
        """Show everything."""
        self.renderer.ResetCamera()
        self.renderer.ResetCameraClippingRange()
