"""The copy of one queue: its rates, its rejections and its estimates, by numbers."""

from __future__ import annotations

from random import Random

import pytest

from jobqueue.backend.valkey.queue_mirror import QueueMirror
from jobqueue.backend.valkey.tallies import QueueTally
from jobqueue.core.attempt_outcome import ATTEMPT_SUCCEEDED
from jobqueue.core.job import IdempotencyKey, Job, JobId, JobSpec, JobState, Uniqueness
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.scheduling.eta import PAUSED, Estimate
from jobqueue.errors import QueueFull

NOW = 1000.0


def mirror(*, capacity: int = 10, workers: int = 4) -> tuple[QueueMirror, QueueTally]:
    tally = QueueTally("default")
    return QueueMirror(QueuePolicy(capacity=capacity, workers=workers), tally, Random(1)), tally


def counts(
    queue: QueueMirror,
    now: float = NOW,
    *,
    delayed: int = 0,
    queued: int = 0,
    running: int = 0,
    starts: int = 0,
    ends: int = 0,
) -> None:
    queue.note_counts(
        now, delayed=delayed, queued=queued, running=running, starts=starts, ends=ends, oldest_queued_at=5.0
    )


def job(job_type: str = "t", state: JobState = JobState.QUEUED, *, run_at: float = NOW, **more: float) -> Job:
    spec = JobSpec(type=job_type)
    return Job(
        id=JobId("j"),
        spec=spec,
        args=b"",
        upload=None,
        state=state,
        created_at=NOW,
        run_at=run_at,
        **more,  # type: ignore[arg-type]  # instants
    )


def ran(tally: QueueTally, job_type: str = "t", run_s: float = 0.5) -> None:
    tally.note_run(job(job_type), ATTEMPT_SUCCEEDED, run_s)


def wait_s(
    queue: QueueMirror, now: float = NOW, *, processes: int = 1, live: int | None = None, caller: str = "c"
) -> float:
    identity = Uniqueness(caller, plain=True)
    return queue.retry_slot_s(now, identity, processes, counted=False, live=live)


# -- rates


def test_before_the_first_end_each_running_job_is_expected_to_end_once_in_the_time_that_has_passed() -> None:
    queue, _ = mirror()
    counts(queue, running=2)
    assert queue.drain_per_s(NOW + 10) == pytest.approx(0.2)
    assert queue.drain_per_s(NOW) == 2.0
    assert queue.drain_per_s(NOW + 10_000) == pytest.approx(1 / 300), "the least"


def test_running_jobs_of_a_known_length_promise_their_ends() -> None:
    queue, tally = mirror()
    ran(tally, run_s=0.5)
    counts(queue, running=4)
    assert queue.drain_per_s(NOW) == pytest.approx(8.0)
    counts(queue, running=0)
    assert queue.drain_per_s(NOW + 1) == pytest.approx(1 / 300)


def test_ends_of_this_process_are_measured_once_though_the_store_tells_them_too() -> None:
    queue, tally = mirror()
    counts(queue, running=1)
    for second in range(1, 61):
        tally.ends += 2
        queue.note_ends(NOW + second)
        counts(queue, NOW + second, running=1, ends=2 * second)
    assert queue.measured_drain_per_s(NOW + 60) == pytest.approx(2.0, rel=0.05)
    for second in range(61, 121):
        tally.ends += 2
        counts(queue, NOW + second, running=1, ends=2 * second + 3 * (second - 60))
    assert queue.measured_drain_per_s(NOW + 120) == pytest.approx(5.0, rel=0.05)


def test_the_pace_of_waiting_jobs_is_by_the_runs_of_their_types() -> None:
    queue, tally = mirror()
    assert queue.pace_per_s() is None
    ran(tally, "quick", 0.1)
    counts(queue, running=2)
    assert queue.pace_per_s() == pytest.approx(2 / 0.1), "that of the queue's runs, if no type is known to wait"
    tally.type_state("slow").waiting = 3
    assert queue.pace_per_s() == pytest.approx(2 / 0.1), "a type without a run says nothing"
    ran(tally, "slow", 1.0)
    tally.type_state("quick").waiting = 1
    assert queue.pace_per_s() == pytest.approx(2 * 4 / (3 * 1.0 + 1 * 0.1))


def test_the_last_start_of_any_process_is_as_of_the_reply_that_has_one_more() -> None:
    queue, _ = mirror()
    counts(queue, starts=7)
    assert queue.stats([], NOW).started_at is None, "how long ago they were is not known"
    counts(queue, NOW + 5, starts=8)
    counts(queue, NOW + 9, starts=8)
    assert queue.stats([], NOW + 9).started_at == NOW + 5


