"""Memory and seconds of cross pseudo supervision on the same work: joint, sequential, stacked, and one network alone.

    python Testing/benchmarks/cps_cost.py [--device cpu|cuda] [--output cps_cost] [--rounds 2] [--steps 3] [--quick]

One network alone is trained on a batch whose rows are all labeled; the two networks of the preset "paper" on the same
images, half of them without labels, so every way computes every row. The ways differ in the option "backward" alone:
both networks' graphs at once ("joint"), one after the other with one pass more ("sequential"), or the two computed
side by side by torch.func ("stacked"). The gradients are the same (a test of the library compares them).

On a GPU the sizes are those of paper 001: BasicUNet and UNETR, 128 x 128 x 128, 2 + 2 rows. On a CPU they are reduced,
and the page says so; the fewer voxels, the more a second network's weights and Adam moments (16 bytes a weight) count
beside activations, most of all for UNETR's 102 million weights.

Each number comes from processes of their own, one for each way and round, in turns; seconds are the median of all steps
after two that do not count. Memory is the largest a process held, less what Python and PyTorch held before, and is
measured twice on Linux: in a process whose C library gives every large block back at once, so that it is what the step
needs ("peak"), and in the one that is timed, whose C library keeps and reuses blocks as it likes ("resident"). On a GPU
it is the largest that PyTorch allocated. Writes OUTPUT.md and OUTPUT.json.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from method_step_cost import describe
from method_steps import COMPUTES, Size, Steps, batch_of, peak_gib, study_of
from reporting import Cell, child_environment, in_words, say, table

from SemiSegLib.config import from_json, write_atomically, write_json
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.runs.process import WAITING
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.optimizers import Optimizers
from SemiSegLib.training.precision import Compute

SINGLE = "single network"
WAYS = (SINGLE, "joint", "sequential", "stacked")
WARMUP = 2
# glibc gives blocks from this size on, in bytes, back to the system as soon as they are free.
GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}
SIZES = {
    "basic_unet_128": Size("basic_unet", (128, 128, 128), 2, 2, Regime.NONE),
    "unetr_128": Size("unetr", (128, 128, 128), 2, 2, Regime.NONE),
    "basic_unet_64": Size("basic_unet", (64, 64, 64), 1, 1, Regime.NONE),
    "unetr_64": Size("unetr", (64, 64, 64), 1, 1, Regime.NONE),
    "quick": Size("basic_unet", (16, 16, 32), 1, 1, Regime.NONE, is_quick=True),
}
COLUMNS = (
    "way",
    "median s a step",
    "least to most s",
    "times the single network",
    "peak GiB",
    "times the single network",
    "resident GiB",
    "times the single network",
)
PUBLISHED = ("basic_unet_128", "unetr_128")
REDUCED = ("basic_unet_64", "unetr_64")


@dataclass(frozen=True)
class Row:
    """What one child measures."""

    size: str
    way: str
    compute: str
    device: str
    threads: int
    steps: int


def measure(row: Row) -> dict[str, Any]:
    """Return the seconds of each step and the peak memory, in this process."""
    torch.set_num_threads(row.threads)
    size = SIZES[row.size]
    study = study_of(size)
    # The norm of paper 001's networks.
    study = replace(study, plan=replace(study.plan, network=replace(study.plan.network, norm="instance")))
    precision, channels_last = COMPUTES[row.compute]
    compute = Compute(device=row.device, precision=precision, channels_last=channels_last, threads=row.threads)
    is_single = row.way == SINGLE
    method = "supervised" if is_single else "cross_pseudo_supervision"
    # The same loss for both: paper 001's Dice.
    options = resolve_options(
        card_of(method), "paper_001" if is_single else "paper", {} if is_single else {"backward": row.way}
    )
    batch = batch_of(size, study.scheme, maps=(), is_full=is_single)
    before = peak_gib(row.device)
    steps = Steps(method, options, batch, study, compute)
    steps.optimizers = Optimizers(steps.method, TrainingSettings(optimizer="adam", learning_rate=1e-4))
    seconds = [steps.step() for _ in range(WARMUP + row.steps)][WARMUP:]
    return {"seconds": seconds, "gib": peak_gib(row.device) - before}


def in_process(row: Row, extra: Mapping[str, str]) -> dict[str, Any]:
    """Return what a child with extra variables finds, or under "failed" the last line of what it said."""
    command = [sys.executable, __file__, "--one", json.dumps(asdict(row))]
    environment = child_environment({**WAITING, **extra})
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        say(done.stderr)
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"ended {done.returncode}"}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure_size(name: str, compute: str, options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return for each way its seconds of all rounds and its memory, or why it failed."""
    found: dict[str, dict[str, Any]] = {way: {"seconds": [], "gib": [], "resident_gib": []} for way in WAYS}
    for number in range(options.rounds):
        for way, own in found.items():
            if "failed" in own:
                continue
            say(f"{name}, {compute}, round {number + 1} of {options.rounds}: {way}")
            _play(Row(name, way, compute, options.device, options.threads, options.steps), own)
    return {way: _summed_up(own, found[SINGLE]) for way, own in found.items()}


