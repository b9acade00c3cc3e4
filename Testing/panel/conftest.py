"""The panel as a person sees it: the module loaded, its widget shown in a window."""

from pathlib import Path

import pytest

EXTENSION = Path(__file__).resolve().parents[2] / "SemiSegExtension"


@pytest.fixture(autouse=True)
def moment(host, monkeypatch):
    """What the panel reads aside is there at once, however busy the machine is; a test of slow folders undoes it."""
    from SemiSegModule import aside

    usual = aside.MOMENT_SECONDS
    monkeypatch.setattr(aside, "MOMENT_SECONDS", 20.0)
    return lambda: monkeypatch.setattr(aside, "MOMENT_SECONDS", usual)


@pytest.fixture(autouse=True)
def fits(monkeypatch):
    """Every training fits, without the seconds of a look ahead; a test of looking ahead sets it back."""
    from SemiSegModule import look_ahead

    usual = look_ahead.lookAheadNow
    monkeypatch.setattr(look_ahead, "lookAheadNow", lambda request, runs: [])
    return lambda: monkeypatch.setattr(look_ahead, "lookAheadNow", usual)


@pytest.fixture
def module(host):
    """What `slicer.modules.semiseg` is, unloaded at the end as when Slicer quits."""
    loaded = host.load_module(EXTENSION / "SemiSeg.py")
    host.app.startupCompleted.emit()
    yield loaded
    host.unload_module("SemiSeg")


@pytest.fixture
def panel(host, module):
    """The module's Python widget (SemiSegWidget) in a shown window of the usual width of Slicer's panel."""
    from Testing.host.interaction import process_events

    representation = module.widgetRepresentation()
    representation.resize(520, 900)
    representation.show()
    representation.enter()
    process_events()
    yield representation.self()
    representation.exit()
    representation.hide()


@pytest.fixture
def study(panel, tmp_path):
    """The panel with a small study and a folder to write to."""
    from Testing.host.interaction import process_events
    from Testing.panel.studies import a_small_study

    a_small_study()
    panel.panel.parameters.studyFolder = str(tmp_path / "Studie José 中")
    process_events()
    return panel


@pytest.fixture
def started(host, monkeypatch):
    """Runs whose worker was asked for; nothing runs."""
    from SemiSegLib.runs.status import RunStatus
    from SemiSegModule import jobs
    from Testing.panel.studies import alive

    runs = []

    def start(run, after=None):
        runs.append(run)
        run.clear_stop()
        run.write_status(alive(RunStatus(state="preparing")))

    monkeypatch.setattr(jobs, "startWorker", start)
    return runs


@pytest.fixture
def ready(panel, started, tmp_path):
    """The panel with a study, a folder, a model to apply, and no worker that runs; and the volumes by name."""
    from Testing.host.interaction import type_text
    from Testing.panel.models import a_model_file
    from Testing.panel.studies import a_small_study

    volumes = a_small_study()
    panel.panel.parameters.studyFolder = str(tmp_path / "study")
    type_text(panel.ui.modelEdit, str(a_model_file(tmp_path / "organ model.safetensors")))
    return panel, volumes


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder, so that pictures show a path that says nothing of the machine."""
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    return tmp_path


@pytest.fixture
def slow(panel, moment, monkeypatch):
    """Makes every question to the study folder slow from now on; returns who was asked, and in which thread."""
    from Testing.panel.slow_drives import slow_down

    return slow_down(panel, moment, monkeypatch)
