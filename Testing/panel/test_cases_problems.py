"""Several things that are doubtful about one case: each is told below the table, each fix has its button there."""

import numpy as np
import slicer

from Testing.bridge import scenes
from Testing.host.interaction import choose, click, click_cell, process_events, type_text, wait_until
from Testing.panel.studies import a_small_study, column, show_whole

LABELS, CHECK = 2, 5


def checked(panel):
    # A case that has a problem already does not show that it is still being looked at.
    wait_until(lambda: not panel.panel.cases.checks.isBusy, what="the cases are checked")
    process_events()


def with_three_problems(panel):
    """The small study of which Ann's patient is on two sides, her vessel empty, and one of her channels missing."""
    volumes = a_small_study()
    node = slicer.util.getNode("Ann drawn")
    slicer.util.updateSegmentBinaryLabelmapFromArray(
        np.zeros(scenes.SHAPE, np.uint8), node, "id vessel", volumes["Ann"]
    )
    scenes.a_volume(np.random.default_rng(7), name="Ann FLAIR")
    process_events()
    panel.ui.structuresSection.collapsed = False
    process_events()
    type_text(panel.ui.channelsEdit, "T1, FLAIR")
    panel.ui.structuresSection.collapsed = True
    for row, side in ((1, "validation"), (0, "training")):
        click_cell(panel.ui.casesTable, row, LABELS)
        choose(panel.ui.caseSideComboBox, side)
        type_text(panel.ui.casePatientEdit, "twin")
    checked(panel)


def buttons(panel):
    """Words of the buttons that a person sees."""
    lines = panel.panel.cases.details.problemList
    count = len(panel.panel.cases.problems.of(panel.panel.view, 0, _check(panel)))
    return [lines.button(number).text if lines.button(number).visible else "" for number in range(count)]


def _check(panel):
    return panel.panel.cases.checks.result(panel.panel.view.cases[0], panel.panel.view.scheme)


def test_every_problem_of_a_case_has_its_own_button(panel, screenshot):
    with_three_problems(panel)
    lines = panel.panel.cases.details.problemList
    # What is drawn is looked at once the channels are there.
    assert buttons(panel) == ["Use Ann FLAIR", "All to training"]
    click(panel.ui.fixCaseButton)
    checked(panel)
    # A note that the channel has another grid has nothing to click.
    assert buttons(panel) == ["All to training", "Count as not looked for", ""]
    show_whole(panel)
    screenshot("cases_problems", panel.parent)
    click(lines.button(1))
    checked(panel)
    assert panel.panel.view.cases[0].lookedFor == ("head", "tail")
    assert buttons(panel) == ["All to training", ""]
    click(lines.button(0))
    checked(panel)
    assert panel.panel.view.sideConflicts == {}
    assert [side.side for side in panel.panel.view.cases[:2]] == ["train", "train"]
    assert buttons(panel) == [""]
    assert column(panel.ui.casesTable, CHECK)[0] == "note"


def test_lines_are_used_again_for_a_case_with_fewer_problems(panel):
    with_three_problems(panel)
    lines = panel.panel.cases.details.problemList
    button = lines.button(1)
    panel.panel.refresh()
    assert lines.button(1) is button
    click_cell(panel.ui.casesTable, 3, LABELS)
    checked(panel)
    assert "The volume of channel FLAIR is missing" in panel.ui.caseCheckLabel.text
    assert not button.visible
    click_cell(panel.ui.casesTable, 0, LABELS)
    checked(panel)
    assert button.visible
    assert button.text == "All to training"


def test_slices_that_nobody_has_named_are_told_beside_another_problem(panel):
    a_small_study()
    for row, side in ((1, "validation"), (0, "training")):
        click_cell(panel.ui.casesTable, row, LABELS)
        choose(panel.ui.caseSideComboBox, side)
        type_text(panel.ui.casePatientEdit, "twin")
    choose(panel.ui.regionComboBox, "some slices")
    checked(panel)
    assert buttons(panel) == ["Show in Labels", "All to training"]
    assert "Name the slices that were annotated" in panel.ui.caseCheckLabel.text
