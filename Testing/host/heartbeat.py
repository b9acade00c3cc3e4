"""A heart that beats in the event loop, to see how long somebody kept the loop from everything else."""

import time
from typing import Any

from PySide6 import QtCore


class Heartbeat:
    """Beats from `with` on; the first pause begins there and the last one ends with it.

    Args:
        milliseconds: from beat to beat, if nobody keeps the loop busy.

    Attributes:
        beats: how many there were.
        longest_pause: the longest time between two beats, in seconds.
        longest_work: processor time of this thread between two beats, in seconds; other programs do not lengthen it.
    """

    def __init__(self, milliseconds: int) -> None:
        self.beats, self.longest_pause, self.longest_work = 0, 0.0, 0.0
        self._timer = QtCore.QTimer()
        self._timer.setInterval(milliseconds)
        self._timer.setTimerType(QtCore.Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._beat)

    def __enter__(self) -> "Heartbeat":
        self._last = time.perf_counter(), time.thread_time()
        self._timer.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._timer.stop()
        self._beat()

    def __str__(self) -> str:
        pause, work = 1000 * self.longest_pause, 1000 * self.longest_work
        return f"{self.beats} beats, longest pause {pause:.0f} ms, longest work {work:.0f} ms"

    def _beat(self) -> None:
        now = time.perf_counter(), time.thread_time()
        self.longest_pause = max(self.longest_pause, now[0] - self._last[0])
        self.longest_work = max(self.longest_work, now[1] - self._last[1])
        self._last = now
        self.beats += 1
