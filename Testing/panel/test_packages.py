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

from SemiSegLib.errors import DependencyError
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
        self.process = None
        self.speaks = True

    def end(self, code):
        """What Slicer does when pip has ended."""
        self.process.kill()
        self.process.wait()
        self.complete(code)

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
        # As Slicer: no handle is given back, and the process is in the group of this one.
        code = "import time; time.sleep(99)"
        self.process = subprocess.Popen([sys.executable, "-c", code, *requirements, "-c", str(constraints)])
        if self.speaks:
            logCallback("Collecting semisega")
        self.complete = completedCallback


@pytest.fixture
def packaging(monkeypatch):
    module = Packaging()
    original = importlib.util.find_spec
    found = {"slicer.packaging": True}
    monkeypatch.setitem(sys.modules, "slicer.packaging", module)
    monkeypatch.setattr(installers.importlib.util, "find_spec", lambda name, *a: found.get(name) or original(name, *a))
    yield module
    if module.process is not None:
        module.process.kill()
        module.process.wait()


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
    assert panel.ui.installCancelButton.enabled
    packaging.end(1)
    assert not section.isInstalling
    assert "semisega>=1.0 could not be installed" in host.dialogs.shown("error")[0]


@pytest.fixture
def slicer_pip(panel, index, place, need, packaging, monkeypatch):
    """An installation by Slicer 5.12 that has been agreed to, and whose pip has not said a word yet."""
    a_wheel(index, "semisega", "1.2")
    need("semisega>=1.0")
    monkeypatch.setattr(slicer.app, "_is_testing", False)
    packaging.speaks = False
    begin(panel)
    wait_until(lambda: packaging.process, seconds=PATIENCE_SECONDS)
    return packaging


def test_slicer_s_pip_can_be_cancelled_before_its_first_word_and_nothing_goes_on(host, panel, slicer_pip):
    assert slicer_pip.process.poll() is None
    click(panel.ui.installCancelButton)
    assert slicer_pip.process.wait(PATIENCE_SECONDS) != 0
    section = panel.panel.packages
    assert not section.isInstalling
    assert panel.ui.installButton.isVisibleTo(panel.form)
    slicer_pip.complete(-9)
    assert host.dialogs.shown("error") == []
    assert panel.ui.packagesLabel.text.startswith("Not installed yet: semisega.")


def test_slicer_s_pip_that_writes_files_is_not_ended_also_where_slicer_has_not_told_so_yet(panel, slicer_pip):
    section = panel.panel.packages
    log = slicer_pip.calls[0][0][-1]
    Path(log).write_text("2026-01-01T00:00:00,000 Installing collected packages: semisega\n")
    click(panel.ui.installCancelButton)
    assert slicer_pip.process.poll() is None
    assert section.isInstalling
    assert not panel.ui.installCancelButton.enabled
    assert "ends after them" in panel.ui.packagesLabel.text
    slicer_pip.end(0)
    assert not section.isInstalling


def test_pip_can_be_cancelled_before_its_first_word_and_nothing_goes_on(panel, index, place, need, monkeypatch):
    a_wheel(index, "semisega", "1.2")
    need("semisega>=1.0")
    processes, original = [], installation.Installation.install

    def install(self):
        original(self)
        processes.append(self._command._process)
        click(panel.ui.installCancelButton)

    monkeypatch.setattr(installation.Installation, "install", install)
    section = begin(panel)
    wait_until(ended(section), seconds=PATIENCE_SECONDS)
    assert process_mark(processes[0].pid) == ""
    assert list(place.iterdir()) == []


def test_an_installation_cancelled_while_its_question_is_read_does_not_begin(panel, index, place, need, monkeypatch):
    a_wheel(index, "semisega", "1.2")
    need("semisega>=1.0")
    begun = []

    def say_yes_too_late(*_arguments, **_more):
        begun.append(section.installation)
        section.close()
        return True

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", say_yes_too_late)
    section = begin(panel)
    wait_until(lambda: begun, seconds=PATIENCE_SECONDS)
    assert not begun[0]._command.isRunning
    begun[0].install()
    assert not begun[0]._command.isRunning
    assert list(place.iterdir()) == []


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
        f"import sys, pathlib, shutil\npathlib.Path({str(note)!r}).write_text('\\n'.join(sys.argv[1:]))\n"
        f"shutil.copy(sys.argv[-1], {str(tmp_path / 'kept.txt')!r})\n"
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
    kept = extension.with_name("kept.txt").read_text()
    assert "numpy==" in kept
    assert "torch" not in {line.partition("==")[0] for line in kept.splitlines()}
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


def test_the_extension_and_its_small_installer_keep_to_the_constraints(index, extension, monkeypatch, tmp_path):
    a_wheel(index, "semisega", "1.2", requires=["numpy<1"])
    folder = tmp_path / "a place with spaces"
    folder.mkdir()
    (folder / "constraints.txt").write_text("\n".join(dependencies.constraints()))
    logic, results = importlib.import_module("PyTorchUtils").PyTorchUtilsLogic, []

    def pip(self, **_more):
        """As the extension installs: by a pip of its own, which is told nothing."""
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "semisega"]
        results.append(subprocess.run(command, capture_output=True, text=True, check=False))

    monkeypatch.setattr(logic, "getCompatibleComputationBackends", pip)
    monkeypatch.setattr(logic, "installTorch", pip, raising=False)
    monkeypatch.setenv("PIP_CONSTRAINT", "")
    installers.torchArguments(folder / "constraints.txt")
    with pytest.raises(DependencyError, match="torch could not be installed"):
        installers.installTorchWithExtension(folder / "constraints.txt")
    assert len(results) == 2
    for result in results:
        assert result.returncode != 0
        assert "The user requested (constraint) numpy==" in result.stdout + result.stderr


def test_the_torch_that_was_installed_is_kept_when_the_others_are(panel, index, place, need, extension):
    a_wheel(index, "semisega", "1.2")
    need("semisega>=1.0")
    section = begin(panel)
    folder = section.installation.folder
    wait_until(ended(section), seconds=PATIENCE_SECONDS)
    assert extension.exists()
    assert "\ntorch==" in (folder / "constraints.txt").read_text()


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
