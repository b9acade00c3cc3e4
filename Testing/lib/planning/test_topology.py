"""Depth, strides and kernels as nnU-Net plans them."""

import pytest

from SemiSegLib.planning.topology import plan_topology


def test_an_isotropic_patch_is_halved_down_to_four_voxels():
    topology = plan_topology((40, 56, 40), (1.0, 1.0, 1.0), stem_stride=(1, 1, 1))
    # 40 56 40 > 20 28 20 > 10 14 10 > 5 7 5: nnU-Net's own plan of the hippocampus.
    assert topology.strides == ((2, 2, 2),) * 3
    assert topology.kernels == ((3, 3, 3),) * 4
    assert topology.divisor == (8, 8, 8)


def test_a_stem_takes_one_halving():
    topology = plan_topology((40, 56, 40), (1.0, 1.0, 1.0), stem_stride=(2, 2, 2))
    assert topology.strides == ((2, 2, 2),) * 2
    assert topology.divisor == (8, 8, 8)


def test_a_thick_axis_is_convolved_and_halved_once_the_others_are_as_coarse():
    topology = plan_topology((20, 256, 256), (5.0, 1.0, 1.0), stem_stride=(1, 1, 1))
    # Spacing of the other axes: 1, 2, 4: at 4 the thick axis is less than twice as thick.
    assert topology.kernels[:3] == ((1, 3, 3), (1, 3, 3), (3, 3, 3))
    assert topology.strides[:3] == ((1, 2, 2), (1, 2, 2), (2, 2, 2))


def test_a_short_axis_is_left_alone():
    topology = plan_topology((5, 64, 64), (1.0, 1.0, 1.0), stem_stride=(1, 1, 1))
    assert all(stride[0] == 1 for stride in topology.strides)
    assert topology.divisor[0] == 1


@pytest.mark.parametrize("stages", [1, 2, 4, 7])
def test_a_wanted_number_of_stages_is_kept_whatever_the_patch(stages):
    topology = plan_topology((16, 16), (1.0, 1.0), stem_stride=(1, 1), stages=stages)
    assert len(topology.kernels) == stages
    assert len(topology.strides) == stages - 1
    assert topology.divisor[0] <= 4


def test_a_patch_of_one_voxel_has_one_stage():
    topology = plan_topology((1, 1, 1), (1.0, 1.0, 1.0), stem_stride=(1, 1, 1))
    assert topology.strides == ()
    assert topology.kernels == ((3, 3, 3),)
