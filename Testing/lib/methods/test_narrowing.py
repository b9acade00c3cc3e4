"""Labels narrowed by presence and teacher: what is left of them, worked by hand, and what stays true of any."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.latent.latent_classes import Sets
from SemiSegLib.methods.latent.narrowing import allowed_leaves, narrowed, without_background
from SemiSegLib.methods.latent.pieces import Pieces
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny

EARLY, LATE = Progress(100, 0.1), Progress(900, 0.9)
# Four leaves: background, a drawn one, and two that nobody drew in this row.
DRAWN = (False, True, False, False)
REST = (True, False, True, True)


def one_voxel(allowed, teacher, *, negative=(), ambiguous=(), looked_for=(1,), sure=0.9):
    """What one voxel may be after narrowing, as leaf numbers."""
    count = len(allowed)
    column = [torch.tensor(values).view(1, count, 1) for values in (allowed, teacher)]
    is_open = torch.tensor([leaf > 0 and leaf not in looked_for for leaf in range(count)]).view(1, count, 1)
    rows = [torch.tensor([[leaf in chosen for leaf in range(count)]]) for chosen in (negative, ambiguous)]
    found = narrowed(*column, is_open=is_open, negative=rows[0], ambiguous=rows[1], sure=sure)
    return set(found[0, :, 0].nonzero().flatten().tolist())


def test_a_label_is_narrowed_to_what_the_teacher_is_sure_of_among_what_it_allows():
    assert one_voxel(REST, (0.01, 0.0, 0.95, 0.04)) == {2}
    assert one_voxel(REST, (0.97, 0.0, 0.02, 0.01)) == {0}
    assert one_voxel(REST, (0.10, 0.0, 0.85, 0.05)) == {0, 2, 3}
    assert one_voxel(REST, (0.10, 0.0, 0.85, 0.05), sure=0.8) == {2}
    # 0.6 of the 0.62 that the label leaves: what it forbids does not count.
    assert one_voxel(REST, (0.01, 0.38, 0.60, 0.01)) == {2}
    assert one_voxel(DRAWN, (0.99, 0.01, 0.0, 0.0)) == {1}


def test_an_absent_structure_is_taken_away_and_an_ambiguous_one_stays_open():
    doubtful = (0.4, 0.0, 0.3, 0.3)
    assert one_voxel(REST, doubtful, negative=(3,)) == {0, 2}
    assert one_voxel(REST, (0.01, 0.0, 0.02, 0.97), negative=(3,)) == {0, 2}
    assert one_voxel(REST, (0.97, 0.0, 0.02, 0.01), ambiguous=(3,)) == {0, 3}
    assert one_voxel(REST, (0.01, 0.0, 0.02, 0.97), ambiguous=(3,)) == {0, 2, 3}
    assert one_voxel(REST, (0.97, 0.0, 0.02, 0.01), ambiguous=(3,), negative=(2,)) == {0, 3}
    # Label and presence network contradict each other.
    assert one_voxel((False, False, False, True), doubtful, negative=(3,)) == {3}


def test_parts_of_what_was_drawn_as_a_whole_are_left_alone():
    whole = (False, False, True, True)
    sure = (0.0, 0.0, 0.99, 0.01)
    assert one_voxel(whole, sure, looked_for=(2, 3)) == {2, 3}
    assert one_voxel(whole, sure, looked_for=(2,)) == {2, 3}
    assert one_voxel(whole, sure, looked_for=()) == {2}
    assert one_voxel(whole, sure, looked_for=(2, 3), negative=(2,)) == {2, 3}


bits = st.lists(st.booleans(), min_size=5, max_size=5)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_whatever_is_said_a_label_stays_true_and_says_something(data):
    allowed = data.draw(bits.filter(any))
    teacher = data.draw(st.lists(st.floats(0, 1), min_size=5, max_size=5))
    chosen = [{leaf for leaf, on in enumerate(data.draw(bits)) if on and leaf} for _ in range(3)]
    found = one_voxel(
        allowed,
        teacher,
        negative=chosen[0],
        ambiguous=chosen[1] - chosen[0],
        looked_for=chosen[2],
        sure=data.draw(st.floats(0.5, 1)),
    )
    before = {leaf for leaf, on in enumerate(allowed) if on}
    assert found
    assert found <= before
    assert before & chosen[2] <= found, "a structure that was looked for is taken away"


FAR = [30, 31]
FOUND = [*range(10, 16), *FAR]


def a_line(teacher, *, looked_for=(1,), reach=0.0, there=REST, closed=()):
    """What may be at each voxel of a line of 40, of which a teacher says these leaves, each with 0.95, and else 0.

    The line is the middle of a band three voxels wide, in a patch of 9 x 40. At the voxels FAR a label allows the
    leaves ``there``, and teaches those that are closed.
    """
    said = torch.full((1, 4, 9, 40), 0.05 / 3)
    said[:, 0] = 0.95
    for leaf, places in teacher.items():
        said[:, :, 3:6, places] = 0.05 / 3
        said[:, leaf, 3:6, places] = 0.95
    is_open = torch.tensor([leaf > 0 and leaf not in looked_for for leaf in range(4)]).view(1, 4, 1, 1)
    is_open = is_open.repeat(1, 1, 9, 40)
    is_open[:, list(closed), :, FAR[0] : FAR[-1] + 1] = False
    allowed = torch.tensor(REST).view(1, 4, 1, 1).repeat(1, 1, 9, 40)
    allowed[:, :, 3:6, FAR[0] : FAR[-1] + 1] = torch.tensor(there).view(1, 4, 1, 1)
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    found = narrowed(
        allowed,
        said,
        is_open=is_open,
        negative=nothing,
        ambiguous=nothing,
        sure=0.9,
        pieces=Pieces((None, reach, reach, None), (1.0, 1.0)),
    )
    return [set(found[0, :, 4, place].nonzero().flatten().tolist()) for place in range(40)]


def test_a_structure_is_not_far_from_its_largest_piece_however_sure_the_teacher_is():
    found = a_line({2: FOUND})
    assert found[12] == {2}
    assert found[20] == {0}, "what the teacher is sure of near the piece is believed"
    # Between background and what no label of this row excludes either the teacher is not sure.
    assert found[30] == found[31] == {0, 3}
    assert a_line({2: FOUND}, reach=20.0)[30] == {2}
    # Of a leaf without a reach nothing is known.
    assert a_line({3: FOUND})[30] == {3}


def test_where_a_structure_cannot_be_what_was_looked_for_stays_as_its_label_says():
    # Somebody has looked for leaf 1, and left open what the voxel is.
    assert a_line({2: FOUND}, there=(True, True, True, True))[30] == {0, 1, 2, 3}
    # A label teaches this leaf there.
    assert a_line({2: FOUND}, closed=(2,))[30] == {0, 2, 3}
    # Nothing but this leaf is possible there.
    assert a_line({2: FOUND}, there=(False, False, True, False))[30] == {2}
    # A part of an organ that was drawn as a whole.
    assert a_line({2: FOUND}, there=(False, False, True, True), closed=(3,))[30] == {2, 3}


def test_labels_become_what_each_voxel_may_be():
    made, _ = tiny.batch(2)
    found = allowed_leaves(made.codes, made.label_sets)
    assert torch.equal(found.movedim(1, -1), made.label_sets[made.codes])
    assert without_background(torch.ones(2, 3, dtype=torch.bool)).tolist() == [[False, True, True, True]] * 2


def built_with(sets, **options):
    """The method with these sets for every row, and its student made to differ from its teacher."""
    built = tiny.method("latent_classes", 2, options=options).train()
    with torch.no_grad():
        for parameter in built.learner.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    built.sets = lambda image, annotated: Sets(
        *(~annotated & torch.tensor([[name in chosen for name in built.learner.table.names]]) for chosen in sets)
    )
    return built


def taught(built, made, progress=LATE):
    torch.manual_seed(0)
    (terms,) = built.losses(made, progress)
    return {name: value.item() for name, value in terms.values.items()}, terms.weights


def test_a_batch_that_says_everything_teaches_by_its_labels_alone():
    built = tiny.method("latent_classes", 2).train()
    made = tiny.batch(2, rows={Regime.FULL: 3})[0]
    values, weights = taught(built, made)
    assert values["latent_cross_entropy"] == values["latent_dice"] == values["ambiguous"] == 0
    assert weights["cross_entropy"] == weights["dice"] == 1


def test_where_nothing_is_known_narrowed_labels_teach_what_the_labels_do():
    rows = {Regime.FULL: 2, Regime.COARSE: 2, Regime.PARTIAL: 2}
    built, made = built_with(((), (), ("organ", "head", "tail", "vessel"))), tiny.batch(2, rows=rows)[0]
    values, weights = taught(built, made)
    labels = taught(built, made, EARLY)[0]
    for name in ("cross_entropy", "dice"):
        assert values[f"latent_{name}"] == pytest.approx(labels[name], rel=1e-4)
        assert (weights[name], weights[f"latent_{name}"]) == (0, 1)
        assert values[name] == 0, "what weighs nothing is computed"
    # Half of the weight leaves half to the labels.
    built = tiny.method("latent_classes", 2, options={"latent_weight": 0.5, "dice_weight": 2.0})
    weights = taught(built, tiny.batch(2, rows=rows)[0])[1]
    assert (weights["cross_entropy"], weights["latent_cross_entropy"]) == (0.5, 0.5)
    assert (weights["dice"], weights["latent_dice"]) == (1, 1)


def test_what_is_absent_is_unlearned_and_what_the_teacher_is_sure_of_is_learned():
    made = tiny.batch(2, rows={Regime.PARTIAL: 2})[0]
    nothing = taught(built_with(((), (), ("organ", "head", "tail"))), made)[0]
    absent = taught(built_with(((), ("organ", "head", "tail"), ())), made)[0]
    believed = taught(built_with((("organ", "head", "tail"), (), ()), sure=0.5), made)[0]
    assert absent["latent_cross_entropy"] > nothing["latent_cross_entropy"]
    assert believed["latent_cross_entropy"] > nothing["latent_cross_entropy"]
    assert absent["latent_cross_entropy"] != believed["latent_cross_entropy"]
    # By option an absent structure is only what the teacher says of it.
    kept = taught(built_with(((), ("organ", "head", "tail"), ()), negative_target="teacher", sure=1.0), made)[0]
    assert kept["latent_cross_entropy"] == pytest.approx(nothing["latent_cross_entropy"])


def test_where_a_structure_cannot_be_it_is_unlearned():
    made = tiny.batch(2, rows={Regime.PARTIAL: 2})[0]
    built = built_with((("organ", "head", "tail"), (), ()), sure=0.5)
    anywhere = taught(built, made)[0]
    built.pieces = Nowhere(tuple(None for _ in tiny.LEAVES), (1.0, 1.0))
    nowhere = taught(built, made)[0]
    assert nowhere["latent_cross_entropy"] > 1.2 * anywhere["latent_cross_entropy"]


class Nowhere(Pieces):
    """As if every structure were too far away everywhere."""

    def too_far(self, winner, sure, asked):
        found = torch.ones((len(winner), len(self.reach_mm), *winner.shape[1:]), dtype=torch.bool)
        found[:, 0] = False
        return found


def test_where_nobody_looked_the_teacher_teaches_and_beyond_a_volume_nothing_that_was_drawn():
    made = tiny.batch(2, rows={Regime.PARTIAL: 2})[0]
    made = replace(made, codes=torch.full_like(made.codes, tiny.TABLE.code(frozenset({tiny.BACKGROUND}))))
    made.codes[:, 4:] = 0
    sets = [frozenset({leaf}) for leaf in (tiny.BACKGROUND, tiny.HEAD, tiny.TAIL, tiny.VESSEL)]
    shown = torch.zeros(2, len(tiny.TABLE), dtype=torch.bool)
    shown[:, [tiny.TABLE.code(leaves) for leaves in sets]] = True
    elsewhere = shown | (torch.arange(len(tiny.TABLE)) == 0)
    everything = ("organ", "head", "tail", "vessel")
    found = [
        taught(built_with(((), everything, ())), replace(made, case_codes=codes))[0]["latent_cross_entropy"]
        for codes in (shown, elsewhere)
    ]
    by_labels = taught(built_with(((), everything, ())), replace(made, case_codes=shown), EARLY)[0]["cross_entropy"]
    assert found[0] == pytest.approx(by_labels, rel=1e-4)
    assert found[1] != pytest.approx(found[0], rel=1e-3)
