"""Stand-ins of CTK widgets behave as a person and a module expect, under clicks and typed text."""

import ctk
import pytest
import qt
import slicer

from Testing.host.interaction import choose, click, process_events, set_slider, type_text


@pytest.fixture
def window():
    """A shown window that widgets can be put into."""
    top = qt.QWidget()
    qt.QVBoxLayout(top)
    top.resize(400, 400)
    top.show()
    process_events()
    yield top
    top.hide()


def put(window, widget):
    window.layout().addWidget(widget)
    process_events()
    return widget


def heard(signal):
    values = []
    signal.connect(lambda *arguments: values.append(arguments))
    return values


def test_a_section_opens_and_closes_by_its_header_only(window, screenshot):
    section = ctk.ctkCollapsibleButton()
    section.text = "Cases"
    inside, hidden = qt.QLabel("inside"), qt.QLabel("hidden by its owner")
    layout = qt.QVBoxLayout(section)
    layout.addWidget(inside)
    layout.addWidget(hidden)
    hidden.visible = False
    put(window, section)
    closed = heard(section.contentsCollapsed)
    screenshot("section_open", window)
    click(section)
    assert section.collapsed
    assert not inside.visible
    click(section)
    assert not section.collapsed
    assert inside.visible
    assert not hidden.visible
    section.collapsed = True
    hidden.visible = True
    assert not hidden.visible
    section.collapsed = False
    assert hidden.visible
    click(inside)
    assert closed == [(True,), (False,), (True,), (False,)]


def test_what_is_added_to_a_closed_section_shows_when_it_opens(window):
    section = put(window, ctk.ctkCollapsibleButton())
    layout = qt.QVBoxLayout(section)
    section.collapsed = True
    label = qt.QLabel("later")
    layout.addWidget(label)
    process_events()
    section.collapsed = False
    process_events()
    assert label.visible


def test_a_slider_keeps_its_bounds_and_tells_each_change_once(window):
    slider = put(window, ctk.ctkSliderWidget())
    assert (slider.minimum, slider.maximum, slider.value) == (0.0, 99.0, 0.0)
    slider.maximum = 10
    changes = heard(slider.valueChanged)
    set_slider(slider, 7.5)
    slider.value = 50
    assert slider.value == 10.0
    assert changes == [(7.0,), (7.5,), (10.0,)]
    with pytest.raises(AttributeError):
        slider.setMaximum = 3


def test_a_path_edit_tells_its_text_and_remembers_a_history(window, host, tmp_path):
    edit = put(window, ctk.ctkPathLineEdit())
    edit.settingKey = "SemiSeg/model"
    paths, valid = heard(edit.currentPathChanged), heard(edit.validInputChanged)
    edit.currentPath = str(tmp_path)
    assert edit.currentPath == str(tmp_path)
    assert paths == [(str(tmp_path),)]
    assert valid == [(True,)]
    edit.addCurrentPathToHistory()
    again = put(window, ctk.ctkPathLineEdit())
    again.settingKey = "SemiSeg/model"
    again.retrieveHistory()
    assert again.comboBox().itemText(0) == str(tmp_path)
    edit.filters = ctk.ctkPathLineEdit.Files
    host.dialogs.choose_path("/some/model.safetensors")
    edit.browse()
    assert edit.currentPath == "/some/model.safetensors"


def test_a_directory_button_asks_for_a_folder(window, host, tmp_path):
    button = put(window, ctk.ctkDirectoryButton())
    assert button.directory == "."
    changes, chosen = heard(button.directoryChanged), heard(button.directorySelected)
    host.dialogs.choose_path(tmp_path)
    button.browse()
    assert button.directory == str(tmp_path)
    assert changes == chosen == [(str(tmp_path),)]


def test_a_color_button_takes_the_color_of_the_dialog(window, host):
    button = put(window, ctk.ctkColorPickerButton())
    colors = heard(button.colorChanged)
    host.dialogs.choose_color("#102030")
    click(button)
    assert button.color.name() == "#102030"
    assert len(colors) == 1


