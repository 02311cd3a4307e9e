"""The ring of the event log and its subscribers: recording, replay and cuts. No socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from jobqueue.core.events import Ended, Progressed, Quarantined, Ready, Released, Started, Submitted
from jobqueue.core.job import Job, JobId, JobSpec, JobState, Uniqueness
from jobqueue.core.report import ErrorCode, JobError, Progress
from jobqueue.core.schedules import Outcome
from jobqueue.http.streams import event_log as event_log_module
from jobqueue.http.streams import subscriber as subscriber_module
from jobqueue.http.streams import watched_jobs
from jobqueue.http.streams.event_log import EventLog
from jobqueue.http.streams.subscriber import HEARTBEAT, SampledSubscriber, Subscriber
from jobqueue.schedules.runner import Ticked
from jobqueue.testing import virtual_time


class FakeService:
    """A fake of a queue and its backend: the test emits the events."""

    def __init__(self) -> None:
        self.listeners: list[Any] = []
        self.backend = self.local = self.schedules = self.runner = self
        self.listening: list[Any] = []
        self.clock = 100.0

    def subscribe(self, listener: Any, *kinds: Any) -> Any:
        self.listeners.append((listener, kinds))
        return lambda: self.listeners.remove((listener, kinds))

    def listen(self, listener: Any) -> Any:
        self.listening.append(listener)
        return lambda: self.listening.remove(listener)

    def now(self) -> float:
        return self.clock

    def wall(self, instant: float) -> float:
        return instant

    def emit(self, *events: Any) -> None:
        for event in events:
            for listener, kinds in self.listeners:
                if isinstance(event, kinds):
                    listener(event)


def job(number: int = 1, state: JobState = JobState.QUEUED) -> Job:
    spec = JobSpec(type="t", group="g")
    return Job(id=JobId(f"job-{number}"), spec=spec, args=b"{}", upload=None, state=state, created_at=0, run_at=0)


@pytest.fixture
def fake_service() -> FakeService:
    return FakeService()


@pytest.fixture
def event_log(fake_service: FakeService) -> EventLog:
    return EventLog(cast("Any", fake_service))


async def listen(event_log: EventLog, job_id: str | None = None, sees: str | None = None) -> Subscriber:
    def cut() -> None:
        raise AssertionError("the subscriber was cut")

    subscriber = Subscriber(job_id, cut, sees)
    await event_log.join(subscriber)
    return subscriber


async def taken(subscriber: Subscriber) -> list[dict[str, str]]:
    """Take the backlog of a subscriber, as fields."""
    frames = await subscriber.take(0)
    if frames is None or frames == HEARTBEAT:
        return []
    return [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames.decode().split("\n\n") if frame]


async def test_an_event_has_an_id_a_name_and_one_line_of_json(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = await listen(event_log)
    running = job(state=JobState.RUNNING)
    running.attempt = 2
    running.progress = Progress(0.5, "half\nway")
    fake_service.emit(Progressed(running))
    (event,) = await taken(subscriber)
    assert (event["event"], event["id"]) == ("progress", event_log.last_id(subscriber))
    assert json.loads(event["data"]) == {
        "id": "job-1",
        "type": "t",
        "queue": "default",
        "group": "g",
        "state": "running",
        "attempt": 2,
        "progress": {"fraction": 0.5, "note": "half\nway"},
        "error": None,
        "at": "1970-01-01T00:01:40.000Z",
    }


async def test_a_stream_that_comes_back_is_sent_the_same_after_a_compaction(
    event_log: EventLog, fake_service: FakeService
) -> None:
    witness = await listen(event_log)
    begin = event_log.last_id(witness)
    failed = job(state=JobState.FAILED)
    failed.error = JobError(ErrorCode.HANDLER_ERROR, "ValueError: no")
    fake_service.emit(Started(job(2, JobState.RUNNING)), Ended(failed))
    event_log.compact()
    back = await listen(event_log)
    assert await event_log.resume(back, begin)
    assert await event_log.replay(back) == await witness.take(0)
    assert json.loads(event_log.of_job("job-1"))[0]["data"]["error"] == {"code": "handler_error"}


async def test_each_queue_event_has_a_public_name(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = await listen(event_log)
    fresh, put_off, done = job(1), job(2), job(3, JobState.SUCCEEDED)
    put_off.version = 1
    fake_service.emit(Submitted(fresh), Ready(fresh), Ready(put_off), Progressed(put_off), Started(fresh))
    fake_service.emit(Ended(done), Quarantined("t", 160.0, "failed too often"), Released("t"))
    events = await taken(subscriber)
    names = ["submitted", "queued", "changed", "started", "succeeded", "quarantined", "released"]
    assert [event["event"] for event in events] == names
    assert json.loads(events[5]["data"]) == {
        "type": "t",
        "at": "1970-01-01T00:01:40.000Z",
        "until": "1970-01-01T00:02:40.000Z",
        "reason": "failed too often",
    }


async def test_a_subscriber_of_one_job_gets_its_events_only_and_ends_with_it(
    event_log: EventLog, fake_service: FakeService
) -> None:
    subscriber = await listen(event_log, "job-1")
    fake_service.emit(Started(job(1)), Started(job(2)), Ended(job(1, JobState.FAILED)), Released("t"))
    assert [event["event"] for event in await taken(subscriber)] == ["started", "failed"]
    assert await subscriber.take(10) is None


@virtual_time
async def test_the_event_log_records_from_the_first_subscriber_until_a_minute_after_the_last(
    event_log: EventLog, fake_service: FakeService
) -> None:
    assert fake_service.listeners == []
    one, other = await listen(event_log), await listen(event_log, "job-1")
    assert len(fake_service.listeners) == 2, "of jobs and of types"
    event_log.leave(one)
    event_log.leave(other)
    await asyncio.sleep(59)
    assert event_log.recording
    again = await listen(event_log)  # within the time, recording continues
    await asyncio.sleep(120)
    assert event_log.recording
    event_log.leave(again)
    await asyncio.sleep(61)
    assert not event_log.recording
    assert fake_service.listeners == []


async def since(event_log: EventLog, event_id: str, job_id: str | None) -> list[bytes] | None:
    """Replay all events after one, in pieces, for a client that has come back; None if that is not possible."""
    subscriber = await listen(event_log, job_id)
    try:
        if not await event_log.resume(subscriber, event_id):
            return None
        pieces = []
        while piece := await event_log.replay(subscriber):
            pieces.append(piece)
        assert subscriber.replayed_to is None
        return [frame for frame in b"".join(pieces).split(b"\n\n") if frame]
    finally:
        event_log.leave(subscriber)


async def test_missed_events_are_replayed(event_log: EventLog, fake_service: FakeService) -> None:
    every, one, other = await listen(event_log), await listen(event_log, "job-1"), await listen(event_log, "job-3")
    fake_service.emit(Started(job(1)))
    seen, of_one, of_other = (event_log.last_id(each) for each in (every, one, other))
    assert await since(event_log, seen, None) == []
    fake_service.emit(Started(job(2)), Started(job(1)), Started(job(2)))
    assert [b"job-2" in frame for frame in await since(event_log, seen, None) or ()] == [True, False, True]
    assert len(await since(event_log, of_one, "job-1") or ()) == 1
    assert await since(event_log, of_other, "job-3") == []


async def test_a_long_replay_comes_in_pieces_with_new_events_once_and_in_order(
    event_log: EventLog, fake_service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log_module, "PIECE_BYTES", 1000)
    start = event_log.last_id(await listen(event_log))
    fake_service.emit(*(Started(job(number)) for number in range(50)))
    late = await listen(event_log)
    assert await event_log.resume(late, start)
    numbers, pieces = [], 0
    while piece := await event_log.replay(late):
        pieces += 1
        assert len(piece) < 2000
        numbers += [json.loads(line[6:])["id"] for line in piece.splitlines() if line.startswith(b"data: ")]
        if pieces < 5:
            fake_service.emit(Started(job(100 + pieces)))
    assert pieces > 5
    fake_service.emit(Started(job(200)))
    numbers += [json.loads(event["data"])["id"] for event in await taken(late)]
    assert numbers == [f"job-{number}" for number in (*range(50), *range(101, 105), 200)]


async def test_a_replay_overtaken_by_the_ring_ends(fake_service: FakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log_module, "RING_MAX", 3)
    monkeypatch.setattr(event_log_module, "PIECE_BYTES", 1)
    event_log = EventLog(cast("Any", fake_service))
    late = await listen(event_log)
    assert await event_log.resume(late, event_log.last_id(late))
    fake_service.emit(*(Started(job()) for _ in range(3)))
    assert await event_log.replay(late)
    fake_service.emit(*(Started(job()) for _ in range(3)))
    assert await event_log.replay(late) is None


async def test_a_backlog_is_taken_in_pieces(
    event_log: EventLog, fake_service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriber_module, "PIECE_BYTES", 1000)
    subscriber = await listen(event_log)
    fake_service.emit(*(Started(job(number)) for number in range(50)))
    pieces = []
    while (piece := await subscriber.take(0.0)) != HEARTBEAT:
        assert piece is not None
        assert len(piece) < 2000
        pieces.append(piece)
    assert b"".join(pieces).count(b"event: started") == 50


async def test_events_dropped_from_the_ring_can_not_be_replayed(
    fake_service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log_module, "RING_MAX", 3)
    event_log = EventLog(cast("Any", fake_service))
    subscriber = await listen(event_log)
    start = event_log.last_id(subscriber)
    fake_service.emit(Started(job()))
    first = event_log.last_id(subscriber)
    fake_service.emit(Started(job()), Started(job()))
    assert len(await since(event_log, start, None) or ()) == 3
    fake_service.emit(Started(job()))
    assert await since(event_log, start, None) is None
    assert len(await since(event_log, first, None) or ()) == 3


@pytest.mark.parametrize("event_id", ["", "x", "-1", "0123456789ab-1", "{tag}-2", "{tag}--1", "{tag}-1 ", "{tag}-٣"])
async def test_an_invalid_event_id_can_not_be_resumed(
    event_log: EventLog, fake_service: FakeService, event_id: str
) -> None:
    subscriber = await listen(event_log)
    fake_service.emit(Started(job()))
    assert await since(event_log, event_id.format(tag=event_log.last_id(subscriber).split("-")[0]), None) is None


async def test_an_event_id_of_an_earlier_recording_can_not_be_resumed(
    event_log: EventLog, fake_service: FakeService
) -> None:
    subscriber = await listen(event_log)
    fake_service.emit(Started(job()))
    before = event_log.last_id(subscriber)
    event_log.leave(subscriber)
    event_log.stop()
    fake_service.emit(Started(job()))  # not recorded
    await listen(event_log)
    fake_service.emit(Started(job()))
    assert await since(event_log, before, None) is None


async def test_the_event_log_subscribes_to_a_restarted_backend(event_log: EventLog, fake_service: FakeService) -> None:
    before, restarted = event_log.last_id(await listen(event_log)), FakeService()
    fake_service.backend = fake_service.local = restarted
    subscriber = await listen(event_log)
    assert (fake_service.listeners, len(restarted.listeners)) == ([], 2)
    restarted.emit(Started(job()))
    assert len(await taken(subscriber)) == 1
    assert await since(event_log, before, None) is None


async def test_a_slow_subscriber_is_cut_and_releases_its_backlog(
    event_log: EventLog, fake_service: FakeService
) -> None:
    cuts: list[None] = []
    slow, quick = Subscriber(None, lambda: cuts.append(None)), await listen(event_log)
    await event_log.join(slow)
    count = 0
    while not cuts:
        fake_service.emit(Started(job()))
        count += len(await taken(quick))
        assert count < 10_000
    fake_service.emit(Started(job()))
    assert len(cuts) == 1
    assert await slow.take(10) is None
    assert len(await taken(quick)) == 1


async def test_an_idle_subscriber_gets_a_heartbeat(event_log: EventLog) -> None:
    subscriber = await listen(event_log)
    assert await subscriber.take(0.01) == b":\n\n"


async def test_a_backlog_is_delivered_before_a_stream_ends(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = await listen(event_log)
    fake_service.emit(Started(job()))
    subscriber.end()
    fake_service.emit(Started(job()))
    assert len(await taken(subscriber)) == 1
    assert await subscriber.take(10) is None


async def test_a_waiting_subscriber_gets_events_immediately(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = await listen(event_log)
    taking = asyncio.create_task(subscriber.take(10))
    await asyncio.sleep(0)
    fake_service.emit(Started(job()), Started(job()))
    assert (await taking or b"").count(b"data: ") == 2


async def sample(event_log: EventLog, rate_max: int, sees: str | None = None) -> SampledSubscriber:
    subscriber = SampledSubscriber(rate_max, lambda: None, sees)
    await event_log.join(subscriber)
    return subscriber


def submitted(count: int) -> list[Submitted]:
    return [Submitted(job(number)) for number in range(count)]


async def names_of(subscriber: Subscriber) -> list[str]:
    return [each["event"] for each in await taken(subscriber)]


@virtual_time
async def test_a_sample_has_its_share_of_a_window_and_the_rest_costs_nothing(
    event_log: EventLog, fake_service: FakeService
) -> None:
    subscriber = await sample(event_log, 40)
    fake_service.emit(*submitted(25))
    assert fake_service.listeners == []
    assert await names_of(subscriber) == ["submitted"] * 10
    await asyncio.sleep(0.3)
    assert len(fake_service.listeners) == 2
    assert await names_of(subscriber) == ["skipped"]
    fake_service.emit(*submitted(3))
    assert await names_of(subscriber) == ["submitted"] * 3


@virtual_time
async def test_skipped_events_are_noted_once_a_second(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = await sample(event_log, 4)
    found = []
    for _ in range(8):
        fake_service.emit(*submitted(5))
        await asyncio.sleep(0.25)
        found += await names_of(subscriber)
    assert found.count("skipped") == 2
    assert found.count("submitted") == 8


@virtual_time
async def test_a_stream_of_all_events_beside_a_sample_has_all(event_log: EventLog, fake_service: FakeService) -> None:
    few, every = await sample(event_log, 40), await listen(event_log)
    fake_service.emit(*submitted(25))
    assert await names_of(every) == ["submitted"] * 25
    assert await names_of(few) == ["submitted"] * 10 + ["skipped"]


@virtual_time
async def test_a_sample_goes_on_alone_in_a_recording_of_its_own(event_log: EventLog, fake_service: FakeService) -> None:
    few, every = await sample(event_log, 40), await listen(event_log)
    fake_service.emit(*submitted(1))
    last_id = event_log.last_id(every)
    event_log.leave(every)
    fake_service.emit(*submitted(25))
    assert await event_log.resume(few, last_id)
    few.replayed_to = None
    await asyncio.sleep(61)
    assert not await event_log.resume(few, last_id)
    await few.take(0)
    fake_service.emit(*submitted(25))
    assert await names_of(few) == ["submitted"] * 10


@virtual_time
async def test_a_sample_of_one_key_is_taken_of_its_own_jobs(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = await sample(event_log, 4, sees="ann")
    fake_service.emit(*submitted(25))
    of_ann = job(30)
    of_ann.uniqueness = Uniqueness("ann", plain=True, owner="ann")
    fake_service.emit(Submitted(of_ann))
    assert await names_of(subscriber) == ["submitted"]


@virtual_time
async def test_a_sample_is_not_shown_as_the_events_of_a_job(event_log: EventLog, fake_service: FakeService) -> None:
    await sample(event_log, 40)
    fake_service.emit(*submitted(1))
    assert event_log.of_job("job-0") == b"null"
    event_log.stop()
    await asyncio.sleep(1)
    assert fake_service.listeners == []


async def names_since(event_log: EventLog, event_id: str, job_id: str | None) -> list[str] | None:
    frames = await since(event_log, event_id, job_id)
    return None if frames is None else [frame.split(b"\n")[1].decode().removeprefix("event: ") for frame in frames]


async def test_beside_streams_of_jobs_no_other_job_is_recorded(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = await listen(event_log, "job-1")
    before = event_log.last_id(subscriber)
    fake_service.emit(Submitted(job(2)), Started(job(2)), Ended(job(2, JobState.FAILED)), Released("t"))
    assert event_log.last_id(subscriber) == before
    assert event_log.of_job("job-2") == b"null"
    fake_service.emit(Started(job(1)))
    assert [each["event"] for each in json.loads(event_log.of_job("job-1"))] == ["started"]
    assert [each["id"] for each in json.loads(event_log.of_job("job-1"))] == [event_log.last_id(subscriber)]


@virtual_time
async def test_a_stream_of_a_job_is_resumed_within_a_minute(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = await listen(event_log, "job-1")
    fake_service.emit(Started(job(1)))
    seen = event_log.last_id(subscriber)
    event_log.leave(subscriber)
    await asyncio.sleep(59)
    fake_service.emit(Progressed(job(1, JobState.RUNNING)), Ended(job(1, JobState.FAILED)))
    assert await names_since(event_log, seen, "job-1") == ["progress", "failed"]
    await asyncio.sleep(59)
    assert await names_since(event_log, seen, "job-1") == ["progress", "failed"], "that was a stream, too"
    await asyncio.sleep(61)
    assert not event_log.recording
    assert fake_service.listeners == []
    assert await names_since(event_log, seen, "job-1") is None


@virtual_time
async def test_a_job_without_streams_for_a_minute_is_recorded_no_more_beside_others(
    event_log: EventLog, fake_service: FakeService
) -> None:
    one = await listen(event_log, "job-1")
    await listen(event_log, "job-2")
    seen = event_log.last_id(one)
    event_log.leave(one)
    await asyncio.sleep(61)
    fake_service.emit(Started(job(1)))
    assert event_log.of_job("job-1") == b"null"
    # No event was recorded meanwhile, so the position alone would tell of none that was missed.
    assert event_log.last_id(await listen(event_log, "job-1")).split("-")[1] == seen.split("-")[1]
    assert await names_since(event_log, seen, "job-1") is None


@virtual_time
async def test_a_stream_of_all_jobs_is_not_resumed_after_an_event_of_a_stream_of_one(
    event_log: EventLog, fake_service: FakeService
) -> None:
    one = await listen(event_log, "job-1")
    fake_service.emit(Started(job(1)), Started(job(2)))
    of_one = event_log.last_id(one)
    every = await listen(event_log)
    of_all = event_log.last_id(every)
    assert await names_since(event_log, of_one, None) is None
    fake_service.emit(Started(job(2)), Ended(job(1, JobState.FAILED)))
    assert await names_since(event_log, of_all, None) == ["started", "failed"]
    assert await names_since(event_log, of_one, "job-1") == ["failed"]
    event_log.leave(every)
    await asyncio.sleep(61)
    assert await names_since(event_log, of_all, None) is None


@virtual_time
async def test_a_job_of_a_stream_stays_recorded_when_others_no_longer_are(
    event_log: EventLog, fake_service: FakeService
) -> None:
    every = await listen(event_log)
    fake_service.emit(Submitted(job(1)))
    one = await listen(event_log, "job-1")
    assert [each["event"] for each in json.loads(event_log.of_job("job-1"))] == ["submitted"]
    seen = event_log.last_id(one)
    assert seen == event_log.last_id(every)
    event_log.leave(every)
    await asyncio.sleep(61)
    fake_service.emit(Started(job(1)), Started(job(2)))
    assert await names_since(event_log, seen, "job-1") == ["started"]
    assert [each["event"] for each in json.loads(event_log.of_job("job-1"))] == ["submitted", "started"]
    assert event_log.of_job("job-2") == b"null"


@virtual_time
async def test_a_sample_beside_a_stream_of_a_job_costs_no_more(event_log: EventLog, fake_service: FakeService) -> None:
    few, one = await sample(event_log, 40), await listen(event_log, "job-24")
    fake_service.emit(*submitted(25))
    fake_service.emit(Started(job(24)), Started(job(3)))
    assert await names_of(one) == ["started"]
    assert await names_of(few) == ["submitted"] * 10
    assert len(fake_service.listeners) == 1, "of the jobs with streams"
    await asyncio.sleep(0.3)
    assert await names_of(few) == ["skipped"]
    event_log.leave(one)
    fake_service.emit(*submitted(25))
    assert await names_of(few) == ["submitted"] * 10


async def test_jobs_without_streams_are_bounded(
    event_log: EventLog, fake_service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watched_jobs, "LEFT_MAX", 2)
    streams = [await listen(event_log, f"job-{number}") for number in range(4)]
    seen = [event_log.last_id(stream) for stream in streams]
    for stream in streams[:3]:
        event_log.leave(stream)
    fake_service.emit(*(Started(job(number)) for number in range(4)))
    assert event_log.of_job("job-0") == b"null"
    assert [await names_since(event_log, seen[number], f"job-{number}") for number in (1, 2, 3)] == [["started"]] * 3
    assert await names_since(event_log, seen[0], "job-0") is None


async def test_streams_are_counted(event_log: EventLog) -> None:
    streams = [
        await listen(event_log),
        *[await listen(event_log, "job-1") for _ in range(2)],
        await listen(event_log, "job-2"),
    ]
    assert event_log.count == 4
    for stream in streams:
        event_log.leave(stream)
    assert event_log.count == 0
    event_log.stop()


async def test_streams_leave_after_the_recording_has_stopped(event_log: EventLog, fake_service: FakeService) -> None:
    streams = [await listen(event_log), await listen(event_log, "job-1")]
    event_log.stop()
    for stream in streams:
        event_log.leave(stream)
    assert event_log.count == 0
    assert not event_log.recording


def ticked(outcome: Outcome, owner: str | None = "ann") -> Ticked:
    return Ticked.of((owner, "nightly"), 90.0, outcome, 100.0)


@pytest.mark.parametrize(
    ("outcome", "told"),
    [
        (Outcome(job_id=JobId("job-1")), ("submitted", "job-1", None)),
        (Outcome(job_id=JobId("job-1"), elsewhere=True), ("elsewhere", "job-1", None)),
        (Outcome(), ("skipped", None, None)),
        (Outcome(error="the queue is full", retry_after_s=5.0), ("rejected", None, "the queue is full")),
    ],
)
async def test_a_tick_of_a_schedule_is_an_event_with_its_outcome(
    event_log: EventLog, fake_service: FakeService, outcome: Outcome, told: tuple[str | None, ...]
) -> None:
    subscriber = await listen(event_log)
    (on_tick,) = fake_service.listening
    on_tick(ticked(outcome))
    (event,) = await taken(subscriber)
    assert event["event"] == "ticked"
    assert json.loads(event["data"]) == {
        "schedule": "nightly",
        "due_at": "1970-01-01T00:01:30.000Z",
        **dict(zip(("outcome", "id", "reason"), told, strict=True)),
        "at": "1970-01-01T00:01:40.000Z",
    }
    event_log.stop()
    assert fake_service.listening == []


async def test_ticks_are_in_the_streams_of_their_owner_and_of_keys_that_see_all(
    event_log: EventLog, fake_service: FakeService
) -> None:
    streams = [await listen(event_log), *[await listen(event_log, sees=sees) for sees in ("ann", "bob")]]
    of_job = await listen(event_log, "job-1")
    (on_tick,) = fake_service.listening
    on_tick(ticked(Outcome()))
    assert [len(await taken(stream)) for stream in (*streams, of_job)] == [1, 1, 0, 0]
    event_log.stop()
