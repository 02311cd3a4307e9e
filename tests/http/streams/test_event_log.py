"""The ring of the event log and its subscribers: recording, replay and cuts. No socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any, cast

import pytest

from jobqueue.core.events import Ended, Progressed, Quarantined, Ready, Released, Started, Submitted
from jobqueue.core.job import Job, JobId, JobSpec, JobState
from jobqueue.core.report import Progress
from jobqueue.http.streams import event_log as event_log_module
from jobqueue.http.streams.event_log import HEARTBEAT, EventLog, Subscriber


class FakeService:
    """A fake of a queue and its backend: the test emits the events."""

    def __init__(self) -> None:
        self.listeners: list[Any] = []
        self.backend = self.local = self
        self.clock = 100.0

    def subscribe(self, listener: Any, *kinds: Any) -> Any:
        self.listeners.append((listener, kinds))
        return lambda: self.listeners.remove((listener, kinds))

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


def listen(event_log: EventLog, job_id: str | None = None) -> Subscriber:
    def cut() -> None:
        raise AssertionError("the subscriber was cut")

    subscriber = Subscriber(job_id, cut)
    event_log.join(subscriber)
    return subscriber


async def taken(subscriber: Subscriber) -> list[dict[str, str]]:
    """Take the backlog of a subscriber, as fields."""
    frames = await subscriber.take(0)
    if frames is None or frames == HEARTBEAT:
        return []
    return [dict(line.split(": ", 1) for line in frame.split("\n")) for frame in frames.decode().split("\n\n") if frame]


async def test_an_event_has_an_id_a_name_and_one_line_of_json(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = listen(event_log)
    running = job(state=JobState.RUNNING)
    running.attempt = 2
    running.progress = Progress(0.5, "half\nway")
    fake_service.emit(Progressed(running))
    (event,) = await taken(subscriber)
    assert (event["event"], event["id"]) == ("progress", event_log.last_id)
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


async def test_each_queue_event_has_a_public_name(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = listen(event_log)
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
    subscriber = listen(event_log, "job-1")
    fake_service.emit(Started(job(1)), Started(job(2)), Ended(job(1, JobState.FAILED)), Released("t"))
    assert [event["event"] for event in await taken(subscriber)] == ["started", "failed"]
    assert await subscriber.take(10) is None


async def test_the_event_log_records_from_the_first_subscriber_until_shortly_after_the_last(
    event_log: EventLog, fake_service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log_module, "RECORD_S", 0.01)
    assert fake_service.listeners == []
    one, other = listen(event_log), listen(event_log, "job-1")
    assert len(fake_service.listeners) == 2, "of jobs and of types"
    event_log.leave(one)
    event_log.leave(other)
    assert event_log.recording
    again = listen(event_log)  # within the time, recording continues
    await asyncio.sleep(0.03)
    assert event_log.recording
    event_log.leave(again)
    await asyncio.sleep(0.03)
    assert not event_log.recording
    assert fake_service.listeners == []


def since(event_log: EventLog, event_id: str, job_id: str | None) -> list[bytes] | None:
    """Replay all events after one, in pieces; None if that is not possible."""
    subscriber = Subscriber(job_id, lambda: None)
    subscriber.replayed_to = event_log.serial_of(event_id)
    if subscriber.replayed_to is None:
        return None
    pieces = []
    while piece := event_log.replay(subscriber):
        pieces.append(piece)
    assert subscriber.replayed_to is None
    return [frame for frame in b"".join(pieces).split(b"\n\n") if frame]


async def test_missed_events_are_replayed(event_log: EventLog, fake_service: FakeService) -> None:
    listen(event_log)
    fake_service.emit(Started(job(1)))
    seen = event_log.last_id
    assert since(event_log, seen, None) == []
    fake_service.emit(Started(job(2)), Started(job(1)), Started(job(2)))
    assert [b"job-2" in frame for frame in since(event_log, seen, None) or ()] == [True, False, True]
    assert len(since(event_log, seen, "job-1") or ()) == 1
    assert since(event_log, seen, "job-3") == []


async def test_a_long_replay_comes_in_pieces_with_new_events_once_and_in_order(
    event_log: EventLog, fake_service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log_module, "PIECE_BYTES", 1000)
    listen(event_log)
    start = event_log.last_id
    fake_service.emit(*(Started(job(number)) for number in range(50)))
    late = listen(event_log)
    late.replayed_to = event_log.serial_of(start)
    numbers, pieces = [], 0
    while piece := event_log.replay(late):
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
    late = listen(event_log)
    late.replayed_to = event_log.serial_of(event_log.last_id)
    fake_service.emit(*(Started(job()) for _ in range(3)))
    assert event_log.replay(late)
    fake_service.emit(*(Started(job()) for _ in range(3)))
    assert event_log.replay(late) is None


async def test_a_backlog_is_taken_in_pieces(
    event_log: EventLog, fake_service: FakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log_module, "PIECE_BYTES", 1000)
    subscriber = listen(event_log)
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
    listen(event_log)
    start = event_log.last_id
    fake_service.emit(Started(job()))
    first = event_log.last_id
    fake_service.emit(Started(job()), Started(job()))
    assert len(since(event_log, start, None) or ()) == 3
    fake_service.emit(Started(job()))
    assert since(event_log, start, None) is None
    assert len(since(event_log, first, None) or ()) == 3


@pytest.mark.parametrize("event_id", ["", "x", "-1", "0123456789ab-1", "{tag}-2", "{tag}--1", "{tag}-1 ", "{tag}-٣"])
async def test_an_invalid_event_id_can_not_be_resumed(
    event_log: EventLog, fake_service: FakeService, event_id: str
) -> None:
    listen(event_log)
    fake_service.emit(Started(job()))
    assert since(event_log, event_id.format(tag=event_log.last_id.split("-")[0]), None) is None


async def test_an_event_id_of_an_earlier_recording_can_not_be_resumed(
    event_log: EventLog, fake_service: FakeService
) -> None:
    subscriber = listen(event_log)
    fake_service.emit(Started(job()))
    before = event_log.last_id
    event_log.leave(subscriber)
    event_log.stop()
    fake_service.emit(Started(job()))  # not recorded
    listen(event_log)
    fake_service.emit(Started(job()))
    assert since(event_log, before, None) is None


async def test_the_event_log_subscribes_to_a_restarted_backend(event_log: EventLog, fake_service: FakeService) -> None:
    listen(event_log)
    before, restarted = event_log.last_id, FakeService()
    fake_service.backend = fake_service.local = restarted
    subscriber = listen(event_log)
    assert (fake_service.listeners, len(restarted.listeners)) == ([], 2)
    restarted.emit(Started(job()))
    assert len(await taken(subscriber)) == 1
    assert since(event_log, before, None) is None


async def test_a_slow_subscriber_is_cut_and_releases_its_backlog(
    event_log: EventLog, fake_service: FakeService
) -> None:
    cuts: list[None] = []
    slow, quick = Subscriber(None, lambda: cuts.append(None)), listen(event_log)
    event_log.join(slow)
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
    assert await listen(event_log).take(0.01) == b":\n\n"


async def test_a_backlog_is_delivered_before_a_stream_ends(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = listen(event_log)
    fake_service.emit(Started(job()))
    subscriber.end()
    fake_service.emit(Started(job()))
    assert len(await taken(subscriber)) == 1
    assert await subscriber.take(10) is None


async def test_a_waiting_subscriber_gets_events_immediately(event_log: EventLog, fake_service: FakeService) -> None:
    subscriber = listen(event_log)
    taking = asyncio.create_task(subscriber.take(10))
    await asyncio.sleep(0)
    fake_service.emit(Started(job()), Started(job()))
    assert (await taking or b"").count(b"data: ") == 2
