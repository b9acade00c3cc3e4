"""The scores that a comparison keeps of its runs, with hashes of the data that they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from SemiSegLib.batches.entry import content_hash
from SemiSegLib.cases.dataset import Case, Dataset, Side, frame_of
from SemiSegLib.cases.split import Split, patient_sides
from SemiSegLib.comparison import Scores
from SemiSegLib.config import from_json, read_json, to_json, write_json
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.runs.request import RunRequest

OTHER_FOLDER = "give another output folder"


@dataclass(frozen=True)
class DataHashes:
    """Hashes of what a run and its scores depend on beside the request: bytes of files, and what labels mean.

    Attributes:
        split: the side of every patient.
        learned: cases of the training and validation sides.
        tested: labeled cases of the test side.
    """

    split: str
    learned: str
    tested: str


def data_hashes(study: Dataset) -> DataHashes:
    """Return the hashes of a study with sides; every image and label file is read once.

    Raises:
        CaseError: a file is missing, or its path leads out of the dataset's folder.
    """
    learned = [case for case in study.cases if case.split is not Side.TEST]
    return DataHashes(
        split=content_hash(dict(sorted(patient_sides(study).items()))),
        learned=_hash_of(study, learned),
        tested=_hash_of(study, tested_cases(study)),
    )


def tested_cases(study: Dataset) -> list[Case]:
    """Return the labeled cases of the test side: those that are scored."""
    return [case for case in study.side(Side.TEST) if case.annotation is not None]


@dataclass(frozen=True)
class KeptScores:
    """What is kept of a run for one way of scoring.

    Attributes:
        scores: case to structure to (Dice, HD95 mm).
        steps: optimizer steps done.
        seconds: time of the training with its validations, over all its sessions.
    """

    scores: Scores
    steps: int
    seconds: float


@dataclass(frozen=True)
class ScoreFiles:
    """The score files of one run.

    Attributes:
        run: name of the run.
        files: one for each way of scoring.
        request: what is asked of the run now.
        data: hashes of the study as it is now.
    """

    run: str
    files: tuple[Path, ...]
    request: RunRequest
    data: DataHashes

    def read(self) -> tuple[KeptScores, ...] | None:
        """Return what is kept, or None if a file is missing or is not surely of the test cases as they are now.

        Files that were written before hashes were are of the latter kind.

        Raises:
            ConfigError: the run was trained with other settings, on other cases or under another split.
        """
        found = []
        for file in self.files:
            if not file.exists():
                continue
            kept = read_json(file)
            require_same_request(kept.get("asked"), self.request, self.run)
            if kept.get("data") is not None:
                self._require_same_training(from_json(DataHashes, kept["data"], where=file.name))
            if kept.get("data") == to_json(self.data):
                found.append(KeptScores(kept["scores"], kept["steps"], kept["seconds"]))
        return tuple(found) if len(found) == len(self.files) else None

    def require_run(self, folder: Path) -> None:
        """Refuse to train a run anew that was scored and is gone, only because its scores cannot be used any more.

        Args:
            folder: where the run would be.

        Raises:
            ConfigError: there are scores and no run.
        """
        there = [file for file in self.files if file.exists()]
        if there and not folder.exists():
            raise ConfigError(
                explain(
                    "the kept scores are not surely of the test cases as they are now, or lack a way of scoring, and "
                    "the run is not there to be scored again",
                    where=f"run '{self.run}', {', '.join(str(file) for file in there)}",
                    remedy=f"delete what is kept of it there to train it again, or {OTHER_FOLDER}",
                )
            )

    def write(self, kept: Sequence[KeptScores]) -> None:
        """Write what is to be kept, one for each way of scoring."""
        self.files[0].parent.mkdir(parents=True, exist_ok=True)
        for file, found in zip(self.files, kept, strict=True):
            data = {"scores": found.scores, "steps": found.steps, "seconds": found.seconds}
            write_json(file, {"asked": _asked(self.request), "data": self.data, **data})

    def _require_same_training(self, kept: DataHashes) -> None:
        if kept.split != self.data.split:
            raise _other_split(self.run)
        if kept.learned != self.data.learned:
            raise ConfigError(
                explain(
                    "training or validation cases have changed since it was trained",
                    where=f"run '{self.run}'",
                    remedy=f"{OTHER_FOLDER}: runs on the old and the new cases cannot be compared",
                )
            )


def require_same_request(kept: Mapping[str, Any] | RunRequest | None, request: RunRequest, run: str) -> None:
    """Raise ConfigError unless a run was asked for with these settings; None, of the first version, is not known."""
    kept = _asked(kept) if isinstance(kept, RunRequest) else kept
    if kept is not None and kept != _asked(request):
        raise ConfigError(
            explain(
                "an earlier comparison in this folder trained it with other settings",
                where=f"run '{run}'",
                remedy=f"give the same settings, or {OTHER_FOLDER}",
            )
        )


def require_same_split(path: Path, study: Dataset, run: str) -> None:
    """Raise ConfigError unless the ``split.json`` of a run has every patient on the side of the study."""
    stored = from_json(Split, read_json(path), where=f"{run}/{path.name}")
    if dict(stored.patients) != patient_sides(study):
        raise _other_split(run)


def _other_split(run: str) -> ConfigError:
    return ConfigError(
        explain(
            "patients are on other sides of the split now than when it was trained, so it may have seen test cases",
            where=f"run '{run}'",
            remedy=f"give the data set and the shares of then, or {OTHER_FOLDER}",
        )
    )


def _asked(request: RunRequest) -> dict[str, Any]:
    """Return a request as it stands in a file; the place of the data and the mark of a run may differ."""
    return {key: value for key, value in to_json(request).items() if key not in ("dataset", "id")}


def _hash_of(study: Dataset, cases: Sequence[Case]) -> str:
    """Return a hash that does not change when the study is moved, or its cases are listed in another order."""
    structures = [replace(structure, color=(0.0, 0.0, 0.0)) for structure in study.scheme.structures]
    parts: list[object] = [structures, study.channels]
    for case in sorted(cases, key=lambda case: case.id):
        references = [case.images[role] for role in study.channels if role in case.images]
        parts += [case.id, [frame_of(reference) for reference in references]]
        parts += [study.path(reference) for reference in references]
        note = case.annotation
        if note is not None:
            parts += [study.path(name) for name in (note.file, note.extent.mask) if name is not None]
            parts.append(replace(note, file="", extent=replace(note.extent, mask=None)))
    return content_hash(*parts)
