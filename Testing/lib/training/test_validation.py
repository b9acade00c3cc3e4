import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from SemiSegLib.batches.store import PreparedCase
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.method import Method
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.training.validation import Validation, ValidationStoppedError, judge_case, summarize

SCHEME = LabelScheme(
    name="test",
    structures=(
        Structure(name="organ", color=(1, 0, 0)),
        Structure(name="head", color=(1, 1, 0), parent="organ"),
        Structure(name="tail", color=(1, 0, 1), parent="organ"),
        Structure(name="vessel", color=(0, 0, 1)),
    ),
)
BACKGROUND, HEAD, TAIL, VESSEL = range(4)
ANYTHING, NOTHING, IN_HEAD, IN_TAIL, IN_VESSEL, IN_ORGAN = (
    frozenset(s) for s in ({0, 1, 2, 3}, {0}, {1}, {2}, {3}, {1, 2})
)


def a_case(sets, case_id="a", shape=(1, 1, -1)):
    table = LabelSetTable.of(4, sets)
    codes = np.array([table.code(s) for s in sets], dtype=np.uint8).reshape(shape)
    image = np.zeros((1, *codes.shape), dtype=np.float16)
    return PreparedCase(case_id, image, codes, table, Regime.FULL, (1.0, 1.0, 1.0), {}, np.zeros((0, 3), int))


def judge(sets, leaves):
    return judge_case(np.array(leaves, dtype=np.uint8).reshape(1, 1, -1), a_case(sets), SCHEME)


def test_dice_of_a_fully_labeled_case_worked_by_hand():
    result = judge([NOTHING, IN_HEAD, IN_HEAD, IN_TAIL, IN_VESSEL], [HEAD, HEAD, TAIL, TAIL, BACKGROUND])
    # head: both 1, predicted 2, reference 2; tail: 1, 2, 1; organ: 3, 4, 3; vessel: 0, 0, 1.
    assert result.dice == pytest.approx({"head": 0.5, "tail": 2 / 3, "organ": 6 / 7, "vessel": 0.0})
    assert result.predicted == {"head": 2, "tail": 2, "organ": 4, "vessel": 0}


def test_a_coarse_case_scores_the_superclass_and_not_its_leaves():
    result = judge([NOTHING, IN_ORGAN, IN_ORGAN, IN_VESSEL], [HEAD, HEAD, TAIL, VESSEL])
    assert result.dice == pytest.approx({"organ": 2 * 2 / (3 + 2), "vessel": 1.0})


def test_a_partly_annotated_case_scores_only_what_is_known():
    # Two slices were never looked at: what is predicted there counts neither for nor against.
    result = judge([IN_HEAD, NOTHING, ANYTHING, ANYTHING], [HEAD, BACKGROUND, HEAD, VESSEL])
    assert result.dice == {"head": 1.0, "organ": 1.0}


def test_a_class_that_is_absent_counts_only_where_it_was_predicted():
    assert judge([NOTHING, IN_VESSEL], [BACKGROUND, VESSEL]).dice == {"vessel": 1.0}
    assert judge([NOTHING, IN_VESSEL], [HEAD, VESSEL]).dice == {"organ": 0.0, "head": 0.0, "vessel": 1.0}


def test_means_are_over_the_cases_in_which_a_class_is_known():
    results = {
        "fine": judge([IN_HEAD, IN_TAIL], [HEAD, TAIL]),
        "coarse": judge([IN_ORGAN, NOTHING], [BACKGROUND, BACKGROUND]),
    }
    scores = summarize(results, SCHEME)
    assert scores.dice == {"organ": 0.5, "head": 1.0, "tail": 1.0}
    assert scores.cases == {"organ": 2, "head": 1, "tail": 1}
    assert scores.mean_dice == 1.0
    assert scores.by_case["coarse"] == {"organ": 0.0}


def test_superclasses_choose_the_best_where_no_leaf_can_be_judged():
    scores = summarize({"coarse": judge([IN_ORGAN, NOTHING, IN_ORGAN], [HEAD, TAIL, BACKGROUND])}, SCHEME)
    assert scores.mean_dice == pytest.approx(0.5)
    assert summarize({}, SCHEME).mean_dice is None


