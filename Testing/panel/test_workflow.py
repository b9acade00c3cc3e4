"""The whole way by mouse and keyboard, with the real worker; and all that is a user's own left as it was.

    pytest Testing/panel/test_workflow.py --screenshots FOLDER

saves a numbered picture of each step for the tutorial, after a training of four minutes. Without the option the
training is stopped after its first steps, which must leave a model all the same.
"""

import hashlib
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import slicer

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.labels.schemes import ready_scheme
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import is_running, observe
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.bridge.result import RESULT_ATTRIBUTE
from SemiSegModule.logic import StudyLogic
from Testing.bridge import scenes
from Testing.bridge.results import write_results
from Testing.host import interaction
from Testing.host.application.main_window import SAMPLE_CATEGORY, SAMPLE_DATA, ModulesWindow
from Testing.host.interaction import Presses, click, drop_files, process_events, type_text, wait_until
from Testing.host.rendering.window import window_picture
from Testing.panel.models import a_model_file
from Testing.panel.random_world import our_modules
from Testing.panel.real_worker import PATIENCE_SECONDS, has_ended, wait_for
from Testing.panel.reviews import row_of
from Testing.panel.studies import a_drawn_scan, alive, column

# Both stand in the tutorial; the clicks are at most twelve.
CLICKS = 11
MINUTES_FOR_PICTURES = 4
# Enough that there is something to save.
STEPS = 3


class Person:
    """Uses Slicer's window as a person does, by mouse buttons, wheel and keys, and takes pictures."""

    def __init__(self, module, screenshot):
        self._module, self._screenshot, self._pictures = module, screenshot, 0
        self._window, self._presses = ModulesWindow(module), Presses()
        self._window.resize(560, 900)
        self._window.show()

    @property
    def clicks(self):
        """Presses of a mouse button that widgets got so far."""
        return self._presses.count

    def leave(self):
        self._presses.close()
        self._window.leave()
        self._window.hide()

    def open_module(self, category, title):
        interaction.click(self._window.modules_button)
        interaction.click_entry(interaction.point_at(self._window.menu, category), title)

    def load_sample(self, name):
        self.open_module(SAMPLE_CATEGORY, SAMPLE_DATA)
        self.click(slicer.util.findChild(self._window.panel, f"{name}PushButton"))

    def click(self, widget):
        interaction.wheel_to(self._window.panel, widget)
        interaction.click(widget)

    def tick(self, view, row):
        interaction.wheel_to(self._window.panel, view)
        interaction.tick_cell(view, row)

    def choose(self, view, row, column):
        interaction.wheel_to(self._window.panel, view)
        interaction.click_cell(view, row, column)

    def type(self, widget, text):
        interaction.wheel_to(self._window.panel, widget)
        interaction.click_into(widget)
        interaction.write(text)

    def look(self, name):
        """Take a picture, if pictures are wanted: of the panel, and of the views once they show something."""
        self._pictures += 1
        if self._screenshot is not None:
            self._window.show_whole(520)
            panel = self._module.widgetRepresentation()
            self._screenshot(f"tutorial_{self._pictures}_{name}", window_picture(panel) if results() else panel)
            self._window.resize(560, 900)
            process_events()


def results():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE)]


@pytest.fixture
def person(module, screenshot, request):
    is_full = request.config.getoption("--screenshots") is not None
    someone = Person(module, screenshot if is_full else None)
    yield someone
    someone.leave()


@pytest.mark.timeout(3 * PATIENCE_SECONDS)
def test_from_an_empty_scene_to_accepted_segments_in_few_clicks(host, home, module, person, request):
    is_full = request.config.getoption("--screenshots") is not None
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    person.load_sample("SemiSegStudy")
    person.open_module("Segmentation", "SemiSeg")
    panel = slicer.modules.SemiSegWidget
    ui, training, apply = panel.ui, panel.panel.training, panel.panel.apply
    person.type(ui.studyFolderEdit, "~/SemiSeg/sample study")
    wait_for(lambda: not panel.panel.cases.checks.isBusy, "the checks of the cases")
    person.look("study")
    person.type(ui.minutesSpinBox, str(MINUTES_FOR_PICTURES if is_full else 1))
    person.look("options")

    person.click(ui.trainButton)
    if not is_full:
        wait_for(lambda: has_ended(training) or (training.status and training.status.step >= STEPS), "the first steps")
        person.click(ui.stopButton)
    wait_for(lambda: has_ended(training), "the end of the training")
    assert host.dialogs.shown("error") == []
    person.look("trained")

    volumes = [ui.applyVolumesList.item(row).text() for row in range(ui.applyVolumesList.count)]
    person.tick(ui.applyVolumesList, volumes.index("none_00"))
    person.click(ui.applyButton)
    wait_for(lambda: has_ended(apply) and results(), "the result")
    person.look("result")

    # The result is shown of itself, and it is the one to decide on. After a few steps it shows nothing of which the
    # model is sure, so then a person has to say which structures are right.
    if is_full:
        person.click(ui.acceptButton)
    else:
        person.choose(ui.resultSegmentsTable.tableWidget(), 0, 3)
        person.click(ui.acceptSelectedButton)
    person.look("accepted")
    assert host.dialogs.shown("error") == []
    (result,) = results()
    row = row_of(panel, "none_00")
    assert row.segmentation is result
    segments = result.GetSegmentation()
    names = [segments.GetNthSegment(number).GetName() for number in range(segments.GetNumberOfSegments())]
    assert set(names) == {"head", "tail", "vessel"}
    accepted = {"head", "tail", "vessel"} if is_full else {names[0]}
    assert set(row.lookedFor) == accepted
    assert (row.state, row.side, row.isChosen) == ("done" if is_full else "partial", "train", True)
    assert column(ui.reviewTable, 3) == ["accepted" if is_full else "partly accepted"]
    assert CLICKS <= 12
    # The short way takes two more: to stop, and to choose the one structure that is accepted.
    assert person.clicks == (CLICKS if is_full else CLICKS + 2)


