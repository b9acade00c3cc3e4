import json
import multiprocessing
import time
from dataclasses import replace
from pathlib import Path

import pytest

from SemiSegLib.config import to_json
from SemiSegLib.errors import ConfigError, RunError
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import RunRequest
from SemiSegLib.runs.status import RunStatus, read_status

REQUEST = RunRequest(dataset="some/data", method="marginal", options={"weight": 0.5}, fine_cases=("a", "b"))


def test_a_request_is_read_back_as_it_was_written_with_absolute_paths_and_an_id(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    again = RunFolder(run.path).request
    assert Path(again.dataset).is_absolute()
    assert len(again.id) == 32
    assert replace(again, dataset="some/data", id="") == REQUEST


def test_two_runs_made_in_the_same_second_get_folders_of_their_own(tmp_path):
    first, second = (RunFolder.create(tmp_path, REQUEST) for _ in range(2))
    assert first.path != second.path
    assert first.request.id != second.request.id


def test_a_name_that_is_taken_is_refused(tmp_path):
    RunFolder.create(tmp_path, REQUEST, name="José 中")
    with pytest.raises(RunError, match="exists already"):
        RunFolder.create(tmp_path, REQUEST, name="José 中")


@pytest.mark.parametrize("name", ["a/b", "..", "a:b", " "])
def test_a_name_that_would_leave_the_parent_is_refused(tmp_path, name):
    with pytest.raises(RunError, match="folder name"):
        RunFolder.create(tmp_path, REQUEST, name=name)


def test_a_folder_without_a_request_is_not_a_run(tmp_path):
    with pytest.raises(RunError, match=r"no request\.json"):
        RunFolder(tmp_path)


def test_a_misspelled_setting_in_a_request_is_named(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    data = to_json(run.request) | {"methd": "x"}
    run.request_path.write_text(json.dumps(data))
    with pytest.raises(ConfigError, match="did you mean 'method'"):
        _ = RunFolder(run.path).request


def test_prepared_cases_lie_beside_the_run_unless_the_request_names_a_folder(tmp_path):
    assert RunFolder.create(tmp_path, REQUEST).prepared == tmp_path / "prepared"
    chosen = replace(REQUEST, prepared_folder=str(tmp_path / "cache"))
    assert RunFolder.create(tmp_path, chosen).prepared == tmp_path / "cache"


def test_a_run_nobody_started_is_created(tmp_path):
    assert RunFolder.create(tmp_path, REQUEST).status() == RunStatus()


def test_a_status_is_read_back(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    status = RunStatus(state="training", step=3, total_steps=10, fraction=0.3, eta_seconds=12.5, pid=7, best_dice=0.5)
    run.write_status(status)
    assert run.status() == status


def test_the_status_of_a_newer_version_is_still_read(tmp_path):
    path = tmp_path / "status.json"
    path.write_text(json.dumps({"state": "finished", "invented_later": 1}))
    assert read_status(path).state == "finished"


def test_an_unknown_state_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'training'"):
        RunStatus(state="trainin")


def test_events_are_read_from_where_one_left_off(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    assert run.events() == ([], 0)
    run.append_event('{"kind": "a"}')
    run.append_event('{"kind": "ü"}')
    first, offset = run.events()
    assert [event["kind"] for event in first] == ["a", "ü"]
    run.append_event('{"kind": "c"}')
    assert run.events(offset)[0] == [{"kind": "c"}]
    assert run.events(run.events()[1]) == ([], run.events_path.stat().st_size)


def test_a_line_that_is_still_being_written_is_left_for_later(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    run.events_path.write_bytes(b'{"kind": "a"}\n{"kind": ')
    events, offset = run.events()
    assert [event["kind"] for event in events] == ["a"]
    with open(run.events_path, "ab") as file:
        file.write(b'"b"}\n')
    assert run.events(offset)[0] == [{"kind": "b"}]


def test_half_a_line_of_a_killed_writer_spoils_no_other_line(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    run.events_path.write_bytes(b'{"kind": "a"}\n{"kin')
    run.append_event('{"kind": "c"}')
    assert [event["kind"] for event in run.events()[0]] == ["a", "c"]


def test_a_stop_can_be_asked_for_and_taken_back(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    assert not run.stop_requested()
    run.request_stop()
    run.request_stop()
    assert run.stop_requested()
    run.clear_stop()
    run.clear_stop()
    assert not run.stop_requested()


def test_a_second_worker_is_refused_with_the_name_of_the_first(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    with run.lock(), pytest.raises(RunError, match=r"being worked on by process \d+ on"), run.lock():
        pass
    with run.lock():
        pass


def _hold_for_ever(path, is_held):
    with RunFolder(path).lock():
        is_held.set()
        time.sleep(60)


def test_a_lock_dies_with_its_holder(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    context = multiprocessing.get_context("spawn")
    is_held = context.Event()
    holder = context.Process(target=_hold_for_ever, args=(run.path, is_held))
    holder.start()
    assert is_held.wait(30)
    with pytest.raises(RunError, match=f"process {holder.pid} on"), run.lock():
        pass
    holder.kill()
    holder.join()
    with run.lock():
        pass


def test_a_reader_never_sees_half_a_status(tmp_path):
    run = RunFolder.create(tmp_path, REQUEST)
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_write_many, args=(run.path,))
    writer.start()
    seen = set()
    while writer.is_alive():
        status = run.status()
        assert status.message == "" or status.message == str(status.step) * 2000
        seen.add(status.step)
    writer.join()
    assert writer.exitcode == 0
    assert len(seen) > 3


def _write_many(path):
    run = RunFolder(path)
    for step in range(1, 200):
        run.write_status(RunStatus(state="training", step=step, message=str(step) * 2000))
