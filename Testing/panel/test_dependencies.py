"""What a training needs: what is missing, what is kept, what is said before."""

import importlib.metadata
import importlib.util
import re
from types import SimpleNamespace

import pytest

from SemiSegModule import dependencies
from SemiSegModule.packages import changes
from SemiSegModule.packages.changes import Change
from SemiSegModule.packages.failure import failure


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


def test_only_a_package_that_was_asked_for_and_did_not_come_with_slicer_may_be_updated():
    kept = {re.match(r"[^=]+", line).group().lower() for line in dependencies.constraints(["monai>=9", "scipy>=9"])}
    assert "monai" not in kept
    assert {"scipy", "numpy", "torch", "vtk"} <= kept


@pytest.fixture
def old_torch(monkeypatch):
    """Installed is a torch that is too old, with what belongs to it."""
    there = {"numpy": "2.0.0", "torch": "2.2.0", "torchvision": "0.17.0", "torchaudio": "2.2.0", "sympy": "1.12"}
    there |= {"nvidia-cublas-cu12": "12.1.3.1"}
    found = [SimpleNamespace(metadata={"Name": name}, version=version) for name, version in there.items()]
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: found)


def test_what_belongs_to_an_old_torch_does_not_keep_it(old_torch):
    assert dependencies.constraints(["torch>=2.4.1", "monai>=1.5.1"]) == ["numpy==2.0.0", "sympy==1.12"]
    assert dependencies.companions() == ["torchvision", "torchaudio"]
    # Where torch is not asked for, it is kept with all that belongs to it.
    kept = dependencies.constraints(["monai>=1.5.1"])
    assert {"torch==2.2.0", "torchvision==0.17.0", "nvidia-cublas-cu12==12.1.3.1"} <= set(kept)


def test_what_is_replaced_with_an_old_torch_is_said_before(old_torch):
    lines = dependencies.describe(["torch>=2.4.1"], []).splitlines()
    there = "nvidia-cublas-cu12 12.1.3.1, torch 2.2.0, torchaudio 2.2.0, torchvision 0.17.0"
    assert f"    torch>=2.4.1, with what belongs to it, in place of {there}" in lines
    assert lines[-1] == "Only these are updated: nvidia-cublas-cu12, torch, torchaudio, torchvision."


def test_torch_is_asked_for_in_versions_that_the_extension_can_install(monkeypatch):
    assert dependencies.torchRange().startswith(">=2.4.1")
    monkeypatch.setattr(dependencies.sys, "platform", "win32")
    assert dependencies.torchRange() == ">=2.4.1,<2.13"


def test_a_mac_with_an_intel_processor_is_told_at_once(monkeypatch):
    assert dependencies.whyNoTorch() == ""
    monkeypatch.setattr(dependencies.sys, "platform", "darwin")
    monkeypatch.setattr(dependencies.platform, "machine", lambda: "x86_64")
    assert "Intel" in dependencies.whyNoTorch()


def test_what_will_happen_is_said_before_also_where_pip_cannot_be_asked():
    text = dependencies.describe(["torch>=2.4.1", "monai>=1.5.1"])
    assert "torch, through the extension PyTorch" in text
    assert "monai>=1.5.1, from the Python Package Index" in text
    assert "kept as they are" in text


def test_name_version_and_size_of_every_change_are_said_before():
    plan = [Change("monai", "1.4.0", "1.5.2", 2_700_000), Change("einops", "", "0.8.1", 64_000), Change("x", "", "1")]
    lines = dependencies.describe(["monai>=1.5.1"], plan).splitlines()
    assert "    monai 1.4.0 -> 1.5.2, 2.7 MB" in lines
    assert "    einops 0.8.1 (new, 0.1 MB)" in lines
    assert "    x 1 (new)" in lines
    assert lines[-1] == "Only these are updated: monai."


def test_pip_s_own_torch_is_not_shown_where_the_extension_chooses_it():
    names = ("monai", "torch", "nvidia-cublas", "triton", "sympy", "cuda_toolkit")
    answer = {"changes": [{"name": name, "version": "1", "bytes": None} for name in names]}
    assert [change.name for change in changes.planned(answer, {}, withTorch=False)] == ["monai", "sympy"]
    assert len(changes.planned(answer, {}, withTorch=True)) == len(names)


def test_a_comparison_finds_what_was_added_replaced_and_removed():
    before = {"numpy": ("numpy", "2.0"), "gone": ("gone", "1"), "same": ("same", "1")}
    after = {"numpy": ("numpy", "1.26"), "new": ("New", "3"), "same": ("same", "1")}
    found = changes.compared(before, after)
    assert [change.text for change in found] == ["gone 1 -> removed", "New 3 (new)", "numpy 2.0 -> 1.26"]
    assert [change.isReplacement for change in found] == [True, False, True]


# What pip 24 to 26 print.
OUTPUTS = {
    "the disk is full": "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    "cannot be reached": "WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError(...)'\n"
    "ERROR: Could not find a version that satisfies the requirement monai>=1.5.1 (from versions: none)\n"
    "ERROR: No matching distribution found for monai>=1.5.1",
    "may not be written to": "ERROR: Could not install packages due to an OSError: [Errno 13] Permission denied: '/x'",
    "no ready-made version": "ERROR: No matching distribution found for monai>=1.5.1",
    "monai 1.4.0 depends on numpy<2.0": "ERROR: Cannot install monai>=1.5.1 because these package versions have "
    "conflicting dependencies.\n\nThe conflict is caused by:\n    monai 1.4.0 depends on numpy<2.0\n"
    "    The user requested (constraint) numpy==2.4.6\n\nERROR: ResolutionImpossible: for help visit https://pip",
    "something nobody has seen": "Looking\nERROR: something nobody has seen",
    "ended without a word": "",
}


@pytest.mark.parametrize("words", OUTPUTS)
def test_a_failure_names_package_cause_remedy_and_log(words):
    text = str(failure(OUTPUTS[words], ["monai>=1.5.1"], "the log"))
    assert text.startswith("monai>=1.5.1 could not be installed: ")
    assert words in text
    assert "the log" in text
    assert re.search(r"remedy: \w+", text)
