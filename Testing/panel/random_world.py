"""What happens to the panel besides a person's clicks, drawn at random: trainings move on, scenes close, time passes.

Names of SemiSegModule and SemiSegLib are looked up at each use: a module that is reloaded has new ones.
"""

import contextlib
import importlib
import os
import sys
import time
from pathlib import Path

import numpy as np
import slicer

from Testing.bridge import scenes
from Testing.host import interaction
from Testing.host.interaction import let_pass, process_events
from Testing.panel.models import a_model_file
from Testing.panel.real_worker import PATIENCE_SECONDS
from Testing.panel.studies import a_small_study

OURS = ("SemiSegLib", "SemiSegModule")
# A scene that is added to the one it was saved from doubles it: with more scans than this one is opened in its place.
MOST_VOLUMES = 40


def our_modules():
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] in OURS}


def recent(name):
    """The module of this name as Slicer's process uses it now."""
    return importlib.import_module(name)


def children():
    """Living child processes of this one."""
    entries = recent("SemiSegLib.runs.process_table").process_entries()
    return {entry.pid for entry in entries if entry.parent == os.getpid() and not entry.is_zombie}


def widget():
    return slicer.modules.semiseg.widgetRepresentation().self()


def processes_about(folder):
    """Living processes whose command names something in a folder (Linux); those that have ended meanwhile are none."""
    found = set()
    for entry in recent("SemiSegLib.runs.process_table").process_entries():
        command = Path(f"/proc/{entry.pid}/cmdline")
        with contextlib.suppress(OSError):
            if not entry.is_zombie and os.fsencode(folder) in command.read_bytes():
                found.add(entry.pid)
    return found


class World:
    """The scene, the workers and Slicer around a panel.

    Args:
        random: decides what happens.
        folder: takes studies, scenes and models.
    """

    def __init__(self, random, folder):
        self.random, self.folder = random, folder
        self.runs = []
        self.digests = {}
        self._saved = None
        self.take_module()

    def take_module(self):
        """Let no worker begin, and no package be missing, in the module as it is loaded now."""
        recent("SemiSegModule.jobs").startWorker = self._start
        recent("SemiSegModule.dependencies").missing = lambda **_more: []
        recent("SemiSegModule.look_ahead").lookAheadNow = lambda _request, _runs: []

    def new_study(self):
        a_small_study()
        widget().panel.parameters.studyFolder = str(self.folder / self.random.choice(("study", "José 中")))
        process_events()
        self._take_digests()

    def happen(self):
        """Let something happen and return what it was."""
        events = [self.work] * 8 + [self.tick] * 5 + [self.close_scene, self.reload_scene, self.reload_module]
        event = self.random.choice([*events, self.leave, self.remove_a_node, self.change_the_disk])
        event()
        process_events()
        return event.__name__

    def modified(self):
        """Names of what a person has made and not removed and is not as it was."""
        there = [(n, before) for key, (n, before) in self.digests.items() if slicer.mrmlScene.GetNodeByID(key) is n]
        return [node.GetName() for node, before in there if scenes.digest(node) != before]

    def tick(self):
        panel = widget().panel
        for watcher in (panel.training.watcher, panel.apply.watcher):
            watcher.look()
        let_pass(0.005)

    def work(self):
        """Let the worker of the latest run or job go on, and the panel look."""
        if self.runs:
            folder, is_job = self.random.choice(self.runs[-3:])
            if folder.exists():
                self._work(folder, is_job)
        self.tick()

    def close_scene(self):
        slicer.mrmlScene.Clear()
        process_events()
        self.new_study()

    def reload_scene(self):
        path = self.folder / "scene.mrb"
        if self._saved is None or self.random.random() < 0.5:
            assert slicer.mrmlScene.WriteToMRB(str(path))
            self._saved = path
        if slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") > MOST_VOLUMES:
            slicer.mrmlScene.Clear()
            process_events()
        assert slicer.mrmlScene.ReadFromMRB(str(path))
        process_events()
        self._take_digests()

    def reload_module(self):
        widget().onReload()
        self.take_module()

    def leave(self):
        """Another module is looked at for a moment."""
        representation = slicer.modules.semiseg.widgetRepresentation()
        representation.exit()
        process_events()
        representation.enter()

    def remove_a_node(self):
        classes = ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
        nodes = [node for name in classes for node in slicer.util.getNodesByClass(name)]
        if nodes and self.random.random() < 0.3:
            slicer.mrmlScene.RemoveNode(self.random.choice(nodes))
            # Slicer itself notes at a segmentation that its scan is gone.
            self._take_digests()

    def change_the_disk(self):
        """A file of a run is damaged by somebody else."""
        if self.runs:
            path, _is_job = self.random.choice(self.runs)
            names = ("status.json", "request.json", "events.jsonl", "scene.json", "job.json")
            file = path / self.random.choice(names)
            if file.exists():
                file.write_text("[1, 2")

    def begin(self):
        """Nothing is at work yet."""

    def end(self):
        """Nothing is left to end: no worker has begun."""

    def _take_digests(self):
        process_events()
        classes = ("vtkMRMLScalarVolumeNode", "vtkMRMLSegmentationNode")
        nodes = [node for name in classes for node in slicer.util.getNodesByClass(name)]
        made = recent("SemiSegModule.bridge.result").RESULT_ATTRIBUTE
        user = [n for n in nodes if n.GetName().split()[0] in ("Ann", "Bob", "Cid", "Dan") and not n.GetAttribute(made)]
        own = [n for n in user if n.GetName().removesuffix(" drawn") in ("Ann", "Bob", "Cid", "Dan")]
        self.digests = {node.GetID(): (node, scenes.digest(node)) for node in own}

    def _start(self, run, after=None):
        is_job = hasattr(run, "job")
        if (run.path, is_job) not in self.runs:
            self.runs.append((run.path, is_job))
        run.clear_stop()
        self._write(run, state="preparing")

    def _write(self, run, **status):
        runs = recent("SemiSegLib.runs.status")
        status = {"pid": os.getpid(), "heartbeat": recent("time").time(), **status}
        table, socket = recent("SemiSegLib.runs.process_table"), recent("socket")
        run.write_status(
            runs.RunStatus(pid_started=table.process_mark(os.getpid()), host=socket.gethostname(), **status)
        )

    def _work(self, folder, is_job):
        kind = (
            recent("SemiSegLib.runs.apply_folder").ApplyFolder if is_job else recent("SemiSegLib.runs.folder").RunFolder
        )
        run = kind(folder)
        if run.stop_requested():
            state = self.random.choice(("stopping", "stopped"))
        else:
            state = self.random.choice(("training",) * 4 + ("finished", "finished", "failed"))
        try:
            if state in ("finished", "stopped"):
                self._leave_results(run, is_job)
            elif not is_job and state == "training":
                self._tell(run)
        except (ValueError, recent("SemiSegLib.errors").SemiSegError):
            # Its files were damaged before.
            state = "failed"
        self._write(run, state=state, fraction=self.random.random(), message=f"it is {state}", remedy="look")

    def _leave_results(self, run, is_job):
        if is_job:
            recent("Testing.bridge.results").write_results(run, scores={0: self.random.random()})
        else:
            a_model_file(run.model_path)

    def _tell(self, run):
        events = recent("SemiSegLib.training.events")
        step, dice = self.random.randrange(1000), self.random.random()
        learned = events.Stepped(
            step=step,
            fraction=dice,
            losses={"dice": dice},
            weights={"dice": 1.0},
            learning_rate=1e-3,
            seconds_per_step=0.1,
            data_seconds=0.01,
            eta_seconds=90.0,
        )
        tested = events.Validated(
            step=step,
            dice={"head": dice, "vessel": float("nan")},
            cases={"head": 2, "vessel": 0},
            mean_dice=dice,
            is_best=dice > 0.5,
            seconds=1.0,
        )
        for event in (learned, tested):
            run.append_event(events.event_to_line(event, time=0.0))


