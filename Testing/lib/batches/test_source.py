"""Batches as a pure function of (seed, step), for any size of volume, patch and plan."""

from concurrent.futures import ThreadPoolExecutor
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from SemiSegLib.batches import source as source_file
from SemiSegLib.batches.source import BatchSource, prefetch
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.errors import CaseError, ConfigError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.prediction.window import pad_to_patch
from Testing.lib.batches.study import MEANING, a_plan, of_cases, put_case, put_study

EVERY = {"full": 0.25, "coarse": 0.25, "partial": 0.25, "none": 0.25}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return put_study(tmp_path_factory.mktemp("study"), ("full", "full", "coarse", "partial", "none"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def a_source(study, cache, plan=None, **changes):
    plan = plan or a_plan()
    options = {"composition": EVERY, "seed": 7, "augmentation": "full"} | changes
    return BatchSource(PreparedStore(cache, study, plan), study.cases, plan, **options)


def same(first, second) -> bool:
    return (
        torch.equal(first.image, second.image)
        and torch.equal(first.codes, second.codes)
        and first.case_ids == second.case_ids
        and first.rows == second.rows
    )


@pytest.mark.parametrize("augmentation", ["full", "light", "crop", "crop_turned", "none"])
def test_a_step_gives_the_same_batch_whoever_asks_and_whenever(study, cache, augmentation):
    one, other = (a_source(study, cache, augmentation=augmentation) for _ in range(2))
    forward = [one.batch(step) for step in range(12)]
    backward = [other.batch(step) for step in reversed(range(12))][::-1]
    assert all(same(a, b) for a, b in zip(forward, backward, strict=True))
    assert not any(same(a, b) for a, b in pairwise(forward))
    assert not same(forward[0], a_source(study, cache, augmentation=augmentation, seed=8).batch(0))


def test_a_resumed_run_draws_what_the_uninterrupted_one_would_have(study, cache):
    whole = list(prefetch(a_source(study, cache), 0, 9))
    rest = list(prefetch(a_source(study, cache), 4, 9))
    assert len(whole) == 9
    assert len(rest) == 5
    assert all(same(a, b) for a, b in zip(whole[4:], rest, strict=True))


def test_a_batch_has_the_shape_and_kind_that_was_promised(study, cache):
    source = a_source(study, cache)
    batch = source.batch(0)
    assert batch.image.shape == (4, 1, 6, 8, 10)
    assert batch.image.dtype == torch.float32
    assert batch.codes.shape == (4, 6, 8, 10)
    assert batch.codes.dtype == torch.int64
    assert batch.image.is_contiguous()
    assert batch.codes.is_contiguous()
    assert torch.isfinite(batch.image).all()
    assert int(batch.codes.max()) < len(batch.label_sets)
    assert np.array_equal(batch.label_sets.numpy(), source.table.array)
    assert batch.maps == {}


def test_rows_of_a_regime_are_neighbors_and_say_only_what_their_cases_say(study, cache):
    source = a_source(study, cache, plan=a_plan(batch=8))
    singles = [i for i, s in enumerate(source.table.sets) if len(s) == 1]
    organ = source.table.code(study.scheme.leaf_set(["organ"]))
    vessel = source.table.code(study.scheme.leaf_set(["vessel"]))
    background = source.table.code(study.scheme.leaf_set(["background"]))
    not_vessel = source.table.code(study.scheme.leaf_set(["background", "organ"]))
    allowed = {
        Regime.FULL: {0, *singles},
        Regime.COARSE: {0, organ, vessel, background},
        Regime.PARTIAL: {0, vessel, not_vessel},
        Regime.NONE: {0},
    }
    for step in range(10):
        batch = source.batch(step)
        for regime, rows in batch.rows.items():
            assert rows.stop - rows.start == 2
            for row in range(rows.start, rows.stop):
                assert batch.case_ids[row].startswith(regime.value)
                assert set(batch.codes[row].unique().tolist()) <= allowed[regime]
        assert not batch.part(Regime.NONE).codes.any()


def test_regimes_that_are_absent_give_their_rows_to_the_others(study, cache):
    source = a_source(study, cache, composition={"none": 0.5, "partial": 0.25})
    kept = [case for case in study.cases if case.id.startswith(("full", "none"))]
    only = BatchSource(source.store, kept, a_plan(), composition={"full": 0.5, "coarse": 0.5}, seed=0)
    assert {i[:4] for step in range(5) for i in only.batch(step).case_ids} == {"full"}
    assert {i[:4] for step in range(5) for i in source.batch(step).case_ids} == {"none", "part"}
    with pytest.raises(CaseError, match="made of cases with labels coarse, and there is none"):
        BatchSource(source.store, kept, a_plan(), composition={"coarse": 1.0}, seed=0)


def test_shares_hold_in_the_mean_even_with_more_regimes_than_rows(study, cache):
    shares = {"full": 0.5, "coarse": 0.3, "none": 0.2}
    source = a_source(study, cache, plan=a_plan(batch=2), composition=shares)
    counts = dict.fromkeys(Regime, 0)
    for step in range(3000):
        rows = source.sampler.rows(step)
        assert rows[Regime.FULL] == slice(0, 1)
        for regime, part in rows.items():
            counts[regime] += part.stop - part.start
    assert counts[Regime.PARTIAL] == 0
    for name, share in shares.items():
        assert abs(counts[Regime(name)] / 6000 - share) < 0.015


def test_a_rare_class_is_centered_on_as_often_as_a_common_one(tmp_path):
    common = {0: ("background",), 1: ("head",), 2: ("head",), 3: ("background",)}
    cases = [put_case(tmp_path, f"c{i}", "full", seed=i, shape=(15, 17, 19)) for i in range(6)]
    rare = cases[0]
    for i in range(1, 6):
        object.__setattr__(cases[i].annotation, "values", common)
    study = of_cases(tmp_path, cases)
    plan = a_plan(patch=(5, 5, 5), batch=2)
    source = a_source(study, tmp_path / "cache", plan, augmentation="none", target_share=0.5, composition={"full": 1})
    centers = {"head": 0, "tail": 0, "vessel": 0, None: 0}
    for step in range(1500):
        for pick in source.sampler.picks(step):
            centers[pick.target] += 1
            assert pick.target in ("head", None) or pick.case_id == rare.id
    assert abs(centers[None] / 3000 - 0.5) < 0.04
    for name in ("head", "tail", "vessel"):
        assert abs(centers[name] / 3000 - 0.5 / 3) < 0.03
    code = source.table.code(study.scheme.leaf_set(["tail"]))
    for step in range(60):
        batch = source.batch(step)
        for row, pick in enumerate(source.sampler.picks(step)):
            if pick.target == "tail":
                assert (batch.codes[row] == code).any()


def test_a_partly_annotated_case_is_looked_at_where_it_is_annotated(tmp_path):
    study = put_study(tmp_path, ("partial",), shape=(21, 9, 9))
    object.__setattr__(study.cases[0].annotation.extent, "slices", (16,))
    plan = a_plan(patch=(3, 4, 4), batch=3)
    source = a_source(study, tmp_path / "cache", plan, augmentation="none", composition={"partial": 1})
    assert all((source.batch(step).codes != 0).flatten(1).any(1).all() for step in range(20))


def test_where_voxels_without_labels_teach_half_of_its_patches_lie_anywhere(tmp_path):
    study = put_study(tmp_path, ("partial", "none"), shape=(81, 9, 9))
    object.__setattr__(study.cases[0].annotation.extent, "slices", (40,))
    plan = a_plan(patch=(3, 4, 4), batch=4)
    how = {"augmentation": "none", "target_share": 0.0}
    source = a_source(study, tmp_path / "cache", plan, composition={"partial": 0.75, "none": 0.25}, **how)
    seen = [
        (source.batch(step).codes[row] != 0).any()
        for step in range(100)
        for row, pick in enumerate(source.sampler.picks(step))
        if pick.regime is Regime.PARTIAL
    ]
    assert len(seen) == 300
    # Of those that lie anywhere, 3 of 79 meet the slice.
    assert abs(np.mean(seen) - (0.5 + 0.5 * 3 / 79)) < 0.1


def test_a_row_tells_what_labels_its_case_has_anywhere(tmp_path):
    study = put_study(tmp_path, ("full", "coarse", "partial", "none"), shape=(21, 9, 9))
    plan = a_plan(patch=(1, 1, 1), batch=8)
    shares = dict.fromkeys(("full", "coarse", "partial", "none"), 0.25)
    source = a_source(study, tmp_path / "cache", plan, augmentation="none", composition=shares)
    batch = source.batch(0)
    names = {"full0": "full", "coarse1": "coarse", "partial2": "partial", "none3": "none"}
    scheme = study.scheme
    for row, case_id in enumerate(batch.case_ids):
        meaning = MEANING.get(names[case_id], {})
        said = {scheme.leaf_set(list(words)) for words in meaning.values() if words != ("*",)}
        found = {source.table.sets[code] for code in np.flatnonzero(batch.case_codes[row].numpy()) if code}
        assert found == said
        # Slices of the partial case have no labels; of the case without any, nothing is elsewhere.
        assert bool(batch.case_codes[row, 0]) == (case_id == "partial2")
    part = batch.part(Regime.PARTIAL)
    assert torch.equal(part.case_codes, batch.case_codes[batch.rows[Regime.PARTIAL]])


@pytest.mark.parametrize("augmentation", ["full", "crop", "crop_turned"])
@pytest.mark.parametrize("seed", range(12))
def test_every_size_of_volume_and_patch_gives_batches(tmp_path, seed, augmentation):
    generator = np.random.default_rng(seed)
    sizes = [tuple(int(n) for n in generator.integers(1, 41, 3)) for _ in range(2)]
    cases = [put_case(tmp_path, f"c{i}", "full", shape=size, seed=i) for i, size in enumerate(sizes)]
    patch = tuple(int(n) for n in generator.integers(1, 41, 3))
    spacing = (0.9, 0.7, 0.7) if augmentation == "crop_turned" else (0.9, 1.6, 0.7)
    plan = a_plan(patch=patch, batch=2, axis_order=(2, 0, 1), spacing_mm=spacing)
    source = a_source(of_cases(tmp_path, cases), tmp_path / "cache", plan, augmentation=augmentation)
    for step in range(6):
        batch = source.batch(step)
        assert batch.image.shape == (2, 1, *patch)
        assert torch.isfinite(batch.image).all()


@pytest.mark.parametrize("shape", [(1, 13, 11), (7, 1, 11), (1, 1, 1)])
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_volume_of_one_slice_is_a_volume_too(tmp_path, shape, dimensions):
    study = put_study(tmp_path, ("full", "none"), shape=shape)
    patch = (8, 16, 8)[3 - dimensions :]
    spacing = (0.0 if dimensions == 2 else 1.6, 0.7, 0.9)
    plan = a_plan(patch=patch, batch=2, dimensions=dimensions, spacing_mm=spacing)
    source = a_source(study, tmp_path / "cache", plan)
    for step in range(10):
        batch = source.batch(step)
        assert batch.image.shape == (2, 1, *patch)
        assert batch.codes.shape == (2, *patch)
        assert torch.isfinite(batch.image).all()


def test_a_patch_larger_than_the_volume_is_0_outside_and_knows_nothing_there(tmp_path):
    study = put_study(tmp_path, ("full",), shape=(5, 6, 7))
    plan = a_plan(patch=(8, 6, 12), batch=1)
    source = a_source(study, tmp_path / "cache", plan, augmentation="none")
    case = source.store.get("full0")
    batch = source.batch(0)
    inside = (slice(2, 7), slice(0, 6), slice(3, 10))
    assert torch.equal(batch.image[0, 0][inside], torch.from_numpy(np.array(case.image[0])).float())
    outside = torch.ones(8, 6, 12, dtype=torch.bool)
    outside[inside] = False
    assert not batch.image[0, 0][outside].any()
    assert not batch.codes[0][outside].any()
    assert (batch.codes[0][inside] != 0).all()
    shifted = a_source(study, tmp_path / "cache", plan, augmentation="crop")
    corners = {int(torch.nonzero(shifted.batch(step).codes[0])[0, 0]) for step in range(40)}
    assert corners == {0, 1, 2, 3}


def test_flips_keep_image_and_codes_together(tmp_path):
    study = put_study(tmp_path, ("full",), shape=(5, 6, 7))
    plan = a_plan(patch=(8, 6, 6), batch=4)
    source = a_source(study, tmp_path / "cache", plan, augmentation="crop", mirror=True)
    plain = source.store.get("full0")
    seen = set()
    for step in range(12):
        batch = source.batch(step)
        for image, codes in zip(batch.image[:, 0], batch.codes, strict=True):
            values = {code: set(np.unique(plain.image[0][np.array(plain.codes) == code])) for code in range(1, 5)}
            for code in codes.unique().tolist():
                if code:
                    assert set(image[codes == code].numpy().astype(np.float16)) <= values[code]
            seen.add(image.numpy().tobytes())
    assert len(seen) > 8


@pytest.mark.parametrize("patch", [(2, 5, 5), (2, 5, 7), (3, 8, 4), (5, 7), (6, 6)])
def test_turned_crops_are_crops_of_the_volume_to_the_voxel_whatever_their_shape(tmp_path, patch):
    study = put_study(tmp_path, ("full",), shape=(3, 9, 8), spacing_mm=(1.6, 0.7, 0.7))
    spacing = (0.0 if len(patch) == 2 else 1.6, 0.7, 0.7)
    plan = a_plan(patch=patch, batch=4, dimensions=len(patch), spacing_mm=spacing)
    source = a_source(study, tmp_path / "cache", plan, augmentation="crop_turned", composition={"full": 1})
    case = source.store.get("full0")
    # A code and an intensity in one number.
    codes = case.table.codes_in(source.table)[np.array(case.codes)]
    whole = np.array(case.image[0], dtype=np.float64) + 1000.0 * codes
    size = (1, *patch)[-3:]
    crops = {}
    for way in range(8):
        turned = np.rot90(whole, way % 4, axes=(1, 2))
        turned = turned if way < 4 else turned[:, ::-1]
        for crop in np.lib.stride_tricks.sliding_window_view(turned, size).reshape(-1, *size):
            crops[crop.tobytes()] = way
    seen = set()
    for step in range(30):
        batch = source.batch(step)
        for image, codes in zip(batch.image[:, 0].double().numpy(), batch.codes.numpy(), strict=True):
            seen.add(crops[np.ascontiguousarray(image + 1000.0 * codes).reshape(size).tobytes()])
    assert seen == set(range(8))


@pytest.mark.parametrize("patch", [(4, 12, 6), (5, 4, 11)])
def test_a_small_volume_lies_anywhere_in_a_turned_crop_and_nothing_else_does(tmp_path, patch):
    study = put_study(tmp_path, ("full",), shape=(3, 9, 8), spacing_mm=(1.6, 0.7, 0.7))
    plan = a_plan(patch=patch, batch=4, spacing_mm=(1.6, 0.7, 0.7))
    source = a_source(study, tmp_path / "cache", plan, augmentation="crop_turned", composition={"full": 1})
    voxels = {min(patch[0], 3) * min(patch[1], h) * min(patch[2], w) for h, w in ((9, 8), (8, 9))}
    for step in range(20):
        batch = source.batch(step)
        assert {int((codes != 0).sum()) for codes in batch.codes} <= voxels
        assert not batch.image[:, 0][batch.codes == 0].any()


def test_slices_of_a_2d_plan_come_from_the_volume_unmixed(tmp_path):
    study = put_study(tmp_path, ("full",), shape=(5, 12, 14))
    plan = a_plan(patch=(12, 14), batch=3, dimensions=2, spacing_mm=(0.0, 0.7, 0.9))
    source = a_source(study, tmp_path / "cache", plan, augmentation="none")
    slices = torch.from_numpy(np.array(source.store.get("full0").image[0])).float()
    seen = set()
    for step in range(20):
        for image in source.batch(step).image[:, 0]:
            matches = [i for i, plane in enumerate(slices) if torch.equal(plane, image)]
            assert len(matches) == 1
            seen.update(matches)
    assert seen == set(range(5))


def test_codes_of_all_cases_refer_to_one_table(study, cache):
    source = a_source(study, cache, plan=a_plan(batch=8))
    organ, head, tail = (study.scheme.leaf_set([name]) for name in ("organ", "head", "tail"))
    found = {source.table.sets[code] for step in range(20) for code in source.batch(step).codes.unique().tolist()}
    assert {organ, head, tail} <= found


def test_an_error_of_a_batch_is_raised_where_it_would_have_come_and_names_the_case(study, cache, monkeypatch):
    source = a_source(study, cache)

    def broken(step):
        if step == 3:
            raise CaseError("case 'full0' is gone")
        return step

    monkeypatch.setattr(source, "batch", broken)
    batches = prefetch(source, 0, 9)
    assert list(islice(batches, 3)) == [0, 1, 2]
    with pytest.raises(CaseError, match="case 'full0' is gone"):
        next(batches)


def test_the_thread_that_makes_batches_works_alone_and_leaves_the_others_their_threads(study, cache, monkeypatch):
    source = a_source(study, cache)
    monkeypatch.setattr(source, "batch", lambda step: torch.get_num_threads())
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert list(prefetch(source, 0, 3)) == [1, 1, 1]
        assert torch.get_num_threads() == 2
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


def test_a_prepared_file_that_vanishes_is_reported_with_its_case(study, tmp_path):
    source = a_source(study, tmp_path, composition={"none": 1})
    for path in tmp_path.glob("image-*/image.npy"):
        path.unlink()
    with pytest.raises(CaseError, match=r"cannot be read.*\n  where:  case 'none4'"):
        source.batch(0)


def test_unknown_wishes_are_refused(study, cache):
    with pytest.raises(ConfigError, match="did you mean 'light'"):
        a_source(study, cache, augmentation="ligt")
    with pytest.raises(ConfigError, match="extra map 'distance' is unknown"):
        a_source(study, cache, maps=("distance",))


def test_too_many_different_label_sets_are_refused(study, cache, monkeypatch):
    monkeypatch.setattr(source_file, "MOST_SETS", 3)
    with pytest.raises(Exception, match="different label sets, at most 3"):
        a_source(study, cache)


@pytest.mark.parametrize("patch", [(8, 6, 12), (7, 9, 8), (9, 7, 7)])
def test_a_small_volume_lies_in_the_patch_as_it_does_at_prediction(tmp_path, patch):
    study = put_study(tmp_path, ("full",), shape=(5, 6, 7))
    plan = a_plan(patch=patch, batch=1)
    source = a_source(study, tmp_path / "cache", plan, augmentation="none")
    whole = torch.from_numpy(np.array(source.store.get("full0").image)).float()
    padded, _ = pad_to_patch(whole, patch)
    assert torch.equal(source.batch(0).image[0], padded)
