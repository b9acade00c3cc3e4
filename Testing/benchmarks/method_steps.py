"""The steps of one method on one random batch, and plain supervised steps between them, in a process of their own.

Part of method_step_cost.py, which says what is measured.
"""

import json
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from reporting import HERE, child_environment, say

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.distance import distance_structures
from SemiSegLib.config import from_json
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.networks.presence import PresenceDescription, PresenceModel, PresenceShape
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.runs.process import WAITING
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.instructions import apply_limit, try_bf16
from SemiSegLib.training.optimizers import Optimizers
from SemiSegLib.training.precision import Compute, fp32_where_tiny

# Late enough that waiting is over and every ramp is at its end.
LATE = 0.95
# Leaves of the heart (paper 000) and of the left atrium (paper 003).
HEART = LabelScheme(
    name="heart",
    structures=(
        Structure(name="heart"),
        *(Structure(name=name, parent="heart") for name in ("right ventricle", "myocardium", "left ventricle")),
    ),
)
ATRIUM = LabelScheme(name="left atrium", structures=(Structure(name="left atrium"),))


@dataclass(frozen=True)
class Size:
    """A network and the batch it is trained on.

    Attributes:
        backbone: registered name; presets that ask for it are measured.
        patch: voxels per axis.
        labeled: fully labeled rows.
        others: rows of the other regime.
        regime: coarse (paper 000) or none (paper 003).
        is_quick: belongs to the quick trial.
    """

    backbone: str
    patch: tuple[int, ...]
    labeled: int
    others: int
    regime: Regime
    is_quick: bool = False

    @property
    def words(self) -> str:
        voxels = " x ".join(map(str, self.patch))
        return f"{voxels}, {self.labeled} full + {self.others} {self.regime.value}, {self.backbone}"


SIZES = {
    "2d_24": Size("paper_unet", (256, 256), 12, 12, Regime.COARSE),
    "2d_8": Size("paper_unet", (256, 256), 4, 4, Regime.COARSE),
    "3d_64": Size("vnet", (48, 64, 64), 2, 2, Regime.NONE),
    "3d_112": Size("vnet", (80, 112, 112), 2, 2, Regime.NONE),
    "quick_2d": Size("paper_unet", (32, 32), 2, 2, Regime.COARSE, is_quick=True),
    "quick_3d": Size("vnet", (16, 16, 32), 2, 2, Regime.NONE, is_quick=True),
}
COMPUTES = {"fp32": ("fp32", False), "bf16": ("bf16", True)}


@dataclass(frozen=True)
class Row:
    """What one child measures."""

    size: str
    method: str
    preset: str
    compute: str
    device: str
    threads: int
    steps: int


def study_of(size: Size) -> Study:
    """Return scheme and plan; the backbones of the papers take only their name from the network plan."""
    dimensions = len(size.patch)
    network = NetworkPlan(
        backbone=size.backbone,
        strides=((2,) * dimensions,) * 4,
        kernels=((3,) * dimensions,) * 5,
        stem_stride=(1,) * dimensions,
        norm="batch",
    )
    plan = Plan(
        dimensions=dimensions,
        channels=(ChannelPlan(role="image"),),
        axis_order=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        patch=size.patch,
        batch=size.labeled + size.others,
        network=network,
    )
    return Study(scheme=HEART if size.regime is Regime.COARSE else ATRIUM, plan=plan)


def presence_of(study: Study, device: str) -> PresenceModel:
    """Return an untrained presence network of the size that a run's first stage gives it; a step costs the same."""
    rois, is_gpu = RoiTable.of(study.scheme).names, device.startswith("cuda")
    shape = PresenceShape(
        classes=rois,
        channels=len(study.plan.channels),
        dimensions=study.plan.dimensions,
        width=1.0 if is_gpu else 0.25,
        stem_stride=1 if is_gpu else 2,
    )
    return PresenceModel(PresenceDescription(shape=shape, classes_of={name: (name,) for name in rois}))