def _play(row: Row, own: dict[str, Any]) -> None:
    """Do one round of a way and note what it finds."""
    timed = in_process(row, {})
    held = in_process(replace(row, steps=1), GIVE_BACK) if row.device == "cpu" and "failed" not in timed else timed
    if "failed" in held:
        own["failed"] = held["failed"]
        return
    own["seconds"] += timed["seconds"]
    own["resident_gib"].append(timed["gib"])
    own["gib"].append(held["gib"])


def _summed_up(own: Mapping[str, Any], single: Mapping[str, Any]) -> dict[str, Any]:
    if "failed" in own:
        return {"failed": own["failed"]}
    summary = dict(own)
    for name in ("seconds", "gib", "resident_gib"):
        summary[f"median_{name}"] = statistics.median(own[name])
        if "failed" not in single:
            summary[f"times_{name}"] = summary[f"median_{name}"] / statistics.median(single[name])
    return summary


def cells(way: str, found: Mapping[str, Any]) -> list[Cell]:
    if "failed" in found:
        return [way, "failed", *[None] * (len(COLUMNS) - 2)]
    spread = f"{in_words(float(min(found['seconds'])))} to {in_words(float(max(found['seconds'])))}"
    numbers = [found["median_seconds"], spread, found.get("times_seconds"), found["median_gib"], found.get("times_gib")]
    return [way, *numbers, found["median_resident_gib"], found.get("times_resident_gib")]


def page(
    measured: Mapping[tuple[str, str], Mapping[str, Any]], machine: Mapping[str, Any], command: str, how: str
) -> str:
    """Return the Markdown page; ``how`` names device, threads, rounds and steps."""
    parts = ["# Cross pseudo supervision: memory and time on the same work"]
    names = list(dict.fromkeys(name for name, _ in measured))
    if any(SIZES[name].is_quick for name in names):
        parts.append("A quick trial at a small size: it shows that everything runs; its numbers say nothing.")
    elif any(name in REDUCED for name in names):
        parts.append("Reduced size: paper 001 trains 128 x 128 x 128 voxels and 2 + 2 rows on a GPU.")
    for (name, compute), found in measured.items():
        parts.append(f"## {SIZES[name].words}, {compute}{' with channels last' if COMPUTES[compute][1] else ''}")
        parts.append(table(COLUMNS, [cells(way, found[way]) for way in WAYS]))
        parts += [f"{way}: {own['failed']}" for way, own in found.items() if "failed" in own]
    packages = ", ".join(f"{package} {version}" for package, version in machine["packages"].items())
    parts.append(
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['system']}, {how}; Python "
        f"{machine['python']}, {packages}; commit {machine['commit']}. How each number is found stands at the top of "
        "the script."
    )
    parts.append(f"To repeat it, on a machine that does nothing else: `{command}`.")
    return "\n\n".join(parts) + "\n"


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("cps_cost"), help="written with .md and .json after it")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, help="published ones on a GPU, reduced ones on a CPU")
    parser.add_argument("--compute", nargs="+", choices=COMPUTES, default=["fp32"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each round")
    parser.add_argument("--quick", action="store_true", help="a small size and few steps; the numbers say nothing")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    options = parsed()
    if options.one:
        sys.stdout.write(f"{json.dumps(measure(from_json(Row, json.loads(options.one), where='row')))}\n")
        return
    if options.quick:
        options.rounds, options.steps = 1, 1
    published = PUBLISHED if options.device.startswith("cuda") else REDUCED
    sizes = options.sizes or (("quick",) if options.quick else published)
    given = [word if not word.startswith("/") else Path(word).name for word in sys.argv[1:]]
    command = " ".join(["python", f"Testing/benchmarks/{Path(__file__).name}", *given])
    measured = {(name, compute): measure_size(name, compute, options) for name in sizes for compute in options.compute}
    machine = describe(options.device)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    stem = options.output.name
    results = [{"size": name, "compute": compute, "ways": found} for (name, compute), found in measured.items()]
    data = {"command": command, "machine": machine, "device": options.device, "threads": options.threads}
    write_json(options.output.with_name(f"{stem}.json"), {**data, "results": results})
    how = f"device {options.device}, {options.threads} threads, {options.rounds} rounds of {options.steps} steps"
    write_atomically(options.output.with_name(f"{stem}.md"), page(measured, machine, command, how).encode())
    if any("failed" in own for found in measured.values() for own in found.values()):
        raise SystemExit("a way failed; its message stands above")


if __name__ == "__main__":
    main()
