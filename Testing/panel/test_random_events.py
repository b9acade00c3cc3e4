"""Random clicks, texts and choices, while trainings begin, stop and fail and scenes and the module are reloaded.

A usual run does 400 events with each of two seeds in some 20 s of processor time; `make test-slow` does 2,000 events
with each of five, and 300 around real workers that train and segment.
Nothing is left out but what opens a program outside of Slicer: the file browser.
"""

import gc
import random
import sys

import pytest
import slicer

from Testing.host.pythonqt import signals
from Testing.host.random_person import RandomPerson, answer_as_before, answer_at_random
from Testing.panel.random_world import (
    World,
    WorldWithWorkers,
    children,
    files_for_dialogs,
    our_modules,
    processes_about,
    widget,
)
from Testing.panel.real_worker import PATIENCE_SECONDS

OUTSIDE = ("openRunButton",)
# What stands for PythonSlicer beside the workers, which look ahead and check the computer: it never ends by itself.
SLEEPER = "#!/bin/sh\nexec sleep 600\n"


@pytest.fixture
def kept_modules():
    """The module's files as the other tests have imported them are there again afterwards."""
    names = {}
    for module in ("SemiSegModule.jobs", "SemiSegModule.dependencies"):
        __import__(module)
        names[module] = vars(sys.modules[module]).copy()
    before = our_modules()
    yield
    for name in our_modules():
        del sys.modules[name]
    sys.modules.update(before)
    for module, content in names.items():
        vars(sys.modules[module]).update(content)


@pytest.fixture
def sleeper(tmp_path, monkeypatch):
    """A PythonSlicer that does nothing, for ever."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "PythonSlicer"
    program.write_text(SLEEPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def play(host, folder, seed, count, kind=World):
    """Let a person and the world do this many things; returns what was done. No worker is left at the end."""
    draw = random.Random(seed)
    world = kind(draw, folder)
    person = RandomPerson(draw, left_alone=OUTSIDE)
    answer_at_random(host.dialogs, draw, paths=files_for_dialogs(folder))
    world.new_study()
    done = []
    try:
        world.begin()
        for number in range(count):
            if draw.random() < 0.15:
                done.append(world.happen())
            else:
                done.append(person.act(slicer.modules.semiseg.widgetRepresentation()))
            if host.problems():
                cause = signals.slot_errors[0] if signals.slot_errors else None
                raise AssertionError(f"{host.problems()} at event {number}, after {done[-8:]}") from cause
            assert world.modified() == [], f"event {number}, after {done[-8:]}"
    finally:
        world.end()
    return done


@pytest.mark.skipif(sys.platform == "win32", reason="what stands for PythonSlicer is a shell script")
@pytest.mark.parametrize(
    ("seed", "count"),
    [
        *((seed, 400) for seed in (1, 2)),
        *(pytest.param(seed, 2000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]) for seed in range(3, 8)),
    ],
)
def test_random_events_raise_nothing_leave_no_process_and_change_nothing_of_the_user(
    host, panel, kept_modules, sleeper, tmp_path, seed, count
):
    before = children()
    try:
        done = play(host, tmp_path, seed, count)
        widget().cleanup()
        assert children() - before == set()
        # It gets about; the panel has some 400 different things to do.
        assert len(set(done)) > min(count / 4, 300)
    finally:
        answer_as_before(host.dialogs)
        gc.collect()


@pytest.mark.slow
@pytest.mark.timeout(3 * PATIENCE_SECONDS)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are known by /proc")
def test_random_events_around_real_workers_raise_nothing_and_leave_no_process(host, panel, kept_modules, tmp_path):
    before = children()
    try:
        done = play(host, tmp_path, 11, 300, WorldWithWorkers)
        widget().cleanup()
        assert processes_about(tmp_path) == set()
        assert children() - before == set()
        assert len(set(done)) > 100
    finally:
        answer_as_before(host.dialogs)
        gc.collect()
