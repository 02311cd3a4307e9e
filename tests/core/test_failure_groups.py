"""Groups of failed jobs: their counts, and the bounds of their number."""

from __future__ import annotations

from typing import Any

from jobqueue.core.failure_groups import (
    BUCKETS,
    FAILURE_SAMPLE_MAX,
    GROUPS_MAX,
    GROUPS_OF_TYPE_MAX,
    STEP_S_MAX,
    FailureGroups,
    Failures,
)
from jobqueue.core.job import JobSpec, JobState
from jobqueue.core.report import ErrorCode, JobError
from tests.core.test_job_filter import made

NOW = 1000.0


def failed(message: str, at: float, type: str = "t", id: str = "id") -> Any:
    job = made(spec=JobSpec(type=type), id=id, state=JobState.FAILED, finished_at=at)
    job.error = JobError(ErrorCode.HANDLER_ERROR, message)
    return job


def grouped(*jobs: Any, since: float = NOW - BUCKETS) -> Failures:
    groups = FailureGroups(now=NOW, since=since)
    for job in jobs:
        groups.add(job)
    return groups.found(True)


def letters(number: int) -> str:
    """Return a word of its own, without a digit, for each number."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(number))


def test_jobs_of_one_error_are_one_group_with_the_newest_as_its_sample() -> None:
    found = grouped(*(failed(f"user {n} is gone", NOW - n, id=f"id{n}") for n in range(10)))
    (group,) = found.groups
    assert (group.count, group.message, group.first_at, group.last_at) == (10, "user # is gone", NOW - 9, NOW)
    assert group.sample == [f"id{n}" for n in range(FAILURE_SAMPLE_MAX)]
    assert found.other is None


def test_each_failure_is_counted_in_the_bucket_of_its_time() -> None:
    found = grouped(failed("x", NOW), failed("x", NOW - 0.5), failed("x", NOW - 2.5), failed("x", NOW - 29.5))
    assert (found.at, found.step_s) == (NOW, 1)
    assert found.groups[0].counts == [1, *[0] * 26, 1, 0, 2]


def test_buckets_reach_back_to_the_oldest_failure() -> None:
    for age_s, step_s in ((0.0, 1), (30.0, 1), (31.0, 2), (3600.0, 120), (400_000.0, 14_400), (1e9, STEP_S_MAX)):
        found = grouped(failed("x", NOW - min(age_s, 900.0)), since=NOW - age_s)
        assert found.step_s == step_s
        assert sum(found.groups[0].counts) == 1


def test_groups_come_newest_first() -> None:
    found = grouped(failed("c", NOW - 1), failed("b", NOW - 2), failed("a", NOW - 3), failed("c", NOW - 4))
    assert [group.message for group in found.groups] == ["c", "b", "a"]


def test_messages_of_one_type_that_all_differ_leave_the_other_types_their_groups() -> None:
    jobs = [failed(letters(n), NOW - n / 1000, type="noisy") for n in range(5000)]
    found = grouped(*jobs, failed("the real one", NOW - 6, type="mail"))
    assert len(found.groups) == GROUPS_OF_TYPE_MAX + 1
    assert found.groups[-1].message == "the real one"
    assert found.other is not None
    assert found.other.count == 5000 - GROUPS_OF_TYPE_MAX
    assert (found.other.last_at, found.other.first_at) == (NOW - 0.1, NOW - 4.999)


def test_there_are_never_more_groups_than_allowed() -> None:
    jobs = [failed(letters(n), NOW - n / 1000, type=f"t{n % 50}") for n in range(2 * GROUPS_MAX)]
    found = grouped(*jobs)
    assert len(found.groups) == GROUPS_MAX
    assert found.other is not None
    assert found.other.count == GROUPS_MAX


def test_a_repeated_message_costs_one_unit_and_a_new_one_more() -> None:
    groups = FailureGroups(now=NOW, since=NOW)
    job = failed("x" * 1000, NOW)
    assert groups.cost(job) > 50
    groups.add(job)
    assert groups.cost(job) == 1
