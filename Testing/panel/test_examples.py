"""The console example and the batch example, as they are in the documentation, with a real worker and little time."""

import code
import hashlib
import runpy
import sys
from pathlib import Path

import pytest
import slicer

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.runs.process import find_runs
from SemiSegModule.bridge.result import Result
from Testing.host.interaction import process_events

EXAMPLES = Path(__file__).resolve().parents[2] / "Resources/Documentation/examples"
PATIENCE_SECONDS = 280


class Console(code.InteractiveConsole):
    """Takes lines as Slicer's console takes pasted text; an error ends the test."""

    def showtraceback(self):
        raise sys.exc_info()[1]

    def showsyntaxerror(self, filename=None, **_):
        raise sys.exc_info()[1]


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_the_console_example_trains_and_applies_when_it_is_pasted(host, module, capsys):
    text = (EXAMPLES / "console_example.py").read_text(encoding="utf-8")
    assert text.count("MINUTES = 2\n") == 1
    console = Console({"__name__": "__main__"})
    for line in text.replace("MINUTES = 2\n", "MINUTES = 0.1\n").splitlines():
        console.push(line)
    console.push("")
    said = capsys.readouterr().out
    assert "All packages are installed." in said
    assert "finished after" in said
    (result,) = console.locals["results"]
    assert result.IsA("vtkMRMLSegmentationNode")
    segments = result.GetSegmentation()
    names = {segments.GetNthSegment(number).GetName() for number in range(segments.GetNumberOfSegments())}
    # What the model is sure not to be there has no segment, and after seconds of training it may be sure of anything.
    states = Result(result).states
    assert set(states) == {"head", "tail", "vessel"}
    assert names == {name for name, state in states.items() if state != "absent"}
    assert "New in the scene: none_00" in said
    assert module._representation is None
    assert host.dialogs.messages == []


def folder_digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run_batch(monkeypatch, *arguments):
    """Run the batch example as Slicer's --python-script does and return its exit code."""
    codes = []
    monkeypatch.setattr(slicer.util, "exit", codes.append)
    monkeypatch.setattr(sys, "argv", ["batch_example.py", *(str(argument) for argument in arguments)])
    runpy.run_path(str(EXAMPLES / "batch_example.py"), run_name="__main__")
    (exit_code,) = codes
    return exit_code


@pytest.mark.timeout(PATIENCE_SECONDS)
def test_the_batch_example_works_without_main_window_and_without_the_panel(host, module, monkeypatch, tmp_path):
    assert slicer.util.mainWindow() is None
    data, output = tmp_path / "data", tmp_path / "output"
    write_cohort(data, fine=2, coarse=1, partial=0, none=1, validation=1, test=0)
    before = folder_digest(data)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    # "--" is what Slicer leaves of its own command line.
    assert run_batch(monkeypatch, "--", data, output, "--minutes", 0.1) == 0
    process_events()
    assert (output / "none_00.seg.nrrd").is_file()
    (run,) = find_runs(output / "runs")
    assert run.model_path.is_file()
    assert folder_digest(data) == before
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSegmentationNode") == 0
    assert slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == 0
    assert slicer.mrmlScene.GetNumberOfNodes() <= nodes + 5
    assert module._representation is None
    assert host.dialogs.messages == []


def test_the_batch_example_ends_whatever_goes_wrong(module, monkeypatch, tmp_path):
    def fail(*_given, **_named):
        raise RuntimeError("no space left on device")

    monkeypatch.setattr("SemiSegLib.cases.formats.load_dataset", fail)
    codes = []
    monkeypatch.setattr(slicer.util, "exit", codes.append)
    monkeypatch.setattr(sys, "argv", ["batch_example.py", str(tmp_path), str(tmp_path / "output")])
    with pytest.raises(RuntimeError, match="no space left"):
        runpy.run_path(str(EXAMPLES / "batch_example.py"), run_name="__main__")
    assert codes == [1]


def test_the_batch_example_says_why_it_failed_and_exits_with_a_code(module, monkeypatch, tmp_path, capsys):
    assert run_batch(monkeypatch, tmp_path / "nothing", tmp_path / "output") == 1
    assert "nothing" in capsys.readouterr().err
    assert run_batch(monkeypatch, tmp_path) == 2
    assert "required: output" in capsys.readouterr().err
