"""Loops that take turns: each lives in a process of its own and runs some steps when told, so that a busy neighbor of
the machine hits all of them, and none works in another's setting of threads, memory or instruction set.
"""

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from reporting import HERE, child_environment, say

Batches = TypeVar("Batches")
# The slowest steps are the neighbors': they are left out of means.
LEFT_OUT = 0.1


@dataclass
class Marks:
    """When a loop asked for each batch and when it got it; a step lasts from one question to the next."""

    asked: list[float] = field(default_factory=list)
    given: list[float] = field(default_factory=list)
    end: float = 0.0

    def watch(self, batches: Iterator[Batches]) -> Iterator[Batches]:
        """Yield endless batches and note the times; closing it closes them."""
        with closing(batches):  # type: ignore[type-var]
            try:
                while True:
                    self.asked.append(time.perf_counter())
                    batch = next(batches)
                    self.given.append(time.perf_counter())
                    yield batch
            finally:
                self.end = time.perf_counter()

    def clear(self) -> None:
        """Forget what was noted."""
        self.asked.clear()
        self.given.clear()

    def times(self) -> dict[str, list[float]]:
        """Return the seconds of each step, and how many of them it waited for its batch."""
        ends = [*self.asked[1:], self.end]
        return {
            "seconds": [end - asked for asked, end in zip(self.asked, ends, strict=True)],
            "waited": [given - asked for asked, given in zip(self.asked, self.given, strict=True)],
        }


Loop = Callable[[int], Mapping[str, list[float]]]


def serve(about: Mapping[str, Any], loops: Mapping[str, Loop]) -> None:
    """In a child: say who it is, then run the loop that each line of standard input asks for."""
    _answer(about)
    for line in sys.stdin:
        asked = json.loads(line)
        _answer(loops[asked["loop"]](asked["steps"]))


def _answer(data: Mapping[str, Any]) -> None:
    sys.stdout.write(f"{json.dumps(data)}\n")
    sys.stdout.flush()


class Player:
    """A child process with loops; use it in a ``with`` block.

    Args:
        script: file name of the program beside this one.
        task: file of its task.
        environment: variables that it gets unless they are set already.
    """

    def __init__(self, script: str, task: Path, environment: Mapping[str, str] | None = None) -> None:
        self.script = script
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), str(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=child_environment(environment),
        )
        self.about = self._hear()

    def run(self, loop: str, steps: int) -> dict[str, list[float]]:
        """Return the times of a loop's next steps."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps({'loop': loop, 'steps': steps})}\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            # Waits for the end and closes the pipes.
            self._process.communicate()
            raise SystemExit(f"{self.script} ended with code {self._process.returncode}; its message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> "Player":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._process.communicate(timeout=30 if error is None else 1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()


@dataclass
class Seconds:
    """The steps of one loop, by round."""

    rounds: list[list[float]] = field(default_factory=list)
    waited: list[float] = field(default_factory=list)

    @property
    def all(self) -> list[float]:
        """Every step."""
        return [seconds for found in self.rounds for seconds in found]

    @property
    def median(self) -> float:
        """Of all steps."""
        return statistics.median(self.all)

    @property
    def mean(self) -> float:
        """Of all steps but the slowest tenth: steps differ in how many rows are warped, a training pays the mean."""
        kept = sorted(self.all)
        return statistics.fmean(kept[: len(kept) - int(LEFT_OUT * len(kept))])

    @property
    def waiting(self) -> float:
        """Share of the time that was spent waiting for batches."""
        return sum(self.waited) / sum(self.all)

    def factor(self, other: "Seconds") -> tuple[float, float, float]:
        """Return how many times longer the other takes: of the medians, and the least and largest of the rounds."""
        pairs = zip(self.rounds, other.rounds, strict=True)
        found = [statistics.median(theirs) / statistics.median(ours) for ours, theirs in pairs]
        return other.median / self.median, min(found), max(found)


@dataclass(frozen=True)
class Turns:
    """How often and how long each loop has its turn.

    Attributes:
        rounds: turns of each loop.
        steps: measured steps of a turn.
        warmup: steps before them that do not count.
    """

    rounds: int
    steps: int
    warmup: int

    def take(self, loops: Mapping[str, tuple[Player, str]]) -> dict[str, Seconds]:
        """Return the times of each loop; a loop is a player and the name of its loop."""
        found = {name: Seconds() for name in loops}
        for number in range(self.rounds):
            for name, (player, loop) in loops.items():
                say(f"round {number + 1} of {self.rounds}: {name}")
                times = player.run(loop, self.warmup + self.steps)
                found[name].rounds.append(times["seconds"][self.warmup :])
                found[name].waited += times["waited"][self.warmup :]
        return found


def players(stack: ExitStack, task: Path, scripts: Mapping[str, Mapping[str, str] | None]) -> list[Player]:
    """Start programs that end with the stack; each with the variables it gets."""
    return [stack.enter_context(Player(script, task, extra)) for script, extra in scripts.items()]
