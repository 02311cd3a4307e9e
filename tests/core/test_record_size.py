"""The size of a record counts against the bound of the job store, by all fields that a client can make large."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueue.core.job import IdempotencyKey, JobSpec, Unique, Uniqueness
from jobqueue.core.record_size import EXTRAS_BYTES, FILE_BYTES, NAME_BYTES, SPEC_BYTES, TTL_BYTES, held_bytes
from jobqueue.core.store_bounds import StoreBounds
from jobqueue.core.stored_file import StoredFile, Upload
from jobqueue.errors import StatusesFull
from tests.core.making import Driver

PLAIN = JobSpec(type="t")


def upload_of(count: int, *, name: str = "file", media_type: str = "text/plain", filename: str = "") -> Upload:
    return Upload("f", {f"{name}{n}": (StoredFile("p", media_type, 1, filename),) for n in range(count)})


def test_a_plain_submission_holds_no_bytes_beside_its_arguments() -> None:
    assert held_bytes(PLAIN, None, None) == 0
    assert held_bytes(PLAIN, None, Uniqueness("10.0.0.7", plain=True)) == 0
    assert Driver().submit().extras is None


@pytest.mark.parametrize(
    ("more", "bytes_"),
    [
        ({"spec": JobSpec(type="t", group="g" * 200, own=True)}, 200),
        ({"spec": JobSpec(type="t", group="ö" * 200, own=True)}, 800),
        ({"spec": JobSpec(type="t", ttl_s=0.123, own=True)}, 500),
        ({"uniqueness": Uniqueness(unique=Unique("u" * 200))}, 200),
        ({"uniqueness": Uniqueness(key=IdempotencyKey("k" * 255, b""))}, 255),
        ({"upload": upload_of(16, name="n" * 56_000)}, 16 * 56_000),
        ({"upload": upload_of(16, media_type="m" * 10_000)}, 16 * 10_000),
        ({"upload": upload_of(16, filename="f" * 255)}, 16 * 255),
        ({"upload": upload_of(1000)}, 1000 * 100),
    ],
)
def test_large_fields_of_a_submission_count(more: dict[str, Any], bytes_: int) -> None:
    asked: dict[str, Any] = {"spec": PLAIN, "upload": None, "uniqueness": None} | more
    assert held_bytes(**asked) >= bytes_


def test_the_size_of_a_record_is_the_sum_of_its_parts() -> None:
    key, own = Uniqueness(key=IdempotencyKey("k" * 10, b"")), JobSpec(type="t", group="g", own=True)
    with_ttl = JobSpec(type="t", ttl_s=1.0, own=True)
    assert held_bytes(PLAIN, None, key) == NAME_BYTES + 10 + EXTRAS_BYTES
    assert held_bytes(own, None, None) == SPEC_BYTES + 1 + EXTRAS_BYTES
    called = JobSpec(type="t", own=True, callback="https://example.com/")
    assert held_bytes(called, None, None) == SPEC_BYTES + 20 + EXTRAS_BYTES
    assert held_bytes(with_ttl, None, None) == SPEC_BYTES + TTL_BYTES + EXTRAS_BYTES
    assert held_bytes(own, upload_of(2), key) == sum(
        (SPEC_BYTES + 1, 3 * FILE_BYTES + 2 * (5 + 10), NAME_BYTES + 10, EXTRAS_BYTES)
    )
    assert held_bytes(PLAIN, None, Uniqueness("10.0.0.7")) == 0, "a caller alone is the shared one"


def test_names_of_parts_count_against_the_bound() -> None:
    driver = Driver(capacity=1000, bounds=StoreBounds(bytes_max=10_000_000))
    upload = upload_of(16, name="n" * 56_000)
    for _ in range(11):
        driver.submit(upload=upload)
    with pytest.raises(StatusesFull):
        driver.submit(upload=upload)
    store = driver.engine.store
    assert 0.9 * 10_000_000 < store.bytes_used == store.live_bytes <= 10_000_000


def test_held_bytes_count_from_acceptance_to_eviction_through_failure_and_retry() -> None:
    driver = Driver()
    store = driver.engine.store
    job = driver.failed(args=b"12345", unique="u", key="k", group="g", own=True, ttl_s=5.0)
    held = job.held_bytes - job.history_bytes
    assert held > 1000
    assert store.bytes_used == job.size_bytes == 5 + held + job.history_bytes
    driver.retry(job)
    driver.lease(job)
    driver.ack(job)
    assert store.bytes_used == job.size_bytes == 1 + held + job.history_bytes
    driver.advance(10)
    assert (store.bytes_used, store.live_bytes) == (0, 0)


def test_a_debounced_job_counts_the_fields_of_its_newest_submission() -> None:
    driver = Driver()
    store = driver.engine.store
    job = driver.submit(unique="u", delay_s=1.0, own=True)
    before = job.held_bytes
    driver.submit(unique="u", mode="debounce", delay_s=1.0, own=True, group="g" * 200)
    assert job.held_bytes == before + 200
    driver.submit(unique="u", mode="debounce", delay_s=1.0, own=True)
    assert store.bytes_used == store.live_bytes == job.size_bytes == 2 + before
