"""Reloads: applied and logged, or logged as invalid without a change."""

from __future__ import annotations

import asyncio
import logging
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from jobqueue.config import LogSettings, QueueSettings, ServerSettings, Settings
from jobqueue.config.load import Loaded
from jobqueue.config.reload import Reload, Reloaded
from jobqueue.errors import ConfigError, Draining
from jobqueue.log import EventMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


class Events(logging.Handler):
    """Logged events, in order."""

    def __init__(self) -> None:
        super().__init__()
        self._events: asyncio.Queue[EventMessage] = asyncio.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        message: object = record.msg
        assert isinstance(message, EventMessage)
        self._events.put_nowait(message)

    async def next(self) -> tuple[str, dict[str, object]]:
        message = await self._events.get()
        return message.event, dict(message.fields)

    @property
    def none_left(self) -> bool:
        return self._events.empty()


class FakeQueue:
    """A fake JobQueue: applies queues, and returns the settings that need a restart."""

    def __init__(self) -> None:
        self.settings = Settings()
        self.needs_restart: list[str] = []
        self.fault: Exception | None = None

    async def reload(self, settings: Settings) -> list[str]:
        await asyncio.sleep(0)
        if self.fault is not None:
            raise self.fault
        self.settings = msgspec.structs.replace(self.settings, queues=settings.queues)
        return self.needs_restart


class Sources:
    """Settings to load, and an event that a test may hold back the loading with."""

    def __init__(self) -> None:
        self.settings: Settings | Exception = Settings()
        self.readings = 0
        self.begun = asyncio.Event()
        self.may_load = threading.Event()
        self.may_load.set()
        self._loop = asyncio.get_running_loop()

    def load(self) -> Loaded:
        self.readings += 1
        self._loop.call_soon_threadsafe(self.begun.set)
        assert self.may_load.wait(10)
        if isinstance(self.settings, Exception):
            raise self.settings
        return Loaded(self.settings)


@pytest.fixture
def events() -> Iterator[Events]:
    events = Events()
    logger = logging.getLogger("jobqueue.config.reload")
    logger.addHandler(events)
    logger.setLevel(logging.INFO)
    yield events
    logger.removeHandler(events)
    logger.setLevel(logging.NOTSET)


@asynccontextmanager
async def reloading(
    queue: FakeQueue, load: Callable[[], Loaded], set_level: Callable[[str], None] = lambda level: None
) -> AsyncIterator[Reload]:
    reload = Reload(queue, Loaded(queue.settings), load, set_level=set_level)
    task = asyncio.create_task(reload.run())
    yield reload
    assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def workers(count: int) -> Settings:
    return Settings(queues={"default": QueueSettings(workers=count)})


async def test_a_reload_applies_and_logs_the_changes(events: Events) -> None:
    queue, levels = FakeQueue(), list[str]()
    queue.needs_restart = ["server.port"]
    settings = Settings(
        queues={"default": QueueSettings(workers=7)}, server=ServerSettings(port=1), log=LogSettings(level="error")
    )
    async with reloading(queue, lambda: Loaded(settings), levels.append) as reload:
        reload.ask()
        changed = {"queues.default.workers": "1000 -> 7", "log.level": "info -> error"}
        assert await events.next() == ("config.reloaded", {"changed": changed})
        assert await events.next() == ("config.restart_required", {"settings": ["server.port"]})
    assert queue.settings.queues["default"].workers == 7
    assert levels == ["error"]


async def test_a_reload_without_restart_settings_logs_no_restart(events: Events) -> None:
    async with reloading(FakeQueue(), lambda: Loaded(Settings())) as reload:
        reload.ask()
        assert await events.next() == ("config.reloaded", {"changed": {}})
    assert events.none_left


async def test_an_invalid_reload_logs_every_fault_and_keeps_the_settings(events: Events) -> None:
    queue, levels = FakeQueue(), list[str]()
    sources = Sources()
    sources.settings = ConfigError("config.yaml:1:1: this", "config.yaml:2:2: that")
    async with reloading(queue, sources.load, levels.append) as reload:
        reload.ask()
        assert await events.next() == ("config.invalid", {"fault": "config.yaml:1:1: this"})
        assert await events.next() == ("config.invalid", {"fault": "config.yaml:2:2: that"})
        assert (queue.settings, levels) == (Settings(), [])
        sources.settings = workers(7)
        reload.ask()
        assert (await events.next())[0] == "config.reloaded"
    assert queue.settings == workers(7)


async def test_a_setting_that_the_queue_rejects_is_logged_as_a_fault(events: Events) -> None:
    queue, levels = FakeQueue(), list[str]()
    queue.fault = ConfigError("queues.mail: a handler's jobs go there")
    async with reloading(queue, lambda: Loaded(workers(7)), levels.append) as reload:
        reload.ask()
        assert await events.next() == ("config.invalid", {"fault": "queues.mail: a handler's jobs go there"})
    assert levels == []


