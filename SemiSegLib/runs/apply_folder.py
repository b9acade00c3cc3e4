"""A job that applies a model to scans: what is asked, where the results go; started and watched like a run."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from SemiSegLib.config import YOUNGER, check_choice, from_json, read_json, write_json
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.runs.folder import REQUEST, RunFolder
from SemiSegLib.runs.request import DEVICES
from SemiSegLib.runs.review import Review, read_review


@dataclass(frozen=True, kw_only=True)
class ApplyCase:
    """One scan to segment.

    Attributes:
        id: unique in the job; in messages and events.
        images: channel role to image file; relative paths are inside the job folder.
        drawn: structures that a person has drawn in the scan already; for the table of structures.
    """

    id: str
    images: Mapping[str, str]
    drawn: tuple[str, ...] = field(default=(), metadata={YOUNGER: True})


@dataclass(frozen=True, kw_only=True)
class ApplyRequest:
    """What is asked of a job. This is its ``request.json``.

    Attributes:
        model: path of the model file.
        cases: scans, each with the channels that the model was trained on.
        device: "auto", "cpu", "cuda" or "mps".
        mirror: average over mirrored copies of the scan, for a model trained with flips; eight times slower in 3-D.
        uncertainty: write an uncertainty map (0 to 1) beside each result.
        largest_component: keep one piece of each structure, the largest.
        id: unique mark of the job, given when its folder is made; every result carries it.
    """

    model: str
    cases: tuple[ApplyCase, ...]
    device: str = "auto"
    mirror: bool = False
    uncertainty: bool = False
    largest_component: bool = field(default=False, metadata={YOUNGER: True})
    id: str = ""

    def __post_init__(self) -> None:
        check_choice("device", self.device.split(":")[0], DEVICES)
        ids = [case.id for case in self.cases]
        if not ids or len(set(ids)) != len(ids):
            raise ConfigError(
                explain(
                    f"{len(ids)} scans with {len(set(ids))} different names",
                    where="request to apply a model",
                    remedy="name at least one scan, and each by a name of its own",
                )
            )


class ApplyFolder(RunFolder):
    """One job on disk: the files of a run folder, with scans and results in the place of a training."""

    worker_module = "SemiSegLib.apply"
    after_death = "apply the model again to the scans that have no result"

    @classmethod
    def create_job(cls, parent: Path | str, request: ApplyRequest) -> ApplyFolder:
        """Return a new job folder below ``parent`` that holds the request; image files may be added to it."""
        path = Path(parent).absolute() / f"{time.strftime('%Y%m%d-%H%M%S')}_{uuid.uuid4().hex[:6]}"
        path.mkdir(parents=True)
        named = replace(request, model=str(Path(request.model).absolute()), id=request.id or uuid.uuid4().hex)
        write_json(path / REQUEST, named)
        return cls(path)

    @cached_property
    def job(self) -> ApplyRequest:
        """What was asked.

        Raises:
            ConfigError: the file was damaged or holds an unknown setting.
        """
        return from_json(ApplyRequest, read_json(self.request_path), where=f"{self.path.name}/{REQUEST}")

    def image_paths(self, case: ApplyCase) -> dict[str, Path]:
        """Return channel role to image file of one of the job's scans."""
        return {role: self.path / file for role, file in case.images.items()}

    def result_path(self, case: ApplyCase) -> Path:
        """Return where the segmentation of a scan is written."""
        return self.path / "results" / f"{self._number(case):04d}.seg.nrrd"

    def results(self) -> tuple[ApplyCase, ...]:
        """Return the scans that have a result so far."""
        return tuple(case for case in self.job.cases if self.result_path(case).is_file())

    def findings_path(self, case: ApplyCase) -> Path:
        """Return where is written what is known of each structure of a scan."""
        return self.path / "results" / f"{self._number(case):04d}_structures.json"

    def review_path(self, case: ApplyCase) -> Path:
        """Return where is written how unsure the model is of a scan, why, and where most."""
        return self.path / "results" / f"{self._number(case):04d}_review.json"

    def reviews(self) -> dict[str, Review]:
        """Return the id of each scan that has a result to its review; results of older versions have none.

        Raises:
            ConfigError: a file is damaged.
        """
        paths = {case.id: self.review_path(case) for case in self.job.cases}
        return {name: read_review(path) for name, path in paths.items() if path.exists()}

    def failures(self) -> dict[str, str]:
        """Return the id of each scan that could not be segmented to the text of the error.

        Raises:
            ConfigError: the file is damaged.
        """
        if not self._failures_path.exists():
            return {}
        return from_json(dict[str, str], read_json(self._failures_path), where=self._failures_path.name)

    def write_failures(self, scans: Mapping[str, str]) -> None:
        """Note which scans could not be segmented, by id, and the text of each error."""
        write_json(self._failures_path, scans)

    @property
    def _failures_path(self) -> Path:
        return self.path / "failures.json"

    @property
    def structures_path(self) -> Path:
        """The structures of all scans in one table."""
        return self.path / "results" / "structures.csv"

    def uncertainty_path(self, case: ApplyCase) -> Path:
        """Return where the uncertainty map of a scan is written, if one was asked for."""
        return self.path / "results" / f"{self._number(case):04d}_uncertainty.nrrd"

    def _number(self, case: ApplyCase) -> int:
        # Names of scans may hold what a file system does not take; their place in the request may not.
        return [other.id for other in self.job.cases].index(case.id)
