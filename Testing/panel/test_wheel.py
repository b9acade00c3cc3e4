"""Scrolling the long panel changes nothing that the pointer passes."""

import ctk
import pytest
import qt

from Testing.host.interaction import choose, process_events, turn_wheel
from Testing.panel.studies import a_small_study


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
