"""What the next training will be: preset, options made from the card, start, baseline, and what to know before."""

import pytest

from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegModule import dependencies, look_ahead, preflight
from SemiSegModule.panel.training_options import optionTitle, presetValues
from Testing.host.interaction import choose, click, process_events, set_slider, tick_cell, type_text, wait_until
from Testing.panel.studies import a_run, column, open_box, reopen_scene, show_whole, shown_run

# A new Python that imports torch on a busy machine.
PATIENCE_SECONDS = 200


def choose_method(study, name):
    choose(study.ui.methodComboBox, card_title(study, name))


def card_title(study, name):
    title = card_of(name).title
    return next(t for t in (title, f"{title} (recommended)") if study.ui.methodComboBox.findText(t) >= 0)


def editor(study, name):
    return study.panel.training.form.options.editor(name)


def label(study, name):
    return study.ui.optionsFrame.layout().labelForField(editor(study, name))


def test_the_rest_is_folded_and_the_panel_is_short(study, screenshot):
    for box in (study.ui.advancedBox, study.ui.runsBox, study.ui.logBox):
        assert box.collapsed
    assert not study.ui.optionsFrame.visible
    assert not study.ui.runsBox.visible
    assert not study.ui.logBox.visible
    assert not study.ui.plotFrame.visible
    show_whole(study)
    screenshot("training_folded", study.ui.trainingSection)


def test_presets_are_offered_where_a_method_has_several(study):
    choose_method(study, "marginal")
    assert not study.ui.presetComboBox.visible
    choose_method(study, "efficient_subclass")
    entries = [study.ui.presetComboBox.itemText(i) for i in range(study.ui.presetComboBox.count)]
    assert entries == ["SemiSeg's own", "As in the paper", "As in the authors' code"]
    choose_method(study, "cross_pseudo_supervision")
    entries = [study.ui.presetComboBox.itemText(i) for i in range(study.ui.presetComboBox.count)]
    assert entries == ["SemiSeg's own", "As in the paper", "As in the paper, unetr", "As in the paper, Dai et al."]


def test_a_preset_brings_its_options_training_and_plan_within_the_time_that_was_chosen(study, started):
    choose_method(study, "efficient_subclass")
    choose(study.ui.presetComboBox, "As in the paper")
    set_slider(study.ui.minutesSpinBox, 7)
    click(study.ui.trainButton)
    request = started[0].request
    assert request.preset == "paper"
    assert request.options == {}
    assert (request.training.optimizer, request.training.learning_rate) == ("sgd", 0.01)
    assert (request.training.seconds, request.training.steps) == (420.0, None)
    assert request.plan.backbone == "paper_unet"


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.name)
def test_the_form_shows_every_option_of_a_card_and_every_preset_as_the_library_takes_it(study, card):
    choose_method(study, card.name)
    open_box(study.ui.advancedBox)
    form = study.panel.training.form.options
    for preset in card.presets:
        form.show(card, preset, {})
        assert presetValues(card, preset) == resolve_options(card, preset, {})
        shown = {}
        form._onChanged = shown.update
        form._preset = dict.fromkeys(form._preset)
        form._onEdited()
        assert shown == pytest.approx(resolve_options(card, preset, {}))
    for option in card.options:
        assert editor(study, option.name).toolTip == option.text
        assert label(study, option.name).text == f"{optionTitle(option.name)}:"


