"""What a comparison asks of each run, what it keeps, and what it makes of the scores; nothing is trained here."""

import shutil
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from SemiSegLib import api, config
from SemiSegLib import compare as compare_module
from SemiSegLib.arms import Arm, read_arm
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.split import write_split
from SemiSegLib.compare import RUNS, Bench, arms_of, compare
from SemiSegLib.comparison import DICE, HD95, ArmResult, Comparison, ComparisonSettings, budget_words, p_value_words
from SemiSegLib.config import from_json, read_json, to_json, write_json
from SemiSegLib.errors import CaseError, ConfigError, RunError
from SemiSegLib.evaluation.metrics import CaseScore, StructureScore
from SemiSegLib.evaluation.statistics import paired_bootstrap, paired_wilcoxon
from SemiSegLib.kept_scores import data_hashes
from SemiSegLib.methods.cards.parts import PAPER_000_PLAN, PAPER_000_TRAINING
from SemiSegLib.methods.presets import OwnSettings
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import PlanSettings, RunRequest, TrainingSettings
from SemiSegLib.runs.status import RunStatus

BUDGET = TrainingSettings(steps=None, seconds=60.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    return write_cohort(folder, fine=3, coarse=0, partial=0, none=0, validation=1, test=2, size=(6, 9, 8), seed=5)


def settings(**changes):
    plain = {"methods": ("marginal",), "fine": (2,), "with_full": False, "seeds": 1, "training": BUDGET}
    return ComparisonSettings(**{**plain, **changes})


def requests(study, asked, output):
    bench = Bench(study, study.root, asked, output)
    return [bench.request(arm, 0) for arm in arms_of(asked)]


def nothing_is_trained(name):
    pytest.fail(f"'{name}' would be trained")


def test_a_comparison_without_presets_own_settings_asks_what_it_always_asked(study, tmp_path):
    plan = PlanSettings(batch=2)
    asked = settings(methods=("efficient_subclass:paper+mix=none", "marginal"), with_full=True, plan=plan)
    found = requests(study, asked, tmp_path)
    fine = Bench(study, study.root, asked, tmp_path).fine_cases(2)
    plain = {"dataset": str(study.root), "plan": plan, "training": BUDGET, "other_labels": "coarse", "seed": 0}
    assert found == [
        RunRequest(
            method="efficient_subclass",
            preset="paper",
            options={"mix": "none"},
            fine_cases=fine,
            title="efficient_subclass:paper+mix=none, 2 fine, seed 0",
            **plain,
        ),
        RunRequest(method="marginal", fine_cases=fine, title="marginal, 2 fine, seed 0", **plain),
        RunRequest(method="supervised", title="supervised, all fine, seed 0", **plain),
    ]
    names = ["efficient_subclass-paper-mix-none_2", "marginal_2", "supervised_all"]
    assert [arm.name for arm in arms_of(asked)] == names


def test_with_presets_own_settings_each_arm_is_trained_as_its_preset_says(study, tmp_path):
    asked = settings(methods=("modified_unet:paper", "marginal"), preset_settings=True)
    paper, ours = requests(study, asked, tmp_path)
    assert paper.training == TrainingSettings(**PAPER_000_TRAINING)
    assert paper.plan == PlanSettings(**PAPER_000_PLAN)
    assert (ours.training, ours.plan) == (BUDGET, PlanSettings())
    assert budget_words(asked) == "60 s (or as the preset says)"


def test_what_is_given_wins_over_a_preset(study, tmp_path):
    asked = settings(
        methods=("modified_unet:paper",),
        preset_settings=True,
        training=replace(BUDGET, learning_rate=0.5),
        plan=PlanSettings(patch=(32, 32)),
        given=("seconds", "learning_rate", "patch"),
    )
    (found,) = requests(study, asked, tmp_path)
    # The paper's 40,000 steps go with it: a training has one end.
    assert (found.training.steps, found.training.seconds, found.training.learning_rate) == (None, 60.0, 0.5)
    assert (found.training.optimizer, found.training.momentum) == ("sgd", 0.9)
    assert (found.plan.patch, found.plan.batch, found.plan.backbone) == ((32, 32), 24, "paper_unet")
    assert budget_words(asked) == "60 s"


def test_settings_of_an_arm_hold_where_nothing_else_is_given(study, tmp_path):
    own = OwnSettings(training={"optimizer": "sgd"}, plan={"batch": 3})
    arm = Arm(title="t", method="marginal", preset=None, fine=1, own=own, key="short")
    (found,) = requests(study, settings(methods=(), arms=(arm,)), tmp_path)
    assert found.training == replace(BUDGET, optimizer="sgd")
    assert found.plan == PlanSettings(batch=3)
    assert arm.name == "short_1"


def test_any_method_may_learn_from_every_fine_label(study, tmp_path):
    asked = settings(methods=("supervised", "marginal"), fine=(2, None), with_full=True)
    assert [arm.name for arm in arms_of(asked)] == ["supervised_2", "marginal_2", "supervised_all", "marginal_all"]
    found = requests(study, asked, tmp_path)
    assert [request.fine_cases is None for request in found] == [False, False, True, True]


def test_fine_cases_may_be_named_in_an_order(study, tmp_path):
    order = tuple(case.id for case in study.side(Side.TRAIN))[::-1]
    (found,) = requests(study, settings(fine_order=order), tmp_path)
    assert found.fine_cases == order[:2]
    with pytest.raises(ConfigError, match="2 were asked for, 1 named"):
        requests(study, settings(fine_order=order[:1]), tmp_path)


def test_two_lines_that_would_share_their_runs_are_refused():
    with pytest.raises(ConfigError, match="'marginal_2'"):
        arms_of(settings(methods=("marginal", "marginal")))


def scores_of(study, dice):
    return {case.id: {"head": [dice, 1.0], "tail": [dice, 2.0]} for case in study.side(Side.TEST)}


def keep(study, wanted, output, *, ending=".json", dice=0.5, **changes):
    """Write the scores that an earlier comparison would have kept of each of its runs."""
    (output / "scores").mkdir(exist_ok=True)
    for arm, request in zip(arms_of(wanted), requests(study, wanted, output), strict=True):
        known = {name: value for name, value in to_json(request).items() if name not in ("dataset", "id")}
        data = {
            "asked": known,
            "data": data_hashes(study),
            "scores": scores_of(study, dice),
            "steps": 7,
            "seconds": 8.0,
        }
        write_json(output / "scores" / f"{arm.name}_seed0{ending}", {**data, **changes})


@pytest.mark.parametrize("changes", [{}, {"asked": None}], ids=["as kept today", "as kept by the first version"])
def test_kept_scores_are_tabulated_without_a_training(study, tmp_path, changes):
    asked = settings(with_full=True)
    keep(study, asked, tmp_path, **changes)
    told = []
    found = compare(study, study.root, asked, tmp_path, view=nothing_is_trained, on_result=told.append)
    assert [result.steps for result in found.results] == [(7,), (7,)]
    assert [len(comparison.results) for comparison in told] == [2]
    assert "| marginal, 2 fine | **0.500**" in (tmp_path / "comparison.md").read_text()
    assert read_json(tmp_path / "comparison.json")["sides"] == {"train": 3, "validation": 1, "test": 2}


def test_a_table_that_cannot_be_written_whole_leaves_the_earlier_one(study, tmp_path, monkeypatch):
    real = config.replace_file

    def refuse(source, target):
        if target.name == "comparison.md":
            raise OSError(28, "No space left on device")
        real(source, target)

    keep(study, settings(), tmp_path)
    (tmp_path / "comparison.md").write_text("an earlier table")
    monkeypatch.setattr(config, "replace_file", refuse)
    with pytest.raises(OSError, match="No space left"):
        compare(study, study.root, settings(), tmp_path, view=nothing_is_trained)
    assert (tmp_path / "comparison.md").read_text() == "an earlier table"


def test_kept_scores_of_other_settings_are_refused(study, tmp_path):
    keep(study, settings(), tmp_path)
    with pytest.raises(ConfigError, match="other settings"):
        compare(study, study.root, settings(preset_settings=True, training=TrainingSettings()), tmp_path, view=print)


@pytest.fixture
def own_study(tmp_path):
    """A study whose files a test may change; its comparison is kept beside it."""
    return write_cohort(
        tmp_path / "own", fine=3, coarse=0, partial=0, none=0, validation=1, test=2, size=(6, 9, 8), seed=5
    )


def change_labels(study, side):
    """Write other bytes into the label file of the first case of a side."""
    file = study.path(study.side(side)[0].annotation.file)
    file.write_bytes(file.read_bytes() + b"corrected")


def finish_run(study, output, monkeypatch, *, seconds=3.5, sides=None, asked=None):
    """Leave the finished run of an earlier call, whose model scores 0.25 on every case; return who was scored."""
    (request,) = requests(study, asked or settings(), output)
    run = RunFolder.create(output / RUNS, request, name="marginal_2_seed0")
    write_split(sides or study, run.split_path)
    run.write_status(RunStatus(state="finished", step=11))
    run.model_path.touch()
    # Interrupted for a day: events tell of both sessions.
    run.append_event('{"time": 0.0}')
    run.append_event('{"time": 86400.0}')
    scored = []

    def evaluate(model, dataset, cases, applied):
        scored.extend(case.id for case in cases)
        fixed = {"unit": "mm", "prediction_ml": 1.0, "reference_ml": 1.0, "known_fraction": 1.0, "empty": ""}
        rows = tuple(StructureScore(structure=name, kind="leaf", dice=0.25, **fixed) for name in ("head", "tail"))
        return [CaseScore(case_id, rows) for case_id in scored]

    info = SimpleNamespace(provenance={"seconds": seconds})
    monkeypatch.setattr(compare_module, "read_model_info", lambda path: info)
    monkeypatch.setattr(api, "evaluate", evaluate)
    return scored


@pytest.mark.parametrize("changes", [{}, {"data": None}], ids=["labels were corrected", "kept without hashes"])
def test_scores_that_are_not_surely_of_the_test_cases_are_made_again(own_study, changes, monkeypatch, tmp_path):
    keep(own_study, settings(), tmp_path, **changes)
    scored = finish_run(own_study, tmp_path, monkeypatch)
    if not changes:
        change_labels(own_study, Side.TEST)
    (line,) = compare(own_study, own_study.root, settings(), tmp_path, view=nothing_is_trained).results
    assert scored == [case.id for case in own_study.side(Side.TEST)]
    assert {row["head"][DICE] for row in line.scores[0].values()} == {0.25}
    # Of the training, whatever lay between its sessions.
    assert (line.steps, line.seconds) == ((11,), (3.5,))
    again = compare(own_study, own_study.root, settings(), tmp_path, view=nothing_is_trained)
    assert len(scored) == 2
    assert to_json(again.results[0]) == to_json(line)


@pytest.mark.parametrize("pieces", [False, True], ids=["as predicted", "largest pieces too"])
def test_models_are_scored_on_the_device_that_the_trainings_were_told(own_study, monkeypatch, tmp_path, pieces):
    asked = settings(training=replace(BUDGET, device="cpu"), largest_component=pieces)
    finish_run(own_study, tmp_path, monkeypatch, asked=asked)
    told, score = [], api.evaluate

    def evaluate(model, dataset, cases, applied):
        told.append(applied.device)
        return score(model, dataset, cases, applied)

    monkeypatch.setattr(api, "evaluate", evaluate)
    monkeypatch.setattr(api, "evaluate_both", lambda *given: (evaluate(*given),) * 2)
    compare(own_study, own_study.root, asked, tmp_path, view=nothing_is_trained)
    assert told == ["cpu"]


def test_scores_of_old_test_cases_without_their_run_are_refused(own_study, tmp_path):
    keep(own_study, settings(), tmp_path)
    change_labels(own_study, Side.TEST)
    with pytest.raises(ConfigError, match=r"not there to be scored again(.|\n)*another output folder"):
        compare(own_study, own_study.root, settings(), tmp_path, view=nothing_is_trained)


def test_runs_on_training_cases_as_they_were_are_refused(own_study, monkeypatch, tmp_path):
    keep(own_study, settings(), tmp_path)
    finish_run(own_study, tmp_path, monkeypatch)
    change_labels(own_study, Side.VALIDATION)
    with pytest.raises(ConfigError, match="training or validation cases have changed"):
        compare(own_study, own_study.root, settings(), tmp_path, view=nothing_is_trained)


def test_a_run_of_another_split_is_not_scored(own_study, monkeypatch, tmp_path):
    first, *others = own_study.cases
    assert first.split is Side.TRAIN
    other = own_study.with_cases((replace(first, split=Side.TEST), *others))
    scored = finish_run(own_study, tmp_path, monkeypatch, sides=other)
    with pytest.raises(ConfigError, match="it may have seen test cases"):
        compare(own_study, own_study.root, settings(), tmp_path, view=nothing_is_trained)
    keep(own_study, settings(), tmp_path, data=data_hashes(other))
    with pytest.raises(ConfigError, match="it may have seen test cases"):
        compare(own_study, own_study.root, settings(), tmp_path, view=nothing_is_trained)
    assert not scored


@contextmanager
def unseen(_name):
    """A view that nobody looks at."""
    yield SimpleNamespace(show=lambda event: None, tell=lambda status: None)


def test_a_run_that_still_works_is_waited_for_and_its_stop_is_not_taken_back(own_study, monkeypatch, tmp_path):
    (request,) = requests(own_study, settings(), tmp_path)
    run = RunFolder.create(tmp_path / RUNS, request, name="marginal_2_seed0")
    write_split(own_study, run.split_path)
    run.request_stop()
    monkeypatch.setattr(compare_module, "is_running", lambda run: True)
    followed = []

    def follow(run, **_):
        followed.append(run.path.name)
        return RunStatus(state="stopped")

    monkeypatch.setattr(api, "follow", follow)
    with pytest.raises(RunError, match="stopped before its end"):
        compare(own_study, own_study.root, settings(), tmp_path, view=unseen)
    assert followed == ["marginal_2_seed0"]
    assert run.stop_requested()
    # Half a training is no result.
    assert not (tmp_path / "scores").exists()


def test_a_run_that_fails_does_not_keep_the_others_from_being_measured(study, monkeypatch, tmp_path):
    asked = settings(methods=("marginal", "supervised", "modified_unet"))
    keep(study, asked, tmp_path)
    for name in ("marginal", "modified_unet"):
        (tmp_path / "scores" / f"{name}_2_seed0.json").unlink()

    def start(request, runs, *, name, split):
        raise RunError(f"{name} has no memory")

    monkeypatch.setattr(api, "start", start)
    told = []
    with pytest.raises(RunError) as failed:
        compare(study, study.root, asked, tmp_path, view=nothing_is_trained, on_result=told.append)
    assert [result.arm.method for result in told[-1].results] == ["supervised"]
    for part in ("2 lines failed", "marginal_2_seed0 has no memory", "modified_unet_2_seed0 has no memory"):
        assert part in str(failed.value)


def test_lines_that_are_not_asked_for_are_shown_as_far_as_they_are_kept(study, tmp_path):
    everything = settings(methods=("marginal", "supervised", "modified_unet"))
    keep(study, everything, tmp_path)
    (tmp_path / "scores" / "modified_unet_2_seed0.json").unlink()
    asked = replace(everything, only=("supervised_2",))
    found = compare(study, study.root, asked, tmp_path, view=nothing_is_trained)
    assert [result.arm.method for result in found.results] == ["marginal", "supervised"]
    # With other settings they are others' results.
    keep(study, replace(everything, methods=("supervised",), training=TrainingSettings()), tmp_path)
    other = replace(asked, training=TrainingSettings())
    found = compare(study, study.root, other, tmp_path, view=nothing_is_trained)
    assert [result.arm.method for result in found.results] == ["supervised"]


def test_hashes_of_a_study_do_not_depend_on_its_place_or_order(own_study, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(own_study.root, moved)
    assert data_hashes(replace(own_study, root=moved, cases=own_study.cases[::-1])) == data_hashes(own_study)


def test_an_unfinished_run_of_other_settings_is_not_resumed(study, tmp_path):
    (request,) = requests(study, settings(), tmp_path)
    RunFolder.create(tmp_path / "runs", replace(request, seed=9), name="marginal_2_seed0")
    with pytest.raises(ConfigError, match="other settings"):
        compare(study, study.root, settings(), tmp_path, view=nothing_is_trained)


def test_scores_with_one_piece_of_each_structure_are_kept_beside_the_others(study, tmp_path):
    asked = settings(with_full=True, largest_component=True)
    keep(study, asked, tmp_path)
    keep(study, asked, tmp_path, ending=".largest.json", dice=0.75)
    found = compare(study, study.root, asked, tmp_path, view=nothing_is_trained)
    assert [result.largest_component for result in found.results] == [False, True] * 2
    assert found.results[1].title == "marginal, 2 fine, largest piece"
    page = (tmp_path / "comparison.md").read_text()
    # Each is compared with the first line that is scored alike.
    assert page.count("+0.0000 (+0.0000 to +0.0000), p 1\n") == 2


def result(*seeds):
    scores = tuple({case: {"x": (dice, 2 * dice), "y": (None, None)} for case, dice in seed.items()} for seed in seeds)
    return ArmResult(arm=read_arm("marginal", fine=1), scores=scores, steps=(1,), seconds=(1.0,))


def test_two_scans_of_a_patient_are_one_witness():
    # Patient p has the means (0.4 + 0.6) / 2 and 0.8, so 0.65; patient q has 0.5 and 0.7, so 0.6.
    first = result({"p1": 0.4, "q1": 0.5, "p2": 0.8}, {"p1": 0.6, "q1": 0.7, "p2": 0.8})
    patients = {"p1": "p", "p2": "p", "q1": "q"}
    assert first.patient_means(("x", "y"), patients) == pytest.approx({"p": 0.65, "q": 0.6})
    assert first.seed_means(("x",), DICE) == pytest.approx([1.7 / 3, 2.1 / 3])
    assert first.seed_means(("x", "y"), DICE) == first.seed_means(("x",), DICE)
    assert first.seed_means(("y",), DICE) == []
    assert first.seed_means(("x",), HD95) == pytest.approx([3.4 / 3, 4.2 / 3])
    second = result({"p1": 0.2, "q1": 0.2, "p2": 0.2})
    comparison = Comparison(
        dataset="d", sides={}, patients=patients, fine_cases=(), settings=settings(), hardware="h", structures=("x",)
    )
    gain = comparison.gain(first, second)
    assert gain == paired_bootstrap([0.65, 0.6], [0.2, 0.2])
    assert gain.count == 2
    assert comparison.test(first, second) == paired_wilcoxon([0.65, 0.6], [0.2, 0.2])
    # Scores that were written in another order are of the same patients.
    turned = result({"p2": 0.1, "q1": 0.4, "p1": 0.1}, {"q1": 0.4, "p2": 0.1, "p1": 0.1})
    other = result({"q1": 0.4, "p1": 0.1, "p2": 0.1}, {"q1": 0.4, "p1": 0.1, "p2": 0.1})
    assert comparison.gain(turned, other) == paired_bootstrap([0.0, 0.0], [0.0, 0.0])
    with pytest.raises(CaseError, match="only one of the two was scored on: q"):
        comparison.gain(first, result({"p1": 0.2, "p2": 0.2}))


def test_a_p_value_is_said_with_two_digits():
    assert [p_value_words(value) for value in (1.0, 0.0456, 0.00131, 1e-9)] == ["1", "0.046", "0.0013", "< 0.001"]


def test_settings_of_a_comparison_survive_json():
    asked = settings(arms=(read_arm("modified_unet:paper", fine=2, with_settings=True),))
    again = from_json(ComparisonSettings, to_json(asked), where="test")
    assert to_json(again) == to_json(asked)
