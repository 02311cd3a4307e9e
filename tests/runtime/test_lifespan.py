"""The lifespan of a queue, and the initializer of each process; handlers find the value of either at `ctx.state`."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal

import pytest

from jobqueue import JobContext, JobQueue, JobState
from jobqueue.config import RuntimeSettings, Settings, SpoolSettings
from jobqueue.core.backoff import Backoff
from jobqueue.errors import ConfigError, LifespanFailed
from jobqueue.runtime.pools import processes
from tests.runtime.pools import initialized
from tests.runtime.pools.calling import LogEvents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Unreadable(Exception):
    def __str__(self) -> str:
        raise SystemExit(3)


class Pool:
    def __init__(self) -> None:
        self.steps: list[str] = []


def make_queue(tmp_path: Path, *, drain_s: float = 5.0) -> JobQueue:
    settings = Settings(
        runtime=RuntimeSettings(processes=1),
        spool=SpoolSettings(dir=str(tmp_path)),
    )
    queue = JobQueue(settings, drain_s=drain_s)

    @queue.handler
    async def on_the_loop(ctx: JobContext) -> str:
        await asyncio.sleep(0)
        ctx.state.steps.append("job")
        return type(ctx.state).__name__

    @queue.handler
    def in_a_thread(ctx: JobContext) -> str:
        ctx.state.steps.append("job")
        return type(ctx.state).__name__

    return queue


@pytest.fixture
async def logged() -> AsyncIterator[LogEvents]:
    events = LogEvents()
    logger = logging.getLogger("jobqueue")
    logger.addHandler(events)
    yield events
    logger.removeHandler(events)


@pytest.mark.parametrize("type_", ["on_the_loop", "in_a_thread"])
async def test_the_context_of_each_job_has_the_value_of_the_lifespan(tmp_path: Path, type_: str) -> None:
    queue, pool = make_queue(tmp_path), Pool()

    @queue.lifespan
    @asynccontextmanager
    async def connected(queue: JobQueue) -> AsyncIterator[Pool]:
        assert not queue.running
        pool.steps.append("entered")
        yield pool
        assert not queue.running
        pool.steps.append("left")

    async with queue:
        assert pool.steps == ["entered"]
        assert await (await queue.submit(type_)).result() == "Pool"
    assert pool.steps == ["entered", "job", "left"]


async def test_a_lifespan_is_exited_after_the_drain_and_entered_again_at_the_next_start(tmp_path: Path) -> None:
    queue, pool = make_queue(tmp_path), Pool()

    @queue.lifespan
    @asynccontextmanager
    async def connected(queue: JobQueue) -> AsyncIterator[Pool]:
        pool.steps.append("entered")
        yield pool
        pool.steps.append("left")

    for _ in range(2):
        async with queue:
            for _ in range(3):
                await queue.submit("on_the_loop")
    assert pool.steps == ["entered", "job", "job", "job", "left"] * 2


async def test_without_a_lifespan_the_state_is_none(tmp_path: Path) -> None:
    queue = JobQueue(Settings(spool=SpoolSettings(dir=str(tmp_path))))

    @queue.handler
    async def look(ctx: JobContext) -> Any:
        return ctx.state

    async with queue:
        assert await (await queue.submit("look")).result() is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (RuntimeError("no database"), "the lifespan failed at its start: RuntimeError: no database"),
        (SystemExit(3), "the lifespan failed at its start: RuntimeError: it raised SystemExit"),
        (asyncio.CancelledError(), "the lifespan failed at its start: CancelledError: it was cancelled"),
        (StopAsyncIteration(), "the lifespan failed at its start: RuntimeError: async generator raised StopAsync"),
        (Unreadable(), r"the lifespan failed at its start: Unreadable: \(its text is not available\)"),
    ],
)
async def test_an_exception_on_entering_the_lifespan_stops_the_start(
    tmp_path: Path, error: BaseException, message: str
) -> None:
    queue = make_queue(tmp_path)
    broken = True

    @queue.lifespan
    @asynccontextmanager
    async def connected(queue: JobQueue) -> AsyncIterator[Pool]:
        if broken:
            raise error
        yield Pool()

    with pytest.raises(LifespanFailed, match=message):
        await queue.start()
    assert not queue.running
    broken = False
    async with queue:
        assert await (await queue.submit("on_the_loop")).result() == "Pool"


async def test_a_lifespan_that_does_not_yield_or_is_no_context_manager_stops_the_start(tmp_path: Path) -> None:
    queue = make_queue(tmp_path)

    @queue.lifespan
    @asynccontextmanager
    async def empty(queue: JobQueue) -> AsyncIterator[Pool]:
        if not queue:
            yield Pool()

    with pytest.raises(LifespanFailed, match="generator didn't yield"):
        await queue.start()
    other = make_queue(tmp_path / "other")
    other.lifespan(lambda queue: 7)  # type: ignore[arg-type, return-value]  # invalid on purpose
    with pytest.raises(LifespanFailed, match="TypeError: it returned int, which is not an async context manager"):
        await other.start()


async def test_an_exception_on_exiting_the_lifespan_is_logged_and_the_stop_continues(
    tmp_path: Path, logged: LogEvents
) -> None:
    queue = make_queue(tmp_path)

    @queue.lifespan
    @asynccontextmanager
    async def connected(queue: JobQueue) -> AsyncIterator[Pool]:
        yield Pool()
        raise RuntimeError("already closed")

    async with queue:
        pass
    assert not queue.running
    assert logged.of("lifespan.failed") == [{"reason": "RuntimeError: already closed"}]


async def test_an_unreadable_exception_on_exiting_the_lifespan_is_logged(tmp_path: Path, logged: LogEvents) -> None:
    queue = make_queue(tmp_path)

    @queue.lifespan
    @asynccontextmanager
    async def connected(queue: JobQueue) -> AsyncIterator[Pool]:
        yield Pool()
        raise Unreadable

    async with queue:
        pass
    assert not queue.running
    assert logged.of("lifespan.failed") == [{"reason": "Unreadable: (its text is not available)"}]


async def test_a_start_that_fails_later_exits_the_lifespan(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    queue, pool = make_queue(tmp_path / "file"), Pool()

    @queue.lifespan
    @asynccontextmanager
    async def connected(queue: JobQueue) -> AsyncIterator[Pool]:
        pool.steps.append("entered")
        yield pool
        pool.steps.append("left")

    with pytest.raises(ConfigError):
        await queue.start()
    assert pool.steps == ["entered", "left"]


async def test_a_start_cancelled_while_entering_cleans_up_the_lifespan(tmp_path: Path) -> None:
    queue, pool = make_queue(tmp_path), Pool()
    entering = asyncio.Event()

    @queue.lifespan
    @asynccontextmanager
    async def connected(queue: JobQueue) -> AsyncIterator[Pool]:
        try:
            entering.set()
            await asyncio.get_running_loop().create_future()
            yield pool
        finally:
            pool.steps.append("tidied")

    starting = asyncio.create_task(queue.start())
    await entering.wait()
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert pool.steps == ["tidied"]
    assert not queue.running


async def test_a_task_group_in_a_lifespan_lives_as_long_as_the_queue(tmp_path: Path) -> None:
    """A task group must be entered and exited in one task, whichever tasks start and stop the queue."""
    queue = make_queue(tmp_path)

    @queue.lifespan
    @asynccontextmanager
    async def connected(queue: JobQueue) -> AsyncIterator[Pool]:
        async with asyncio.TaskGroup() as group, asyncio.timeout(60):
            beating = group.create_task(asyncio.Event().wait())
            yield Pool()
            beating.cancel()

    await asyncio.create_task(queue.start())
    assert await (await queue.submit("on_the_loop")).result() == "Pool"
    await asyncio.create_task(queue.stop())


def test_an_invalid_lifespan_raises_an_error() -> None:
    queue = JobQueue()

    async def generator(queue: JobQueue) -> AsyncIterator[int]:
        yield 1

    async def coroutine(queue: JobQueue) -> None: ...

    async def lonely() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(ValueError, match=r"generator: put @contextlib.asynccontextmanager between it and @queue"):
        queue.lifespan(generator)  # type: ignore[arg-type]  # invalid on purpose
    with pytest.raises(ValueError, match="must be a function that returns an async context manager"):
        queue.lifespan(coroutine)  # type: ignore[arg-type]  # invalid on purpose
    with pytest.raises(ValueError, match="it must yield, once"):
        queue.lifespan(asynccontextmanager(coroutine))  # type: ignore[arg-type]  # invalid on purpose
    with pytest.raises(ValueError, match="it is called with the queue, so it takes one argument"):
        queue.lifespan(asynccontextmanager(lonely))  # type: ignore[arg-type]  # invalid on purpose
    queue.lifespan(asynccontextmanager(generator))
    with pytest.raises(ValueError, match="which is set already"):
        queue.lifespan(asynccontextmanager(generator))


# In processes


def make_process_queue(tmp_path: Path, init: Any, processes: int = 1) -> JobQueue:
    settings = Settings(runtime=RuntimeSettings(processes=processes), spool=SpoolSettings(dir=str(tmp_path)))
    queue = JobQueue(settings)
    queue.process_init(init)
    queue.handler(run_in="process")(initialized.look)
    queue.handler(run_in="process")(initialized.die)
    return queue


async def test_an_initializer_runs_once_in_each_process_before_its_first_job(tmp_path: Path) -> None:
    async with make_process_queue(tmp_path, initialized.connect) as queue:
        first, second = [await (await queue.submit("look")).result() for _ in range(2)]
        assert first == second
        assert first["state"] == {"pid": first["pid"], "times": 1}
        await (await queue.submit("die")).wait()
        after = await (await queue.submit("look")).result()
        assert after["pid"] != first["pid"]
        assert after["state"] == {"pid": after["pid"], "times": 1}


async def test_a_program_started_by_an_initializer_stays_for_all_jobs(tmp_path: Path) -> None:
    async with make_process_queue(tmp_path, initialized.start_a_program) as queue:
        for _ in range(3):
            assert (await (await queue.submit("look")).result())["state"] == "alive"


async def test_a_failing_initializer_is_reported_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: LogEvents
) -> None:
    monkeypatch.setattr(processes, "RESTARTS", Backoff(backoff_s_base=0.01, backoff_s_max=0.02))
    monkeypatch.setenv("INITIALIZED", str(tmp_path / "there"))
    async with make_process_queue(tmp_path / "spool", initialized.connect_if_there) as queue:
        status = await (await queue.submit("look")).wait()
        assert status.state is JobState.FAILED
        assert status.error is not None
        assert status.error.code == "worker_crashed"
        assert status.error.message.startswith("no process can be started after ")
        assert status.error.message.endswith("process_init failed: LookupError: no database")
        assert queue.degraded == [
            "handlers in processes can't run: no process is running: process_init failed: LookupError: no database"
        ]
        assert logged.of("process.init_failed")[0]["message"] == "LookupError: no database"
        assert "in connect_if_there\n" in logged.of("process.init_failed")[0]["traceback"]
        (tmp_path / "there").touch()
        while queue.degraded:
            await asyncio.sleep(0)
        assert (await (await queue.submit("look")).result())["state"] == "connected"


@pytest.mark.parametrize("run_in", ["loop", "process"])
async def test_an_initializer_without_process_handlers_is_logged(
    tmp_path: Path, logged: LogEvents, run_in: Literal["loop", "process"]
) -> None:
    queue = JobQueue(Settings(runtime=RuntimeSettings(processes=1), spool=SpoolSettings(dir=str(tmp_path))))
    queue.process_init(initialized.connect)
    if run_in == "process":
        queue.handler(run_in="process")(initialized.look)
    async with queue:
        hints = [fields["hint"] for fields in logged.of("process.init_unused")]
    assert ["@queue.lifespan" in hint for hint in hints] == ([] if run_in == "process" else [True])


async def test_an_initializer_that_no_process_can_import_stops_the_start(tmp_path: Path) -> None:
    queue = make_process_queue(tmp_path, lambda: None)
    with pytest.raises(ValueError, match=r"a process can't run process_init .*: it is a lambda"):
        await queue.start()


def test_an_invalid_initializer_raises_an_error() -> None:
    queue = JobQueue()

    async def coroutine() -> None: ...

    def generator() -> Any:
        yield

    def demanding(settings: Any) -> None: ...

    for func, message in [
        (coroutine, "must be a plain function"),
        (generator, "must return its value, not yield it"),
        (demanding, "called without arguments"),
        (7, "must be a plain function"),
    ]:
        with pytest.raises(ValueError, match=message):
            queue.process_init(func)  # type: ignore[type-var]  # invalid on purpose
    queue.process_init(initialized.connect)
    with pytest.raises(ValueError, match="which is set already"):
        queue.process_init(initialized.connect)
