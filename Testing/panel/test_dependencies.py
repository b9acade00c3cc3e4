"""Packages: nothing at module open, everything asked for first, nothing of Slicer's replaced."""

import importlib.metadata
import importlib.util
import re
import subprocess

import pytest

from SemiSegLib.errors import DependencyError
from SemiSegModule import dependencies


@pytest.fixture
def without(monkeypatch):
    """Make packages look as if they were not installed."""

    def hide(*names):
        original = importlib.util.find_spec
        monkeypatch.setattr(
            dependencies.importlib.util, "find_spec", lambda name, *a: None if name in names else original(name, *a)
        )

    return hide


def test_nothing_is_missing_where_the_library_is_installed():
    assert dependencies.missing() == []


def test_what_is_missing_is_named_without_importing_anything(without):
    without("torch", "monai")
    assert dependencies.missing() == ["torch>=2.4.1", "monai>=1.5.1"]


def test_a_version_that_is_too_old_counts_as_missing(monkeypatch):
    versions = {"monai": "1.4.0", "torch": "2.10.0+cpu"}
    original = importlib.metadata.version
    monkeypatch.setattr(dependencies.importlib.metadata, "version", lambda name: versions.get(name) or original(name))
    assert dependencies.missing() == ["monai>=1.5.1"]


def test_every_installed_package_is_kept_at_its_version():
    lines = dependencies.constraints()
    assert f"numpy=={importlib.metadata.version('numpy')}" in lines
    assert f"vtk=={importlib.metadata.version('vtk')}" in lines
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==\S+", line) for line in lines)


def test_torch_comes_through_the_extension_and_the_rest_through_pip_with_constraints(without, monkeypatch):
    without("torch", "monai")
    installed = {}

    class TorchLogic:
        def installTorch(self, askConfirmation, torchVersionRequirement):
            installed["torch"] = torchVersionRequirement
            return object()

    def pip(names, constraints):
        installed["pip"], installed["constraints"] = names, constraints.read_text()
        monkeypatch.setattr(dependencies.importlib.util, "find_spec", lambda *_: object())

    dependencies.install(torchInstaller=TorchLogic, pipInstaller=pip)
    assert installed["torch"] == ">=2.4.1"
    assert installed["pip"] == ["monai>=1.5.1"]
    assert f"numpy=={importlib.metadata.version('numpy')}" in installed["constraints"]


def test_a_failed_installation_names_the_package_and_what_to_do(without):
    without("monai")

    def pip(names, constraints):
        raise OSError("No space left on device")

    with pytest.raises(
        DependencyError, match=r"could not install monai>=1.5.1(.|\n)*No space left(.|\n)*free disk space"
    ):
        dependencies.install(pipInstaller=pip)


def test_a_mistake_of_ours_is_not_taken_for_one_of_pip(without):
    without("monai")

    def pip(names, constraints):
        raise AttributeError("no such function")

    with pytest.raises(AttributeError, match="no such function"):
        dependencies.install(pipInstaller=pip)


def test_torch_that_cannot_be_installed_is_told_with_its_reason(without):
    without("torch")

    class TorchLogic:
        def installTorch(self, askConfirmation, torchVersionRequirement):
            raise subprocess.CalledProcessError(1, ["pip", "install", "torch"])

    with pytest.raises(DependencyError, match=r"torch could not be installed: (.|\n)*exit status 1(.|\n)*PyTorch Util"):
        dependencies.install(torchInstaller=TorchLogic)


def test_an_installation_without_effect_is_not_taken_for_success(without):
    without("monai")
    with pytest.raises(DependencyError, match=r"monai>=1\.5\.1 cannot be found after the installation"):
        dependencies.install(pipInstaller=lambda names, constraints: None)


def test_without_the_pytorch_extension_the_user_is_told_where_to_get_it(without):
    without("torch")
    with pytest.raises(DependencyError, match=r"extension PyTorch is not installed(.|\n)*Extensions Manager"):
        dependencies.install()


def test_what_will_happen_is_said_before():
    text = dependencies.describe(["torch>=2.4.1", "monai>=1.5.1"])
    assert "torch, through the extension PyTorch" in text
    assert "monai>=1.5.1, from the Python Package Index" in text
    assert "kept as they are" in text


def test_the_panel_shows_what_is_missing_and_installs_only_after_a_yes(host, panel, without, monkeypatch):
    assert not panel.ui.packagesFrame.visible
    without("monai")
    panel.enter()
    assert panel.ui.packagesFrame.visible
    assert "monai" in panel.ui.packagesLabel.text
    calls = []
    monkeypatch.setattr(dependencies, "install", lambda: calls.append(1))
    from Testing.host.interaction import click

    host.dialogs.answer(False)
    click(panel.ui.installButton)
    assert calls == []
    assert "monai>=1.5.1" in host.dialogs.shown("confirm")[0]
    host.dialogs.answer(True)
    click(panel.ui.installButton)
    assert calls == [1]
