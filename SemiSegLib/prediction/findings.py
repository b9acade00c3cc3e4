"""What is known of each structure of a scan: drawn, found, surely not there, or unsure; as a table a person can read.

A structure is

- annotated, if a person drew it in the scan;
- latent, if nobody drew it, it is likely to be there and the model segmented it;
- absent, if it is unlikely to be there and the model segmented nothing;
- ambiguous otherwise, also where likelihood and segmentation contradict each other.

How likely it is, the score, comes from the model's presence network if it has one: the largest calibrated probability
over all windows of the scan. A lesion has the score of its organ, for that is what such a network knows. Models without
one give their confidence: the mean probability where the structure was segmented, or, where it was not, the largest one
anywhere. The table says which.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SemiSegLib.cases.volume import Volume
from SemiSegLib.config import from_json, read_json, write_atomically, write_json
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme

ANNOTATED, LATENT, ABSENT, AMBIGUOUS = STATES = ("annotated", "latent", "absent", "ambiguous")
PRESENCE = "presence network"
CONFIDENCE = "predicted volume and mean confidence"
# Of paper 002; a method that has its own brings them.
LOW, HIGH = 0.1, 0.8
COLUMNS = ("case", "structure", "state", "score", "volume_ml", "source")


@dataclass(frozen=True)
class Evidence:
    """How likely each ROI is in a scan.

    Attributes:
        scores: of each ROI, 0 to 1, or NaN where nothing tells.
        source: ``PRESENCE`` or ``CONFIDENCE``.
        low: a score below says that it is not there.
        high: a score above says that it is.
    """

    scores: np.ndarray
    source: str
    low: float = LOW
    high: float = HIGH


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One structure of one scan.

    Attributes:
        structure: name.
        state: one of ``STATES``.
        score: 0 to 1, or None where nothing tells.
        volume_ml: of its segmentation.
    """

    structure: str
    state: str
    score: float | None
    volume_ml: float


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Every structure of one scan.

    Attributes:
        structures: the ROIs of the scheme, in their order.
        source: where the scores come from, in words.
        low, high: the thresholds of the scores.
    """

    structures: tuple[Finding, ...]
    source: str
    low: float
    high: float

    def of(self, name: str) -> Finding | None:
        """Return the finding of a structure; None for one that is no ROI."""
        return next((found for found in self.structures if found.structure == name), None)


def find(leaves: Volume, scheme: LabelScheme, evidence: Evidence, drawn: Collection[str] = ()) -> Findings:
    """Return the table of a scan.

    Args:
        leaves: leaf index of each voxel.
        scheme: what the indices mean.
        evidence: how likely each ROI is.
        drawn: names of structures that a person has drawn in this scan.

    Raises:
        LabelError: a drawn structure is not one of the scheme.
    """
    rois = RoiTable.of(scheme)
    annotated = _annotated(rois, [scheme.leaves_of(name) for name in drawn])
    voxel_ml = abs(float(np.linalg.det(leaves.geometry.affine[:3, :3]))) / 1000
    # Slice by slice: counting takes 8 bytes a voxel.
    planes = (np.bincount(plane.ravel(), minlength=rois.leaf_count) for plane in leaves.voxels)
    counts = sum(planes, start=np.zeros(rois.leaf_count, dtype=np.int64))
    volumes = rois.members @ counts * voxel_ml
    rows = []
    for k, name in enumerate(rois.names):
        score, volume = float(evidence.scores[k]), float(volumes[k])
        known = None if math.isnan(score) else score
        rows.append(
            Finding(
                structure=name,
                state=ANNOTATED if annotated[k] else _state(score, volume, evidence),
                score=known,
                volume_ml=volume,
            )
        )
    return Findings(structures=tuple(rows), source=evidence.source, low=evidence.low, high=evidence.high)


def drawn_structures(annotation: Annotation, scheme: LabelScheme) -> tuple[str, ...]:
    """Return the names of the ROIs that an annotation shows, by what its values mean; no file is opened.

    Every value decides the ROI, and one of them is the ROI or a part of it, unless whatever was not annotated is
    surely something else. Values that may be anything say nothing. An organ that was drawn as a whole shows no part.
    """
    rois = RoiTable.of(scheme)
    sets = annotation.sets(scheme)
    said = [leaves for leaves in sets if len(leaves) < rois.leaf_count]
    is_whole = len(said) == len(sets)
    return tuple(
        name
        for name, roi in zip(rois.names, rois.leaf_sets, strict=True)
        if said
        and all(leaves <= roi or not leaves & roi for leaves in said)
        and (is_whole or any(leaves <= roi for leaves in said))
    )


def write_findings(findings: Findings, path: Path) -> None:
    """Write the table of one scan as JSON."""
    write_json(path, findings)


def read_findings(path: Path) -> Findings:
    """Return what ``write_findings`` wrote.

    Raises:
        ConfigError: the file is missing or is no such table.
    """
    return from_json(Findings, read_json(path), where=Path(path).name)


def write_findings_csv(scans: Mapping[str, Findings], path: Path, *, kept: Iterable[Sequence[str]] = ()) -> None:
    """Write the tables of several scans, by name, as one CSV file; a score that nothing tells is left empty.

    Args:
        scans: name of a scan to its table.
        path: file to write.
        kept: lines of other scans that come first.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows((COLUMNS, *kept))
    for scan, findings in scans.items():
        for row in findings.structures:
            score = "" if row.score is None else f"{row.score:.4f}"
            writer.writerow((scan, row.structure, row.state, score, f"{row.volume_ml:.3f}", findings.source))
    write_atomically(Path(path), text.getvalue().encode())


