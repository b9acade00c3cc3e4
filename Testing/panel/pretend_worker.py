"""A worker that trains nothing and says that it does, until it is asked to stop: ``python -m ... RUN --detached``."""

import sys
import time

from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.reporter import Reporter

# Should the test that started it end without a word, it does not stay for ever.
LONGEST_SECONDS = 300

run = RunFolder(sys.argv[1])
end = time.monotonic() + LONGEST_SECONDS
with run.lock(), Reporter(run, version="", owns_group="--detached" in sys.argv) as reporter:
    reporter.update(state="training", step=3, total_steps=10, fraction=0.3)
    while not run.stop_requested() and time.monotonic() < end:
        time.sleep(0.05)
    reporter.update(state="stopped", message="a model is saved")
