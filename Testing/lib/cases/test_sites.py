"""The cohort of three sites: four structures in every scan, of which each site drew some."""

import numpy as np
import pytest

from SemiSegLib.cases.checks import check_dataset
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.phantom import NODE, SCHEME, SCHEME_WITH_NODE, phantom
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegLib.cases.sites import write_sites
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.label_set import Regime

SMALL = (14, 26, 24)
# Per site: leaves that some voxel is known to be, and superclasses drawn as a whole.
DRAWN = {
    "site_a": {"head", "tail"},
    "site_b": {"vessel", "node"},
    "site_c": set(),
    "test": set(SCHEME_WITH_NODE.leaf_names),
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_sites(tmp_path_factory.mktemp("sites"), each=2, validation=1, test=1, seed=3, size=SMALL)


def test_a_node_changes_nothing_but_its_own_voxels():
    for index in range(5):
        plain, more = phantom(2, index, SMALL), phantom(2, index, SMALL, node=True)
        assert plain.geometry == more.geometry
        node = more.leaves == NODE
        assert node.sum() > 8
        assert np.array_equal(plain.leaves[~node], more.leaves[~node])
        assert not plain.leaves[node].any()
    assert SCHEME_WITH_NODE.leaf_names == (*SCHEME.leaf_names, "node")


def test_each_site_drew_some_structures_and_says_nothing_of_the_others(written):
    dataset = load_dataset(written.root)
    assert dataset.cases == written.cases
    assert check_dataset(dataset) == ()
    names = dataset.scheme.leaf_names
    for case in dataset.cases:
        codes, table = read_codes(dataset, case, read_images(dataset, case)[0].geometry)
        found = {table.sets[code] for code in np.unique(codes)}
        group = case.id.rpartition("_")[0]
        alone = {names[leaf] for leaves in found if len(leaves) == 1 for leaf in leaves}
        assert alone == DRAWN.get(group, set(names)), case.id
        expected = Regime.PARTIAL if group.startswith("site") else Regime.FULL
        assert case.regime(dataset.scheme) is expected
        if group == "site_c":
            assert frozenset({1, 2}) in found


def test_the_labels_never_contradict_the_fully_drawn_cohort(written, tmp_path):
    full = write_sites(tmp_path, each=2, validation=1, test=1, full=True, seed=3, size=SMALL)
    assert [case.id for case in full.cases] == [case.id for case in written.cases]
    for case, truth in zip(written.cases, full.cases, strict=True):
        images = [read_images(study, one)[0] for study, one in ((written, case), (full, truth))]
        assert np.array_equal(images[0].voxels, images[1].voxels)
        assert truth.regime(full.scheme) is Regime.FULL
        codes, table = read_codes(written, case, images[0].geometry)
        true_codes, true_table = read_codes(full, truth, images[0].geometry)
        leaf = true_table.array[true_codes].argmax(-1)
        assert set(np.unique(leaf)) == {0, 1, 2, 3, 4}
        assert np.take_along_axis(table.array[codes], leaf[..., None], -1).all()


def test_a_count_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="site_a"):
        write_sites(tmp_path, each=-1)
