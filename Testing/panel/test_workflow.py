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
from Testing.host.application.sample_data import clickSample
from Testing.host.interaction import click, drop_files, process_events, type_text, wait_until
from Testing.host.rendering.window import window_picture
from Testing.panel.models import a_model_file
from Testing.panel.random_world import our_modules
from Testing.panel.real_worker import PATIENCE_SECONDS, has_ended, wait_for
from Testing.panel.reviews import row_of
from Testing.panel.studies import a_drawn_scan, alive, column

# Both stand in the tutorial.
CLICKS = 9
MINUTES_FOR_PICTURES = 4
# Enough that there is something to save.
STEPS = 3


class Person:
    """Uses the panel as a person does, counts clicks and takes pictures.

    A click is one press of a mouse button. The one that puts the cursor into a field counts; what is typed does not.
    """

    def __init__(self, module, panel, screenshot):
        self.ui, self.clicks = panel.ui, 0
        self._window, self._screenshot, self._pictures = module.widgetRepresentation(), screenshot, 0

    def load_sample(self, name):
        """Choose Sample Data among the modules and click the sample; the host has no panel of that module."""
        self.clicks += 2
        clickSample(name)
        process_events()

    def open_module(self):
        self.clicks += 1
        self._window.enter()
        process_events()

    def click(self, widget):
        self.clicks += 1
        interaction.click(widget)

    def tick(self, view, row):
        self.clicks += 1
        interaction.tick_cell(view, row)

    def choose(self, view, row, column):
        self.clicks += 1
        interaction.click_cell(view, row, column)

    def type(self, widget, text):
        self.clicks += 1
        interaction.type_text(widget, text)

    def look(self, name):
        """Take a picture, if pictures are wanted: of the panel, and of the views once they show something."""
        self._pictures += 1
        if self._screenshot is not None:
            # Twice: what was hidden before has its height only after it was laid out.
            for _turn in range(2):
                self._window.resize(520, self._window.heightForWidth(520))
                process_events()
            picture = window_picture(self._window) if results() else self._window
            self._screenshot(f"tutorial_{self._pictures}_{name}", picture)


def results():
    nodes = slicer.util.getNodesByClass("vtkMRMLSegmentationNode")
    return [node for node in nodes if node.GetAttribute(RESULT_ATTRIBUTE)]


@pytest.mark.timeout(3 * PATIENCE_SECONDS)
def test_from_an_empty_scene_to_accepted_segments_in_few_clicks(host, home, module, panel, screenshot, request):
    is_full = request.config.getoption("--screenshots") is not None
    module.widgetRepresentation().exit()
    ui, training, apply = panel.ui, panel.panel.training, panel.panel.apply
    person = Person(module, panel, screenshot if is_full else None)
    assert slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode") == []
    person.load_sample("SemiSegStudy")
    person.open_module()
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
    # The short way takes two more: to stop, and to choose the one structure that is accepted.
    assert person.clicks == (CLICKS if is_full else CLICKS + 2)


def test_the_tutorial_tells_the_clicks_and_minutes_of_this_test():
    page = Path(__file__).resolve().parents[2] / "Resources" / "Documentation" / "tutorial.md"
    text = " ".join(page.read_text(encoding="utf-8").split())
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
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
