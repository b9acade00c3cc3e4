"""Scans of one slice: whatever their header says of its thickness, the network sees the slice."""

from dataclasses import replace

import pytest

from SemiSegLib.batches.source import BatchSource
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.planner import make_plan
from SemiSegLib.runs.request import PlanSettings
from Testing.lib.batches.study import put_study
from Testing.lib.planning.test_planner import planned

SETTINGS = PlanSettings(memory_gib=1.0, batch=2)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("thickness_mm", [1.0, 9.0])
def test_a_slice_is_seen_whole_from_the_plan_to_the_batch(tmp_path, axis, thickness_mm):
    # An image file of two axes is read with a thickness of 1 mm, which here is finer than its pixels.
    shape, spacing_mm = [23, 18], [1.5, 1.7]
    shape.insert(axis, 1)
    spacing_mm.insert(axis, thickness_mm)
    study = put_study(tmp_path, ("full", "full"), shape=tuple(shape), spacing_mm=tuple(spacing_mm))
    study = replace(study, dimensions=2)
    plan = make_plan(fingerprint(study), study, SETTINGS)
    assert plan.axis_order[0] == axis
    assert plan.spacing_mm == pytest.approx((0.0, 1.6, 1.6), abs=0.11)
    store = PreparedStore(tmp_path / "cache", study, plan)
    source = BatchSource(store, study.cases, plan, composition={"full": 1}, seed=1, augmentation="none")
    batch = source.batch(0)
    assert batch.image.shape == (2, 1, *plan.patch)
    assert min(plan.patch) >= 18
    # Each voxel of the slice is there: beyond it nothing is known.
    assert (batch.codes != 0).sum(dim=(1, 2)).tolist() == [23 * 18] * 2


@pytest.mark.parametrize("thickness_mm", [1.0, 1.5, 9.0])
def test_scans_of_one_slice_are_planned_in_two_dimensions_without_being_told(thickness_mm):
    plan = planned((64, 1, 64), (1.5, thickness_mm, 1.5))
    assert (plan.dimensions, plan.axis_order) == (2, (1, 0, 2))
    assert planned((2, 64, 64), (1.5, 1.5, 1.5)).dimensions == 3


def test_without_a_single_slice_the_thickest_axis_is_that_of_the_slices():
    assert planned((9, 64, 64), (1.5, 1.5, 4.0), dimensions=2).axis_order == (2, 0, 1)
    # Lines of one voxel along two axes do not tell which one is that of the slices.
    assert planned((1, 64, 1), (1.0, 1.5, 4.0), dimensions=2).axis_order == (2, 0, 1)


def test_a_volume_of_one_slice_that_is_trained_in_three_dimensions_keeps_its_axes():
    assert planned((1, 64, 64), (1.0, 1.5, 1.5), settings=PlanSettings(dimensions=3)).axis_order == (0, 1, 2)
