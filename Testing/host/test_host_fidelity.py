"""The host answers expressions as a real PythonQt does; the answers were recorded there (data/README.md)."""

import enum
import pathlib
import re
import types

import ctk
import pytest
import qt
import slicer

from Testing.host import facts
from Testing.host.pythonqt import attributes, signals
from Testing.host.widgets import factory

ANSWERS = [line.split("\t") for line in (facts.DATA / "pythonqt_answers.tsv").read_text(encoding="utf-8").splitlines()]
# Where the host is not PythonQt and cannot be; each must still differ, or its line goes.
DIFFERENCES = {
    "qt.QComboBox().model()": "the model dies with the combo box that nobody holds, and says so",
    "isinstance(qt.QLabel(), qt.QWidget)": "inheritance is visible to isinstance; the static check forbids it",
    "qt.QRegExp": "PySide6 is Qt 6",
    "qt.QTextCodec": "PySide6 is Qt 6",
    "type(qt.QDir('/').entryList())": "methods of classes that are no QObject are not wrapped",
}
# Values that are described by address or by class only.
OPAQUE = re.compile(
    r"QSize|unbound qt slot|qt slot|QStandardItemModel|<class 'PythonQt|Signal'|^Thin\(|builtin|built-in"
)


def thin_table():
    """A C++ class as the recording program had it."""
    return {
        "header": "a class of the recording",
        "bases": ["QWidget"],
        "ctors": [["QWidget*="]],
        "props": {
            "collapsed": {"type": "bool", "notify": None, "write": True},
            "ro": {"type": "int", "notify": None, "write": False},
            "nodeTypes": {"type": "QStringList", "notify": None, "write": True},
        },
        "signals": {"changed": [["void", ["int"]], ["void", ["QString"]]]},
        "slots": {"setName2": [["void", ["QString"]]]},
        "invokables": {"inv": [["QString", ["QString", "int="]]]},
        "enums": {},
    }


class Thin:
    """What that class does."""

    def __init__(self, parent=None):
        super().__init__(parent)
        factory.stored(self)["nodeTypes"] = ["a", "b"]

    def setName2(self, text):
        self.changed.emit(3)
        self._changed_1.emit(text)

    def inv(self, text, count=1):
        return text * count

    def plain(self):
        return "not shown by PythonQt"


@pytest.fixture(scope="module")
def thin():
    facts.SLICER_API["Thin"] = thin_table()
    factory.behavior(Thin)
    yield factory.stand_in("Thin")
    del facts.SLICER_API["Thin"]


@pytest.fixture
def evaluate(thin, tmp_path):
    """Evaluates an expression as code of a module under test does."""
    names = {"qt": qt, "ctk": ctk, "slicer": slicer, "pathlib": pathlib, "H": types.SimpleNamespace(Thin=thin)}
    attributes.add_strict_folder(tmp_path)

    def run(expression):
        code = compile(f"def answer():\n    return {expression}\n", str(tmp_path / "expression.py"), "exec")
        exec(code, names)
        try:
            return "-> " + normal(names["answer"]())
        except Exception as error:  # noqa: BLE001  which one is the question
            return type(error).__name__

    yield run
    attributes.STRICT_FOLDERS.remove(str(tmp_path.resolve()))


def normal(value):
    """The text of a value, enums as the integers they are in PythonQt."""
    if isinstance(value, tuple):
        inner = ", ".join(normal(item) for item in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, list):
        return "[" + ", ".join(normal(item) for item in value) + "]"
    if isinstance(value, enum.Enum):
        return repr(value.value)
    return repr(value)


def agrees(ours, recorded):
    if not recorded.startswith("->"):
        return ours == recorded.split(":")[0]
    if OPAQUE.search(recorded[3:]):
        return ours.startswith("->")
    return ours == recorded


@pytest.mark.parametrize(("expression", "recorded"), ANSWERS, ids=[line[0] for line in ANSWERS])
def test_the_host_answers_as_pythonqt(evaluate, expression, recorded):
    ours = evaluate(expression)
    signals.complaints.clear()
    signals.slot_errors.clear()
    if expression in DIFFERENCES:
        assert not agrees(ours, recorded), f"no difference any more: {DIFFERENCES[expression]}"
    else:
        assert agrees(ours, recorded), f"here {ours}, in PythonQt {recorded}"


def test_every_difference_is_one_of_the_recorded_expressions():
    assert set(DIFFERENCES) <= {expression for expression, _ in ANSWERS}
