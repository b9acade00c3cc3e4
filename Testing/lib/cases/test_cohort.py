"""The built-in cohort: deterministic, as varied as real scans, and labeled as it says."""

import time

import numpy as np
import pytest

from SemiSegLib.cases.checks import check_dataset
from SemiSegLib.cases.cohort import CHANNEL, GROUPS, cohort_dataset, write_case, write_cohort
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.orientation import closest_orientation
from SemiSegLib.cases.phantom import BACKGROUND_LEAF, HEAD, SCHEME, TAIL, VESSEL, phantom
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegLib.cases.volume import read_labels, read_volume
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.annotation import encode_values
from SemiSegLib.labels.label_set import Regime

SMALL = (12, 22, 20)
COUNTS = {"fine": 2, "coarse": 3, "partial": 2, "none": 2, "validation": 2, "test": 1}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_cohort(tmp_path_factory.mktemp("cohort"), **COUNTS, seed=5, size=SMALL)


def test_the_same_seed_gives_the_same_scan_and_another_seed_another():
    first, again, other = phantom(3, 1, SMALL), phantom(3, 1, SMALL), phantom(4, 1, SMALL)
    assert np.array_equal(first.image.voxels, again.image.voxels)
    assert np.array_equal(first.leaves, again.leaves)
    assert first.geometry == again.geometry
    assert not np.array_equal(first.geometry.affine, other.geometry.affine)


def test_the_global_generator_of_numpy_is_neither_used_nor_changed():
    np.random.seed(0)  # noqa: NPY002 - it is the legacy state that must not matter
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = phantom(3, 1, SMALL)
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert np.array_equal(first.image.voxels, phantom(3, 1, SMALL).image.voxels)


def test_scans_differ_in_size_spacing_direction_and_axis_order():
    scans = [phantom(0, i, SMALL) for i in range(24)]
    assert len({scan.geometry.shape for scan in scans}) > 15
    assert any(n % 2 for scan in scans for n in scan.geometry.shape)
    orders = {closest_orientation(scan.geometry) for scan in scans}
    assert len(orders) == 4
    for scan in scans:
        canonical = closest_orientation(scan.geometry).apply_geometry(scan.geometry)
        thick, high, wide = canonical.spacing_mm
        assert high == pytest.approx(wide)
        assert 1.5 < thick / high < 3.0
        # Degrees between each canonical axis and the patient's: oblique, but not so much as to be ambiguous.
        along = np.abs(canonical.direction[[2, 1, 0], [0, 1, 2]])
        tilt = np.rad2deg(np.arccos(np.clip(along, -1, 1)))
        assert tilt.max() > 1.5
        assert tilt.max() < 16.0


def test_the_head_lies_in_front_of_the_tail_in_the_patient():
    for index in range(8):
        scan = phantom(0, index, SMALL)
        place = {}
        for leaf in (HEAD, TAIL):
            voxels = np.argwhere(scan.leaves == leaf)
            place[leaf] = (np.c_[voxels, np.ones(len(voxels))] @ scan.geometry.affine.T)[:, :3].mean(0)
        # LPS: the second coordinate grows toward the back.
        assert place[HEAD][1] < place[TAIL][1] - 3.0


def test_every_structure_occurs_and_head_and_tail_touch():
    for index in range(30):
        leaves = phantom(1, index, SMALL).leaves
        assert leaves.dtype == np.uint8
        assert set(np.unique(leaves)) == {BACKGROUND_LEAF, HEAD, TAIL, VESSEL}
        touching = 0
        for axis in range(3):
            pairs = np.stack([np.delete(leaves, -1, axis), np.delete(leaves, 0, axis)])
            touching += int(((pairs.min(0) == HEAD) & (pairs.max(0) == TAIL)).sum())
        assert touching > 3


def test_brightness_does_not_tell_head_from_tail_but_texture_does():
    differences, rough_head, rough_tail = [], [], []
    for index in range(40):
        scan = phantom(2, index)
        canonical = closest_orientation(scan.geometry)
        image = canonical.apply(scan.image.voxels).astype(float)
        leaves = canonical.apply(scan.leaves)
        head, tail = image[leaves == HEAD], image[leaves == TAIL]
        differences.append((head.mean() - tail.mean()) / image.std())
        # Roughness: how much neighbors differ, in parts of the variance inside the structure.
        step = np.diff(image, axis=2)
        for leaf, rough, voxels in ((HEAD, rough_head, head), (TAIL, rough_tail, tail)):
            inside = (leaves[:, :, 1:] == leaf) & (leaves[:, :, :-1] == leaf)
            rough.append((step[inside] ** 2).mean() / voxels.var())
    assert abs(np.mean(differences)) < 0.12
    assert min(np.mean(np.array(differences) > 0), np.mean(np.array(differences) < 0)) > 0.3
    assert np.mean(np.array(rough_head) > np.array(rough_tail)) > 0.9


