"""The cache of records that have ended."""

from __future__ import annotations

from jobqueue.backend.valkey.cache import RECORD_BYTES, EndedCache
from jobqueue.core.job import Job, JobId, JobSpec, JobState
from jobqueue.core.job_view import JobView, view_of
from jobqueue.testing import ManualClock


def record(name: str, result: bytes = b"", *, ttl_s: float | None = None, finished_at: float = 0.0) -> JobView:
    job = Job(
        id=JobId(name),
        spec=JobSpec(type="t", ttl_s=ttl_s),
        args=b"",
        upload=None,
        state=JobState.SUCCEEDED,
        created_at=0.0,
        run_at=0.0,
        finished_at=finished_at,
        result=result,
    )
    return view_of(job)


def test_a_record_is_kept_for_its_time() -> None:
    now = ManualClock()
    cache = EndedCache(1.0, now)
    first = record("a")
    cache.keep(first)
    now.advance(0.9)
    assert cache.get("a") is first
    assert cache.get("b") is None
    now.advance(0.1)
    assert cache.get("a") is None
    assert len(cache) == 0


def test_a_record_is_kept_no_longer_than_its_own_ttl() -> None:
    now = ManualClock()
    cache = EndedCache(60.0, now)
    began = now()
    cache.keep(record("a", ttl_s=2.0, finished_at=began - 1.0))
    cache.keep(record("b", ttl_s=100.0, finished_at=began))
    cache.keep(record("gone", ttl_s=2.0, finished_at=began - 3.0))
    assert [cache.get(name) is not None for name in ("a", "b", "gone")] == [True, True, False]
    now.advance(1.0)
    assert [cache.get(name) is not None for name in ("a", "b")] == [False, True]
    now.advance(59.0)
    assert cache.get("b") is None


def test_old_records_make_way_as_others_come() -> None:
    now = ManualClock()
    cache = EndedCache(1.0, now, jobs_max=3)
    for name in "abcd":
        cache.keep(record(name))
    assert [cache.get(name) is not None for name in "abcd"] == [False, True, True, True]
    now.advance(2.0)
    cache.keep(record("e"))
    assert len(cache) == 1


def test_records_of_many_bytes_make_way() -> None:
    cache = EndedCache(1.0, ManualClock(), bytes_max=3 * RECORD_BYTES)
    for name in "ab":
        cache.keep(record(name, b"1" * (RECORD_BYTES // 2)))
    cache.keep(record("c"))
    assert [cache.get(name) is not None for name in "abc"] == [False, True, True]
    cache.keep(record("d", b"1" * 4 * RECORD_BYTES))
    assert len(cache) == 0, "it is larger than the cache"


def test_a_dropped_record_and_its_bytes_are_forgotten() -> None:
    cache = EndedCache(1.0, ManualClock(), bytes_max=2 * RECORD_BYTES)
    cache.keep(record("a"))
    cache.keep(record("a"))
    cache.keep(record("b"))
    assert cache.get("a") is not None, "its bytes count once"
    cache.drop("a")
    cache.drop("none")
    assert (cache.get("a"), len(cache)) == (None, 1)
    cache.clear()
    assert len(cache) == 0


def test_a_cache_without_time_keeps_nothing() -> None:
    cache = EndedCache(0.0, ManualClock())
    cache.keep(record("a"))
    assert cache.get("a") is None
