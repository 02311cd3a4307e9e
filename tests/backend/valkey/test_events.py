"""The events of all servers, as one of them hears them."""

from __future__ import annotations

import asyncio
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.backend.store import JobNews, SharedEvent
from jobqueue.backend.valkey.clock import StoreClock
from jobqueue.backend.valkey.events import LISTEN_MS, POLL_S, EventStream
from jobqueue.backend.valkey.mirror import Mirror
from jobqueue.backend.valkey.queues import Queues
from jobqueue.backend.valkey.records import Records
from jobqueue.core.events import Paused, Quarantined, Released, Resumed
from jobqueue.core.job import JobSpec, JobState, Uniqueness
from jobqueue.core.policy import QueuePolicy
from jobqueue.core.quotas import Quotas
from jobqueue.core.report import ErrorCode, JobError, Progress
from jobqueue.errors import StoreUnavailable
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.backend.valkey.process_calls import Connect


ID = "j" * 22


class Server:
    """One server of a store, which may hear events."""

    def __init__(self, connect: Connect) -> None:
        self.calls = connect()
        self.clock = StoreClock(asyncio.get_running_loop().time)
        self.records = Records(self.clock, lambda spec: spec)
        self.stream = EventStream(self.calls, self.clock, self.records)
        self.heard: list[SharedEvent] = []
        self.gaps_after: list[str] = []

    def call(self, function: str, *args: Any) -> list[Any]:
        reply = self.calls.call(function, args).result()
        self.clock.hear(reply[0])
        return reply

    async def begin(self) -> str:
        return await self.stream.begin(self._hear, self._note_gap)

    def _hear(self, events: Sequence[SharedEvent]) -> None:
        self.heard += events

    def _note_gap(self, at: str) -> None:
        self.gaps_after.append(at)

    @property
    def gaps(self) -> int:
        return len(self.gaps_after)

    async def set_up(self, **policy: Any) -> Queues:
        queues = {"default": QueuePolicy(**policy)}
        mirror = Mirror(self.calls, self.clock, queues, Random(1))
        shared = Queues(self.calls, self.clock, mirror, lambda event: None)
        await shared.join(queues)
        self.call("join", "p", 10**9, "one", b"s" * 32, "", 0)
        return shared

    def submit(self, job_id: str = ID, spec: JobSpec | None = None, owner: str | None = None) -> None:
        claims = b"" if owner is None else self.claims(owner)
        blob = self.records.spec_blob(spec or JobSpec(type="t", attempts_max=2))
        self.call("submit", "default", 0, 1, job_id, 100, blob, b"{}", claims)

    def claims(self, owner: str) -> bytes:
        return self.records.claims_blob(Uniqueness(owner, owner=owner, plain=True), None, Quotas())

    def names(self) -> list[str]:
        return [
            event.news.name if isinstance(event.news, JobNews) else type(event.news).__name__ for event in self.heard
        ]


async def polled() -> None:
    await asyncio.sleep(POLL_S + 0.01)


