"""Seconds and memory of one training step of every method, against the plain supervised step of the same network.

    python Testing/benchmarks/method_step_cost.py [--output method_step_cost] [--device cpu] [--quick]

At the sizes at which released code was measured: a paper's network, patch and rows; every method with the presets that
belong to that network, any other method with its defaults. A step is a real one (every yield of losses, backward
passes, optimizers, what follows the step) late in a training, when every term has its weight, on one random batch that
is already there. The plain step is that of the method "supervised" with every row of the same batch fully labeled.

Each row of the table is a process of its own. Its memory is the largest it held up to its third step, less what Python
and PyTorch held before (of a GPU: the largest PyTorch allocated). Then its steps and plain ones take turns, so that a
busy neighbor hits both; seconds are medians, the factor is the median over the turns. Each size is measured in fp32
with the usual memory format, and in bf16 with channels last.

Released seconds were measured on 2 CPU cores with AMX, fp32, torch 2.13, without data loading: compare only on such a
machine. Takes about an hour there; ``--quick`` takes small sizes and few steps, whose numbers say nothing about others.
Writes OUTPUT.md and OUTPUT.json after each row; the same command on the same machine and commit goes on where it ended.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from method_steps import COMPUTES, SIZES, Row, Size, in_process, usable
from reporting import ROOT, Cell, in_words, table

from SemiSegLib.config import read_json, to_json, write_atomically, write_json
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.methods.catalogue import Card
from SemiSegLib.runs.manifest import describe_machine

# Seconds and GiB of released code at these sizes, and what ran.
RELEASED: dict[tuple[str, str], tuple[float, float, str]] = {
    ("2d_24", "efficient_subclass"): (15.5, 4.4, "EfficientSubclassLearning, PC+SN+HM"),
    ("2d_8", "efficient_subclass"): (3.41, 1.7, "EfficientSubclassLearning, PC+SN+HM (as released 4.10 s)"),
    ("2d_24", "cross_pseudo_supervision"): (11.7, 7.0, "SSL4MIS"),
    ("3d_64", "supervised"): (2.11, 1.6, "V-Net of DTC"),
    ("3d_64", "dual_task_consistency"): (1.71, 1.6, "DTC"),
    ("3d_64", "uncertainty_aware_mean_teacher"): (4.02, 1.7, "UA-MT"),
    ("3d_64", "dual_task_mutual_learning"): (5.21, 2.4, "DTML"),
    ("3d_112", "dual_task_consistency"): (10.1, 5.1, "DTC"),
    ("3d_112", "uncertainty_aware_mean_teacher"): (22.7, 5.5, "UA-MT"),
    ("3d_112", "dual_task_mutual_learning"): (20.0, 8.6, "DTML, the least of 20 to 40 s"),
}


def presets_of(card: Card, size: Size) -> list[str]:
    """Return the presets of a method to be measured at a size."""
    own = [preset for preset, plan in card.plan.items() if plan.get("backbone") == size.backbone]
    if card.name == "supervised":
        return ["paper"]
    known = {other.backbone for other in SIZES.values()}
    has_size = any(plan.get("backbone") in known for plan in card.plan.values())
    return own if has_size else ["ours"]


def rows_of(options: argparse.Namespace) -> list[Row]:
    sizes = options.sizes or [name for name, size in SIZES.items() if size.is_quick == options.quick]
    steps = options.steps or (2 if options.quick else 5)
    computes = usable(options.compute, options.device)
    return [
        Row(size, card.name, preset, compute, options.device, options.threads, steps)
        for size in sizes
        for compute in computes
        for card in CARDS
        for preset in presets_of(card, SIZES[size])
        if (not options.methods or card.name in options.methods) and (not options.presets or preset in options.presets)
    ]


def cells(row: Row, found: Mapping[str, Any]) -> list[Cell]:
    """Return one line of the table."""
    names: list[Cell] = [row.method, row.preset, row.compute]
    if "failed" in found:
        return [*names, "failed", None, None, None, None, None, None]
    seconds = statistics.median(found["seconds"])
    spread = f"{in_words(float(min(found['seconds'])))} to {in_words(float(max(found['seconds'])))}"
    factor = statistics.median(own / plain for own, plain in zip(found["seconds"], found["plain"], strict=True))
    line = [*names, seconds, spread, found["gib"], factor]
    released = RELEASED.get((row.size, row.method))
    if released is None:
        return [*line, None, None, None]
    return [*line, released[0], released[1], released[0] / seconds if row.device == "cpu" else None]


COLUMNS = (
    "method",
    "preset",
    "computed in",
    "median s",
    "least to most s",
    "peak GiB",
    "times the plain step",
    "released code s",
    "released code GiB",
    "times faster than released",
)


def page(measured: list[tuple[Row, dict[str, Any]]], machine: Mapping[str, Any], command: str) -> str:
    """Return the Markdown page."""
    device = measured[0][0].device
    parts = ["# One training step of every method"]
    if any(SIZES[row.size].is_quick for row, _ in measured):
        parts.append(
            "A quick trial at small sizes: it shows that everything runs; its numbers say nothing about others."
        )
    for name in dict.fromkeys(row.size for row, _ in measured):
        lines = [cells(row, found) for row, found in measured if row.size == name]
        parts += [f"## {SIZES[name].words}", table(COLUMNS, lines)]
        parts += [f"Released {method}: {words}." for (size, method), (_, _, words) in RELEASED.items() if size == name]
    packages = ", ".join(f"{package} {version}" for package, version in machine["packages"].items())
    commits = ", ".join(dict.fromkeys(str(found.get("commit", machine["commit"])) for _, found in measured))
    parts.append(
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['system']}, with "
        f"{measured[0][0].threads} threads on the device {device}; Python {machine['python']}, {packages}; commit "
        f"{commits}. Seed 0. Seconds are medians; how each number is found stands at the top of the script. "
        "Released code ran in fp32 on 2 CPU cores with AMX."
    )
    parts.append(f"To repeat it, on a machine that does nothing else: `{command}`.")
    return "\n\n".join(parts) + "\n"


def kept(path: Path, machine: Mapping[str, Any]) -> dict[Row, dict[str, Any]]:
    """Return the rows that an earlier call measured on this machine; those that failed are tried again.

    Each row says of which commit it is.
    """
    if not path.exists():
        return {}
    data: Any = read_json(path)
    if _without_commit(data["machine"]) != _without_commit(to_json(machine)):
        return {}
    names = [field.name for field in fields(Row)]
    found = [line for line in data["rows"] if "failed" not in line]
    return {Row(**{name: line[name] for name in names}): line for line in found}


def _without_commit(machine: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in machine.items() if name != "commit"}


def describe(device: str) -> dict[str, Any]:
    """Return versions and hardware, without names of people, computers or folders."""
    command = ["git", "describe", "--always", "--dirty"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    machine = {**describe_machine(), "commit": done.stdout.strip() or "unknown"}
    if device.startswith("cuda"):
        machine["processor"] = torch.cuda.get_device_name(device)
    return machine


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("method_step_cost"), help="written with .md and .json")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small sizes; the numbers say nothing about others")
    parser.add_argument("--sizes", nargs="+", choices=SIZES)
    parser.add_argument("--methods", nargs="+", choices=[card.name for card in CARDS])
    parser.add_argument("--presets", nargs="+", help="measure only these")
    parser.add_argument("--compute", nargs="+", choices=COMPUTES, default=list(COMPUTES))
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, help="measured steps of each row")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    given = [word if not word.startswith("/") else Path(word).name for word in sys.argv[1:]]
    command = " ".join(["python", f"Testing/benchmarks/{Path(__file__).name}", *given])
    machine = describe(options.device)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    stem = options.output.name
    measured: list[tuple[Row, dict[str, Any]]] = []
    earlier = kept(options.output.with_name(f"{stem}.json"), machine)
    asked = rows_of(options)
    others = [(row, found) for row, found in earlier.items() if row not in asked]
    for row in asked:
        measured.append((row, earlier.get(row) or in_process(row) | {"commit": machine["commit"]}))
        # After every row, so that an hour's work is there when the next one ends it.
        there = [*measured, *((row, earlier[row]) for row in asked[len(measured) :] if row in earlier), *others]
        data = {"command": command, "machine": machine, "rows": [asdict(done) | found for done, found in there]}
        write_json(options.output.with_name(f"{stem}.json"), data)
        write_atomically(options.output.with_name(f"{stem}.md"), page(there, machine, command).encode())
    failed = [f"{row.method} at {row.size}: {found['failed']}" for row, found in measured if "failed" in found]
    if failed:
        raise SystemExit("\n".join(failed))


if __name__ == "__main__":
    main()
