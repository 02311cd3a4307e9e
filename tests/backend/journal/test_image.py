from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.backend.journal.gathered import SMALL_BYTES, Gathered
from jobqueue.backend.journal.image import Image
from jobqueue.backend.journal.recorder import Recorder
from jobqueue.backend.journal.records import BEGIN, JOB, PROCESS, RAN, SPEC, START, SUBMIT, SUCCESS, body_of
from jobqueue.core.events import Submitted
from jobqueue.core.job import IdempotencyKey, JobSpec, JobState, StopReason, Unique, Uniqueness
from jobqueue.core.record import changed
from jobqueue.core.report import Success
from jobqueue.core.stored_file import StoredFile
from jobqueue.core.uniqueness import SHARED_MAX
from tests.backend.journal.differences import of_job
from tests.backend.journal.world import HANDLERS, OFFSET_S, QUEUES, JournalDriver, spec_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.core.job import Job


class Recording:
    """A driver with a recorder, and the bodies of its records, one an operation."""

    def __init__(self) -> None:
        self.driver = JournalDriver(queues=QUEUES)
        engine = self.driver.engine
        self.gathered = Gathered()
        self.records = self.gathered.records
        self.recorder = Recorder(
            self.gathered, engine=engine, ids=engine._ids, configured=QUEUES.__getitem__, offset_s=OFFSET_S
        )
        self.driver.hear = self.recorder.hear
        self.recorder.begin(self.driver.now, starts=[])

    def image(self, times: int = 1) -> Image:
        """Return the image of all records, read so many times."""
        image = Image(spec_of, offset_s=OFFSET_S)
        for _ in range(times):
            image.apply(body_of(self.records).data)
        return image


def test_an_empty_journal_is_clean_and_has_no_position() -> None:
    image = Image(spec_of, offset_s=OFFSET_S)
    assert (image.clean, image.position, image.jobs, image.starts) == (True, "", {}, [])


def test_starts_count_until_a_clean_stop() -> None:
    recording = Recording()
    recording.recorder.process(1000.0)
    recording.recorder.begin(1001.0, starts=[OFFSET_S + 1000.0])
    recording.recorder.process(1002.0)
    image = recording.image()
    assert (image.clean, image.starts) == (False, [OFFSET_S + 1000.0, OFFSET_S + 1002.0])
    recording.recorder.clean(1003.0)
    image = recording.image()
    assert (image.clean, image.starts) == (True, [])
    recording.recorder.begin(1004.0, starts=[])
    assert not recording.image().clean, "a process that begins a log has not stopped"


def test_specs_that_jobs_share_are_written_once_in_each_log() -> None:
    recording = Recording()
    engine, now = recording.driver.engine, recording.driver.now
    for _ in range(3):
        engine.submit(HANDLERS["plain"], b"{}", None, now=now)
    recording.driver.note_events()
    once = len(recording.records)
    assert once == 1 + 1 + 3
    recording.recorder.begin(now, starts=[])
    engine.submit(HANDLERS["plain"], b"{}", None, now=now)
    recording.driver.note_events()
    assert len(recording.records) == once + 1 + 2
    jobs = list(recording.image().jobs.values())
    assert len(jobs) == 4
    assert {job.spec for job in jobs} == {HANDLERS["plain"]}


def test_equal_specs_of_their_own_become_one_object() -> None:
    recording = Recording()
    for _ in range(3):
        spec = changed(HANDLERS["plain"], priority=4, own=True)
        recording.driver.engine.submit(spec, b"{}", None, now=recording.driver.now)
    recording.driver.note_events()
    first, *others = recording.image().jobs.values()
    assert first.spec.priority == 4
    assert all(job.spec is first.spec for job in others)


def test_jobs_of_one_caller_share_their_identity() -> None:
    recording = Recording()
    for _ in range(2):
        plain = Uniqueness("ann", plain=True, owner="ann")
        recording.driver.engine.submit(HANDLERS["plain"], b"{}", None, plain, now=1000.25)
    recording.driver.note_events()
    image = recording.image()
    one, other = image.jobs.values()
    assert one.uniqueness is other.uniqueness
    assert one.created_at == other.created_at == one.run_at == 1000.25
    assert image.has_owners


