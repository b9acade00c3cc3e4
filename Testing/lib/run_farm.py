"""Runs of the worker in processes that cost little: one child imports everything once and is copied for each run."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings

ROOT = Path(__file__).resolve().parents[2]
EVERY_STEP = TrainingSettings(
    steps=10, precision="fp32", channels_last=False, threads=1, deterministic=True, checkpoint_seconds=0.0
)

# Each line is "RUN SECONDS": a copy of this process works on the run with flushes that take so long.
FARM = """
import os, sys, time
from pathlib import Path
from SemiSegLib import worker
from SemiSegLib.training import checkpoints
# The first optimizer imports it, which takes longer than a tiny training.
import torch._dynamo
real = checkpoints.flush
print("ready", flush=True)
for line in sys.stdin:
    path, seconds = line.rstrip("\\n").rsplit(" ", 1)
    child = os.fork()
    if child == 0:
        def slow(descriptor):
            time.sleep(float(seconds))
            real(descriptor)
        checkpoints.flush = slow
        os._exit(worker.main([path]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Farm:
    """A process that works on runs, one at a time, each in a fresh copy of itself."""

    def __init__(self):
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", FARM],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout.readline() == "ready\n"

    def work(self, run, *, kill_after=None, flush_seconds=0.0):
        """Work on a run and return the exit code; after so many seconds it is killed, as by a power cut."""
        self.process.stdin.write(f"{run.path} {flush_seconds}\n")
        self.process.stdin.flush()
        child = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            # On a fast machine the worker may be done before its time to die has come.
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        return int(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def a_cohort(folder, **counts):
    """Write a tiny cohort: two fine cases, one coarse, one without labels, one for validation."""
    usual = {"fine": 2, "coarse": 1, "partial": 0, "none": 1, "validation": 1, "size": (9, 15, 13)}
    write_cohort(folder, **{**usual, **counts})
    return folder


def a_request(data, **changes):
    """Return a request for a training of a second."""
    training = replace(EVERY_STEP, **changes.pop("training", {}))
    plan = PlanSettings(patch=(8, 16, 16), batch=2, features=(4, 8))
    usual = {"dataset": str(data), "method": "marginal", "plan": plan, "training": training}
    return RunRequest(**{**usual, **changes})


def a_run(parent, data, **changes):
    return RunFolder.create(parent, a_request(data, **changes))


def same_weights(first, second):
    one, two = load_file(first.model_path), load_file(second.model_path)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
