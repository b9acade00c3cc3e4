"""The files of one result: which they are, that none of them is a person's own, and how they are written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from SemiSegLib.cases.volume import write_volume
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.prediction.findings import beside, findings_path, write_findings
from SemiSegLib.prediction.model_file import Model
from SemiSegLib.prediction.predictor import Prediction
from SemiSegLib.prediction.segmentation_file import write_label_image, write_segmentation
from SemiSegLib.runs.review import write_review

ENDINGS = (".seg.nrrd", ".nii.gz", ".nii", ".nrrd", ".mha")
UNCERTAINTY, REVIEW = "_uncertainty.nrrd", "_review.json"


def require_free(
    results: Iterable[Path], scans: Iterable[Path], *, uncertainty: bool, review: bool, overwrite: bool
) -> None:
    """Refuse to write results over scans, and over any file unless that is asked for; nothing is written.

    Args:
        results: of the scans.
        scans: files that are read; they are never written over.
        uncertainty: whether each result has an uncertainty map beside it.
        review: whether each has a note beside it that tells how much a look at it is worth.
        overwrite: replace what is there already.

    Raises:
        ConfigError: a result has an ending that none is written in, or its place is taken.
    """
    own = [scan for scan in scans if scan.exists()]
    for result in results:
        if not result.name.lower().endswith(ENDINGS):
            raise ConfigError(
                explain(
                    f"'{result.name}' has an ending that results are not written in",
                    where=str(result),
                    remedy="end the name in .seg.nrrd (with names and colors), .nii.gz, .nrrd or .mha",
                )
            )
        files = [result, findings_path(result)]
        files += [beside(result, UNCERTAINTY)] * uncertainty + [beside(result, REVIEW)] * review
        for file in files:
            if not file.exists():
                continue
            if any(file.samefile(scan) for scan in own):
                what = "the result would replace a scan that it is made from"
                raise ConfigError(explain(what, where=str(file), remedy="write results to another folder"))
            if not overwrite:
                raise ConfigError(
                    explain(
                        "there is a file of this name already",
                        where=str(file),
                        remedy="write results to another folder, or allow it to be replaced (--overwrite, "
                        "overwrite=True)",
                    )
                )


def write_result(prediction: Prediction, model: Model, result: Path) -> None:
    """Write a prediction by the ending of its file name, and what belongs to it beside it.

    That is the table of its structures, and its uncertainty map and its review, if it has them. The result itself comes
    last.
    """
    if prediction.findings is not None:
        write_findings(prediction.findings, findings_path(result))
    if prediction.uncertainty is not None:
        write_volume(prediction.uncertainty, beside(result, UNCERTAINTY))
    if prediction.review is not None:
        write_review(prediction.review, beside(result, REVIEW))
    if result.name.lower().endswith(".seg.nrrd"):
        write_segmentation(prediction, result, provenance=model.provenance)
    else:
        write_label_image(prediction, result)
