"""What one job leaves behind or raises reaches no other, on the loop, in threads and in processes."""

from __future__ import annotations

import asyncio
import ctypes
import decimal
import logging
import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue import JobQueue
from jobqueue.config import RuntimeSettings, Settings
from jobqueue.core.job import ErrorCode, JobState, Success
from jobqueue.runtime.isolation import Isolation
from jobqueue.runtime.pools.threads import ThreadPool
from tests.runtime.pools import blocking, hostile
from tests.runtime.pools.calling import LogEvents, Run, call_of, run

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.core.job import Job

PLACES = ["loop", "thread", "process"]


def queue_of(place: str, name: str) -> JobQueue:
    queue = JobQueue(Settings(runtime=RuntimeSettings(workers=4, threads=1, processes=1)))
    on_the_loop = place == "loop"
    func = getattr(hostile, f"{name}_on_the_loop" if on_the_loop else name)
    queue.handler(name=name, run_in=place, attempts_max=2)(func)  # type: ignore[arg-type]
    return queue


async def end_of(queue: JobQueue, type: str, args: dict[str, Any] | None = None, attempts_max: int = 1) -> Job:
    handle = await queue.submit(type, args, attempts_max=attempts_max)
    return await handle.wait(timeout_s=60)


@pytest.mark.parametrize("place", PLACES)
async def test_no_exception_of_a_handler_costs_its_worker(place: str) -> None:
    async with queue_of(place, "raises") as queue:
        for which in hostile.RAISED:
            job = await end_of(queue, "raises", {"which": which})
            assert job.error is not None
            rejected, left = which == "forgetful", which == "hostile exit"
            code = ErrorCode.REJECTED if rejected else ErrorCode.WORKER_CRASHED if left else ErrorCode.HANDLER_ERROR
            assert (job.state, job.error.code) == (JobState.FAILED, code), which
            assert "died" not in job.error.message


@pytest.mark.parametrize("place", PLACES)
async def test_a_retry_that_hides_its_wait_gets_the_next_attempt(place: str) -> None:
    async with queue_of(place, "raises") as queue:
        job = await end_of(queue, "raises", {"which": "rate limited"}, attempts_max=2)
        assert (job.attempt, job.state) == (2, JobState.FAILED)


@pytest.mark.parametrize("place", PLACES)
async def test_an_attempt_starts_without_what_the_last_one_set(place: str) -> None:
    for prec in (28, 40):  # as it comes, and as the application chose
        with decimal.localcontext() as chosen:
            chosen.prec = prec
            async with queue_of(place, "leave_behind") as queue:
                expected = ["nothing", 28 if place == "process" else prec]
                for _ in range(3):
                    job = await end_of(queue, "leave_behind")
                    assert job.result is not None
                    assert msgspec.json.decode(job.result) == expected
            assert chosen.prec == prec


async def test_a_thread_sees_the_context_variables_that_the_application_set() -> None:
    hostile.LEFT_BEHIND.set("by the application")
    async with queue_of("thread", "leave_behind") as queue:
        for _ in range(2):
            job = await end_of(queue, "leave_behind")
            assert job.result == b'["by the application",28]'


def test_decimals_flags_alone_are_no_reason_for_a_context_of_its_own() -> None:
    with decimal.localcontext() as chosen:
        chosen.flags[decimal.Inexact] = True
        fresh = Isolation().fresh()
        assert not any(isinstance(value, decimal.Context) for value in fresh.values())
        assert not fresh.run(decimal.getcontext).flags[decimal.Inexact]


# -- threads that are interrupted from outside


class Interruption(Exception):
    pass


def interrupt(thread: threading.Thread) -> None:
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(Interruption))


def pool_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("jobqueue-thread-")]


async def test_a_thread_that_was_interrupted_while_idle_carries_out_its_next_call() -> None:
    pool = ThreadPool(size=1)
    before = set(pool_threads())
    await run(pool, blocking.echo)
    (thread,) = set(pool_threads()) - before
    for _ in range(20):
        interrupt(thread)
        assert await asyncio.wait_for(run(pool, blocking.echo, value=1), 10) == Success(b"1")
    await pool.close()


async def test_a_call_whose_thread_was_interrupted_ends(tmp_path: Path) -> None:
    logged = LogEvents()
    logging.getLogger("jobqueue.runtime.pools.threads").addHandler(logged)
    pool = ThreadPool(size=1)
    before = set(pool_threads())
    running = Run(pool, call_of(blocking.wait_for, path=str(tmp_path / "never")))
    await running.told()
    (thread,) = set(pool_threads()) - before
    interrupt(thread)
    outcome = await asyncio.wait_for(running.task, 10)
    assert not isinstance(outcome, Success)
    assert "Interruption" in outcome.message
    assert await run(pool, blocking.echo, value=1) == Success(b"1")
    await pool.close()
    logging.getLogger("jobqueue.runtime.pools.threads").removeHandler(logged)


async def test_a_dead_thread_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ThreadPool(size=1)
    before = set(pool_threads())
    await run(pool, blocking.echo)
    (thread,) = set(pool_threads()) - before
    with monkeypatch.context() as patch:
        patch.setattr(thread, "is_alive", lambda: False)
        assert await run(pool, blocking.echo, value=1) == Success(b"1")
    assert len(set(pool_threads()) - before) == 2
    thread.give(None)  # type: ignore[attr-defined]
    await pool.close()


async def test_an_interruption_right_after_the_call_is_not_told_twice() -> None:
    class Late(Exception):
        pass

    pool = ThreadPool(size=1)
    await run(pool, blocking.echo)
    (thread,) = pool._idle
    work: Any = None

    def give(given: Any) -> None:
        nonlocal work
        work = given
        original(given)

    original = thread.give
    thread.give = give  # type: ignore[method-assign]
    assert await run(pool, blocking.echo, value=1) == Success(b"1")
    assert work.end_after(Late())
    assert await run(pool, blocking.echo, value=2) == Success(b"2")
    await pool.close()
