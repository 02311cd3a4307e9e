from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING

import pytest

from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.stored_file import StoredFile
from jobqueue.runtime.pools.pool_counts import PoolCounts
from jobqueue.runtime.pools.threads import ThreadPool
from tests.runtime.pools import blocking
from tests.runtime.pools.calling import LogEvents, Run, call_of, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def pool() -> AsyncIterator[ThreadPool]:
    pool = ThreadPool(size=2)
    yield pool
    await pool.close()


@pytest.fixture
async def logged() -> AsyncIterator[LogEvents]:
    events = LogEvents()
    logger = logging.getLogger("jobqueue.runtime.pools.threads")
    logger.addHandler(events)
    logger.setLevel(logging.INFO)
    yield events
    logger.removeHandler(events)
    logger.setLevel(logging.NOTSET)


def pool_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("jobqueue-thread-")}


async def test_a_call_returns_its_result_as_json(pool: ThreadPool) -> None:
    assert await run(pool, blocking.echo, value={"a": [1, None]}) == Success(b'{"a":[1,null]}')


async def test_a_handler_gets_its_context(pool: ThreadPool, tmp_path: Path) -> None:
    (tmp_path / "upload").write_text("hello")
    outcome = await run(pool, blocking.describe, folder=tmp_path)
    assert isinstance(outcome, Success)
    assert outcome.result.startswith(
        b'{"job_id":"some-job","attempt":3,"group":"some-group","text":"hello","file":["greeting.txt","text/plain",5],'
    )


async def test_a_result_file_is_found_in_the_folder_of_its_job(pool: ThreadPool, tmp_path: Path) -> None:
    outcome = await run(pool, blocking.write_result, folder=tmp_path)
    path = str(tmp_path / "results" / "result-3")
    assert outcome == Success(b"null", StoredFile(path, "text/plain", 12))


@pytest.mark.parametrize(
    ("handler", "code", "message"),
    [
        (blocking.fail, ErrorCode.HANDLER_ERROR, "LookupError: no such colour"),
        (blocking.reject, ErrorCode.REJECTED, "no good"),
        (blocking.leave, ErrorCode.WORKER_CRASHED, "SystemExit: 4"),
        (blocking.interrupt, ErrorCode.WORKER_CRASHED, "KeyboardInterrupt"),
    ],
)
async def test_an_exception_of_a_handler_becomes_an_outcome(
    pool: ThreadPool, handler: object, code: ErrorCode, message: str
) -> None:
    outcome = await run(pool, handler)  # type: ignore[arg-type]  # any function
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.message) == (code, message)
    assert await run(pool, blocking.echo, value=1) == Success(b"1")


async def test_an_invalid_or_oversized_result_fails_the_attempt(pool: ThreadPool) -> None:
    bad = await run(pool, blocking.numbers_of, size=1)
    large = await run(pool, blocking.echo, value="x" * 1_000_000)
    assert isinstance(bad, Failure)
    assert isinstance(large, Failure)
    assert (bad.code, large.code) == (ErrorCode.BAD_RESULT, ErrorCode.RESULT_TOO_LARGE)


async def test_each_report_of_progress_is_passed_on_before_the_result(pool: ThreadPool) -> None:
    running = Run(pool, call_of(blocking.report, times=100))
    await running.task
    assert [note for _, note in running.reports] == [f"step {n}" for n in range(1, 101)]


async def test_the_pool_runs_at_most_size_calls_at_once(pool: ThreadPool, tmp_path: Path) -> None:
    go = tmp_path / "go"
    runs = [Run(pool, call_of(blocking.wait_for, path=str(go))) for _ in range(3)]
    await asyncio.gather(runs[0].next_report(), runs[1].next_report())
    assert runs[2].reports == []
    assert len(pool_threads()) == 2
    go.touch()
    assert [await r.task for r in runs] == [Success(b'"returned"')] * 3


async def test_threads_are_reused(pool: ThreadPool) -> None:
    for _ in range(5):
        await run(pool, blocking.echo)
    assert len(pool_threads()) == 1


