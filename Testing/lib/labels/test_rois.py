"""Structures as one-vs-all targets: which there are, how they lie in each other, and which of them a label shows."""

import numpy as np

from SemiSegLib.labels.label_set import LabelSetTable
from SemiSegLib.labels.rois import RoiTable, implied_groups
from SemiSegLib.labels.scheme import Code, LabelScheme, Structure, Terminology
from SemiSegLib.labels.schemes import ready_scheme


def scheme(*pairs):
    return LabelScheme(name="test", structures=tuple(Structure(name=name, parent=parent) for name, parent in pairs))


LIVER = scheme(("liver", None), ("parenchyma", "liver"), ("liver tumor", "liver"), ("spleen", None))
DEEP = scheme(
    ("d", "b"), ("a", None), ("b", "a"), ("c", "a"), ("e", "b"), ("f", None), ("g", "f"), ("h", "g"), ("i", None)
)


def test_every_leaf_and_every_larger_structure_is_one_in_the_order_of_the_scheme():
    table = RoiTable.of(LIVER)
    assert table.names == ("liver", "parenchyma", "liver tumor", "spleen")
    assert table.members.tolist() == [[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert table.parents == (-1, 0, 0, -1)
    assert table.roots == (0, 3)
    assert table.children == ((1, 2), (), (), ())
    assert table.leaf_rois == (1, 2, 3)


def test_a_superclass_of_a_single_leaf_is_that_leaf():
    table = RoiTable.of(scheme(("organ", None), ("lobe", "organ"), ("vessel", None)))
    assert table.names == ("lobe", "vessel")
    assert table.parents == (-1, -1)


def test_a_tree_of_three_levels_keeps_its_levels():
    table = RoiTable.of(DEEP)
    # f, g and h have one leaf between them: h alone.
    assert table.names == ("d", "a", "b", "c", "e", "h", "i")
    assert [table.names[p] if p >= 0 else None for p in table.parents] == ["b", None, "a", "a", "b", None, None]
    assert [table.names[k] for k in table.roots] == ["a", "h", "i"]
    places = {k: place for place, k in enumerate(table.downward)}
    assert sorted(places) == list(range(7))
    assert all(parent < 0 or places[parent] < places[k] for k, parent in enumerate(table.parents))
    for k, inside in enumerate(table.children):
        assert not inside or (table.members[list(inside)].sum(0) == table.members[k]).all()


def test_a_scheme_may_have_one_structure():
    table = RoiTable.of(scheme(("atrium", None)))
    assert (table.names, table.parents, table.deciders, table.leaf_rois) == (("atrium",), (-1,), (0,), (0,))
    assert table.members.tolist() == [[False, True]]


def test_a_tumor_goes_with_its_organ_and_other_parts_with_themselves():
    assert RoiTable.of(LIVER).deciders == (0, 1, 0, 3)
    assert RoiTable.of(LIVER).rests == (1,)
    assert RoiTable.of(DEEP).deciders == tuple(range(7))
    assert RoiTable.of(DEEP).rests == ()


def coded(category):
    term = Terminology(
        category=Code(scheme="SCT", value=category, meaning=""), type=Code(scheme="SCT", value="1", meaning="")
    )
    return LabelScheme(
        name="test",
        structures=(
            Structure(name="brain"),
            Structure(name="white", parent="brain"),
            Structure(name="spot", parent="brain", terminology=term),
            Structure(name="core of tumor", parent="brain", terminology=Terminology(category=ORGAN, type=ORGAN)),
        ),
    )


ORGAN = Code(scheme="SCT", value="123037004", meaning="Anatomical Structure")


def test_codes_tell_a_lesion_before_its_name_does():
    assert RoiTable.of(coded("49755003")).deciders == (0, 1, 0, 3)
    assert RoiTable.of(coded("123037004")).deciders == (0, 1, 2, 3)


def test_the_tumors_of_the_shipped_abdomen_go_with_their_organs():
    table = RoiTable.of(ready_scheme("abdomen"))
    goes_with = {name: table.names[k] for name, k in zip(table.names, table.deciders, strict=True)}
    assert goes_with["liver tumor"] == goes_with["hepatic vessel tumor"] == "liver"
    assert goes_with["kidney tumor"] == "kidney"
    # No structure of the scheme is around these.
    assert all(goes_with[name] == name for name in ("colon tumor", "lung tumor", "spleen", "hepatic vessel"))
    assert [table.names[k] for k in table.rests] == ["kidney parenchyma", "pancreas parenchyma"]


def test_a_label_shows_what_was_looked_for():
    anything = frozenset(range(4))
    background, parenchyma, tumor, spleen = (frozenset({leaf}) for leaf in range(4))
    liver, no_liver, no_spleen = frozenset({1, 2}), frozenset({0, 3}), frozenset({0, 1, 2})
    table = LabelSetTable.of(4, [background, parenchyma, tumor, spleen, liver, no_liver, no_spleen])
    shown = RoiTable.of(LIVER).shown(table.array)
    told = {leaves: shown[code].tolist() for code, leaves in enumerate(table.sets)}
    assert told[anything] == [False] * 4
    assert told[background] == [True] * 4
    assert told[tumor] == [True, False, True, False]
    assert told[liver] == [True, False, False, False]
    # Somebody drew the liver and its parts, and this is none of it: it may be spleen or nothing.
    assert told[no_liver] == [True, True, True, False]
    assert told[no_spleen] == [False, False, False, True]
    # A voxel of the spleen is no liver, but the liver may not have been looked for.
    assert told[spleen] == [False, False, False, True]


def test_a_group_that_labels_never_tell_from_background_is_implied():
    parts = [frozenset({leaf}) for leaf in (1, 2)]
    alone = [*parts, *(frozenset(range(4)) - part for part in parts)]
    assert implied_groups(LIVER, alone) == ("liver",)
    # Another structure is no liver, but says nothing of background; what may be anything says nothing at all.
    assert implied_groups(LIVER, [*alone, frozenset({3}), frozenset(range(4))]) == ("liver",)
    assert implied_groups(LIVER, [*alone, frozenset({0, 3})]) == ()
    assert implied_groups(LIVER, [*alone, frozenset({0})]) == ()
    # Nobody drew it or a part of it.
    assert implied_groups(LIVER, [frozenset({3}), frozenset({0, 1, 2})]) == ()
    # No group, so no part would say it instead.
    assert implied_groups(LIVER, [frozenset({3}), frozenset(range(4))]) == ()


def test_the_parts_of_an_implied_group_take_its_place():
    table = RoiTable.of(DEEP, ("b",))
    d, a, b, c, e, h, i = range(7)
    assert table.names == RoiTable.of(DEEP).names
    assert table.implied == {b}
    assert [table.parents[k] for k in (a, b, c, d, e)] == [-1, -1, a, a, a]
    assert table.roots == (a, h, i)
    assert table.children[a] == (d, c, e)
    assert table.children[b] == ()
    assert table.leaf_rois == RoiTable.of(DEEP).leaf_rois


def test_a_lesion_in_an_implied_organ_goes_with_itself():
    table = RoiTable.of(LIVER, ("liver",))
    assert table.deciders == (0, 1, 2, 3)
    assert table.roots == (1, 2, 3)
    assert table.rests == ()


def test_whatever_is_shown_is_known():
    table = LabelSetTable.of(4, [frozenset({1, 2}), frozenset({0, 3}), frozenset({3}), frozenset({2})])
    rois = RoiTable.of(LIVER)
    inside, known = table.roi_targets(rois.members)
    shown = rois.shown(table.array)
    assert (shown <= known).all()
    assert (inside <= shown).all()
    assert np.any(known & ~shown)
