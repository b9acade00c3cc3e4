"""Signed distances of whole cases: their definition, which of them labels tell, and the cache."""

import mmap
from dataclasses import replace

import numpy as np
import pytest
import torch

from SemiSegLib.batches import distance as distance_file
from SemiSegLib.batches.distance import (
    FAR_MM,
    SIGNED_DISTANCE,
    DistanceMaps,
    distance_structures,
    signed_distance,
)
from SemiSegLib.batches.source import BatchSource
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.volume import Volume, read_labels, write_volume
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.scheme import LabelScheme, Structure
from Testing.lib.batches.study import MEANING, a_plan, of_cases, put_study
from Testing.lib.cases.tiny import scheme

EVERY = {"full": 0.25, "coarse": 0.25, "partial": 0.25, "none": 0.25}
NAMES = distance_structures(scheme())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return put_study(tmp_path_factory.mktemp("study"), ("full", "full", "coarse", "partial", "none"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def measured(monkeypatch):
    """The masks whose distances are computed."""
    calls = []

    def spied(mask, *rest, **options):
        calls.append(mask)
        return signed_distance(mask, *rest, **options)

    monkeypatch.setattr(distance_file, "signed_distance", spied)
    return calls


def a_source(study, cache, plan=None, **changes):
    plan = plan or a_plan()
    options = {"composition": EVERY, "seed": 7, "augmentation": "full", "maps": (SIGNED_DISTANCE,)} | changes
    return BatchSource(PreparedStore(cache, study, plan), study.cases, plan, **options)


def by_brute_force(mask, spacing_mm):
    """The definition, voxel by voxel."""
    places = np.stack(
        np.meshgrid(*[np.arange(n) * mm for n, mm in zip(mask.shape, spacing_mm, strict=True)], indexing="ij"), -1
    )
    inside, outside = places[mask], places[~mask]
    half = min(spacing_mm) / 2
    found = np.empty(mask.shape)
    for index in np.ndindex(mask.shape):
        others = outside if mask[index] else inside
        nearest = np.sqrt(((others - places[index]) ** 2).sum(-1)).min()
        found[index] = half - nearest if mask[index] else nearest - half
    return found


@pytest.mark.parametrize("seed", range(4))
def test_a_distance_is_to_the_surface_between_voxels_in_millimeters(seed):
    mask = np.random.default_rng(seed).random((5, 7, 6)) < 0.3
    spacing = (1.6, 0.7, 0.9)
    np.testing.assert_allclose(signed_distance(mask, spacing), by_brute_force(mask, spacing), atol=1e-5)


def test_a_distance_is_worked_by_hand():
    # Voxels of 2 mm in a row, the third and fourth inside: centers 3 and 1 mm before the surface, 1 mm behind it.
    mask = np.array([0, 0, 1, 1, 0], dtype=bool).reshape(1, 1, 5)
    assert signed_distance(mask, (9.0, 9.0, 2.0)).flatten().tolist() == [3.0, 1.0, -1.0, -1.0, 1.0]
    # Across a thicker axis of 3 mm, h is still 2 mm.
    assert signed_distance(mask.reshape(5, 1, 1), (3.0, 2.0, 2.0)).flatten().tolist() == [5.0, 2.0, -2.0, -2.0, 2.0]


def test_what_has_no_surface_is_far_everywhere():
    for value, expected in ((False, FAR_MM), (True, -FAR_MM)):
        for in_plane in (False, True):
            found = signed_distance(np.full((3, 4, 5), value), (2.0, 1.0, 1.0), in_plane=in_plane)
            assert (found == expected).all()


def test_slices_of_their_own_know_nothing_of_their_neighbors():
    mask = np.zeros((3, 6, 7), dtype=bool)
    mask[1, 2:4, 2:5] = True
    found = signed_distance(mask, (0.1, 1.0, 1.0), in_plane=True)
    assert (found[[0, 2]] == FAR_MM).all()
    np.testing.assert_allclose(found[1:2], by_brute_force(mask[1:2], (9.0, 1.0, 1.0)), atol=1e-6)


def test_structures_are_the_leaves_and_the_superclasses_of_several():
    assert NAMES == ("head", "tail", "vessel", "organ")
    flat = LabelScheme(name="flat", structures=(Structure(name="a"), Structure(name="b")))
    assert distance_structures(flat) == ("a", "b")


def test_a_case_tells_the_distances_that_its_labels_decide(study, cache):
    store = PreparedStore(cache, study, a_plan())
    maps = DistanceMaps(store)
    # Labels of the partial case leave slices out, those of the coarse one do not tell head from tail.
    told = {"full0": {*NAMES}, "coarse2": {"vessel", "organ"}, "partial3": set(), "none4": set()}
    for case_id, names in told.items():
        found = maps.get(case_id)
        assert {name for name, known in zip(NAMES, found.known, strict=True) if known} == names
        assert found.maps.shape == (len(names), *store.get(case_id).codes.shape)
        assert found.maps.dtype == np.float16
    case, found = store.get("full0"), maps.get("full0")
    for row, name in enumerate(NAMES):
        leaves = study.scheme.leaves_of(name)
        mask = np.isin(case.codes, [code for code, s in enumerate(case.table.sets) if s <= leaves])
        assert mask.any()
        assert np.array_equal(np.array(found.maps[row]) < 0, mask)
        np.testing.assert_allclose(found.maps[row], signed_distance(mask, case.spacing_mm), rtol=1e-3, atol=1e-3)


def test_maps_are_written_one_after_the_other(tmp_path, monkeypatch):
    """Those of a hundred structures of a whole body are 44 GiB."""
    # Each map is larger than the buffer of a file, so what was written before it is on the disk.
    study = put_study(tmp_path / "study", ("full",), shape=(20, 30, 30))
    written = []

    def told(mask, *rest, **options):
        (temporary,) = (tmp_path / "cache").glob(".distance-*.tmp")
        written.append(sum(path.stat().st_size for path in temporary.iterdir()))
        return signed_distance(mask, *rest, **options)

    monkeypatch.setattr(distance_file, "signed_distance", told)
    maps = DistanceMaps(PreparedStore(tmp_path / "cache", study, a_plan())).get("full0").maps
    assert np.diff(written)[1:].tolist() == [maps[0].nbytes] * (len(NAMES) - 2)
    (path,) = (tmp_path / "cache").glob("distance-*/distance.npy")
    assert np.array_equal(np.load(path), maps)


def test_a_structure_that_all_labels_decide_is_known_in_a_partial_case(tmp_path):
    study = put_study(tmp_path, ("partial",))
    object.__setattr__(study.cases[0].annotation.extent, "slices", None)
    values = {0: ("background", "organ"), 1: ("organ",), 2: ("background", "organ"), 3: ("vessel",)}
    object.__setattr__(study.cases[0].annotation, "values", values)
    found = DistanceMaps(PreparedStore(tmp_path / "cache", study, a_plan())).get("partial0")
    assert found.known.tolist() == [False, False, True, False]


def test_nothing_is_computed_twice_and_one_changed_voxel_recomputes_one_case(study, tmp_path, measured):
    fresh = put_study(tmp_path / "study", ("full", "full", "none"), shape=(3, 6, 5))
    first = a_source(fresh, tmp_path / "cache")
    assert len(measured) == 2 * len(NAMES)
    names = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert sum(name.startswith("distance-") for name in names) == 2
    second = a_source(fresh, tmp_path / "cache")
    assert len(measured) == 2 * len(NAMES)
    assert torch.equal(first.batch(3).maps[SIGNED_DISTANCE], second.batch(3).maps[SIGNED_DISTANCE])
    labels = read_labels(fresh.path("labels/full1.nii.gz"))
    voxels = labels.voxels.copy()
    voxels[0, 0, 0] = 3
    write_volume(Volume(voxels, labels.geometry), fresh.path("labels/full1.nii.gz"))
    third = a_source(fresh, tmp_path / "cache")
    assert len(measured) == 3 * len(NAMES)
    vessel = NAMES.index("vessel")
    assert DistanceMaps(third.store).get("full1").maps[vessel, 0, 0, 0] < 0
    kept = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert names.items() <= kept.items()


def test_other_patches_share_the_maps_and_slices_have_their_own(tmp_path, measured):
    study = put_study(tmp_path / "study", ("full",), shape=(3, 6, 5))
    for plan in (a_plan(patch=(2, 4, 4)), a_plan(patch=(3, 3, 3), batch=2)):
        a_source(study, tmp_path / "cache", plan)
    assert len(measured) == len(NAMES)
    a_source(study, tmp_path / "cache", a_plan(patch=(4, 4), dimensions=2))
    assert len(measured) == 2 * len(NAMES)


def test_a_row_of_a_batch_hashes_nothing(study, tmp_path, monkeypatch):
    source = a_source(study, tmp_path)
    hashed = []
    monkeypatch.setattr(distance_file, "content_hash", lambda *parts: hashed.append(parts))
    for step in range(4):
        source.batch(step)
    assert hashed == []


def test_maps_are_mapped_from_the_disk_and_mended_when_damaged(tmp_path):
    study = put_study(tmp_path / "study", ("full",))
    source = a_source(study, tmp_path / "cache")
    before = source.batch(0).maps[SIGNED_DISTANCE]
    memory = DistanceMaps(source.store).get("full0").maps
    while isinstance(memory, np.ndarray):
        memory = memory.base
    assert isinstance(memory.obj, mmap.mmap)
    (path,) = (tmp_path / "cache").glob("distance-*/distance.npy")
    path.write_bytes(path.read_bytes()[:-3])
    assert torch.equal(a_source(study, tmp_path / "cache").batch(0).maps[SIGNED_DISTANCE], before)


def test_who_asks_for_no_map_pays_nothing(study, tmp_path, measured):
    source = a_source(study, tmp_path, maps=())
    assert source.batch(0).maps == {}
    assert not measured
    assert not list(tmp_path.glob("distance-*"))


def test_other_maps_are_refused_with_the_nearest_name(study, cache):
    with pytest.raises(ConfigError, match="did you mean 'signed_distance'"):
        a_source(study, cache, maps=("signed_distanc",))


def test_the_meaning_of_values_counts(tmp_path, measured):
    study = put_study(tmp_path / "study", ("full",), shape=(3, 6, 5))
    a_source(study, tmp_path / "cache")
    case = study.cases[0]
    coarser = replace(case, annotation=replace(case.annotation, values=MEANING["coarse"]))
    a_source(of_cases(study.root, [coarser]), tmp_path / "cache")
    assert len(measured) == len(NAMES) + 2
