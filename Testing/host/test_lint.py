"""The static check finds what Slicer would refuse, and finds nothing in the module."""

from pathlib import Path

import pytest

from Testing.host.lint.check import check_folder

EXTENSION = Path(__file__).resolve().parents[2] / "SemiSegExtension"
FORM = """<ui version="4.0"><class>Demo</class><widget class="qMRMLWidget" name="Demo">
<widget class="QLabel" name="label"><property name="text"><string>a</string></property></widget>
<widget class="QPushButton" name="button"/>
<widget class="qMRMLNodeComboBox" name="selector"><property name="noneEnabled"><bool>true</bool></property></widget>
</widget><connections><connection><sender>Demo</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>selector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""
GOOD = """
import ctk, qt, slicer

class Panel:
    def setup(self, ui):
        self.ui = ui
        self.timer = qt.QTimer()
        self.timer.connect("timeout()", self.tick)
        self.timer.start(100)
        self.process = qt.QProcess()
        ui.label.text = "b"
        ui.button.connect("clicked(bool)", self.tick)
        ui.selector.connect("currentNodeChanged(vtkMRMLNode*)", self.tick)
        ui.selector.setCurrentNode(None)
        slicer.app.layoutManager().sliceWidget("Red").mrmlSliceNode().SetOrientation("Axial")
        slicer.util.errorDisplay("no")
        header = qt.QTableWidget().horizontalHeader()
        edit = ctk.ctkPathLineEdit()
        edit.filters = ctk.ctkPathLineEdit.Files

    def tick(self):
        if self.process.state() == qt.QProcess.Running and self.ui.label.text == "b":
            slicer.mrmlScene.Clear()
"""
# One mistake each: what is replaced, by what, and words of the finding.
MISTAKES = [
    ('ui.label.text = "b"', 'ui.label.txt = "b"', "QLabel has no 'txt'"),
    ('ui.label.text = "b"', 'ui.label.setText = "b"', "can not be assigned"),
    ('ui.label.text == "b"', 'ui.label.text() == "b"', "is a property"),
    ("ui.button.connect", "ui.buton.connect", "no 'buton' in the form"),
    ('"clicked(bool)"', '"clicked(int)"', "has no signal 'clicked(int)'"),
    ('"currentNodeChanged(vtkMRMLNode*)"', '"currentNodeChanged(QString)"', "has no signal"),
    ('"timeout()"', '"timeOut()"', "has no signal 'timeOut()'"),
    ("self.timer.start(100)", "self.timer.run(100)", "QTimer has no 'run'"),
    ("ui.selector.setCurrentNode(None)", "ui.selector.setNodeTypes([])", "has no 'setNodeTypes'"),
    ("self.process.state() ==", "self.process.state ==", "compared without being called"),
    ("qt.QProcess.Running", "qt.QProcess.Runing", "QProcess has no 'Runing'"),
    ("qt.QTimer()", "qt.QTimr()", "qt.QTimr is not wrapped"),
    ("qt.QTimer()", "qt.QTextCodec()", "qt.QTextCodec is not in Qt 6"),
    ("ctk.ctkPathLineEdit()", "ctk.ctkPathEdit()", "ctk.ctkPathEdit"),
    ("edit.filters =", "edit.setFilters =", "has no 'setFilters'"),
    ("slicer.util.errorDisplay", "slicer.util.errorDialog", "slicer.util.errorDialog does not exist"),
    ("slicer.util.errorDisplay", "slicer.errorDisplay", "slicer.errorDisplay is unknown"),
    ("slicer.app.layoutManager()", "slicer.app.layouts()", "qSlicerApplication has no 'layouts'"),
    ('sliceWidget("Red")', 'sliceView("Red")', "has no 'sliceView'"),
    ("SetOrientation", "SetOrientationTo", "vtkMRMLSliceNode has no 'SetOrientationTo'"),
    ("slicer.mrmlScene.Clear()", "slicer.mrmlScene.Clean()", "vtkMRMLScene has no 'Clean'"),
    ("if self.process", "if isinstance(self.ui.label, qt.QWidget) and self.process", "isinstance"),
]
FORM_MISTAKES = [
    ('name="noneEnabled"', 'name="noneEnable"', "has no property 'noneEnable'"),
    ('class="QLabel"', 'class="QLable"', "widget class QLable is unknown"),
    ("mrmlSceneChanged(vtkMRMLScene*)", "sceneChanged(vtkMRMLScene*)", "has no signal"),
    ("setMRMLScene(vtkMRMLScene*)", "setScene(vtkMRMLScene*)", "has no slot"),
    ("<receiver>selector", "<receiver>selecter", "there is no object 'selecter'"),
]


def check(folder, form=FORM, code=GOOD):
    (folder / "Demo.ui").write_text(form)
    (folder / "Demo.py").write_text(code)
    return [str(finding) for finding in check_folder(folder)[0]]


def test_the_module_uses_only_names_that_slicer_has():
    findings, count = check_folder(EXTENSION)
    assert [str(finding) for finding in findings] == []
    assert count > 100


def test_good_code_has_no_finding(tmp_path):
    assert check(tmp_path) == []


@pytest.mark.parametrize(("right", "wrong", "words"), MISTAKES, ids=[item[1] for item in MISTAKES])
def test_a_mistake_in_code_is_found(tmp_path, right, wrong, words):
    assert right in GOOD
    findings = check(tmp_path, code=GOOD.replace(right, wrong))
    assert any(words in finding for finding in findings), findings


@pytest.mark.parametrize(("right", "wrong", "words"), FORM_MISTAKES, ids=[item[1] for item in FORM_MISTAKES])
def test_a_mistake_in_a_form_is_found(tmp_path, right, wrong, words):
    assert right in FORM
    findings = check(tmp_path, form=FORM.replace(right, wrong))
    assert any(words in finding for finding in findings), findings
