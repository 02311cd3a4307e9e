"""Publishing in-process: a job for each subscriber, all of them or none."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import JobQueue, JobState
from jobqueue.config import JournalSettings, LimitsSettings, QueueSettings, Settings
from jobqueue.errors import ConfigError, Draining, InvalidSubmission, KeyReused, QueueFull, RateLimited
from jobqueue.handlers import Handler
from jobqueue.testing import virtual_time

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.publishing import Published


@dataclass
class Order:
    id: int
    total: float = 0.0


class Shop:
    """A queue with subscribers, and what each of them got."""

    def __init__(self, **settings: Any) -> None:
        self.queue = queue = JobQueue(Settings(**settings))
        self.got: list[tuple[str, Any]] = []

        @queue.on("order.paid", attempts_max=3)
        async def bill(data: Order) -> str:
            self.got.append(("bill", data))
            return f"billed {data.id}"

        @queue.on("order.>", "order.*", "order.paid")
        async def audit(topic: str, data: Any) -> None:
            self.got.append(("audit", topic))

        @queue.on("user.*", queue="default")
        async def ring(topic: str) -> None:
            self.got.append(("ring", topic))


@virtual_time
async def test_each_subscriber_of_a_topic_gets_one_job_with_the_data() -> None:
    shop = Shop()
    async with shop.queue as queue:
        bill, audit = await queue.publish("order.paid", {"id": 17})
        assert await bill.result() == "billed 17"
        await audit.result()
        (only,) = await queue.publish("user.signed-up")
        await only.result()

    assert shop.got == [("bill", Order(17)), ("audit", "order.paid"), ("ring", "user.signed-up")]


@virtual_time
async def test_the_jobs_of_a_publish_have_the_options_of_their_handlers() -> None:
    shop = Shop()
    async with shop.queue as queue:
        bill, audit = await queue.publish("order.paid", {"id": 17})
        assert ((await bill.status()).spec.type, (await bill.status()).attempts_max) == ("bill", 3)
        assert ((await audit.status()).spec.type, (await audit.status()).attempts_max) == ("audit", 1)


@virtual_time
async def test_data_without_a_subscriber_is_accepted_and_counted() -> None:
    shop = Shop()
    async with shop.queue as queue:
        assert await queue.publish("nothing.here", [1, 2]) == []
        await queue.publish("order.paid", {"id": 1})

    topics = queue.service.topics
    assert (topics.published_total, topics.unheard_total) == (2, 1)
    assert topics.delivered == {"bill": 1, "audit": 1}


@virtual_time
async def test_a_publish_makes_no_job_where_one_subscriber_has_no_slot() -> None:
    shop = Shop(queues={"default": QueueSettings(capacity=3)})

    async with shop.queue as queue:
        await queue.pause("default")
        await queue.publish("order.paid", {"id": 1})
        with pytest.raises(QueueFull):
            await queue.publish("order.paid", {"id": 2})
        assert queue.service.live_counts()["queued"] == 2
        await queue.publish("order.sent", {"id": 2})  # one job: the last slot
        await queue.resume("default")

    assert queue.service.topics.delivered == {"bill": 1, "audit": 2}


@virtual_time
async def test_more_subscribers_than_slots_are_an_error_that_no_wait_resolves() -> None:
    shop = Shop(queues={"default": QueueSettings(capacity=1)})
    async with shop.queue as queue:
        with pytest.raises(InvalidSubmission, match="2 of these jobs are for queue 'default', and its capacity is 1"):
            await queue.publish("order.paid", {"id": 1})


@virtual_time
@pytest.mark.parametrize(
    ("data", "pointer", "told"),
    [
        ({"total": 1.0}, "/data", "missing required field `id`"),
        ({"id": "x"}, "/data/id", "Expected `int`, got `str`"),
        ([], "/data", "Expected `object`, got `array`"),
        (object(), "/data", "object"),
        (float("nan"), "/data", "JSON"),
    ],
)
async def test_data_that_does_not_fit_one_subscriber_is_rejected_for_all(data: Any, pointer: str, told: str) -> None:
    shop = Shop()
    async with shop.queue as queue:
        with pytest.raises(InvalidSubmission) as error:
            await queue.publish("order.paid", data)
    (fault,) = error.value.errors
    assert fault.pointer == pointer
    assert told in fault.detail
    assert shop.got == []


@virtual_time
@pytest.mark.parametrize("topic", ["order..paid", "order.*", "", "a b", None, 17])
async def test_an_invalid_topic_is_rejected_with_its_fault(topic: Any) -> None:
    async with Shop().queue as queue:
        with pytest.raises(InvalidSubmission, match="/topic: "):
            await queue.publish(topic)


@virtual_time
async def test_a_repeated_publish_makes_no_further_job() -> None:
    shop = Shop()
    async with shop.queue as queue:
        first = await queue.publish("order.paid", {"id": 1}, key="paid-1")
        again = await queue.publish("order.paid", {"id": 1}, key="paid-1")
        assert [job.id for job in again] == [job.id for job in first]
        other = await queue.publish("order.paid", {"id": 1}, key="paid-2")
        assert not {job.id for job in other} & {job.id for job in first}

    assert queue.service.topics.published_total == 2
    assert len(shop.got) == 4


@virtual_time
async def test_publishes_under_one_key_at_the_same_time_are_one() -> None:
    shop = Shop()
    async with shop.queue as queue:
        many = await asyncio.gather(*(queue.publish("order.paid", {"id": 1}, key="k") for _ in range(5)))
    assert len({tuple(job.id for job in jobs) for jobs in many}) == 1
    assert len(shop.got) == 2


@virtual_time
async def test_a_key_of_something_else_is_rejected() -> None:
    async with Shop().queue as queue:
        await queue.publish("order.paid", {"id": 1}, key="k")
        for topic, data in (("order.paid", {"id": 2}), ("order.sent", {"id": 1}), ("user.new", None)):
            with pytest.raises(KeyReused):
                await queue.publish(topic, data, key="k")


@virtual_time
async def test_a_key_of_something_else_is_rejected_for_data_without_a_subscriber() -> None:
    async with Shop().queue as queue:
        await queue.publish("order.paid", {"id": 1}, key="k")
        with pytest.raises(KeyReused):
            await queue.publish("nothing.here", key="k")
    assert queue.service.topics.unheard_total == 0


@virtual_time
async def test_a_key_is_that_of_one_publish_as_long_as_any_of_its_jobs_is_held() -> None:
    async with Shop().queue as queue:
        bill, audit = await queue.publish("order.paid", {"id": 1}, key="k")
        await bill.wait()
        await audit.wait()
        await queue.service.backend.delete(bill.id)
        for topic in ("user.new", "nothing.here"):
            with pytest.raises(KeyReused):
                await queue.publish(topic, key="k")


@virtual_time
@pytest.mark.parametrize("key", ["", "a\nb", "é", "x" * 256, 17])
async def test_an_invalid_key_is_rejected(key: Any) -> None:
    async with Shop().queue as queue:
        with pytest.raises(InvalidSubmission, match="/key: "):
            await queue.publish("order.paid", {"id": 1}, key=key)


@virtual_time
async def test_a_repeated_publish_returns_the_jobs_that_are_left() -> None:
    async with Shop().queue as queue:
        bill, audit = await queue.publish("order.paid", {"id": 1}, key="k")
        await bill.wait()
        await audit.wait()
        await queue.service.backend.delete(bill.id)
        assert [job.id for job in await queue.publish("order.paid", {"id": 1}, key="k")] == [audit.id]
        await queue.service.backend.delete(audit.id)
        assert len(await queue.publish("order.paid", {"id": 1}, key="k")) == 2


@virtual_time
async def test_a_draining_queue_rejects_data_heard_or_not() -> None:
    async with Shop().queue as queue:
        queue.service.stop_admitting()
        for topic in ("order.paid", "nothing.here"):
            with pytest.raises(Draining):
                await queue.publish(topic, {"id": 1})


async def test_a_queue_that_does_not_run_publishes_nothing() -> None:
    with pytest.raises(RuntimeError, match="not running"):
        await Shop().queue.publish("nothing.here")


@virtual_time
async def test_listeners_hear_of_a_publish_once_after_its_jobs_are_held() -> None:
    shop = Shop(queues={"default": QueueSettings(capacity=2)})
    heard: list[Published] = []
    async with shop.queue as queue:
        leave = queue.service.topics.listen(heard.append)
        await queue.publish("order.paid", {"id": 1}, key="k")
        await queue.publish("order.paid", {"id": 1}, key="k")
        with pytest.raises(QueueFull):
            await queue.publish("order.sent")
        leave()
        await queue.publish("nothing.here")

    assert [(published.topic, published.data) for published in heard] == [("order.paid", b'{"id":1}')]


async def test_the_jobs_of_a_publish_outlive_a_stop_under_their_key(tmp_path: Path) -> None:
    settings = {"journal": JournalSettings(dir=str(tmp_path / "journal"))}
    shop = Shop(**settings)
    await shop.queue.start()
    await shop.queue.pause("default")
    first = await shop.queue.publish("order.paid", {"id": 1}, key="k")
    await shop.queue.stop()

    async with Shop(**settings).queue as queue:
        again = await queue.publish("order.paid", {"id": 1}, key="k")
        assert [job.id for job in again] == [job.id for job in first]
        assert [(await job.status()).state for job in again] == [JobState.QUEUED] * 2
        await queue.resume("default")
        assert await again[0].result() == "billed 1"


# -- registration


@pytest.mark.parametrize(
    ("patterns", "told"),
    [
        ((), "takes the patterns of topics"),
        ((print,), 'write @queue.on("order.paid")'),
        ((17,), "patterns as strings, got 17"),
        (("order..paid",), "token 2 is empty"),
        (("order.>.x",), "'>' stands for the rest"),
        (("a",) * 101, "at most 100 patterns, got 101"),
    ],
)
def test_a_wrong_pattern_is_rejected_at_registration(patterns: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=r"@queue\.on") as error:
        JobQueue().on(*patterns)
    assert told in str(error.value)


def test_a_subscriber_takes_data_and_topic_alone() -> None:
    queue = JobQueue()

    async def wrong(order_id: int) -> None: ...

    with pytest.raises(ValueError, match=r"'wrong': the arguments of a subscriber are data and topic.*'order_id'"):
        queue.on("order.paid")(wrong)
    assert queue.service.registry.find("wrong") is None

    @queue.on("order.paid")
    async def right(data: Any, more: int = 0) -> None: ...

    @queue.on("order.paid")
    def plain() -> None: ...


def test_an_unknown_option_of_a_subscriber_is_rejected() -> None:
    with pytest.raises(TypeError, match="did you mean 'attempts_max'"):
        JobQueue().on("order.paid", max_attempts=3)  # type: ignore[call-arg]  # what is tested


@virtual_time
async def test_a_subscriber_is_submitted_as_any_handler() -> None:
    async with Shop().queue as queue:
        job = await queue.submit("bill", {"data": {"id": 3}})
        assert await job.result() == "billed 3"


@virtual_time
async def test_more_arguments_have_their_defaults_and_others_take_all() -> None:
    queue = JobQueue()

    @queue.on("a")
    async def everything(**given: Any) -> Any:
        return given

    async with queue:
        (job,) = await queue.publish("a", 1)
        assert await job.result() == {"data": 1, "topic": "a"}


async def test_data_is_checked_for_those_subscribers_alone_that_annotate_it(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []
    queue = JobQueue()

    @queue.on("a")
    async def plain(data, topic: str) -> None: ...  # type: ignore[no-untyped-def]  # what is tested

    @queue.on("a")
    async def anything(data: Any = None) -> None: ...

    @queue.on("a")
    async def typed(data: int) -> None: ...

    @queue.on("a")
    async def numbered(topic: int) -> None: ...

    check = Handler.check
    monkeypatch.setattr(Handler, "check", lambda self, args: checked.append(self.name) or check(self, args))
    async with queue:
        with pytest.raises(InvalidSubmission, match="/data: subscriber 'numbered': "):
            await queue.publish("a", 1)
    assert checked == ["typed", "numbered"]


async def test_subscribers_are_refused_where_servers_share_the_jobs() -> None:
    queue = Shop(backend="valkey").queue
    with pytest.raises(ConfigError, match=r"handler 'bill': @queue\.on does not fit backend: valkey"):
        await queue.start()


@virtual_time
async def test_a_quota_of_jobs_rejects_a_publish_as_a_whole() -> None:
    shop = Shop(limits=LimitsSettings(caller_jobs_max=1))
    async with shop.queue as queue:
        topics = queue.service.topics
        with pytest.raises(RateLimited, match="live jobs"):
            await topics.publish("order.paid", b'{"id":1}', caller="ann")
        publication = await topics.publish("order.sent", b'{"id":1}', caller="ann")
        assert [job.type for job in publication.jobs] == ["audit"]
