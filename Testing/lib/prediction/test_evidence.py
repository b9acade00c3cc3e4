"""Scores of a scan: the largest of a presence network over all windows, else what the probabilities say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from SemiSegLib.batches.prepare import prepare_image
from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.errors import RunError
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.networks.presence import PresenceDescription, PresenceModel, PresenceShape
from SemiSegLib.prediction.decision import Decision
from SemiSegLib.prediction.evidence import Confidence, presence_of
from SemiSegLib.prediction.findings import CONFIDENCE, PRESENCE
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.prediction.window import Slab, WindowSettings, predict_array, windows_of
from Testing.lib.prediction.test_predictor import predictor
from Testing.lib.schemes import ORGAN_AND_VESSEL

ROIS = RoiTable.of(ORGAN_AND_VESSEL)


class Bright(PresenceModel):
    """Says how bright the brightest voxel of a window is, for each class another share of it."""

    def __init__(self, classes_of, shares):
        shape = PresenceShape(classes=tuple(shares), channels=1, dimensions=3, width=0.125, stem_stride=4)
        super().__init__(PresenceDescription(shape=shape, classes_of=classes_of))
        self.shares = torch.tensor(list(shares.values()))
        self.seen = []

    def forward(self, image):
        assert not self.training
        self.seen.append(tuple(image.shape))
        brightest = image.flatten(1).amax(1).clamp(0, 1)
        of_class = brightest[:, None] * self.shares
        return torch.where(self.decides, of_class[:, None], 0.0).amax(-1)


def scan(shape=(9, 30, 31), seed=0):
    voxels = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return Volume(voxels, Geometry(shape, np.diag([1.5, 1.0, 1.0, 1.0])))


def with_presence(classes_of, shares, options=None, scheme=ORGAN_AND_VESSEL, **how):
    made = predictor(patch=(8, 16, 16), **how)
    made.model.method.presence = Bright(classes_of, shares)
    study = replace(made.model.study, scheme=scheme)
    return Predictor(replace(made.model, options=options or {}, study=study), device="cpu")


def test_the_score_is_the_largest_over_all_windows_and_windows_are_those_of_the_prediction():
    own = {name: (name,) for name in ROIS.names}
    made = with_presence(own, {"organ": 1.0, "head": 0.5, "tail": 0.25, "vessel": 0.05})
    found = made.predict([scan()], drawn=()).findings
    assert found.source == PRESENCE
    # Somewhere a voxel is brighter than one deviation.
    assert [row.score for row in found.structures] == pytest.approx([1.0, 0.5, 0.25, 0.05])
    seen = made.model.method.presence.seen
    assert {shape[1:] for shape in seen} == {(1, 8, 16, 16)}
    image, _ = prepare_image([scan()], made.model.study.plan)
    assert sum(shape[0] for shape in seen) == sum(len(b) for b in windows_of(image, made.model.study.plan))


def test_windows_that_do_not_fit_into_memory_are_taken_in_smaller_numbers_and_precision_is_as_asked():
    own = {name: (name,) for name in ROIS.names}
    shares = {"organ": 1.0, "head": 0.5, "tail": 0.25, "vessel": 0.05}
    made = with_presence(own, shares)
    expected = made.predict([scan()], drawn=()).findings
    presence = made.model.method.presence
    answer, limit, reduced = presence.forward, 1, []

    def hungry(image):
        if len(image) > limit:
            raise torch.cuda.OutOfMemoryError
        reduced.append(torch.is_autocast_enabled("cpu"))
        return answer(image)

    presence.forward = hungry
    assert made.predict([scan()], drawn=()).findings == expected
    assert set(reduced) == {False}
    reduced.clear()
    Predictor(made.model, device="cpu", precision="bf16").predict([scan()], drawn=())
    assert set(reduced) == {True}
    limit = 0
    with pytest.raises(RunError, match="8 x 16 x 16 voxels does not fit into memory"):
        made.predict([scan()], drawn=())


def test_one_bright_window_is_enough():
    plan = predictor(patch=(8, 16, 16)).model.study.plan
    image = np.zeros((1, 9, 40, 41), dtype=np.float32)
    image[0, -1, -1, -1] = 0.75
    batches = list(windows_of(image, plan, settings=WindowSettings(batch=3)))
    assert sum(bool((window == 0.75).any()) for batch in batches for window in batch) == 1
    assert all(batch.shape[1:] == (1, 8, 16, 16) and len(batch) <= 3 for batch in batches)


def test_a_structure_has_the_score_of_its_likeliest_class_and_what_no_class_tells_of_is_unknown():
    scheme = LabelScheme(
        name="liver",
        structures=(
            Structure(name="liver"),
            Structure(name="parenchyma", parent="liver"),
            Structure(name="tumor", parent="liver"),
            Structure(name="spleen"),
        ),
    )
    names = RoiTable.of(scheme).names
    assert names == ("liver", "parenchyma", "tumor", "spleen")
    classes_of = {"liver": ("a",), "parenchyma": ("a", "b"), "tumor": ("c",), "spleen": ()}
    made = with_presence(classes_of, {"a": 0.9, "b": 0.3, "c": 0.1}, scheme=scheme)
    found = made.predict([scan()], drawn=()).findings
    scores = {row.structure: row.score for row in found.structures}
    assert scores == {
        "liver": pytest.approx(0.9),
        "parenchyma": pytest.approx(0.9),
        "tumor": pytest.approx(0.1),
        "spleen": None,
    }


def test_thresholds_are_those_of_the_method_if_it_has_some():
    own = {name: (name,) for name in ROIS.names}
    shares = dict.fromkeys(ROIS.names, 0.5)
    usual = with_presence(own, shares).predict([scan()], drawn=()).findings
    low = with_presence(own, shares, {"low": 0.2, "high": 0.4}).predict([scan()], drawn=()).findings
    assert (usual.low, usual.high) == (0.1, 0.8)
    assert (low.low, low.high) == (0.2, 0.4)
    assert {row.state for row in usual.structures} == {"ambiguous"}
    assert "latent" in {row.state for row in low.structures}


def test_without_a_presence_network_confidence_is_used_and_said():
    made = predictor(patch=(8, 16, 16), spacing=(1.5, 1.0, 1.0))
    assert presence_of(made.model) is None
    found = made.predict([scan()], drawn=("vessel",))
    assert found.findings.source == CONFIDENCE
    assert found.findings.of("vessel").state == "annotated"
    voxels = found.leaves.voxels
    for row, members in zip(found.findings.structures, ROIS.members, strict=True):
        assert row.volume_ml == pytest.approx(members[voxels].sum() * 1.5 / 1000)
        assert 0 < row.score < 1
    assert made.predict([scan()]).findings is None


def test_confidence_is_the_mean_where_segmented_and_the_largest_anywhere_else():
    generator = torch.Generator().manual_seed(3)
    probabilities = torch.rand(4, 11, 5, 6, generator=generator)
    probabilities[2] *= 0.1
    probabilities /= probabilities.sum(0)
    gathered = Confidence(ROIS, Decision(ORGAN_AND_VESSEL, "leaf"))
    for start, stop in ((0, 3), (3, 4), (4, 11)):
        gathered.add(Slab(start, probabilities[:, start:stop], None))
    winner = probabilities.argmax(0)
    assert not (winner == 2).any()
    expected = []
    for leaves in ROIS.leaf_sets:
        own = probabilities[sorted(leaves)].sum(0)
        inside = torch.isin(winner, torch.tensor(sorted(leaves)))
        expected.append(float(own[inside].mean() if inside.any() else own.max()))
    assert gathered.evidence().scores == pytest.approx(expected, abs=1e-6)
    assert gathered.evidence().source == CONFIDENCE


def test_the_largest_piece_is_what_the_volume_is_of():
    made = predictor(patch=(8, 16, 16))
    # Of an untrained network the whole organ would be one piece already.
    made.model.method.decision = "leaf"
    pieces = Predictor(made.model, device="cpu", largest_component=True)
    whole, largest = made.predict([scan()], drawn=()), pieces.predict([scan()], drawn=())
    volumes = [[row.volume_ml for row in found.findings.structures] for found in (whole, largest)]
    assert all(small <= large for large, small in zip(*volumes, strict=True))
    assert volumes[0] != volumes[1]
    assert whole.largest_components().findings is None


def test_windows_as_they_are_do_not_change_the_prediction():
    made = predictor(patch=(8, 16, 16))
    image = np.random.default_rng(1).normal(size=(1, 5, 20, 17)).astype(np.float32)
    before = predict_array(made.model.method, image, made.model.study.plan)
    made.predict([scan()], drawn=())
    assert np.array_equal(predict_array(made.model.method, image, made.model.study.plan), before)


def test_a_prediction_and_what_is_said_of_it_follow_the_decision_of_the_method():
    made = predictor(patch=(8, 16, 16))
    probability = torch.tensor([0.36, 0.33, 0.31, 0.0])
    made.method.predict = lambda image: probability.view(1, 4, 1, 1, 1).expand(len(image), 4, *image.shape[2:]).clone()
    found = made.predict([scan()], drawn=())
    assert (found.leaves.voxels == 1).all()
    assert found.findings.of("organ").volume_ml > 0
    made.method.decision = "leaf"
    found = made.predict([scan()], drawn=())
    assert (found.leaves.voxels == 0).all()
    assert found.findings.of("organ").volume_ml == 0