def test_only_the_latest_shared_keys_of_a_job_are_kept() -> None:
    recording = Recording()
    engine, now = recording.driver.engine, recording.driver.now
    spec = HANDLERS["plain"]
    holder = engine.submit(spec, b"{}", None, Uniqueness("ann", Unique("u")), now=now).job
    for number in (*range(SHARED_MAX + 1), 0, 1):
        uniqueness = Uniqueness("ann", Unique("u"), IdempotencyKey(f"k{number}", b"print"))
        assert engine.submit(spec, b"{}", None, uniqueness, now=now).job is holder
    recording.driver.note_events()
    for _ in range(2):
        image = recording.image()
        image.apply(body_of(recording.records).data)
        names = [(caller, key) for caller, key, _ in engine.uniqueness_index.shared_keys(holder.id)]
        assert list(image.shared[holder.id]) == names
        assert names[0] == ("ann", "k3")
        assert names[-3:] == [("ann", f"k{SHARED_MAX}"), ("ann", "k0"), ("ann", "k1")]


def test_a_record_that_has_moved_on_before_its_event_is_written_whole() -> None:
    recording = Recording()
    engine, now = recording.driver.engine, recording.driver.now
    job = engine.submit(HANDLERS["limited"], b"{}", None, now=now).job
    events = engine.take_events()
    recording.driver.lease(job)
    recording.records[1:] = []
    for event in events:
        recording.recorder.hear(event)
    assert Submitted in map(type, events)
    image = recording.image()
    assert image.jobs[job.id].state is JobState.RUNNING
    assert list(of_job(image.jobs[job.id], job, now)) == []


def run_one(
    recording: Recording, success: Success, between: Callable[[], object] = lambda: None, *, args: bytes = b"{}"
) -> Job:
    """Run a job to its success. Args: between: Called while it runs."""
    driver = recording.driver
    job = driver.engine.submit(HANDLERS["limited"], args, None, now=driver.now).job
    driver.note_events()
    driver.lease(job)
    driver.note_events()
    between()
    driver.engine.ack(job.id, attempt=job.attempt, success=success, now=driver.now + 1)
    driver.note_events()
    return job


@pytest.mark.parametrize("success", [Success(b"1"), Success(b"1", StoredFile("a/result", "text/plain", 9))])
def test_an_attempt_during_which_nothing_else_happens_is_one_record(success: Success) -> None:
    recording = Recording()
    job = run_one(recording, success)
    assert [record[0] for record in recording.records] == [BEGIN, SPEC, SUBMIT, RAN]
    for image in (recording.image(), recording.image(times=2)):
        assert list(of_job(image.jobs[job.id], job, recording.driver.now)) == []


def test_an_attempt_during_which_records_are_written_is_two_records() -> None:
    recording = Recording()
    driver = recording.driver
    job = run_one(recording, Success(b"1"), lambda: recording.recorder.process(driver.now))
    assert [record[0] for record in recording.records] == [BEGIN, SPEC, SUBMIT, START, PROCESS, SUCCESS]
    assert list(of_job(recording.image().jobs[job.id], job, driver.now)) == []


def test_a_success_right_after_the_start_of_another_job_is_its_own() -> None:
    recording = Recording()
    driver = recording.driver
    first, second = (driver.engine.submit(HANDLERS["plain"], b"{}", None, now=driver.now).job for _ in range(2))
    driver.note_events()
    for job in (first, second):
        driver.lease(job)
        driver.note_events()
    driver.engine.ack(first.id, attempt=1, success=Success(b"1"), now=driver.now)
    driver.note_events()
    assert [record[0] for record in recording.records[-3:]] == [START, START, SUCCESS]
    for job in (first, second):
        assert list(of_job(recording.image().jobs[job.id], job, driver.now)) == []


def test_an_attempt_with_a_start_that_is_encoded_already_is_two_records() -> None:
    recording = Recording()
    kept = list[Any]()

    def commit() -> None:
        kept.extend(recording.records)
        recording.records.clear()

    job = run_one(recording, Success(b"1"), commit)
    assert [record[0] for record in (*kept, *recording.records)] == [BEGIN, SPEC, SUBMIT, START, SUCCESS]
    recording.records[:0] = kept
    assert list(of_job(recording.image().jobs[job.id], job, recording.driver.now)) == []


@pytest.mark.parametrize("file", [None, StoredFile("a/result", "text/plain", 9)])
def test_a_long_result_has_a_record_of_its_own(file: StoredFile | None) -> None:
    recording = Recording()
    job = run_one(recording, Success(b"1" * (SMALL_BYTES + 1), file))
    assert [record[0] for record in recording.records] == [BEGIN, SPEC, SUBMIT, START, SUCCESS]
    for image in (recording.image(), recording.image(times=2)):
        assert list(of_job(image.jobs[job.id], job, recording.driver.now)) == []


