"""The end of a job: done, or failed with words for people in the status and the rest in the log."""

import errno
import logging

import pytest

from SemiSegLib.errors import CaseError, explain
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.job import Words, read_command_line, work_or_fail
from SemiSegLib.runs.reporter import Reporter
from SemiSegLib.runs.request import RunRequest

WORDS = Words(noun="job", again="start it again", log="log.txt of this test")
logger = logging.getLogger("SemiSegLib.test_job")


@pytest.fixture
def end(tmp_path):
    """Return a function that ends a job by an error and returns exit code and status."""
    run = RunFolder.create(tmp_path, RunRequest(dataset="data", method="marginal"))

    def work_until(error=None, **how):
        def work():
            if error is not None:
                raise error

        run.request_stop()
        with Reporter(run, version="1", owns_group=False) as reporter:
            reporter.update(state="training", eta_seconds=7.0)
            code = work_or_fail(work, reporter, WORDS, logger=logger, **how)
        return code, run.status(), run.stop_requested()

    return work_until


def test_a_job_that_ends_well_says_nothing(end):
    code, status, stops = end()
    assert (code, status.state, stops) == (0, "training", True)


def test_what_a_user_can_mend_is_told_in_its_own_words(end, caplog):
    code, status, stops = end(CaseError(explain("no voxel", where="case 'a'", remedy="draw some")))
    assert (code, status.state, status.eta_seconds) == (1, "failed", None)
    assert (status.message, status.where, status.remedy) == ("no voxel", "case 'a'", "draw some")
    assert not stops, "the next start would stop at once"
    assert "Traceback" not in caplog.text


def test_an_error_without_a_remedy_gets_one(end):
    assert end(CaseError("no voxel"))[1].remedy == "read log.txt in the job folder, then start it again"


def test_what_nobody_expected_is_one_sentence_and_a_traceback_in_the_log(end, caplog):
    status = end(ZeroDivisionError("by night\nand more"))[1]
    assert status.message == "an unexpected error ended the job: ZeroDivisionError: by night"
    assert status.remedy == "start it again; if it fails again, report the error with log.txt of this test"
    assert "Traceback" in caplog.text


def test_a_full_disk_is_named_as_such(end):
    status = end(OSError(errno.ENOSPC, "No space left on device"))[1]
    assert status.message == "the disk is full"
    assert status.remedy.startswith("free some space and start it again")


def test_names_of_people_are_left_out_of_the_status(end):
    status = end(ValueError("bad file /data/Maria/scan"), redact=lambda text: text.replace("/data/Maria", "DATASET"))[1]
    assert status.message.endswith("ValueError: bad file DATASET/scan")


def test_a_command_line_is_a_folder_and_a_switch(tmp_path, capsys):
    assert read_command_line("p", "d", [str(tmp_path)]) == (tmp_path, False)
    assert read_command_line("p", "d", [str(tmp_path), "--detached"]) == (tmp_path, True)
    with pytest.raises(SystemExit):
        read_command_line("p", "d", [])
    assert "folder" in capsys.readouterr().err
