"""The model: what its file says, opened from anywhere, exported as one file, refused where it does not fit."""

import pytest
from PySide6 import QtGui

from SemiSegLib.errors import CaseError, CheckpointError
from SemiSegModule import jobs
from SemiSegModule.logic import StudyLogic
from Testing.bridge import scenes
from Testing.host.interaction import click, drop_files, process_events, tick_cell, type_text, wait_until
from Testing.panel.models import a_model_file
from Testing.panel.studies import a_run, a_small_study


def plain(label):
    document = QtGui.QTextDocument()
    document.setHtml(label.text)
    return document.toPlainText().replace("\u00a0", " ")


def test_the_panel_says_what_a_model_segments_and_where_it_comes_from(panel, tmp_path):
    model = a_model_file(tmp_path / "model.safetensors")
    type_text(panel.ui.modelEdit, str(model))
    lines = plain(panel.ui.modelInfoLabel).split("\n")
    assert lines[0] == "Segments: organ (\u25a0 head, \u25a0 tail), \u25a0 vessel"
    assert lines[1] == "Channels: image"
    assert lines[2].startswith("Method: ")
    assert lines[3] == "Trained on cases: 4 fine, 8 coarse (2026-11-20)"
    assert lines[4] == "Validation Dice: 0.88 (head 0.85, tail 0.84)"
    assert lines[5] == "File: 1 kB"
    assert "#e61a1a" in panel.ui.modelInfoLabel.text


def test_a_model_of_ct_says_so(panel, tmp_path):
    type_text(panel.ui.modelEdit, str(a_model_file(tmp_path / "model.safetensors", normalization="ct")))
    assert plain(panel.ui.modelInfoLabel).split("\n")[1] == "Channels: image (CT)"


def test_a_model_is_opened_by_its_button_and_used_without_any_study(host, panel, tmp_path):
    model = a_model_file(tmp_path / "elsewhere" / "model.safetensors")
    host.dialogs.choose_path(str(model))
    click(panel.ui.openModelButton)
    assert panel.panel.model.path == model
    assert panel.ui.modelEdit.currentPath == str(model)
    assert panel.ui.applyButton.toolTip == "Tick at least one volume."


@pytest.mark.parametrize(
    ("content", "words"), [(b"a letter", "not a model file"), (None, "does not exist"), ("newer", "format 99")]
)
def test_a_file_that_is_no_model_is_refused_with_a_sentence_and_the_old_one_stays(
    host, panel, tmp_path, content, words
):
    model = a_model_file(tmp_path / "model.safetensors")
    type_text(panel.ui.modelEdit, str(model))
    other = tmp_path / "other.safetensors"
    if content == "newer":
        a_model_file(other, number=99)
    elif content is not None:
        other.write_bytes(content)
    host.dialogs.choose_path(str(other))
    click(panel.ui.openModelButton)
    (message,) = host.dialogs.shown("error")
    assert message.startswith("The model cannot be used.")
    assert words in message
    assert panel.panel.model.path == model


def test_a_typed_path_of_a_foreign_file_is_explained_and_cannot_be_applied(panel, tmp_path):
    a_small_study()
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"a letter")
    type_text(panel.ui.modelEdit, str(foreign))
    tick_cell(panel.ui.applyVolumesList, 0)
    assert "not a model file" in plain(panel.ui.modelInfoLabel)
    assert not panel.ui.applyButton.enabled
    assert "not a model file" in panel.ui.applyButton.toolTip
    assert not panel.ui.exportModelButton.enabled


@pytest.mark.parametrize("target", ["modelSection", "modelEdit"])
def test_a_model_file_is_dropped_on_the_section(panel, tmp_path, target):
    model = a_model_file(tmp_path / "model.safetensors")
    widget = getattr(panel.ui, target)
    assert drop_files(widget.comboBox().lineEdit() if target == "modelEdit" else widget, [model])
    assert panel.panel.model.path == model


def test_other_files_that_are_dropped_are_left_to_slicer(panel, tmp_path):
    scan = tmp_path / "scan.nrrd"
    scan.write_bytes(b"")
    assert not drop_files(panel.ui.modelSection, [scan])


