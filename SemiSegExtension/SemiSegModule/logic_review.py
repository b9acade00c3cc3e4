"""What the panel does with results, as calls: load, rank, show, compare, correct, accept, reject, train on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from SemiSegLib.errors import CaseError, CheckpointError, explain
from SemiSegLib.labels.scheme import LabelScheme, name_key
from SemiSegLib.runs.apply_folder import ApplyFolder
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import find_runs, observe
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import jobs
from SemiSegModule.bridge.acceptance import Acceptance, emptyAndDoubtful
from SemiSegModule.bridge.result import (
    ACCEPTED,
    PARTLY_ACCEPTED,
    REJECTED,
    Result,
    nextToReview,
    ranked,
    resultBefore,
)
from SemiSegModule.bridge.result_views import (
    compareSideBySide,
    correctionOf,
    endComparison,
    hideResult,
    jumpToDoubt,
    openSegmentEditor,
    showResult,
    showUncertainty,
)
from SemiSegModule.bridge.results import absentVolumes, isUnseen, loadResults, markSeen
from SemiSegModule.bridge.scene_case import LEFT_OUT, SceneCase
from SemiSegModule.bridge.segmentation_import import loadSegmentation
from SemiSegModule.bridge.segments import segmentIds
from SemiSegModule.logic_model import ModelLogic, modelFile
from SemiSegModule.waiting import Waiting


class ReviewLogic(ModelLogic):
    """The calls of ``StudyLogic`` that are about what a model found."""

    def findJobs(self, studyFolder: str | Path) -> list[ApplyFolder]:
        """Return the jobs of a study that apply a model, newest first, also those started before Slicer was."""
        return [ApplyFolder(run.path) for run in reversed(find_runs(jobs.appliedFolder(studyFolder)))]

    def jobToShow(self, studyFolder: str | Path) -> ApplyFolder | None:
        """Return the newest job of a study if it is at work, or has ended without its results having been loaded."""
        newest = self.findJobs(studyFolder)[:1]
        return next((job for job in newest if jobs.isAtWork(job) or isUnseen(job)), None)

    def absentVolumes(self, job: ApplyFolder, *, waiting: Waiting | None = None) -> list[str]:
        """Return the names of a job's volumes with a result that the scene does not have, as their voxels tell.

        Args:
            job: at work or ended.
            waiting: has voxels read apart from the scene.

        Raises:
            ConfigError: a file of the job is damaged.
        """
        return absentVolumes(job, waiting=waiting)

    def loadResults(self, job: ApplyFolder, *, label: str = "", waiting: Waiting | None = None) -> list[Any]:
        """Return new segmentation nodes for the results of a job; nothing else of the scene is touched.

        A result is laid on the scan that was segmented and on no other of the same name. Of a job that failed, the
        results that it has left are loaded. Structures that are absent are left out; parts of one whole stand together
        in shades of its color; what the model is unsure of is flagged. Nodes are hidden until ``showResult`` shows one.

        Args:
            job: ended.
            label: added to the volume's name to name each node.
            waiting: is told how far it is, and has files read apart from the scene.

        Raises:
            CaseError: the job failed, a scan could not be segmented, or a result does not fit its volume any more;
                results that fit are loaded.
            ConfigError: a file of the job is damaged.
        """
        status = observe(job)
        problems = [f"'{name}': {why}" for name, why in job.failures().items()]
        if status.state == "failed":
            problems = [_failure(job, status), *problems]
        nodes, misplaced = loadResults(job, label=label, wholes=self._wholes(job), waiting=waiting)
        # What is damaged does not get better: it is told once. What lacks its volume is worth another attempt.
        if nodes or not absentVolumes(job, waiting=waiting):
            markSeen(job)
        problems += misplaced
        if problems:
            raise CaseError("\n".join(problems))
        return nodes

    def loadResult(self, path: str | Path, volume: Any, *, name: str | None = None) -> Any:
        """Return a new segmentation node from a ``.seg.nrrd`` file that belongs to a volume.

        Raises:
            CaseError: the file cannot be read.
        """
        return loadSegmentation(Path(path), volume, name=name)

    def results(self) -> list[Result]:
        """Return the newest result of each volume of the scene, the one that is worth the next look first."""
        return ranked()

    def nextResult(self, current: Result | None = None) -> Result | None:
        """Return the highest-ranked result that nobody has decided on, after the current; None if there is none."""
        return nextToReview(current)

    def showResult(self, result: Result, foreground: Any = None) -> None:
        """Show a volume and its result in the slice views, where the model is least sure; other results are hidden.

        Args:
            result: the result.
            foreground: volume to lay over the other, such as the case's second channel, unless the views show the
                case already; None for none.
        """
        showResult(result, foreground)

    def showUncertainty(self, result: Result | None) -> None:
        """Lay the uncertainty of a result over the slice views, with its structures as outlines; None takes it away."""
        showUncertainty(result)

    def jumpToMostUncertain(self, result: Result) -> bool:
        """Bring the slice views to the place where the model is least sure; return whether there is one."""
        return jumpToDoubt(result)

    def resultBefore(self, result: Result) -> Result | None:
        """Return the result of the same volume that was loaded before, of an earlier model for example; or None."""
        return resultBefore(result)

    def compare(self, result: Result | None) -> None:
        """Show a result (left) and the one before it (right) in two linked views; None shows the views as before.

        Raises:
            CaseError: there is no result before it.
        """
        if result is None:
            endComparison()
            return
        before = resultBefore(result)
        if before is None:
            raise CaseError(
                explain(
                    _("there is no earlier result to compare with"),
                    where=_("volume '{name}'").format(name=result.name),
                    remedy=_("apply another model to the same volume"),
                )
            )
        compareSideBySide(result, before)

    def correct(self, result: Result) -> Any:
        """Open a copy of a result in the Segment Editor, on its volume, and return the copy; the result is kept."""
        node = correctionOf(result)
        showResult(result)
        openSegmentEditor(node, result.volume)
        return node

    def acceptResult(self, result: Result, structures: Collection[str] | None = None) -> Acceptance:
        """Accept a result, or its correction if there is one, as the labels of its case, and return what they say.

        Accepted segments get the status "completed". To accept all is no word about what is not to be seen: a structure
        that is empty in the result, of which the model is not sure that it is absent, is left open, for as a label it
        would teach that it is not there. Name it to say so: what was accepted of a result that is partly accepted stays
        accepted, names add to it, and ``rejectResult`` takes all of it back.
        ``acceptIntoCases`` gives a case of the study its labels too.

        Args:
            result: the result.
            structures: names of what is accepted, besides what was before; the others are as good as not looked for.
                None: all of the model's.

        Raises:
            CaseError: no structure is named, or none is named and all would be left open.
        """
        if structures is not None and not structures:
            raise CaseError(
                explain(
                    _("no structure is selected"),
                    where=_("result of '{name}'").format(name=result.name),
                    remedy=_("select the structures that are right in the table, or accept all"),
                )
            )
        node = result.shown
        names = {i: node.GetSegmentation().GetSegment(i).GetName() for i in segmentIds(node)}
        # A structure that the model did not find, or that a person erased, was looked for all the same.
        every = {name_key(name): name for name in (*result.states, *names.values())}
        before = {name_key(name) for name in result.accepted}
        doubtful = emptyAndDoubtful(result) if structures is None else ()
        leftOpen = tuple(name for name in doubtful if name_key(name) not in before)
        named = every if structures is None else structures
        chosen = before.union(map(name_key, named)) - {name_key(name) for name in leftOpen}
        if not chosen:
            raise CaseError(
                explain(
                    _("nothing was segmented, and the model is not sure that nothing is there"),
                    where=_("result of '{name}'").format(name=result.name),
                    remedy=_("correct it first, or select the structures that are surely not there and accept those"),
                )
            )
        logic = slicer.vtkSlicerSegmentationsModuleLogic
        for segmentId, name in names.items():
            if name_key(name) in chosen:
                logic.SetSegmentStatus(node.GetSegmentation().GetSegment(segmentId), logic.Completed)
        isWhole = chosen >= set(every)
        lookedFor = tuple(name for key, name in every.items() if key in chosen)
        result.decision = ACCEPTED if isWhole else PARTLY_ACCEPTED
        result.accepted = () if isWhole else lookedFor
        return Acceptance(
            segmentation=node,
            lookedFor=lookedFor,
            meanings={i: LEFT_OUT for i, name in names.items() if name_key(name) not in chosen},
            others=tuple(name for key, name in every.items() if key not in chosen),
            leftOpen=leftOpen,
            state="done" if isWhole else "partial",
        )

    def acceptIntoCases(
        self,
        cases: Sequence[SceneCase],
        result: Result,
        scheme: LabelScheme,
        structures: Collection[str] | None = None,
    ) -> list[SceneCase]:
        """Accept a result as ``acceptResult`` does, and return the cases with its labels in that of its volume.

        Args:
            cases: of the study.
            result: the result.
            scheme: of the study; a structure that it does not have is left out.
            structures: see ``acceptResult``.

        Raises:
            CaseError: no case has the volume of the result, or the result cannot be accepted.
        """
        own = [any(node is result.volume for node in case.volumes.values()) for case in cases]
        if not any(own):
            raise CaseError(
                explain(
                    _("none of the cases has this volume"),
                    where=_("volume '{name}'").format(name=result.name),
                    remedy=_("take it among the cases first"),
                )
            )
        accepted = self.acceptResult(result, structures)
        return [accepted.inCase(case, scheme) if isOwn else case for case, isOwn in zip(cases, own, strict=True)]

    def rejectResult(self, result: Result) -> None:
        """Put a result away: it is hidden and kept, and no longer comes next; nothing of it is accepted any more."""
        result.decision, result.accepted = REJECTED, ()
        endComparison()
        hideResult(result)

    def trainOn(self, model: str | Path | RunFolder, dataset: str | Path, **more: Any) -> RunFolder:
        """Start a training that goes on from a model, with its method, and return its run folder.

        Args:
            model: model file, or a run whose model is meant.
            dataset: folder or file of a dataset, with the accepted cases; ``exportStudy(...).path``.
            more: arguments of ``startTraining``, for example minutes.

        Raises:
            CheckpointError: there is no such file, or it is no model.
            WouldFailError: as of ``startTraining``.
            RunError: the worker cannot be started.
            CaseError: the dataset cannot be read, or the run cannot be written.
        """
        info = self.describeModel(model)
        more.setdefault("method", info.method)
        return self.startTraining(dataset, warm_start=str(modelFile(model)), **more)

    def _wholes(self, job: ApplyFolder) -> dict[str, tuple[float, float, float]]:
        """Return superclass to color of the job's model; nothing if its file is gone meanwhile."""
        try:
            scheme = self.describeModel(job.job.model).scheme
        except CheckpointError:
            return {}
        return {structure.name: structure.color for structure in scheme.superclasses[1:]}


def _failure(job: ApplyFolder, status: RunStatus) -> str:
    """Return why a job failed and which scans are left."""
    done = {case.id for case in job.results()}
    left = [case.id for case in job.job.cases if case.id not in done]
    what = status.message
    if done and left:
        what = _("{message}; without a result: {names}").format(message=what, names=", ".join(left))
    return explain(what, where=status.where or str(job.path), remedy=status.remedy)
