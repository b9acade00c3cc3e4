"""What a person sees of a run on the command line, also before the training tells anything."""

import pytest

from SemiSegLib import api
from SemiSegLib.console import RunView
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.status import RunStatus
from SemiSegLib.training.events import Started, Stepped, event_to_line

FIRST = "training the presence network first: 40 %"


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path, RunRequest(dataset="study", method="latent_classes"))


def stepped(step, fraction):
    return Stepped(
        step=step,
        fraction=fraction,
        losses={"dice": 0.5},
        weights={"dice": 1.0},
        learning_rate=0.01,
        seconds_per_step=0.1,
        data_seconds=0.0,
        eta_seconds=60.0,
    )


def test_the_stage_before_a_training_is_told_and_the_bar_has_no_end_until_the_training_begins(run, monkeypatch):
    seen = []
    moments = iter(
        [
            (RunStatus(state="preparing", message="checking cases: 3 of 9"), None),
            (RunStatus(state="preparing", message=FIRST), None),
            (RunStatus(state="training", message="training"), Started(step=0, total_steps=None, device="cpu")),
            (RunStatus(state="training", message="training"), stepped(5, 0.25)),
            (RunStatus(state="training", message="no step for 200 s (usually 0.1 s)"), None),
            (RunStatus(state="finished", message="done; the model is saved"), None),
        ]
    )

    def is_running(folder):
        status, event = next(moments)
        folder.write_status(status)
        if event is not None:
            folder.append_event(event_to_line(event, time=0.0))
        return status.is_active

    monkeypatch.setattr(api, "is_running", is_running)
    monkeypatch.setattr(api, "POLL_SECONDS", 0.0)
    view = RunView("run")
    (bar,) = view._progress.tasks

    def tell(status):
        view.tell(status)
        seen.append((bar.fields["detail"], bar.total, bar.completed))

    assert api.follow(run, on_event=view.show, on_status=tell).state == "finished"
    assert [detail for detail, _, _ in seen[:2]] == ["checking cases: 3 of 9", FIRST]
    assert {total for _, total, _ in seen[:3]} == {None}
    assert seen[3][0].startswith("step 5")
    assert seen[3][1:] == (1.0, 0.25)
    # What is unusual is told over the last step.
    assert seen[4][0].startswith("no step for 200 s")
    assert seen[4][2] == 0.25
