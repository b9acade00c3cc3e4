"""Everything that the documentation says about cost, in one table: measured with one command on one machine.

    python Testing/benchmarks/costs.py [DATASET] [--output Resources/Documentation/costs] [--quick]

Runs data_cost.py, step_cost.py, worker_memory.py and metrics_cost.py one after the other, each in a process of its own,
and writes OUTPUT.md (the table, what it was measured with, the command lines) and OUTPUT.json (all numbers). Takes
about 15 minutes on 2 cores that nothing else uses; a busy neighbor makes the numbers worthless. ``--quick`` does the
least of everything: it shows that it runs, its numbers mean nothing.
"""

import argparse
import importlib.metadata
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from reporting import HERE, ROOT, Cell, Result, child_environment, in_words, markdown, percent, say, table

from SemiSegLib.config import write_atomically, write_json
from SemiSegLib.runs.manifest import describe_machine

TINY = ("--cases", "4", "--patch", "16", "16", "16", "--batch", "2", "--features", "8", "16")
QUICK = {
    "data_cost.py": (*TINY, "--rounds", "1", "--steps", "2", "--warmup", "1"),
    "step_cost.py": (*TINY, "--rounds", "1", "--steps", "2", "--warmup", "1"),
    "worker_memory.py": ("--cases", "2", "4", "--steps", "2", "--repeats", "1"),
    "metrics_cost.py": ("--repeats", "1"),
}
TAKES_DATASET = ("data_cost.py", "step_cost.py")
# How many times longer than our step a bare MONAI loop is to take.
AIM = 1.5


@dataclass(frozen=True)
class Measured:
    """One benchmark that was run: its command line as a reader may repeat it, seconds, and its result."""

    command: str
    seconds: float
    result: Result


def run(script: str, options: argparse.Namespace) -> Measured:
    given = QUICK[script] if options.quick else ()
    words = [script, *([str(options.dataset)] if options.dataset and script in TAKES_DATASET else []), *given]
    shown = [script, *([_shown(options.dataset)] if options.dataset and script in TAKES_DATASET else []), *given]
    command = f"python Testing/benchmarks/{' '.join(shown)}"
    say(f"== {command}")
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, str(HERE / words[0]), *words[1:], "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env=child_environment(),
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{script} failed; its message stands above")
    result = Result(**json.loads(done.stdout))
    return Measured(command, time.perf_counter() - start, result)


def rows_of(values: Mapping[str, Mapping[str, float]]) -> list[Sequence[Cell]]:
    """Return the rows of the one table, from the values of each script."""
    makers = {
        "data_cost.py": _data_rows,
        "step_cost.py": _step_rows,
        "worker_memory.py": _memory_rows,
        "metrics_cost.py": _metric_rows,
    }
    return [row for script, make in makers.items() for row in make(values[script])]


def _data_rows(data: Mapping[str, float]) -> list[Sequence[Cell]]:
    thread, inline = data["batch made in a thread: mean s"], data["batch made before the step: mean s"]
    return [
        ("Data and augmentation, share of a step", percent(data["share in a thread"]), "", "", "at most 10 %"),
        ("of it waiting for the batch", percent(data["waiting share in a thread"]), "", "", ""),
        (
            "A batch alone on one thread, of a step",
            percent(data["batch alone of a step in a thread"]),
            f"{_seconds(data['a batch alone, on one thread: mean s'])} of {_seconds(thread)}",
            "",
            "",
        ),
        (
            "Step with its batch made in a thread",
            _seconds(thread),
            f"made before the step: {_seconds(inline)}",
            _factor(inline / thread),
            "",
        ),
    ]


def _step_rows(step: Mapping[str, float]) -> list[Sequence[Cell]]:
    ours, alone = _seconds(step["ours: median s"]), _seconds(step["step alone, ours: median s"])

    def row(name: str, mine: str, words: str, loop: str, aim: str = "") -> Sequence[Cell]:
        low, high = step[f"{loop}: least factor"], step[f"{loop}: largest factor"]
        factor = f"{_factor(step[f'{loop}: factor'])} ({low:.2f} to {high:.2f})"
        return name, mine, f"{words}: {_seconds(step[f'{loop}: median s'])}", factor, aim

    return [
        row("Step, end to end", ours, "bare MONAI loop", "MONAI", f"at least {AIM} times"),
        row("Step, end to end", ours, "the same without augmentation", "MONAI without augmentation"),
        row("Step on a batch already there", alone, "bare MONAI loop", "step alone, MONAI"),
        row("Step on a batch already there", alone, "ours as torch comes", "step alone, ours as torch comes"),
    ]