@pytest.mark.parametrize(
    ("args", "result", "measured"),
    [(SMALL_BYTES, SMALL_BYTES, False), (SMALL_BYTES + 1, 1, True), (2, SMALL_BYTES + 1, True)],
)
def test_records_with_long_arguments_or_results_are_measured_at_the_end_of_their_iteration(
    args: int, result: int, measured: bool
) -> None:
    recording = Recording()
    gathered = recording.gathered
    run_one(recording, Success(b"1"))  # with the record of its spec
    gathered.end_iteration()
    before = gathered.size_bytes
    run_one(recording, Success(b"1" * result), args=b"2" * args)
    gathered.end_iteration()
    assert (gathered.size_bytes > before) is measured
    run_one(recording, Success(b"1" * result), gathered.end_iteration, args=b"2" * args)
    before = gathered.size_bytes
    gathered.end_iteration()
    assert (gathered.size_bytes > before) is (result > SMALL_BYTES), "without the start before it"


def test_records_that_are_older_than_their_job_change_nothing() -> None:
    recording = Recording()
    driver, engine = recording.driver, recording.driver.engine
    job = engine.submit(HANDLERS["plain"], b"{}", None, now=driver.now).job
    driver.lease(job)
    driver.nack(job)
    driver.run_now(job)
    driver.lease(job)
    image = recording.image()
    known = image.jobs[job.id]
    assert known.version == 4
    for record in recording.records[2:-1]:
        before = changed(known)
        image.apply(body_of([record]).data)
        assert image.jobs[job.id] == before
    image.apply(body_of([[JOB, job.id, 3, "failed", 0, b"", 0, 0, 1]]).data)
    assert image.jobs[job.id] is known


def test_the_newest_instant_is_one_that_has_passed() -> None:
    recording = Recording()
    driver, engine = recording.driver, recording.driver.engine
    engine.submit(changed(HANDLERS["plain"], delay_s=500.0, own=True), b"{}", None, now=driver.now)
    job = engine.submit(HANDLERS["plain"], b"{}", None, now=driver.now).job
    driver.now += 3.0
    driver.lease(job)
    newest = [recording.image().found().newest_at]
    driver.now += 4.0
    driver.ack(job)
    newest.append(recording.image().found().newest_at)
    engine.submit(HANDLERS["plain"], b"{}", None, now=driver.now + 5.0)
    driver.note_events()
    newest.append(recording.image().found().newest_at)
    assert newest == [1003.0, 1007.0, 1012.0]


def test_an_attempt_that_a_drain_gave_back_is_not_to_be_stopped_any_more() -> None:
    recording = Recording()
    driver, engine = recording.driver, recording.driver.engine
    job = engine.submit(HANDLERS["plain"], b"{}", None, now=driver.now).job
    driver.lease(job)
    shut_down = engine.begin_shut_down(keep=True)
    while shut_down.go_on(driver.now):
        pass
    driver.note_events()
    assert recording.image().jobs[job.id].stopping is StopReason.SHUTDOWN
    engine.stopped(job.id, attempt=1, now=driver.now)
    driver.note_events()
    image = recording.image()
    assert list(of_job(image.jobs[job.id], job, driver.now)) == []
    assert (job.state, job.stopping, job.attempts_before) == (JobState.QUEUED, None, 1)


def test_a_handler_that_is_gone_leaves_its_jobs_in_the_image() -> None:
    recording = Recording()
    recording.driver.engine.submit(HANDLERS["plain"], b"{}", None, now=recording.driver.now)
    recording.driver.note_events()
    seen: list[JobSpec] = []

    def unknown(stored: JobSpec) -> JobSpec:
        seen.append(stored)
        return stored

    image = Image(unknown, offset_s=OFFSET_S)
    image.apply(body_of(recording.records).data)
    (job,) = image.jobs.values()
    assert [job.spec] == seen
    assert (job.spec.type, job.spec.limits) == ("plain", None)


def test_jobs_that_are_accepted_together_are_one_record() -> None:
    recording = Recording()
    spec = HANDLERS["plain"]
    recording.driver.engine.submit_together([(spec, b"%d" % n, None, None) for n in range(3)], now=1000.0)
    recording.driver.note_events()
    assert len(recording.records) == 1 + 1, "a frame may end between two records"
    assert [job.args for job in recording.image().jobs.values()] == [b"0", b"1", b"2"]