async def test_a_cancelled_call_ends_at_once_and_its_handler_sees_it(pool: ThreadPool, logged: LogEvents) -> None:
    running = Run(pool, call_of(blocking.wait_until_cancelled))
    await running.next_report()
    await running.cancel()
    (abandoned,) = logged.of("thread.abandoned")
    assert abandoned["job_id"] == "some-job"
    assert "in wait_until_cancelled" in abandoned["stack"]
    assert (await logged.wait("thread.returned"))[0]["total"] == 0


async def test_an_abandoned_thread_releases_its_slot(pool: ThreadPool, tmp_path: Path, logged: LogEvents) -> None:
    go = tmp_path / "go"
    hanging = [Run(pool, call_of(blocking.wait_for, path=str(go))) for _ in range(2)]
    for one in hanging:
        await one.next_report()
        await one.cancel()
    assert await asyncio.gather(run(pool, blocking.echo), run(pool, blocking.echo)) == [Success(b"null")] * 2
    go.touch()
    await logged.wait("thread.returned", 2)


async def test_busy_idle_and_abandoned_threads_are_counted(pool: ThreadPool, tmp_path: Path, logged: LogEvents) -> None:
    go = tmp_path / "go"
    abandoned, busy = [Run(pool, call_of(blocking.wait_for, path=str(go))) for _ in range(2)]
    await abandoned.next_report()
    await busy.next_report()
    assert pool.counts == PoolCounts(size=2, busy=2)
    await abandoned.cancel()
    assert pool.counts == PoolCounts(size=2, busy=1, abandoned=1)
    go.touch()
    await busy.task
    await logged.wait("thread.returned")
    assert pool.counts == PoolCounts(size=2, idle=2)


async def test_abandoned_threads_are_bounded_and_further_calls_wait(
    pool: ThreadPool, tmp_path: Path, logged: LogEvents
) -> None:
    go = tmp_path / "go"
    for _ in range(4):
        hanging = Run(pool, call_of(blocking.wait_for, path=str(go)))
        await hanging.next_report()
        await hanging.cancel()
    assert [event["total"] for event in logged.of("thread.abandoned")] == [1, 2, 3, 4]
    late = Run(pool, call_of(blocking.report, times=1))
    impatient = Run(pool, call_of(blocking.report, times=1))
    await asyncio.wait([late.task, impatient.task], timeout=0)
    await impatient.cancel()
    assert len(pool_threads()) == 4
    assert not late.task.done()
    go.touch()
    assert await late.task == Success(b'"reported"')
    await logged.wait("thread.returned", 4)
    assert await asyncio.gather(*(run(pool, blocking.echo) for _ in range(3))) == [Success(b"null")] * 3


async def test_close_ends_idle_threads_at_once_and_busy_ones_when_they_return(tmp_path: Path) -> None:
    pool, go = ThreadPool(size=2), tmp_path / "go"
    running = Run(pool, call_of(blocking.wait_for, path=str(go)))
    await running.next_report()
    await run(pool, blocking.echo)
    before = pool_threads()
    await pool.close()
    left = pool_threads()
    assert (len(before), len(left)) == (2, 1)
    go.touch()
    assert await running.task == Success(b'"returned"')
    for thread in left:
        thread.join(5)
    assert not pool_threads()
    with pytest.raises(RuntimeError, match="closed"):
        await run(pool, blocking.echo)


async def test_a_thread_that_cannot_start_fails_the_attempt_and_releases_the_slot(
    pool: ThreadPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for _ in range(3):
            outcome = await run(pool, blocking.echo)
            assert outcome == Failure(ErrorCode.WORKER_CRASHED, "no thread could be started: can't start new thread")
    assert await run(pool, blocking.echo) == Success(b"null")


def test_an_abandoned_thread_ends_when_its_handler_returns_after_the_loop_is_closed(tmp_path: Path) -> None:
    go = tmp_path / "go"

    async def leave_one_behind() -> None:
        pool = ThreadPool(size=1)
        hanging = Run(pool, call_of(blocking.wait_for, path=str(go)))
        await hanging.next_report()
        await hanging.cancel()
        await pool.close()

    asyncio.run(leave_one_behind())
    (thread,) = pool_threads()
    assert thread.daemon  # so it can't delay the exit of the program
    go.touch()
    thread.join(5)
    assert not thread.is_alive()