# -- rejections


def test_the_first_slot_is_when_capacity_comes_free_in_the_part_of_this_process() -> None:
    for processes, live, soonest_s in ((1, 10, 10.0), (2, 10, 20.0), (1, 12, 30.0), (2, 14, 60.0), (4, 9, 40.0)):
        queue, tally = mirror()
        ran(tally, run_s=10.0)
        counts(queue, running=1)
        assert soonest_s <= wait_s(queue, processes=processes, live=live) <= 1.1 * soonest_s


def test_a_retry_after_is_a_second_at_least() -> None:
    queue, tally = mirror()
    ran(tally, run_s=0.001)
    counts(queue, running=4)
    assert wait_s(queue) == 1.0
    assert queue.slot_s(NOW) == 1.0


def test_the_expected_slot_counts_the_jobs_over_a_lowered_capacity() -> None:
    queue, tally = mirror(capacity=2)
    ran(tally, run_s=10.0)
    counts(queue, delayed=1, queued=2, running=1)
    assert queue.slot_s(NOW) == pytest.approx((1 + 2) * 10.0)
    assert queue.live == 4


def test_a_rejection_has_the_numbers_of_the_reply_and_is_counted() -> None:
    queue, tally = mirror()
    counts(queue, queued=3)
    for live in (11, 11, 12):
        refusal = queue.full(NOW, None, 1, counted=True, live=live)
        assert str(refusal) == f"queue 'default' holds {live} live jobs, and its capacity is 10"
    assert str(queue.full(NOW, None, 1, counted=True)).startswith("queue 'default' holds 3 live jobs")
    assert str(queue.full(NOW, None, 1, counted=True, detail="all full")) == "all full"
    assert tally.refused == {QueueFull: 5}


def test_a_client_that_comes_early_under_its_key_keeps_its_slot() -> None:
    queue, tally = mirror()
    ran(tally, run_s=10.0)
    counts(queue, running=1)
    keyed = Uniqueness("c", None, IdempotencyKey("k", b"1"))
    first = queue.retry_slot_s(NOW, keyed, 1, counted=False)
    again = queue.retry_slot_s(NOW + 5, keyed, 1, counted=False)
    assert again == pytest.approx(first - 5, rel=0.2)
    other = queue.retry_slot_s(NOW + 5, Uniqueness("d", None, IdempotencyKey("k", b"1")), 1, counted=False)
    assert other > again + 5


# -- estimates


def estimate(queue: QueueMirror, of: Job, position: int | None = None, now: float = NOW) -> Estimate:
    return queue.estimate(of, position, now, None)


def test_the_first_job_starts_at_once_only_if_a_worker_may_be_idle() -> None:
    for running, eta_s in ((3, 0.5), (4, 1 / (4 / 0.5) + 0.5)):
        queue, tally = mirror()
        ran(tally)
        counts(queue, queued=1, running=running)
        assert estimate(queue, job(), 1).eta_s == pytest.approx(eta_s)


def test_a_job_without_a_position_comes_after_all_that_wait() -> None:
    queue, tally = mirror()
    ran(tally)
    counts(queue, queued=8, running=4)
    assert estimate(queue, job()).eta_s == pytest.approx(8 / (4 / 0.5) + 0.5)
    assert estimate(queue, job(run_at=NOW + 60, state=JobState.DELAYED)).eta_s == pytest.approx(60 + 1.0 + 0.5)


def test_an_estimate_of_an_unknown_type_has_a_position_alone() -> None:
    queue, tally = mirror()
    ran(tally, "other")
    counts(queue, queued=1)
    told = estimate(queue, job(), 1)
    assert (told.position, told.eta_s, told.poll_after_s) == (1, None, 1.0)


def test_a_running_job_has_the_rest_of_a_typical_run() -> None:
    queue, tally = mirror()
    ran(tally, run_s=2.0)
    told = estimate(queue, job(state=JobState.RUNNING, started_at=NOW - 0.5))
    assert told.eta_s == told.poll_after_s == pytest.approx(1.5)
    told = estimate(queue, job(state=JobState.RUNNING, started_at=NOW - 3.0))
    assert told.eta_s is None
    assert told.poll_after_s == pytest.approx(1.5)


def test_a_job_that_waits_for_more_than_others_has_no_eta() -> None:
    queue, tally = mirror()
    ran(tally)
    told = queue.estimate(job(), 3, NOW, PAUSED)
    assert (told.position, told.eta_s, told.poll_after_s, told.waiting_for) == (3, None, 1.0, PAUSED)
