"""Isolation of jobs: no state or exception of one reaches another, on the loop, in threads and in processes."""

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
from jobqueue.core.job import JobState
from jobqueue.core.report import ErrorCode, Success
from jobqueue.runtime.isolation import Isolation
from jobqueue.runtime.pools.threads import ThreadPool
from tests.runtime.pools import blocking, hostile
from tests.runtime.pools.calling import LogEvents, Run, call_of, run

if TYPE_CHECKING:
    from pathlib import Path

    from jobqueue.core.job import Job

RUN_INS = ["loop", "thread", "process"]


def queue_of(run_in: str, name: str) -> JobQueue:
    queue = JobQueue(Settings(runtime=RuntimeSettings(workers=4, threads=1, processes=1)))
    on_the_loop = run_in == "loop"
    func = getattr(hostile, f"{name}_on_the_loop" if on_the_loop else name)
    queue.handler(name=name, run_in=run_in, attempts_max=2)(func)  # type: ignore[arg-type]  # a str, not the literals
    return queue


async def end_of(queue: JobQueue, type: str, args: dict[str, Any] | None = None, attempts_max: int = 1) -> Job:
    handle = await queue.submit(type, args, attempts_max=attempts_max)
    return await handle.wait(timeout_s=60)


@pytest.mark.parametrize("run_in", RUN_INS)
async def test_a_worker_survives_any_exception_of_a_handler(run_in: str) -> None:
    async with queue_of(run_in, "raises") as queue:
        for which in hostile.RAISED:
            job = await end_of(queue, "raises", {"which": which})
            assert job.error is not None
            rejected, left = which == "forgetful", which == "hostile exit"
            code = ErrorCode.REJECTED if rejected else ErrorCode.WORKER_CRASHED if left else ErrorCode.HANDLER_ERROR
            assert (job.state, job.error.code) == (JobState.FAILED, code), which
            assert "died" not in job.error.message


@pytest.mark.parametrize("run_in", RUN_INS)
async def test_a_retry_without_a_readable_delay_is_still_retried(run_in: str) -> None:
    async with queue_of(run_in, "raises") as queue:
        job = await end_of(queue, "raises", {"which": "rate limited"}, attempts_max=2)
        assert (job.attempt, job.state) == (2, JobState.FAILED)


@pytest.mark.parametrize("run_in", RUN_INS)
async def test_context_changes_of_an_attempt_do_not_reach_the_next(run_in: str) -> None:
    for prec in (28, 40):  # the default, and a choice of the application
        with decimal.localcontext() as chosen:
            chosen.prec = prec
            async with queue_of(run_in, "leave_behind") as queue:
                expected = ["nothing", 28 if run_in == "process" else prec]
                for _ in range(3):
                    job = await end_of(queue, "leave_behind")
                    assert job.result is not None
                    assert msgspec.json.decode(job.result) == expected
            assert chosen.prec == prec


async def test_a_thread_sees_the_context_variables_of_the_application() -> None:
    hostile.LEFT_BEHIND.set("by the application")
    async with queue_of("thread", "leave_behind") as queue:
        for _ in range(2):
            job = await end_of(queue, "leave_behind")
            assert job.result == b'["by the application",28]'


def test_decimal_flags_alone_create_no_separate_decimal_context() -> None:
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


async def test_an_idle_thread_that_is_interrupted_runs_its_next_call() -> None:
    pool = ThreadPool(size=1)
    before = set(pool_threads())
    await run(pool, blocking.echo)
    (thread,) = set(pool_threads()) - before
    for _ in range(20):
        interrupt(thread)
        assert await asyncio.wait_for(run(pool, blocking.echo, value=1), 10) == Success(b"1")
    await pool.close()


async def test_a_call_ends_when_its_thread_is_interrupted(tmp_path: Path) -> None:
    logged = LogEvents()
    logging.getLogger("jobqueue.runtime.pools.threads").addHandler(logged)
    pool = ThreadPool(size=1)
    before = set(pool_threads())
    running = Run(pool, call_of(blocking.wait_for, path=str(tmp_path / "never")))
    await running.next_report()
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
    thread.give(None)  # type: ignore[attr-defined]  # of the pool's thread class
    await pool.close()


async def test_an_interruption_after_the_result_is_ignored() -> None:
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
    thread.give = give  # type: ignore[method-assign]  # a spy
    assert await run(pool, blocking.echo, value=1) == Success(b"1")
    assert work.end_after(Late())
    assert await run(pool, blocking.echo, value=2) == Success(b"2")
    await pool.close()