def test_the_tutorial_tells_the_clicks_and_minutes_of_this_test():
    page = Path(__file__).resolve().parents[2] / "Resources" / "Documentation" / "tutorial.md"
    text = " ".join(page.read_text(encoding="utf-8").split())
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    assert f"{words[CLICKS].capitalize()} clicks, {words[MINUTES_FOR_PICTURES]} minutes of training" in text
    assert f"Set *Train for*, the time the training may take, to {MINUTES_FOR_PICTURES} minutes" in text


# What follows is about what a user owns: nodes of the scene and files given to it.


def files_of(folder):
    """Path, content and moment of change of each file below a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path: (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns) for path in files}


class Owned:
    """What a user owns, as it is now; ``check`` tells whether it still is."""

    def __init__(self, *folders):
        kinds = ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
        kinds += ("vtkMRMLTransformNode", "vtkMRMLMarkupsROINode", "vtkMRMLColorTableNode")
        self.nodes = [node for kind in kinds for node in slicer.util.getNodesByClass(kind)]
        self.folders = folders
        self._before = self._now()

    def check(self, after):
        process_events()
        assert self._now() == self._before, f"changed by: {after}"

    def _now(self):
        nodes = {node.GetName(): scenes.digest(node) for node in self.nodes}
        return nodes, [files_of(folder) for folder in self.folders]


@pytest.fixture
def given(tmp_path):
    """A folder of cases as a user has it."""
    folder = tmp_path / "given"
    write_cohort(folder, fine=2, coarse=1, partial=0, none=1, validation=1, size=(10, 16, 14))
    return folder


@pytest.fixture
def drawn(panel):
    """A scan and its labels that are in the scene before anything is imported."""
    volume, segmentation = a_drawn_scan(np.random.default_rng(0), "Ann", ("head", "tail", "vessel"))
    turned = scenes.a_transform(np.diag([1.0, -1.0, -1.0, 1.0]), name="turned")
    for node in (volume, segmentation):
        node.SetAndObserveTransformNodeID(turned.GetID())
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
    StudyLogic().makeColorTable(ready_scheme("hippocampus"))
    process_events()


@pytest.fixture
def pretended(monkeypatch):
    """Trainings that have a process and train nothing; jobs that apply a model have none. Returns the jobs."""
    monkeypatch.setattr(RunFolder, "worker_module", "Testing.panel.pretend_worker")
    asked, original = [], jobs.startWorker

    def start(run):
        if type(run) is RunFolder:
            original(run)
        else:
            asked.append(run)
            run.write_status(alive(RunStatus(state="preparing")))

    monkeypatch.setattr(jobs, "startWorker", start)
    return asked


@pytest.fixture
def modules_kept():
    """Reloading takes Python modules anew; other tests go on with those that they have imported."""
    kept = our_modules()
    yield
    for name in our_modules():
        del sys.modules[name]
    sys.modules.update(kept)


def import_folder(panel, folder):
    drop_files(panel.ui.casesTable.viewport(), [folder])
    wait_until(lambda: not panel.panel.cases.loading.isBusy, seconds=PATIENCE_SECONDS, what="loaded")
    process_events()


def train(panel):
    """Press Train and wait for the worker to say that it trains; return the run."""
    click(panel.ui.trainButton)
    run = jobs.findRuns(panel.panel.parameters.studyPath)[0]
    wait_until(lambda: observe(run).state == "training", seconds=PATIENCE_SECONDS, what="training")
    panel.panel.training.watcher.look()
    return run


def predict(panel, pretended):
    click(panel.ui.applyAllButton)
    write_results(pretended[-1])
    pretended[-1].write_status(RunStatus(state="finished", fraction=1.0, message="done"))
    panel.panel.apply.watcher.look()
    process_events()


def test_what_a_user_owns_stays_as_it_was(host, panel, given, drawn, pretended, modules_kept, tmp_path):
    owned = Owned(given)
    import_folder(panel, given)
    owned.check("import")
    # What was imported is the user's from now on.
    owned = Owned(given)
    type_text(panel.ui.studyFolderEdit, str(tmp_path / "study"))
    run = train(panel)
    owned.check("train")
    click(panel.ui.stopButton)
    wait_until(lambda: not is_running(run), seconds=PATIENCE_SECONDS, what="stopped")
    panel.panel.training.watcher.look()
    owned.check("stop")

    run = train(panel)
    os.kill(observe(run).pid, signal.SIGKILL)
    wait_until(lambda: not is_running(run), seconds=PATIENCE_SECONDS, what="killed")
    panel.panel.training.watcher.look()
    assert len(host.dialogs.shown("error")) == 1
    owned.check("crash of the worker")

    type_text(panel.ui.modelEdit, str(a_model_file(tmp_path / "models" / "organ model.safetensors")))
    for number, after in enumerate(("predict", "predict again"), 1):
        predict(panel, pretended)
        assert len(results()) == number * len(panel.panel.parameters.rows())
        owned.check(after)

    segmentations = column(panel.ui.casesTable, 1)
    panel.onReload()
    reloaded = slicer.modules.SemiSegWidget
    assert reloaded is not panel
    assert type(reloaded.panel) is not type(panel.panel)
    process_events()
    assert column(reloaded.ui.casesTable, 1) == segmentations
    owned.check("module reload")
    slicer.mrmlScene.Clear()
    owned.check("scene close")
