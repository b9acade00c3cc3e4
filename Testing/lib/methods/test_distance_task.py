"""Between distances, labels and probabilities: several classes, superclasses, labels that say less."""

from dataclasses import replace

import pytest
import torch

from SemiSegLib.batches.distance import SIGNED_DISTANCE
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.losses.distance import distance_to_probability
from SemiSegLib.methods.dual.distance_task import DistanceOptions, DistanceTask
from SemiSegLib.methods.method import Progress, Study
from Testing.lib.methods import tiny


def a_task(dimensions=3, *, spacing_mm=(1.0, 1.0, 1.0), **options):
    plan = replace(tiny.study(dimensions).plan, spacing_mm=spacing_mm)
    return DistanceTask(Study(scheme=tiny.SCHEME, plan=plan), DistanceOptions(**options))


def a_batch(regime, dimensions=3, *, rows=2):
    return tiny.batch(dimensions, maps=(SIGNED_DISTANCE,), rows={regime: rows})


def test_structures_get_the_probability_of_their_leaves():
    task = a_task()
    assert task.names == ("head", "tail", "vessel", "organ")
    p = torch.tensor([0.4, 0.3, 0.2, 0.1]).view(1, 4, 1, 1, 1)
    assert task.of_structures(p).flatten().tolist() == pytest.approx([0.3, 0.2, 0.1, 0.5])


@pytest.mark.parametrize("dimensions", [2, 3])
def test_true_distances_give_the_true_leaves(dimensions):
    task = a_task(dimensions)
    made, truth = a_batch(Regime.FULL, dimensions)
    target, known = task.target(made)
    assert known.all()
    assert torch.equal(task.logits(target).argmax(1), truth)
    assert torch.equal(task.probability(target)[:, 3] > 0.5, (truth == tiny.HEAD) | (truth == tiny.TAIL))
    assert task.error(target, made).item() == 0


def test_a_coarse_row_teaches_the_distance_of_its_superclass_alone():
    task = a_task()
    made = a_batch(Regime.COARSE)[0]
    target, known = task.target(made)
    assert known.flatten(2).all(2).tolist() == [[False, False, True, True]] * 2
    guess = torch.zeros_like(target, requires_grad=True)
    task.error(guess, made).backward()
    assert guess.grad[:, :2].abs().sum() == 0
    assert (guess.grad[:, 2:] != 0).all()


def test_a_structure_is_known_only_where_the_whole_case_and_the_voxel_tell_it():
    task = a_task()
    made = a_batch(Regime.FULL)[0]
    made.codes[:, :3] = 0
    made.maps["signed_distance_known"][0, 1] = False
    known = task.target(made)[1]
    assert not known[:, :, :3].any()
    assert not known[0, 1].any()
    assert known[1, :, 3:].all()


@pytest.mark.parametrize("transform", ["physical", "published"])
def test_unlabeled_rows_teach_no_distance(transform):
    task, made = a_task(transform=transform), a_batch(Regime.NONE)[0]
    guess = torch.ones(2, 4, 8, 8, 8, requires_grad=True)
    error = task.error(guess, made)
    error.backward()
    assert error.item() == 0
    assert not guess.grad.any()


def test_the_published_transform_is_of_the_crop_and_steep_as_it_is():
    task = a_task(transform="published", steepness=1500.0, steepness_start=1500.0)
    made, truth = a_batch(Regime.FULL)
    target = task.target(made)[0]
    organ = (truth == tiny.HEAD) | (truth == tiny.TAIL)
    assert (target[:, 3][~organ] > 0).all()
    assert (target[:, 3][organ] <= 0).all()
    edges = (target[:, 3] == 0) & organ
    assert edges.any()
    found = task.probability(target)[:, 3]
    assert (found[edges] == 0.5).all()
    torch.testing.assert_close(found, torch.sigmoid(-1500 * target[:, 3]))


def test_distances_are_squashed_in_voxels_of_the_plan():
    made = a_batch(Regime.FULL)[0]
    task = a_task(spacing_mm=(4.0, 2.0, 3.0), radius_voxels=5.0)
    torch.testing.assert_close(task.target(made)[0], torch.tanh(made.maps[SIGNED_DISTANCE] / 10.0))


def test_a_plan_of_slices_takes_its_voxel_from_the_slice():
    assert a_task(2, spacing_mm=(0.0, 1.5, 1.4)).voxel_mm == 1.4
    assert a_task(2, spacing_mm=(0.5, 1.5, 1.4)).voxel_mm == 1.4


def test_a_true_distance_has_a_soft_edge_of_about_a_voxel():
    task, made = a_task(), a_batch(Regime.FULL)[0]
    found = task.probability(task.target(made)[0])
    near = made.maps[SIGNED_DISTANCE].abs() == 0.5
    # k = 2: 1 / (1 + e^-1) = 0.731 at half a voxel inside.
    assert near.any()
    assert (found[near].sub(0.5).abs() - 0.231).abs().max() < 1e-3


def test_steepness_goes_from_its_start_to_its_end_and_predictions_use_the_end():
    task = a_task(steepness_start=1.0, steepness=3.0, radius_voxels=10.0)
    distance = torch.full((1, 4, 2, 2, 2), 0.01)
    for progress, k in ((Progress(0, 0.0), 1.0), (Progress(5, 0.5), 2.0), (Progress(9, 1.0), 3.0), (None, 3.0)):
        torch.testing.assert_close(task.probability(distance, progress), distance_to_probability(distance, 10.0 * k))
        expected = torch.cat([torch.zeros(1, 1, 2, 2, 2), -10.0 * k * distance[:, :3]], dim=1)
        torch.testing.assert_close(task.logits(distance, progress), expected)
