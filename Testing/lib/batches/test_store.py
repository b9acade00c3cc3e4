"""Prepared cases on disk: found again, made anew when anything they depend on changes, never half written."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from SemiSegLib import config
from SemiSegLib.batches import entry as entry_file
from SemiSegLib.batches import store as store_file
from SemiSegLib.batches.entry import require_entry
from SemiSegLib.batches.store import OPEN_CASES, PreparedStore
from SemiSegLib.cases.volume import Volume, read_labels, write_volume
from SemiSegLib.errors import CaseError
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.planning.plan import ChannelPlan
from Testing.lib.batches.study import MEANING, a_plan, of_cases, put_case, put_study

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def study(tmp_path):
    return put_study(tmp_path / "study")


@pytest.fixture
def written(monkeypatch):
    """Names of the cases whose images and codes are read from their files."""
    calls = {"images": [], "codes": []}

    def spy(kind, function):
        def spied(dataset, case, *rest):
            calls[kind].append(case.id)
            return function(dataset, case, *rest)

        return spied

    monkeypatch.setattr(store_file, "read_images", spy("images", store_file.read_images))
    monkeypatch.setattr(store_file, "read_codes", spy("codes", store_file.read_codes))
    return calls


def entries(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_another_patch_or_batch_needs_no_second_look_at_the_files(study, tmp_path, monkeypatch):
    store = PreparedStore(tmp_path / "cache", study, a_plan())
    store.prepare()
    before = store.get("full0")
    looks = []
    real = entry_file.content_hash

    def looking(*parts):
        looks.extend(part for part in parts if isinstance(part, Path))
        return real(*parts)

    monkeypatch.setattr(entry_file, "content_hash", looking)
    monkeypatch.setattr(store_file, "content_hash", looking)
    other = store.with_plan(a_plan(patch=(3, 3, 5), batch=1))
    assert (other.plan.patch, store.plan.patch) == ((3, 3, 5), (6, 8, 10))
    after = other.get("full0")
    assert after.table is before.table
    assert np.array_equal(after.image, before.image)
    assert np.array_equal(after.codes, before.codes)
    for case in study.cases:
        assert other.summary(case.id) is store.summary(case.id)
    other.prepare()
    assert other.content_keys() == store.content_keys()
    assert looks == []


def test_another_spacing_is_not_taken_for_the_same_cases(study, tmp_path):
    store = PreparedStore(tmp_path / "cache", study, a_plan())
    with pytest.raises(AssertionError, match="would be others"):
        store.with_plan(a_plan(spacing_mm=(2.0, 1.0, 1.0)))


def test_a_prepared_case_says_what_its_labels_say(study, tmp_path):
    store = PreparedStore(tmp_path / "cache", study, a_plan())
    expected = {"full0": Regime.FULL, "coarse2": Regime.COARSE, "partial3": Regime.PARTIAL, "none4": Regime.NONE}
    for case_id, regime in expected.items():
        case = store.get(case_id)
        assert case.regime is regime
        assert case.image.dtype == np.float16
        assert case.image.shape == (1, *case.codes.shape)
        for name, places in case.centers.items():
            code = case.table.code(study.scheme.leaf_set([name]))
            assert len(places)
            assert (case.codes[tuple(places.T)] == code).all()
    assert set(store.get("full0").centers) == {"head", "tail", "vessel"}
    assert set(store.get("coarse2").centers) == {"organ", "vessel"}
    partial = store.get("partial3")
    assert len(partial.known)
    assert (partial.codes[tuple(partial.known.T)] != 0).all()
    assert not store.get("none4").codes.any()
    assert not len(store.get("full0").known)


def test_nothing_is_prepared_twice(study, tmp_path, written):
    PreparedStore(tmp_path / "cache", study, a_plan()).prepare()
    assert len(written["images"]) == 5
    assert len(written["codes"]) == 4
    before = entries(tmp_path / "cache")
    PreparedStore(tmp_path / "cache", study, a_plan()).prepare()
    assert len(written["images"]) == 5
    assert entries(tmp_path / "cache") == before


def test_one_changed_label_voxel_prepares_the_codes_of_that_case_alone(study, tmp_path, written):
    PreparedStore(tmp_path / "cache", study, a_plan()).prepare()
    path = study.path("labels/full1.nii.gz")
    labels = read_labels(path)
    voxels = labels.voxels.copy()
    voxels[0, 0, 0] = 3
    write_volume(Volume(voxels, labels.geometry), path)
    written["images"].clear()
    written["codes"].clear()
    store = PreparedStore(tmp_path / "cache", study, a_plan())
    store.prepare()
    assert written == {"images": [], "codes": ["full1"]}
    assert study.scheme.leaf_names.index("vessel") in store.get("full1").table.sets[store.get("full1").codes[0, 0, 0]]


def test_the_meaning_of_values_counts_and_colors_and_names_of_files_do_not(study, tmp_path, written):
    PreparedStore(tmp_path / "cache", study, a_plan()).prepare(["full0"])
    case = study.case("full0")
    coarser = replace(case, annotation=replace(case.annotation, values=MEANING["coarse"]))
    store = PreparedStore(tmp_path / "cache", of_cases(study.root, [coarser]), a_plan())
    store.prepare()
    assert written == {"images": ["full0"], "codes": ["full0", "full0"]}
    assert store.get("full0").regime is Regime.COARSE
    moved = study.root / "labels" / "renamed.nii.gz"
    study.path("labels/full0.nii.gz").rename(moved)
    renamed = replace(case, annotation=replace(case.annotation, file="labels/renamed.nii.gz"))
    painted = replace(
        of_cases(study.root, [renamed]),
        scheme=replace(
            study.scheme, structures=tuple(replace(s, color=(1.0, 0.0, 0.0)) for s in study.scheme.structures)
        ),
    )
    PreparedStore(tmp_path / "cache", painted, a_plan()).prepare()
    assert len(written["codes"]) == 2


@pytest.mark.parametrize("ending", [".mhd", ".nhdr"])
def test_voxels_in_a_file_of_their_own_count_as_those_beside_the_header_do(study, tmp_path, written, ending):
    case = study.case("full0")
    for reference in (case.images["T1"], case.annotation.file):
        detached = study.path(reference).with_name(f"apart{ending}")
        sitk.WriteImage(sitk.ReadImage(str(study.path(reference))), str(detached))
    images, annotation = {"T1": f"images/apart{ending}"}, replace(case.annotation, file=f"labels/apart{ending}")
    apart = of_cases(study.root, [replace(case, images=images, annotation=annotation)])

    def stored(kind):
        store = PreparedStore(tmp_path / "cache", apart, a_plan())
        return np.array(getattr(store.get("full0"), kind))

    before = stored("image"), stored("codes")
    stored("image")
    assert written == {"images": ["full0"], "codes": ["full0"]}
    voxels = apart.root / "labels" / "apart.raw"
    voxels.write_bytes(bytes(voxels.stat().st_size))
    assert not np.array_equal(stored("codes"), before[1])
    assert written == {"images": ["full0"], "codes": ["full0"] * 2}
    image = apart.root / "images" / "apart.raw"
    image.write_bytes(image.read_bytes()[::-4][::-1].ljust(image.stat().st_size, b"\1"))
    assert not np.array_equal(stored("image"), before[0])
    assert written["images"] == ["full0"] * 2


def test_another_plan_prepares_what_it_changes(study, tmp_path, written):
    PreparedStore(tmp_path / "cache", study, a_plan()).prepare(["full0"])
    PreparedStore(tmp_path / "cache", study, a_plan(patch=(3, 3, 3), batch=9)).prepare(["full0"])
    assert written == {"images": ["full0"], "codes": ["full0"]}
    unit = a_plan(channels=(ChannelPlan(role="T1", normalization="unit"),))
    PreparedStore(tmp_path / "cache", study, unit).prepare(["full0"])
    assert written == {"images": ["full0"] * 2, "codes": ["full0"]}
    PreparedStore(tmp_path / "cache", study, a_plan(spacing_mm=(2.0, 1.0, 1.0))).prepare(["full0"])
    assert written == {"images": ["full0"] * 3, "codes": ["full0"] * 2}


def test_labels_beside_a_case_without_annotation_are_never_opened(tmp_path, written):
    study = put_study(tmp_path / "study", ("none",))
    (study.root / "labels" / "none0.nii.gz").write_bytes(b"garbage that no reader accepts")
    store = PreparedStore(tmp_path / "cache", study, a_plan())
    store.prepare()
    assert written["codes"] == []
    assert not store.get("none0").codes.any()
    assert [p.name for p in (tmp_path / "cache").rglob("codes*")] == []


@pytest.mark.parametrize("damage", ["cut", "flipped byte", "lost file", "lost meta", "broken meta"])
def test_a_damaged_entry_is_found_and_made_anew(study, tmp_path, damage):
    cache = tmp_path / "cache"
    store = PreparedStore(cache, study, a_plan())
    expected = np.array(store.get("full0").image)
    (image,) = cache.glob("image-*/image.npy")
    content = image.read_bytes()
    meta = image.with_name("meta.json")
    changes = {
        "cut": lambda: image.write_bytes(content[:-7]),
        "flipped byte": lambda: image.write_bytes(content[:-1] + bytes([content[-1] ^ 1])),
        "lost file": image.unlink,
        "lost meta": meta.unlink,
        "broken meta": lambda: meta.write_text(json.dumps({"files": 3})),
    }
    changes[damage]()
    again = PreparedStore(cache, study, a_plan())
    assert np.array_equal(again.get("full0").image, expected)
    assert image.read_bytes() == content
    assert not list(cache.glob(".*"))


@pytest.fixture
def held(monkeypatch):
    """Renames of folders with this in their name are refused so often, as on Windows while a scanner reads in them."""
    refusals = {}
    real = os.replace

    def rename(source, target):
        for name in refusals:
            if name in Path(source).name and Path(source).is_dir() and refusals[name]:
                refusals[name] -= 1
                raise PermissionError(13, "Access is denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", rename)
    monkeypatch.setattr(config, "RENAME_WAIT_SECONDS", 0.0)
    return refusals


def write_one():
    return {"image": np.arange(4)}, {"what": "one"}


def test_a_virus_scanner_that_reads_a_new_entry_is_waited_for(tmp_path, held):
    folder = tmp_path / "cache" / "image-1"
    held[".image-1."] = 3
    assert require_entry(folder, write_one)["what"] == "one"
    assert [path.name for path in folder.parent.iterdir()] == ["image-1"]
    (folder / "meta.json").unlink()
    held["image-1"] = 3
    assert require_entry(folder, write_one)["what"] == "one"
    assert held == {".image-1.": 0, "image-1": 0}
    assert [path.name for path in folder.parent.iterdir()] == ["image-1"]


def test_an_entry_that_another_program_holds_is_said_to_be_in_use(tmp_path, held):
    folder = tmp_path / "cache" / "image-1"
    require_entry(folder, write_one)
    (folder / "meta.json").unlink()
    held["image-1"] = 1000
    with pytest.raises(CaseError, match="in use by another program") as told:
        require_entry(folder, write_one)
    assert "virus scanner" in str(told.value)
    assert "disk space" not in str(told.value)
    assert [path.name for path in folder.parent.iterdir()] == ["image-1"]


def test_an_end_in_the_middle_of_writing_leaves_no_entry(tmp_path):
    def write():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        require_entry(tmp_path / "cache" / "image-1", write)
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())


def test_leftovers_of_ended_processes_are_removed_after_a_day(study, tmp_path):
    cache = tmp_path / "cache"
    old, new = cache / ".image-1.aa.tmp", cache / ".image-2.bb.tmp"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "image.npy").write_bytes(b"half")
    os.utime(old, (1, 1))
    PreparedStore(cache, study, a_plan()).prepare(["full0"])
    assert not old.exists()
    assert new.exists()


def test_two_processes_prepare_the_same_cases_at_once(tmp_path):
    folder = tmp_path / "study"
    study = put_study(folder, ("full",) * 3 + ("none",))
    code = (
        "import sys; from pathlib import Path\n"
        "from Testing.lib.batches.study import *\n"
        "import SemiSegLib.batches.entry as entry, time\n"
        "folder = Path(sys.argv[1])\n"
        "cases = [Case(id=c, patient=c, images={'T1': f'images/{c}.nii.gz'}, annotation=None if c == 'none3' else "
        "Annotation(file=f'labels/{c}.nii.gz', values=MEANING['full'])) for c in sys.argv[3:]]\n"
        "from SemiSegLib.batches.store import PreparedStore\n"
        "swap = entry._put_in_place\n"
        "def slow(*a):\n"
        "    time.sleep(0.05)\n"
        "    swap(*a)\n"
        "entry._put_in_place = slow\n"
        "PreparedStore(Path(sys.argv[2]), of_cases(folder, cases), a_plan()).prepare()\n"
    )
    ids = [case.id for case in study.cases]
    command = [sys.executable, "-c", code, str(folder), str(tmp_path / "cache"), *ids]
    processes = [subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    assert len(list((tmp_path / "cache").glob("image-*"))) == 4
    assert len(list((tmp_path / "cache").glob("codes-*"))) == 3
    assert not list((tmp_path / "cache").glob(".*"))


def test_few_cases_are_open_at_a_time_whatever_is_read(tmp_path):
    study = put_study(tmp_path / "study", ("full",) * (OPEN_CASES + 3), shape=(3, 4, 5))
    store = PreparedStore(tmp_path / "cache", study, a_plan())
    seen = [store.get(case.id) for case in study.cases]
    assert len(store._open) == OPEN_CASES
    assert store.get(study.cases[-1].id) is seen[-1]
    assert store.get(study.cases[0].id) is not seen[0]


@pytest.mark.parametrize(("drawn", "regime"), [("vessel", Regime.FULL), ("organ", Regime.COARSE)])
def test_a_segmentation_matched_by_names_gets_its_regime_from_what_is_drawn(tmp_path, monkeypatch, drawn, regime):
    case = put_case(tmp_path, "named", "full")
    study = of_cases(tmp_path, [replace(case, annotation=Annotation(file=case.annotation.file))])
    table = replace(case.annotation, values=MEANING["coarse"]).table(study.scheme)
    code = table.code(study.scheme.leaf_set([drawn]))
    monkeypatch.setattr(
        store_file, "read_codes", lambda dataset, case, geometry: (np.full(geometry.shape, code, np.uint8), table)
    )
    assert PreparedStore(tmp_path / "cache", study, a_plan()).summary("named").regime is regime


def test_a_case_without_one_of_the_channels_is_named(study, tmp_path):
    broken = replace(study.case("full0"), images={"T2": "images/full0.nii.gz"})
    store = PreparedStore(tmp_path / "cache", of_cases(study.root, [broken]), a_plan())
    with pytest.raises(CaseError, match=r"the channel 'T1' is missing\n  where:  case 'full0'"):
        store.prepare()
