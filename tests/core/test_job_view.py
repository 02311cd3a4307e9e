"""Views: copies of records that later changes don't reach."""

from __future__ import annotations

import msgspec

from jobqueue.core.job import JobState, StopReason
from jobqueue.core.job_view import JobView, view_of
from jobqueue.core.report import Progress, Success
from jobqueue.core.stored_file import StoredFile, Upload
from tests.core.making import FAILED, Driver

FIELDS = tuple(field for field in JobView.__struct_fields__ if field != "extras")


def test_a_view_has_every_field_of_its_record() -> None:
    driver = Driver()
    plain = driver.submit()
    upload = Upload("/spool/up-1", {"a": (StoredFile("/spool/up-1/file-0", "text/plain", 1, "a.txt"),)})
    full = driver.submit(caller="c", key="k", attempts_max=2, start_by_s=50.0, upload=upload)
    driver.lease(full)
    driver.engine.report(full.id, attempt=1, progress=Progress(0.5))
    driver.nack(full)
    driver.advance(60.0)
    driver.lease(full)
    driver.ack(full, success=Success(b"2", StoredFile("/spool/up-1/result-2", "text/plain", 2, "result-2")))
    for job in (plain, full):
        view = view_of(job)
        assert {name: getattr(view, name) for name in FIELDS} == {name: getattr(job, name) for name in FIELDS}
        assert view.extras == job.extras
        assert view_of(view) == view


def test_a_view_keeps_the_state_of_its_instant() -> None:
    driver = Driver()
    job = driver.submit(attempts_max=2)
    driver.lease(job)
    driver.engine.report(job.id, attempt=1, progress=Progress(0.5))
    view = view_of(job)
    before = msgspec.structs.asdict(view)
    driver.engine.report(job.id, attempt=1, progress=Progress(0.9))
    driver.cancel(job)
    driver.nack(job)
    assert job.state is JobState.CANCELLED
    assert msgspec.structs.asdict(view) == before
    assert (view.state, view.progress, view.stopping) == (JobState.RUNNING, Progress(0.5), None)


def test_a_view_reads_its_rare_fields_as_its_record_does() -> None:
    driver = Driver()
    plain, stopping, retried = driver.submit(), driver.submit(caller="c"), driver.failed(FAILED, attempts_max=1)
    driver.lease(stopping)
    driver.engine.report(stopping.id, attempt=1, progress=Progress(0.5))
    driver.cancel(stopping)
    failed = driver.failed()
    driver.retry(retried)
    names = ("live", "caller", "attempts_before", "attempts_max", "progress", "stopping", "error", "history")
    for job in (plain, stopping, failed, retried):
        view = view_of(job)
        assert {name: getattr(view, name) for name in names} == {name: getattr(job, name) for name in names}
    assert view_of(stopping).stopping is StopReason.CANCELLED
    assert (view_of(retried).attempts_before, view_of(retried).attempts_max) == (1, 2)
    assert view_of(failed).history
    assert view_of(failed).error