def test_scans_are_whole_numbers_without_overflow_and_differ_in_brightness():
    scans = [phantom(0, i, SMALL).image.voxels for i in range(12)]
    assert all(scan.dtype == np.int16 for scan in scans)
    assert all(scan.min() >= 0 and scan.max() < 10_000 for scan in scans)
    means = [scan.mean() for scan in scans]
    assert max(means) > 1.3 * min(means)


def test_a_scan_is_made_in_less_than_a_tenth_of_a_second():
    phantom(0, 0)
    start = time.process_time()
    for index in range(10):
        phantom(0, index)
    assert (time.process_time() - start) / 10 < 0.1


def test_the_folder_is_read_back_as_it_was_written(written):
    assert load_dataset(written.root) == written
    assert written.root.is_absolute()


def test_each_group_has_its_regime_side_and_count(written):
    regimes = {
        "fine": Regime.FULL,
        "coarse": Regime.COARSE,
        "partial": Regime.PARTIAL,
        "none": Regime.NONE,
        "validation": Regime.FULL,
        "test": Regime.FULL,
    }
    for group, count in COUNTS.items():
        cases = [case for case in written.cases if case.id.startswith(group)]
        assert len(cases) == count
        assert {case.regime(SCHEME) for case in cases} == {regimes[group]}
        side = Side.TRAIN if group in ("fine", "coarse", "partial", "none") else Side(group)
        assert {case.split for case in cases} == {side}
    assert len({case.patient for case in written.cases}) == len(written.cases)


def test_files_hold_the_integers_of_their_group(written):
    for case in written.cases:
        image = read_volume(written.root / case.images[CHANNEL])
        label = written.root / "labels" / f"{case.id}.nii.gz"
        if case.annotation is None:
            assert not label.exists()
            continue
        values = read_labels(label)
        assert values.geometry.displacement_mm(image.geometry) < 1e-3
        assert set(np.unique(values.voxels)) == set(case.annotation.values)
    numbers = {group: tuple(sorted(kind.meanings)) for group, kind in GROUPS.items() if kind.meanings}
    assert GROUPS["fine"].leaf_values != GROUPS["validation"].leaf_values
    assert numbers["coarse"] != numbers["fine"]


def test_the_label_sets_of_every_file_hold_the_truth(written):
    for case in written.cases:
        if case.annotation is None:
            continue
        group, number = case.id.rsplit("_", 1)
        truth = phantom(5, GROUPS[group].first + int(number), SMALL).leaves
        table = case.annotation.table(SCHEME)
        stored = read_labels(written.root / case.annotation.file).voxels
        codes = encode_values(stored, case.annotation.value_sets(SCHEME), table, where=case.id)
        assert np.take_along_axis(table.array[codes], truth[..., None].astype(int), -1).all(), case.id


def test_the_checks_find_nothing_to_say(written):
    assert check_dataset(written) == ()


def test_cases_are_read_as_what_their_group_says(written):
    expected = {
        "fine_00": {"background", "head", "tail", "vessel"},
        "coarse_00": {"background", "organ", "vessel"},
        "partial_00": {"organ or background", "vessel"},
        "none_00": {"anything"},
    }
    for case_id, words in expected.items():
        case = written.case(case_id)
        image = read_images(written, case)[0]
        codes, table = read_codes(written, case, image.geometry)
        assert {SCHEME.describe(table.sets[code]) for code in np.unique(codes)} == words


def test_a_case_does_not_change_when_the_cohort_grows(written, tmp_path):
    record = write_case(tmp_path, "coarse", 1, seed=5, size=SMALL)
    for name in (record.images[CHANNEL], record.annotation.file):
        assert (tmp_path / name).read_bytes() == (written.root / name).read_bytes()
    assert record == written.case("coarse_01")


def test_the_records_of_a_cohort_need_no_files(tmp_path):
    dataset = cohort_dataset(tmp_path / "nowhere", COUNTS)
    assert len(dataset.cases) == sum(COUNTS.values())
    assert not (tmp_path / "nowhere").exists()


def test_no_two_groups_share_a_scan():
    first = sorted(kind.first for kind in GROUPS.values())
    assert min(np.diff(first)) >= 10_000


@pytest.mark.parametrize(
    ("counts", "message"),
    [({"fin": 1}, "did you mean 'fine'"), ({"fine": -1}, "fine is -1"), ({"fine": 10_000}, "fine is 10000")],
)
def test_impossible_counts_are_refused(counts, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        cohort_dataset(tmp_path, counts)


def test_an_empty_cohort_is_an_empty_dataset(tmp_path):
    empty = write_cohort(tmp_path / "new", fine=0, coarse=0, partial=0, none=0, validation=0)
    assert load_dataset(tmp_path / "new") == empty
    assert empty.cases == ()


def test_a_cohort_can_be_written_again_in_the_same_folder(tmp_path):
    counts = {"fine": 1, "coarse": 0, "partial": 0, "none": 0, "validation": 0}
    first = write_cohort(tmp_path, **counts, seed=1, size=SMALL)
    before = (tmp_path / first.cases[0].images[CHANNEL]).read_bytes()
    write_cohort(tmp_path, **counts, seed=2, size=SMALL)
    assert (tmp_path / first.cases[0].images[CHANNEL]).read_bytes() != before
