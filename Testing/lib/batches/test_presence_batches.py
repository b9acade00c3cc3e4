"""What the presence network needs of batches: the usual size of structures, and what lies beyond the volume."""

import numpy as np
import pytest

from SemiSegLib.batches.sizes import usual_sizes
from SemiSegLib.batches.source import BatchSource
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.labels.rois import RoiTable
from Testing.lib.batches.study import a_plan, drawing, put_study

SHAPE = (7, 13, 11)
COMPOSITION = {"full": 1.0, "coarse": 1.0, "partial": 1.0}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return put_study(tmp_path_factory.mktemp("study"), regimes=("full", "full", "full", "coarse"), shape=SHAPE)


def a_store(study, tmp_path, **changes):
    plan = a_plan(**changes)
    return PreparedStore(tmp_path, study, plan), plan


def test_the_usual_size_is_the_median_over_cases_that_surely_hold_the_structure(study, tmp_path):
    store, _ = a_store(study, tmp_path)
    table = RoiTable.of(study.scheme)
    sizes = dict(zip(table.names, usual_sizes(store, [c.id for c in study.cases], table.members), strict=True))
    drawn = [drawing(SHAPE, seed) for seed in range(4)]
    assert sizes["head"] == np.median([(d == 1).sum() for d in drawn[:3]])
    assert sizes["organ"] == np.median([np.isin(d, (1, 2)).sum() for d in drawn])
    assert sizes["vessel"] == SHAPE[0]
    assert not usual_sizes(store, ["coarse3"], table.members)[table.names.index("head")]


def test_of_slices_it_is_the_size_in_a_slice(study, tmp_path):
    store, _ = a_store(study, tmp_path, dimensions=2, patch=(8, 10))
    table = RoiTable.of(study.scheme)
    assert usual_sizes(store, ["full0"], table.members)[table.names.index("vessel")] == 1


@pytest.mark.parametrize("augmentation", ["none", "full"])
@pytest.mark.parametrize("mirror", [False, True])
def test_beyond_the_volume_is_background_only_where_it_is_asked_for(study, tmp_path, augmentation, mirror):
    store, plan = a_store(study, tmp_path, patch=(12, 20, 18))
    usual = {"composition": COMPOSITION, "seed": 3, "augmentation": augmentation, "mirror": mirror}
    plain = BatchSource(store, study.cases, plan, **usual)
    filled = BatchSource(store, study.cases, plan, **usual, outside_is_background=True)
    background = filled.table.code(frozenset({0}))
    for step in range(3):
        one, other = plain.batch(step), filled.batch(step)
        assert (one.image == other.image).all()
        beyond = one.codes == 0
        assert beyond.any()
        assert (other.codes[beyond] == background).all()
        # Tables may differ by the added set, so sets are compared and not codes.
        inside = ~beyond
        assert (one.label_sets[one.codes[inside]] == other.label_sets[other.codes[inside]]).all()


def test_what_nobody_annotated_stays_unknown(tmp_path):
    study = put_study(tmp_path / "study", regimes=("full", "partial"), shape=SHAPE)
    store, plan = a_store(study, tmp_path / "store", patch=(12, 20, 18))
    usual = {"composition": {"partial": 1.0}, "seed": 0, "augmentation": "none"}
    codes = BatchSource(store, study.cases, plan, **usual, outside_is_background=True).batch(0).codes
    # Every second slice of the partial case has no annotation, and in the others the organ was left open.
    drawn = drawing(SHAPE, 1)
    drawn[1::2] = 1
    assert (codes == 0).sum() == plan.batch * np.isin(drawn, (1, 2)).sum()
