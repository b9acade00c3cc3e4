"""What labels teach heads of structures: nothing of what was not drawn; published mistakes are caught."""

import copy
from dataclasses import replace

import pytest
import torch

from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.labels.schemes import ready_scheme
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.latent.dodnet import task_parts
from SemiSegLib.methods.latent.roi_maps import RoiMaps, roi_maps_of
from SemiSegLib.methods.latent.roi_terms import label_terms, set_mean
from SemiSegLib.methods.method import Progress
from Testing.lib.methods import tiny
from Testing.lib.methods.latent import SIGMOIDS

TABLE = RoiTable.of(tiny.SCHEME)
MEMBERS = torch.from_numpy(TABLE.members.copy())
ORGAN, HEAD, TAIL, VESSEL = range(4)
PARTIAL = {Regime.PARTIAL: 2}


def a_batch(rows=None, seed=0):
    return tiny.batch(2, rows=rows, seed=seed)[0]


def logits_for(batch, seed=0):
    return torch.randn(
        len(batch), 4, *batch.codes.shape[1:], generator=torch.Generator().manual_seed(seed)
    ).requires_grad_()


def test_maps_are_what_the_tables_of_the_labels_say():
    batch = a_batch()
    inside, known = tiny.TABLE.roi_targets(TABLE.members)
    shown = torch.from_numpy(TABLE.shown(tiny.TABLE.array))
    maps = roi_maps_of(batch, MEMBERS, exclusion=True)
    assert torch.equal(maps.target, torch.from_numpy(inside)[batch.codes].movedim(-1, 1))
    assert torch.equal(maps.known, torch.from_numpy(known)[batch.codes].movedim(-1, 1))
    less = slice(batch.rows[Regime.FULL].stop, None)
    assert torch.equal(maps.annotated[less], shown[batch.codes[less]].flatten(1, 2).any(1))
    assert maps.annotated[batch.rows[Regime.PARTIAL]].tolist() == [[False, False, False, True]]
    assert not maps.annotated[batch.rows[Regime.NONE]].any()
    assert maps.annotated[batch.rows[Regime.FULL]].all()


def test_another_structure_says_where_this_one_is_not_but_not_that_it_was_looked_for():
    batch = a_batch(PARTIAL)
    assert (batch.codes == tiny.TABLE.code(frozenset({tiny.VESSEL}))).any()
    with_others, without = (roi_maps_of(batch, MEMBERS, exclusion=told) for told in (True, False))
    assert not with_others.annotated[:, :VESSEL].any()
    vessel = with_others.target[:, VESSEL]
    for k in (ORGAN, HEAD, TAIL):
        assert torch.equal(with_others.known[:, k], vessel)
        assert torch.equal(with_others.open[:, k], ~vessel)
        assert not without.known[:, k].any()
        assert without.open[:, k].all()
    assert without.known[:, VESSEL].all()
    assert not without.open[:, VESSEL].any()


def test_an_organ_drawn_as_a_whole_tells_where_its_parts_are_not_and_leaves_its_inside_to_no_teacher():
    batch = a_batch({Regime.COARSE: 2})
    codes = torch.full_like(batch.codes, tiny.TABLE.code(frozenset({tiny.BACKGROUND})))
    codes[:, :3] = tiny.TABLE.code(frozenset({tiny.HEAD, tiny.TAIL}))
    batch = replace(batch, codes=codes)
    for exclusion in (True, False):
        maps = roi_maps_of(batch, MEMBERS, exclusion=exclusion)
        assert maps.annotated.all()
        organ = maps.target[:, ORGAN]
        assert organ.any()
        for k in (HEAD, TAIL):
            assert torch.equal(maps.known[:, k], ~organ)
        assert not maps.open.any()


def of_cases(batch, *sets):
    """The batch with rows of cases that have these label sets; the first may be "part", for places without labels."""
    codes = torch.zeros(len(batch), len(tiny.TABLE), dtype=torch.bool)
    for leaves in sets:
        codes[:, 0 if leaves == "part" else tiny.TABLE.code(frozenset(leaves))] = True
    return replace(batch, case_codes=codes)


def test_a_patch_inside_one_structure_is_judged_by_its_case():
    organ, background = {tiny.HEAD, tiny.TAIL}, {tiny.BACKGROUND}
    batch = a_batch({Regime.COARSE: 2})
    batch = replace(batch, codes=torch.full_like(batch.codes, tiny.TABLE.code(frozenset(organ))))
    # By the patch alone, nobody would have looked for anything but the organ.
    assert roi_maps_of(batch, MEMBERS, exclusion=True).annotated.tolist() == [[True, False, False, False]] * 2
    batch = of_cases(batch, organ, background)
    for exclusion in (True, False):
        maps = roi_maps_of(batch, MEMBERS, exclusion=exclusion)
        assert maps.annotated.all()
        # No teacher tells the parts apart, and that there is no vessel is taught whatever the others are told.
        assert not maps.open.any()
        assert maps.known[:, VESSEL].all()
        assert not maps.target[:, VESSEL].any()


