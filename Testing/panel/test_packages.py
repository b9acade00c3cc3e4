"""Installing: nothing before a yes, all is said, nothing is replaced, Slicer answers meanwhile. pip is the real one."""

import importlib
import itertools
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest
import qt
import slicer

from SemiSegLib.runs.process_table import process_mark
from SemiSegModule import dependencies
from SemiSegModule.packages import computer, installation, installers
from SemiSegModule.packages.command import Command
from Testing.host.interaction import click, process_events, wait_until
from Testing.panel.wheels import NO_INDEX, a_place, a_wheel

PATIENCE_SECONDS = 60


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels that pip takes packages from, and no network."""
    for name, value in NO_INDEX.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    return tmp_path / "wheels"


@pytest.fixture
def place(tmp_path, monkeypatch):
    return a_place(tmp_path, monkeypatch)


@pytest.fixture
def need(monkeypatch):
    """Let the module need other packages than it does."""
    return lambda *names: monkeypatch.setattr(dependencies, "requirements", lambda: list(names))


@pytest.fixture
def without_torch(monkeypatch, tmp_path):
    """Let torch be what it needs, until a file says that it is there."""
    original, mark = dependencies._isMet, tmp_path / "torch is there"
    monkeypatch.setattr(
        dependencies, "_isMet", lambda name: mark.exists() if name == dependencies.TORCH else original(name)
    )
    return mark


def begin(panel):
    panel.enter()
    click(panel.ui.installButton)
    return panel.panel.packages


def ended(section):
    return lambda: not section.isInstalling


def test_the_list_is_shown_and_nothing_is_installed_without_a_yes(host, panel, index, place, need):
    a_wheel(index, "semisega", "1.2", requires=["semisegb"], filling=3_000_000)
    a_wheel(index, "semisegb", "0.3")
    need("semisega>=1.0")
    host.dialogs.answer(False)
    section = begin(panel)
    wait_until(ended(section), seconds=PATIENCE_SECONDS)
    assert "    semisega 1.2 (new, 3.0 MB)\n    semisegb 0.3 (new, 0.0 MB)" in host.dialogs.shown("confirm")[0]
    assert list(place.iterdir()) == []
    assert panel.ui.packagesLabel.text.startswith("Not installed yet: semisega.")
    assert panel.ui.installButton.visible


def test_after_a_yes_it_is_installed_told_and_what_was_asked_for_goes_on(panel, index, place, need):
    a_wheel(index, "semisega", "1.2", requires=["semisegb"])
    a_wheel(index, "semisegb", "0.3")
    need("semisega>=1.0")
    went_on = []
    assert not panel.panel.ensurePackages(lambda: went_on.append(dependencies.missing()))
    section = panel.panel.packages
    assert panel.ui.installProgressBar.isVisibleTo(panel.form)
    wait_until(ended(section), seconds=PATIENCE_SECONDS)
    assert went_on == [[]]
    assert (place / "semisega" / "__init__.py").is_file()
    assert "Successfully installed semisega-1.2 semisegb-0.3" in panel.ui.installLog.plainText
    assert panel.ui.packagesLabel.text == (
        "Installed: semisega 1.2, semisegb 0.3.\nCompared with before: no package that was there has changed."
    )
    assert not panel.ui.installProgressBar.isVisibleTo(panel.form)
    assert panel.panel.ensurePackages()


def test_slicer_answers_while_pip_works(panel, index, place, need):
    a_wheel(index, "semisega", "1.2")
    need("semisega>=1.0")
    moments, timer = [], qt.QTimer()
    timer.connect("timeout()", lambda: moments.append(time.monotonic()))
    timer.start(10)
    section = begin(panel)
    wait_until(ended(section), seconds=PATIENCE_SECONDS)
    timer.stop()
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert len(moments) > 20
    # The machine of the tests may be busy; a call that waited for pip would take over a second.
    assert max(pauses) < 0.7


def test_a_package_that_wants_another_numpy_is_refused_by_name_and_numpy_stays(host, panel, index, place, need):
    a_wheel(index, "semisega", "1.2", requires=["numpy<1"])
    need("semisega>=1.0")
    section = begin(panel)
    wait_until(ended(section), seconds=PATIENCE_SECONDS)
    (message,) = [message for message in host.dialogs.messages if message.kind == "error"]
    assert "semisega==1.2 could not be installed" in message.text
    assert "semisega 1.2 depends on numpy<1" in message.text
    assert "no package that was there has changed" in message.details["detailedText"]
    assert "confirm" not in {message.kind for message in host.dialogs.messages}


def test_a_package_that_is_nowhere_is_named(host, panel, index, place, need):
    index.mkdir()
    need("semisega>=1.0")
    wait_until(ended(begin(panel)), seconds=PATIENCE_SECONDS)
    assert "semisega>=1.0 could not be installed: there is no ready-made version" in host.dialogs.shown("error")[0]


def test_without_network_it_says_so(host, panel, place, need, monkeypatch):
    # A port where nobody listens.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("HTTP_PROXY", "http_proxy", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    need("semisega>=1.0")
    wait_until(ended(begin(panel)), seconds=PATIENCE_SECONDS)
    assert "the Python Package Index cannot be reached" in host.dialogs.shown("error")[0]


def test_a_disk_without_room_is_told_before_anything_is_downloaded(host, panel, index, place, need, monkeypatch):
    a_wheel(index, "semisega", "1.2", filling=10)
    need("semisega>=1.0")
    usage = types.SimpleNamespace(free=10)
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda folder: usage)
    wait_until(ended(begin(panel)), seconds=PATIENCE_SECONDS)
    assert "GB are free" in host.dialogs.shown("error")[0]
    assert list(place.iterdir()) == []


def test_a_look_up_can_be_cancelled_and_leaves_no_process(panel, index, need, monkeypatch):
    need("semisega>=1.0")
    monkeypatch.setattr(installation, "LOOKUP", index.parent / "sleep.py")
    (index.parent / "sleep.py").write_text("import time; print('begun', flush=True); time.sleep(100)")
    section = begin(panel)
    wait_until(lambda: "begun" in panel.ui.installLog.plainText, seconds=PATIENCE_SECONDS)
    process = section.installation._command._process
    click(panel.ui.installCancelButton)
    assert not section.isInstalling
    assert process_mark(process.pid) == ""
    assert panel.ui.installButton.isVisibleTo(panel.form)


def test_a_replaced_package_would_be_told_with_the_advice_to_restart(panel, index, place, need, monkeypatch):
    """pip keeps what is constrained; should an installer not, a person learns it."""
    a_wheel(index, "semisega", "1.0")
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "semisega"], check=True)
    a_wheel(index, "semisega", "1.5")
    need("semisega>=1.1")
    section = begin(panel)
    wait_until(ended(section), seconds=PATIENCE_SECONDS)
    assert panel.ui.packagesLabel.text == "Changed: semisega 1.0 -> 1.5. Restart Slicer before you go on."


class Packaging(types.ModuleType):
    """slicer.packaging of Slicer 5.12, as far as it is used; the installation is done by the test."""

    def __init__(self):
        super().__init__("slicer.packaging")
        self.calls = []

    def pip_install(
        self,
        requirements,
        constraints=None,
        no_deps_requirements=None,
        skip_packages=None,
        blocking=True,
        show_progress=True,
        requester=None,
        parent=None,
        logCallback=None,
        completedCallback=None,
    ):
        self.calls.append((requirements, constraints, blocking, requester))
        if slicer.app.testingEnabled():
            raise subprocess.CalledProcessError(3, "pip")
        assert not blocking
        logCallback("Collecting semisega")
        self.complete = completedCallback


@pytest.fixture
def packaging(monkeypatch):
    module = Packaging()
    original = importlib.util.find_spec
    found = {"slicer.packaging": True}
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    monkeypatch.setattr(installers.importlib.util, "find_spec", lambda name, *a: found.get(name) or original(name, *a))
    return module


def test_slicer_5_12_installs_by_its_own_function_without_blocking(
    host, panel, index, place, need, packaging, monkeypatch
):
    a_wheel(index, "semisega", "1.2")
    need("semisega>=1.0")
    monkeypatch.setattr(slicer.app, "_is_testing", False)
    section = begin(panel)
    wait_until(lambda: packaging.calls, seconds=PATIENCE_SECONDS)
    ((requirements, constraints, blocking, requester),) = packaging.calls
    assert requirements[0] == "semisega>=1.0"
    assert "numpy==" in Path(constraints).read_text()
    assert (blocking, requester) == (False, "SemiSeg")
    assert section.isInstalling
    assert not panel.ui.installCancelButton.enabled
    packaging.complete(1)
    assert not section.isInstalling
    assert "semisega>=1.0 could not be installed" in host.dialogs.shown("error")[0]


def test_a_testing_slicer_5_12_installs_at_once_and_its_failure_is_told(host, panel, index, need, packaging):
    a_wheel(index, "semisega", "1.2")
    need("semisega>=1.0")
    wait_until(ended(begin(panel)), seconds=PATIENCE_SECONDS)
    assert "exit status 3" in host.dialogs.shown("error")[0]


@pytest.fixture
def extension(monkeypatch, tmp_path, without_torch):
    """The PyTorch extension and its installer, which only notes what it was told."""
    folder = tmp_path / "extension"
    (folder / "light_the_torch").mkdir(parents=True)
    (folder / "light_the_torch/__init__.py").write_text("")
    note = tmp_path / "told.txt"
    (folder / "light_the_torch/__main__.py").write_text(
        f"import sys, pathlib\npathlib.Path({str(note)!r}).write_text('\\n'.join(sys.argv[1:]))\n"
        f"print('Installing torch')\npathlib.Path({str(without_torch)!r}).touch()\n"
    )
    (folder / "PyTorchUtils.py").write_text(
        "class PyTorchUtilsLogic:\n    asked = []\n"
        "    def getCompatibleComputationBackends(self, forceComputationBackend=None, torchVersionRequirement=None):\n"
        "        self.asked.append(torchVersionRequirement)\n        return ['cpu']\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    monkeypatch.setenv("PYTHONPATH", str(folder))
    yield note
    for name in ("PyTorchUtils", "light_the_torch"):
        sys.modules.pop(name, None)


def test_torch_comes_through_the_extension_with_its_range_and_the_constraints(host, panel, need, extension):
    need()
    section = begin(panel)
    wait_until(ended(section), seconds=PATIENCE_SECONDS)
    assert "torch, through the extension PyTorch" in host.dialogs.shown("confirm")[0]
    assert sys.modules["PyTorchUtils"].PyTorchUtilsLogic.asked[-1] == ">=2.4.1"
    told = extension.read_text().splitlines()
    assert told[:4] == ["install", "torch>=2.4.1", "torchvision", "-c"]
    assert "Installing torch" in panel.ui.installLog.plainText
    assert host.dialogs.shown("error") == []


def test_an_extension_that_works_in_another_way_is_asked_to_install_torch_itself(
    panel, need, extension, without_torch, monkeypatch
):
    need()
    original = importlib.util.find_spec
    monkeypatch.setattr(
        installers.importlib.util, "find_spec", lambda n, *a: None if n == "light_the_torch" else original(n, *a)
    )
    logic, asked = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic, []

    def installTorch(self, askConfirmation=False, forceComputationBackend=None, torchVersionRequirement=None):
        asked.append((askConfirmation, torchVersionRequirement))
        without_torch.touch()
        return object()

    monkeypatch.setattr(logic, "installTorch", installTorch, raising=False)
    wait_until(ended(begin(panel)), seconds=PATIENCE_SECONDS)
    assert asked == [(False, ">=2.4.1")]
    assert not extension.exists()


def test_a_missing_extension_is_offered_and_slicer_s_restart_asked_for(host, panel, need, without_torch, monkeypatch):
    need()
    manager = host.app.offer_extensions("PyTorch")
    restarts = []
    monkeypatch.setattr(slicer.util, "restart", lambda: restarts.append(1))
    host.dialogs.answer(False)
    begin(panel)
    assert not manager.isExtensionInstalled("PyTorch")
    host.dialogs.answer(True, False)
    click(panel.ui.installButton)
    assert manager.isExtensionInstalled("PyTorch")
    assert restarts == []
    host.dialogs.answer(True, True)
    click(panel.ui.installButton)
    assert restarts == [1]


def test_a_server_that_cannot_be_reached_is_told(host, panel, need, without_torch):
    need()
    host.app.offer_extensions("Another")
    begin(panel)
    assert "the extension PyTorch could not be installed" in host.dialogs.shown("error")[0]


def test_a_slicer_without_extensions_manager_says_where_to_get_the_extension(host, panel, need, without_torch):
    need()
    begin(panel)
    text = host.dialogs.shown("error")[0]
    assert "extension PyTorch is not installed" in text
    assert "Extensions Manager" in text


def test_a_program_s_last_line_is_told_also_without_its_end(tmp_path):
    lines, ends = [], []
    code = "import sys; sys.stdout.write('first\\rsecond\\nthird'); sys.exit(7)"
    command = Command([sys.executable, "-c", code], tmp_path / "log", onLine=lines.append, onEnd=ends.append)
    command.start()
    wait_until(lambda: ends, seconds=PATIENCE_SECONDS)
    assert lines == ["first", "second", "third"]
    assert ends == [7]


def test_a_program_that_takes_too_long_is_ended_with_its_children(tmp_path):
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(99)']).pid, "
    code += "flush=True); import time; time.sleep(99)"
    lines, ends = [], []
    command = Command(
        [sys.executable, "-c", code], tmp_path / "log", onLine=lines.append, onEnd=ends.append, seconds=1.5
    )
    command.start()
    wait_until(lambda: ends, seconds=PATIENCE_SECONDS)
    assert ends == [None]
    process_events()
    assert process_mark(int(lines[0])) == ""


def test_the_computer_is_checked_beside_slicer_within_20_seconds(panel):
    begun = time.monotonic()
    click(panel.ui.packagesSection)
    click(panel.ui.checkComputerButton)
    assert not panel.ui.checkComputerButton.enabled
    wait_until(lambda: panel.ui.checkComputerButton.enabled, seconds=PATIENCE_SECONDS)
    lines = panel.ui.computerLabel.text.splitlines()
    assert lines[0] == "\u2713 All packages for training and prediction are installed."
    assert any("cpu" in line and "works" in line for line in lines)
    assert len(lines) >= 5
    assert time.monotonic() - begun < 20


def test_a_check_that_fails_says_why_and_where_to_read_more(panel, monkeypatch):
    monkeypatch.setattr(computer, "workerPython", lambda: "/no/such/python")
    click(panel.ui.packagesSection)
    click(panel.ui.checkComputerButton)
    assert panel.ui.computerLabel.text.startswith("The check failed: ")
    assert "/no/such/python" in panel.ui.computerLabel.text
    assert panel.ui.checkComputerButton.enabled
