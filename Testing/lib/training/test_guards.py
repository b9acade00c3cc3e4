import pytest

from SemiSegLib.training.guards import CollapseGuard, NonFiniteError, NonFiniteGuard
from Testing.lib.training.tiny_training import a_batch


def test_the_cases_with_extreme_intensities_are_named_first():
    guard = NonFiniteGuard()
    bad = a_batch(7)
    bad.image[1, 0, 0, 0, 0] = 1e30
    text = guard.skip([a_batch(3), bad], step=4, precision="fp16")
    assert "case_7_1" in text
    assert "case_3" not in text
    assert guard.case_ids() == ("case_7_1",)


def test_a_good_step_forgives():
    guard = NonFiniteGuard()
    for step in range(19):
        guard.skip([a_batch(step)], step=step, precision="fp32")
    guard.passed()
    guard.skip([a_batch(0)], step=20, precision="fp32")
    assert guard.in_a_row == 1


def test_the_twentieth_in_a_row_raises_and_a_long_list_of_cases_is_cut():
    guard = NonFiniteGuard()
    for step in range(19):
        guard.skip([a_batch(step)], step=step, precision="fp32")
    with pytest.raises(NonFiniteError, match=r"case_0_0.* and 32 more"):
        guard.skip([a_batch(19)], step=19, precision="fp32")


def test_an_alarm_comes_after_five_empty_validations_in_a_row_and_again_after_ten():
    guard = CollapseGuard()
    alarms = [guard.look({"organ": 0, "vessel": 3}) for _ in range(10)]
    assert [len(found) for found in alarms] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert guard.look({"organ": 5, "vessel": 3}) == []
    assert guard.counts == {"organ": 0, "vessel": 0}


def test_the_count_of_empty_validations_goes_on_after_a_resume():
    first = CollapseGuard()
    for _ in range(4):
        first.look({"organ": 0})
    assert len(CollapseGuard(first.counts).look({"organ": 0})) == 1
