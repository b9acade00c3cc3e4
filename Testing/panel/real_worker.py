"""Waiting for the real worker, in tests that start one."""

import time

from SemiSegModule import jobs
from Testing.host.interaction import process_events

# Another program may keep the processor busy; nothing here measures speed.
PATIENCE_SECONDS = 600


def wait_for(condition, what):
    """Wait with few looks, so that the worker has the processor."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE_SECONDS} s: {what}"
        process_events()
        time.sleep(0.1)


def has_ended(section):
    """Whether what a section of the panel watches is over, in whatever way."""
    return section.status is not None and section.status.state in jobs.ENDED_STATES