def test_a_model_is_exported_as_one_file_that_says_the_same(host, panel, tmp_path):
    run = a_run(tmp_path)
    a_model_file(run.model_path)
    panel.panel.parameters.studyFolder = str(tmp_path)
    panel.panel.parameters.runFolder = str(run.path)
    process_events()
    target = tmp_path / "usb stick" / "for José"
    host.dialogs.choose_path(str(target))
    click(panel.ui.exportModelButton)
    copy = target.with_name("for José.safetensors")
    assert copy.read_bytes() == run.model_path.read_bytes()
    assert panel.ui.applyStatusLabel.text == "Exported for José.safetensors, 1 kB."
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]


def test_a_file_that_the_dialog_has_not_asked_of_is_replaced_only_after_a_yes(host, panel, tmp_path):
    model = a_model_file(tmp_path / "model.safetensors")
    type_text(panel.ui.modelEdit, str(model))
    other = tmp_path / "liver.safetensors"
    other.write_bytes(b"another model")
    for isYes in (False, True):
        host.dialogs.choose_path(str(other.with_suffix("")))
        host.dialogs.answer(isYes)
        click(panel.ui.exportModelButton)
        assert (other.read_bytes() == model.read_bytes()) is isYes
    assert host.dialogs.shown("confirm") == ["liver.safetensors exists already. Replace it?"] * 2
    # The dialog itself asks of the name that is chosen in it.
    host.dialogs.choose_path(str(other))
    click(panel.ui.exportModelButton)
    assert len(host.dialogs.shown("confirm")) == 2


def test_a_model_that_cannot_be_reached_is_none(panel, tmp_path):
    type_text(panel.ui.modelEdit, str(tmp_path / f"{'x' * 300}.safetensors"))
    panel.panel.refresh()
    assert panel.panel.model.path is None
    assert "choose it where it is now" in panel.ui.exportModelButton.toolTip


def test_a_chosen_model_that_was_moved_is_told_by_its_path(panel, tmp_path):
    file = a_model_file(tmp_path / "model.safetensors")
    type_text(panel.ui.modelEdit, str(file))
    wait_until(lambda: panel.panel.model.path == file, what="the model is looked at")
    file.rename(tmp_path / "elsewhere.safetensors")
    panel.panel.refresh()
    wait_until(lambda: panel.panel.model.path is None, what="the model is looked at again")
    panel.panel.refresh()
    expected = f"There is no model file {file}: choose it where it is now, or connect its drive."
    assert panel.ui.modelInfoLabel.text == expected
    assert panel.panel.model.whyNot == expected
    type_text(panel.ui.modelEdit, "")
    wait_until(lambda: "No model yet" in panel.ui.modelInfoLabel.text, what="nothing is chosen")


def test_an_export_that_cannot_be_written_is_told(host, panel, tmp_path):
    type_text(panel.ui.modelEdit, str(a_model_file(tmp_path / "model.safetensors")))
    (tmp_path / "file").write_text("no folder")
    host.dialogs.choose_path(str(tmp_path / "file" / "copy.safetensors"))
    click(panel.ui.exportModelButton)
    assert host.dialogs.shown("error")[0].startswith("The model could not be exported.")


def a_volume(name):
    return scenes.a_volume(scenes.np.random.default_rng(0), name=name)


def test_a_scan_without_a_channel_of_the_model_is_refused_before_anything_is_written(host, panel, tmp_path):
    model = a_model_file(tmp_path / "model.safetensors", channels=("T1", "T2"))
    with pytest.raises(CaseError, match="there is no T1, T2"):
        StudyLogic().applyModel(model, [a_volume("Ann")], folder=tmp_path / "applied")
    assert not (tmp_path / "applied").exists()


def test_channels_are_matched_by_role_and_those_that_the_model_does_not_know_are_left_out(host, monkeypatch, tmp_path):
    monkeypatch.setattr(jobs, "startWorker", lambda job: None)
    model = a_model_file(tmp_path / "model.safetensors", channels=("T1", "T2"))
    volumes = {"FLAIR": a_volume("flair"), "T2": a_volume("t2"), "T1": a_volume("t1")}
    job = StudyLogic().applyModel(model, [volumes], folder=tmp_path / "applied")
    (case,) = job.job.cases
    assert list(case.images) == ["T1", "T2"]
    assert "t1_T1" in case.images["T1"]


def test_console_calls_refuse_what_is_no_model(host, tmp_path):
    with pytest.raises(CaseError, match="there is no model"):
        StudyLogic().applyModel(tmp_path / "none.safetensors", [a_volume("Ann")])
    with pytest.raises(CheckpointError, match="does not exist"):
        StudyLogic().exportModel(tmp_path / "none.safetensors", tmp_path / "copy.safetensors")
