"""Deliveries of webhooks: which events make one, how an attempt ends, and what is dropped."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from standardwebhooks import Webhook

from jobqueue import JobContext, JobQueue, JobState, chain
from jobqueue.config import (
    EndpointSettings,
    JournalSettings,
    QueueSettings,
    Settings,
    StatusesSettings,
    WebhooksSettings,
)
from jobqueue.core.events import Ended, Evicted, Submitted
from jobqueue.core.job_filter import JobFilter
from jobqueue.errors import ConfigError, InvalidField, InvalidSubmission, JobFailed, UnknownType
from jobqueue.testing import virtual_time
from jobqueue.webhooks.message import AddressRefused, Answer, Undelivered
from jobqueue.wiring import system
from tests.backend.keeping import HeldKeeper
from tests.runtime.test_job_log import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

    from jobqueue.core.job_view import JobView
    from jobqueue.runtime.webhook_target import TargetFigures
    from jobqueue.surroundings import Surroundings
    from jobqueue.webhooks.message import Message

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HOOKS = "https://crm.example.com/hooks?token=t0ken"
ENDS = ("job.succeeded", "job.failed", "job.cancelled", "job.expired")

Outcome = Answer | Undelivered


class Sender:
    """Sends nothing, and answers with the given outcomes in turn; the last one again and again.

    Attributes:
        sent: The messages, with the instants on the loop's clock.
    """

    def __init__(self, *outcomes: Outcome) -> None:
        self.sent: list[tuple[float, Message]] = []
        self._outcomes = list(outcomes or [Answer(204)])

    async def send(self, message: Message) -> Answer:
        self.sent.append((asyncio.get_running_loop().time(), message))
        outcome = self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]
        if isinstance(outcome, Undelivered):
            raise outcome
        return outcome

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(message.body) for _, message in self.sent]


class Held(Sender):
    """Holds every message until `let_go` is set."""

    def __init__(self, *outcomes: Outcome) -> None:
        super().__init__(*outcomes)
        self.let_go = asyncio.Event()

    async def send(self, message: Message) -> Answer:
        await self.let_go.wait()
        return await super().send(message)


def surroundings(sender: Sender) -> Callable[[Settings], Surroundings]:
    return lambda settings: dataclasses.replace(system(settings), sender=sender)


def made(sender: Sender, *, settings: Settings | None = None, **crm: Any) -> JobQueue:
    """Return a queue with one endpoint, `crm`, and handlers that succeed and fail."""
    endpoint = EndpointSettings(**{"url": HOOKS, "events": ENDS, "secret": SECRET} | crm)
    queue = JobQueue(settings or Settings(webhooks=WebhooksSettings(endpoints={"crm": endpoint})), drain_s=0.0)
    queue.service.surroundings = surroundings(sender)

    @queue.handler
    async def add(a: int = 1, b: int = 1) -> int:
        return a + b

    @queue.handler
    async def fail() -> None:
        raise ValueError("broken")

    @queue.handler
    async def sleep() -> None:
        await asyncio.sleep(3600)

    return queue


async def deliveries(queue: JobQueue, state: JobState | None = None) -> list[JobView]:
    page = await queue.service.backend.page(JobFilter(type="webhook", state=state), limit=100, cursor=None)
    return page.jobs[::-1]


async def delivered(queue: JobQueue) -> list[JobView]:
    """Wait until every delivery is terminal, and return them in order."""
    for job in await deliveries(queue):
        await queue.job(job.id).wait()
    return await deliveries(queue)


def crm(queue: JobQueue) -> TargetFigures:
    return queue.service.webhooks[0]


@virtual_time
async def test_each_end_of_a_job_is_sent_with_its_state_and_its_error() -> None:
    async with made(sender := Sender()) as queue:
        added, failed = await queue.submit("add", group="g"), await queue.submit("fail")
        await added.wait()
        await failed.wait()
        await queue.pause("default")
        slept, late = await queue.submit("sleep"), await queue.submit("add", delay_s=9, start_by_s=10)
        await slept.cancel()
        await late.wait()
        await delivered(queue)
        events = {event["data"]["id"]: event for event in sender.events()}
        assert [events[job.id]["type"] for job in (added, failed, slept, late)] == [*ENDS]
        told = events[failed.id]
        assert told["data"] | {"created_at": "", "started_at": "", "finished_at": ""} == {
            "id": failed.id,
            "type": "fail",
            "queue": "default",
            "state": "failed",
            "attempt": 1,
            "group": None,
            "created_at": "",
            "started_at": "",
            "finished_at": "",
            "error": {"code": "handler_error", "message": "ValueError: broken"},
        }
        assert told["timestamp"] == told["data"]["finished_at"]
        assert events[added.id]["data"]["group"] == "g"
        assert events[late.id]["data"]["started_at"] is None


@virtual_time
async def test_a_message_is_signed_and_has_the_same_id_in_each_attempt() -> None:
    outcomes = Answer(500, 60.0), Undelivered("crm.example.com can't be reached"), Answer(204)
    async with made(sender := Sender(*outcomes)) as queue:
        await (await queue.submit("add")).wait()
        (job,) = await delivered(queue)
        assert (job.state, job.attempt, job.result) == (JobState.SUCCEEDED, 3, b'{"status":204}')
        messages = [message for _, message in sender.sent]
        assert [message.headers["webhook-id"] for message in messages] == [f"msg_{job.id}"] * 3
        assert len({message.body for message in messages}) == 1
        first, second, third = (int(message.headers["webhook-timestamp"]) for message in messages)
        assert first + 59 <= second <= third  # the backoff's jitter may be less than a second
        for message in messages:
            made_by_library = Webhook(SECRET).sign(
                message.headers["webhook-id"],
                datetime.fromtimestamp(int(message.headers["webhook-timestamp"]), UTC),
                message.body.decode(),
            )
            assert message.headers["webhook-signature"] == made_by_library
        assert [error.message for error in job.history or ()] == [
            "crm.example.com answered 500",
            "crm.example.com can't be reached",
        ]


@virtual_time
async def test_the_end_of_a_delivery_makes_no_delivery() -> None:
    async with made(sender := Sender(Answer(500)), attempts_max=1) as queue:
        await (await queue.submit("add")).wait()
        (job,) = await delivered(queue)
        assert job.state is JobState.FAILED
        assert len(await deliveries(queue)) == len(sender.sent) == 1


@virtual_time
async def test_a_delivery_that_was_retried_while_its_endpoint_had_left_is_pending_when_that_is_back() -> None:
    async with made(Sender(Answer(500)), attempts_max=1) as queue:
        await (await queue.submit("add")).wait()
        (job,) = await delivered(queue)
        settings = queue.settings
        endpoints = {"other": EndpointSettings(url=HOOKS, events=("job.expired",), secret=SECRET)}
        await queue.reload(msgspec.structs.replace(settings, webhooks=WebhooksSettings(endpoints=endpoints)))
        await queue.pause("webhooks")
        await queue.service.backend.retry(job.id)
        await queue.reload(settings)
        assert crm(queue).pending == 1
        await queue.resume("webhooks")
        await queue.job(job.id).wait()
        assert (crm(queue).pending, crm(queue).failed_total) == (0, 1)


@virtual_time
async def test_the_end_of_a_job_is_heard_before_its_record_makes_room_for_its_delivery() -> None:
    heard: list[tuple[str, str]] = []
    endpoint = EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET)
    settings = Settings(statuses=StatusesSettings(jobs_max=1), webhooks=WebhooksSettings(endpoints={"crm": endpoint}))
    async with made(sender := Sender(), settings=settings) as queue:
        backend = queue.service.local
        backend.subscribe(lambda event: heard.append(("submitted", event.job.spec.type)), Submitted)
        backend.subscribe(lambda event: heard.append(("ended", event.job.spec.type)), Ended)
        backend.subscribe(lambda event: heard.extend(("evicted", job.spec.type) for job in event.jobs), Evicted)
        await (await queue.submit("add")).wait()
        await delivered(queue)
    assert heard == [
        ("submitted", "add"),
        ("ended", "add"),
        ("evicted", "add"),
        *(("submitted", "webhook"), ("ended", "webhook")),
    ]
    assert len(sender.sent) == 1


@virtual_time
async def test_an_endpoint_gets_only_the_events_types_and_queues_that_it_lists() -> None:
    crm = EndpointSettings(url=HOOKS, events=("job.failed",), types=("fail",), queues=("mail",), secret=SECRET)
    settings = Settings(queues={"mail": QueueSettings()}, webhooks=WebhooksSettings(endpoints={"crm": crm}))
    async with made(sender := Sender(), settings=settings) as queue:
        for type, where in (("fail", "default"), ("add", "mail"), ("fail", "mail")):
            await (await queue.submit(type, queue=where)).wait()
        await delivered(queue)
        assert [(event["data"]["type"], event["data"]["queue"]) for event in sender.events()] == [("fail", "mail")]


@virtual_time
async def test_the_pause_that_a_receiver_asks_for_is_kept() -> None:
    async with made(sender := Sender(Answer(503, 100.0), Answer(429, 0.0), Answer(200))) as queue:
        await (await queue.submit("add")).wait()
        await delivered(queue)
        first, second, third = (at for at, _ in sender.sent)
        assert second - first == pytest.approx(100.0, abs=0.01)
        assert third - second == pytest.approx(1.0, abs=0.01)


@virtual_time
async def test_410_disables_an_endpoint_and_ends_its_other_deliveries(caplog: pytest.LogCaptureFixture) -> None:
    async with made(sender := Sender(Answer(500), Answer(410))) as queue:
        await (await queue.submit("add")).wait()
        await (await queue.submit("add")).wait()
        first, second = await delivered(queue)
        assert {first.state, second.state} == {JobState.FAILED}
        assert len(sender.sent) == 2
        assert crm(queue).disabled == "crm.example.com answered 410: it wants no more events"
        await (await queue.submit("add")).wait()
        assert len(await deliveries(queue)) == 2
        assert (crm(queue).dropped_total, crm(queue).failed_total) == (1, 2)
    assert [fields["webhook"] for _, fields in fields_of(caplog, "webhook.disabled")] == ["crm"]


@virtual_time
async def test_a_refused_address_ends_a_delivery_at_once() -> None:
    async with made(sender := Sender(AddressRefused("10.0.0.1 is a private address"))) as queue:
        await (await queue.submit("add")).wait()
        (job,) = await delivered(queue)
        assert (job.state, job.attempt) == (JobState.FAILED, 1)
        assert job.error is not None
        assert (job.error.code, job.error.message) == ("rejected", "10.0.0.1 is a private address")
        assert len(sender.sent) == 1


@virtual_time
async def test_a_redirect_is_a_failure_that_says_so() -> None:
    async with made(Sender(Answer(302)), attempts_max=1) as queue:
        await (await queue.submit("add")).wait()
        (job,) = await delivered(queue)
        assert job.error is not None
        assert job.error.message == "crm.example.com answered 302, and redirects are not followed"


@virtual_time
async def test_events_beyond_the_bound_of_a_receiver_are_dropped_and_counted() -> None:
    async with made(sender := Held(), pending_max=2) as queue:
        for _ in range(5):
            await (await queue.submit("add")).wait()
        assert (crm(queue).pending, crm(queue).dropped_total) == (2, 3)
        sender.let_go.set()
        await delivered(queue)
        assert (crm(queue).pending, crm(queue).delivered_total) == (0, 2)
        await (await queue.submit("add")).wait()
        await delivered(queue)
        assert (crm(queue).delivered_total, crm(queue).dropped_total) == (3, 3)


@virtual_time
async def test_a_full_queue_of_deliveries_holds_up_no_job() -> None:
    crm_ = EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET)
    few = QueueSettings(capacity=1, retry_budget=0)
    settings = Settings(queues={"webhooks": few}, webhooks=WebhooksSettings(endpoints={"crm": crm_}))
    async with made(sender := Held(), settings=settings) as queue:
        for _ in range(3):
            assert (await (await queue.submit("add")).wait()).state is JobState.SUCCEEDED
        assert (crm(queue).pending, crm(queue).dropped_total) == (1, 2)
        sender.let_go.set()
        await delivered(queue)


@virtual_time
async def test_a_receiver_that_is_down_holds_up_none_of_the_others() -> None:
    class Down(Sender):
        async def send(self, message: Message) -> Answer:
            if "down" in message.url:
                await asyncio.sleep(15)
                raise Undelivered("down.example.com has not answered within 15 s")
            return await super().send(message)

    endpoints = {
        "down": EndpointSettings(url="https://down.example.com/", events=ENDS, secret=SECRET),
        "crm": EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET),
    }
    settings = Settings(webhooks=WebhooksSettings(endpoints=endpoints))
    async with made(sender := Down(), settings=settings) as queue:
        began = asyncio.get_running_loop().time()
        for _ in range(100):
            await (await queue.submit("add")).wait()
        while len(sender.sent) < 100:
            await asyncio.sleep(0.1)
        assert asyncio.get_running_loop().time() - began < 2.0
        assert not queue.service.backend.quarantined()
        await asyncio.sleep(300)
        assert not queue.service.backend.quarantined()


@virtual_time
async def test_no_submission_may_name_the_type_of_deliveries() -> None:
    async with made(Sender()) as queue:
        with pytest.raises(UnknownType, match="made by the server alone"):
            await queue.submit("webhook", {"to": "crm", "event": {}})
        with pytest.raises(UnknownType, match="made by the server alone"):
            await queue.submit("webhook", {"to": "crm", "event": {}}, delay_s=1)
        assert [handler.name for handler in queue.service.registry] == ["add", "fail", "sleep"]


@virtual_time
async def test_a_handler_of_the_built_in_type_fails_the_start() -> None:
    queue = made(Sender())
    queue.handler(name="webhook")(_nothing)
    with pytest.raises(ValueError, match="the type 'webhook' is built in"):
        await queue.start()


@virtual_time
async def test_no_submission_may_name_the_queue_of_deliveries() -> None:
    fault = InvalidField(pointer="/queue", detail="the queue 'webhooks' has the server's own jobs alone")
    queue = made(Sender())

    @queue.handler
    async def spread(ctx: JobContext) -> None:
        await ctx.submit("add", queue="webhooks")

    async with queue:
        with pytest.raises(InvalidSubmission) as refused:
            await queue.submit("add", queue="webhooks")
        assert refused.value.errors == (fault,)
        with pytest.raises(InvalidSubmission) as refused:
            await queue.submit_flow(chain({"type": "add", "queue": "webhooks"}))
        assert refused.value.errors[0].pointer == "/jobs/0/queue"
        with pytest.raises(JobFailed, match=fault.detail):
            await (await queue.submit("spread")).result()


@virtual_time
async def test_a_handler_in_the_queue_of_deliveries_fails_the_start() -> None:
    queue = made(Sender())
    queue.handler(name="busy", queue="webhooks")(_nothing)
    with pytest.raises(ValueError, match="handler 'busy' uses queue 'webhooks', which has the server's own jobs alone"):
        await queue.start()


@virtual_time
async def test_without_a_receiver_the_queue_of_that_name_takes_jobs_as_any_other() -> None:
    async with made(Sender(), settings=Settings(queues={"webhooks": QueueSettings()})) as queue:
        assert await (await queue.submit("add", queue="webhooks")).result() == 2


async def _nothing() -> None:
    """Nothing."""


@virtual_time
async def test_faults_of_an_application_s_settings_fail_the_start() -> None:
    queue = made(Sender(), url="http://crm.example.com/")
    with pytest.raises(ConfigError, match="http is not encrypted"):
        await queue.start()


CALLBACKS = WebhooksSettings(callbacks=True, callback_hosts=("app.example.com",), secret=SECRET)


@virtual_time
async def test_the_end_of_a_job_is_sent_to_the_callback_of_its_submission() -> None:
    async with made(sender := Sender(), settings=Settings(webhooks=CALLBACKS)) as queue:
        job = await queue.submit("add", callback="https://app.example.com/done?token=t0ken")
        await (await queue.submit("add")).wait()
        await job.wait()
        (delivery,) = await delivered(queue)
        ((_, message),) = sender.sent
        assert message.url == "https://app.example.com/done?token=t0ken"
        assert json.loads(message.body)["data"]["id"] == job.id
        assert delivery.spec.group == "@app.example.com"


@virtual_time
async def test_a_callback_to_a_host_that_is_not_listed_is_refused_with_its_place() -> None:
    for webhooks, fault in (
        (CALLBACKS, "/callback: no callbacks go to this host"),
        (WebhooksSettings(), r"/callback: this server has no callbacks \(webhooks\.callbacks\)"),
    ):
        async with made(Sender(), settings=Settings(webhooks=webhooks)) as queue:
            with pytest.raises(InvalidSubmission, match=fault):
                await queue.submit("add", callback="https://example.com/")


@virtual_time
async def test_a_callback_goes_to_a_listed_port_and_to_no_other_one() -> None:
    webhooks = WebhooksSettings(callbacks=True, callback_hosts=("app.example.com:8443",), secret=SECRET)
    async with made(sender := Sender(), settings=Settings(webhooks=webhooks)) as queue:
        for url in ("https://app.example.com/", "https://app.example.com:6379/"):
            with pytest.raises(InvalidSubmission, match="no callbacks go to this host and port"):
                await queue.submit("add", callback=url)
        await (await queue.submit("add", callback="https://app.example.com:8443/done")).wait()
        await delivered(queue)
        assert [message.url for _, message in sender.sent] == ["https://app.example.com:8443/done"]
        assert [(each.name, each.host) for each in queue.service.webhooks] == [
            ("@app.example.com:8443", "app.example.com")
        ]


@virtual_time
async def test_410_of_one_callback_disables_no_other() -> None:
    async with made(sender := Sender(Answer(410), Answer(204)), settings=Settings(webhooks=CALLBACKS)) as queue:
        for path in "ab":
            await (await queue.submit("add", callback=f"https://app.example.com/{path}")).wait()
            await delivered(queue)
        assert [job.state for job in await deliveries(queue)] == [JobState.FAILED, JobState.SUCCEEDED]
        assert len(sender.sent) == 2


@virtual_time
async def test_a_reload_takes_effect_at_once_and_keeps_the_counts() -> None:
    async with made(sender := Sender(Answer(410), Answer(204))) as queue:
        await (await queue.submit("add")).wait()
        await delivered(queue)
        assert crm(queue).disabled is not None
        other = EndpointSettings(url="https://new.example.com/", events=ENDS, secret=SECRET)
        settings = Settings(webhooks=WebhooksSettings(endpoints={"crm": other}))
        assert await queue.reload(settings) == []
        await (await queue.submit("add")).wait()
        await delivered(queue)
        assert sender.sent[-1][1].url == "https://new.example.com/"
        assert (crm(queue).disabled, crm(queue).failed_total, crm(queue).delivered_total) == (None, 1, 1)


@virtual_time
async def test_a_delivery_to_a_receiver_that_a_reload_removes_fails() -> None:
    async with made(sender := Sender(Answer(503, 60.0))) as queue:
        await (await queue.submit("add")).wait()
        other = EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET)
        await queue.reload(Settings(webhooks=WebhooksSettings(endpoints={"other": other})))
        (job,) = await delivered(queue)
        assert job.error is not None
        assert job.error.message == "the settings have no receiver 'crm' any more"
        assert len(sender.sent) == 1


@virtual_time
async def test_the_end_of_a_job_during_a_drain_is_delivered() -> None:
    queue = made(sender := Sender())
    await queue.start()
    job = await queue.submit("sleep")
    lost = await queue.service.drain(7200.0)
    assert [event["data"]["id"] for event in sender.events()] == [job.id]
    assert not any(lost.values())
    await queue.stop()


@virtual_time
async def test_a_shutdown_delivers_nothing_more_and_ends() -> None:
    queue = made(sender := Sender())
    await queue.start()
    await queue.submit("sleep")
    lost = await queue.service.drain(1.0)
    assert sender.sent == []
    assert sum(lost.values()) == 1
    await queue.stop()


async def test_a_journal_keeps_the_delivery_with_the_end_that_it_tells(tmp_path: Path) -> None:
    crm_ = EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET)
    webhooks = WebhooksSettings(
        endpoints={"crm": crm_}, callbacks=True, callback_hosts=("app.example.com",), secret=SECRET
    )
    settings = Settings(journal=JournalSettings(dir=str(tmp_path)), webhooks=webhooks)
    first = made(Sender(Answer(503, 0.0)), settings=settings)
    await first.start()
    await first.pause("webhooks")
    job = await first.submit("add", callback="https://app.example.com/done")
    await job.wait()
    await first.stop()
    second = made(sender := Sender(), settings=settings)
    await second.start()
    await second.resume("webhooks")
    jobs = await delivered(second)
    assert [each.spec.group for each in jobs] == ["crm", "@app.example.com"]
    assert [message.url for _, message in sender.sent] == [HOOKS, "https://app.example.com/done"]
    assert {event["data"]["id"] for event in sender.events()} == {job.id}
    await second.stop()


@virtual_time
async def test_a_delivery_that_can_not_be_kept_leaves_no_job() -> None:
    queue, keeper = made(sender := Sender()), HeldKeeper()
    given = queue.service.surroundings
    queue.service.surroundings = lambda settings: dataclasses.replace(given(settings), journal=keeper)
    await queue.start()

    async def kept(operation: Coroutine[Any, Any, Any]) -> Any:
        task = asyncio.ensure_future(operation)
        while not keeper.waiting:
            await asyncio.sleep(0)
        keeper.release()
        return await task

    await kept(queue.pause("webhooks"))
    job = await kept(queue.submit("add"))
    await job.wait()
    assert len(await deliveries(queue)) == 1
    keeper.broken = True
    keeper.release()
    assert await deliveries(queue) == []
    keeper.broken = False
    await kept(queue.resume("webhooks"))
    await queue.stop()
    assert sender.sent == []


async def test_a_callback_of_a_job_that_waits_outlives_the_process(tmp_path: Path) -> None:
    settings = Settings(journal=JournalSettings(dir=str(tmp_path)), webhooks=CALLBACKS)
    first = made(Sender(), settings=settings)
    await first.start()
    await first.pause("default")
    job = await first.submit("add", callback="https://app.example.com/done")
    await first.stop()
    second = made(sender := Sender(), settings=settings)
    await second.start()
    await second.resume("default")
    await second.job(job.id).wait()
    await delivered(second)
    assert [message.url for _, message in sender.sent] == ["https://app.example.com/done"]
    await second.stop()


@virtual_time
async def test_no_secret_is_in_a_log_line_or_a_record(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    outcomes = Undelivered("crm.example.com can't be reached"), Answer(500), Answer(410)
    async with made(Sender(*outcomes)) as queue:
        await (await queue.submit("add")).wait()
        records = repr([await delivered(queue), crm(queue)])
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "t0ken"):
        assert secret not in records
        assert secret not in caplog.text


TOPICS: dict[str, Any] = {"events": (), "topics": ("order.>", "*.paid")}


@virtual_time
async def test_data_of_a_topic_is_sent_once_with_the_topic_as_its_type() -> None:
    async with made(sender := Sender(Answer(500), Answer(204)), **TOPICS) as queue:
        (job,) = await queue.publish("order.paid", {"id": 17})
        assert await queue.publish("user.created", {}) == []
        assert (await job.wait()).state is JobState.SUCCEEDED
        first, second = sender.events()
        assert (first["type"], first["data"]) == ("order.paid", {"id": 17})
        assert first == second
        assert sender.sent[0][1].headers["webhook-id"] == f"msg_{job.id}"
        assert crm(queue).delivered_total == 1


@virtual_time
async def test_a_receiver_gets_eight_deliveries_at_once_from_all_callers_together() -> None:
    async with made(sender := Held(), **TOPICS) as queue:
        for number in range(20):
            name = f"key:{number}"
            await queue.service.topics.publish("order.paid", b"{}", caller=name, owner=name)
        await asyncio.sleep(1)
        assert len(await deliveries(queue, JobState.RUNNING)) == 8
        sender.let_go.set()
        await delivered(queue)
        assert len(sender.sent) == 20


@virtual_time
async def test_a_publish_under_a_repeated_key_is_sent_once() -> None:
    async with made(sender := Sender(), **TOPICS) as queue:
        (first,) = await queue.publish("order.paid", {"id": 17}, key="k")
        (second,) = await queue.publish("order.paid", {"id": 17}, key="k")
        await first.wait()
        assert first.id == second.id
        assert len(sender.sent) == 1


@virtual_time
async def test_a_publish_goes_on_without_an_endpoint_that_is_disabled_or_has_too_many_deliveries() -> None:
    queue = made(sender := Held(), pending_max=1, **TOPICS)

    @queue.on("order.*")
    async def noted(data: dict[str, int]) -> None:
        """Nothing."""

    async with queue:
        assert len(await queue.publish("order.paid", {})) == 2
        assert crm(queue).pending == 1
        assert len(await queue.publish("order.paid", {})) == 1
        assert crm(queue).dropped_total == 1
        sender.let_go.set()
        await delivered(queue)
        assert crm(queue).pending == 0


@virtual_time
async def test_data_is_dropped_only_by_a_publish_that_makes_its_jobs() -> None:
    queue = made(sender := Held(), pending_max=1, **TOPICS)

    @queue.on("order.*")
    async def noted(data: dict[str, int]) -> None:
        """Nothing."""

    async with queue:
        await queue.publish("order.paid", {}, key="k")
        await queue.publish("order.paid", {}, key="k")
        with pytest.raises(InvalidSubmission):
            await queue.publish("order.paid", {"id": "seventeen"})
        assert (crm(queue).pending, crm(queue).dropped_total) == (1, 0)
        await queue.publish("order.paid", {})
        assert crm(queue).dropped_total == 1
        sender.let_go.set()
        await delivered(queue)


@virtual_time
async def test_a_reload_subscribes_anew_and_a_stop_unsubscribes() -> None:
    queue = made(sender := Sender(), **TOPICS)
    async with queue:
        other = EndpointSettings(url=HOOKS, topics=("user.*",), secret=SECRET)
        await queue.reload(Settings(webhooks=WebhooksSettings(endpoints={"other": other})))
        assert await queue.publish("order.paid", {}) == []
        (job,) = await queue.publish("user.created", {})
        await job.wait()
        assert len(sender.sent) == 1
    assert queue.service.topics.subscribers == ()


@virtual_time
async def test_a_delivery_counts_as_pending_after_a_reload() -> None:
    async with made(sender := Held()) as queue:
        await (await queue.submit("add")).wait()
        crm_ = EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET, pending_max=1)
        await queue.reload(Settings(webhooks=WebhooksSettings(endpoints={"crm": crm_})))
        await (await queue.submit("add")).wait()
        assert (crm(queue).pending, crm(queue).dropped_total) == (1, 1)
        sender.let_go.set()
        await delivered(queue)
        assert crm(queue).pending == 0


@virtual_time
async def test_a_delivery_that_is_on_its_way_during_a_reload_counts_for_its_receiver() -> None:
    async with made(sender := Held(), attempts_max=1) as queue:
        await (await queue.submit("add")).wait()
        await asyncio.sleep(1)
        crm_ = EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET, pending_max=1)
        await queue.reload(Settings(webhooks=WebhooksSettings(endpoints={"crm": crm_})))
        sender.let_go.set()
        await delivered(queue)
        assert (crm(queue).delivered_total, crm(queue).last_error) == (1, None)


@virtual_time
@pytest.mark.parametrize("same", [True, False])
async def test_a_late_410_disables_an_endpoint_only_if_it_still_has_the_same_settings(*, same: bool) -> None:
    async with made(sender := Held(Answer(410))) as queue:
        await (await queue.submit("add")).wait()
        await asyncio.sleep(1)
        crm_ = EndpointSettings(url=HOOKS if same else "https://new.example.com/", events=ENDS, secret=SECRET)
        other = EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET)
        await queue.reload(Settings(webhooks=WebhooksSettings(endpoints={"crm": crm_, "other": other})))
        sender.let_go.set()
        await delivered(queue)
        assert (crm(queue).disabled is not None) is same


@virtual_time
async def test_the_pending_deliveries_of_a_receiver_that_a_reload_removes_and_another_brings_back_are_counted() -> None:
    async with made(sender := Held()) as queue:
        await (await queue.submit("add")).wait()
        crm_, other = (EndpointSettings(url=HOOKS, events=events, secret=SECRET) for events in (ENDS, ("job.failed",)))
        await queue.reload(Settings(webhooks=WebhooksSettings(endpoints={"other": other})))
        await queue.reload(Settings(webhooks=WebhooksSettings(endpoints={"crm": crm_})))
        assert crm(queue).pending == 1
        sender.let_go.set()
        await delivered(queue)
        assert crm(queue).pending == 0


async def test_the_pending_deliveries_of_an_earlier_process_count_against_the_bound(tmp_path: Path) -> None:
    crm_ = EndpointSettings(url=HOOKS, events=ENDS, secret=SECRET, pending_max=2)
    webhooks = WebhooksSettings(endpoints={"crm": crm_})
    settings = Settings(journal=JournalSettings(dir=str(tmp_path)), webhooks=webhooks)
    first = made(Sender(), settings=settings)
    await first.start()
    await first.pause("webhooks")
    for _ in range(2):
        await (await first.submit("add")).wait()
    await first.stop()
    second = made(Sender(), settings=settings)
    await second.start()
    assert crm(second).pending == 2
    await (await second.submit("add")).wait()
    assert crm(second).dropped_total == 1
    await second.resume("webhooks")
    await delivered(second)
    assert crm(second).pending == 0
    await second.stop()


@virtual_time
async def test_a_delivery_that_is_retried_on_request_is_pending_again() -> None:
    async with made(Sender(Answer(500), Answer(204)), attempts_max=1) as queue:
        await (await queue.submit("add")).wait()
        (job,) = await delivered(queue)
        assert (job.state, crm(queue).pending) == (JobState.FAILED, 0)
        await queue.job(job.id).retry()
        assert crm(queue).pending == 1
        await delivered(queue)
        assert crm(queue).pending == 0


@virtual_time
async def test_failed_attempts_in_a_row_are_counted_until_one_succeeds() -> None:
    async with made(Sender(Answer(500, 5.0), Answer(500, 5.0), Answer(204))) as queue:
        job = await queue.submit("add")
        await job.wait()
        await asyncio.sleep(7)
        told = crm(queue)
        assert told.failures_in_a_row == 2
        assert told.last_at is not None
        assert told.failing_since == pytest.approx(told.last_at - 5.0, abs=1.0)
        await delivered(queue)
        assert (crm(queue).failures_in_a_row, crm(queue).failing_since) == (0, None)
