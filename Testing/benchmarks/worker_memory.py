"""Peak memory of a run's worker with few and with many cases; it must not grow with their number.

    python Testing/benchmarks/worker_memory.py [--cases 20 400] [--repeats 3] [--method marginal] [--steps 60] [--json]

Each number is the largest resident memory (VmHWM) of the real worker, ``python -m SemiSegLib.worker`` on a run folder,
from checking and preparing the cases to the model and the report. Cases are built-in ones, half fine and half coarse;
validation cases are 4 more, whatever the number. Plan and settings (patch, batch, features, fp32, memory format,
threads) are fixed, so that nothing but the number of cases differs. Every run prepares its cases anew. Linux only.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reporting import Cell, Result, add_output_option, child_environment, say, show

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.config import read_json
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.process import WAITING
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings

PLAN = PlanSettings(
    dimensions=3, spacing_mm=(2.4, 1.1, 1.1), patch=(24, 40, 40), batch=2, features=(16, 32, 64, 128), memory_gib=4.0
)
VALIDATION = 4
POLL_SECONDS = 0.02


def peak_mib(process: int) -> float | None:
    """Return the largest resident memory of a living process so far, None once it has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    found = re.search(r"^VmHWM:\s+(\d+) kB$", text, re.MULTILINE)
    return None if found is None else int(found[1]) / 1024


def settings(steps: int) -> TrainingSettings:
    threads = min(2, os.cpu_count() or 1)
    return TrainingSettings(
        steps=steps,
        validate_every=max(1, steps // 2),
        device="cpu",
        precision="fp32",
        channels_last=True,
        threads=threads,
    )


def work(run: RunFolder) -> tuple[float, float]:
    """Let the worker do a run; return its peak in MiB and the seconds it took.

    The number only ever grows, so asking often enough finds it; what a process does in its last moments is small.
    """
    start = time.perf_counter()
    command = [sys.executable, "-m", run.worker_module, str(run.path), "--detached"]
    peak = 0.0
    with open(run.log_path, "wb") as log:
        environment = child_environment(WAITING)
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        try:
            while process.poll() is None:
                peak = peak_mib(process.pid) or peak
                time.sleep(POLL_SECONDS)
        finally:
            # Ctrl-C does not reach a session of its own.
            process.kill()
            process.wait()
    status = run.status()
    if process.returncode or status.state != "finished":
        raise SystemExit(f"the run ended as '{status.state}': {status.message}\n{run.log_path.read_text()[-2000:]}")
    return peak, time.perf_counter() - start


def measure(folder: Path, options: argparse.Namespace) -> dict[int, list[float]]:
    """Return the peaks in MiB by number of cases; they take turns."""
    for count in options.cases:
        say(f"writing {count} cases")
        write_cohort(
            folder / f"cohort-{count}",
            fine=count - count // 2,
            coarse=count // 2,
            partial=0,
            none=0,
            validation=VALIDATION,
        )
    peaks: dict[int, list[float]] = {count: [] for count in options.cases}
    plans = []
    for repeat in range(options.repeats):
        for count in options.cases:
            name = f"run-{count}-{repeat}"
            request = RunRequest(
                dataset=str(folder / f"cohort-{count}"),
                method=options.method,
                plan=PLAN,
                training=settings(options.steps),
                prepared_folder=str(folder / f"prepared-{name}"),
            )
            run = RunFolder.create(folder / "runs", request, name=name)
            peak, seconds = work(run)
            say(f"{count} cases: {peak:.1f} MiB in {seconds:.0f} s")
            peaks[count].append(peak)
            plans.append({**read_json(run.plan_path), "median_shape": None})
    if any(plan != plans[0] for plan in plans):
        raise SystemExit("the runs had different plans: their memory cannot be compared")
    return peaks


def result_of(peaks: dict[int, list[float]], options: argparse.Namespace) -> Result:
    base = statistics.median(peaks[options.cases[0]])
    rows: list[tuple[Cell, ...]] = []
    values: dict[str, float] = {}
    for count, found in peaks.items():
        peak = statistics.median(found)
        factor = peak / base
        values |= {f"{count} cases: peak MiB": peak, f"{count} cases: times the fewest": factor}
        rows.append((f"{count} cases", f"{peak:.1f}", ", ".join(f"{mib:.1f}" for mib in found), f"{factor:.3f}"))
    facts: dict[str, Cell] = {
        "cases": f"built-in, half fine and half coarse, and {VALIDATION} for validation",
        "plan": f"patch {' x '.join(map(str, PLAN.patch or ()))}, {PLAN.batch} rows, features "
        f"{'-'.join(map(str, PLAN.features or ()))}",
        "method": options.method,
        "computes on": f"cpu fp32, channels last, {settings(1).threads} threads",
        "steps": options.steps,
    }
    return Result(
        title="Largest resident memory of a run's worker",
        facts=facts,
        columns=("training cases", "median MiB", "each run, MiB", "times the fewest cases"),
        rows=rows,
        values=values,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, nargs="+", default=[20, 400])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--method", default="marginal")
    parser.add_argument("--steps", type=int, default=60)
    add_output_option(parser)
    options = parser.parse_args()
    if not Path("/proc/self/status").exists():
        raise SystemExit("this benchmark reads /proc, which Linux alone has")
    with tempfile.TemporaryDirectory() as name:
        peaks = measure(Path(name), options)
    show(result_of(peaks, options), as_json=options.json)


if __name__ == "__main__":
    main()