def test_options_that_a_person_changes_are_asked_for_told_and_reset(study, started, screenshot):
    choose_method(study, "efficient_subclass")
    assert study.ui.advancedBox.title == "Advanced"
    open_box(study.ui.advancedBox)
    assert not study.ui.resetOptionsButton.enabled
    type_text(editor(study, "dice_weight"), "0.25")
    choose(editor(study, "mix"), "mixup")
    click(editor(study, "projection"))
    type_text(editor(study, "alpha_levels"), "3")
    assert study.ui.advancedBox.title == "Advanced (4 changed)"
    show_whole(study)
    screenshot("training_advanced", study.ui.trainingSection)
    click(study.ui.trainButton)
    changed = {"dice_weight": 0.25, "mix": "mixup", "projection": True, "alpha_levels": 3}
    assert started[0].request.options == changed
    resolve_options(card_of("efficient_subclass"), None, started[0].request.options)
    click(study.ui.resetOptionsButton)
    assert study.panel.parameters.options == {}
    assert editor(study, "dice_weight").value == 1.0
    assert study.ui.advancedBox.title == "Advanced"


def test_an_option_set_to_the_presets_value_is_no_change(study):
    choose_method(study, "supervised")
    open_box(study.ui.advancedBox)
    type_text(editor(study, "dice_weight"), "0.25")
    type_text(editor(study, "dice_weight"), "1")
    assert study.panel.parameters.options == {}


def test_options_are_kept_for_each_method(study):
    choose_method(study, "supervised")
    open_box(study.ui.advancedBox)
    type_text(editor(study, "dice_weight"), "0.25")
    choose_method(study, "efficient_subclass")
    assert editor(study, "dice_weight").value == 1.0
    choose_method(study, "supervised")
    assert editor(study, "dice_weight").value == 0.25


def test_a_number_cannot_leave_its_range_and_small_ones_are_shown_whole(study):
    choose_method(study, "attention_adversarial")
    open_box(study.ui.advancedBox)
    assert editor(study, "adversary_learning_rate").value == 0.0001
    type_text(editor(study, "dice_weight"), "500")
    assert editor(study, "dice_weight").value <= card_of("supervised").options[1].high


def test_a_training_goes_on_from_an_earlier_run(study, started):
    run = a_run(study.panel.parameters.studyPath, "first night")
    run.model_path.write_bytes(b"model")
    study.enter()
    entry = next(text for text in starts(study) if text.startswith("first night ("))
    choose(study.ui.startFromComboBox, entry)
    click(study.ui.trainButton)
    assert started[0].request.warm_start == str(run.model_path)
    choose(study.ui.startFromComboBox, "A new model")
    assert study.panel.parameters.warmStart == ""


def starts(study):
    return [study.ui.startFromComboBox.itemText(i) for i in range(study.ui.startFromComboBox.count)]


def test_a_training_goes_on_from_a_model_file(host, study, started, tmp_path):
    assert starts(study) == ["A new model", "Choose a model file..."]
    choose(study.ui.startFromComboBox, "Choose a model file...")
    assert study.ui.startFromComboBox.currentText == "A new model"
    host.dialogs.choose_path(str(tmp_path / "of a colleague.safetensors"))
    choose(study.ui.startFromComboBox, "Choose a model file...")
    assert study.ui.startFromComboBox.currentText == "of a colleague.safetensors"
    click(study.ui.trainButton)
    assert started[0].request.warm_start == str(tmp_path / "of a colleague.safetensors")


def test_the_baseline_is_queued_behind_the_training(study, started):
    click(study.ui.baselineCheckBox)
    click(study.ui.trainButton)
    first, second = started
    assert second.request.method == "supervised"
    assert second.request.use_regimes == ("full",)
    assert second.request.after == second.request.compare_with == str(first.path)
    assert second.request.training == first.request.training
    assert second.request.seed == first.request.seed
    assert shown_run(study) == first.request.title
    assert column(study.ui.runsTable, 0) == [f"{first.request.title}, fine labels alone", first.request.title]


def test_the_baseline_is_offered_only_where_there_is_something_to_compare(study, started):
    assert study.ui.baselineCheckBox.enabled
    assert "whether the other scans helped" in study.ui.baselineCheckBox.toolTip
    for row in (2, 3):
        tick_cell(study.ui.casesTable, row)
    assert not study.ui.baselineCheckBox.enabled
    assert study.ui.baselineCheckBox.toolTip == "This training uses fine labels alone."
    study.panel.parameters.withBaseline = True
    click(study.ui.trainButton)
    assert len(started) == 1


