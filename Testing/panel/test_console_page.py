"""The page of console calls: every public call is on it, with arguments that it takes."""

import ast
import inspect
import re
from pathlib import Path

from SemiSeg import SemiSegLogic

from SemiSegModule.logic import StudyLogic

PAGE = Path(__file__).resolve().parents[2] / "Resources/Documentation/console.md"
TEXT = PAGE.read_text(encoding="utf-8")
CODE = "\n".join([*re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL), *re.findall(r"`(logic\.\w+\(\w+\))`", TEXT)])
PUBLIC = [name for name in dir(StudyLogic) if not name.startswith("_") and callable(getattr(StudyLogic, name))]


def calls():
    for node in ast.walk(ast.parse(CODE)):
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("logic."):
            yield node.func.attr, node


def test_every_public_call_is_shown():
    assert sorted(set(PUBLIC) - {name for name, _node in calls()}) == [], f"add an example to {PAGE.name}"


# Buttons of the panel to what they are on the console; several calls where a person answers in between.
BUTTONS = {
    "addFolderButton": "planImport importCases",
    "addDatasetButton": "planImport importCases",
    "addVolumesButton": "casesFromScene",
    "splitFramesButton": "labelsOfFrames splitFrames",
    "makeGrayButton": "makeGray",
    "ignoreFramesButton": "framedVolumes",
    "fixCaseButton": "leaveOut copyOntoScan addRest",
    "openSchemeButton": "readScheme",
    "acceptSuggestionsButton": "proposeMeanings acceptMeanings",
    "acceptEverywhereButton": "proposeMeanings acceptMeanings",
    "lookedForAllButton": "lookedForAll",
    "lookedForDrawnButton": "lookedForDrawn",
    "lookedForSameButton": "casesOfKind",
    "addStructureButton": "addStructure",
    "addPartButton": "addStructure",
    "addRestButton": "addRest",
    "renameStructureButton": "renameStructure",
    "removeStructureButton": "removeStructure",
    "structureColorButton": "recolorStructure",
    "terminologyButton": "codeStructure",
    "clearTerminologyButton": "codeStructure",
    "addSegmentsButton": "addSegments",
    "addColorTableButton": "addColorTable",
    "addSchemeFileButton": "addSchemeFile",
    "makeColorTableButton": "makeColorTable",
    "saveSchemeButton": "saveScheme",
    "preflightButton": "preflight lookAhead",
    "trainButton": "exportStudy startTraining startBaseline",
    "stopButton": "stop",
    "resumeButton": "resumeTraining",
    "removeRunButton": "removeFromQueue",
    "showPlotButton": "showPlot",
    "openModelButton": "describeModel",
    "exportModelButton": "exportModel",
    "applyButton": "applyModel",
    "applyAllButton": "applyModel",
    "applyStopButton": "stop",
    "nextCaseButton": "nextResult showResult",
    "doubtButton": "jumpToMostUncertain",
    "uncertaintyButton": "showUncertainty",
    "acceptButton": "acceptResult acceptIntoCases",
    "acceptSelectedButton": "acceptResult acceptIntoCases",
    "rejectButton": "rejectResult",
    "correctButton": "correct",
    "compareButton": "compare",
    "trainOnButton": "trainOn",
    "installButton": "installPackages",
    "checkComputerButton": "checkComputer",
}
# Values on the console: one goes on with those of before, or leaves out what is not meant.
VALUES = {"removeCasesButton", "undoStructureButton", "resetOptionsButton"}
# What is going on in the window alone: a list that is being read, a question, a folder in the file manager.
OF_THE_WINDOW = {"cancelImportButton", "installCancelButton", "openRunButton"}


def test_every_button_is_a_call():
    forms = PAGE.parents[2].joinpath("SemiSegExtension/Resources/UI").glob("*.ui")
    buttons = {name for form in forms for name in re.findall(r'name="(\w+Button)"', form.read_text(encoding="utf-8"))}
    folded = {name for name in buttons if name.endswith("CollapsibleButton")}
    assert buttons - folded == {*BUTTONS, *VALUES, *OF_THE_WINDOW}
    assert {call for calls in BUTTONS.values() for call in calls.split()} <= set(PUBLIC)


def test_every_example_calls_what_there_is_with_arguments_that_it_takes():
    for name, node in calls():
        inspect.signature(getattr(StudyLogic if name in PUBLIC else SemiSegLogic, name)).bind(
            None, *[None] * len(node.args), **{item.arg: None for item in node.keywords}
        )


def test_the_examples_that_edit_structures_can_be_run(host):
    """Those that need neither cases nor files."""
    logic, done = StudyLogic(), []
    known = {"logic": logic, "scheme": None}
    for line in ast.parse(CODE).body:
        names = {node.id for node in ast.walk(line) if isinstance(node, ast.Name)}
        if isinstance(line, ast.Assign) and names == {"logic", "scheme"} and "/data" not in ast.unparse(line):
            exec(ast.unparse(line), known)
            done.append(line.value.value.func.attr if isinstance(line.value, ast.Attribute) else "")
    assert {"addStructure", "renameStructure", "moveStructure", "mergeStructures", "removeStructure"} <= set(done)


def test_every_public_call_says_what_it_does():
    for name in PUBLIC:
        assert len(inspect.getdoc(getattr(StudyLogic, name)) or "") > 30, name


def test_the_facade_of_slicer_gives_every_call(module):
    from SemiSeg import SemiSegLogic

    logic = SemiSegLogic()
    assert set(PUBLIC) <= set(dir(logic))
    assert all(callable(getattr(logic, name)) for name in PUBLIC)


def test_the_examples_are_named():
    assert all((PAGE.parent / link).is_file() for link in re.findall(r"\]\((examples/\w+\.py)\)", TEXT))