def files_for_dialogs(folder):
    """Paths that a person may choose in dialogs: a model, a folder of scans, what is none, and what is not there."""
    model = a_model_file(folder / "model.safetensors")
    broken = folder / "broken.json"
    broken.write_text("{")
    images = folder / "scans"
    images.mkdir()
    np.save(images / "no scan.npy", np.zeros(3))
    names = [model, broken, images, folder / "not there.json", folder / "not there.txt", folder / "study/dataset.json"]
    return ["", "", *(str(Path(name)) for name in names)]


class WorldWithWorkers(World):
    """The same with real workers, each a process that trains or segments."""

    def take_module(self):
        """Note which runs are started; nothing is ever installed."""
        recent("SemiSegModule.dependencies").missing = lambda **_more: []
        jobs = recent("SemiSegModule.jobs")
        original = jobs.startWorker

        def start(run, after=None):
            if (run.path, hasattr(run, "job")) not in self.runs:
                self.runs.append((run.path, hasattr(run, "job")))
            original(run, after)

        jobs.startWorker = start

    def begin(self):
        """A training is at work before anything else happens."""
        interaction.click(widget().ui.trainButton)
        end = time.monotonic() + PATIENCE_SECONDS
        training = widget().panel.training
        while training.status is None or not training.status.step:
            assert time.monotonic() < end, "the training has not begun"
            assert training.status is None or training.status.state != "failed", training.status
            self.work()

    def work(self):
        """Time passes, for the workers too."""
        let_pass(0.3)
        self.tick()

    def end(self):
        """Ask every run to stop, as a person does with the button, and wait until its worker has."""
        for path, _is_job in self.runs:
            if path.exists():
                recent("SemiSegLib.runs.folder").RunFolder(path).request_stop()
        end, mark = time.monotonic() + PATIENCE_SECONDS, recent("SemiSegLib.runs.process_table").process_mark
        left = known = processes_about(self.folder)
        while left and time.monotonic() < end:
            process_events()
            time.sleep(0.1)
            # One that is about to be gone has no command any more.
            known = known | processes_about(self.folder)
            left = {pid for pid in known if mark(pid)}
        assert left == set(), f"workers that were asked to stop are still there after {PATIENCE_SECONDS} s"