async def test_a_reload_after_a_failed_one_works(events: Events) -> None:
    queue = FakeQueue()
    queue.fault = RuntimeError("broken")
    async with reloading(queue, lambda: Loaded(workers(7))) as reload:
        reload.ask()
        assert (await events.next())[0] == "config.reload_failed"
        queue.fault = None
        reload.ask()
        assert (await events.next())[0] == "config.reloaded"
    assert queue.settings == workers(7)


async def test_requests_during_a_reload_cause_exactly_one_more(events: Events) -> None:
    queue, sources = FakeQueue(), Sources()
    sources.settings = workers(7)
    sources.may_load.clear()
    async with reloading(queue, sources.load) as reload:
        reload.ask()
        await sources.begun.wait()  # the loop is not blocked
        for _ in range(3):
            reload.ask()
        sources.may_load.set()
        assert (await events.next())[1] == {"changed": {"queues.default.workers": "1000 -> 7"}}
        assert await events.next() == ("config.reloaded", {"changed": {}})
        assert (sources.readings, events.none_left) == (2, True)


async def test_a_reload_during_a_stop_is_ignored_and_logged(events: Events) -> None:
    sources = Sources()
    async with reloading(FakeQueue(), sources.load) as reload:
        reload.stop()
        reload.ask()
        assert await events.next() == ("config.reload_ignored", {"reason": "the server is stopping"})
    assert sources.readings == 0


async def test_a_reload_that_ends_during_a_stop_is_not_applied(events: Events) -> None:
    queue, sources = FakeQueue(), Sources()
    sources.settings = workers(7)
    sources.may_load.clear()
    async with reloading(queue, sources.load) as reload:
        reload.ask()
        await sources.begun.wait()
        reload.stop()
        sources.may_load.set()
        assert (await events.next())[0] == "config.reload_ignored"
    assert queue.settings == Settings()


async def test_a_reload_by_request_returns_its_changes(events: Events) -> None:
    queue = FakeQueue()
    queue.needs_restart = ["server.port"]
    settings = Settings(queues={"default": QueueSettings(workers=7)}, server=ServerSettings(port=1))
    async with reloading(queue, lambda: Loaded(settings)) as reload:
        assert await reload.now() == Reloaded(["queues.default.workers"], ["server.port"])
        assert (await events.next())[0] == "config.reloaded"
        assert (await events.next())[0] == "config.restart_required"
    assert reload.succeeded
    assert reload.restart_required == {"server.port": "8080 -> 1"}
    assert [each.settings for each in reload.readings] == [settings, Settings()]


async def test_a_reload_by_request_raises_the_faults_and_logs_them(events: Events) -> None:
    queue, sources = FakeQueue(), Sources()
    sources.settings = ConfigError("config.yaml:1:1: this", "config.yaml:2:2: that")
    async with reloading(queue, sources.load) as reload:
        before = reload.succeeded_at
        with pytest.raises(ConfigError) as raised:
            await reload.now()
        assert raised.value.faults == ("config.yaml:1:1: this", "config.yaml:2:2: that")
        assert [(await events.next())[0] for _ in range(2)] == ["config.invalid"] * 2
        assert (reload.succeeded, reload.succeeded_at) == (False, before)
        assert reload.faults == raised.value.faults
        sources.settings = Settings()
        await reload.now()
        assert (reload.succeeded, reload.faults) == (True, ())
        assert reload.succeeded_at >= before


async def test_reloads_by_request_follow_one_another(events: Events) -> None:
    sources = Sources()
    sources.may_load.clear()
    async with reloading(FakeQueue(), sources.load) as reload:
        first = asyncio.create_task(reload.now())
        await sources.begun.wait()
        second = asyncio.create_task(reload.now())
        await asyncio.sleep(0)
        assert sources.readings == 1
        sources.may_load.set()
        assert [await first, await second] == [Reloaded([], [])] * 2
    assert sources.readings == 2


async def test_a_reload_by_request_during_a_stop_is_rejected(events: Events) -> None:
    sources = Sources()
    async with reloading(FakeQueue(), sources.load) as reload:
        reload.stop()
        with pytest.raises(Draining):
            await reload.now()
        assert (await events.next())[0] == "config.reload_ignored"
        assert sources.readings == 0


async def test_a_hanging_reload_does_not_delay_the_stop() -> None:
    sources = Sources()
    sources.may_load.clear()
    async with reloading(FakeQueue(), sources.load) as reload:
        reload.ask()
        await sources.begun.wait()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "jobqueue-reload"]
    assert thread.daemon
    sources.may_load.set()
    thread.join(10)  # the late result is dropped without a log line
