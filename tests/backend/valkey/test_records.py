"""What the store holds of jobs, and how it is read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from jobqueue.backend.valkey.clock import StoreClock
from jobqueue.backend.valkey.layout import lost_attempt, place_of
from jobqueue.backend.valkey.records import CLAIMS_READ, SPEC_READ, Records, position_of
from jobqueue.core.job import IdempotencyKey, JobSpec, JobState, StopReason, Unique, Uniqueness
from jobqueue.core.policy import Limits
from jobqueue.core.quotas import Quota, Quotas
from jobqueue.core.rate import Rate
from jobqueue.core.record import changed
from jobqueue.core.report import ErrorCode, FailedAttempt, JobError, Progress
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.testing import ManualClock
from tests.backend.valkey.stored import record

STORE_MS = 1_800_000_000_000
FREE = Quotas()
SPECS = [
    JobSpec(type="t"),
    JobSpec(type="é", queue="q", priority=9, group="g", delay_s=1.5, start_by_s=2.0, ttl_s=60.0, own=True),
    JobSpec(type="t", timeout_s=0.25, own_timeout=True, own=True, attempts_max=5, traceparent="00-a-b-01"),
    JobSpec(type="t", delay_s=30.0, run_at=130.0, own=True),
    JobSpec(type="t", own=True, scheduled=("nightly", 1_772_445_600.0)),
    JobSpec(type="t", own=True, scheduled=("nightly", None)),
]


def records() -> Records:
    clock = StoreClock(ManualClock(100.0))
    clock.hear(STORE_MS)
    return Records(clock, lambda spec: spec)


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_comes_back_in_another_process(spec: JobSpec) -> None:
    assert records().spec(records().spec_blob(spec)) == spec


def test_the_elements_for_the_functions_come_first_in_a_spec() -> None:
    limited = JobSpec(type="t", pool="thread", limits=Limits(concurrency=1), delay_s=0.0001, run_at=100.5)
    assert msgspec.msgpack.decode(records().spec_blob(limited))[:SPEC_READ] == [
        *("t", "thread", 1, 0, 1, STORE_MS + 500, None, None, 1, None)
    ]


@pytest.mark.parametrize(
    ("limits", "group", "code"),
    [
        (None, "g", 0),
        (Limits(), "g", 0),
        (Limits(rate=Rate(1, 1.0)), "g", 1),
        (Limits(group_concurrency=1), None, 0),
        (Limits(group_concurrency=1), "g", 2),
        (Limits(concurrency=1, group_rate=Rate(1, 1.0)), "g", 2),
        (Limits(concurrency=1, group_rate=Rate(1, 1.0)), None, 1),
    ],
)
def test_a_spec_tells_whether_its_type_or_its_group_has_limits(
    limits: Limits | None, group: str | None, code: int
) -> None:
    assert msgspec.msgpack.decode(records().spec_blob(JobSpec(type="t", limits=limits, group=group)))[2] == code


def test_a_spec_has_the_limits_of_its_handler_here() -> None:
    handler = JobSpec(type="t", limits=Limits(concurrency=3))
    clock = StoreClock(ManualClock(100.0))
    reader = Records(clock, lambda stored: changed(stored, limits=handler.limits))
    blob = records().spec_blob(JobSpec(type="t"))
    assert reader.spec(blob) == handler
    assert reader.spec(blob) is reader.spec(blob), "read once"


@pytest.mark.parametrize(
    ("uniqueness", "upload"),
    [
        (None, None),
        (Uniqueness("ann", plain=True), None),
        (Uniqueness("key:ann", plain=True, owner="key:ann"), None),
        (Uniqueness("ann", Unique("u", "debounce"), IdempotencyKey("k", b"\x00\xff")), None),
        (None, Upload("folder", {"a": (StoredFile("folder/a", "text/plain", 3, "a.txt"),), "b": ()})),
        (Uniqueness("ann", plain=True), Upload("folder", {})),
    ],
)
def test_claims_come_back(uniqueness: Uniqueness | None, upload: Upload | None) -> None:
    blob = records().claims_blob(uniqueness, upload, FREE)
    assert records().claims(blob) == (uniqueness, upload)
    assert (blob == b"") == (uniqueness is None and upload is None)


def test_claims_tell_the_quota_of_their_caller() -> None:
    quotas = Quotas(Quota(jobs_max=3), {"ann": Quota(jobs_max=1, records_max=2, bytes_max=3)})
    for caller, quota in (("ann", [1, 2, 3]), ("bob", [3, None, None])):
        blob = records().claims_blob(Uniqueness(caller, plain=True), None, quotas)
        assert msgspec.msgpack.decode(blob)[CLAIMS_READ - 3 :] == quota


def waiting(**given: Any) -> bytes:
    """Return a record that waits, but for these fields."""
    spec = records().spec_blob(JobSpec(type="t", attempts_max=3))
    of = {"s": b"q", "v": 2, "x": 2, "i": 7, "c": STORE_MS, "d": STORE_MS, "r": STORE_MS, "q": b"default", "b": b"~"}
    return record(**(of | {"S": spec, "A": b"{}"} | given))


def test_an_identity_that_submissions_share_is_packed_once_for_each_quota() -> None:
    written, ann, bounded = records(), Uniqueness("ann", plain=True), Quotas(Quota(jobs_max=5))
    free = written.claims_blob(ann, None, FREE)
    assert written.claims_blob(ann, None, FREE) is free
    assert msgspec.msgpack.decode(written.claims_blob(ann, None, bounded))[6] == 5
    assert written.claims_blob(ann, None, FREE) == free
    upload = Upload("folder", {})
    assert written.claims_blob(ann, upload, FREE) != free
    assert written.claims_blob(Uniqueness("bob", plain=True), None, FREE) != free


def test_a_record_that_waits_is_read() -> None:
    told = [waiting(), 3, b"{}", b"", b""]
    job = records().job("id", told)
    assert (job.id, job.state, job.version, job.args, job.result) == ("id", JobState.QUEUED, 2, b"{}", None)
    assert (job.created_at, job.started_at, job.finished_at, job.start_by_at) == (100.0, None, None, None)
    assert (job.extras, job.uniqueness, position_of(told), place_of(told[0])) == (None, None, 3, 7)


def test_a_record_with_every_field_is_read() -> None:
    encode = msgspec.msgpack.encode
    entry = encode([1, STORE_MS, STORE_MS + 1000, "handler_error", "boom"])
    other = encode([2, STORE_MS, STORE_MS + 2000, "timed_out", "late", "trace"])
    frames = b"".join(len(each).to_bytes(4, "big") + each for each in (entry, other))
    text = waiting(
        **{"s": b"f", "a": 2, "n": 1, "o": STORE_MS + 500, "f": STORE_MS + 1500, "t": STORE_MS + 9000, "rc": 2},
        **{"st": b"cancelled", "P": records().progress_blob(Progress(0.5, "half")), "h": 2, "y": 0, "w": b"p1"},
        E=encode(["timed_out", "late"]),
    )
    job = records().job("id", [text, -1, b"{}", b"", frames])
    assert lost_attempt(text) == 2
    assert (job.started_at, job.finished_at, job.start_by_at) == (100.5, 101.5, 109.0)
    assert (job.attempts_before, job.stopping, job.progress) == (1, StopReason.CANCELLED, Progress(0.5, "half"))
    assert job.result == b"", "an empty one is one"
    assert job.error == JobError(ErrorCode.TIMED_OUT, "late")
    assert job.history == (
        FailedAttempt(1, 100.0, 101.0, ErrorCode.HANDLER_ERROR, "boom", None),
        FailedAttempt(2, 100.0, 102.0, ErrorCode.TIMED_OUT, "late", "trace"),
    )


def test_a_record_alone_has_short_arguments_and_results_and_no_history() -> None:
    job = records().job("id", waiting(s=b"s", a=1, A=b"", x=100, R=b"12", y=2, h=1))
    assert (job.state, job.args, job.result, job.history) == (JobState.SUCCEEDED, b"", b"12", None)
