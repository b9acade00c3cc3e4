"""Work that takes long is done apart, and Slicer goes on answering; errors and results come back as from a call."""

import threading

import pytest
import qt

from SemiSegModule.waiting import Waiting, atOnce, keepAnswering


def test_events_are_answered_while_a_work_goes_on():
    answered = threading.Event()
    qt.QTimer.singleShot(0, answered.set)
    # The work ends only after the timer's slot has run, which takes the event loop.
    assert keepAnswering(lambda: answered.wait(100))


def test_a_work_is_done_in_another_thread_and_its_result_returned():
    threads = []
    assert keepAnswering(lambda: threads.append(threading.current_thread()) or "done") == "done"
    assert threads[0] is not threading.main_thread()
    assert not threads[0].is_alive()


@pytest.mark.parametrize("way", [atOnce, keepAnswering])
def test_an_error_of_a_work_is_raised_where_it_was_asked_for(way):
    def fail():
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        way(fail)


def test_who_does_not_wait_is_told_nothing_and_served_at_once():
    waiting = Waiting()
    waiting.tell(0, 3, "scan")
    assert waiting.apart(threading.current_thread) is threading.main_thread()
