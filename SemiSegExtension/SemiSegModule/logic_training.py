"""What the panel does with trainings, as calls: choose, start, queue, stop, resume, compare, look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import slicer

from SemiSegLib.baseline import baseline_request
from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.presets import preset_settings
from SemiSegLib.methods.recommend import Recommendation, recommend
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.gain import Gain, read_gain
from SemiSegLib.runs.process import observe
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.runs.turn import end_of_queue
from SemiSegLib.training.events import Previewed, WarmStarted
from SemiSegModule import jobs, look_ahead
from SemiSegModule.bridge.images import caseGrid, writingTo
from SemiSegModule.bridge.pairing import sketchStudy
from SemiSegModule.bridge.preview import loadPreview
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.bridge.training_plot import showPlot, updatePlot
from SemiSegModule.history import TrainingHistory
from SemiSegModule.packages.command import Command
from SemiSegModule.preflight import Remark, preflight
from SemiSegModule.waiting import Waiting

DEFAULT_MINUTES = 30.0


class TrainingLogic:
    """The calls of ``StudyLogic`` that are about trainings."""

    def recommend(
        self, study: str | Path | Dataset | Sequence[SceneCase], scheme: LabelScheme | None = None
    ) -> Recommendation:
        """Return the method that fits a study, and why.

        Args:
            study: a dataset, its folder or file, or cases of the scene (then ``scheme`` is needed).
            scheme: label scheme of cases of the scene.
        """
        if isinstance(study, str | Path):
            return recommend(load_dataset(Path(study)))
        if isinstance(study, Dataset):
            return recommend(study)
        return recommend(sketchStudy(study, scheme or self.readScheme(), "Scene"))

    def startTraining(
        self,
        dataset: str | Path,
        method: str | None = None,
        *,
        minutes: float | None = None,
        steps: int | None = None,
        device: str = "auto",
        preset: str | None = None,
        folder: str | Path | None = None,
        regardless: bool = False,
        **more: Any,
    ) -> RunFolder:
        """Start a training in a process of its own and return its run folder, after a look ahead of some seconds.

        Args:
            dataset: folder or file of a dataset; ``exportStudy(...).path`` is the one to pass after an export.
            method: name of a method; the recommended one if None.
            minutes: time budget; 30 if neither this nor ``steps`` is given.
            steps: optimizer steps instead of a time budget.
            device: "auto", "cpu", "cuda" or "mps".
            folder: where the run's folder is made; beside the dataset, in "runs", if None.
            preset: name of a preset of the method; with it come the training and plan settings that belong to it.
            regardless: start it at once, without looking whether packages, memory and disk are enough.
            more: further fields of ``SemiSegLib.runs.request.RunRequest``, for example options, seed, title,
                ``warm_start`` (model file to go on from), ``after`` (folder of the run to wait for; see
                ``endOfQueue``) or plan; ``training`` replaces the settings made from minutes, steps, device and preset.

        Raises:
            WouldFailError: it lacks packages, memory or disk, or its dataset cannot be used; nothing was written.
            RunError: the worker cannot be started.
            CaseError: the dataset cannot be read, no method fits it, or the run cannot be written.
            ConfigError: the method has no such preset.
        """
        path = Path(dataset)
        method = method or recommend(load_dataset(path)).method
        request = _request(path, method, minutes=minutes, steps=steps, device=device, preset=preset, **more)
        runs = jobs.runsFolder(path if path.is_dir() else path.parent) if folder is None else Path(folder)
        if not regardless:
            look_ahead.requireFit(request, runs)
        return self._start(runs, request)

    def preflight(self, cases: Sequence[SceneCase], studyFolder: str | Path) -> list[Remark]:
        """Return what to know before a training on cases of the scene: packages, disk; warnings first."""
        return preflight(cases, Path(studyFolder))

    def lookAhead(
        self,
        cases: Sequence[SceneCase],
        scheme: LabelScheme,
        studyFolder: str | Path,
        *,
        onEnd: Callable[[list[Remark]], None],
        method: str | None = None,
        **asked: Any,
    ) -> Command:
        """Work out memory, device and disk of a training beside Slicer, before anything is written; returns at once.

        Args:
            cases: of the scene.
            scheme: holds every structure that a case names.
            studyFolder: where the study would be written.
            onEnd: called with what is to be known, warnings first.
            method: name of a method; the recommended one if None.
            asked: what ``startTraining`` would be given besides.

        Raises:
            CaseError: a case cannot be placed, or the program cannot be started.
        """
        sketch = sketchStudy(cases, scheme, "Scene")
        folder = Path(mkdtemp(prefix="SemiSeg-preflight-", dir=slicer.app.temporaryPath or None))
        with writingTo(folder):
            path = look_ahead.writeSketch(folder, sketch, [caseGrid(case.volumes)[0] for case in cases])
            request = _request(path, method or recommend(sketch).method, **asked)
            return look_ahead.startLookAhead(folder, request, jobs.runsFolder(studyFolder), onEnd)

    def endOfQueue(self, studyFolder: str | Path) -> RunFolder | None:
        """Return the run of a study that a new one must come ``after``; None if none is at work or waits."""
        return end_of_queue(jobs.runsFolder(studyFolder))

    def startBaseline(self, run: RunFolder, *, title: str = "") -> RunFolder:
        """Queue the same training on the finely labeled cases alone, to see what the other scans bring; return it.

        It begins when the run has ended; at its end ``gain(baseline)`` says whether the other scans helped.

        Raises:
            RunError: the run uses finely labeled cases only, or the worker cannot be started.
            CaseError: the run cannot be written.
        """
        return self._start(run.path.parent, baseline_request(run, title=title))

    def gain(self, baseline: RunFolder) -> Gain | None:
        """Return what the scans without fine labels brought, structure by structure; None until it is known.

        Args:
            baseline: what ``startBaseline`` returned.

        Raises:
            ConfigError: the file was damaged.
        """
        return read_gain(baseline.gain_path)

    def resumeTraining(self, run: RunFolder, after: RunFolder | None = None) -> None:
        """Go on with a run that was stopped or killed, from its last checkpoint; or begin one that was never started.

        Args:
            run: the run.
            after: the run whose end it waits for, such as ``endOfQueue(...)``; None begins at once.

        Raises:
            RunError: it is being worked on, or the worker cannot be started.
            CaseError: the run's folder cannot be written to.
        """
        with writingTo(run.path):
            jobs.startWorker(run, after)

    def runStatus(self, run: RunFolder) -> RunStatus:
        """Return what a run is doing, whoever started it; a worker that died is reported as failed."""
        return observe(run)

    def stop(self, run: RunFolder) -> None:
        """Ask a run to finish its step, save a model of its best state and end; returns at once.

        Raises:
            CaseError: the run's folder cannot be written to.
        """
        with writingTo(run.path):
            run.request_stop()

    def removeFromQueue(self, run: RunFolder) -> None:
        """Let a run that waits for another one not begin; it stays in the list and can be resumed. Returns at once.

        Raises:
            CaseError: the run's folder cannot be written to.
        """
        self.stop(run)

    def renameRun(self, run: RunFolder, title: str) -> None:
        """Give a run another title; its folder keeps its name.

        Raises:
            CaseError: the run's folder cannot be written to.
        """
        with writingTo(run.path):
            jobs.rename(run, title)

    def findRuns(self, studyFolder: str | Path) -> list[RunFolder]:
        """Return the trainings of a study, newest first, also those started before Slicer was."""
        return jobs.findRuns(studyFolder)

    def showPlot(self, run: RunFolder, history: TrainingHistory | None = None, *, title: str = "") -> Any:
        """Show loss and validation Dice of a run in a plot view and return the chart node.

        There is one such chart; it is not saved with the scene.

        Args:
            run: the run.
            history: what its events tell; read from the run if None.
            title: of the run; read from it if empty.
        """
        return showPlot(title or jobs.titleOf(run), self._history(run, history))

    def updatePlot(self, run: RunFolder, history: TrainingHistory | None = None, *, title: str = "") -> None:
        """Bring the chart up to date, if it was shown and is still in the scene; arguments as of ``showPlot``."""
        updatePlot(title or jobs.titleOf(run), self._history(run, history))

    def notices(self, run: RunFolder) -> list[str]:
        """Return all that a run has told that a person should know, such as a skipped step; the first one first."""
        return [notice.text for notice in self._history(run, None).notices]

    def warmStart(self, run: RunFolder) -> WarmStarted | None:
        """Return which structures began with weights of the earlier model, which are new and which were dropped.

        None for a run that began with a new model, or has not begun: ``origins`` and ``dropped`` of what is returned
        name the structures.
        """
        return self._history(run, None).warmStart

    def showPreview(self, run: RunFolder, preview: Previewed | None = None, *, waiting: Waiting | None = None) -> Any:
        """Show what the unfinished model predicts for a case, in one segmentation node that is used again; return it.

        Args:
            run: the run.
            preview: the event that told of it; the run's last if None.
            waiting: has the file read apart from the scene; without it the call returns when it is shown.

        Returns:
            The segmentation node; None if there is no preview yet, or the scene does not have the case's scan.

        Raises:
            CaseError: a file cannot be read, or the scene has another volume of the case's name only, for example
                because its voxels have changed since the training began.
            ConfigError: what was asked of the run, or its dataset, is damaged.
        """
        preview = preview or self._history(run, None).preview
        if preview is None:
            return None
        dataset = Path(run.request.dataset)
        return loadPreview(run.path / preview.file, preview.case, dataset, waiting=waiting)

    def _history(self, run: RunFolder, history: TrainingHistory | None) -> TrainingHistory:
        if history is None:
            history = TrainingHistory()
            for event in run.events()[0]:
                history.take(event)
        return history

    def _start(self, parent: Path, request: RunRequest) -> RunFolder:
        with writingTo(parent):
            run = RunFolder.create(parent, request)
            jobs.startWorker(run)
        return run


def _request(
    path: Path,
    method: str,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    device: str = "auto",
    preset: str | None = None,
    **more: Any,
) -> RunRequest:
    """Return a request with the training and plan settings of a preset under those that are given."""
    if minutes is None and steps is None:
        minutes = DEFAULT_MINUTES
    seconds = None if minutes is None else minutes * 60.0
    training = TrainingSettings(steps=steps, seconds=seconds, device=device)
    planned = more.pop("plan", PlanSettings())
    fixed = [name for name, value in dataclasses.asdict(planned).items() if value is not None]
    own = preset_settings(card_of(method), preset)
    training, planned = own.under(training, planned, given={"seconds", "device", *fixed})
    training = more.pop("training", None) or training
    return RunRequest(dataset=str(path), method=method, preset=preset, training=training, plan=planned, **more)
