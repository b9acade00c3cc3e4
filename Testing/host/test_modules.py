"""Scripted modules live in the host as in Slicer: loaded, shown, entered, saved with the scene, unloaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import qt
import SampleData
import slicer

from Testing.host.application.sample_data import clickSample

ROOT = Path(__file__).resolve().parents[2]
MODULE = """
import qt, slicer
from slicer.i18n import tr as _, translate
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

CALLS = []

class Demo(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("A demo")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        slicer.app.connect("startupCompleted()", lambda: CALLS.append("startup"))

class DemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        form = slicer.util.loadUI(self.resourcePath("UI/Demo.ui"))
        self.layout.addWidget(form)
        self.ui = slicer.util.childWidgetVariables(form)
        form.setMRMLScene(slicer.mrmlScene)
        self.logic = DemoLogic()
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onClose)

    def enter(self):
        CALLS.append("enter")

    def exit(self):
        CALLS.append("exit")

    def cleanup(self):
        CALLS.append("cleanup")
        self.removeObservers()

    def onClose(self, caller, event):
        CALLS.append("close")

class DemoLogic(ScriptedLoadableModuleLogic):
    pass

class DemoTest(ScriptedLoadableModuleTest):
    def runTest(self):
        self.delayDisplay("testing")
        self.assertEqual(DemoLogic().getParameterNode().GetAttribute("ModuleName"), "Demo")
"""
FORM = """<ui version="4.0"><class>Demo</class><widget class="qMRMLWidget" name="Demo">
<layout class="QVBoxLayout" name="demoLayout">
<item><widget class="qMRMLNodeComboBox" name="selector">
<property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
<property name="noneEnabled"><bool>true</bool></property></widget></item>
<item><widget class="ctkPathLineEdit" name="path">
<property name="filters"><set>ctkPathLineEdit::Dirs|ctkPathLineEdit::Readable</set></property></widget></item>
</layout></widget>
<connections><connection><sender>Demo</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""


@pytest.fixture
def demo(host, tmp_path):
    (tmp_path / "Resources/UI").mkdir(parents=True)
    (tmp_path / "Resources/UI/Demo.ui").write_text(FORM)
    (tmp_path / "Demo.py").write_text(MODULE)
    loaded = host.load_module(tmp_path / "Demo.py")
    yield loaded
    host.unload_module("Demo")
    sys.path.remove(str(tmp_path))


def calls():
    return sys.modules["Demo"].CALLS


def test_a_loaded_module_is_found_where_slicer_has_it(host, demo):
    assert slicer.modules.demo is demo
    assert slicer.util.getModule("Demo") is demo
    assert "Demo" in slicer.util.moduleNames()
    assert demo.title == "A demo"
    assert demo.categories == ("Segmentation",)
    host.app.startupCompleted.emit()
    assert calls() == ["startup"]
    assert slicer.util.getModuleLogic("Demo").moduleName == "Demo"


def test_the_form_is_loaded_with_its_properties_and_connections(demo):
    widget = slicer.util.getModuleWidget("Demo")
    assert widget.ui.selector.noneEnabled
    assert widget.ui.path.filters == 0x11
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
    assert widget.ui.selector.nodeCount() == 1


def test_a_module_hears_of_its_life(host, demo):
    representation = demo.widgetRepresentation()
    representation.enter()
    assert representation.isEntered
    slicer.mrmlScene.Clear(0)
    representation.exit()
    kept = calls()
    host.unload_module("Demo")
    assert kept == ["enter", "close", "exit", "cleanup"]
    slicer.mrmlScene.Clear(0)
    assert kept == ["enter", "close", "exit", "cleanup"]
    assert not hasattr(slicer.modules, "demo")
    host.load_module(Path(demo.path))


def test_the_parameter_node_is_one_per_scene_and_saved_with_it(demo, tmp_path):
    logic = slicer.util.getModuleLogic("Demo")
    node = logic.getParameterNode()
    node.SetParameter("minutes", "30")
    assert logic.getParameterNode() is node
    assert logic.getAllParameterNodes() == [node]
    assert slicer.util.saveScene(str(tmp_path / "scene.mrb"), properties={})
    slicer.mrmlScene.Clear(0)
    assert logic.getParameterNode().GetParameter("minutes") == ""
    slicer.util.loadScene(str(tmp_path / "scene.mrb"), properties={})
    assert logic.getParameterNode().GetParameter("minutes") == "30"
    assert len(logic.getAllParameterNodes()) == 1


def test_the_self_test_of_a_module_runs(host, demo):
    slicer.selfTests["Demo"]()
    assert host.dialogs.shown("delay") == ["testing"]


def test_a_module_can_be_reloaded(demo):
    before = slicer.util.getModuleWidget("Demo")
    slicer.util.reloadScriptedModule("Demo")
    after = slicer.modules.DemoWidget
    assert after is not before
    assert after.ui.selector.noneEnabled


def test_the_button_of_sample_data_asks_the_modules_own_downloader_and_nothing_else_does():
    made = []

    def download(source):
        made.append(source.sampleName)
        return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "sample")

    register = SampleData.SampleDataLogic.registerCustomSampleDataSource
    register(category="SemiSeg", sampleName="Phantoms", customDownloader=download)
    register(category="SemiSeg", sampleName="Remote", uris="https://example.org/a.nrrd", fileNames="a.nrrd")
    logic = SampleData.SampleDataLogic()
    assert clickSample("Phantoms").GetName() == "sample"
    assert made == ["Phantoms"]
    for name in ("Remote", "Phantoms"):
        with pytest.raises(NotImplementedError, match="downloads nothing"):
            logic.downloadSamples(name)
    assert made == ["Phantoms"]
    with pytest.raises(TypeError, match="checksum"):
        register(category="SemiSeg", sampleName="Wrong", checksum="SHA256:0")


def test_timers_and_processes_run_in_the_event_loop(host):
    from Testing.host.interaction import wait_until

    ticks, lines, ends = [], [], []
    timer = qt.QTimer()
    timer.setInterval(5)
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    process = qt.QProcess()
    process.connect("readyReadStandardOutput()", lambda: lines.append(process.readAllStandardOutput().data()))
    process.connect("finished(int,QProcess::ExitStatus)", lambda code, status: ends.append((code, status)))
    process.start(sys.executable, ["-c", "print('from the child'); raise SystemExit(3)"])
    wait_until(lambda: ends and len(ticks) > 2)
    timer.stop()
    assert b"".join(lines).strip() == b"from the child"
    assert ends == [(3, qt.QProcess.NormalExit)]


def test_base_classes_come_from_slicers_sources_where_the_environment_names_them(tmp_path):
    package = tmp_path / "Base/Python/slicer"
    package.mkdir(parents=True)
    (package / "ScriptedLoadableModule.py").write_text("ORIGIN = 'sources'\n")
    (package / "i18n.py").write_text("def tr(text):\n    return text\n")
    code = (
        "from Testing.host import start; start.start();"
        "import slicer.ScriptedLoadableModule as module; print(module.ORIGIN, module.__file__)"
    )
    environment = {**os.environ, "SLICER_PYTHON_SOURCES": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["sources", str(package / "ScriptedLoadableModule.py")]


def test_the_host_and_the_module_load_without_torch():
    code = (
        "import sys; sys.path.insert(0, 'SemiSegExtension');"
        "from pathlib import Path; from Testing.host import start; host = start.start();"
        "module = host.load_module(Path('SemiSegExtension/SemiSeg.py').resolve());"
        "module.widgetRepresentation().enter(); host.app.processEvents();"
        "print([name for name in ('torch', 'monai') if name in sys.modules], host.problems())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] []"
