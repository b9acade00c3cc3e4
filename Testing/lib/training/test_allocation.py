"""A worker keeps the memory it frees, where the C library can."""

import platform
import subprocess
import sys

import pytest

MEASURE = """
import sys, numpy, resource
from SemiSegLib.training.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def touch():
    numpy.ones(40_000_000, dtype=numpy.uint8)
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has these settings")
def test_large_blocks_are_not_fetched_from_the_system_again():
    faults = {}
    for how in ("keep", "usual"):
        done = subprocess.run([sys.executable, "-c", MEASURE, how], capture_output=True, text=True, check=True)
        faults[how] = int(done.stdout)
    assert faults["keep"] < 0.1 * max(faults["usual"], 1000)
