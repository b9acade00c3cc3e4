"""Small work with files, done beside the panel: a folder on a network drive may take seconds to answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, Generic, TypeVar

import qt

T = TypeVar("T")

# So long is a quick work waited for: what a local folder says is there before anything else is drawn.
MOMENT_SECONDS = 0.03
_POLL_MILLISECONDS = 15
# A folder that has not answered for so long keeps nothing else waiting.
PATIENCE_SECONDS = 5.0


class Aside(Generic[T]):
    """Does one work at a time in a thread.

    Python waits at its end for the threads of an executor, and so would Slicer for a network drive that is gone. These
    are let go.

    Args:
        onDone: called with what a work returned, in the thread that asked: at once if the work was quick, else from
            the event loop. Works touch files only, and raise nothing.
        makeTimer: makes a timer with the interface of qt.QTimer.
    """

    def __init__(self, onDone: Callable[[T], None], makeTimer: Callable[[], Any] = qt.QTimer) -> None:
        self._onDone = onDone
        self._running: Future[tuple[T, float]] | None = None
        self._isQuick = True
        self._about: object = None
        self._begun = 0.0
        self._timer = makeTimer()
        self._timer.setInterval(_POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._look)

    @property
    def isBusy(self) -> bool:
        """Whether a work is being done."""
        return self._running is not None

    def ask(self, work: Callable[[], T], *, about: object = None, isAwaited: bool = True) -> None:
        """Have a work done.

        Args:
            work: what to do; nothing else may be under way.
            about: what it looks at, see ``letGo``.
            isAwaited: whether it is waited for a moment, if the one before was done within one.
        """
        self._running, self._about, self._begun = Future(), about, time.monotonic()
        Thread(target=_do, args=(work, self._running), name="semiseg-aside", daemon=True).start()
        if isAwaited and self._isQuick and wait([self._running], timeout=MOMENT_SECONDS).done:
            self._take()
        else:
            self._timer.start()

    def letGo(self, about: object) -> None:
        """Forget a work that looks at something else and has taken long: a drive that is gone may never answer."""
        if self.isBusy and about != self._about and time.monotonic() > self._begun + PATIENCE_SECONDS:
            self.close()

    def close(self) -> None:
        """Wait for nothing any more; a work that goes on ends by itself and is forgotten."""
        self._timer.stop()
        self._running = None

    def _look(self) -> None:
        if self._running is None:
            self._timer.stop()
        elif self._running.done():
            self._take()

    def _take(self) -> None:
        self._timer.stop()
        done, self._running = self._running, None
        result, seconds = done.result()
        self._isQuick = seconds < MOMENT_SECONDS
        self._onDone(result)


def quickly(work: Callable[[], T], otherwise: T) -> T:
    """Return what a work with files returns if it is done within a moment, else something else; nobody waits longer.

    Args:
        work: touches files only.
        otherwise: what to go on with meanwhile; the work ends by itself and is forgotten.
    """
    answer: Future[tuple[T, float]] = Future()
    Thread(target=_do, args=(work, answer), name="semiseg-aside", daemon=True).start()
    return answer.result()[0] if wait([answer], timeout=MOMENT_SECONDS).done else otherwise


def _do(work: Callable[[], T], answer: Future[tuple[T, float]]) -> None:
    begin = time.monotonic()
    try:
        answer.set_result((work(), time.monotonic() - begin))
    except Exception as error:  # noqa: BLE001 - raised again in the thread that asks for the result
        answer.set_exception(error)
