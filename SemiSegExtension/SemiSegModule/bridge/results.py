"""Scans of the scene to a job that applies a model, and its results back beside the scans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from SemiSegLib.config import read_json, write_json
from SemiSegLib.errors import CaseError, ConfigError, explain
from SemiSegLib.runs.apply_folder import ApplyCase, ApplyFolder, ApplyRequest
from SemiSegLib.runs.places import is_there
from SemiSegLib.runs.review import read_review
from SemiSegModule.bridge.copies import VoxelCopies
from SemiSegModule.bridge.geometry import Grid, fromLps
from SemiSegModule.bridge.images import copyChannels, readScan, writeScan, writingTo
from SemiSegModule.bridge.job_scan import JobScan, asPlace
from SemiSegModule.bridge.result import Result
from SemiSegModule.bridge.result_segments import STATE_TAG, arranged
from SemiSegModule.bridge.segmentation_file import FileSegment
from SemiSegModule.bridge.segmentation_import import loadSegmentation, requireInScene, toOwn
from SemiSegModule.bridge.uncertainty import addUncertainty, readUncertainty
from SemiSegModule.waiting import Waiting

_SCENE_FILE = "scene.json"
_SEEN_FILE = "seen.txt"


def createJob(
    parent: Path,
    model: Path,
    scans: Sequence[Mapping[str, Any]],
    *,
    device: str = "auto",
    uncertainty: bool = False,
    largestPiece: bool = False,
    drawn: Sequence[tuple[str, ...]] | None = None,
    waiting: Waiting | None = None,
) -> ApplyFolder:
    """Return a new job folder that holds copies of scans of the scene; nodes are only read.

    Args:
        parent: folder of the jobs.
        model: model file.
        scans: for each scan channel role to volume node.
        device: "auto", "cpu", "cuda" or "mps".
        uncertainty: ask for uncertainty maps too.
        largestPiece: ask for the largest piece of each structure alone.
        drawn: for each scan the structures of the model that a person has drawn in it; None where nobody has.
        waiting: is told how far it is, and has what takes long done apart from the scene; None: nobody waits.

    Raises:
        CaseError: no scan is given, or one cannot be written.
    """
    if not scans:
        raise CaseError(
            explain(_("no volume is chosen"), where=_("apply a model"), remedy=_("tick at least one volume"))
        )
    waiting = waiting or Waiting()
    images = Path(parent) / "images"
    files, places = [], {}
    for number, volumes in enumerate(scans):
        node = next(iter(volumes.values()))
        caseId = f"{number + 1} {node.GetName()}"
        waiting.tell(number, len(scans), node.GetName())
        copies = VoxelCopies()
        copyChannels(volumes, copies, waiting)
        scan = readScan(volumes, copies)
        places[caseId] = asPlace(node, scan.grid)
        names, _notes = waiting.apart(partial(writeScan, scan, node.GetName(), images))
        paths = {role: str((images / file).absolute()) for role, file in names.items()}
        files.append(ApplyCase(id=caseId, images=paths, drawn=drawn[number] if drawn else ()))
    request = ApplyRequest(
        model=str(model),
        cases=tuple(files),
        device=device,
        uncertainty=uncertainty,
        largest_component=largestPiece,
    )
    with writingTo(Path(parent)):
        job = ApplyFolder.create_job(parent, request)
        write_json(job.path / _SCENE_FILE, places)
    return job


def loadResults(
    job: ApplyFolder,
    *,
    label: str = "",
    wholes: Mapping[str, tuple[float, float, float]] | None = None,
    waiting: Waiting | None = None,
) -> tuple[list[Any], list[str]]:
    """Return new segmentation nodes for the results that a job has written, and what could not be placed.

    Each knows its score, the reason for it, its place of doubt and its uncertainty map, as far as the job wrote them;
    see ``bridge.result.Result``. New nodes are hidden: whoever shows one decides which.

    Args:
        job: ended; scans without a result are passed over.
        label: added to the volume's name to name each node.
        wholes: name of a superclass of the model to its color.
        waiting: is told how far it is, and has files read apart from the scene; None: nobody waits.
    """
    nodes, problems = [], []
    waiting = waiting or Waiting()
    found = _scansWithResult(job)
    for number, (case, scan) in enumerate(found):
        waiting.tell(number, len(found), scan.name)
        volume = scan.find(waiting)
        if volume is None:
            what = _("the volume '{name}' is no longer in the scene").format(name=scan.name)
            if scan.hasNamesake:
                what = _(
                    "there is a scan of the name '{name}', but it is another one, or its voxels were changed"
                ).format(name=scan.name)
            problems.append(_("{problem}; its result is {file}").format(problem=what, file=job.result_path(case)))
            continue
        try:
            grid = scan.gridIn(volume)
            result = _loadResult(job, case, volume, grid, label=label, wholes=wholes or {}, waiting=waiting)
        except CaseError as error:
            problems.append(str(error))
            continue
        nodes.append(result.node)
        # Its uncertainty and score are extras: what is wrong with them is told, the result stays.
        for add in (_addUncertainty, _addReview):
            try:
                add(result, job, case, grid, waiting)
            except (CaseError, ConfigError) as error:
                problems.append(str(error))
            # Without its scan (that is told already) nothing more of it can be placed.
            if result.volume is None:
                break
        if result.node.GetScene() is None:
            # Somebody deleted it while its files were read.
            nodes.pop()
    return nodes, problems


def absentVolumes(job: ApplyFolder, *, waiting: Waiting | None = None) -> list[str]:
    """Return the names of the scans with a result that the scene does not have, and whether it has another of the name.

    Args:
        job: at work or ended.
        waiting: has the voxels of volumes read apart from the scene; None: nobody waits.
    """
    waiting = waiting or Waiting()
    absent = [scan for _case, scan in _scansWithResult(job) if scan.find(waiting) is None]
    another = _("{name} (another scan of this name is here)")
    return [another.format(name=scan.name) if scan.hasNamesake else scan.name for scan in absent]


def isUnseen(job: ApplyFolder) -> bool:
    """Return whether a job has left results that were not loaded into any scene."""
    if is_there(job.path / _SEEN_FILE) or not is_there(job.path / _SCENE_FILE):
        return False
    return hasResults(job)


def hasResults(job: ApplyFolder) -> bool:
    """Return whether a job has results that can be told apart."""
    try:
        return bool(job.results())
    except (ConfigError, OSError):
        # Its request is damaged: whose the results are is not known any more. Or its drive is away.
        return False


def markSeen(job: ApplyFolder) -> None:
    """Note that a job's results were loaded, so that they are not offered again."""
    # A folder that cannot be written to any more offers them once more, which does no harm.
    with suppress(OSError):
        job.write_text(_SEEN_FILE, "")


