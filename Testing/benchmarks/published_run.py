"""The way from a command line to the page of a benchmark on a published data set."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from method_step_cost import describe
from published import SIZES, Benchmark
from published_page import numbers, page
from reporting import say

from SemiSegLib.cases.dataset import Dataset, Side
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.compare import compare
from SemiSegLib.comparison import Comparison
from SemiSegLib.config import to_json, write_atomically, write_json
from SemiSegLib.console import RunView


def parse(
    doc: str | None, name: str, keys: Sequence[str], words: Sequence[str] | None, *, sizes: Sequence[str] = SIZES
) -> argparse.Namespace:
    """Return what was typed; ``size`` and ``output`` are settled, ``command`` says it without folders.

    Args:
        doc: help text.
        name: of the benchmark.
        keys: of its lines.
        words: of the command line, or None for those of this process.
        sizes: it has; of a benchmark without any, ``size`` is "".
    """
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of the data set")
    parser.add_argument("--output", type=Path, help="folder of the runs; written with .md and .json after it too")
    if sizes:
        parser.add_argument("--size", choices=(*sizes, "auto"), default="auto", help="auto: published on a CUDA device")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=keys, help="train these lines; of the others show what is kept")
    parser.add_argument("--setting", nargs="+", default=[], metavar="NAME=VALUE", help="wins over size and lines")
    given = sys.argv[1:] if words is None else list(words)
    options = parser.parse_args(given)
    if not sizes:
        options.size = ""
    elif options.size == "auto":
        options.size = "published" if torch.cuda.is_available() else "reduced"
    options.output = options.output or Path(f"{name}_{options.size}" if sizes else name)
    shown = [Path(word).name if Path(word).is_absolute() else word for word in given]
    options.command = " ".join(["python", f"Testing/benchmarks/{name}.py", *shown])
    return options


def place_study(dataset: Dataset, folder: Path) -> Path:
    """Write the dataset with its sides beside links to its files, so that its own folder stays untouched.

    Where links are not allowed the files are copied.
    """
    folder.mkdir(parents=True, exist_ok=True)
    references = [file for case in dataset.cases for file in case.images.values()]
    references += [case.annotation.file for case in dataset.cases if case.annotation is not None]
    for name in sorted({Path(reference).parts[0] for reference in references}):
        _link(dataset.path(name).resolve(), folder / name)
    save_dataset(replace(dataset, root=folder), folder)
    return folder


def run(benchmark: Benchmark, options: argparse.Namespace) -> Comparison:
    """Train what is not there yet, and write the page and all numbers after each line."""
    output = options.output.absolute()
    asked = benchmark.asked(seeds=options.seeds, only=options.only, settings=options.setting)
    if options.setting:
        typed = "these win over size and lines: " + ", ".join(options.setting)
        benchmark = replace(benchmark, facts={**benchmark.facts, "settings typed by hand": typed})
    size = f", {benchmark.size} size" if benchmark.size else ""
    say(f"{benchmark.title}: {len(asked.only or asked.arms)} lines, {options.seeds} seeds{size}")
    for name, words in benchmark.facts.items():
        say(f"- {name}: {words}")
    folder = place_study(benchmark.study, output / "study")
    study = replace(benchmark.study, root=folder)
    machine = describe("cuda" if torch.cuda.is_available() else "cpu")

    def write(found: Comparison) -> None:
        data = {
            "command": options.command,
            "size": benchmark.size,
            "facts": benchmark.facts,
            "machine": machine,
            "test_side": [case.id for case in study.side(Side.TEST)],
            "fine_cases": list(found.fine_cases),
            "tables": [numbers(part, found) for part in benchmark.parts],
            "settings": to_json(found.settings),
            "scores": f"{output.name}/scores",
        }
        write_json(output.with_name(f"{output.name}.json"), data)
        text = page(benchmark, found, command=options.command, machine=machine)
        write_atomically(output.with_name(f"{output.name}.md"), text.encode())

    found = compare(study, folder, asked, output, view=RunView, on_result=write)
    say(f"{options.output.name}.md")
    return found


def _link(source: Path, target: Path) -> None:
    if target.is_symlink():
        target.unlink()
    elif target.exists():
        return
    try:
        target.symlink_to(source, target_is_directory=source.is_dir())
    except OSError:
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, target)
