"""Estimates of live jobs: position, end, and the time of the next poll."""

from __future__ import annotations

from random import Random

import pytest

from jobqueue.core.job import Job, JobId, JobSpec, JobState
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.scheduling.eta import (
    POLL_AFTER_S_MAX,
    POLL_AFTER_S_MIN,
    POLL_AFTER_S_UNKNOWN,
    Estimate,
    WaitingFor,
    WaitReason,
    estimate_of,
)
from jobqueue.core.scheduling.queue_state import QueueState

NOW = 1000.0
LIMIT = WaitingFor(WaitReason.LIMIT)


def queue_of(*, waiting: int = 0, running: int = 1, run_s: float | None = 8.0, workers: int = 1) -> QueueState:
    """A queue of jobs of type "t", all of which run for `run_s`; None: none has ended yet."""
    queue_state = QueueState("q", QueuePolicy(workers=workers), Random(1))
    queue_state.waiting.update((JobId(f"w{n}"), NOW) for n in range(waiting))
    queue_state.type_state("t").waiting = waiting
    queue_state.counts[JobState.QUEUED] = waiting
    queue_state.counts[JobState.RUNNING] = running
    if run_s is not None:
        queue_state.type_state("t").run_s = run_s
    return queue_state


def job_in(state: JobState, *, started_at: float | None = None, run_at: float = NOW) -> Job:
    return Job(
        id=JobId("j"),
        spec=JobSpec(type="t"),
        args=b"{}",
        upload=None,
        state=state,
        created_at=NOW,
        run_at=run_at,
        started_at=started_at,
    )


def running_for(elapsed_s: float) -> Job:
    return job_in(JobState.RUNNING, started_at=NOW - elapsed_s)


QUEUED = job_in(JobState.QUEUED)


# -- running jobs


def test_a_running_job_ends_after_the_rest_of_its_typical_run() -> None:
    assert estimate_of(running_for(6.0), queue_of(), None, NOW) == Estimate(None, 2.0, 2.0)


def test_a_running_job_of_an_unknown_type_has_no_eta() -> None:
    queue_state = queue_of(run_s=None)
    assert estimate_of(running_for(6.0), queue_state, None, NOW) == Estimate(None, None, POLL_AFTER_S_UNKNOWN)


def test_a_job_that_exceeds_its_typical_run_is_polled_after_half_the_time_that_it_has_taken() -> None:
    assert estimate_of(running_for(2.5), queue_of(run_s=2.0), None, NOW) == Estimate(None, None, 1.25)
    assert estimate_of(running_for(100.0), queue_of(run_s=2.0), None, NOW) == Estimate(None, None, POLL_AFTER_S_MAX)


def test_a_job_at_the_end_of_its_typical_run_should_end_now() -> None:
    assert estimate_of(running_for(8.0), queue_of(), None, NOW) == Estimate(None, 0.0, POLL_AFTER_S_MIN)


# -- waiting jobs


def test_a_job_of_an_unknown_type_has_a_position_and_no_eta() -> None:
    queue_state = queue_of(waiting=3, run_s=None)
    assert estimate_of(QUEUED, queue_state, 3, NOW, LIMIT) == Estimate(3, None, POLL_AFTER_S_UNKNOWN, LIMIT)


def test_a_job_of_a_known_type_behind_jobs_of_unknown_types_has_no_eta() -> None:
    queue_state = queue_of()
    queue_state.waiting[JobId("w")] = NOW
    queue_state.type_state("unknown").waiting = 1
    assert estimate_of(QUEUED, queue_state, 1, NOW, LIMIT) == Estimate(1, None, POLL_AFTER_S_UNKNOWN, LIMIT)


def test_a_job_of_a_paused_queue_has_no_eta() -> None:
    queue_state = queue_of(waiting=3)
    queue_state.paused = True
    assert estimate_of(QUEUED, queue_state, 3, NOW) == Estimate(3, None, POLL_AFTER_S_UNKNOWN)


def test_each_position_adds_a_typical_run_while_all_workers_are_busy() -> None:
    queue_state = queue_of(waiting=4)
    estimates = [estimate_of(QUEUED, queue_state, position, NOW) for position in (1, 2, 4)]
    assert estimates == [Estimate(position, 8.0 * position + 8.0, POLL_AFTER_S_MAX) for position in (1, 2, 4)]


def test_the_first_job_starts_at_once_where_a_worker_may_be_idle() -> None:
    queue_state = queue_of(waiting=4, workers=2)
    assert estimate_of(QUEUED, queue_state, 1, NOW) == Estimate(1, 8.0, POLL_AFTER_S_MAX)
    assert estimate_of(QUEUED, queue_state, 2, NOW) == Estimate(2, 16.0, POLL_AFTER_S_MAX), "one run before it"


def test_several_running_jobs_shorten_the_wait() -> None:
    queue_state = queue_of(waiting=4, running=4, workers=4)
    assert estimate_of(QUEUED, queue_state, 3, NOW).eta_s == 3 * 8.0 / 4 + 8.0


def test_a_job_without_a_position_comes_after_all_waiting_jobs() -> None:
    queue_state = queue_of(waiting=2, workers=2)
    assert estimate_of(QUEUED, queue_state, None, NOW, LIMIT) == Estimate(None, 2 * 8.0 + 8.0, POLL_AFTER_S_MAX, LIMIT)


def test_a_job_without_a_position_has_no_wait_in_an_empty_queue() -> None:
    assert estimate_of(QUEUED, queue_of(waiting=0), None, NOW) == Estimate(None, 8.0, POLL_AFTER_S_MAX)
    assert estimate_of(QUEUED, queue_of(waiting=1), None, NOW).eta_s == 16.0


def test_a_delayed_job_adds_its_delay() -> None:
    queue_state = queue_of(run_s=0.5)
    delayed = job_in(JobState.DELAYED, run_at=NOW + 2.0)
    assert estimate_of(delayed, queue_state, None, NOW) == Estimate(None, 2.5, 2.5)
    assert estimate_of(job_in(JobState.DELAYED, run_at=NOW - 9.0), queue_state, None, NOW) == Estimate(None, 0.5, 0.5)


def test_the_next_poll_is_at_the_expected_end_within_bounds() -> None:
    for run_s, poll_after_s in ((0.01, POLL_AFTER_S_MIN), (0.2, 0.2), (2.9, 2.9), (3.1, POLL_AFTER_S_MAX)):
        assert estimate_of(QUEUED, queue_of(run_s=run_s), None, NOW) == Estimate(None, run_s, poll_after_s)


# -- known instants of a retry


@pytest.mark.parametrize(
    ("in_s", "poll_after_s"), [(-5.0, POLL_AFTER_S_UNKNOWN), (0.5, POLL_AFTER_S_UNKNOWN), (2.0, 2.0), (60.0, 3.0)]
)
def test_a_job_with_a_known_earliest_start_is_polled_then(in_s: float, poll_after_s: float) -> None:
    waiting_for = WaitingFor(WaitReason.TYPE_QUARANTINED, NOW + in_s)
    assert estimate_of(QUEUED, queue_of(waiting=2), 2, NOW, waiting_for) == Estimate(2, None, poll_after_s, waiting_for)
