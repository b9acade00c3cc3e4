"""Scrolling the long panel changes nothing that the pointer passes."""

import re
from pathlib import Path

import ctk
import pytest
import qt

from SemiSegModule.panel.case_table import LABELS
from Testing.host.interaction import choose, click_cell, process_events, turn_wheel
from Testing.panel.studies import a_small_study

EXTENSION = Path(__file__).resolve().parents[2] / "SemiSegExtension"


@pytest.fixture
def study(panel):
    a_small_study()
    process_events()
    return panel


def test_every_list_of_the_panel_is_one_that_the_wheel_scrolls_past(study):
    # Lists of nodes have no such choice; Slicer's other modules have them too.
    lists = [box for box in vars(study.ui).values() if box.className() in ("QComboBox", "ctkComboBox")]
    assert len(lists) >= 12
    for box in lists:
        assert box.scrollWheelEffect == ctk.ctkComboBox.ScrollWithFocus, box.objectName
        assert box.focusPolicy == qt.Qt.StrongFocus, box.objectName


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
