"""Tables of label sets: codes, targets of superclass and ROI heads, regimes."""

import itertools

import numpy as np
import pytest

from SemiSegLib.errors import LabelError
from SemiSegLib.labels.label_set import LabelSetTable, Regime, regime_of
from SemiSegLib.labels.scheme import LabelScheme, Structure

# Leaves: 0 background, 1 head, 2 tail, 3 vessel; superclasses: background, organ, vessel.
SCHEME = LabelScheme(
    name="test",
    structures=(
        Structure(name="organ"),
        Structure(name="head", parent="organ"),
        Structure(name="tail", parent="organ"),
        Structure(name="vessel"),
    ),
)
ANYTHING = frozenset({0, 1, 2, 3})


def sets(*members):
    return [frozenset(m) for m in members]


def test_row_zero_is_anything_whatever_is_asked_for():
    assert LabelSetTable.of(4, ()).sets == (ANYTHING,)
    assert LabelSetTable.of(4, sets({1}, ANYTHING, {0})).sets[0] == ANYTHING


def test_the_order_of_rows_depends_on_the_sets_alone():
    members = sets({3}, {0, 3}, {1}, {0}, {1, 2})
    tables = {LabelSetTable.of(4, order).sets for order in itertools.permutations(members)}
    assert tables == {(ANYTHING, *sets({0}, {1}, {3}, {0, 3}, {1, 2}))}


def test_a_union_holds_each_set_once():
    first, second = LabelSetTable.of(4, sets({0}, {1})), LabelSetTable.of(4, sets({1}, {1, 2}))
    union = LabelSetTable.union([first, second])
    assert union.sets == (ANYTHING, *sets({0}, {1}, {1, 2}))
    assert first.codes_in(union).tolist() == [0, 1, 2]
    assert second.codes_in(union).tolist() == [0, 2, 3]


def test_the_array_says_which_leaves_are_possible():
    table = LabelSetTable.of(4, sets({0}, {1, 2}))
    assert table.array.astype(int).tolist() == [[1, 1, 1, 1], [1, 0, 0, 0], [0, 1, 1, 0]]
    with pytest.raises(ValueError, match="read-only"):
        table.array[0, 0] = False


def test_a_set_that_is_not_in_the_table_is_an_error():
    with pytest.raises(LabelError, match=r"\[1, 3\] is not in the table"):
        LabelSetTable.of(4, sets({0})).code(frozenset({1, 3}))


@pytest.mark.parametrize("wrong", [sets(set()), sets({0}, {4})])
def test_empty_sets_and_foreign_leaves_are_refused(wrong):
    with pytest.raises(LabelError, match="empty or holds a leaf that the scheme does not have"):
        LabelSetTable.of(4, wrong)


def test_a_table_without_anything_in_row_zero_is_refused():
    with pytest.raises(LabelError, match="row 0"):
        LabelSetTable(4, tuple(sets({0}, {1})))


def test_more_sets_than_a_byte_tells_apart_are_refused():
    pairs = [frozenset(pair) for pair in itertools.combinations(range(24), 2)]
    with pytest.raises(LabelError, match="277 different label sets"):
        LabelSetTable.of(24, pairs)
    assert len(LabelSetTable.of(24, pairs[:255])) == 256


def test_a_superclass_is_possible_if_one_of_its_leaves_is():
    table = LabelSetTable.of(4, sets({0}, {1}, {1, 2}, {0, 2}, {2, 3}))
    # Rows: anything, {0}, {1}, {0,2}, {1,2}, {2,3}; columns: background, organ, vessel.
    expected = [[1, 1, 1], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1]]
    assert table.superclass_sets(SCHEME).astype(int).tolist() == expected


def test_an_roi_is_known_where_the_set_lies_inside_or_outside_it():
    table = LabelSetTable.of(4, sets({0}, {1}, {1, 2}, {0, 3}))
    rois = np.array([[0, 1, 0, 0], [0, 1, 1, 0]], dtype=bool)
    target, known = table.roi_targets(rois)
    # Rows: anything, {0}, {1}, {0,3}, {1,2}; columns: head, organ.
    assert target.astype(int).tolist() == [[0, 0], [0, 0], [1, 1], [0, 0], [0, 1]]
    assert known.astype(int).tolist() == [[0, 0], [1, 1], [1, 1], [1, 1], [0, 1]]


def test_targets_agree_with_the_definition_on_every_table():
    every = [frozenset(c) for n in (1, 2, 3, 4) for c in itertools.combinations(range(4), n)]
    table = LabelSetTable.of(4, every)
    rois = np.array([[i in roi for i in range(4)] for roi in every])
    target, known = table.roi_targets(rois)
    for code, possible in enumerate(table.sets):
        for k, roi in enumerate(every):
            assert target[code, k] == (possible <= roi)
            assert known[code, k] == (possible <= roi or not possible & roi)


REGIMES = [
    (sets({0}, {1}, {2}, {3}), Regime.FULL),
    (sets({0}, {1}), Regime.FULL),
    (sets({0}, {1, 2}, {3}), Regime.COARSE),
    (sets({0}, {1}, {1, 2}), Regime.COARSE),
    (sets({0, 1, 2}, {3}), Regime.PARTIAL),
    (sets({0}, {1}, ANYTHING), Regime.PARTIAL),
    (sets({0}, {2, 3}), Regime.PARTIAL),
    (sets({0}, {1, 2}, ANYTHING), Regime.PARTIAL),
    (sets(ANYTHING), Regime.NONE),
    ([], Regime.NONE),
]


@pytest.mark.parametrize(("occurring", "regime"), REGIMES)
def test_the_regime_follows_from_the_sets(occurring, regime):
    assert regime_of(occurring, SCHEME) is regime


def test_a_scheme_of_one_leaf_knows_full_and_none_only():
    scheme = LabelScheme(name="one", structures=(Structure(name="atrium"),))
    assert regime_of(sets({0}, {1}), scheme) is Regime.FULL
    assert regime_of(sets({0, 1}), scheme) is Regime.NONE
    assert regime_of(sets({1}, {0, 1}), scheme) is Regime.PARTIAL
