"""Peak memory: of a training step against the plan's estimate, and of preparing and drawing with many cases.

    python Testing/benchmarks/memory_cost.py [--large] [--cases 20 400]

Each number is the peak of a process of its own (its resident memory at most, less what it had before). ``--large`` adds
a 3 GiB step. The second table must not grow with the number of cases.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from SemiSegLib.batches.source import BatchSource
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.memory import estimate_memory_gib
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.planning.planner import make_plan
from SemiSegLib.planning.topology import plan_topology
from SemiSegLib.runs.request import PlanSettings

# Backbone, patch, features of the first stage, stem, rows.
STEPS = [
    ("plan_unet", (40, 56, 40), 32, 2, 2),
    ("plan_unet", (40, 56, 40), 16, 2, 4),
    ("plan_unet", (40, 56, 40), 32, 1, 1),
    ("plan_unet", (64, 64, 64), 16, 1, 1),
    ("plan_unet", (256, 224), 32, 1, 2),
    ("paper_unet", (256, 224), 16, 1, 2),
    ("paper_unet", (48, 64, 48), 16, 1, 1),
    ("vnet", (48, 64, 48), 16, 1, 1),
    ("basic_unet", (48, 64, 48), 16, 1, 1),
    ("unetr", (64, 64, 64), 16, 1, 1),
    ("swin_unetr", (64, 64, 64), 16, 1, 1),
]
LARGE = ("plan_unet", (96, 96, 96), 32, 1, 1)


def peak_gib() -> float:
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform != "darwin" else 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def a_plan(backbone: str, patch: tuple[int, ...], width: int, stem: int, rows: int) -> Plan:
    spacing, stems = (1.0,) * len(patch), (stem,) * len(patch)
    topology = plan_topology(patch, spacing, stem_stride=stems)
    network = NetworkPlan(
        backbone=backbone,
        features=tuple(min(width * 2**i, 320) for i in range(len(topology.kernels))),
        strides=topology.strides,
        kernels=topology.kernels,
        stem_stride=stems,
    )
    return Plan(
        dimensions=len(patch),
        channels=(ChannelPlan(role="image"),),
        axis_order=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        patch=patch,
        batch=rows,
        network=network,
    )


def measure_step(plan: Plan) -> float:
    """Return the peak of two training steps in GiB, in this process."""
    torch.set_num_threads(1)
    before = peak_gib()
    backbone = build_backbone(plan.network, in_channels=1, dimensions=plan.dimensions, patch=plan.patch)
    convolution, layout = torch.nn.Conv3d, torch.channels_last_3d
    if plan.dimensions == 2:
        convolution, layout = torch.nn.Conv2d, torch.channels_last
    head = convolution(backbone.feature_channels, 3, 1)
    network = torch.nn.ModuleList([backbone, head]).to(memory_format=layout)
    optimizer = torch.optim.AdamW(network.parameters())
    image = torch.randn(plan.batch, 1, *plan.patch).to(memory_format=layout)
    labels = torch.randint(0, 3, (plan.batch, *plan.patch))
    for _step in range(2):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(head(backbone(image).map), labels).backward()
        optimizer.step()
    return peak_gib() - before


def measure_cases(folder: Path, cache: Path) -> float:
    """Return the peak of this process in GiB after planning, preparing and drawing 300 batches."""
    torch.set_num_threads(1)
    dataset = load_dataset(folder)
    plan = make_plan(fingerprint(dataset), dataset, PlanSettings(), device="cpu")
    store = PreparedStore(cache, dataset, plan)
    store.prepare()
    shares = {"full": 0.5, "coarse": 0.5}
    source = BatchSource(store, dataset.cases, plan, composition=shares, seed=0, augmentation="full")
    for step in range(300):
        source.batch(step)
    return peak_gib()


def in_process(kind: str, *arguments: object) -> float:
    """Return what this file measures in a process of its own."""
    command = [sys.executable, __file__, "--one", kind, json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


def show(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--cases", type=int, nargs="*", default=[20, 400])
    parser.add_argument("--steps", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        kind, text = arguments.one
        values = json.loads(text)
        if kind == "step":
            backbone, patch, *rest = values
            show(str(measure_step(a_plan(backbone, tuple(patch), *rest))))
        else:
            show(str(measure_cases(*map(Path, values))))
        return
    if arguments.steps:
        show(f"{'step of':38} {'measured':>9} {'estimated':>9}  GiB")
        for step in [*STEPS, *([LARGE] if arguments.large else [])]:
            estimate = estimate_memory_gib(a_plan(*step), classes=3)
            show(f"{step!s:38} {in_process('step', *step):9.3f} {estimate:9.3f}")
    with tempfile.TemporaryDirectory() as name:
        for count in arguments.cases:
            folder = Path(name) / str(count)
            fine = count // 4
            write_cohort(folder / "cohort", fine=fine, coarse=count - fine, partial=0, none=0, validation=0)
            gib = in_process("cases", str(folder / "cohort"), str(folder / "cache"))
            show(f"{count:4} cases: peak {gib:.3f} GiB")


if __name__ == "__main__":
    main()
