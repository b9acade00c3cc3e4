"""Lines of a comparison on the cohort of three sites: one training each, scored on the fully drawn test scans."""

from pathlib import Path

import numpy as np

from SemiSegLib import api, worker
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings

# What issue 4 asks of any method: naive < baseline <= full. The last is trained on `write_sites(..., full=True)`.
LINES = {
    "naive": {"method": "dynamic_head", "undrawn": "background"},
    "baseline": {"method": "dynamic_head"},
    "latent": {"method": "latent_classes"},
    "full": {"method": "dynamic_head"},
}
PLAN = PlanSettings(dimensions=3, patch=(16, 32, 32), batch=2, features=(8, 16, 32))


def train_line(
    runs: Path, data: Path, line: str, *, steps: int, seed: int = 0, plan: PlanSettings = PLAN, **asked
) -> RunFolder:
    """Train a line in this process, on the CPU, and return its run; the same call repeats it bit by bit."""
    training = TrainingSettings(steps=steps, device="cpu", precision="fp32", deterministic=True)
    request = RunRequest(dataset=str(data), plan=plan, training=training, seed=seed, **{**LINES[line], **asked})
    run = RunFolder.create(runs, request, name=f"{line}_seed{seed}")
    worker.run(run)
    return run


def mean_dice(run: RunFolder, data: Path) -> dict[str, float]:
    """Return the mean Dice of each leaf, over the test scans."""
    dataset = load_dataset(data)
    scores = api.evaluate(run.model_path, dataset, dataset.side(Side.TEST), api.PredictionSettings(device="cpu"))
    found: dict[str, list[float]] = {}
    for score in scores:
        for row in score.rows:
            if row.structure in dataset.scheme.leaf_names and row.dice is not None:
                found.setdefault(row.structure, []).append(row.dice)
    return {name: float(np.mean(values)) for name, values in found.items()}
