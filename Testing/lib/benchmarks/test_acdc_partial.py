"""The benchmark of one structure a patient asks for the right labels and lines, and goes on where it ended."""

import json
from collections import Counter
from dataclasses import replace

import acdc_partial
import pytest

from SemiSegLib import api, worker
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.recast import read_assignment, recast, undrawn_as_background
from SemiSegLib.cases.split import write_split
from SemiSegLib.compare import Bench, arms_of
from SemiSegLib.comparison import ComparisonSettings
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.prediction.model_file import load_model
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import TrainingSettings
from Testing.lib.benchmarks.test_published import TINY, heart  # noqa: F401 - a fixture


def requests(benchmark, tmp_path, **options):
    """Return by folder name what is asked of the runs of seed 1."""
    asked = benchmark.asked(**{"seeds": 2, "only": None, "settings": [], **options})
    bench = Bench(benchmark.study, benchmark.study.root, asked, tmp_path)
    return {arm.name: bench.request(arm, 1) for arm in arms_of(asked)}


def test_each_training_patient_shows_one_structure_and_test_patients_all(heart):  # noqa: F811
    benchmark, drawn = acdc_partial.benchmark(heart, "published")
    trained = {case.patient for case in benchmark.study.side(Side.TRAIN)}
    assert set(drawn.patients) == trained
    assert sorted(Counter(drawn.patients.values()).values()) == [1, 1, 2]
    assert set(drawn.patients.values()) == {"RV", "MYO", "LV"}
    assert acdc_partial.benchmark(heart, "reduced")[1] == drawn
    shown = recast(benchmark.study, drawn.patients)
    for case in shown.cases:
        expected = Regime.PARTIAL if case.split is Side.TRAIN else Regime.FULL
        assert case.regime(shown.scheme) is expected
    # The naive reading says of every voxel what it is, and is wrong of two structures.
    naive = undrawn_as_background(shown)
    assert {case.regime(naive.scheme) for case in naive.cases} == {Regime.FULL}


@pytest.mark.parametrize("size", ["published", "reduced"])
def test_every_line_has_the_same_network_training_and_budget(heart, tmp_path, size):  # noqa: F811
    found = requests(acdc_partial.benchmark(heart, size)[0], tmp_path)
    assert len(found) == len(acdc_partial.KEYS)
    assert len({request.plan for request in found.values()}) == 1
    assert len({request.training for request in found.values()}) == 1
    first = found["baseline_drawn"]
    assert first.plan.dimensions == 2
    assert first.plan.backbone is None
    if size == "published":
        assert first.training == TrainingSettings(steps=20_000)
    else:
        assert (first.training.steps, first.training.seconds) == (None, 300.0)
        assert first.plan.features == (16, 32, 64, 128, 256)
        assert (first.plan.patch, first.plan.batch) == ((64, 64), 8)
        assert first.plan.spacing_mm == pytest.approx((0.0, 2.0, 2.0))


def test_the_lines_see_the_labels_that_they_are_named_for(heart, tmp_path):  # noqa: F811
    benchmark, drawn = acdc_partial.benchmark(heart, "reduced")
    found = requests(benchmark, tmp_path)
    labels = {name: (request.drawn is not None, request.undrawn) for name, request in found.items()}
    partial = {f"{key}_drawn" for key in acdc_partial.KEYS if key not in ("naive", "upper")}
    assert labels == {
        "naive_naive": (True, "background"),
        **dict.fromkeys(partial, (True, "unknown")),
        "upper_all": (False, "unknown"),
    }
    assert found["ours_drawn"].drawn == drawn.patients
    assert found["naive_naive"].method == found["baseline_drawn"].method == "dynamic_head"
    assert found["naive_naive"].options == found["baseline_drawn"].options


def test_the_rows_of_the_paper_differ_by_what_they_are_named_for(heart, tmp_path):  # noqa: F811
    found = requests(acdc_partial.benchmark(heart, "reduced")[0], tmp_path)
    options = {
        name: resolve_options(card_of(request.method), request.preset, request.options)
        for name, request in found.items()
    }
    full, without = options["full_drawn"], options["no_square_drawn"]
    assert {name for name in full if full[name] != without[name]} == {"ambiguous_weight"}
    assert without["ambiguous_weight"] == 0
    assert full["ambiguous_weight"] > 0
    for name in ("baseline_drawn", "mt_drawn", "full_drawn"):
        assert options[name]["embedding"] == "one_hot"
    assert options["ours_drawn"] == resolve_options(card_of("latent_classes"), "ours", {})


@pytest.mark.parametrize(("size", "decay"), [("published", 0.999), ("reduced", 0.99)])
def test_every_line_can_be_learned_at_the_learning_rate_and_in_the_steps_of_its_size(heart, tmp_path, size, decay):  # noqa: F811
    for name, request in requests(acdc_partial.benchmark(heart, size)[0], tmp_path).items():
        options = resolve_options(card_of(request.method), request.preset, request.options)
        assert options.get("equalized", True), name
        if "decay" in options:
            assert options["decay"] == (0.99 if name == "ours_drawn" else decay), name


def test_a_line_that_needs_one_structure_a_patient_must_be_told_which(heart):  # noqa: F811
    benchmark, _ = acdc_partial.benchmark(heart, "reduced")
    lost = replace(benchmark, settings=ComparisonSettings())
    with pytest.raises(ConfigError, match="nothing says which"):
        lost.asked(seeds=1, only=["baseline"], settings=[])


def test_it_is_measured_and_keeps_to_the_file_of_structures(heart, tmp_path, monkeypatch):  # noqa: F811
    names = []

    def start(request, runs, *, name, split):
        run = RunFolder.create(runs, request, name=name)
        write_split(split, run.split_path)
        worker.run(run)
        names.append(name)
        return run

    monkeypatch.setattr(api, "start", start)
    monkeypatch.setattr(api, "follow", lambda run, **_: run.status())
    words = [str(heart), "--output", str(tmp_path / "found"), "--size", "reduced", "--seeds", "1"]
    words += ["--setting", *TINY, "patch=[16,16]", "--only", "naive", "marginal"]
    acdc_partial.main(words)
    assert names == ["naive_naive_seed0", "marginal_drawn_seed0"]
    drawn = read_assignment(tmp_path / "found" / "drawn.json")
    asked = RunFolder(tmp_path / "found" / "runs" / "naive_naive_seed0").request
    assert asked.drawn == drawn.patients
    page = (tmp_path / "found.md").read_text()
    assert "**Reduced size" in page
    assert "## One of RV, MYO and LV drawn a patient" in page
    assert "| marginal loss | dynamic heads, undrawn is background |" in page
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["settings"]["drawn"] == drawn.patients
    names.clear()
    acdc_partial.main([*words, "upper"])
    assert names == ["upper_all_seed0"]
    # No label says what is not heart: RV, MYO and LV stand for themselves, and so does the presence network.
    acdc_partial.main([*words, "ours"])
    model = load_model(tmp_path / "found" / "runs" / "ours_drawn_seed0" / "model.safetensors")
    assert model.study.implied == ("heart",)
    assert model.study.presence.description.shape.classes == ("RV", "MYO", "LV")
    assert model.study.presence.description.classes_of["heart"] == ("RV", "MYO", "LV")
    # Another file of structures is another comparison.
    other = dict.fromkeys(drawn.patients, "RV")
    (tmp_path / "found" / "drawn.json").write_text(json.dumps({"patients": other, "seed": 0, "format": 1}))
    with pytest.raises(ConfigError, match="other settings"):
        acdc_partial.main(words)
