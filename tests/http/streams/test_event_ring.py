"""The ring of events: the latest ones, found by number and by job, without an object for each."""

from __future__ import annotations

import random
import sys
from collections import deque

import pytest

from jobqueue.core.job import JobId, JobSpec, JobState
from jobqueue.core.report import ErrorCode, JobError, Progress
from jobqueue.http.streams.event_ring import EventRing, Recorded, Seen

SIZE = 16
SPEC = JobSpec(type="t")
JOBS = [JobId(f"{number:022d}") for number in range(5)]


def event(serial: int, job_id: JobId, owner: str | None = None) -> Recorded:
    progress = Progress(fraction=0.5) if serial % 3 == 0 else None
    seen = Seen(job_id, SPEC, JobState.RUNNING, 300 + serial, progress, None, serial / 7)
    return Recorded(serial, "started", seen, owner)


def of_type(serial: int) -> Recorded:
    return Recorded(serial, "quarantined", b'{"type":"t"}', None)


@pytest.mark.parametrize("seed", range(5))
def test_the_latest_events_are_found_by_number_and_by_job(seed: int) -> None:
    chance, ring, model = random.Random(seed), EventRing(SIZE), deque[Recorded](maxlen=SIZE)
    for serial in range(1, 120):
        one = of_type(serial) if chance.random() < 0.2 else event(serial, chance.choice(JOBS), chance.choice("ab"))
        ring.append(one)
        model.append(one)
        assert (ring.first, ring.last) == (model[0].serial, serial)
        assert [ring.at(each) for each in range(ring.first, ring.last + 1)] == list(model)
        assert [ring.owner_at(each.serial) for each in model] == [each.owner for each in model]
        after = chance.randrange(serial + 3)
        for job_id in JOBS:
            wanted = [each for each in model if isinstance(each.told, Seen) and each.told.id == job_id]
            assert list(ring.of_job(job_id)) == [each.serial for each in wanted]
            assert list(ring.of_job(job_id, after)) == [each.serial for each in wanted if each.serial > after]


@pytest.mark.parametrize("seed", range(5))
def test_a_compacted_ring_finds_the_same_events_as_json_and_goes_on(seed: int) -> None:
    chance, ring = random.Random(seed), EventRing(SIZE)
    for serial in range(1, chance.randrange(2, 60)):
        ring.append(of_type(serial) if chance.random() < 0.2 else event(serial, chance.choice(JOBS), "a"))
    before = [ring.at(each) for each in range(ring.first, ring.last + 1)]
    of_jobs = [list(ring.of_job(each)) for each in JOBS]
    ring.compact(lambda seen: f'"{seen.id} {seen.attempt}"'.encode())
    for was in before:
        now = ring.at(was.serial)
        told = f'"{was.told.id} {was.told.attempt}"'.encode() if isinstance(was.told, Seen) else was.told
        assert (now.serial, now.name, now.owner, now.told) == (was.serial, was.name, was.owner, told)
    assert [list(ring.of_job(each)) for each in JOBS] == of_jobs
    later = event(ring.last + 1, JOBS[0])
    ring.append(later)
    assert ring.at(later.serial) == later


def test_a_compacted_ring_keeps_no_object_of_a_job() -> None:
    ring, spec = EventRing(SIZE), JobSpec(type="t", group="g")
    error, progress = JobError(ErrorCode.REJECTED, "no"), Progress(fraction=0.5)
    ring.append(Recorded(1, "failed", Seen(JOBS[0], spec, JobState.FAILED, 1, progress, error, 0.0), None))
    held = [sys.getrefcount(each) for each in (spec, error, progress)]
    ring.compact(lambda seen: b"{}")
    assert [sys.getrefcount(each) for each in (spec, error, progress)] == [count - 1 for count in held]


def test_an_id_that_lies_across_two_others_is_not_found() -> None:
    ring = EventRing(SIZE)
    ring.append(event(1, JobId("a" * 22)))
    ring.append(event(2, JobId("b" * 22)))
    ring.append(event(3, JobId("a" * 11 + "b" * 11)))
    assert list(ring.of_job("a" * 11 + "b" * 11)) == [3]
    assert list(ring.of_job("a" * 22)) == [1]


def test_a_cleared_ring_is_empty_and_counts_on() -> None:
    ring = EventRing(SIZE)
    for serial in (1, 2, 3):
        ring.append(event(serial, JOBS[0]))
    ring.clear()
    assert (ring.first, ring.last) == (4, 3)
    assert list(ring.of_job(JOBS[0])) == []
    ring.append(event(4, JOBS[0]))
    assert list(ring.of_job(JOBS[0])) == [4]


def test_events_of_jobs_that_are_gone_keep_no_objects() -> None:
    ring = EventRing(4096)
    ring.append(event(1, JobId("first".ljust(22))))
    before = sys.getallocatedblocks()
    for serial in range(2, 6000):
        ring.append(
            Recorded(
                serial,
                "started",
                Seen(JobId(f"{serial:022d}"), SPEC, JobState.RUNNING, serial, None, None, serial / 7),
                "a",
            )
        )
    assert sys.getallocatedblocks() - before < 200