def _scansWithResult(job: ApplyFolder) -> list[tuple[ApplyCase, JobScan]]:
    places = read_json(job.path / _SCENE_FILE)
    return [(case, JobScan.of(case, places[case.id])) for case in job.results()]


def _loadResult(
    job: ApplyFolder,
    case: ApplyCase,
    volume: Any,
    grid: Grid,
    *,
    label: str,
    wholes: Mapping[str, tuple[float, float, float]],
    waiting: Waiting,
) -> Result:
    states: dict[str, str] = {}

    def arrange(segments: tuple[FileSegment, ...]) -> tuple[FileSegment, ...]:
        # Also of those that are left out: that they were looked for is what makes a case known everywhere.
        states.update({segment.name: segment.tags.get(STATE_TAG, "") for segment in segments})
        return arranged(segments, wholes)

    name = f"{volume.GetName()} {label}".strip()
    path = job.result_path(case)
    result = Result(loadSegmentation(path, volume, writtenGrid=grid, name=name, arrange=arrange, waiting=waiting))
    result.node.GetDisplayNode().SetVisibility(False)
    result.describe(job=job.job.id, model=label, states=states)
    return result


def _addUncertainty(result: Result, job: ApplyFolder, case: ApplyCase, grid: Grid, waiting: Waiting) -> None:
    path = job.uncertainty_path(case)
    if path.is_file():
        scan = result.volume
        map_ = waiting.apart(partial(readUncertainty, path))
        # Somebody may have deleted it, or the result, while the file was read.
        requireInScene(scan)
        if result.node.GetScene() is not None:
            result.uncertainty = addUncertainty(map_, scan, job.job.id, writtenGrid=grid)


def _addReview(result: Result, job: ApplyFolder, case: ApplyCase, grid: Grid, _waiting: Waiting) -> None:
    path = job.review_path(case)
    if not path.is_file():
        return
    review = read_review(path)
    place = None
    if review.place_lps_mm is not None:
        place = toOwn(result.volume, grid) @ fromLps(review.place_lps_mm)
    result.rate(review.score, review.reason, place)
