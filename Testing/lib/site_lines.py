"""Lines of a comparison on the cohort of three sites: one training each, scored on the fully drawn test scans."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from SemiSegLib import api, worker
from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.sites import LEAVES, write_sites
from SemiSegLib.kept_scores import require_same_request
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, PresenceSettings, RunRequest, TrainingSettings


@dataclass(frozen=True)
class Line:
    """What one line of the comparison trains.

    Attributes:
        title: in words.
        asked: fields of the run's request.
        is_drawn: train on the scans with everything drawn.
    """

    title: str
    asked: Mapping[str, Any] = field(default_factory=dict)
    is_drawn: bool = False


# Any method is to keep the order naive < baseline <= full. Zhao et al. call their whole method "full"; here that line
# is "latent", "narrowed" is ours of it, and "upper" is what the baseline learns where everything is drawn.
BY_STRUCTURES = {"output": "sigmoid", "embedding": "hierarchy", "views": "strong", "wait": 0.0}
LINES = {
    "naive": Line("dynamic heads, undrawn is background", {"method": "dynamic_head", "undrawn": "background"}),
    "baseline": Line("dynamic heads", {"method": "dynamic_head"}),
    # In so short a training a teacher of the usual memory would still be what the network was in its first third.
    "latent": Line(
        "latent classes by structures",
        {
            "method": "latent_classes",
            "options": {"decay": 0.95, **BY_STRUCTURES},
            "presence": PresenceSettings(share=0.2),
        },
    ),
    "narrowed": Line("latent classes, ours", {"method": "latent_classes", "options": {"decay": 0.95}}),
    "upper": Line("dynamic heads, everything drawn", {"method": "dynamic_head"}, is_drawn=True),
}
# Slice by slice, and too short to find the organ and to tell its parts apart for sure.
PLAN = PlanSettings(dimensions=2, patch=(40, 40), batch=8, features=(8, 16, 32))
STEPS = 300
LEARNING_RATE = 0.01
# What one site of three drew, and what the lines are compared by.
JUDGED = ("vessel", "node")


def write_both(folder: Path, *, seed: int = 0) -> dict[bool, Dataset]:
    """Write the cohort as the three sites drew it, and with everything drawn (True)."""
    return {full: write_sites(folder / f"{full}", each=6, test=4, full=full, seed=seed) for full in (False, True)}


def train_line(
    runs: Path, data: Path, line: str, *, steps: int = STEPS, seed: int = 0, plan: PlanSettings = PLAN, **asked: Any
) -> RunFolder:
    """Train a line in this process, on the CPU, and return its run; the same call repeats it bit by bit.

    A run of this name that is there already is finished if it was not.

    Raises:
        ConfigError: a run of this name was asked for with other settings.
    """
    training = TrainingSettings(
        steps=steps,
        learning_rate=LEARNING_RATE,
        augmentation="light",
        device="cpu",
        precision="fp32",
        # Sums over several threads round otherwise, and so short a training ends elsewhere for it.
        threads=1,
        deterministic=True,
    )
    request = RunRequest(dataset=str(data), plan=plan, training=training, seed=seed, **{**LINES[line].asked, **asked})
    name = f"{line}_seed{seed}"
    if (runs / name).exists():
        run = RunFolder(runs / name)
        require_same_request(run.request, request, name)
    else:
        run = RunFolder.create(runs, request, name=name)
    if run.status().state != "finished":
        worker.run(run)
    return run


def mean_dice(run: RunFolder, data: Path) -> dict[str, float]:
    """Return the mean Dice of each structure over the test scans."""
    dataset = load_dataset(data)
    scores = api.evaluate(run.model_path, dataset, dataset.side(Side.TEST), api.PredictionSettings(device="cpu"))
    found: dict[str, list[float]] = {}
    for score in scores:
        for row in score.rows:
            if row.dice is not None:
                found.setdefault(row.structure, []).append(row.dice)
    return {name: float(np.mean(values)) for name, values in found.items()}


def judged(dice: Mapping[str, float]) -> float:
    """Return the mean over the structures that the lines are compared by."""
    return float(np.mean([dice[name] for name in JUDGED]))


def mean_of_leaves(dice: Mapping[str, float]) -> float:
    """Return the mean over all structures that are no group of others."""
    return float(np.mean([dice[name] for name in LEAVES[1:]]))
