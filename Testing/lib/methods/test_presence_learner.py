"""The presence network learns from what labels tell of patches, whatever of them is drawn, and is calibrated on it."""

import numpy as np
import pytest
import torch

from SemiSegLib.evaluation.calibration import expected_calibration_error
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.methods.method import Progress
from SemiSegLib.methods.parts.presence_learner import PresenceLearner
from SemiSegLib.networks.presence import PresenceShape
from SemiSegLib.presence_training import class_facts
from Testing.lib.methods.tiny import SCHEME, batch

ROIS = RoiTable.of(SCHEME)
ORGAN, HEAD, TAIL, VESSEL = (ROIS.names.index(name) for name in ("organ", "head", "tail", "vessel"))
START = Progress(step=0, fraction=0.0)


def a_learner(dimensions=3, *, minimum=8.0, seed=0):
    torch.manual_seed(seed)
    shape = PresenceShape(classes=ROIS.names, channels=2, dimensions=dimensions, width=0.125)
    return PresenceLearner(shape, torch.from_numpy(ROIS.members.copy()), torch.full((len(ROIS),), minimum))


def loss_of(learner, made):
    (terms,) = learner.losses(made, START)
    return terms.total()


@pytest.mark.parametrize(("dimensions", "regime"), [(2, Regime.PARTIAL), (3, Regime.FULL)])
def test_it_learns_from_fully_and_from_partly_drawn_cases_whether_a_structure_is_there(dimensions, regime):
    learner = a_learner(dimensions)
    # With and without the vessel, which is all that the partly drawn rows show.
    both = [batch(dimensions, rows={regime: 6}, leaves=leaves)[0] for leaves in ((0, 1, 2), (0, 3))]
    optimizer = torch.optim.Adam(learner.parameters(), lr=1e-3)
    for _ in range(40):
        for made in both:
            optimizer.zero_grad()
            loss_of(learner, made).backward()
            optimizer.step()
    learner.eval()
    without, holding = (learner.answers(made) for made in both)
    assert not without[1][:, VESSEL].any()
    assert holding[1][:, VESSEL].any()
    right = [((logits > 0) == target)[known].float().mean() for logits, target, known in (without, holding)]
    assert min(right) > 0.9
    assert without[0][:, VESSEL].max() < holding[0][holding[1][:, VESSEL], VESSEL].min()


def test_only_answers_that_labels_tell_are_taught():
    learner = a_learner()
    made, _ = batch(rows={Regime.COARSE: 2, Regime.PARTIAL: 2, Regime.NONE: 2})
    _, target, known = learner.answers(made)
    coarse, partial, none = (made.rows[regime] for regime in (Regime.COARSE, Regime.PARTIAL, Regime.NONE))
    assert known[coarse][:, [ORGAN, VESSEL]].all()
    assert not known[coarse][:, [HEAD, TAIL]].any()
    assert known[partial][:, VESSEL].all()
    assert not known[partial][:, [ORGAN, HEAD, TAIL]].any()
    assert not known[none].any()
    assert target[coarse][:, VESSEL].all()
    bias = learner.network.body.fc.bias
    (gradient,) = torch.autograd.grad(loss_of(learner, made), bias)
    assert (gradient != 0).tolist() == known.any(0).tolist()


def test_an_unlabeled_image_changes_neither_loss_nor_gradient():
    learner = a_learner()
    made, _ = batch(rows={Regime.FULL: 2, Regime.NONE: 2})
    alone = made.part(Regime.FULL)
    parameters = list(learner.network.parameters())
    losses = [loss_of(learner, given) for given in (made, alone)]
    torch.testing.assert_close(*losses)
    found = [torch.autograd.grad(loss, parameters) for loss in losses]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_the_facts_of_a_class_leave_out_what_is_unknown_and_mend_what_says_too_much():
    generator = np.random.default_rng(0)
    honest = generator.normal(0, 1.5, 3000)
    target = generator.random(3000) < 1 / (1 + np.exp(-honest))
    known = generator.random(3000) < 0.5
    target[~known] = True
    facts = class_facts("organ", 50.0, (6 * honest).astype(np.float32), target, known)
    assert facts.present == target[known].sum()
    assert facts.present + facts.absent == known.sum()
    assert facts.temperature == pytest.approx(6, rel=0.15)
    assert facts.error_after < 0.4 * facts.error_before
    said = 1 / (1 + np.exp(-6 * honest[known]))
    assert facts.error_before == pytest.approx(expected_calibration_error(said, target[known]), abs=1e-4)
    assert facts.note == ""


def test_too_few_answers_leave_the_temperature_at_1_with_a_note():
    facts = class_facts("organ", 50.0, np.ones(30), np.arange(30) > 2, np.ones(30, dtype=bool))
    assert (facts.temperature, facts.error_before) == (1.0, facts.error_after)
    assert facts.note == "not calibrated: 27 patches hold it and 3 do not, 5 are needed"
    nothing = class_facts("organ", 50.0, np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0, dtype=bool))
    assert (nothing.error_before, nothing.error_after, nothing.present) == (None, None, 0)
    assert nothing.note
