"""Real processes that are really killed. No test sleeps: ends are awaited by pidfds, the rest by progress reports."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import signal
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import pytest_asyncio

from jobqueue.core.backoff import Backoff
from jobqueue.core.report import ErrorCode, Failure, Success
from jobqueue.core.stored_file import StoredFile
from jobqueue.runtime.pools import child as child_module
from jobqueue.runtime.pools import fork_server as fork_server_module
from jobqueue.runtime.pools import processes
from jobqueue.runtime.pools.processes import ProcessPool
from tests.runtime.pools import blocking
from tests.runtime.pools.calling import LogEvents, Run, block_until_the_end_of, call_of, end_of, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ROOT = Path(__file__).parents[3]
GONE = "the process that ran the job is gone: "

pytestmark = pytest.mark.asyncio(loop_scope="module")
on_one_loop = pytest.mark.asyncio(loop_scope="module", loop_factories=["asyncio"])
"""For tests that start programs of their own and do not depend on the loop."""


@pytest.fixture
def wider_fixtures_change() -> bool:
    """The pool of the module replaces its processes whenever they end."""
    return True


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[ProcessPool]:
    """A pool shared by most tests: each must leave it complete, and some kill all of it."""
    pool = ProcessPool(size=2)
    yield pool
    await pool.close()


@pytest_asyncio.fixture(loop_scope="module")
async def fresh_pool() -> AsyncIterator[ProcessPool]:
    pool = ProcessPool(size=2)
    yield pool
    await pool.close()


@pytest_asyncio.fixture(loop_scope="module")
async def logged() -> AsyncIterator[LogEvents]:
    events = LogEvents()
    logger = logging.getLogger("jobqueue.runtime.pools.processes")
    logger.addHandler(events)
    logger.setLevel(logging.INFO)
    yield events
    logger.removeHandler(events)
    logger.setLevel(logging.NOTSET)


def fork_server_of(pool: ProcessPool) -> psutil.Process:
    for pid in pool.pids:
        with contextlib.suppress(psutil.NoSuchProcess):  # a test before may have ended it just now
            server = psutil.Process(pid).parent()
            assert server is not None
            return server
    raise AssertionError(f"none of the processes {pool.pids} runs")


# Outcomes of a call


async def test_a_call_returns_its_result_as_json(pool: ProcessPool) -> None:
    assert await run(pool, blocking.echo, value={"a": [1, None]}) == Success(b'{"a":[1,null]}')


async def test_a_handler_gets_its_context_in_a_process(pool: ProcessPool, tmp_path: Path) -> None:
    (tmp_path / "upload").write_text("hello")
    outcome = await run(pool, blocking.describe, folder=tmp_path)
    assert isinstance(outcome, Success)
    assert outcome.result.startswith(
        b'{"job_id":"some-job","attempt":3,"group":"some-group","text":"hello","file":["greeting.txt","text/plain",5],"pid":'
    )
    assert int(outcome.result.rpartition(b":")[2][:-1]) in pool.pids


async def test_the_process_of_a_job_is_known_while_it_runs(fresh_pool: ProcessPool) -> None:
    running = Run(fresh_pool, call_of(blocking.hang))
    pid = int(await running.next_report())
    assert fresh_pool.pid_of("some-job") == pid
    assert fresh_pool.pid_of("other-job") is None
    await running.cancel()
    assert fresh_pool.pid_of("some-job") is None


async def test_a_result_file_is_found_in_the_folder_of_its_job(pool: ProcessPool, tmp_path: Path) -> None:
    outcome = await run(pool, blocking.write_result, folder=tmp_path)
    path = str(tmp_path / "results" / "result-3")
    assert outcome == Success(b"null", StoredFile(path, "text/plain", 12))


async def test_large_arguments_and_results_are_passed(pool: ProcessPool) -> None:
    text = "x" * 999_000
    assert await run(pool, blocking.echo, value=text) == Success(f'"{text}"'.encode())
    too_large = await run(pool, blocking.echo, value=text * 5)
    assert isinstance(too_large, Failure)
    assert too_large.code is ErrorCode.RESULT_TOO_LARGE


async def test_a_bad_result_fails_the_attempt(pool: ProcessPool) -> None:
    outcome = await run(pool, blocking.numbers_of, size=1)
    assert isinstance(outcome, Failure)
    assert outcome.code is ErrorCode.BAD_RESULT


@pytest.mark.parametrize(
    ("handler", "code", "message"),
    [
        (blocking.fail, ErrorCode.HANDLER_ERROR, "LookupError: no such colour"),
        (blocking.reject, ErrorCode.REJECTED, "no good"),
        (blocking.leave, ErrorCode.WORKER_CRASHED, "SystemExit: 4"),
        (blocking.interrupt, ErrorCode.WORKER_CRASHED, "KeyboardInterrupt"),
    ],
)
async def test_an_exception_of_a_handler_becomes_an_outcome_and_its_process_survives(
    pool: ProcessPool, handler: Callable[..., Any], code: ErrorCode, message: str
) -> None:
    await run(pool, blocking.echo)
    before = set(pool.pids)
    outcome = await run(pool, handler)
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.message) == (code, message)
    assert await run(pool, blocking.echo, value=1) == Success(b"1")
    assert before <= set(pool.pids)


async def test_a_failure_keeps_its_traceback_and_retry_delay(pool: ProcessPool) -> None:
    failed, busy = await run(pool, blocking.fail), await run(pool, blocking.ask_for_a_retry)
    assert isinstance(failed, Failure)
    assert isinstance(busy, Failure)
    assert "in fail\n" in (failed.traceback or "")
    assert busy.retry_after_s == 7.5


@on_one_loop
async def test_output_of_a_handler_is_flushed(
    fresh_pool: ProcessPool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    await run(fresh_pool, print_twice)
    assert capfd.readouterr().out == "to be, or\nnot to be"


def print_twice() -> None:
    print("to be, or\nnot to be", end="")


# Progress


async def test_progress_is_rate_limited_and_the_last_report_precedes_the_result(pool: ProcessPool) -> None:
    running = Run(pool, call_of(blocking.report, times=10_000))
    await running.task
    assert running.reports[0] == (0.0001, "step 1")
    assert running.reports[-1] == (1.0, "step 10000")
    assert len(running.reports) < 200


async def test_a_delayed_progress_report_is_sent_while_the_handler_runs(pool: ProcessPool, tmp_path: Path) -> None:
    block = tmp_path / "block"
    block.touch()
    running = Run(pool, call_of(blocking.report_and_wait, path=str(block)))
    while not running.reports or running.reports[-1] != (0.2, "second"):
        await running.next_report()
    assert not running.task.done()
    block.unlink()
    await running.task


# Deaths


async def test_a_killed_process_fails_its_job_and_is_replaced(fresh_pool: ProcessPool, logged: LogEvents) -> None:
    replaced_after_ms = []
    await run(fresh_pool, blocking.echo)
    for turn in range(20):
        running = Run(fresh_pool, call_of(blocking.hang))
        pid = int(await running.next_report())
        started = len(logged.of("process.started"))
        killed_at = time.perf_counter()
        os.kill(pid, signal.SIGKILL)
        assert await running.task == Failure(ErrorCode.WORKER_CRASHED, GONE + "it was killed by SIGKILL")
        await logged.wait("process.started", started + 1)
        replaced_after_ms.append((time.perf_counter() - killed_at) * 1000)
        assert len(fresh_pool.pids) == 2
        assert pid not in fresh_pool.pids
        assert await run(fresh_pool, blocking.echo, value=turn) == Success(str(turn).encode())
    assert statistics.median(replaced_after_ms) < 100
    assert logged.of("process.failed") == []


async def test_replaced_processes_are_counted_by_the_reason(fresh_pool: ProcessPool) -> None:
    await run(fresh_pool, blocking.kill_itself)
    running = Run(fresh_pool, call_of(blocking.hang))
    await running.next_report()
    assert fresh_pool.counts.busy == 1
    await running.cancel()
    assert fresh_pool.counts.restarts == {"exited": 1, "stopped": 1, "server_lost": 0}
    await run(fresh_pool, blocking.echo)
    fork_server_of(fresh_pool).kill()
    while not fresh_pool.counts.restarts["server_lost"]:
        await run(fresh_pool, blocking.echo)
    assert (fresh_pool.counts.busy, fresh_pool.counts.size) == (0, 2)


@pytest.mark.parametrize(
    ("handler", "kwargs", "how"),
    [
        (blocking.exit_at_once, {"code": 3}, "it exited with code 3"),
        (blocking.exit_at_once, {"code": 0}, "it exited with code 0"),
        (blocking.kill_itself, {}, "it was killed by SIGKILL"),
        (blocking.read_invalid_memory, {}, "it was killed by SIGSEGV: Fatal Python error: Segmentation fault"),
        (blocking.complain_and_exit, {}, "it exited with code 5: no more colours"),
        (blocking.close_everything, {}, "it was killed by SIGKILL"),
    ],
)
async def test_the_error_of_a_dead_process_has_its_signal_or_exit_code(
    pool: ProcessPool, handler: Callable[..., Any], kwargs: dict[str, Any], how: str
) -> None:
    outcome = await run(pool, handler, **kwargs)
    assert outcome == Failure(ErrorCode.WORKER_CRASHED, GONE + how)
    assert await run(pool, blocking.echo, value=1) == Success(b"1")


async def test_a_dead_fork_server_is_replaced_with_its_processes(fresh_pool: ProcessPool) -> None:
    running = Run(fresh_pool, call_of(blocking.hang_with_a_child))
    grandchild = int(await running.next_report())
    before = set(fresh_pool.pids)
    fork_server_of(fresh_pool).kill()
    outcome = await running.task
    assert isinstance(outcome, Failure)
    assert outcome.message.endswith("its fork server died: it was killed by SIGKILL")
    await asyncio.gather(*(end_of(pid) for pid in [grandchild, *before]))
    assert await run(fresh_pool, blocking.echo, value=1) == Success(b"1")
    assert not before & set(fresh_pool.pids)


async def test_a_process_that_writes_to_its_own_connection_is_killed_and_its_job_fails(pool: ProcessPool) -> None:
    for data in (b"x" * 80, b"\0" * 80, b"HTTP/1.1 200 OK\r\n"):
        outcome = await run(pool, blocking.write_to_own_sockets, data=data)
        assert isinstance(outcome, Failure)
        assert outcome.code is ErrorCode.WORKER_CRASHED
        assert outcome.message.startswith("the process that ran the job sent an invalid message (")
        assert await run(pool, blocking.echo, value=1) == Success(b"1")


async def test_a_call_never_gets_the_answer_of_an_earlier_call() -> None:
    pool = ProcessPool(size=1)
    for turn in range(10):
        assert await run(pool, blocking.answer_itself) == Success(b'"forged"')
        outcome = await run(pool, blocking.echo, value=turn)
        assert outcome == Success(str(turn).encode()) or outcome.code is ErrorCode.WORKER_CRASHED  # type: ignore[union-attr]  # else a Failure
    await pool.close()


async def test_a_result_that_is_not_json_is_a_failure(pool: ProcessPool) -> None:
    outcome = await run(pool, blocking.answer_itself, result=b"nonsense")
    assert isinstance(outcome, Failure)
    assert "a result that is not JSON" in outcome.message


async def test_sigint_and_sigterm_end_children_of_handlers_but_no_process_of_the_pool(pool: ProcessPool) -> None:
    assert await run(pool, blocking.be_signalled) == Success(b'"still here"')
    assert await run(pool, blocking.terminate_a_child) == Success(str(-signal.SIGTERM).encode())
    running = Run(pool, call_of(blocking.report, times=1))
    fork_server = fork_server_of(pool)
    fork_server.terminate()
    fork_server.send_signal(signal.SIGINT)
    assert await running.task == Success(b'"reported"')
    assert fork_server_of(pool) == fork_server


# Cancelling


@on_one_loop
async def test_cancelling_kills_the_process_and_a_replacement_starts(
    fresh_pool: ProcessPool, logged: LogEvents
) -> None:
    running = Run(fresh_pool, call_of(blocking.hang))
    pid = int(await running.next_report())
    await running.cancel()
    await end_of(pid)
    started = 3
    await logged.wait("process.started", started)
    while len(fresh_pool.pids) < 2:  # an earlier event may be of the pool of another test
        started += 1
        await logged.wait("process.started", started)
    assert await run(fresh_pool, blocking.echo, value=1) == Success(b"1")


async def test_cancelling_kills_a_stopped_process(pool: ProcessPool) -> None:
    running = Run(pool, call_of(blocking.hang))
    pid = int(await running.next_report())
    os.kill(pid, signal.SIGSTOP)
    await running.cancel()
    await end_of(pid)


async def test_cancelling_kills_children_of_the_handler(pool: ProcessPool) -> None:
    running = Run(pool, call_of(blocking.hang_with_a_child))
    pid = int(await running.next_report())
    await running.cancel()
    await end_of(pid)


async def test_a_dying_process_takes_children_of_its_handler_with_it(pool: ProcessPool) -> None:
    running = Run(pool, call_of(blocking.fork_a_child_and_die))
    await end_of(int(await running.next_report()))
    assert await running.task == Failure(ErrorCode.WORKER_CRASHED, GONE + "it exited with code 1")


@pytest.mark.parametrize("how", ["ends", "fails", "is cancelled", "is killed"])
async def test_a_descendant_in_a_session_of_its_own_ends_with_its_job(pool: ProcessPool, how: str) -> None:
    running = Run(pool, call_of(blocking.leave_descendants, then=how))
    pids = [int(pid) for pid in (await running.next_report()).split()]
    if how == "is cancelled":
        await running.cancel()
    elif how == "is killed":
        os.kill(pids[0], signal.SIGKILL)
    await asyncio.gather(*(end_of(pid) for pid in pids[1:]))
    await asyncio.wait([running.task])
    assert await run(pool, blocking.echo, value=1) == Success(b"1")
    async with asyncio.timeout(5):  # the process reaps them after their end is seen here
        while {process.pid for process in fork_server_of(pool).children(recursive=True)} - set(pool.pids):
            await asyncio.sleep(0)


async def test_a_program_started_on_import_survives_the_jobs(
    fresh_pool: ProcessPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helped.py").write_text(
        "import os, subprocess\n"
        f"HELPER = subprocess.Popen(['sleep', '3600']) if os.getpid() != {os.getpid()} else None\n"
        "def handler(): return [HELPER.pid, HELPER.poll()]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    fresh_pool.start([importlib.import_module("helped").handler])
    seen = {await result_of(run(fresh_pool, importlib.import_module("helped").handler)) for _ in range(4)}
    assert len(seen) <= 2  # one per process, and alive
    assert all(one.endswith(b",null]") for one in seen)


async def test_timers_folder_umask_and_signals_are_restored_after_each_job() -> None:
    pool = ProcessPool(size=1)
    before = await run(pool, blocking.see_surroundings)
    await run(pool, blocking.change_surroundings)
    assert await run(pool, blocking.see_surroundings) == before
    assert isinstance(before, Success)
    await pool.close()


async def result_of(outcome: Awaitable[Success | Failure]) -> bytes:
    success = await outcome
    assert isinstance(success, Success)
    return success.result


async def test_a_result_counts_if_its_process_dies_afterwards(pool: ProcessPool) -> None:
    running = Run(pool, call_of(blocking.answer_and_die))
    pid = int(await running.next_report())
    block_until_the_end_of(pid)
    pool.on_exited(pid, "reported before its answer was read")
    assert await running.task == Success(b'"answered"')


async def test_a_call_cancelled_while_it_waits_takes_no_process(pool: ProcessPool) -> None:
    hanging = [Run(pool, call_of(blocking.hang)) for _ in range(2)]
    for one in hanging:
        await one.next_report()
    waiting = [Run(pool, call_of(blocking.report, times=1)) for _ in range(2)]
    await asyncio.wait([one.task for one in waiting], timeout=0)
    await waiting[0].cancel()
    await hanging[0].cancel()
    assert await waiting[1].task == Success(b'"reported"')
    await hanging[1].cancel()
    assert waiting[0].reports == []


# Crash loops


@on_one_loop
async def test_restarts_of_a_failing_fork_server_back_off_and_calls_fail(
    fresh_pool: ProcessPool, logged: LogEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RESTARTS", Backoff(backoff_s_base=0.01, backoff_s_max=0.06))
    with monkeypatch.context() as patch:
        patch.setattr(child_module, "command", lambda fd: ["/bin/sh", "-c", "exit 7"])
        outcome = await run(fresh_pool, blocking.echo)
        assert outcome == Failure(
            ErrorCode.WORKER_CRASHED,
            "no process can be started after 5 attempts: the fork server died: it exited with code 7",
        )
        assert [event["retry_after_s"] for event in logged.of("process.failed")] == [0.0, 0.01, 0.02, 0.04, 0.06]
    assert await run(fresh_pool, blocking.echo, value=1) == Success(b"1")


async def test_a_silent_fork_server_is_replaced(
    fresh_pool: ProcessPool, monkeypatch: pytest.MonkeyPatch, logged: LogEvents
) -> None:
    await run(fresh_pool, blocking.echo)
    server = fork_server_of(fresh_pool)
    server.suspend()
    monkeypatch.setattr(fork_server_module, "SILENT_S", 0.05)
    for pid in fresh_pool.pids:
        os.kill(pid, signal.SIGKILL)
    while fresh_pool.degraded is None:
        await asyncio.sleep(0)
    running = Run(fresh_pool, call_of(blocking.echo, value=1))
    await logged.wait("process.failed")
    monkeypatch.setattr(fork_server_module, "SILENT_S", 5.0)  # enough time for the new one
    assert await running.task == Success(b"1")
    assert fork_server_of(fresh_pool) != server
    assert not server.is_running()
    assert "no answer for 0.1 s, so it was killed" in logged.of("process.failed")[0]["how"]


async def test_a_call_fails_when_its_process_is_dead_and_the_fork_server_silent(
    fresh_pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Run(fresh_pool, call_of(blocking.hang))
    pid = int(await running.next_report())
    fork_server_of(fresh_pool).suspend()
    monkeypatch.setattr(fork_server_module, "SILENT_S", 0.05)
    os.kill(pid, signal.SIGKILL)
    outcome = await running.task
    assert isinstance(outcome, Failure)
    assert "its fork server died: no answer" in outcome.message


@on_one_loop
async def test_the_error_of_a_dead_fork_server_has_its_last_line(
    fresh_pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RESTARTS", Backoff(backoff_s_base=0.01))
    script = "import random, nowhere"
    monkeypatch.setattr(child_module, "command", lambda fd: [sys.executable, "-c", script])
    outcome = await run(fresh_pool, blocking.echo)
    assert isinstance(outcome, Failure)
    assert outcome.message.endswith("it exited with code 1: ModuleNotFoundError: No module named 'nowhere'")
    assert fresh_pool.degraded == (
        "no process is running: the fork server died: "
        "it exited with code 1: ModuleNotFoundError: No module named 'nowhere'"
    )


@on_one_loop
async def test_the_error_of_a_missing_program_names_it(
    fresh_pool: ProcessPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RESTARTS", Backoff(backoff_s_base=0.01))
    monkeypatch.setattr(child_module, "command", lambda fd: ["/nowhere/python"])
    outcome = await run(fresh_pool, blocking.echo)
    assert isinstance(outcome, Failure)
    assert "No such file or directory: '/nowhere/python'" in outcome.message


@on_one_loop
async def test_replacements_of_processes_that_die_unused_back_off(
    fresh_pool: ProcessPool, logged: LogEvents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RESTARTS", Backoff(backoff_s_base=0.01))
    hanging = Run(fresh_pool, call_of(blocking.hang))
    busy = int(await hanging.next_report())
    for deaths in range(1, 5):
        pids = [event["pid"] for event in await logged.wait("process.started", deaths + 1)]
        os.kill(next(pid for pid in reversed(pids) if pid != busy), signal.SIGKILL)
        await logged.wait("process.failed", deaths)
    assert [event["retry_after_s"] for event in logged.of("process.failed")] == [0.0, 0.01, 0.02, 0.04]
    await logged.wait("process.started", 6)
    assert await run(fresh_pool, blocking.echo, value=1) == Success(b"1")
    await hanging.cancel()


@on_one_loop
async def test_a_module_that_fails_to_import_in_a_process_fails_only_its_own_jobs(
    fresh_pool: ProcessPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: LogEvents
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name, statement, code, message in [
        ("ends", "os._exit(9)", ErrorCode.WORKER_CRASHED, GONE + "it exited with code 9"),
        ("raises", "raise RuntimeError('not here')", ErrorCode.HANDLER_ERROR, "RuntimeError: not here"),
        ("lacks", "import nowhere", ErrorCode.HANDLER_ERROR, "ModuleNotFoundError: No module named 'nowhere'"),
        ("leaves", "raise SystemExit(2)", ErrorCode.WORKER_CRASHED, "SystemExit: 2"),
    ]:
        source = f"import os\nif os.getpid() != {os.getpid()}:\n    {statement}\ndef handler(): pass\n"
        (tmp_path / f"fragile_{name}.py").write_text(source)
        module = importlib.import_module(f"fragile_{name}")
        outcome = await run(fresh_pool, module.handler)
        assert isinstance(outcome, Failure)
        assert (outcome.code, outcome.message) == (code, message)
        assert await run(fresh_pool, blocking.echo, value=1) == Success(b"1")
    assert logged.of("process.failed") == []


@on_one_loop
async def test_a_replacement_imports_the_modules_in_use_before_its_first_call(
    fresh_pool: ProcessPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: LogEvents
) -> None:
    (tmp_path / "noted.py").write_text(
        "import os\n"
        f"with open({str(tmp_path / 'imports')!r}, 'a') as notes:\n"
        "    print(os.getpid(), file=notes)\n"
        "def handler(): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "noted", raising=False)
    await run(fresh_pool, importlib.import_module("noted").handler)
    await run(fresh_pool, blocking.exit_at_once, code=1)
    replacement = (await logged.wait("process.started", 3))[-1]["pid"]
    hanging = [Run(fresh_pool, call_of(blocking.hang)) for _ in range(2)]
    assert str(replacement) in [await one.next_report() for one in hanging]
    assert str(replacement) in (tmp_path / "imports").read_text().split()
    for one in hanging:
        await one.cancel()


@on_one_loop
async def test_a_started_pool_imports_its_handlers_before_the_first_call(
    fresh_pool: ProcessPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: LogEvents
) -> None:
    imported = tmp_path / "imported"
    os.mkfifo(imported)
    fd, imported_event = os.open(imported, os.O_RDONLY | os.O_NONBLOCK), asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, imported_event.set)
    (tmp_path / "early.py").write_text(
        f"import os\nif os.getpid() != {os.getpid()}: open({str(imported)!r}, 'w').close()\ndef handler(): pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    fresh_pool.start([importlib.import_module("early").handler, blocking.echo])
    await logged.wait("process.started", 2)
    async with asyncio.timeout(10):
        await imported_event.wait()
    asyncio.get_running_loop().remove_reader(fd)
    os.close(fd)
    with pytest.raises(ValueError, match="it is a lambda"):
        fresh_pool.start([lambda: None])


@on_one_loop
async def test_an_unpicklable_call_fails_finally(fresh_pool: ProcessPool) -> None:
    class Unsendable:
        def __reduce__(self) -> str:
            raise SystemExit(3)

    for func, kwargs in [
        (lambda: None, {}),
        (blocking.echo, {"value": lambda: None}),
        (blocking.echo, {"value": Unsendable()}),
    ]:
        outcome = await run(fresh_pool, func, **kwargs)
        assert isinstance(outcome, Failure)
        assert outcome.final
        assert "can't be sent to a process: " in outcome.message
    assert fresh_pool.pids == []


# Closing


async def test_close_ends_running_calls_and_leaves_no_process() -> None:
    pool = ProcessPool(size=2)
    running = [Run(pool, call_of(blocking.hang)) for _ in range(2)]
    for one in running:
        await one.next_report()
    waiting = Run(pool, call_of(blocking.hang))
    server = fork_server_of(pool)
    family = [server, *server.children()]
    await asyncio.wait([waiting.task], timeout=0)
    await pool.close()
    await pool.close()
    assert [process for process in family if process.is_running()] == []
    for one in [*running, waiting]:
        outcome = await one.task
        assert isinstance(outcome, Failure)
        assert outcome.code is ErrorCode.SHUTDOWN
    with pytest.raises(RuntimeError, match="closed"):
        await run(pool, blocking.echo)


async def test_close_before_the_first_process_starts_leaves_no_process() -> None:
    before = set(psutil.Process().children())
    pool = ProcessPool(size=2)
    running = Run(pool, call_of(blocking.echo))
    await asyncio.wait([running.task], timeout=0)
    (server,) = set(psutil.Process().children()) - before
    await pool.close()
    assert not server.is_running()
    assert await running.task == Failure(ErrorCode.SHUTDOWN, "the process pool was closed")


async def test_close_kills_a_stopped_fork_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_server_module, "CLOSE_S_MAX", 0.05)
    pool = ProcessPool(size=1)
    await run(pool, blocking.echo)
    server = fork_server_of(pool)
    server.suspend()
    await pool.close()
    assert not server.is_running()


SERVER = """
import asyncio, os, signal, sys
sys.path[:0] = [{root!r}]
from jobqueue.runtime.pools.processes import ProcessPool
from tests.runtime.pools import blocking
from tests.runtime.pools.calling import call_of

def tell(fraction, note):
    bystander = os.fork()  # holds all sockets of this program, so none closes when it ends
    if bystander == 0:
        signal.pause()
    print(note, bystander, flush=True)

asyncio.run(ProcessPool(size=1).run(call_of(blocking.{handler}), on_progress=tell))
"""


@on_one_loop
@pytest.mark.parametrize("handler", ["hold_the_interpreter", "hang_with_a_child"])
async def test_a_busy_process_ends_with_its_killed_server(handler: str) -> None:
    script = SERVER.format(root=str(ROOT), handler=handler)
    server = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert server.stdout is not None
    busy, bystander = map(int, (await server.stdout.readline()).split())
    fork_server = next(child for child in psutil.Process(server.pid).children() if child.pid != bystander)
    killed_at = time.perf_counter()
    server.kill()
    try:
        await asyncio.gather(end_of(busy), end_of(fork_server.pid))
        assert time.perf_counter() - killed_at < 10
    finally:
        os.kill(bystander, signal.SIGKILL)
        await server.communicate()  # until the last holder of its standard output has ended
