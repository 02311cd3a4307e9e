from __future__ import annotations

import pytest

from jobqueue.core.job import ErrorCode, Job, JobError, JobId, JobSpec, JobState, Progress, StopReason
from tests.core.making import FAILED, Driver


def new_job() -> Job:
    return Job(
        id=JobId("i" * 22),
        spec=JobSpec(type="t", attempts_max=3),
        args=b"{}",
        upload=None,
        state=JobState.QUEUED,
        created_at=0.0,
        run_at=0.0,
    )


def test_a_job_without_rare_fields_has_no_extras() -> None:
    driver = Driver()
    job = driver.done()
    assert job.extras is None
    assert (job.progress, job.stopping, job.error, job.history, job.attempts_before) == (None, None, None, None, 0)


def test_the_size_of_a_record_is_that_of_its_common_fields() -> None:
    assert new_job().__sizeof__() <= 16 + 16 * 8


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("progress", Progress(0.5)),
        ("stopping", StopReason.CANCELLED),
        ("error", JobError(ErrorCode.REJECTED, "no")),
        ("history", ()),
        ("attempts_before", 2),
    ],
)
def test_rare_fields_are_read_as_they_were_set(name: str, value: object) -> None:
    job, other = new_job(), new_job()
    setattr(job, name, value)
    assert getattr(job, name) == value
    assert getattr(other, name) != value
    empty = 0 if name == "attempts_before" else None
    setattr(job, name, empty)
    setattr(other, name, empty)
    assert getattr(job, name) == empty
    assert other.extras is None, "no rare field was set"


def test_a_retried_job_continues_its_attempt_count() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    assert job.attempts_max == 2
    for _ in range(2):
        driver.nack(job, driver.lease(job), FAILED)
        driver.advance(100)
    driver.engine.retry(job.id, now=driver.now)
    assert (job.attempts_before, job.attempts_max) == (2, 4)