def test_counts_larger_than_32_bits_do_not_overflow():
    many = 2**33
    from SemiSegLib.evaluation.counts import count_voxels, judged_structures

    table = LabelSetTable.of(4, [NOTHING, IN_HEAD])
    joint = np.zeros((4, len(table)), dtype=np.int64)
    joint[HEAD, table.code(IN_HEAD)] = many
    head = next(s for s in judged_structures(SCHEME, table) if s.name == "head")
    assert count_voxels(joint, head).both == many


class Bright(Method):
    """Predicts head where the image is above 0, tail elsewhere."""

    def losses(self, batch, progress):
        yield from ()

    def predict(self, image):
        head = (image > 0).float()
        return torch.cat([torch.zeros_like(head), head, 1 - head, torch.zeros_like(head)], dim=1)


PLAN = Plan(
    dimensions=3,
    channels=(ChannelPlan(role="MR"),),
    axis_order=(0, 1, 2),
    spacing_mm=(1.0, 1.0, 1.0),
    patch=(4, 4, 4),
    batch=2,
    network=NetworkPlan(),
)


def a_store(count=3, seconds=0.0):
    cases = {}
    for number in range(count):
        generator = np.random.default_rng(number)
        bright = generator.random((5, 7, 6)) > 0.5
        case = a_case([IN_HEAD if b else IN_TAIL for b in bright.ravel()], f"case_{number}", bright.shape)
        case.image[0] = bright * 2.0 - 1.0
        cases[case.id] = case

    def get(case_id):
        time.sleep(seconds)
        return cases[case_id]

    return SimpleNamespace(get=get, plan=PLAN, dataset=SimpleNamespace(scheme=SCHEME))


def test_whole_volumes_of_any_size_are_judged_and_the_training_mode_is_kept():
    method = Bright().train()
    scores = Validation(a_store(), ["case_0", "case_1", "case_2"], "cpu")(method)
    assert scores.dice == {"organ": 1.0, "head": 1.0, "tail": 1.0}
    assert scores.cases["head"] == 3
    assert method.training


def test_a_validation_that_takes_too_long_keeps_to_the_cases_it_could_judge():
    validation = Validation(a_store(seconds=0.1), ["case_0", "case_1", "case_2"], "cpu", limit_seconds=0.15)
    first = validation(Bright())
    assert 1 <= first.cases["head"] <= 2
    assert set(validation(Bright()).by_case) == set(first.by_case) == set(validation.case_ids)


def test_a_validation_ends_between_cases_when_the_run_is_to_stop():
    validation = Validation(a_store(), ["case_0", "case_1", "case_2"], "cpu")
    validation.should_stop = lambda: validation.judged == 1
    with pytest.raises(ValidationStoppedError):
        validation(Bright())
    assert validation.judged == 1


def test_what_was_predicted_is_handed_out_and_not_predicted_again():
    seen, calls = {}, []

    class Counting(Bright):
        def predict(self, image):
            calls.append(len(image))
            return super().predict(image)

    Validation(a_store(), ["case_0", "case_1"], "cpu")(Counting())
    usual = len(calls)
    store = a_store()
    validation = Validation(store, ["case_0", "case_1"], "cpu", on_predicted=seen.__setitem__)
    validation(Counting())
    assert len(calls) == 2 * usual
    for case_id, leaves in seen.items():
        assert np.array_equal(leaves, np.where(store.get(case_id).image[0] > 0, HEAD, TAIL))
    assert list(seen) == ["case_0", "case_1"]


def test_a_validation_ends_between_windows_when_the_run_is_to_stop():
    calls = []

    class Counting(Bright):
        def predict(self, image):
            calls.append(len(image))
            return super().predict(image)

    method = Counting().train()
    validation = Validation(a_store(), ["case_0"], "cpu", should_stop=lambda: len(calls) == 1)
    with pytest.raises(ValidationStoppedError):
        validation(method)
    assert len(calls) == 1
    assert method.training


class Undecided(Bright):
    """Knows where the organ is and hardly which part of it; background is the most probable leaf everywhere."""

    def predict(self, image):
        head = 0.31 + 0.02 * (image > 0).float()
        return torch.cat([torch.full_like(head, 0.36), head, 0.64 - head, torch.zeros_like(head)], dim=1)


def test_a_validation_reads_a_method_by_its_own_decision():
    method = Undecided()
    assert Validation(a_store(), ["case_0"], "cpu")(method).dice == {"organ": 1.0, "head": 1.0, "tail": 1.0}
    method.decision = "leaf"
    assert Validation(a_store(), ["case_0"], "cpu")(method).dice == {"organ": 0.0, "head": 0.0, "tail": 0.0}