@virtual_time
async def test_each_server_hears_the_life_of_a_job_in_order_under_the_same_ids(connect: Connect) -> None:
    one, two = Server(connect), Server(connect)
    await one.set_up()
    await one.begin()
    await two.begin()
    one.submit(owner="key:ann", spec=JobSpec(type="t", attempts_max=2, group="g", own=True))
    one.call("lease", "p", 0, 1, 1, "", 1, "default")
    one.call("report", "p", 1, ID, 1, one.records.progress_blob(Progress(0.5, "half")))
    one.call("nack", "p", 1, ID, 1, ErrorCode.HANDLER_ERROR.value, "boom", "", 0, 0, 1000)
    one.call("run_now", "", 1, ID)
    one.call("lease", "p", 0, 1, 1, "", 1, "default")
    one.call("nack", "p", 1, ID, 2, ErrorCode.HANDLER_ERROR.value, "boom", "", 0, 0, 0)
    one.call("retry", "", 1, ID)
    one.call("lease", "p", 0, 1, 1, "", 1, "default")
    one.call("give_back", "p", 1, ID, 3)
    one.call("lease", "p", 0, 1, 1, "", 1, "default")
    one.call("cancel", "", 1, ID)
    one.call("stopped", "p", 1, ID, 4, "cancelled")
    await polled()
    assert one.names() == [
        *("submitted", "started", "progress", "retrying", "queued", "started", "failed"),
        *("queued", "started", "queued", "started", "stopping", "cancelled"),
    ]
    assert one.heard == two.heard
    news = [event.news for event in one.heard]
    assert all(isinstance(each, JobNews) and each.owner == "key:ann" and each.spec.group == "g" for each in news)
    versions = [each.version for each in news if isinstance(each, JobNews)]
    assert versions == sorted(versions)
    progress, failed = news[2], news[6]
    assert isinstance(progress, JobNews)
    assert isinstance(failed, JobNews)
    assert (progress.state, progress.attempt, progress.progress) == (JobState.RUNNING, 1, Progress(0.5, "half"))
    assert (failed.state, failed.error) == (JobState.FAILED, JobError(ErrorCode.HANDLER_ERROR, "boom"))
    assert one.heard[0].at == pytest.approx(one.clock.now(), abs=1.0)


@virtual_time
async def test_events_of_queues_and_types_are_heard(connect: Connect) -> None:
    one = Server(connect)
    queues = await one.set_up(retry_budget=1)
    await one.begin()
    await queues.pause("default", reason="deploy", for_s=60.0, by="ops")
    await queues.resume("default", by="ops")
    one.submit()
    one.call("lease", "p", 0, 1, 1, "", 1, "default")
    one.call("nack", "p", 1, ID, 1, ErrorCode.HANDLER_ERROR.value, "boom", "", 1, 1, 0)
    await queues.release("t")
    await polled()
    paused, resumed, quarantined, released = (event.news for event in one.heard if not isinstance(event.news, JobNews))
    assert isinstance(paused, Paused)
    assert (paused.queue, paused.pause.reason, paused.pause.by) == ("default", "deploy", "ops")
    assert paused.pause.until == pytest.approx(paused.pause.since + 60.0)
    assert resumed == Resumed("default", "ops")
    assert isinstance(quarantined, Quarantined)
    assert quarantined.type == "t"
    assert quarantined.until > one.clock.now()
    assert isinstance(released, Released)


@virtual_time
async def test_the_events_after_an_id_are_replayed_on_any_server(connect: Connect) -> None:
    one, two = Server(connect), Server(connect)
    await one.set_up()
    begun = await one.begin()
    for n in range(250):
        one.submit(f"{n:022}")
    await polled()
    assert len(one.heard) == 250
    assert await two.stream.after(begun, 1000) == one.heard
    assert await two.stream.after(one.heard[99].id, 1000) == one.heard[100:]
    assert await two.stream.after(one.heard[99].id, 7) == one.heard[100:107]
    assert await two.stream.after(one.heard[-1].id, 7) == []
    for foreign in ("", "x", "1-", "ab12cd34ef56-7", "1-1"):
        assert await two.stream.after(foreign, 7) is None


@virtual_time
async def test_an_id_of_an_earlier_time_of_listening_can_not_be_gone_on_from(connect: Connect) -> None:
    one = Server(connect)
    await one.set_up()
    await one.begin()
    one.submit()
    await polled()
    one.stream.end()
    last = one.heard[-1].id
    await asyncio.sleep(1)
    assert await one.stream.after(last, 7) == [], "a server that comes back soon has missed nothing"
    await asyncio.sleep(LISTEN_MS / 1000 + 1)
    one.submit("k" * 22)
    assert await one.stream.after(last, 7) is None


@virtual_time
async def test_an_id_that_the_store_has_not_come_to_can_not_be_gone_on_from(connect: Connect) -> None:
    one = Server(connect)
    await one.set_up()
    begun = await one.begin()
    assert await one.stream.after(begun, 100) == []
    one.submit()
    latest = (await one.stream.after(begun, 100) or [])[-1].id
    assert await one.stream.after(latest, 100) == []
    first, _, number = latest.partition("-")
    for later in (f"{first}-{int(number) + 1}", "999999999999999-0", f"5-{2**64}", f"999999999999999-{2**64}"):
        assert await one.stream.after(later, 100) is None