def test_where_nobody_looked_everything_is_open_in_a_case_that_was_annotated_elsewhere():
    batch = a_batch({Regime.PARTIAL: 2})
    vessel, others = {tiny.VESSEL}, set(range(4)) - {tiny.VESSEL}
    codes = torch.full_like(batch.codes, tiny.TABLE.code(frozenset(others)))
    codes[:, 4:] = 0
    batch = replace(batch, codes=codes)
    whole = roi_maps_of(of_cases(batch, vessel, others), MEMBERS, exclusion=True)
    # Code 0 is what lies beyond the volume, where the case was annotated as a whole.
    assert not whole.open[:, VESSEL].any()
    maps = roi_maps_of(of_cases(batch, "part", vessel, others), MEMBERS, exclusion=True)
    assert maps.annotated.tolist() == whole.annotated.tolist() == [[False, False, False, True]] * 2
    assert not maps.open[:, VESSEL, :4].any()
    assert maps.open[:, VESSEL, 4:].all()
    assert maps.open[:, :VESSEL].all()
    unasked = torch.tensor([False, False, False, True])
    assert not maps.without(unasked).open[:, VESSEL].any()
    assert maps.without(unasked).rows(slice(1, 2)).open[:, :VESSEL].all()
    assert torch.equal(maps.strided((1, 2)).open, maps.open[:, :, :, ::2])


@pytest.mark.parametrize(("name", "options"), [("roi_mean_teacher", {}), ("latent_classes", SIGMOIDS)])
def test_a_teacher_teaches_where_nobody_looked(name, options):
    built = build_method(name, tiny.study(2), options)
    batch = of_cases(a_batch({Regime.PARTIAL: 2}), {tiny.BACKGROUND}, {tiny.HEAD}, {tiny.TAIL}, {tiny.VESSEL})
    codes = torch.full_like(batch.codes, tiny.TABLE.code(frozenset({tiny.BACKGROUND})))
    codes[:, 4:] = 0
    batch = replace(batch, codes=codes)
    late = Progress(step=900, fraction=0.9)

    def taught(batch):
        (terms,) = built.losses(batch, late)
        return sum(float(terms.values[name].detach()) for name in built.teacher_weights())

    # All of the case is annotated: what is beyond the volume is nobody's to teach.
    assert taught(batch) == 0
    assert taught(replace(batch, case_codes=batch.case_codes | (torch.arange(len(tiny.TABLE)) == 0))) > 0


def test_heads_of_lower_resolutions_are_quick_where_the_plan_says_so():
    shape = {"stem_stride": (2, 2), "deep_supervision": 1}
    for name in ("dynamic_head", "dodnet"):
        for quick in (False, True):
            built = tiny.method(name, 2, quick_heads=quick, **shape)
            heads = built.deep_heads if name == "dodnet" else built.learner.deep_heads
            assert len(heads) > 0
            assert all((head.rate > 1) == quick for head in heads)


def check_that_only_what_was_drawn_teaches(teach, average):
    batch = a_batch(PARTIAL)
    maps = roi_maps_of(batch, MEMBERS, exclusion=False)
    first, second = logits_for(batch), logits_for(batch)
    with torch.no_grad():
        second[:, [ORGAN, HEAD, TAIL]] = 9 * torch.randn_like(second[:, :3])
    for a, b in zip(teach(first, maps, average).values(), teach(second, maps, average).values(), strict=True):
        assert a.item() == b.item(), "an unannotated structure changes the loss"
        slopes = [torch.autograd.grad(v, z, retain_graph=True)[0] for v, z in ((a, first), (b, second))]
        assert (slopes[0][:, :VESSEL] == 0).all(), "an unannotated structure gets a gradient"
        assert torch.equal(*slopes)
        assert (slopes[0][:, VESSEL] != 0).any()


@pytest.mark.parametrize("average", ["mean", "sum"])
def test_an_unannotated_structure_changes_neither_loss_nor_gradient(average):
    check_that_only_what_was_drawn_teaches(label_terms, average)


def test_taking_the_undrawn_for_background_is_noticed():
    def naive(logits, maps, average):
        return label_terms(logits, RoiMaps(maps.target, torch.ones_like(maps.known), maps.annotated), average)

    with pytest.raises(AssertionError, match="unannotated structure"):
        check_that_only_what_was_drawn_teaches(naive, "mean")