def batch_of(size: Size, scheme: LabelScheme, *, maps: tuple[str, ...], is_full: bool) -> Batch:
    """Return a random batch whose leaves lie in blocks of 8 voxels.

    Args:
        size: of its rows.
        scheme: of its leaves.
        maps: extra maps; distances are random.
        is_full: label every row fully.
    """
    torch.manual_seed(0)
    rows, leaves = size.labeled + size.others, len(scheme.leaf_names)
    shape = (rows, *size.patch)
    truth = torch.randint(0, leaves, (rows, *(-(-length // 8) for length in size.patch)))
    for axis, length in enumerate(size.patch, start=1):
        truth = truth.repeat_interleave(8, dim=axis).narrow(axis, 0, length)
    foreground = frozenset(range(1, leaves))
    single = [frozenset([leaf]) for leaf in range(leaves)]
    label_table = LabelSetTable.of(leaves, [*single, foreground])
    codes = torch.tensor([label_table.code(leaf_set) for leaf_set in single])[truth]
    labeled = rows if is_full else size.labeled
    if size.regime is Regime.COARSE:
        coarse = torch.where(truth > 0, label_table.code(foreground), label_table.code(single[0]))
        codes[labeled:] = coarse[labeled:]
    else:
        codes[labeled:] = 0
    slices = {regime: slice(0, 0) for regime in Regime}
    slices[size.regime] = slice(labeled, rows)
    slices[Regime.FULL] = slice(0, labeled)
    structures = len(distance_structures(scheme))
    known = torch.zeros((rows, structures), dtype=torch.bool)
    known[:labeled] = True
    made = {"signed_distance": torch.randn(rows, structures, *size.patch) * 10, "signed_distance_known": known}
    return Batch(
        image=torch.randn(rows, 1, *size.patch) + truth.unsqueeze(1),
        codes=codes.view(shape),
        label_sets=torch.from_numpy(label_table.array.copy()),
        rows=slices,
        case_ids=tuple(f"row {number}" for number in range(rows)),
        maps=made if maps else {},
    )


class Steps:
    """Training steps of one method on one batch."""

    def __init__(self, method: str, options: Mapping[str, Any], batch: Batch, study: Study, compute: Compute) -> None:
        torch.manual_seed(0)
        self.compute = compute
        self.batch = compute.place(batch)
        self.method = build_method(method, study, options).train()
        compute.place_method(self.method)
        self.optimizers = Optimizers(self.method, TrainingSettings(optimizer="sgd", learning_rate=1e-4))

    def step(self) -> float:
        """Do one step and return its seconds."""
        progress = Progress(step=int(LATE * 10_000), fraction=LATE)
        self._wait()
        start = time.perf_counter()
        self.optimizers.zero_grad()
        self.optimizers.set_learning_rate(progress)
        terms = self.method.losses(self.batch, progress)
        while True:
            with self.compute.autocast():
                found = next(terms, None)
            if found is None:
                break
            self.optimizers.backward(found.total(), found.group)
        self.optimizers.step(None)
        self.method.after_step(progress)
        self._wait()
        return time.perf_counter() - start

    def _wait(self) -> None:
        if self.compute.device.startswith("cuda"):
            torch.cuda.synchronize()


def peak_gib(device: str) -> float:
    """Return the largest memory so far."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 2**30
    # Linux counts in KiB, macOS in bytes.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform != "darwin" else 2**30)


def measure(row: Row) -> dict[str, Any]:
    """Return seconds of the steps, of the plain steps between them, and the peak memory, in this process."""
    torch.set_num_threads(row.threads)
    size, study = SIZES[row.size], study_of(SIZES[row.size])
    precision, channels_last = COMPUTES[row.compute]
    compute = Compute(device=row.device, precision=precision, channels_last=channels_last, threads=row.threads)
    card = card_of(row.method)
    if card.stages:
        study = replace(study, presence=presence_of(study, row.device))
    is_plain = row.method == "supervised"
    batch = batch_of(size, study.scheme, maps=card.maps, is_full=is_plain)
    before = peak_gib(row.device)
    found: dict[str, Any] = {"seconds": [], "plain": []}
    with ExitStack() as stack:
        own = Steps(row.method, resolve_options(card, row.preset, {}), batch, study, compute)
        stack.enter_context(fp32_where_tiny(own.method, compute))
        for _ in range(3):
            own.step()
        found["gib"] = peak_gib(row.device) - before
        options = resolve_options(card_of("supervised"), "paper", {})
        full = batch_of(size, study.scheme, maps=(), is_full=True)
        plain = own if is_plain else Steps("supervised", options, full, study, compute)
        stack.enter_context(fp32_where_tiny(plain.method, compute))
        plain.step()
        for _ in range(row.steps):
            found["seconds"].append(own.step())
            found["plain"].append(plain.step())
    return found


def usable(computes: Sequence[str], device: str) -> list[str]:
    """Return what this machine can compute in; for its children, set the limit of instructions that bf16 needs here."""
    if device != "cpu" or "bf16" not in computes:
        return list(computes)
    support = try_bf16()
    apply_limit(support)
    return [compute for compute in computes if compute != "bf16" or support.works]


def in_process(row: Row) -> dict[str, Any]:
    """Return what a child finds, or under "failed" the last line of what it said."""
    say(f"{row.size}: {row.method}, {row.preset}, {row.compute}")
    command = [sys.executable, str(HERE / Path(__file__).name), json.dumps(asdict(row))]
    done = subprocess.run(command, capture_output=True, text=True, env=child_environment(WAITING), check=False)
    if done.returncode:
        say(done.stderr)
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"ended {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    found = measure(from_json(Row, json.loads(sys.argv[1]), where="row"))
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
