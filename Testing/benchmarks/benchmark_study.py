"""The study that loops are timed on: cases, plan and prepared data, made once and opened by each process."""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from reporting import Cell, say

from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.config import from_json, read_json, write_json
from SemiSegLib.methods.cards import card_of
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.plan import Plan
from SemiSegLib.planning.planner import make_plan
from SemiSegLib.runs.request import PlanSettings


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a process needs to run its loops.

    Attributes:
        dataset: folder.
        prepared: folder of the prepared cases.
        plan: the plan of both sides.
        case_ids: cases to draw from.
        method: ours.
        augmentation: of both sides.
        precision, threads: of our training; "auto" and None let its timed trials choose, as in a run.
    """

    dataset: str
    prepared: str
    plan: Plan
    case_ids: tuple[str, ...]
    method: str
    augmentation: str
    precision: str
    threads: int | None

    def open(self) -> Dataset:
        """Return the dataset with these cases alone."""
        dataset = load_dataset(Path(self.dataset))
        return dataset.with_cases(tuple(dataset.case(case_id) for case_id in self.case_ids))


def read_task(path: str) -> Task:
    return from_json(Task, read_json(Path(path)), where="task")


def add_study_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", nargs="?", type=Path, help="dataset folder; without it the built-in cohort is used")
    parser.add_argument("--augmentation", default="full")
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--threads", type=int, help="of our training; without it timed trials choose, as in a run")
    parser.add_argument("--cases", type=int, help="use only so many cases")
    parser.add_argument("--patch", type=int, nargs=3, help="fix this of the plan")
    parser.add_argument("--batch", type=int, help="fix this of the plan")
    parser.add_argument("--features", type=int, nargs="*", help="fix this of the plan")


def prepare_study(options: argparse.Namespace, folder: Path, *, method: str) -> tuple[Path, dict[str, Cell]]:
    """Plan and prepare the study of a command line; return the file of its task, and what to tell of it."""
    say("preparing the cases")
    facts: dict[str, Cell] = {}
    whole = load_dataset(options.dataset) if options.dataset else _cohort(folder / "cohort")
    candidates = tuple(case for case in whole.side(Side.TRAIN) or whole.cases if _suits(case, whole, method))
    if not candidates:
        raise SystemExit(f"the dataset has no cases that the method '{method}' learns from")
    dataset = whole.with_cases(candidates[: options.cases])
    plan, facts["seconds to plan"] = _timed_plan(dataset, options)
    store = PreparedStore(folder / "prepared", dataset, plan)
    start = time.perf_counter()
    store.prepare()
    facts["seconds to prepare"] = time.perf_counter() - start
    task = Task(
        dataset=str(dataset.root),
        prepared=str(folder / "prepared"),
        plan=plan,
        case_ids=tuple(case.id for case in dataset.cases),
        method=method,
        augmentation=options.augmentation,
        precision=options.precision,
        threads=options.threads,
    )
    write_json(folder / "task.json", task)
    network = plan.network
    facts = {
        "dataset": f"{dataset.name}, {len(dataset.cases)} cases",
        "patch and batch": f"{' x '.join(map(str, plan.patch))} voxels, {plan.batch} rows",
        "network": f"{network.backbone}, features {'-'.join(map(str, network.features))}, "
        f"stem {' x '.join(map(str, network.stem_stride))}, {network.norm} norm",
        "augmentation": options.augmentation,
        "torch": torch.__version__,
    } | facts
    return folder / "task.json", facts


def _cohort(folder: Path) -> Dataset:
    return write_cohort(folder, fine=12, coarse=12, partial=0, none=0, validation=0)


def _suits(case: Case, dataset: Dataset, method: str) -> bool:
    return case.regime(dataset.scheme).value in card_of(method).uses


def _timed_plan(dataset: Dataset, options: argparse.Namespace) -> tuple[Plan, float]:
    settings = PlanSettings(
        patch=None if options.patch is None else tuple(options.patch),
        batch=options.batch,
        features=None if options.features is None else tuple(options.features),
    )
    start = time.perf_counter()
    plan = make_plan(fingerprint(dataset), dataset, settings, device="cpu")
    return plan, time.perf_counter() - start