@pytest.mark.parametrize("name", ["dynamic_head", "dodnet"])
def test_a_network_learns_nothing_from_a_row_without_labels_and_stays_finite(name):
    built, batch = tiny.method(name, 2), a_batch({Regime.PARTIAL: 3})
    empty = replace(batch, codes=torch.zeros_like(batch.codes))
    for terms in built.losses(empty, Progress(900, 0.9)):
        own = {key: value.item() for key, value in terms.values.items() if key != "containment"}
        assert own == {"cross_entropy": 0.0, "dice": 0.0}
        sum(terms.values[key] for key in own).backward()
    assert all(p.grad is None or (p.grad == 0).all() for p in built.parameters())


def check_that_empty_structures_have_no_constant(teach):
    """A drawn structure that is not in the patch: the loss is small where the network says so."""
    known = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    maps = RoiMaps(torch.zeros_like(known), known, torch.ones(1, 1, dtype=torch.bool))
    right, wrong = (sum(teach(torch.full((1, 1, 4, 4), z), maps, "mean").values()).item() for z in (-12.0, 2.0))
    assert right < 1e-4, "an empty structure costs although the network leaves it empty"
    assert wrong > 1


def test_an_empty_structure_that_the_network_leaves_empty_costs_nothing():
    check_that_empty_structures_have_no_constant(label_terms)


def test_smoothing_the_denominator_alone_is_noticed():
    def dodnet_loss(logits, maps, average):
        # loss_functions/loss.py of DoDNet.
        q, t = logits.sigmoid(), maps.target.float()
        return {"dice": 1 - 2 * (q * t).sum() / (q.sum() + t.sum() + 1)}

    with pytest.raises(AssertionError, match="empty structure costs"):
        check_that_empty_structures_have_no_constant(dodnet_loss)


def check_that_every_voxel_speaks_for_itself(teach):
    batch = a_batch({Regime.FULL: 1})
    codes = batch.codes.clone()
    codes[:, 0, 0] = 0
    maps = roi_maps_of(replace(batch, codes=codes), MEMBERS, exclusion=True)
    logits = logits_for(batch)
    sum(teach(logits, maps, "mean").values()).backward()
    assert (logits.grad[:, :, 1:] != 0).any(), "a row is left out for one voxel"
    assert (logits.grad[:, :, 0, 0] == 0).all()


def test_one_unknown_voxel_does_not_take_a_row_away():
    check_that_every_voxel_speaks_for_itself(label_terms)


def test_judging_a_row_by_its_corner_is_noticed():
    def by_corner(logits, maps, average):
        known = maps.known & maps.known[:, :, :1, :1]
        return label_terms(logits, RoiMaps(maps.target, known, maps.annotated), average)

    with pytest.raises(AssertionError, match="left out for one voxel"):
        check_that_every_voxel_speaks_for_itself(by_corner)


def test_losses_are_worked_by_hand():
    # All z = 0. Structure 1 is known at two voxels (t = 1, 0), structure 2 at one (t = 1), structure 3 nowhere.
    logits = torch.zeros(1, 3, 2)
    target = torch.tensor([[[True, False], [True, False], [False, False]]])
    known = torch.tensor([[[True, True], [True, False], [False, False]]])
    maps = RoiMaps(target, known, known.any(2))
    ln2 = 0.6931472
    # Dice of structure 1: 2 * 0.5 / (1 + 1) = 1/2; of structure 2: 2 * 0.5 / (0.5 + 1) = 2/3.
    found = label_terms(logits, maps, "mean")
    assert found["cross_entropy"].item() == pytest.approx(ln2)
    assert found["dice"].item() == pytest.approx((1 / 2 + 1 / 3) / 2, abs=1e-4)
    found = label_terms(
        logits.expand(2, 3, 2), RoiMaps(*(v.expand(2, *v.shape[1:]) for v in (target, known, known.any(2)))), "sum"
    )
    assert found["cross_entropy"].item() == pytest.approx(2 * ln2)
    assert found["dice"].item() == pytest.approx(1 / 2 + 1 / 3, abs=1e-4)


def test_means_do_not_grow_with_the_number_of_structures_and_sums_do():
    values = torch.ones(2, 9, 5)
    few, many = (torch.zeros(2, 9, 5, dtype=torch.bool) for _ in range(2))
    few[:, :2], many[:, :8] = True, True
    assert [set_mean(values, chosen, average="mean", rows=2).item() for chosen in (few, many)] == [1, 1]
    assert [set_mean(values, chosen, average="sum", rows=2).item() for chosen in (few, many)] == [2, 8]
    # Half of the rows of the batch have nothing in the set.
    assert set_mean(values, many, average="sum", rows=4).item() == 4
    assert set_mean(values, torch.zeros_like(few), average="mean", rows=2).item() == 0