@virtual_time
async def test_events_that_the_store_has_lost_are_a_gap(connect: Connect) -> None:
    one, other = Server(connect), Server(connect)
    await one.set_up()
    await one.begin()
    one.submit()
    await polled()
    one.stream._last = "999999999999999-0"  # as of a primary of which the present one has not got everything
    await polled()
    assert one.gaps_after == [one.heard[-1].id]
    other.call("cancel", "", 1, ID)
    await polled()
    assert (one.names(), one.gaps) == (["submitted", "cancelled"], 1)


@virtual_time
async def test_events_that_the_store_has_cut_off_are_a_gap(connect: Connect) -> None:
    one = Server(connect)
    await one.set_up()
    one.call("set_bounds", 10**6, 10**6, 10**9, 10**6, 10**6, 100)
    begun = await one.begin()
    for n in range(700):
        one.submit(f"{n:022}")
    await polled()
    assert one.gaps == 1
    assert len(one.heard) < 700
    assert one.heard[-1].news.id == f"{699:022}"  # type: ignore[union-attr]  # of a job
    assert await one.stream.after(begun, 7) is None
    one.submit()
    await polled()
    assert (one.gaps, one.heard[-1].news.id) == (1, ID)  # type: ignore[union-attr]  # of a job


@virtual_time
async def test_nothing_is_asked_of_the_store_once_no_one_hears(connect: Connect) -> None:
    one = Server(connect)
    await one.set_up()
    await one.begin()
    await asyncio.sleep(10 * POLL_S)
    calls = len(one.calls.asked)
    one.stream.end()
    await asyncio.sleep(60)
    assert len(one.calls.asked) == calls
    one.submit()
    await polled()
    assert one.heard == []


@virtual_time
async def test_a_listener_that_ends_within_a_portion_hears_no_more(connect: Connect) -> None:
    one = Server(connect)
    await one.set_up()
    heard: list[int] = []

    def hear(events: Sequence[SharedEvent]) -> None:
        heard.append(len(events))
        one.stream.end()

    await one.stream.begin(hear, one._note_gap)
    for n in range(250):
        one.submit(f"{n:022}")
    await asyncio.sleep(5)
    assert heard == [200]


@virtual_time
async def test_a_store_that_was_out_of_reach_is_asked_again(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Server(connect)
    await one.set_up()
    await one.begin()
    call = one.calls.call

    def out(*args: Any, **options: Any) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        future.set_exception(StoreUnavailable("no answer", retry_after_s=1.0))
        return future

    monkeypatch.setattr(one.calls, "call", out)
    await asyncio.sleep(1)
    with pytest.raises(StoreUnavailable):
        await one.stream.after("1-1", 7)
    monkeypatch.setattr(one.calls, "call", call)
    one.submit()
    await polled()
    assert (one.names(), one.gaps) == (["submitted"], 0)


@virtual_time
async def test_a_poll_that_fails_in_the_store_is_repeated(connect: Connect) -> None:
    one = Server(connect)
    await one.set_up()
    await one.begin()
    one.calls.fails = lambda function: function == "events"
    await polled()
    one.calls.fails = lambda function: False
    one.submit()
    await polled()
    assert one.names() == ["submitted"]


@virtual_time
async def test_an_unreadable_event_is_a_gap_and_later_ones_are_heard(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    raised: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(str(context["exception"])))
    one = Server(connect)
    await one.set_up()
    await one.begin()

    def fails(self: Records, blob: bytes) -> JobSpec:
        raise ValueError("a spec of another version")

    with monkeypatch.context() as patch:
        patch.setattr(Records, "spec", fails)
        one.submit()
        await polled()
    assert (one.names(), one.gaps, raised) == ([], 1, ["a spec of another version"])
    one.submit("k" * 22)
    await polled()
    assert (one.names(), one.gaps) == (["submitted"], 1)
