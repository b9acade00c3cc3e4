"""A module's mistake fails in the host as it would in Slicer, with words that name it."""

import ctk
import pytest
import qt
import slicer

from Testing.host.pythonqt import attributes, signals

# An expression of a module under test, the exception, words of its message.
MISTAKES = [
    ("ctk.ctkCollapsibleButton().setCollapsed(True)", AttributeError, "no attribute named 'setCollapsed'"),
    ("ctk.ctkCollapsibleButton('text')", ValueError, "ctkCollapsibleButton(QWidget* parent)"),
    ("ctk.ctkPathLineEdit().currentPath()", TypeError, "not callable"),
    ("ctk.ctkSliderWidget().setRange(0, 1)", AttributeError, "no attribute named 'setRange'"),
    ("ctk.ctkSliderWidget().setValue()", ValueError, "matching overload"),
    ("ctk.ctkNope()", AttributeError, "ctkNope"),
    ("slicer.qMRMLNodeComboBox().setNodeTypes(['vtkMRMLNode'])", AttributeError, "no attribute named 'setNodeTypes'"),
    ("slicer.qMRMLNodeComboBox().model()", AttributeError, "no attribute named 'model'"),
    ("slicer.qMRMLNodeComboBox().setCurrentNode(3)", ValueError, "matching overload"),
    ("slicer.qMRMLNodeComboBox().addAttribute('vtkMRMLNode')", ValueError, "C++ has (QString, QString, QVariant=)"),
    ("setattr(slicer.qMRMLNodeComboBox(), 'noneEnable', True)", AttributeError, "creating new attributes"),
    ("slicer.app.layouts", AttributeError, "no attribute named 'layouts'"),
    ("slicer.app.openSettingsDialog()", NotImplementedError, "openSettingsDialog exists in Slicer"),
    ("slicer.getNode('scan')", AttributeError, "getNode"),
    ("slicer.vtkMRMLNope", AttributeError, "vtkMRMLNope"),
    ("qt.QTimer().setIntervall(3)", AttributeError, "no attribute named 'setIntervall'"),
    ("qt.QNetworkAccessManager()", AttributeError, "QNetworkAccessManager"),
    ("setattr(qt.QSpinBox(), 'value', '3')", AttributeError, "does not accept an object of type str"),
    ("setattr(qt.QPushButton(), 'clicked', 1)", AttributeError, "Signal 'clicked' can not be overwritten"),
]
SILENT = [
    ("qt.QPushButton().connect('clicked(int)', print)", "signal 'clicked(int)' does not exist on QPushButton"),
    (
        "slicer.qMRMLNodeComboBox().connect('currentNodeChanged(QString)', print)",
        "signal 'currentNodeChanged(QString)' does not exist on qMRMLNodeComboBox",
    ),
]


@pytest.fixture
def evaluate(tmp_path):
    attributes.add_strict_folder(tmp_path)

    def run(expression):
        code = compile(f"def answer():\n    return {expression}\n", str(tmp_path / "module.py"), "exec")
        names = {"qt": qt, "ctk": ctk, "slicer": slicer}
        exec(code, names)
        return names["answer"]()

    yield run
    attributes.STRICT_FOLDERS.remove(str(tmp_path.resolve()))


@pytest.mark.parametrize(("expression", "kind", "words"), MISTAKES, ids=[item[0] for item in MISTAKES])
def test_a_mistake_is_an_exception(evaluate, expression, kind, words):
    with pytest.raises(kind) as caught:
        evaluate(expression)
    assert words in str(caught.value)


@pytest.mark.parametrize(("expression", "words"), SILENT, ids=[item[0] for item in SILENT])
def test_an_unknown_signal_is_only_a_line_in_slicer_but_a_problem_here(evaluate, host, expression, words):
    assert evaluate(expression) is False
    assert len(host.problems()) == 1
    assert words in host.problems()[0]
    signals.complaints.clear()
