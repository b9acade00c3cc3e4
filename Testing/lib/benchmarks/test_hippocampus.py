"""The benchmark on the hippocampus asks for every line of its tables, alike but for methods and labels."""

import json

import hippocampus
import numpy as np
import pytest
from published_run import parse

from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from SemiSegLib.compare import Bench, arms_of
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.runs.request import PlanSettings, TrainingSettings


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder laid out as a task of the Decathlon with 20 scans of an organ in two parts."""
    folder = tmp_path_factory.mktemp("hippocampus")
    entries = []
    for number in range(20):
        name = f"hippocampus_{number:03d}.nii.gz"
        leaves = np.zeros((9, 11, 8), dtype=np.uint8)
        leaves[2:7, 2:6, 2:6], leaves[2:7, 6:9, 2:6] = 1, 2
        for part, values in (("imagesTr", leaves * 40.0), ("labelsTr", leaves)):
            (folder / part).mkdir(exist_ok=True)
            volume = Volume(
                values.astype(np.int16 if part == "imagesTr" else np.uint8), Geometry((9, 11, 8), np.eye(4))
            )
            write_volume(volume, folder / part / name)
        entries.append({"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"})
    task = {
        "name": "Hippocampus",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "anterior", "2": "posterior"},
        "hierarchy": {"hippocampus": ["anterior", "posterior"]},
        "training": entries,
    }
    (folder / "dataset.json").write_text(json.dumps(task))
    return folder


@pytest.fixture(scope="module")
def benchmark(data):
    return hippocampus.benchmark(data)


@pytest.fixture(scope="module")
def requests(benchmark, tmp_path_factory):
    """Return by folder name what is asked of the runs of seed 1."""
    asked = benchmark.asked(seeds=2, only=None, settings=["threads=1"])
    bench = Bench(benchmark.study, benchmark.study.root, asked, tmp_path_factory.mktemp("out"))
    return {arm.name: bench.request(arm, 1) for arm in arms_of(asked)}


def test_a_tenth_of_the_scans_chooses_and_a_fifth_is_kept_for_the_tables(benchmark):
    assert [len(benchmark.study.side(side)) for side in (Side.TRAIN, Side.VALIDATION, Side.TEST)] == [14, 2, 4]


def test_every_line_has_the_same_time_plan_and_training(requests):
    for request in requests.values():
        assert request.training == TrainingSettings(steps=None, seconds=240.0, threads=1)
        assert request.plan == PlanSettings()
        assert request.other_labels == "coarse"


def test_all_methods_are_asked_with_six_fine_cases_and_the_best_with_three_and_two(requests):
    keys = {*hippocampus.LINES} - {"upper"}
    best = {*hippocampus.BEST} - {"upper"}
    assert set(requests) == {f"{key}_6" for key in keys} | {f"{key}_{n}" for key in best for n in (3, 2)} | {
        "upper_all"
    }
    assert requests["upper_all"].fine_cases is None
    six = requests["ours_6"].fine_cases
    assert len(six) == 6
    for name, request in requests.items():
        if name != "upper_all":
            # The fewer are among the more, so that the tables differ in their number alone.
            assert request.fine_cases == six[: int(name[-1])]


def test_the_lines_of_table_two_are_all_choices_of_its_three_parts(requests):
    def parts(name):
        request = requests[f"{name}_6"]
        options = resolve_options(card_of(request.method), request.preset, request.options)
        return options["mix"], options["prior_concatenation"] != "none", options["separate_normalization"]

    whole = {name: parts(name) for name in ("hm", "pc", "sn", "hm_pc", "hm_sn", "pc_sn", "full_paper")}
    found = {frozenset(word for word in name.split("_") if word in ("hm", "pc", "sn")): name for name in whole}
    for words, name in found.items():
        words = {"hm", "pc", "sn"} if name == "full_paper" else words
        assert whole[name] == ("full" if "hm" in words else "none", "pc" in words, "sn" in words)
    assert len(set(whole.values())) == 7
    assert (parts("mixup"), parts("pseudo")) == (("mixup", True, True), ("pseudo", True, True))


def test_a_line_can_be_asked_in_one_table_alone(benchmark):
    def named(*only):
        return benchmark.asked(seeds=1, only=only, settings=[]).only

    assert named("ours") == ("ours_6", "ours_3", "ours_2")
    assert set(named("ours_3", "upper")) == {"upper_all", "ours_3"}


def test_it_has_one_size(data):
    options = parse(hippocampus.__doc__, "hippocampus", (*hippocampus.LINES, "ours_6"), [str(data)], sizes=())
    assert (options.size, str(options.output)) == ("", "hippocampus")
    with pytest.raises(SystemExit):
        parse(hippocampus.__doc__, "hippocampus", ("ours",), [str(data), "--size", "reduced"], sizes=())
