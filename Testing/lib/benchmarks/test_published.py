"""The benchmarks on published data ask for the right lines, labels, sides and settings, and go on where they ended.

Data of the same layouts is made here; the published sizes are asked, not run.
"""

import json
import shutil
from dataclasses import replace

import acdc
import left_atrium
import numpy as np
import published_run
import pytest
import torch
from published_run import parse, place_study

from SemiSegLib import api, worker
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.split import write_split
from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from SemiSegLib.compare import Bench, arms_of
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, TrainingSettings

TINY = ["steps=2", "batch=2", "precision=fp32", "threads=1", "device=cpu"]
# Plain momentum, and crops that lie anywhere.
SHARED = {"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "nesterov": False, "target_share": 0.0}
PAPER_000 = {**SHARED, "schedule": "linear", "augmentation": "crop"}
PAPER_003 = {**SHARED, "schedule": "step", "augmentation": "crop_turned"}


def put(folder, name, leaves, spacing_mm, seed):
    """Write a scan of a bright body with its label image."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    geometry = Geometry(leaves.shape, np.diag([0.0, 0.0, 0.0, 1.0]) + _axes(spacing_mm))
    noise = np.random.default_rng(seed).integers(0, 20, leaves.shape)
    write_volume(Volume((40 * leaves + noise).astype(np.int16), geometry), folder / "images" / f"{name}.nii.gz")
    write_volume(Volume(leaves, geometry), folder / "labels" / f"{name}.nii.gz")


def _axes(spacing_mm):
    axes = np.zeros((4, 4))
    axes[:3, :3] = np.eye(3)[:, ::-1] * np.array(spacing_mm)
    return axes


@pytest.fixture(scope="module")
def heart(tmp_path_factory):
    """Return a folder laid out as ACDC: two frames a patient, the published order is not that of names."""
    folder = tmp_path_factory.mktemp("acdc")
    order = [f"patient{n:03d}_frame{frame:02d}" for n in (9, 4, 7, 1) for frame in (1, 2)]
    tested = ["patient005_frame01", "patient005_frame02", "patient002_frame01"]
    for seed, name in enumerate([*order, *tested]):
        leaves = np.zeros((4, 26, 31), dtype=np.uint8)
        leaves[:, 6:20, 4:12] = 1
        leaves[:, 6:20, 12:24] = 2
        leaves[1:, 9:16, 15:20] = 3
        put(folder, name, leaves, (10.0, 1.0, 1.0), seed)
    data = {
        "name": "heart",
        "labels": {"background": 0, "RV": 1, "MYO": 2, "LV": 3},
        "hierarchy": {"heart": ["RV", "MYO", "LV"]},
        "split": {"train": order, "val": tested},
    }
    (folder / "dataset.json").write_text(json.dumps(data))
    return folder


def put_atria(folder, shape, spacing_mm, *, tested=()):
    order = [f"SCAN{letter}" for letter in "ABCDEFGHIJ"]
    for seed, name in enumerate(order):
        # The labeled ones tell the resolution.
        d, h, w = shape if name in order[:2] else (6, 7, 8)
        leaves = np.zeros((d, h, w), dtype=np.uint8)
        leaves[d // 4 : 3 * d // 4, h // 4 : 3 * h // 4, w // 3 : w - 2] = 1
        put(folder, name, leaves, spacing_mm, seed)
    data = {
        "name": "atria",
        "labels": {"background": 0, "left atrium": 1},
        "split_order": order,
        "labelled_16": order[:2],
        **({"split": {"train": [n for n in order if n not in tested], "test": list(tested)}} if tested else {}),
    }
    (folder / "dataset.json").write_text(json.dumps(data))
    return folder


@pytest.fixture(scope="module")
def atria(tmp_path_factory):
    """Return a folder laid out as the left atrium at half resolution, of smaller scans."""
    return put_atria(tmp_path_factory.mktemp("atria"), (18, 21, 23), (1.25, 1.25, 1.25))


def requests(benchmark, tmp_path, **options):
    """Return by folder name what is asked of the runs of seed 1."""
    asked = benchmark.asked(**{"seeds": 2, "only": None, "settings": [], **options})
    bench = Bench(benchmark.study, benchmark.study.root, asked, tmp_path)
    return {arm.name: bench.request(arm, 1) for arm in arms_of(asked) if asked.only is None or arm.name in asked.only}


def sides(benchmark):
    return {side: [case.id for case in benchmark.study.side(side)] for side in Side}


def has(settings, values):
    return {name: getattr(settings, name) for name in values} == values


def switches(request):
    options = resolve_options(card_of(request.method), request.preset, request.options)
    return options["separate_normalization"], options["prior_concatenation"], options["mix"], options["passes"]


def test_no_training_scan_of_the_heart_is_for_validation_or_test(heart):
    found = sides(acdc.benchmark(heart, "published"))
    assert found[Side.TEST] == ["patient002_frame01", "patient005_frame01", "patient005_frame02"]
    assert found[Side.VALIDATION] == []
    assert len(found[Side.TRAIN]) == 8


@pytest.mark.parametrize("size", ["published", "reduced"])
def test_the_heart_is_asked_with_three_patients_and_with_three_scans(heart, tmp_path, size):
    found = requests(acdc.benchmark(heart, size), tmp_path)
    keys = [key for key in acdc.KEYS if key != "upper"]
    assert set(found) == {*(f"{key}_{count}" for key in keys for count in (6, 3)), "upper_all"}
    patients = ["patient009_frame01", "patient009_frame02", "patient004_frame01", "patient004_frame02"]
    assert found["mod_6"].fine_cases == (*patients, "patient007_frame01", "patient007_frame02")
    assert found["full_3"].fine_cases == tuple(patients[:3])
    assert found["upper_all"].fine_cases is None
    assert {request.other_labels for request in found.values()} == {"coarse"}
    assert {request.seed for request in found.values()} == {1}


def test_the_lines_of_the_heart_are_those_of_table_two(heart, tmp_path):
    found = requests(acdc.benchmark(heart, "published"), tmp_path)
    assert switches(found["sn_6"]) == (True, "none", "none", "two")
    assert switches(found["pc_6"]) == (False, "logits", "none", "two")
    assert switches(found["hm_6"]) == (False, "none", "full", "two")
    assert switches(found["hm_released_6"]) == (False, "none", "full", "released")
    assert switches(found["full_6"]) == (True, "logits", "full", "two")
    assert resolve_options(card_of("efficient_subclass"), "ours", {}) == resolve_options(
        card_of(found["ours_6"].method), found["ours_6"].preset, found["ours_6"].options
    )
    assert (found["mod_6"].method, found["mod_6"].preset) == ("modified_unet", "paper")
    loss = {"cross_entropy_weight": 0.5, "dice_weight": 0.5, "dice": "paper"}
    for name in ("lower_6", "marginal_6", "upper_all"):
        options = resolve_options(card_of(found[name].method), found[name].preset, found[name].options)
        assert {key: options[key] for key in loss} == loss


def test_the_published_size_of_the_heart_is_the_papers_and_ours_trains_as_many_steps(heart, tmp_path):
    found = requests(acdc.benchmark(heart, "published"), tmp_path)
    for name, request in found.items():
        assert (request.training.steps, request.training.seconds) == (40_000, None)
        if "ours" not in name:
            assert has(request.training, PAPER_000), name
            assert request.plan == PlanSettings(
                dimensions=2,
                patch=(256, 256),
                batch=24,
                backbone="paper_unet",
                norm="batch",
                normalization="unit",
            )
    assert found["ours_6"].plan == PlanSettings(dimensions=2)
    assert found["ours_6"].training == TrainingSettings(steps=40_000)


def test_what_is_different_from_the_paper_is_said_where_it_is(heart, tmp_path):
    folder = shutil.copytree(heart, tmp_path / "heart")

    def different(size):
        return acdc.benchmark(folder, size).facts["different from the paper"]

    assert "median spacing" not in different("published")
    put(folder, "patient004_frame01", np.ones((4, 26, 31), dtype=np.uint8), (10.0, 1.5, 1.5), 0)
    assert "slices are brought to their median spacing" in different("published")
    assert "median spacing" not in different("reduced")


def test_the_reduced_size_of_the_heart_is_one_budget_and_one_grid_for_all(heart, tmp_path):
    found = requests(acdc.benchmark(heart, "reduced"), tmp_path)
    for name, request in found.items():
        assert (request.training.steps, request.training.seconds) == (None, 60.0)
        assert has(request.plan, {"dimensions": 2, "patch": (64, 64), "batch": 8})
        # Twice the pixels' size, and slices as they are.
        assert request.plan.spacing_mm == pytest.approx((0.0, 2.0, 2.0))
        if "ours" not in name:
            assert has(request.training, PAPER_000), name
            assert request.plan.backbone == "paper_unet"
    assert found["ours_6"].plan.backbone is None
    assert found["ours_6"].training == TrainingSettings(steps=None, seconds=60.0)


def test_the_atrium_keeps_the_published_labels_and_tests_on_the_last_of_the_others(atria, tmp_path):
    benchmark = left_atrium.benchmark(atria, "published")
    found = sides(benchmark)
    # 20 of 64 is 2.5 of 8.
    assert found[Side.TEST] == ["SCANI", "SCANJ"]
    assert found[Side.VALIDATION] == []
    asked = requests(benchmark, tmp_path)
    assert set(asked) == {"upper_all", *(f"{key}_2" for key in left_atrium.KEYS if key != "upper")}
    assert asked["dtc_2"].fine_cases == ("SCANA", "SCANB")
    assert asked["upper_all"].fine_cases is None
    assert {request.other_labels for request in asked.values()} == {"none"}
    assert benchmark.settings.largest_component


def test_a_published_test_side_of_the_atrium_is_used_as_it_is(tmp_path):
    folder = put_atria(tmp_path / "all", (6, 7, 8), (1.25, 1.25, 1.25), tested=("SCANC", "SCANH"))
    benchmark = left_atrium.benchmark(folder, "published")
    assert sides(benchmark)[Side.TEST] == ["SCANC", "SCANH"]
    assert len(sides(benchmark)[Side.TRAIN]) == 8
    assert "as published" in benchmark.facts["test"]


def test_the_published_size_of_the_atrium_fits_the_resolution_at_hand(atria, tmp_path):
    half = requests(left_atrium.benchmark(atria, "published"), tmp_path)
    folder = put_atria(tmp_path / "whole", (81, 113, 115), (0.625, 0.625, 0.625))
    whole = requests(left_atrium.benchmark(folder, "published"), tmp_path)
    for found, patch in ((half, (48, 64, 64)), (whole, (80, 112, 112))):
        for name, request in found.items():
            assert (request.training.steps, request.training.seconds) == (6_000, None)
            if not name.endswith("_ours_2"):
                assert has(request.training, {**PAPER_003, "mirror": None}), name
                assert has(request.plan, {"patch": patch, "batch": 4, "backbone": "vnet", "spacing_mm": None})
        for name in ("lower_ours_2", "ua_mt_ours_2", "dtc_ours_2", "dtml_ours_2", "cps_ours_2"):
            assert found[name].plan == PlanSettings(dimensions=3)
            assert found[name].training == TrainingSettings(steps=6_000)


def test_the_reduced_size_of_the_atrium_has_one_grid_whatever_the_resolution_at_hand(atria, tmp_path):
    folder = put_atria(tmp_path / "whole", (81, 113, 115), (0.625, 0.625, 0.625))
    for data in (atria, folder):
        found = requests(left_atrium.benchmark(data, "reduced"), tmp_path)
        for name, request in found.items():
            assert (request.training.steps, request.training.seconds) == (None, 120.0)
            assert has(request.plan, {"dimensions": 3, "patch": (16, 32, 32), "batch": 4})
            assert request.plan.spacing_mm == pytest.approx((2.5, 2.5, 2.5))
            if not name.endswith("_ours_2"):
                assert has(request.training, PAPER_003), name
                assert request.plan.backbone == "vnet"
        for name in ("lower_ours_2", "ua_mt_ours_2", "dtc_ours_2", "dtml_ours_2", "cps_ours_2"):
            assert found[name].plan.backbone is None


def test_the_lines_of_the_atrium_are_those_of_the_papers_and_their_code(atria, tmp_path):
    found = requests(left_atrium.benchmark(atria, "reduced"), tmp_path)
    assert {name: (request.method, request.preset) for name, request in found.items()} == {
        "lower_2": ("supervised", None),
        "lower_ours_2": ("supervised", None),
        "ua_mt_2": ("uncertainty_aware_mean_teacher", "paper"),
        "ua_mt_code_2": ("uncertainty_aware_mean_teacher", "code"),
        "ua_mt_ours_2": ("uncertainty_aware_mean_teacher", "ours"),
        "dtc_2": ("dual_task_consistency", "paper"),
        "dtc_code_2": ("dual_task_consistency", "code"),
        "dtc_ours_2": ("dual_task_consistency", "ours"),
        "dtml_2": ("dual_task_mutual_learning", "paper"),
        "dtml_code_2": ("dual_task_mutual_learning", "code"),
        "dtml_ours_2": ("dual_task_mutual_learning", "ours"),
        "cps_ours_2": ("cross_pseudo_supervision", "ours"),
        "mt_2": ("mean_teacher", "paper"),
        "asdnet_2": ("attention_adversarial", "paper"),
        "tcse_2": ("transformation_consistent", "paper"),
        "sassnet_2": ("shape_aware_adversarial", "paper"),
        "double_2": ("double_uncertainty", "paper"),
        "upper_all": ("supervised", None),
    }
    assert found["lower_2"].options == {"cross_entropy_weight": 0.5, "dice_weight": 0.5, "dice": "foreground"}


def test_only_some_lines_are_asked_and_what_is_typed_wins(heart, tmp_path):
    benchmark = acdc.benchmark(heart, "published")
    found = requests(benchmark, tmp_path, only=["mod", "ours"], settings=["seconds=9", "patch=[32,32]"])
    assert set(found) == {"mod_6", "mod_3", "ours_6", "ours_3"}
    for request in found.values():
        assert (request.training.steps, request.training.seconds) == (None, 9.0)
        assert request.plan.patch == (32, 32)
    assert has(found["mod_6"].training, PAPER_000)


def test_the_published_size_is_for_a_graphics_card(monkeypatch):
    for has_card, size in ((True, "published"), (False, "reduced")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_card=has_card: has_card)
        options = parse("", "acdc", acdc.KEYS, ["/somewhere/hidden/heart", "--seeds", "2"])
        assert (options.size, options.output.name) == (size, f"acdc_{size}")
        assert options.command == "python Testing/benchmarks/acdc.py heart --seeds 2"


@pytest.mark.parametrize("may_link", [True, False], ids=["linked", "copied where links are not allowed"])
def test_the_study_is_written_beside_its_files_and_the_data_stay_untouched(heart, tmp_path, monkeypatch, may_link):
    if not may_link:

        def refuse(*_, **__):
            raise OSError("a required privilege is not held by the client")

        monkeypatch.setattr(published_run.Path, "symlink_to", refuse)
    before = sorted(path.name for path in heart.rglob("*"))
    study = acdc.benchmark(heart, "reduced").study
    for _ in range(2):
        folder = place_study(study, tmp_path / "study")
        again = load_dataset(folder)
        assert again.cases == study.cases
        assert all(again.path(case.annotation.file).exists() for case in again.cases)
        assert (folder / "images").is_symlink() is may_link
    assert sorted(path.name for path in heart.rglob("*")) == before


@pytest.fixture
def trained(monkeypatch):
    """Return the names of the runs that are trained, each in this process, which is no worker that can be followed."""
    names = []

    def start(request, runs, *, name, split):
        run = RunFolder.create(runs, request, name=name)
        write_split(split, run.split_path)
        worker.run(run)
        names.append(name)
        return run

    monkeypatch.setattr(api, "start", start)
    monkeypatch.setattr(api, "follow", lambda run, **_: run.status())
    return names


def test_the_heart_is_measured_and_goes_on_where_it_ended(heart, tmp_path, trained):
    words = [str(heart), "--output", str(tmp_path / "found"), "--size", "reduced", "--only", "lower", "mod"]
    words += ["--setting", *TINY, "patch=[16,16]"]
    acdc.main([*words, "--seeds", "1"])
    assert trained == ["lower_6_seed0", "mod_6_seed0", "lower_3_seed0", "mod_3_seed0"]
    page = (tmp_path / "found.md").read_text()
    assert "**Reduced size" in page
    assert "## 3 patients (6 scans) fine" in page
    assert "| Mod | U-Net, fine labels alone |" in page
    assert "| 0.823 |" in page
    assert "settings typed by hand" in page
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["size"] == "reduced"
    assert found["test_side"] == ["patient002_frame01", "patient005_frame01", "patient005_frame02"]
    assert found["machine"]["cores"]
    pair = found["tables"][0]["as_predicted"]["differences"][0]
    assert (pair["line"], pair["rival"], pair["patients"], len(pair["seeds"])) == ("mod", "lower", 2, 1)
    assert pair["low"] <= pair["mean"] <= pair["high"]
    assert "largest_piece" not in found["tables"][0]
    for place in (tmp_path, heart):
        assert str(place) not in page
        assert str(place) not in json.dumps(found)
    trained.clear()
    acdc.main([*words[:-1], "patch=[16,16]", "--seeds", "1"])
    assert trained == []
    assert (tmp_path / "found.md").read_text() == page


def test_the_atrium_is_scored_twice_from_one_training(atria, tmp_path, trained, monkeypatch):
    words = [str(atria), "--output", str(tmp_path / "found"), "--size", "reduced", "--only", "lower", "dtc"]
    words += ["--seeds", "1", "--setting", *TINY, "patch=[16,16,16]"]
    left_atrium.main(words)
    assert trained == ["lower_2_seed0", "dtc_2_seed0"]
    page = (tmp_path / "found.md").read_text()
    assert "## 2 labeled scans\n" in page
    assert "## 2 labeled scans, largest piece of each structure" in page
    # Table 3 of the paper has V-Net without, and DTC with the largest piece.
    whole, pieces = page.split("largest piece of each structure")
    assert ("0.860" in whole, "0.894" in whole) == (True, False)
    assert ("0.860" in pieces, "0.894" in pieces) == (False, True)
    scores = sorted(path.name for path in (tmp_path / "found" / "scores").iterdir())
    assert scores == [f"{name}_2_seed0{ending}.json" for name in ("dtc", "lower") for ending in ("", ".largest")]
    # A score that was lost comes from the model that is there.
    (tmp_path / "found" / "scores" / scores[1]).unlink()
    trained.clear()
    left_atrium.main(words)
    assert trained == []
    assert (tmp_path / "found.md").read_text() == page


def test_data_that_do_not_say_what_is_needed_are_refused(heart, tmp_path):
    with pytest.raises(SystemExit, match="labelled_16"):
        left_atrium.benchmark(heart, "reduced")
    benchmark = acdc.benchmark(heart, "reduced")
    short = replace(benchmark.settings, fine_order=benchmark.settings.fine_order[:2])
    with pytest.raises(Exception, match="6 were asked for, 2 named"):
        requests(replace(benchmark, settings=short), tmp_path)