def test_the_box_of_a_checkable_button_is_not_the_button(window):
    button = put(window, ctk.ctkCheckablePushButton())
    button.text = "Auto"
    clicks, boxes = heard(button.clicked), heard(button.checkBoxToggled)
    click(button, qt.QPoint(12, button.height // 2))
    assert button.checkState == qt.Qt.Checked
    assert (clicks, boxes) == ([], [(True,)])
    click(button)
    assert len(clicks) == 1


def test_a_combo_box_tells_user_data(window):
    combo = put(window, ctk.ctkComboBox())
    combo.addItem("Marginal loss", "marginal")
    combo.addItem("Supervised", "supervised")
    choose(combo, "Supervised")
    assert combo.currentUserDataAsString == "supervised"
    with pytest.raises(AssertionError, match="no entry 'Nothing'"):
        choose(combo, "Nothing")


def test_a_text_browser_folds_its_details(window):
    browser = put(window, ctk.ctkFittedTextBrowser())
    browser.setCollapsibleText("Short.<br>The long story.")
    assert "long story" not in browser.plainText
    browser.collapsed = False
    assert "long story" in browser.plainText


def test_a_message_box_that_shall_not_be_shown_again_is_not(host):
    def ask():
        box = ctk.ctkMessageBox()
        box.text = "Really?"
        box.dontShowAgainSettingsKey = "SemiSeg/DontAsk"
        box.setStandardButtons(qt.QMessageBox.Yes | qt.QMessageBox.No)
        box.dontShowAgain = True
        return box.exec_()

    host.dialogs.answer(qt.QMessageBox.Yes)
    assert ask() == qt.QMessageBox.Yes
    assert ask() == qt.QMessageBox.Yes
    assert host.dialogs.shown("info") == ["Really?"]


def test_what_a_person_can_not_do_a_test_can_not_do(window):
    button = put(window, qt.QPushButton("no"))
    button.enabled = False
    with pytest.raises(AssertionError, match="disabled"):
        click(button)
    button.visible = False
    with pytest.raises(AssertionError, match="not visible"):
        click(button)


def test_typed_text_arrives_with_its_signals(window):
    edit = put(window, qt.QLineEdit("old"))
    finished = heard(edit.editingFinished)
    type_text(edit, "new")
    assert edit.text == "new"
    assert finished


def test_what_the_host_lacks_and_what_slicer_lacks_are_told_apart():
    button = slicer.qMRMLSegmentationShow3DButton()
    with pytest.raises(NotImplementedError, match="setSegmentationNode exists in Slicer"):
        button.setSegmentationNode(None)
    with pytest.raises(AttributeError, match="has no attribute named 'setSegment'"):
        button.setSegment(None)
    with pytest.raises(AttributeError, match="qMRMLNope"):
        slicer.qMRMLNope()


def test_dialogs_are_remembered_word_for_word_and_answered(host):
    assert slicer.util.confirmOkCancelDisplay("Install 3 packages?", windowTitle="SemiSeg")
    host.dialogs.answer(False)
    assert not slicer.util.confirmYesNoDisplay("Delete?")
    slicer.util.errorDisplay("It failed", detailedText="why")
    slicer.util.showStatusMessage("done")
    host.dialogs.answer(False)
    assert qt.QMessageBox.question(None, "Title", "Stop?") == qt.QMessageBox.No
    assert qt.QFileDialog.getOpenFileName(None, "Open", "", "*.json") == ""
    host.dialogs.choose_path("/a.json")
    assert qt.QFileDialog.getOpenFileName(None, "Open", "", "*.json") == "/a.json"
    dialog = qt.QFileDialog(None, "Save", "", "A (*.a);;B (*.b)")
    assert dialog.exec() == qt.QDialog.Rejected
    host.dialogs.choose_file("/c", "B (*.b)")
    assert dialog.exec() == qt.QDialog.Accepted
    assert (dialog.selectedFiles()[0], dialog.selectedNameFilter()) == ("/c", "B (*.b)")
    assert host.dialogs.shown("confirm") == ["Install 3 packages?", "Delete?", "Stop?"]
    assert host.dialogs.shown("error") == ["It failed"]
    assert host.dialogs.messages[2].details == {"detailedText": "why"}
    assert host.dialogs.shown("status") == ["done"]


def test_an_answer_nobody_asked_for_is_a_problem(host):
    host.dialogs.answer(True)
    assert host.problems() == ["nobody asked for the prepared answer True"]
    host.dialogs.clear()


def test_an_own_dialog_needs_somebody_who_answers(host):
    dialog = qt.QDialog()
    with pytest.raises(AssertionError, match="nobody answers"):
        dialog.exec_()
    host.dialogs.handle(lambda shown: shown.setWindowTitle("seen") or qt.QDialog.Accepted)
    assert dialog.exec_() == qt.QDialog.Accepted
    assert dialog.windowTitle == "seen"
