"""The pace of commits: which are held, and until when."""

from __future__ import annotations

from jobqueue.backend.journal.commit_pace import MEASURED_EVERY, WAITING_MIN, CommitPace


def test_a_commit_that_few_answers_wait_for_is_not_held() -> None:
    pace = CommitPace()
    assert not any(pace.holds(waiting) for waiting in range(WAITING_MIN))
    assert pace.holds(WAITING_MIN)


def measured(waiting: int) -> CommitPace:
    """Return a pace that has just measured this number of waits."""
    pace = CommitPace()
    assert pace.holds(WAITING_MIN)
    pace.note_whole_hold(waiting)
    return pace


def test_a_held_commit_begins_when_the_waits_reach_the_number_that_was_measured() -> None:
    pace = CommitPace()
    assert pace.holds(WAITING_MIN)
    assert not pace.is_due(1000), "it is the measured one"
    pace.note_whole_hold(20)
    assert pace.holds(19)
    assert not pace.is_due(19)
    assert pace.is_due(20)
    assert not pace.holds(20)


def test_the_measure_is_taken_again_after_a_number_of_held_commits() -> None:
    pace = measured(20)
    for _ in range(MEASURED_EVERY - 2):
        assert pace.holds(19)
        pace.note_whole_hold(10)
        assert pace.is_due(20), "only the measured one counts"
    assert pace.holds(19)
    assert not pace.is_due(1000)
    pace.note_whole_hold(30)
    assert not pace.is_due(29)
    assert pace.is_due(30)


def test_the_measure_is_taken_again_while_more_answers_wait_than_were_measured() -> None:
    pace = measured(5)
    assert [pace.holds(20) for _ in range(MEASURED_EVERY - 1)] == [*[False] * (MEASURED_EVERY - 2), True]
    pace.note_whole_hold(40)
    assert pace.holds(20)
    assert not pace.is_due(39)


def test_the_measure_is_taken_again_after_the_least_that_can_be_measured() -> None:
    pace = measured(WAITING_MIN)
    assert any(pace.holds(WAITING_MIN) for _ in range(MEASURED_EVERY))


def test_syncs_that_few_answers_wait_for_are_not_counted() -> None:
    pace = measured(20)
    assert not any(pace.holds(WAITING_MIN - 1) for _ in range(10 * MEASURED_EVERY))
    assert pace.is_due(20)


def test_a_hold_at_the_end_of_which_few_answers_wait_measures_nothing() -> None:
    pace = measured(WAITING_MIN - 1)
    assert not pace.is_due(1000)
