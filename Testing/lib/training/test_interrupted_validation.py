"""A validation that a stop interrupted is made up for when the training goes on."""

import pytest
import torch

from SemiSegLib.training.events import CheckpointDue, Finished, Started, Validated
from SemiSegLib.training.trainer import Trainer
from SemiSegLib.training.validation import ValidationStoppedError
from Testing.lib.training.tiny_training import TinyMethod, batches_from, same, scores, settings

# The best is at a step whose validation is interrupted below.
DICE = {2: 0.2, 4: 0.9, 6: 0.4, 8: 0.3}


class Run:
    """A training with all that it told, its best weights and its last state."""

    def __init__(self, *, stop_at=None, state=None, chosen=None):
        self.stop_at = stop_at
        torch.manual_seed(0)
        chosen = chosen or settings(steps=8, validate_every=2)
        self.trainer = Trainer(TinyMethod(), batches_from, chosen, device="cpu", validate=self.validate, state=state)
        self.events, self.best, self.last = [], None, None
        for event in self.trainer.run():
            self.events.append(event)
            if isinstance(event, CheckpointDue):
                self.last = self.trainer.state()
                self.best = self.last if event.is_best else self.best

    def validate(self, method):
        if self.trainer.step == self.stop_at:
            raise ValidationStoppedError
        return scores(DICE[self.trainer.step])

    def validated(self):
        return [(e.step, e.is_best) for e in self.events if isinstance(e, Validated)]


def test_a_stop_during_a_validation_changes_neither_the_best_model_nor_the_last():
    whole = Run()
    first = Run(stop_at=4)
    assert first.events[-1] == Finished(step=4, reason="stopped")
    assert first.validated() == [(2, True)]
    second = Run(state=first.last)
    assert isinstance(second.events[0], Started)
    assert second.validated() == [(4, True), (6, False), (8, False)]
    assert first.validated() + second.validated() == whole.validated()
    assert (second.trainer.best_step, second.trainer.best_dice) == (whole.trainer.best_step, 0.9)
    assert same(whole.best[0], second.best[0])
    assert same(whole.last[0], second.last[0])


def test_a_stop_during_the_last_validation_repeats_it_once():
    second = Run(state=Run(stop_at=8).last)
    assert second.validated() == [(8, False)]
    assert second.events[-1] == Finished(step=8, reason="done")
    assert Run(state=second.last).validated() == []


@pytest.mark.parametrize("stop_at", [None, 8])
def test_a_state_from_which_nothing_was_done_is_not_saved_again(stop_at):
    """A run that goes on when it is done, or whose validation is stopped again."""
    again = Run(state=Run(stop_at=stop_at).last, stop_at=stop_at)
    assert not [event for event in again.events if isinstance(event, CheckpointDue)]


@pytest.mark.parametrize("stop_at", [None, 2])
def test_what_was_validated_is_not_validated_again(stop_at):
    """Neither where a session goes on after a validation, nor at the very start."""
    first = Run(stop_at=stop_at)
    again = Run(state=first.last)
    steps = [step for step, _ in first.validated() + again.validated()]
    assert steps == [2, 4, 6, 8]
