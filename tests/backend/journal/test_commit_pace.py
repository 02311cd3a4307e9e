"""The pace of commits: which are held, and until when."""

from __future__ import annotations

from jobqueue.backend.journal.commit_pace import MEASURED_EVERY, WAITING_MIN, CommitPace


def test_a_commit_that_few_answers_wait_for_is_not_held() -> None:
    pace = CommitPace()
    assert not any(pace.holds(waiting) for waiting in range(WAITING_MIN))
    assert pace.holds(WAITING_MIN)


def test_a_held_commit_begins_when_the_waits_reach_the_number_that_was_measured() -> None:
    pace = CommitPace()
    assert not pace.is_due(1000), "it is the measured one"
    pace.note_begin(20)
    assert pace.holds(19)
    assert not pace.is_due(19)
    assert pace.is_due(20)
    assert not pace.holds(20)


def test_the_measure_is_taken_again() -> None:
    pace = CommitPace()
    pace.note_begin(20)
    for waiting in (30, *[20] * (MEASURED_EVERY - 3)):
        pace.note_begin(waiting)
        assert pace.is_due(20), "only the measured one counts"
    pace.note_begin(20)
    assert not pace.is_due(1000)
    pace.note_begin(30)
    assert not pace.is_due(29)
