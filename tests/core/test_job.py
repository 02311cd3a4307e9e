from __future__ import annotations

import pytest

from jobqueue.build import build
from jobqueue.core.job import Job, JobId, JobSpec, JobState, StopReason
from jobqueue.core.job_extras import Extras
from jobqueue.core.report import ErrorCode, JobError, Progress, text_bytes
from jobqueue.core.stored_file import StoredFile
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
    head = 16 if build() == "pure" else 24  # a native object has a table of its methods
    assert new_job().__sizeof__() <= head + 16 * 8


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


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attempts_before", 3),
        ("progress", Progress(0.5)),
        ("stopping", StopReason.CANCELLED),
        ("error", JobError(ErrorCode.REJECTED, "no")),
        ("history", ()),
        ("held_bytes", 3),
        ("file", StoredFile("/spool/job-1/report.csv", "text/csv", 3)),
    ],
)
def test_the_first_value_of_a_rare_field_makes_the_extras(name: str, value: object) -> None:
    job = new_job()
    default = getattr(job, name)
    setattr(job, name, default)
    assert job.extras is None, "the default needs none"
    setattr(job, name, value)
    made = job.extras
    assert (made, getattr(job, name)) == (Extras(**{name: value}), value)  # type: ignore[arg-type]  # of any field
    setattr(job, name, default)
    assert (job.extras, getattr(job, name)) == (Extras(), default)
    assert job.extras is made


def test_a_move_changes_state_and_version_or_raises_an_error() -> None:
    job = new_job()
    job.move(JobState.RUNNING)
    job.move(JobState.QUEUED)
    assert (job.state, job.version) == (JobState.QUEUED, 2)
    with pytest.raises(ValueError, match=r"^job i{22} can't move from queued to succeeded$"):
        job.move(JobState.SUCCEEDED)
    assert (job.state, job.version) == (JobState.QUEUED, 2)


def test_a_text_has_four_bytes_for_each_character_unless_all_are_ascii() -> None:
    assert [text_bytes(text) for text in ("", "plain", "caf\u00e9")] == [0, 5, 16]


def test_a_retried_job_continues_its_attempt_count() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    assert job.attempts_max == 2
    for _ in range(2):
        driver.nack(job, driver.lease(job), FAILED)
        driver.advance(100)
    driver.engine.retry(job.id, now=driver.now)
    assert (job.attempts_before, job.attempts_max) == (2, 4)
