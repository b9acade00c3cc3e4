"""A model on the cases of a study, from files to a report."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.volume import Geometry, Volume, read_volume, write_volume
from SemiSegLib.errors import CaseError
from SemiSegLib.evaluation.judge import CaseJudge
from SemiSegLib.evaluation.pictures import Panel, comparison_picture
from SemiSegLib.evaluation.report import ReportContent, write_report
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.method import Method, Study
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.model_file import Model
from SemiSegLib.prediction.predictor import Predictor
from Testing.lib.schemes import ORGAN

FINE = {0: ("background",), 1: ("head",), 2: ("tail",)}
COARSE = {0: ("background",), 1: ("organ",), 2: ("organ",)}


class Thresholds(Method):
    """Knows the structures by their brightness."""

    def losses(self, batch, progress):
        raise NotImplementedError

    def predict(self, image):
        distance = [(image[:, 0] - level).abs() for level in (0.0, 1.0, 2.0)]
        return torch.stack([-20 * d for d in distance], 1).softmax(1)


def predictor(scheme=ORGAN, roles=("T1",)):
    plan = Plan(
        dimensions=3,
        channels=tuple(ChannelPlan(role=role, normalization="ct", low=-10.0, high=10.0) for role in roles),
        axis_order=(0, 1, 2),
        spacing_mm=(2.0, 1.0, 1.0),
        patch=(16, 24, 24),
        batch=1,
        network=NetworkPlan(),
    )
    return Predictor(Model(Thresholds(), Study(scheme=scheme, plan=plan), "thresholds", {}, {}), device="cpu")


@pytest.fixture
def study(tmp_path):
    """Return three cases, fine, coarse and without labels, with axes that are not canonical."""
    cases = []
    for number, values in enumerate((FINE, COARSE, None)):
        leaves = np.zeros((19, 9, 21), dtype=np.uint8)
        leaves[3:9, 2:7, 4:15] = 1
        leaves[9:14, 2:7, 6 : 12 + number] = 2
        affine = np.eye(4)
        affine[:3, :3] = np.array([[0, 0, -1], [1, 0, 0], [0, 1, 0]]) * (1.0, 2.0, 1.0)
        geometry = Geometry(leaves.shape, affine)
        shifted = np.roll(leaves, 1, axis=2).astype(np.float32)
        write_volume(Volume(shifted, geometry), tmp_path / f"image{number}.nii.gz")
        write_volume(Volume(leaves, geometry), tmp_path / f"label{number}.nii.gz")
        annotation = None if values is None else Annotation(file=f"label{number}.nii.gz", values=values)
        cases.append(
            Case(
                id=f"case{number}", patient=f"p{number}", images={"T1": f"image{number}.nii.gz"}, annotation=annotation
            )
        )
    return Dataset(
        name="study", scheme=ORGAN, channels=("T1",), cases=tuple(cases), root=tmp_path, modality={"T1": "MR"}
    )


def test_cases_are_scored_by_what_their_files_say(study):
    judge = CaseJudge(predictor(), study)
    fine, coarse = (judge.judge(case).score for case in study.cases[:2])
    assert [(row.structure, row.kind) for row in fine.rows] == [
        ("organ", "superclass"),
        ("head", "leaf"),
        ("tail", "leaf"),
    ]
    assert [row.structure for row in coarse.rows] == ["organ"]
    # The image is the label shifted by one of 11 voxels along the last axis, which is 1 mm thick.
    head = fine.rows[1]
    assert head.dice == pytest.approx(10 / 11)
    assert head.hd == 1.0
    with pytest.raises(CaseError, match="nothing to compare with"):
        judge.judge(study.cases[2])


def test_a_report_on_a_model_shows_its_cases(study, tmp_path):
    judge = CaseJudge(predictor(), study, mode="paper_000")
    scores = [judge.judge(case).score for case in study.cases[:2]]
    content = ReportContent(title="t", scheme=ORGAN, scores=scores, view=judge.view, mode="paper_000")
    page = write_report(tmp_path / "report", content)
    assert "mode `paper_000`, distances in voxel" in page.read_text(encoding="utf-8")
    assert (page.parent / "cases.png").stat().st_size > 2000


def test_several_predictions_are_shown_beside_the_reference(study, tmp_path):
    judge = CaseJudge(predictor(), study)
    judged = judge.judge(study.cases[0])
    panel = Panel(judged.score.case, judged.image, judged.prediction.leaves)
    path = comparison_picture(study, [("supervised", panel), ("marginal", panel)], tmp_path / "demo.png")
    assert path.stat().st_size > 2000


def test_a_model_of_other_structures_is_refused(study):
    other = LabelScheme(name="other", structures=(Structure(name="liver"), Structure(name="spleen")))
    with pytest.raises(CaseError, match="the model knows background, liver, spleen"):
        CaseJudge(predictor(other), study)


def two_channels(study, roles):
    """Return the study with a second channel, T2, of which a model of T1 alone could tell nothing."""
    cases = tuple(
        replace(case, images={"T1": case.images["T1"], "T2": f"other{number}.nii.gz"})
        for number, case in enumerate(study.cases)
    )
    for number, case in enumerate(cases):
        scan = read_volume(study.path(case.images["T1"]))
        write_volume(Volume(2 - scan.voxels, scan.geometry), study.root / f"other{number}.nii.gz")
    return replace(study, channels=roles, modality=dict.fromkeys(roles, "MR"), cases=cases)


def test_a_model_sees_its_channels_in_its_own_order_whatever_that_of_the_study_is(study):
    expected = CaseJudge(predictor(), study).judge(study.cases[0]).score
    for roles in (("T1", "T2"), ("T2", "T1")):
        turned = two_channels(study, roles)
        judged = CaseJudge(predictor(roles=("T1", "T2")), turned).judge(turned.cases[0])
        assert judged.score == expected
        # The picture still shows the channel that the study names first.
        first = read_volume(study.path(turned.cases[0].images[roles[0]]))
        assert np.array_equal(judged.image.voxels, first.voxels)


def test_a_model_of_other_channels_is_refused_and_a_single_channel_needs_no_name(study):
    both = two_channels(study, ("T1", "T2"))
    for roles in (("T1", "FLAIR"), ("T1",), ("T1", "T2", "FLAIR")):
        with pytest.raises(CaseError, match=f"the model's channels are {', '.join(roles)}, those of the study T1, T2"):
            CaseJudge(predictor(roles=roles), both)
    named = predictor(roles=("image",))
    assert CaseJudge(named, study).judge(study.cases[0]).score == (
        CaseJudge(predictor(), study).judge(study.cases[0]).score
    )


def test_both_ways_of_scoring_come_from_one_prediction(study, monkeypatch):
    applied = predictor()
    calls = []
    predict = applied.predict

    def counted(images):
        calls.append(images)
        prediction = predict(images)
        # A stray piece of a structure that the reference does not have there.
        prediction.leaves.voxels[0, 0, 0] = 1
        return prediction

    monkeypatch.setattr(applied, "predict", counted)
    judge = CaseJudge(applied, study)
    whole, pieces = judge.judge_both(study.cases[0])
    assert len(calls) == 1
    assert whole.score == judge.judge(study.cases[0]).score
    stray, clean = (judged.prediction.leaves.voxels for judged in (whole, pieces))
    assert (stray[0, 0, 0], clean[0, 0, 0]) == (1, 0)
    assert np.array_equal(stray.ravel()[1:], clean.ravel()[1:])
    assert whole.score.rows[1].hd95 <= whole.score.rows[1].hd
    assert pieces.score.rows[1].hd < whole.score.rows[1].hd
    with pytest.raises(CaseError, match="nothing to compare with"):
        judge.judge_both(study.cases[2])
