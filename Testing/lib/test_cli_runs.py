"""What is typed for `semiseg train` and its like is done or refused, and Ctrl+C says what goes on."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from SemiSegLib import api, cli, cli_compare, cli_follow, cli_models, cli_presence, cli_runs, cli_settings
from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.cases.split import write_split
from SemiSegLib.cli import app
from SemiSegLib.cli_settings import assignment, read_settings
from SemiSegLib.config import write_json
from SemiSegLib.errors import CaseError, ConfigError
from SemiSegLib.evaluation.metrics import CaseScore, StructureScore
from SemiSegLib.prediction.findings import Findings
from SemiSegLib.runs import process
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import RunRequest, TrainingSettings

NOBODY = {"fine": 0, "coarse": 0, "partial": 0, "none": 0, "validation": 0}


def call(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result.output


def refused(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert isinstance(result.exception, ConfigError | CaseError), result.output + repr(result.exception)
    return str(result.exception)


@pytest.fixture
def started(monkeypatch):
    """The runs that were started, in their order; no worker is."""
    runs = []
    monkeypatch.setattr(api, "start_process", runs.append)
    return runs


@pytest.fixture
def asked(tmp_path):
    """A request in a file, about the folder "study"."""
    (tmp_path / "study").mkdir()
    training = TrainingSettings(steps=7, device="cpu")
    request = RunRequest(dataset=str(tmp_path / "study"), method="marginal", training=training)
    write_json(tmp_path / "asked.json", request)
    return request


def test_a_request_is_trained_as_it_stands_where_the_command_line_says(asked, started, tmp_path):
    plain = ("train", tmp_path / "study", "--request", tmp_path / "asked.json", "--runs", tmp_path / "runs", "--detach")
    call(*plain, "--name", "one", "--baseline")
    assert [run.path.name for run in started] == ["one", "one-baseline"]
    assert replace(started[0].request, id="") == asked
    # The same data by another name.
    (tmp_path / "study" / "dataset.json").write_text("{}")
    call("train", tmp_path / "study" / "dataset.json", *plain[2:], "--name", "two")
    assert started[-1].path.name == "two"


def test_what_a_request_replaces_cannot_be_typed_beside_it(asked, started, tmp_path):
    plain = ("--request", tmp_path / "asked.json", "--runs", tmp_path / "runs", "--detach")
    told = refused("train", tmp_path, *plain)
    assert "is about the dataset" in told
    assert str(tmp_path / "study") in told
    told = refused("train", tmp_path / "study", *plain, "--minutes", 5, "--method", "supervised", "--from", "x")
    assert told.startswith("--method, --from, --minutes would change nothing")
    # Also where what is typed is what would be taken anyway.
    assert "--seed" in refused("train", tmp_path / "study", *plain, "--seed", 0)
    assert not started
    assert not (tmp_path / "runs").exists()


def test_a_length_is_said_once(started, tmp_path):
    both = ("--minutes", 5, "--steps", 100)
    told = "a time budget and optimizer steps both say how long the training is"
    for command in ("train", "compare", "preflight"):
        assert told in refused(command, tmp_path, *both)
    with pytest.raises(ConfigError, match="optimizer steps and --setting seconds both say"):
        read_settings(["seconds=60"], steps=5)
    given = read_settings(["steps=null", "seconds=60"])
    assert (given.training.steps, given.training.seconds) == (None, 60)


def test_the_usual_length_gives_way_to_what_is_typed_in_any_way():
    usual = read_settings(["batch=2"], usual_seconds=270.0)
    assert (usual.training.steps, usual.training.seconds, usual.names) == (None, 270.0, ("batch",))
    typed = read_settings(["steps=100"], usual_seconds=270.0)
    assert (typed.training.steps, typed.training.seconds, typed.names) == (100, None, ("steps",))
    timed = read_settings([], seconds=5.0, usual_seconds=270.0)
    assert (timed.training.seconds, set(timed.names)) == (5.0, {"steps", "seconds"})


def check_that_lists_and_truth_are_read():
    given = read_settings(["patch=[64,32]", "mirror=false", "nesterov=false", "deterministic=true"])
    assert given.plan.patch == (64, 32)
    assert (given.training.mirror, given.training.nesterov, given.training.deterministic) == (False, False, True)
    assert assignment("detached=false") == ("detached", False)


# As argparse does with type=list and type=bool in the released code of paper 000.
READ_AS = {"list": {"patch": list}, "bool": dict.fromkeys(("mirror", "nesterov", "deterministic"), bool)}


@pytest.mark.parametrize("wrong", READ_AS)
def test_a_list_is_no_list_of_characters_and_false_is_not_true(wrong, monkeypatch):
    check_that_lists_and_truth_are_read()

    def released(text):
        name, value = cli_settings.named(text)
        return (name, READ_AS[wrong][name](value)) if name in READ_AS[wrong] else assignment(text)

    monkeypatch.setattr(cli_settings, "assignment", released)
    with pytest.raises((AssertionError, ConfigError)):
        check_that_lists_and_truth_are_read()


@pytest.fixture
def interrupted(monkeypatch):
    """Ctrl+C as soon as a run is watched; which runs go on is given as their names."""

    def press(*_, **__):
        raise KeyboardInterrupt

    def going(*names):
        monkeypatch.setattr(cli_follow, "is_running", lambda run: run.path.name in names)

    monkeypatch.setattr(api, "follow", press)
    return going


def test_an_interruption_says_what_goes_on_and_how_to_end_it(asked, started, interrupted, tmp_path):
    interrupted("one", "one-baseline")
    plain = ("train", tmp_path / "study", "--request", tmp_path / "asked.json", "--runs", tmp_path / "runs")
    told = call(*plain, "--name", "one", "--baseline", code=cli_follow.EXIT_INTERRUPTED)
    assert f"Going on in the background:\n{tmp_path / 'runs' / 'one'}\n{tmp_path / 'runs' / 'one-baseline'}\n" in told
    assert "semiseg stop RUN" in told


def test_where_nothing_goes_on_an_interruption_says_nothing(asked, started, interrupted, tmp_path):
    interrupted()
    plain = ("train", tmp_path / "study", "--request", tmp_path / "asked.json", "--runs", tmp_path / "runs")
    assert "background" not in call(*plain, code=cli_follow.EXIT_INTERRUPTED)


@pytest.mark.parametrize(("command", "module"), [("compare", cli_compare), ("demo", cli_runs)])
def test_an_interrupted_comparison_or_demo_says_it_too(command, module, interrupted, monkeypatch, tmp_path):
    write_cohort(tmp_path / "study", **{**NOBODY, "fine": 1}, size=(8, 12, 10))

    def work(*_, **__):
        RunFolder.create(tmp_path / "out" / "runs", RunRequest(dataset="d", method="marginal"), name="first")
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "compare" if command == "compare" else "run_demo", work)
    interrupted("first")
    words = [tmp_path / "study"] if command == "compare" else []
    told = call(command, *words, "--output", tmp_path / "out", code=cli_follow.EXIT_INTERRUPTED)
    assert str(tmp_path / "out" / "runs" / "first") in told
    assert "semiseg stop RUN" in told


def test_an_interrupted_training_of_a_presence_network_says_it_too(interrupted, monkeypatch, tmp_path):
    write_cohort(tmp_path / "study", **{**NOBODY, "fine": 1}, size=(8, 12, 10))
    monkeypatch.setattr(cli_presence, "start_process", lambda run: None)
    interrupted("organs-training")
    words = ("train-presence", tmp_path / "study", "--output", tmp_path / "organs.safetensors")
    assert str(tmp_path / "organs-training") in call(*words, code=cli_follow.EXIT_INTERRUPTED)


def test_a_lack_of_memory_is_no_bug(monkeypatch, capsys):
    def fail():
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    told = capsys.readouterr().err
    assert ended.value.code == cli.EXIT_USER_ERROR
    assert "close other programs" in told
    assert "bug" not in told
    assert "Traceback" not in told


def test_a_side_without_cases_is_refused_before_the_model_is_read(tmp_path):
    write_cohort(tmp_path / "study", **{**NOBODY, "fine": 1}, size=(8, 12, 10))
    words = ("evaluate", tmp_path / "no.safetensors", tmp_path / "study", "--csv", tmp_path / "scores.csv")
    for side in ("validation", "test"):
        told = refused(*words, "--side", side)
        assert f"no case is on the side '{side}'" in told
        assert "--split RUN/split.json" in told
    assert not (tmp_path / "scores.csv").exists()


@pytest.fixture
def scored(monkeypatch):
    """What would be scored, in its order; no model is read."""
    found = []

    def evaluate(model, study, cases, settings, *, mode):
        found.extend(cases)
        fixed = {"unit": "mm", "prediction_ml": 1.0, "reference_ml": 1.0, "known_fraction": 1.0, "empty": ""}
        rows = [StructureScore(structure="head", kind="leaf", dice=0.25 * n, **fixed) for n in range(len(cases))]
        return [CaseScore(case.id, (row,)) for case, row in zip(cases, rows, strict=True)]

    monkeypatch.setattr(api, "evaluate", evaluate)
    return found


def a_study_of_a_patient_with_an_unlabeled_scan(folder):
    """Write two labeled validation scans; a third, of the patient of the first, has no labels."""
    study = write_cohort(folder, **{**NOBODY, "fine": 1, "validation": 2, "none": 1}, size=(8, 12, 10))
    first, *_ = study.side(Side.VALIDATION)
    (bare,) = (case for case in study.cases if case.annotation is None)
    again = replace(bare, patient=first.patient, split=Side.VALIDATION)
    study = study.with_cases(tuple(again if case is bare else case for case in study.cases))
    save_dataset(study, folder)
    return study


def test_an_unlabeled_scan_of_a_validation_patient_is_left_out_and_told(scored, tmp_path):
    study = a_study_of_a_patient_with_an_unlabeled_scan(tmp_path / "study")
    write_split(study, tmp_path / "split.json")
    words = ("evaluate", "no.safetensors", tmp_path / "study", "--split", tmp_path / "split.json")
    assert "1 of 3 validation cases are left out: they have no labels" in call(*words)
    assert len(scored) == 2
    assert all(case.annotation is not None for case in scored)
    bare = [case if case.split is not Side.VALIDATION else replace(case, annotation=None) for case in study.cases]
    save_dataset(study.with_cases(tuple(bare)), tmp_path / "study")
    assert "none of the 3 cases on the side 'validation' is labeled" in refused(*words)


def test_scans_of_one_patient_are_one_witness(scored, tmp_path):
    study = write_cohort(tmp_path / "study", **{**NOBODY, "fine": 1, "validation": 3}, size=(8, 12, 10))
    owner = study.side(Side.VALIDATION)[0].patient
    cases = (replace(case, patient=owner) if case.split is Side.VALIDATION else case for case in study.cases)
    save_dataset(study.with_cases(tuple(cases)), tmp_path / "study")
    (row,) = json.loads(call("evaluate", "no.safetensors", tmp_path / "study", "--json"))
    assert row["metrics"]["dice"] == {"mean": 0.25, "low": 0.25, "high": 0.25, "count": 3, "patients": 1}


def test_what_would_fail_after_the_scoring_is_refused_before_it(scored, tmp_path):
    write_cohort(tmp_path / "study", **{**NOBODY, "fine": 1, "validation": 1}, size=(8, 12, 10))
    words = ("evaluate", "no.safetensors", tmp_path / "study")
    assert "did you mean 'paper_000'" in refused(*words, "--mode", "papr_000")
    told = refused(*words, "--csv", tmp_path / "none" / "scores.csv")
    assert "the folder of" in told
    assert "where:  --csv" in told
    assert "is a folder" in refused(*words, "--csv", tmp_path / "study")
    assert not scored


def test_scores_replace_no_file_unless_they_may(scored, tmp_path):
    write_cohort(tmp_path / "study", **{**NOBODY, "fine": 1, "validation": 1}, size=(8, 12, 10))
    file = tmp_path / "results.csv"
    file.write_text("a year of work")
    words = ("evaluate", "no.safetensors", tmp_path / "study", "--csv", file)
    told = refused(*words)
    assert "there is a file of this name already" in told
    assert "results.csv" in told
    assert "--overwrite" in told
    assert not scored
    assert file.read_text() == "a year of work"
    call(*words, "--overwrite")
    assert file.read_text().startswith("case,structure")


def test_what_the_system_refuses_is_no_bug(monkeypatch, capsys, tmp_path):
    def fail():
        (tmp_path / "gone" / "scores.csv").write_text("")

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    # The panel breaks long lines.
    told = "".join(capsys.readouterr().err.replace("│", "").split())
    assert ended.value.code == cli.EXIT_USER_ERROR
    assert "Nosuchfileordirectory" in told
    assert "".join(str(tmp_path / "gone" / "scores.csv").split()) in told
    assert "remedy:" in told
    assert "bug" not in told


def test_an_error_of_the_system_without_words_still_says_something(monkeypatch, capsys):
    def fail():
        raise TimeoutError

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit):
        cli.main()
    assert "TimeoutError" in capsys.readouterr().err


def test_resuming_a_run_that_still_works_does_not_take_back_its_stop(asked, monkeypatch, tmp_path):
    run = RunFolder.create(tmp_path / "runs", asked, name="one")
    run.request_stop()
    monkeypatch.setattr(process, "is_running", lambda run: True)
    told = CliRunner().invoke(app, ["resume", str(run.path)])
    assert "already being worked on" in str(told.exception)
    assert run.stop_requested()


def test_nor_does_asking_again_for_a_presence_network_that_is_trained_now(interrupted, monkeypatch, tmp_path):
    write_cohort(tmp_path / "study", **{**NOBODY, "fine": 1}, size=(8, 12, 10))
    words = [str(word) for word in ("train-presence", tmp_path / "study", "--output", tmp_path / "organs.safetensors")]
    interrupted()
    with monkeypatch.context() as quiet:
        quiet.setattr(cli_presence, "start_process", lambda run: None)
        call(*words, code=cli_follow.EXIT_INTERRUPTED)
    run = RunFolder(tmp_path / "organs-training")
    run.request_stop()
    monkeypatch.setattr(process, "is_running", lambda run: True)
    assert "already being worked on" in str(CliRunner().invoke(app, words).exception)
    assert run.stop_requested()


def test_brackets_in_the_names_of_runs_are_shown(asked, started, tmp_path):
    runs = tmp_path / "runs[red]"
    plain = ("train", tmp_path / "study", "--request", tmp_path / "asked.json", "--runs", runs)
    assert f"Run folder: {runs / 'P1[baseline]'}\n" in call(*plain, "--detach", "--name", "P1[baseline]")


@pytest.mark.parametrize("command", ["predict", "evaluate"])
@pytest.mark.parametrize("flag", ["", "largest_component", "all_pieces"])
def test_which_pieces_are_kept_is_asked_of_the_predictor(monkeypatch, tmp_path, command, flag):
    given = []

    def made(model, **how):
        given.append({name: how[name] for name in ("largest_component", "all_pieces")})
        raise CaseError("nothing is predicted")

    monkeypatch.setattr(api, "load_model", lambda path, device: None)
    monkeypatch.setattr(api, "Predictor", made)
    write_cohort(tmp_path / "study", **{**NOBODY, "fine": 1, "validation": 1}, size=(8, 12, 10))
    scan = tmp_path / "scan.nii"
    scan.touch()
    words = {"predict": (scan, "-o", tmp_path / "out"), "evaluate": (tmp_path / "study",)}[command]
    flags = [f"--{flag.replace('_', '-')}"] if flag else []
    assert "nothing is predicted" in refused(command, "no.safetensors", *words, *flags)
    assert given == [{"largest_component": flag == "largest_component", "all_pieces": flag == "all_pieces"}]


def test_a_scan_may_have_commas_and_brackets_in_its_name(monkeypatch, tmp_path):
    asked = []

    def predict(model, images, outputs, settings, *, overwrite, on_done):
        asked.append((images, [path.name for path in outputs]))
        for path in outputs:
            on_done(path)
        return [Findings(structures=(), source="test", low=0.5, high=0.5) for _ in outputs]

    monkeypatch.setattr(api, "predict", predict)
    monkeypatch.setattr(cli_models, "read_findings", lambda path: None)
    monkeypatch.setattr(cli_models, "add_to_findings_csv", lambda *given: None)
    one = tmp_path / "Doe, J [red].nii.gz"
    one.touch()
    told = call("predict", "no.safetensors", one, "a.nii,b.nii", "-o", tmp_path / "out")
    assert asked == [([[str(one)], ["a.nii", "b.nii"]], ["Doe, J [red].seg.nrrd", "a.seg.nrrd"])]
    assert f"{tmp_path / 'out' / 'Doe, J [red].seg.nrrd'}\n" in told
    # Together too long for the name of a file.
    long = ",".join(f"{number:0100}.nii" for number in range(4))
    call("predict", "no.safetensors", long, "-o", tmp_path / "out")
    assert asked[-1][0] == [long.split(",")]
    # Frames of one file are scans of their own; a file may be called like a frame.
    odd = tmp_path / "b.nii.gz#3"
    odd.touch()
    call("predict", "no.safetensors", "b.nii.gz#0", "b.nii.gz#1,b.nii.gz#2", odd, "-o", tmp_path / "out")
    assert asked[-1][1] == ["b_0.seg.nrrd", "b_1.seg.nrrd", "b.nii.seg.nrrd"]
