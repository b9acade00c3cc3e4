"""Vectors of structures from a file or from texts: asked for where the chosen embedding needs them, and passed on."""

import pytest

from SemiSegLib.embeddings import encoder_files
from SemiSegLib.methods.cards import card_of
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.status import RunStatus
from SemiSegModule import dependencies, jobs
from SemiSegModule.packages import installation
from SemiSegModule.panel import embedding_form
from Testing.host.interaction import choose, click, process_events, type_text
from Testing.panel.studies import open_box, show_whole


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder of the text encoder, in an empty cache."""
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "cache"))
    return encoder_files.encoder_folder()


@pytest.fixture(autouse=True)
def each_time(monkeypatch):
    """Look for files at each refresh."""
    monkeypatch.setattr(embedding_form, "SECONDS", 0.0)


@pytest.fixture
def has_text_packages(monkeypatch):
    monkeypatch.setattr(dependencies, "textRequirements", list)


def choose_embedding(study, kind):
    title = card_of("dynamic_head").title
    entries = [study.ui.methodComboBox.itemText(i) for i in range(study.ui.methodComboBox.count)]
    choose(study.ui.methodComboBox, next(entry for entry in entries if entry.startswith(title)))
    open_box(study.ui.advancedBox)
    choose(study.panel.training.form.options.editor("embedding"), kind)
    process_events()


def put_encoder(folder):
    folder.mkdir(parents=True)
    for file in encoder_files.FILES:
        with (folder / file.name).open("wb") as made:
            made.truncate(file.size_bytes or 10)


def test_nothing_is_asked_of_a_method_that_makes_its_own_vectors(study, started):
    for kind in ("hierarchy", "learned", "one hot"):
        choose_embedding(study, kind)
        assert not study.ui.embeddingFileFrame.visible
        assert not study.ui.fetchEncoderCheckBox.visible
        assert study.ui.trainButton.enabled
    click(study.ui.trainButton)
    assert started[0].request.embeddings.file is None


def test_the_file_is_asked_for_and_given_to_the_training(study, started, tmp_path, screenshot):
    choose_embedding(study, "file")
    assert study.ui.embeddingFileFrame.visible
    assert not study.ui.trainButton.enabled
    assert study.ui.trainButton.toolTip == "Choose the file with a vector for each structure, or another embedding."
    type_text(study.ui.embeddingFileEdit, "vectors.json")
    assert study.ui.trainButton.toolTip.startswith("Give the whole path of the file of vectors")
    path = tmp_path / "vectors of Jos\u00e9.json"
    type_text(study.ui.embeddingFileEdit, str(path))
    assert study.ui.trainButton.toolTip == "The file of vectors is not there."
    path.write_text('{"head": [0.1, 0.9]}')
    study.panel.scheduleRefresh()
    process_events()
    show_whole(study)
    screenshot("training_vectors", study.ui.trainingSection)
    click(study.ui.trainButton)
    request = started[0].request
    assert (request.embeddings.file, request.embeddings.fetch) == (str(path), False)
    assert request.options == {"embedding": "file"}


def test_the_text_encoder_is_fetched_only_with_leave(study, started, cache, has_text_packages):
    choose_embedding(study, "text")
    box = study.ui.fetchEncoderCheckBox
    assert box.visible
    assert not box.checked
    assert study.ui.trainButton.toolTip == "Allow the text encoder to be fetched, or choose another embedding."
    click(box)
    assert study.ui.trainButton.enabled
    click(study.ui.trainButton)
    assert started[0].request.embeddings.fetch
    # Leave was given for the text encoder: another embedding fetches nothing.
    choose_embedding(study, "learned")
    click(study.ui.trainButton)
    assert not started[1].request.embeddings.fetch


def test_an_encoder_that_is_there_needs_no_leave(study, started, cache, has_text_packages):
    put_encoder(cache)
    choose_embedding(study, "text")
    assert not study.ui.fetchEncoderCheckBox.visible
    click(study.ui.trainButton)
    assert started[0].request.options == {"embedding": "text"}


def test_a_preset_that_embeds_texts_asks_too(study, started, cache):
    choose_embedding(study, "learned")
    choose(study.ui.presetComboBox, "As in the paper")
    assert study.ui.fetchEncoderCheckBox.visible
    assert not study.ui.trainButton.enabled


def test_packages_for_texts_are_installed_when_they_are_needed(study, started, cache, monkeypatch):
    monkeypatch.setattr(dependencies, "textRequirements", lambda: ["semisegtext>=1.0"])
    asked = []
    monkeypatch.setattr(installation.Installation, "lookUp", lambda self: asked.append(self.names))
    put_encoder(cache)
    choose_embedding(study, "text")
    assert "semisegtext" not in study.ui.packagesLabel.text
    click(study.ui.trainButton)
    assert asked == [["semisegtext>=1.0"]]
    assert started == []


def test_the_button_that_looks_ahead_says_what_is_lacking(study, cache, has_text_packages):
    choose_embedding(study, "text")
    assert not study.ui.preflightButton.enabled
    assert study.ui.preflightButton.toolTip.startswith("Allow the text encoder")


def test_a_run_on_texts_needs_their_packages_until_it_has_its_vectors(study, cache, tmp_path):
    asked = {"dataset": str(tmp_path), "method": "dynamic_head"}
    texts = RunFolder.create(tmp_path, RunRequest(**asked, preset="paper"), name="texts")
    assert embedding_form.runNeedsText(texts)
    texts.embeddings_path.touch()
    assert not embedding_form.runNeedsText(texts)
    own = RunFolder.create(tmp_path, RunRequest(**asked, preset="paper", options={"embedding": "learned"}), name="own")
    assert not embedding_form.runNeedsText(own)


def test_resuming_a_run_on_texts_installs_their_packages_first(study, cache, monkeypatch):
    folder = study.panel.parameters.studyPath
    asked = {"dataset": str(folder), "method": "dynamic_head", "preset": "paper", "title": "texts"}
    run = RunFolder.create(jobs.runsFolder(folder), RunRequest(**asked), name="texts")
    run.write_status(RunStatus(state="failed", message="a package is missing"))
    study.panel.training.runs.look()
    study.panel.parameters.runFolder = str(run.path)
    study.panel.training._watch()
    process_events()
    wanted = []
    monkeypatch.setattr(study.panel, "ensurePackages", lambda then, *, withText=False: bool(wanted.append(withText)))
    open_box(study.ui.runsBox)
    click(study.ui.resumeButton)
    assert wanted == [True]


def test_the_choices_come_back_with_the_scene(study, tmp_path):
    parameters = study.panel.parameters
    parameters.embeddingFile, parameters.fetchesEncoder = "/somewhere/vectors.json", True
    process_events()
    assert study.ui.embeddingFileEdit.currentPath == "/somewhere/vectors.json"
    assert study.ui.fetchEncoderCheckBox.checked
