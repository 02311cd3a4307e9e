"""The watch over a running queue, on a virtual clock: what it remembers, and how often it derives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue import JobQueue
from jobqueue.config import EndpointSettings, QueueSettings, Settings, StatsSettings, WebhooksSettings
from jobqueue.errors import Refused
from jobqueue.findings import watch as watch_module
from jobqueue.findings.sight import ProcessCounts
from jobqueue.findings.watch import Watch
from jobqueue.recorder import Recorder
from jobqueue.testing import virtual_time
from tests.runtime.test_webhooks import SECRET, Held, surroundings

if TYPE_CHECKING:
    from jobqueue.core.counting.stats import QueueStats, StoreStats
    from jobqueue.findings.finding import Finding


class Watched:
    """A queue with a watch, fed by a recorder."""

    def __init__(self, bytes_max: int = 16 * 1024 * 1024, **default: Any) -> None:
        queues = {"default": QueueSettings(**default), "other": QueueSettings()}
        self.queue = JobQueue(Settings(queues=queues, stats=StatsSettings(bytes_max)))
        self.process: ProcessCounts | None = None
        self.problems = {"quota-exceeded": 0, "internal": 0}
        self.watch = Watch(
            self.queue.service, process=lambda: self.process, problems=lambda: self.problems, long_polls=lambda: 0
        )
        self.recorder = Recorder(self.queue.service, self.watch)
        self.gate = asyncio.Event()

        @self.queue.handler(timeout_s=86_400.0)
        async def hold() -> None:
            await self.gate.wait()

        @self.queue.handler(attempts_max=1)
        async def fail(bad: bool = True) -> None:
            if bad:
                raise ValueError("no")

    async def __aenter__(self) -> Watched:
        await self.queue.start()
        self.recorder.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.gate.set()
        self.recorder.stop()
        self.watch.stop()
        await self.queue.stop()

    async def found(self) -> dict[str, Finding]:
        """Return what is wrong beside the start, by kind."""
        derived = await self.watch.current()
        return {finding.kind: finding for finding in derived.findings if finding.kind != "started_recently"}

    @property
    def now(self) -> float:
        return self.queue.service.backend.now()


@virtual_time
async def test_a_full_queue_is_a_finding_since_it_became_full_until_it_has_room() -> None:
    async with Watched(workers=1, capacity=2) as watched:
        await asyncio.sleep(20)
        assert await watched.found() == {}
        begun = watched.now
        for _ in range(2):
            await watched.queue.submit("hold")
        await asyncio.sleep(30)
        finding = (await watched.found())["queue_full"]
        assert finding.since is not None
        assert begun < finding.since <= begun + 2.1
        watched.gate.set()
        await asyncio.sleep(2)
        assert await watched.found() == {}


@virtual_time
async def test_a_queue_that_starts_nothing_is_a_finding_after_five_minutes() -> None:
    async with Watched(workers=1) as watched:
        await watched.queue.submit("hold")
        await asyncio.sleep(400)
        begun = watched.now
        await watched.queue.submit("hold")
        await asyncio.sleep(298)
        assert "queue_not_draining" not in await watched.found()
        await asyncio.sleep(4)
        finding = (await watched.found())["queue_not_draining"]
        assert finding.since == begun
        assert finding.cause == "All 1 of its workers are busy."


@virtual_time
async def test_a_queue_is_no_finding_while_another_server_starts_its_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Watched(workers=1) as watched:
        for _ in range(2):
            await watched.queue.submit("hold")
        await asyncio.sleep(400)
        assert "queue_not_draining" in await watched.found()
        backend = watched.queue.service.backend
        stats = backend.stats

        def as_if_shared() -> tuple[StoreStats, list[QueueStats]]:
            store, queues = stats()
            return store, [msgspec.structs.replace(queue, started_at=watched.now - 60) for queue in queues]

        monkeypatch.setattr(backend, "stats", as_if_shared)
        await asyncio.sleep(5)
        assert "queue_not_draining" not in await watched.found()


@virtual_time
async def test_the_share_of_failures_is_that_of_the_last_ten_minutes() -> None:
    async with Watched(retry_budget=0) as watched:
        await asyncio.sleep(2)
        for bad in (True, True, *[False] * 8):
            await watched.queue.submit("fail", {"bad": bad})
        await asyncio.sleep(2)
        assert (await watched.found())["failure_ratio"].sentence == (
            "20 % of the attempts of type fail fail: 2 of 10 attempts in the last 10 min."
        )
        await asyncio.sleep(600)
        for _ in range(10):
            await watched.queue.submit("fail", {"bad": False})
        await asyncio.sleep(60)
        assert await watched.found() == {}


@virtual_time
async def test_rejections_of_the_last_minute_are_findings_by_their_reason() -> None:
    async with Watched(workers=1, capacity=1) as watched:
        await watched.queue.submit("hold")
        await asyncio.sleep(2)
        for _ in range(30):
            try:
                await watched.queue.submit("hold")
            except Refused:
                continue
        await asyncio.sleep(1.5)
        finding = (await watched.found())["rejections"]
        assert (finding.problem, finding.name) == ("queue-full", "default")
        assert "has rejected 30 submissions in the last minute (0.5/s)" in finding.sentence
        await asyncio.sleep(70)
        assert "rejections" not in await watched.found()


@virtual_time
async def test_totals_of_the_process_are_findings_within_their_windows() -> None:
    async with Watched() as watched:
        watched.process = ProcessCounts(connections_max=10, late_counts=(5,) * 14, blocked_total=3, log_dropped=4)
        await asyncio.sleep(3)
        assert await watched.found() == {}  # all that was before the watch began
        watched.process = ProcessCounts(connections_max=10, late_counts=(5,) * 14, blocked_total=4, log_dropped=4)
        watched.problems["internal"] = watched.problems["quota-exceeded"] = 1
        await asyncio.sleep(2)
        assert {*await watched.found()} == {"loop_blocked", "internal_errors", "caller_limits"}
        await asyncio.sleep(65)
        assert {*await watched.found()} == {"loop_blocked", "internal_errors"}
        await asyncio.sleep(640)
        assert await watched.found() == {}


@virtual_time
async def test_one_derivation_serves_all_requests_of_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    derivations = 0
    derive = watch_module.derive

    def counted(sight: Any) -> Any:
        nonlocal derivations
        derivations += 1
        return derive(sight)

    monkeypatch.setattr(watch_module, "derive", counted)
    async with Watched() as watched:
        watched.recorder.stop()  # so that only requests derive
        first = await asyncio.gather(*(watched.watch.current() for _ in range(100)))
        assert derivations == 1
        assert {id(each) for each in first} == {id(first[0])}
        await asyncio.sleep(0.9)
        assert await watched.watch.current() is first[0]
        await asyncio.sleep(0.2)
        assert await watched.watch.current() is not first[0]
        assert derivations == 2


@virtual_time
async def test_a_watch_needs_no_history() -> None:
    async with Watched(bytes_max=0, workers=1, capacity=1) as watched:
        await watched.queue.submit("hold")
        await asyncio.sleep(30)
        finding = (await watched.found())["queue_full"]
        assert finding.since is not None
        assert finding.since < watched.now - 25
        assert watched.recorder.history is None


@virtual_time
async def test_a_request_that_waits_when_the_watch_stops_gets_the_findings_before() -> None:
    async with Watched() as watched:
        watched.recorder.stop()
        before = await watched.watch.current()
        await asyncio.sleep(2)
        waiting = asyncio.ensure_future(watched.watch.current())
        await asyncio.sleep(0)
        watched.watch.stop()
        assert await waiting is before


@virtual_time
async def test_another_run_of_the_queue_is_watched_anew() -> None:
    watched = Watched(workers=1, capacity=1)
    async with watched:
        await watched.queue.submit("hold")
        await asyncio.sleep(3)
        assert "queue_full" in await watched.found()
    watched.gate.clear()
    async with watched:
        await asyncio.sleep(3)
        assert await watched.found() == {}


@virtual_time
async def test_a_schedule_is_a_finding_from_the_third_failure_of_its_jobs_to_the_next_success() -> None:
    watched, bad = Watched(), [True] * 3

    @watched.queue.every(60)
    @watched.queue.handler
    async def sweep() -> None:
        if bad and bad.pop():
            raise ValueError("no")

    async with watched:
        begun = watched.now
        while bad:
            assert "schedule_failing" not in await watched.found()
            await asyncio.sleep(30)
        await asyncio.sleep(2)
        finding = (await watched.found())["schedule_failing"]
        assert (finding.about, finding.name) == ("schedule", "sweep")
        assert finding.cause == "The latest one: handler_error: ValueError: no"
        assert finding.since is not None
        assert begun < finding.since <= begun + 61
        await asyncio.sleep(62)
        assert await watched.found() == {}


CRM = EndpointSettings(url="https://crm.test/", events=("job.succeeded",), secret=SECRET, pending_max=1)
OTHER = EndpointSettings(url="https://other.test/", events=("job.failed",), secret=SECRET)


def told(watched: Watched, **endpoints: EndpointSettings) -> Settings:
    """Return settings with these receivers of webhooks."""
    settings = watched.queue.service.settings
    return msgspec.structs.replace(settings, webhooks=WebhooksSettings(endpoints=endpoints))


def watched_receivers(sender: Held, **endpoints: EndpointSettings) -> Watched:
    """Return a watched queue with these receivers; its jobs succeed at once."""
    watched = Watched()
    watched.queue.configure(told(watched, **endpoints))
    watched.queue.service.surroundings = surroundings(sender)
    watched.gate.set()
    return watched


async def lose(watched: Watched, events: int) -> None:
    """Have as many events of the receiver `crm` dropped, beside one that is pending."""
    for _ in range(events + 1):
        await (await watched.queue.submit("hold")).wait()
    await asyncio.sleep(2)


@virtual_time
async def test_events_that_a_receiver_loses_are_a_finding_for_a_quarter_of_an_hour() -> None:
    async with watched_receivers(sender := Held(), crm=CRM) as watched:
        await asyncio.sleep(5)
        await lose(watched, 2)
        finding = (await watched.found())["webhook_dropped"]
        assert finding.sentence == (
            "2 events for webhook crm were dropped in the last 15 min: nothing sends them later."
        )
        sender.let_go.set()
        await asyncio.sleep(1000)
        assert await watched.found() == {}


@virtual_time
async def test_lost_events_stay_those_of_their_receiver_through_reloads_that_move_it() -> None:
    async with watched_receivers(Held(), crm=CRM, other=OTHER) as watched:
        await asyncio.sleep(5)
        await lose(watched, 2)
        before = await watched.found()
        assert before["webhook_dropped"].name == "crm"
        for endpoints in ({"other": OTHER, "crm": CRM}, {"crm": CRM}, {"a": OTHER, "crm": CRM, "z": OTHER}):
            await watched.queue.reload(told(watched, **endpoints))
            await asyncio.sleep(2)
            assert await watched.found() == before


@virtual_time
@pytest.mark.parametrize("away_s", [0.0, 5.0])
async def test_the_lost_events_of_a_receiver_that_leaves_and_comes_back_begin_anew(away_s: float) -> None:
    async with watched_receivers(Held(), crm=CRM) as watched:
        await asyncio.sleep(5)
        await lose(watched, 2)
        await asyncio.sleep(950)
        await watched.queue.reload(told(watched, other=OTHER))
        await asyncio.sleep(away_s)
        await watched.queue.reload(told(watched, crm=CRM))
        await asyncio.sleep(2)
        assert "webhook_dropped" not in await watched.found()
        await lose(watched, 1)
        finding = (await watched.found())["webhook_dropped"]
        assert finding.sentence.startswith("2 events for webhook crm"), "its first delivery is still pending"