def test_what_to_know_before_a_training_is_said_before_it(study, monkeypatch):
    assert study.ui.preflightLabel.text.startswith("\u2713 Needs about 0.5 GB of disk; ")
    monkeypatch.setattr(preflight, "freeBytes", lambda folder: 1000)
    monkeypatch.setattr(dependencies, "missing", lambda **_more: ["torch>=2.4.1", "monai>=1.5.1"])
    tick_cell(study.ui.casesTable, 3)
    first, second = study.ui.preflightLabel.text.split("\n")
    assert first == "\u26a0 2 packages are missing; Train offers to install them."
    assert second.startswith("\u26a0 The disk is too full: about 0.5 GB are needed, 0.1 GB are free.")
    for row in range(3):
        tick_cell(study.ui.casesTable, row)
    # The Train button says what is missing then.
    assert not study.ui.preflightFrame.visible


def test_packages_are_looked_for_when_the_module_is_entered_and_not_at_each_refresh(study, monkeypatch):
    looks = []
    monkeypatch.setattr(dependencies, "missing", lambda **_more: looks.append(1) or ["monai>=1.5.1"])
    for _again in range(3):
        study.panel.refresh()
    assert looks == []
    assert study.ui.preflightButton.enabled
    study.enter()
    study.panel.refresh()
    assert looks == [1]
    assert study.ui.preflightButton.toolTip == "Packages are missing."


def test_what_a_training_needs_is_worked_out_beside_slicer_without_writing(study, screenshot):
    before = study.ui.preflightLabel.text
    click(study.ui.preflightButton)
    assert study.ui.preflightLabel.text == "Working out what the training needs..."
    assert not study.ui.preflightButton.enabled
    wait_until(lambda: study.panel.training.preflight._command is None, seconds=PATIENCE_SECONDS)
    process_events()
    text = study.ui.preflightLabel.text
    assert "Training takes samples of " in text
    assert "Memory: about " in text
    assert "about 0.0 GB" not in text
    assert study.ui.preflightButton.enabled
    assert not study.panel.parameters.studyPath.exists()
    show_whole(study)
    screenshot("training_preflight", study.ui.trainingSection)
    # Other choices, other needs.
    tick_cell(study.ui.casesTable, 3)
    assert study.ui.preflightLabel.text.split(";")[0] == before.split(";")[0]


def test_what_cannot_be_worked_out_is_said():
    (remark,) = look_ahead.remarksOf(["Traceback", "ImportError: no torch"])
    assert remark.isWarning
    assert remark.text.endswith("could not be worked out: ImportError: no torch")


def test_the_disk_of_a_folder_that_is_not_there_yet_is_looked_at(tmp_path):
    assert preflight.freeBytes(tmp_path / "a" / "b") == preflight.freeBytes(tmp_path)


def test_choices_are_saved_with_the_scene(study, tmp_path):
    choose_method(study, "efficient_subclass")
    choose(study.ui.presetComboBox, "As in the paper")
    open_box(study.ui.advancedBox)
    type_text(editor(study, "dice_weight"), "0.25")
    click(study.ui.baselineCheckBox)
    reopen_scene(tmp_path / "scene.mrb")
    assert study.ui.presetComboBox.currentText == "As in the paper"
    assert editor(study, "dice_weight").value == 0.25
    assert study.ui.baselineCheckBox.checked


def test_another_preset_forgets_what_was_changed_of_the_first(study):
    choose_method(study, "efficient_subclass")
    open_box(study.ui.advancedBox)
    type_text(editor(study, "dice_weight"), "0.25")
    choose(study.ui.presetComboBox, "As in the paper")
    assert study.panel.parameters.options == {}
    assert editor(study, "dice_weight").value == 0.5
