"""SemiSeg in Slicer: module, widget, logic and test. Everything they do is in SemiSegModule and SemiSegLib."""

import importlib.util
import sys
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class SemiSeg(ScriptedLoadableModule):
    """What Slicer must know before the module is opened; the library is not imported yet."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        from SemiSegModule import about

        self.parent.title = _("SemiSeg")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = ["Segmentations", "SubjectHierarchy"]
        self.parent.contributors = ["SemiSeg developers"]
        self.parent.helpText = about.helpText()
        self.parent.acknowledgementText = about.acknowledgementText()
        makeLibraryImportable()
        slicer.app.connect("startupCompleted()", registerSampleData)


class SemiSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Puts the panel into Slicer's module area and tells it of the scene's life."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self.panel = None

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        from SemiSegModule.panel.forms import addSections
        from SemiSegModule.panel.panel import Panel

        self.form = slicer.util.loadUI(self.resourcePath("UI/SemiSeg.ui"))
        self.layout.addWidget(self.form)
        addSections(self.form, self.resourcePath)
        self.ui = slicer.util.childWidgetVariables(self.form)
        self.form.setMRMLScene(slicer.mrmlScene)
        self.logic = SemiSegLogic()
        self.panel = Panel(self.ui, self.form, self.logic.study, self)
        scene = slicer.mrmlScene
        for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndBatchProcessEvent):
            self.addObserver(scene, event, self.panel.scheduleRefresh)
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, self.onSceneReady)
        self.panel.setParameterNode(self.logic.getParameterNode())

    def cleanup(self):
        """Called when the application quits and when a developer reloads the module; trainings go on."""
        if self.panel is not None:
            self.panel.close()
        self.removeObservers()

    def onReload(self):
        """Let a developer's reload take the whole module, not this file alone."""
        for name in [name for name in sys.modules if name.split(".")[0] in ("SemiSegModule", "SemiSegLib")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def enter(self):
        if self.panel.parameters is None:
            self.panel.setParameterNode(self.logic.getParameterNode())
        self.panel.enter()

    def onSceneStartClose(self, caller, event):
        self.panel.setParameterNode(None)

    def onSceneReady(self, caller, event):
        """Show the study of the new scene; what it started before, a training or a prediction, is taken up again."""
        if self.parent.isEntered:
            self.panel.setParameterNode(self.logic.getParameterNode())


class SemiSegLogic(ScriptedLoadableModuleLogic):
    """Everything that the panel does, as calls; see SemiSegModule.logic.StudyLogic for each.

    From the Python console, with volumes and segmentations in the scene::

        from SemiSeg import SemiSegLogic
        logic = SemiSegLogic()
        scheme = logic.readScheme("hippocampus")            # or a file, or None: from the segments of the scene
        cases = logic.casesFromScene(scheme)                # one per volume, with its segmentation
        study = logic.exportStudy("/data/my study", cases, scheme)
        print(logic.recommend(study.dataset).reason)
        run = logic.startTraining(study.path, minutes=30)   # in a process of its own; the recommended method
        print(logic.runStatus(run).message)                 # ask again whenever you like, also after a restart:
        run = logic.findRuns("/data/my study")[0]
        logic.stop(run)                                     # saves a model of the best state, then ends
        job = logic.applyModel(run, [slicer.util.getNode("new scan")])
        nodes = logic.loadResults(job)                      # when logic.runStatus(job).state is "finished"
    """

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)
        makeLibraryImportable()
        from SemiSegModule.logic import StudyLogic

        self.study = StudyLogic()

    def __getattr__(self, name):
        if name == "study":
            raise AttributeError(name)
        return getattr(self.study, name)

    def loadSampleStudy(self):
        """Load the built-in study as its button in Slicer's Sample Data does, and return its new nodes."""
        return importlib.import_module("SemiSegModule.sample_data").loadStudy(self.getParameterNode())

    def __dir__(self):
        return sorted({*super().__dir__(), *dir(self.study)})


class SemiSegTest(ScriptedLoadableModuleTest):
    """Runs in any Slicer, without torch and without network."""

    def runTest(self):
        from SemiSegModule.self_test import checkRoundTrip

        slicer.mrmlScene.Clear()
        self.delayDisplay(_("Writing the sample study"))
        checkRoundTrip(SemiSegLogic())
        self.delayDisplay(_("Test passed"))


def makeLibraryImportable():
    """In a source tree the library lies beside the module's folder; in an installed extension it is found already."""
    if importlib.util.find_spec("SemiSegLib") is None:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def registerSampleData():
    """Offer the built-in study in Slicer's Sample Data module."""
    importlib.import_module("SemiSegModule.sample_data").register(lambda: SemiSegLogic().getParameterNode())