def _memory_rows(memory: Mapping[str, float]) -> list[Sequence[Cell]]:
    counts = [name.split(":")[0] for name in memory if name.endswith("peak MiB")]
    few, many = counts[0], counts[-1]
    return [
        (
            f"Largest memory of the worker, {many}",
            f"{memory[f'{many}: peak MiB']:.0f} MiB",
            f"{few}: {memory[f'{few}: peak MiB']:.0f} MiB",
            f"{memory[f'{many}: times the fewest']:.3f} times as much",
            "within 5 %",
        )
    ]


def _metric_rows(metrics: Mapping[str, float]) -> list[Sequence[Cell]]:
    ours = metrics["ours: HD, both HD95, ASSD: median s"]
    return [
        (
            "HD, HD95, ASSD of one volume",
            _seconds(ours),
            f"{other}: {_seconds(metrics[f'{other}: HD, HD95, ASSD: median s'])}",
            _factor(metrics[f"{other}: HD, HD95, ASSD: times ours"]),
            aim,
        )
        for other, aim in (("MONAI", "faster than MONAI"), ("medpy", ""))
    ]


def _seconds(value: float) -> str:
    return f"{in_words(float(value))} s"


def _factor(value: float) -> str:
    return f"{value:.2f} times"


def page(measured: Mapping[str, Measured], machine: Mapping[str, Any], command: str, *, quick: bool) -> str:
    """Return the Markdown page."""
    rows = rows_of({script: found.result.values for script, found in measured.items()})
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    parts = [
        "# Costs",
        "A trial run with next to no steps: these numbers mean nothing." if quick else "",
        table(("what", "ours", "compared with", "the other takes", "aim"), rows),
        remarks(measured["step_cost.py"].result, announces_amx=machine["announces_amx"]),
        "Seconds are medians, of data and augmentation means without the slowest tenth; in brackets the least and the "
        "largest factor of the rounds. How each number is found stands at the top of its script.",
        f"Measured on {machine['processor']}, {machine['cores']} cores, {machine['system']}; Python "
        f"{machine['python']}, {packages}; commit {machine['commit']}. Other "
        "versions may plan other patches and networks for the same data, so that their numbers differ.",
        f"To repeat it, on a machine that does nothing else: `{command}`.",
    ]
    for found in measured.values():
        parts += [f"## {found.result.title}", f"`{found.command}` ({found.seconds:.0f} s)"]
        parts.append(markdown(found.result).partition("\n\n")[2].strip())
    return "\n\n".join(part for part in parts if part) + "\n"


def remarks(step: Result, *, announces_amx: bool) -> str:
    """Return what must be known to read the table: why an aim was missed, and what a share below 0 means.

    Args:
        step: of step_cost.py.
        announces_amx: whether the CPU says that it has AMX tiles.
    """
    words = []
    if step.values["MONAI: factor"] < AIM:
        words.append(f"The aim of {AIM} times a bare MONAI loop was not reached on this machine")
        if "cpu fp32" in str(step.facts["ours computes on"]):
            words[0] += ": it announces AMX but cannot run bf16 with it, so both" if announces_amx else ": both"
            words[0] += (
                " sides compute in fp32, and what is left is the memory format, memory that is kept between steps, and "
                "batches made beside the step"
            )
    words.append("A share below 0 means: no longer than with the batch already there, within the noise")
    return ". ".join(words) + "."


def describe() -> dict[str, Any]:
    """Return versions and hardware, without names of people, computers or folders."""
    machine = describe_machine()
    machine["announces_amx"] = bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())
    machine["packages"] = {**machine["packages"], "MedPy": importlib.metadata.version("medpy")}
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {**machine, "commit": done.stdout.strip() or "unknown"}


def _shown(path: Path) -> str:
    """Return a path as others may see it: one below this folder as it is, of any other only its name."""
    return path.resolve().name if path.is_absolute() or ".." in path.parts else path.as_posix()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", nargs="?", type=Path, help="dataset folder; without it the built-in cohort is used")
    parser.add_argument("--output", type=Path, default=Path("costs"), help="written with .md and .json after it")
    parser.add_argument("--quick", action="store_true", help="the least of everything; the numbers mean nothing")
    options = parser.parse_args()
    words = ["costs.py", *([_shown(options.dataset)] if options.dataset else [])]
    words += ["--output", _shown(options.output), *(["--quick"] if options.quick else [])]
    command = f"python Testing/benchmarks/{' '.join(words)}"
    options.output.parent.mkdir(parents=True, exist_ok=True)
    machine = describe()
    measured = {script: run(script, options) for script in QUICK}
    text = page(measured, machine, command, quick=options.quick)
    stem = options.output.name
    results = {script: vars(found) | {"result": vars(found.result)} for script, found in measured.items()}
    write_json(
        options.output.with_name(f"{stem}.json"), {"command": command, "machine": machine, "benchmarks": results}
    )
    write_atomically(options.output.with_name(f"{stem}.md"), text.encode())
    say(f"{_shown(options.output)}.md")


if __name__ == "__main__":
    main()