def test_a_part_is_asked_into_its_whole():
    built, batch = tiny.method("dynamic_head", 2), a_batch()
    outputs = built.learner(batch.image)
    q = outputs.logits.sigmoid()
    expected = torch.stack([(q[:, k] - q[:, ORGAN]).relu() for k in (HEAD, TAIL)], dim=1).mean()
    assert built.learner.containment(outputs).item() == pytest.approx(expected.item(), abs=1e-7)
    assert expected > 0
    for options in ({"containment_weight": 0.0}, {"output": "softmax"}):
        assert "containment" not in tiny.method("dynamic_head", 2, options=options).learner.weights()


@pytest.mark.parametrize("output", ["sigmoid", "softmax"])
def test_lower_resolutions_teach_the_same_labels(output):
    built = tiny.method("dynamic_head", 2, options={"output": output}, stem_stride=(2, 2), deep_supervision=1).train()
    batch = a_batch()
    learner = built.learner
    outputs = learner(batch.image)
    maps = learner.maps(batch)
    assert outputs.deep
    assert torch.equal(maps.strided((2, 2)).known, maps.known[:, :, ::2, ::2])
    whole = learner.terms(outputs, batch, maps)
    fine = learner.terms(replace(outputs, deep=()), batch, maps)
    assert whole["dice"].item() != fine["dice"].item()
    assert not learner.eval()(batch.image).deep


def test_dodnet_has_a_task_for_each_organ_without_what_its_tumor_leaves():
    abdomen = RoiTable.of(ready_scheme("abdomen"))
    names = [[abdomen.names[k] for k in task] for task in task_parts(abdomen)]
    assert ["kidney", "kidney tumor"] in names
    assert ["pancreas", "pancreas tumor"] in names
    assert ["spleen"] in names
    assert task_parts(TABLE) == ((ORGAN, HEAD, TAIL), (VESSEL,))


def test_dodnet_trains_one_drawn_task_of_each_row_or_all():
    one, every = (tiny.method("dodnet", 2, options={"tasks": tasks}) for tasks in ("one", "all"))
    maps = roi_maps_of(a_batch({Regime.PARTIAL: 40}), MEMBERS, exclusion=True)
    assert one._tasks(maps).tolist() == [[1]] * 40
    full = roi_maps_of(a_batch({Regime.FULL: 40}), MEMBERS, exclusion=True)
    assert set(one._tasks(full).flatten().tolist()) == {0, 1}
    assert every._tasks(full).tolist() == [[0, 1]] * 40
    taught = every._taught(full, every._tasks(full))
    assert torch.equal(taught.target[:, [0, 1, 2, 3]], full.target)
    # The vessel's task has one part; its two other outputs are nobody's.
    assert not taught.known[:, 4:].any()


def test_dodnet_answers_each_organ_as_if_it_were_asked_alone():
    built = tiny.method("dodnet", 2).eval()
    image = torch.randn(2, 2, 8, 8)
    found = built.backbone(image)
    alone = built.head(found.map, found.bottleneck, torch.tensor([[1], [1]]))
    assert torch.allclose(built.roi_logits(image)[:, VESSEL], alone[:, 0], atol=1e-5)


def test_what_a_tumor_leaves_of_its_organ_follows_from_both():
    structures = (Structure(name="o"), Structure(name="rest", parent="o"), Structure(name="tumor", parent="o"))
    built = build_method("dodnet", tiny.study(2, scheme=LabelScheme(name="t", structures=structures)), {})
    organ, rest, tumor = range(3)
    assert built.head.controller.out_features == 162
    z = built.roi_logits(torch.randn(1, 2, 8, 8))
    assert torch.equal(z[:, rest], torch.minimum(z[:, organ], -z[:, tumor]))


def test_the_teacher_over_structures_is_not_zero_after_a_step():
    # PyMIC multiplies the teacher's weights by the decay and forgets to add the student's.
    built = tiny.method("roi_mean_teacher", 2)
    before = copy.deepcopy(built.teacher.network.state_dict())
    optimizer_of = tiny.optimizers(built, 1e-3)
    tiny.step(built, a_batch(), optimizer_of, 0, 10)
    for key, value in built.teacher.network.state_dict().items():
        student = built.learner.state_dict()[key]
        assert torch.allclose(value, student), key
        assert before[key].abs().sum() == 0 or value.abs().sum() > 0.5 * before[key].abs().sum(), key
