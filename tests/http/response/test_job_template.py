"""Documents written by template equal those of `JobDocument`, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobqueue import JobQueue
from jobqueue.core.job import LIVE, TERMINAL, Job, JobId, JobSpec, JobState, StopReason
from jobqueue.core.job_extras import Extras
from jobqueue.core.report import ErrorCode, FailedAttempt, JobError, Progress
from jobqueue.core.scheduling.eta import PAUSED, Estimate
from jobqueue.http.response import documents, job_template
from jobqueue.http.response.documents import job_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.service import Service

WALL = 1_700_000_000.25

instants = st.floats(0, 1e9) | st.integers(0, 10**9).map(float)
estimates = st.builds(
    Estimate,
    position=st.none() | st.integers(1, 10**9),
    eta_s=st.none() | st.floats(0, 1e9) | st.sampled_from([0.0, 1e-9, 0.001, 1.0, 999_999_999.0]),
    poll_after_s=st.floats(0.0, 1e6),
)
specs = st.builds(
    lambda **options: JobSpec(**options),  # without annotations, which a native class has none of
    type=st.text(min_size=1),
    queue=st.text(min_size=1),
    group=st.none() | st.text(min_size=1),
    priority=st.integers(0, 9),
    attempts_max=st.integers(1, 100),
)


@st.composite
def plain_jobs(draw: st.DrawFn, states: frozenset[JobState]) -> Job:
    created = draw(instants)
    started = draw(st.none() | st.just(created) | instants)  # those of short jobs are the same
    state = draw(st.sampled_from(sorted(states)))
    return Job(
        id=JobId(draw(st.text("0123456789abcdefghjkmnpqrstvwxyz", min_size=26, max_size=26))),
        spec=draw(specs),
        args=b"{}",
        upload=None,
        state=state,
        created_at=created,
        run_at=draw(st.just(created) | instants),
        attempt=draw(st.integers(0, 10**6)),
        started_at=started,
        finished_at=draw(instants if started is None else st.just(started) | instants) if state in TERMINAL else None,
        result=draw(st.none() | st.sampled_from([b"null", b'{"a":"\xc3\xa9"}', b"1e400"])),
    )


@pytest.fixture(scope="module")
def service() -> Service:
    service = JobQueue().service
    service.wall_offset_s = lambda: WALL
    return service


def whole(job: Job, service: Service, estimate: Estimate | None) -> bytes:
    """Return the document as the struct encodes it."""
    return msgspec.json.encode(documents._whole_document(job, service, estimate, WALL))


@given(job=plain_jobs(TERMINAL))
def test_the_template_of_a_terminal_job_gives_the_bytes_of_its_struct(job: Job, service: Service) -> None:
    assert job_template.terminal_document(job, WALL) == whole(job, service, None) == job_document(job, service, None)


@given(job=plain_jobs(LIVE), estimate=estimates)
def test_the_template_of_a_live_job_gives_the_bytes_of_its_struct(
    job: Job, service: Service, estimate: Estimate
) -> None:
    job.result = None
    expected = whole(job, service, estimate)
    assert job_template.live_document(job, WALL, estimate) == expected == job_document(job, service, estimate)


def plain_job(spec: JobSpec) -> Job:
    return Job(id=JobId("a"), spec=spec, args=b"{}", upload=None, state=JobState.QUEUED, created_at=1.0, run_at=1.0)


extras = st.builds(
    lambda **fields: Extras(**fields),
    attempts_before=st.sampled_from([0, 0, 2]),
    progress=st.none() | st.just(Progress(0.5, "half")),
    stopping=st.none() | st.just(StopReason.CANCELLED),
    error=st.none() | st.just(JobError(ErrorCode.TIMED_OUT, "late")),
    history=st.sampled_from([None, (), (FailedAttempt(1, 1.0, 2.0, ErrorCode.TIMED_OUT, "late", None),)]),
    held_bytes=st.integers(0, 10**6),
)


@given(job=plain_jobs(LIVE | TERMINAL), extras=extras, estimate=estimates)
def test_a_job_with_any_extras_has_the_document_of_its_struct(
    job: Job, service: Service, extras: Extras, estimate: Estimate
) -> None:
    job.extras = extras
    told = estimate if job.live else None
    if job.live:
        job.result = None
    assert job_document(job, service, told) == whole(job, service, told)


def test_extras_that_only_count_bytes_leave_a_job_plain_unless_it_has_a_spec_of_its_own(service: Service) -> None:
    job = plain_job(JobSpec(type="echo"))
    job.extras = Extras(held_bytes=400)
    assert job_template.is_plain(job)
    job.spec = JobSpec(type="echo", own=True)
    assert not job_template.is_plain(job)


def with_extras(job: Job) -> Estimate:
    job.extras = Extras(attempts_before=3)
    return Estimate(1, 1.0, 1.0)


def paused(job: Job) -> Estimate:
    return Estimate(1, 1.0, 1.0, PAUSED)


def at_an_instant(job: Job) -> Estimate:
    job.spec = JobSpec(type="echo", run_at=1.000001)
    job.run_at = 1.000001
    return Estimate(1, 1.0, 1.0)


@pytest.mark.parametrize(
    ("change", "member"),
    [
        (with_extras, b'"attempts_max":4'),
        (paused, b'"waiting_for":{"reason":"queue-paused","retry_at":null}'),
        (at_an_instant, b'"run_at":"2023-11-14T22:13:21.250001Z"'),
    ],
)
def test_a_job_that_is_not_plain_has_a_whole_document(
    change: Callable[[Job], Estimate], member: bytes, service: Service
) -> None:
    job = plain_job(JobSpec(type="echo"))
    estimate = change(job)
    document = job_document(job, service, estimate)
    assert document == whole(job, service, estimate)
    assert member in document


def test_parts_of_specs_are_kept_up_to_a_bound_and_never_mixed_up(service: Service) -> None:
    for number in range(2 * job_template.SPECS_MAX):  # each spec is freed, and its id() is reused
        job = plain_job(JobSpec(type=f"type-{number}"))
        assert b'"type":"type-%d"' % number in job_document(job, service, Estimate(1, 1.0, 1.0))
        assert len(job_template._parts) <= job_template.SPECS_MAX
