"""Everything that could go wrong with a dataset, found before anything is trained; nothing is written."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from SemiSegLib.cases.case_checks import CaseReport, check_case
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.finding import Finding as Finding
from SemiSegLib.cases.finding import Severity
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.scheme import BACKGROUND

# Voxels of NIfTI files are decompressed outside Python's lock, so two readers are faster; other files are read by ITK,
# by one thread at a time. More readers would hold more volumes.
READERS = 2
# Errors that a message lists before it only counts.
LISTED = 12
# Windows refuses these characters, ends and device names; an id becomes a file name.
UNSAFE_ID = re.compile(r'(?i)[\x00-\x1f/\\:*?"<>|]|^\.|\.$|^\s|\s$|^$|^(con|prn|aux|nul|com\d|lpt\d)(\.|$)')


def check_dataset(dataset: Dataset, *, on_progress: Callable[[int, int], None] | None = None) -> tuple[Finding, ...]:
    """Return what is wrong with a dataset, what is doubtful, and what is only worth knowing.

    Every image and every label file that belongs to an annotation is read once; at most two cases are in memory
    at a time. Files beside cases without annotation are not opened.

    Args:
        dataset: as loaded.
        on_progress: called with the number of cases done and of all cases.

    Returns:
        Findings, those of the dataset first, then case by case.
    """
    findings = [*_identity_findings(dataset), *_split_findings(dataset)]
    digests: dict[tuple[str, bytes], str] = {}
    empty: dict[tuple[str, ...], list[str]] = {}
    drawn: Counter[tuple[str, ...]] = Counter()
    for done, (case, report) in enumerate(_reports(dataset), start=1):
        findings += report.findings
        findings += _repeated_images(case, report, digests)
        for names, count in (report.voxels_of or {}).items():
            drawn[names] += count > 0
            if not count:
                empty.setdefault(names, []).append(case.id)
        if on_progress is not None:
            on_progress(done, len(dataset.cases))
    return (*findings, *_empty_structures(dataset, empty, drawn))


def require_usable(dataset: Dataset, findings: Iterable[Finding]) -> None:
    """Raise CaseError listing the errors among the findings, if there are any."""
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    lines = [f"- {f.case or 'dataset'}: {f.what} ({f.where}); {f.remedy}" for f in errors[:LISTED]]
    if len(errors) > LISTED:
        lines.append(f"- and {len(errors) - LISTED} more")
    cases = len({finding.case for finding in errors if finding.case})
    raise CaseError(
        explain(
            f"the dataset '{dataset.name}' has {len(errors)} errors in {cases} of {len(dataset.cases)} cases:\n"
            + "\n".join(lines),
            where=str(dataset.root),
            remedy="mend or remove these cases; 'semiseg check' lists all findings",
        )
    )


def _reports(dataset: Dataset) -> Iterator[tuple[Case, CaseReport]]:
    """Yield the report of each case in order, reading only a little ahead."""
    with ThreadPoolExecutor(READERS) as pool:
        waiting: deque[tuple[Case, Future[CaseReport]]] = deque()
        for case in dataset.cases:
            waiting.append((case, pool.submit(check_case, dataset, case)))
            if len(waiting) > READERS:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


def _identity_findings(dataset: Dataset) -> Iterator[Finding]:
    if not dataset.cases:
        yield _of_dataset(dataset, "no_cases", "error", "there are no cases", "add cases to the dataset")
    spellings: dict[str, list[str]] = {}
    for case in dataset.cases:
        spellings.setdefault(_file_key(case.id), []).append(case.id)
    for same in spellings.values():
        if len(same) > 1:
            names = "', '".join(sorted(set(same)))
            yield Finding(
                case=same[0],
                code="duplicate_id",
                severity="error",
                what=f"{len(same)} cases are called '{names}'",
                where=f"dataset '{dataset.name}'",
                remedy="give each case an id of its own; upper and lower case are the same to many file systems",
            )
    for case in dataset.cases:
        if UNSAFE_ID.search(case.id):
            yield Finding(
                case=case.id,
                code="unsafe_id",
                severity="error",
                what=f"the id {case.id!r} cannot be a file name on every system",
                where=f"dataset '{dataset.name}'",
                remedy="use letters, digits, spaces inside, dots inside, hyphens and underscores",
            )


def _split_findings(dataset: Dataset) -> Iterator[Finding]:
    sides: dict[str, dict[Side, list[str]]] = {}
    for case in dataset.cases:
        if case.split is not None:
            sides.setdefault(case.patient, {}).setdefault(case.split, []).append(case.id)
    for patient, members in sides.items():
        if len(members) > 1:
            listed = "; ".join(f"{side.value}: {', '.join(ids)}" for side, ids in members.items())
            first = next(iter(members.values()))[0]
            yield Finding(
                case=first,
                code="patient_on_two_sides",
                severity="error",
                what=f"patient '{patient}' is on {len(members)} sides of the split ({listed})",
                where=f"dataset '{dataset.name}'",
                remedy="put all cases of a patient on one side, or correct the patient's name",
            )
    training = [case for case in dataset.cases if case.split in (None, Side.TRAIN)]
    if training and all(case.annotation is None for case in training):
        remedy = "annotate at least one case"
        yield _of_dataset(dataset, "nothing_annotated", "error", "no case for training has labels", remedy)


def _repeated_images(case: Case, report: CaseReport, digests: dict[tuple[str, bytes], str]) -> Iterator[Finding]:
    for role, digest in report.image_digest.items():
        earlier = digests.setdefault((role, digest), case.id)
        if earlier != case.id:
            yield Finding(
                case=case.id,
                code="same_image",
                severity="warning",
                what=f"channel '{role}' holds the same voxels as that of case '{earlier}'",
                where=case.images[role],
                remedy="keep one of them, or name the same patient in both so that they stay on one side of the split",
            )


def _empty_structures(
    dataset: Dataset, empty: dict[tuple[str, ...], list[str]], drawn: Counter[tuple[str, ...]]
) -> Iterator[Finding]:
    for names, cases in empty.items():
        if names == ("*",):
            continue
        title = " or ".join(names)
        total = drawn[names] + len(cases)
        shown = ", ".join(cases[:8]) + (f" and {len(cases) - 8} more" if len(cases) > 8 else "")
        if not drawn[names]:
            remedy = "check the values in the label files and their meaning, or drop the structure"
            what = f"'{title}' has no voxel in any of the {total} cases annotated for it"
            severity: Severity = "note" if names == (BACKGROUND,) else "warning"
            yield _of_dataset(dataset, "never_drawn", severity, what, remedy)
        else:
            remedy = "if it was not looked for there, say so: its voxels now count as background"
            what = f"'{title}' has 0 voxels in {len(cases)} of the {total} cases annotated for it: {shown}"
            yield _of_dataset(dataset, "absent_structure", "note", what, remedy)


def _file_key(case_id: str) -> str:
    return unicodedata.normalize("NFC", case_id).casefold()


def _of_dataset(dataset: Dataset, code: str, severity: Severity, what: str, remedy: str) -> Finding:
    return Finding(case="", code=code, severity=severity, what=what, where=f"dataset '{dataset.name}'", remedy=remedy)
