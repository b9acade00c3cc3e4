"""Peak memory: of a training step against the plan's estimate, and of preparing and drawing with many cases.

    python Testing/benchmarks/memory_cost.py [--large] [--no-steps] [--cases 20 400] [--json]

Each number is the peak of a process of its own (of a step: its resident memory at most, less what it had before).
Steps with structures are those of dynamic heads, which answer each structure by itself; steps of methods are those of
two networks and of teachers.
``--large`` adds a 3 GiB step. The rows of cases must not grow with their number; worker_memory.py measures the same of
the whole worker.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from method_steps import Size, Steps, batch_of, study_of
from reporting import Cell, Result, add_output_option, child_environment, say, show

from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.source import BatchSource
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.catalogue import graphs_at_once
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.method import Progress, Study
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.networks.heads import LinearHead
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.memory import estimate_memory_gib
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.planning.planner import make_plan
from SemiSegLib.planning.topology import plan_topology
from SemiSegLib.runs.request import PlanSettings, TrainingSettings
from SemiSegLib.training.optimizers import Optimizers
from SemiSegLib.training.precision import Compute

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
    ("dodnet_unet", (48, 64, 48), 16, 1, 1),
    ("unetr", (64, 64, 64), 16, 1, 1),
    ("swin_unetr", (64, 64, 64), 16, 1, 1),
]
# The same with dynamic heads of so many structures.
STRUCTURE_STEPS = [
    ("plan_unet", (40, 56, 40), 16, 2, 2, 4),
    ("plan_unet", (40, 56, 40), 16, 2, 2, 12),
    ("plan_unet", (40, 56, 40), 16, 2, 2, 40),
    ("plan_unet", (192, 192), 16, 1, 4, 12),
]
# Backbone, patch, features of the first stage, stem, rows, of which half are labeled; method and its options.
METHOD_STEPS = [
    ("plan_unet", (48, 64, 48), 16, 1, 2, "supervised", {}),
    ("plan_unet", (48, 64, 48), 16, 1, 2, "mean_teacher", {}),
    ("plan_unet", (48, 64, 48), 16, 1, 2, "cross_pseudo_supervision", {}),
    ("plan_unet", (48, 64, 48), 16, 1, 2, "cross_pseudo_supervision", {"backward": "joint"}),
    ("plan_unet", (48, 64, 48), 16, 1, 2, "cross_pseudo_supervision", {"backward": "stacked"}),
    ("plan_unet", (48, 64, 48), 16, 1, 2, "dual_task_mutual_learning", {}),
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
    layout = torch.channels_last if plan.dimensions == 2 else torch.channels_last_3d
    head = LinearHead(backbone.feature_channels, 3, plan.dimensions)
    network = torch.nn.ModuleList([backbone, head])
    Compute(device="cpu", channels_last=True).place_method(network)
    optimizer = torch.optim.AdamW(network.parameters())
    image = torch.randn(plan.batch, 1, *plan.patch).to(memory_format=layout)
    labels = torch.randint(0, 3, (plan.batch, *plan.patch))
    for _step in range(2):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(backbone(image).map), labels)
        torch.autograd.backward(loss)
        optimizer.step()
    return peak_gib() - before


def measure_structures(plan: Plan, structures: int) -> float:
    """Return the peak of two training steps of dynamic heads in GiB, in this process."""
    torch.set_num_threads(1)
    before = peak_gib()
    scheme = LabelScheme(name="flat", structures=tuple(Structure(name=f"s{k}") for k in range(structures)))
    method = build_method("dynamic_head", Study(scheme=scheme, plan=plan), {}).train()
    compute = Compute(device="cpu", channels_last=True)
    compute.place_method(method)
    optimizer = torch.optim.AdamW(method.parameters())
    leaves = structures + 1
    table = LabelSetTable.of(leaves, [frozenset([leaf]) for leaf in range(leaves)])
    slices = dict.fromkeys(Regime, slice(0, 0)) | {Regime.FULL: slice(0, plan.batch)}
    batch = Batch(
        image=torch.randn(plan.batch, 1, *plan.patch),
        codes=torch.randint(1, leaves + 1, (plan.batch, *plan.patch)),
        label_sets=torch.from_numpy(table.array.copy()),
        rows=slices,
        case_ids=("row",) * plan.batch,
        maps={},
    )
    placed = compute.place(batch)
    for step in range(2):
        optimizer.zero_grad()
        for terms in method.losses(placed, Progress(step=step, fraction=0.5)):
            torch.autograd.backward(terms.total())
        optimizer.step()
    return peak_gib() - before


def measure_method(plan: Plan, name: str, options: Mapping[str, str]) -> float:
    """Return the peak of two training steps of a method in GiB, in this process."""
    torch.set_num_threads(1)
    size = Size(plan.network.backbone, plan.patch, plan.batch // 2, plan.batch // 2, Regime.NONE)
    study, card = replace(study_of(size), plan=plan), card_of(name)
    batch = batch_of(size, study.scheme, maps=card.maps, is_full=name == "supervised")
    before = peak_gib()
    compute = Compute(device="cpu", channels_last=True)
    steps = Steps(name, resolve_options(card, None, options), batch, study, compute)
    steps.optimizers = Optimizers(steps.method, TrainingSettings(optimizer="adamw"))
    for _step in range(2):
        steps.step()
    return peak_gib() - before


def estimate_method(plan: Plan, name: str, options: Mapping[str, str]) -> float:
    """Return the estimate of a training step of a method in GiB."""
    card = card_of(name)
    return estimate_memory_gib(plan, classes=2, graphs=graphs_at_once(card, resolve_options(card, None, options)))


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
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stdout)


def measure_one(kind: str, text: str) -> float:
    """Return one peak, in the process made for it."""
    values = json.loads(text)
    if kind == "step":
        backbone, patch, width, stem, rows, *structures = values
        plan = a_plan(backbone, tuple(patch), width, stem, rows)
        return measure_structures(plan, *structures) if structures else measure_step(plan)
    if kind == "method":
        return measure_method(a_plan(values[0], tuple(values[1]), *values[2:5]), *values[5:])
    return measure_cases(*map(Path, values))


def measure_all(options: argparse.Namespace) -> list[tuple[Cell, ...]]:
    """Return name, measured and estimated GiB of every step and number of cases."""
    rows: list[tuple[Cell, ...]] = []
    steps = [*STEPS, *([LARGE] if options.large else []), *STRUCTURE_STEPS] if options.steps else []
    for step in steps:
        backbone, patch, width, stem, batch, *structures = step
        name = f"step: {backbone}, {batch} x {' x '.join(map(str, patch))}, width {width}, stem {stem}"
        count = sum(structures)
        if count:
            name += f", {count} structures"
        say(name)
        estimate = estimate_memory_gib(a_plan(*step[:5]), classes=8 if count else 3, structures=count)
        rows.append((name, in_process("step", *step), estimate))
    for *layout, method, chosen in METHOD_STEPS if options.steps else []:
        name = " ".join([f"step: {method}", *(f"{key}={value}" for key, value in chosen.items())])
        say(name)
        measured = in_process("method", *layout, method, chosen)
        rows.append((name, measured, estimate_method(a_plan(*layout), method, chosen)))
    with tempfile.TemporaryDirectory() as parent:
        for count in options.cases:
            say(f"{count} cases")
            folder = Path(parent) / str(count)
            fine = count // 4
            write_cohort(folder / "cohort", fine=fine, coarse=count - fine, partial=0, none=0, validation=0)
            rows.append((f"{count} cases", in_process("cases", str(folder / "cohort"), str(folder / "cache")), None))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--cases", type=int, nargs="*", default=[20, 400])
    parser.add_argument("--steps", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    add_output_option(parser)
    options = parser.parse_args()
    if options.one:
        sys.stdout.write(str(measure_one(*options.one)))
        return
    rows = measure_all(options)
    result = Result(
        title="Peak memory of a process",
        facts={"torch": torch.__version__},
        columns=("", "measured GiB", "estimated GiB"),
        rows=rows,
        values={str(name): float(gib) for name, gib, _estimate in rows if gib is not None},
    )
    show(result, as_json=options.json)


if __name__ == "__main__":
    main()
