"""``semiseg methods`` and ``semiseg recommend``: what a person reads before the first training."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from SemiSegLib.cases.cohort import write_cohort
from SemiSegLib.cases.formats import save_dataset
from SemiSegLib.cli import app
from SemiSegLib.console import console
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.cards import CARDS

NOBODY = {"fine": 0, "coarse": 0, "partial": 0, "none": 0, "validation": 0}
# What the drawer of the cohort's fine cases called head and tail, as one structure.
ORGAN = {0: ("background",), 1: ("organ [whole]",), 2: ("organ [whole]",), 3: ("background",)}


def call(*arguments):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


def advice(folder, **counts):
    write_cohort(folder, **{**NOBODY, **counts}, size=(8, 12, 10))
    return json.loads(call("recommend", folder, "--json"))


def test_five_studies_with_different_labels_get_the_method_that_suits_each_and_its_reason(tmp_path):
    complete = advice(tmp_path / "complete", fine=6, validation=2)
    assert complete["method"] == "supervised"
    assert complete["reason"].startswith("6 cases have every structure drawn. ")

    mixed = advice(tmp_path / "mixed", fine=3, coarse=5, partial=1, none=1)
    assert (mixed["method"], mixed["alternatives"]) == ("efficient_subclass", ["modified_unet", "marginal"])
    assert "3 cases have every structure drawn, 5 only the coarse ones, 1 only some and 1 none" in mixed["reason"]

    quick = advice(tmp_path / "quick", coarse=3, partial=2, none=1)
    assert quick["method"] == "marginal"
    assert "No case shows head or tail by itself" in quick["reason"]

    partial = advice(tmp_path / "partial", fine=2, partial=4, none=1)
    assert partial["method"] == "marginal"
    assert "not looked for; the case without labels is not used." in partial["reason"]

    unlabeled = advice(tmp_path / "unlabeled", fine=4, none=6)
    assert unlabeled["method"] == "cross_pseudo_supervision"
    assert "4 cases have every structure drawn and 6 none" in unlabeled["reason"]


@pytest.fixture(scope="module")
def one_structure(tmp_path_factory):
    """A study of one structure with a name that a terminal could take for a command."""
    folder = tmp_path_factory.mktemp("one")
    study = write_cohort(folder, **{**NOBODY, "fine": 4, "none": 5}, size=(8, 12, 10))
    cases = tuple(
        case
        if case.annotation is None
        else replace(case, annotation=Annotation(file=case.annotation.file, values=ORGAN))
        for case in study.cases
    )
    scheme = LabelScheme(name="whole", structures=(Structure(name="organ [whole]"),))
    save_dataset(replace(study, scheme=scheme, cases=cases), folder)
    return folder


def test_one_structure_in_volumes_and_very_few_labels_have_methods_of_their_own(one_structure, tmp_path):
    assert json.loads(call("recommend", one_structure, "--json"))["method"] == "dual_task_mutual_learning"
    assert advice(tmp_path, fine=1, none=5)["method"] == "mean_teacher"


def test_the_advice_for_people_says_the_same_as_that_for_scripts(one_structure):
    found = json.loads(call("recommend", one_structure, "--json"))
    said = " ".join(call("recommend", one_structure).split())
    assert said == f"{found['method']}: {found['reason']} Alternatives: {', '.join(found['alternatives'])}"


def test_a_structure_with_brackets_in_its_name_is_shown_as_it_is_called(one_structure, tmp_path):
    data = json.loads((one_structure / "dataset.json").read_text())
    data["cases"] = data["cases"][:1]
    data["cases"][0]["annotation"]["values"] = {"0": ["background"], "1": ["*"]}
    (tmp_path / "dataset.json").write_text(json.dumps(data))
    assert "No case shows organ [whole] by itself" in " ".join(call("recommend", tmp_path).split())


def test_a_case_with_brackets_in_its_name_is_named_by_the_check(tmp_path):
    study = write_cohort(tmp_path, **{**NOBODY, "fine": 1}, size=(8, 12, 10))
    (case,) = study.cases
    save_dataset(study.with_cases((replace(case, id="P1[baseline]", images={"T1": "gone.nii.gz"}),)), tmp_path)
    told = CliRunner().invoke(app, ["check", str(tmp_path)])
    assert told.exit_code == 3
    assert "error P1[baseline] missing_file\n" in told.output


@pytest.mark.parametrize("width", [80, 100, 160])
def test_the_list_of_methods_can_be_read_at_the_width_of_a_terminal(monkeypatch, width):
    monkeypatch.setattr(console, "_width", width)
    lines = call("methods").splitlines()
    assert max(map(len, lines)) <= width
    told = {line.split("│")[1].strip() for line in lines if line.count("│") == 3}
    # A name that is broken over two lines cannot be copied.
    assert told - {""} == {card.name for card in CARDS}
    text = " ".join(" ".join(line.split("│")[2] for line in lines if line.count("│") == 3).split())
    for card in CARDS:
        assert card.summary in text
        assert card.paper in text
    assert "Needs fully labeled cases; uses coarse, partly labeled and unlabeled ones too." in text
    assert "uses unlabeled ones too. With paper, code or paper_000 it needs fully labeled cases." in text
