"""How somebody waits for work that takes longer than an answer may take: told how far it is, answered meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

import slicer

T = TypeVar("T")

# A tenth of the time after which a person notices that a click is not answered.
ANSWER_SECONDS = 0.02


def atOnce(work: Callable[[], T]) -> T:
    """Return what a work returns; nothing else happens meanwhile. For scripts and the Python console."""
    return work()


def keepAnswering(work: Callable[[], T]) -> T:
    """Return what a work returns, done in a thread while Slicer goes on answering clicks and drawing its views.

    Args:
        work: touches arrays and files only: no node, no widget, nothing else of Slicer's. Whoever calls sees to it
            that a person cannot begin the same once more meanwhile.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="semiseg") as threads:
        future = threads.submit(work)
        while True:
            slicer.app.processEvents()
            if wait([future], timeout=ANSWER_SECONDS).done:
                return future.result()


def _sayNothing(_done: int, _count: int, _name: str) -> None:
    """Tell nobody."""


def _doNothing() -> None:
    """Be over at once."""


@dataclass(frozen=True)
class Waiting:
    """How somebody waits.

    Attributes:
        tell: called with cases done, cases in all, and the case that comes next.
        apart: called with a work that touches no object of Slicer's; does it and returns what it returns.
    """

    tell: Callable[[int, int, str], None] = _sayNothing
    apart: Callable[[Callable[[], Any]], Any] = atOnce

    def answer(self) -> None:
        """Let Slicer answer between two works that touch its objects, and so cannot be done apart.

        Whatever a person can do meanwhile may have been done afterwards: nodes may have changed, or left the scene.
        """
        self.apart(_doNothing)
