"""Scrolling the long panel changes nothing that the pointer passes."""

import re
from pathlib import Path

import ctk
import pytest
import qt
import slicer
from PySide6 import QtWidgets

from SemiSegLib.methods.cards import CARDS
from SemiSegModule.panel.case_table import LABELS
from Testing.host.interaction import choose, click, click_cell, process_events, turn_wheel
from Testing.panel.studies import a_small_study

EXTENSION = Path(__file__).resolve().parents[2] / "SemiSegExtension"


@pytest.fixture
def study(panel):
    a_small_study()
    process_events()
    return panel


def test_every_list_of_the_panel_is_one_that_the_wheel_scrolls_past(study):
    study.panel.parameters.channels = ["T1", "T2"]
    process_events()
    lists = slicer.util.findChildren(study.form, className="ctkComboBox")
    # With the lists of nodes, which have theirs within.
    assert len(lists) >= 15
    for box in lists:
        name = box.objectName or box.parent().objectName
        assert box.scrollWheelEffect == ctk.ctkComboBox.ScrollWithFocus, name
        assert box.focusPolicy == qt.Qt.StrongFocus, name


def test_no_form_and_no_file_of_the_module_makes_a_list_that_the_wheel_changes():
    files = [*EXTENSION.rglob("*.py"), *EXTENSION.rglob("*.ui")]
    plain = [f.name for f in files if re.search(r'QComboBox\(\)|class="QComboBox"', f.read_text(encoding="utf-8"))]
    assert plain == []


def test_the_wheel_over_the_meaning_of_a_segment_leaves_it(study):
    click_cell(study.ui.casesTable, 0, LABELS)
    study.ui.labelsSection.collapsed = False
    process_events()
    combo = study.ui.meaningsTable.cellWidget(0, 1)
    before = combo.currentIndex
    for notches in (-1, 1, 1):
        turn_wheel(combo, notches)
        assert combo.currentIndex == before


def test_the_wheel_over_a_list_chooses_nothing(study):
    combo = study.ui.methodComboBox
    study.ui.trainingSection.collapsed = False
    process_events()
    before, told = combo.currentIndex, []
    combo.connect("activated(int)", told.append)
    assert combo.count > 2
    for notches in (-1, -1, 1):
        turn_wheel(combo, notches)
    assert (combo.currentIndex, told) == (before, [])
    combo.setFocus()
    turn_wheel(combo, -1)
    assert combo.currentIndex != before
    choose(combo, combo.itemText(before))


def all_shown(study):
    """Open every section, so that the wheel can be turned over every field of it."""
    for kind in ("ctkCollapsibleButton", "ctkCollapsibleGroupBox"):
        for section in slicer.util.findChildren(study.form, className=kind):
            section.collapsed = False
    process_events()


def leaves_it(field, value):
    """Whether the wheel changes nothing of a field without the focus, gives it none, and goes on to the panel."""
    before = value()
    field.clearFocus()
    for notches in (-1, 1, 1):
        is_taken = turn_wheel(field, notches)
        assert value() == before, field.objectName
        assert not is_taken, field.objectName
    assert not field.hasFocus(), field.objectName


def test_the_wheel_over_a_number_leaves_it_until_it_is_clicked(study):
    all_shown(study)
    box = study.ui.minutesSpinBox
    box.value = 30
    leaves_it(box, lambda: box.value)
    click(box)
    turn_wheel(box, 1)
    assert box.value == 31


def test_the_wheel_changes_no_number_of_any_method(study):
    all_shown(study)
    options, seen = study.panel.training.form.options, set()
    for card in CARDS:
        options.show(card, "", {})
        process_events()
        for number in study.form.findChildren(QtWidgets.QAbstractSpinBox):
            if number.isVisible() and number.isEnabled():
                leaves_it(number, lambda number=number: number.value)
                seen.add(number.className())
    assert seen == {"QSpinBox", "QDoubleSpinBox"}


@pytest.mark.parametrize("name", ["studyFolderEdit", "embeddingFileEdit", "modelEdit"])
def test_the_wheel_over_a_path_takes_none_of_the_history(study, name):
    edit = getattr(study.ui, name)
    # So that all three are asked for.
    parameters = study.panel.parameters
    parameters.method, parameters.options = "dynamic_head", {"dynamic_head": {"embedding": "file"}}
    all_shown(study)
    combo = edit.comboBox()
    combo.addItems(["/data/one", "/data/two"])
    combo.setEditText("/data/now")
    leaves_it(combo, lambda: edit.currentPath)


def test_the_wheel_over_a_list_of_nodes_takes_no_other_node(study):
    click_cell(study.ui.casesTable, 0, 0)
    all_shown(study)
    selector = study.ui.caseSegmentationSelector
    (combo,) = slicer.util.findChildren(selector, className="ctkComboBox")
    assert combo.count > 1
    leaves_it(combo, lambda: selector.currentNodeID)