def add_to_findings_csv(scan: str, findings: Findings, path: Path) -> None:
    """Add the table of a scan to a CSV file, in the place of one that the file has of it; other scans stay.

    Raises:
        ConfigError: there is such a file, and it is no such table.
    """
    kept = [line for line in read_findings_lines(path) if line[0] != scan]
    write_findings_csv({scan: findings}, path, kept=kept)


def read_findings_lines(path: Path) -> list[list[str]]:
    """Return the lines of a CSV file of ``write_findings_csv`` without the first; none if there is no such file.

    Raises:
        ConfigError: it is no such table.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        lines = list(csv.reader(file))
    if not lines or any(len(line) != len(COLUMNS) for line in lines) or tuple(lines[0]) != COLUMNS:
        raise ConfigError(
            explain(
                f"it is no table of structures: its columns should be {', '.join(COLUMNS)}",
                where=str(path),
                remedy="move it elsewhere, or choose another folder for the results",
            )
        )
    return lines[1:]


def findings_path(result: Path) -> Path:
    """Return where the table of a result is written: beside it."""
    return beside(result, "_structures.json")


def beside(result: Path, ending: str) -> Path:
    """Return the file that belongs to a result: its name without its own ending, and another."""
    name = Path(result).name
    for own in (".seg.nrrd", ".nii.gz"):
        if name.lower().endswith(own):
            return Path(result).with_name(f"{name[: -len(own)]}{ending}")
    return Path(result).with_name(f"{Path(name).stem}{ending}")


def require_structures(names: Iterable[str], scheme: LabelScheme) -> None:
    """Refuse names that are not structures, or are background.

    Raises:
        LabelError: a structure is not one of the scheme.
        ConfigError: it is background.
    """
    for name in names:
        if 0 in scheme.leaves_of(name):
            raise ConfigError(
                explain(f"'{name}' cannot be drawn", where="structures drawn", remedy="leave background out")
            )


def _annotated(rois: RoiTable, drawn: Sequence[frozenset[int]]) -> list[bool]:
    """Return for each ROI whether it, or every part of it, was drawn."""
    return [
        leaves in drawn or frozenset().union(*(own for own in drawn if own <= leaves)) == leaves
        for leaves in rois.leaf_sets
    ]


def _state(score: float, volume_ml: float, evidence: Evidence) -> str:
    if score > evidence.high and volume_ml > 0:
        return LATENT
    if score < evidence.low and volume_ml == 0:
        return ABSENT
    return AMBIGUOUS
