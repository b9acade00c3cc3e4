"""The report of an evaluation: one Markdown page with pictures, and the scores of every case as CSV."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from SemiSegLib.config import write_atomically
from SemiSegLib.evaluation.case_csv import write_case_csv
from SemiSegLib.evaluation.charts import boxes_chart, curves_chart
from SemiSegLib.evaluation.metrics import CaseScore
from SemiSegLib.evaluation.modes import MODES, EvaluationMode
from SemiSegLib.evaluation.pictures import CaseView, cases_picture
from SemiSegLib.evaluation.statistics import Interval
from SemiSegLib.evaluation.summary import StructureSummary, summarize
from SemiSegLib.labels.scheme import LabelScheme

MARKDOWN, SCORES = "report.md", "scores.csv"
EMPTY_WORDS = {
    "decided": "A structure that is absent from both counts as Dice 1 and distance 0; absent from one only, as Dice 0 "
    "and as far away as the image is large (its diagonal).",
    "zero": "A structure that is absent from the prediction or the reference scores 0 in everything, as the paper did.",
    "zero_without_prediction": "A structure that was not predicted scores 0 in everything, also in distance, as the "
    "paper did.",
    "left_out": "Cases without the structure in the reference are left out, as are distances to an empty mask.",
}


@dataclass(frozen=True, kw_only=True)
class ReportContent:
    """What a report tells.

    Attributes:
        title: first line.
        scheme: label scheme.
        scores: of every case.
        patients: case to patient, the unit of the intervals; a case that is not there is a patient of its own.
        facts: what to know of the run, name to text: method, labels used, steps, versions.
        events: lines of the run's event file, parsed; none for an evaluation without a run.
        view: returns the picture of a case by its id, or None for a report without pictures of cases.
        mode: how the scores were computed.
        sections: Markdown that follows the scores.
    """

    title: str
    scheme: LabelScheme
    scores: Sequence[CaseScore]
    patients: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    events: Sequence[Mapping[str, Any]] = ()
    view: Callable[[str], CaseView] | None = None
    mode: str = "strict"
    sections: Sequence[str] = ()


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write ``report.md``, its pictures and ``scores.csv`` into a folder, and return the path of the page.

    Raises:
        DependencyError: matplotlib is not installed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_case_csv(content.scores, folder / SCORES)
    mode = MODES[content.mode]
    parts = [f"# {content.title}", _facts(content.facts), _scores(content, mode)]
    boxes = boxes_chart(content.scores, folder / "scores.png")
    if boxes is not None:
        parts.append(
            _picture(boxes, "Scores of every case. Box: middle half and median; whiskers: 5th to 95th percentile.")
        )
    parts += content.sections
    chosen = notable_cases(content.scores)
    if content.view is not None and chosen:
        views = [_titled(content.view(case), f"{word}: {case}\nmean Dice {dice:.3f}") for word, case, dice in chosen]
        cases = cases_picture(views, content.scheme, folder / "cases.png")
        caption = f"{', '.join(word for word, _case, _dice in chosen).capitalize()} of {len(content.scores)} cases."
        parts += ["## Cases", _picture(cases, caption)]
    curves = curves_chart(content.events, folder / "curves.png")
    if curves is not None:
        parts += ["## Training", _picture(curves, "Loss terms and Dice on the validation cases.")]
    page = folder / MARKDOWN
    write_atomically(page, ("\n\n".join(part for part in parts if part) + "\n").encode())
    return page


def notable_cases(scores: Sequence[CaseScore]) -> list[tuple[str, str, float]]:
    """Return ("best" | "median" | "worst", case, mean Dice), each case once, best first.

    The mean is over leaves; where no leaf of any case was judged, over superclasses.
    """
    kinds = ("leaf", "superclass")
    found = next((f for f in (_means(scores, kind) for kind in kinds) if f), [])
    ordered = sorted(found, key=lambda pair: (-pair[1], pair[0]))
    places = {"best": 0, "median": len(ordered) // 2, "worst": len(ordered) - 1}
    chosen: dict[str, tuple[str, str, float]] = {}
    # A single case is called the best; of two, the second is the worst rather than the median.
    for word in ("best", "worst", "median"):
        if ordered:
            case, dice = ordered[places[word]]
            chosen.setdefault(case, (word, case, dice))
    return sorted(chosen.values(), key=lambda entry: -entry[2])


def summary_markdown(summaries: Sequence[StructureSummary]) -> str:
    """Return the table of structures: mean and confidence interval of the metrics that were measured."""
    if not summaries:
        return "No structure could be judged: the references say nothing."
    unit = summaries[0].unit
    titles = {
        "dice": ("Dice", 3),
        "jaccard": ("Jaccard", 3),
        "hd95": (f"HD95 ({unit})", 2),
        "assd": (f"ASSD ({unit})", 2),
        "asd": (f"ASD ({unit})", 2),
        "surface_dice": ("surface Dice", 3),
    }
    columns = [name for name in titles if any(s.metrics[name].count for s in summaries)]
    head = ["structure", "kind", "cases", *(titles[name][0] for name in columns), "empty"]
    lines = [_line(head), _line(["---", "---", "---:", *["---:"] * len(columns), "---"])]
    for summary in summaries:
        cells = [interval_text(summary.metrics[name], titles[name][1]) for name in columns]
        lines.append(_line([summary.structure, summary.kind, str(summary.cases), *cells, summary.empty_text]))
    return "\n".join(lines)


def interval_text(interval: Interval, digits: int) -> str:
    """Return "mean (low to high)", or "" without a value; the interval is left out for a single patient."""
    if interval.mean is None or interval.low is None or interval.high is None:
        return ""
    mean = f"{interval.mean:.{digits}f}"
    return mean if interval.patients == 1 else f"{mean} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


def _scores(content: ReportContent, mode: EvaluationMode) -> str:
    summaries = summarize(content.scores, content.patients)
    notes = [
        f"Means over cases, with 95 % bootstrap intervals over patients; mode `{mode.name}`, distances in {mode.unit}.",
        EMPTY_WORDS[mode.empty],
    ]
    if any(row.known_fraction < 1 for score in content.scores for row in score.rows):
        notes.append("Where a reference leaves voxels open, a structure is judged over the others, without distances.")
    if "surface_dice" in mode.metrics:
        notes.append(f"Surface Dice: share of the surfaces within {mode.tolerance_mm:g} mm of each other.")
    count = len(content.scores)
    heading = f"## Scores of {count} case{'' if count == 1 else 's'}"
    table = summary_markdown(summaries)
    return "\n\n".join([heading, table, " ".join(notes), f"Every case: [{SCORES}]({SCORES})."])


def _means(scores: Sequence[CaseScore], kind: str) -> list[tuple[str, float]]:
    means = ((score.case, score.mean_dice(kind)) for score in scores)
    return [(case, mean) for case, mean in means if mean is not None]


def _facts(facts: Mapping[str, str]) -> str:
    if not facts:
        return ""
    return "\n".join([_line(["", ""]), _line(["---", "---"]), *(_line([name, text]) for name, text in facts.items())])


def _titled(view: CaseView, title: str) -> CaseView:
    return CaseView(title, view.image, view.codes, view.table, view.predictions)


def _picture(path: Path, caption: str) -> str:
    return f"![{caption}]({path.name})\n\n*{caption}*"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"
