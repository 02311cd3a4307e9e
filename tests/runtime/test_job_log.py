"""Log lines of failed jobs: one for each, wherever the handler ran and however it failed."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from jobqueue import Backoff, JobContext, JobQueue, JobState, Reject, Retry
from jobqueue import log as log_module
from jobqueue.config import LimitsSettings, LogSettings, Settings
from jobqueue.log import EventMessage
from jobqueue.sampling import Samples
from jobqueue.testing import virtual_time
from tests.runtime.pools import blocking


def fields_of(caplog: pytest.LogCaptureFixture, event: str) -> list[tuple[int, dict[str, Any]]]:
    """Return level and fields of each line of that event, in order."""
    messages = [(record.levelno, record.msg) for record in caplog.records]
    return [
        (level, dict(message.fields))
        for level, message in messages
        if isinstance(message, EventMessage) and message.event == event
    ]


@pytest.fixture(autouse=True)
def all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


@pytest.fixture(autouse=True)
def fresh_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no event be counted only because an earlier test had it logged a moment ago."""
    monkeypatch.setattr(log_module, "_samples", Samples())


def failing() -> JobQueue:
    """Return a queue with one handler for each kind of failure on the loop."""
    queue = JobQueue(Settings(limits=LimitsSettings(result_bytes=100)), drain_s=0.0)

    @queue.handler(timeout_s=1.5)
    async def timed_out() -> None:
        await asyncio.sleep(3600)

    @queue.handler
    async def rejected() -> None:
        raise Reject("not this one")

    @queue.handler
    async def bad_result() -> object:
        return object()

    @queue.handler
    async def result_too_large() -> str:
        return "x" * 101

    @queue.handler
    async def worker_crashed() -> None:
        raise SystemExit

    @queue.handler
    async def handler_error() -> None:
        raise ValueError("broken")

    @queue.handler
    async def retry() -> None:
        raise Retry(1, "again")

    return queue


@virtual_time
@pytest.mark.parametrize(
    ("type", "code", "message"),
    [
        ("timed_out", "timed_out", "longer than its timeout of 1.5 s"),
        ("rejected", "rejected", "not this one"),
        ("bad_result", "bad_result", "that JSON can't represent"),
        ("result_too_large", "result_too_large", "the maximum is 100"),
        ("worker_crashed", "worker_crashed", "SystemExit"),
        ("handler_error", "handler_error", "ValueError: broken"),
        ("retry", "handler_error", "again"),
    ],
)
async def test_each_failed_job_logs_one_line(
    caplog: pytest.LogCaptureFixture, type: str, code: str, message: str
) -> None:
    async with failing() as queue:
        job = await queue.submit(type)
        assert (await job.wait()).state is JobState.FAILED
    ((level, fields),) = fields_of(caplog, "job.failed")
    assert level == logging.WARNING
    assert message in fields.pop("message")
    traceback = fields.pop("traceback", None)
    assert (traceback is not None) == (type in ("handler_error", "worker_crashed"))
    run_s = 1.5 if type == "timed_out" else 0.0
    assert fields == {
        "job_id": job.id,
        "type": type,
        "queue": "default",
        "attempt": 1,
        "code": code,
        "run_s": pytest.approx(run_s, abs=0.01),
    }
    assert fields_of(caplog, "attempt.failed") == []


@virtual_time
async def test_a_failed_attempt_is_logged_at_info_and_the_last_one_as_job_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = JobQueue()

    @queue.handler(attempts_max=3, backoff=Backoff(backoff_s_base=1))
    async def call() -> None:
        raise Retry(2.5, "busy")

    async with queue:
        await (await queue.submit("call")).wait()
    lines = fields_of(caplog, "attempt.failed")
    assert [level for level, _ in lines] == [logging.INFO, logging.INFO]
    assert [(fields["attempt"], fields["message"], fields["retry_in_s"]) for _, fields in lines] == [
        (1, "busy", 2.5),
        (2, "busy", 2.5),
    ]
    ((level, last),) = fields_of(caplog, "job.failed")
    assert (level, last["attempt"], "retry_in_s" in last) == (logging.WARNING, 3, False)


@virtual_time
async def test_a_lost_lease_is_logged_as_job_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = JobQueue()
    release = asyncio.Event()

    @queue.handler(timeout_s=1)
    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    async with queue:
        assert (await (await queue.submit("stubborn")).wait()).state is JobState.FAILED
        ((_, fields),) = fields_of(caplog, "job.failed")
        assert (fields["code"], fields["run_s"]) == ("timed_out", 2.0)
        release.set()


@virtual_time
async def test_an_exception_during_a_stop_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    queue = JobQueue()

    @queue.handler(timeout_s=60)
    async def careless() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            raise KeyError("cleaning up")

    async with queue:
        stopped = await queue.submit("careless", timeout_s=1)
        await stopped.wait()
        cancelled = await queue.submit("careless")
        await asyncio.sleep(1)
        await cancelled.cancel()
        assert (await cancelled.wait()).state is JobState.CANCELLED
    ((_, failed),) = fields_of(caplog, "job.failed")
    assert (failed["job_id"], failed["code"]) == (stopped.id, "timed_out")
    assert "KeyError: 'cleaning up'" in failed["traceback"]
    ((level, fields),) = fields_of(caplog, "attempt.failed")
    assert (level, fields["job_id"]) == (logging.INFO, cancelled.id)
    assert "KeyError: 'cleaning up'" in fields["traceback"]


@virtual_time
async def test_succeeded_and_cancelled_jobs_are_not_logged_as_failures(caplog: pytest.LogCaptureFixture) -> None:
    queue = JobQueue(drain_s=0.0)

    @queue.handler
    async def nap(seconds: float = 0) -> None:
        await asyncio.sleep(seconds)

    async with queue:
        await (await queue.submit("nap")).wait()
        await (await queue.submit("nap", delay_s=60)).cancel()
        running = await queue.submit("nap", {"seconds": 60})
        await asyncio.sleep(1)
        await running.cancel()
        await running.wait()
        await queue.submit("nap", {"seconds": 60})  # ends with the drain
    assert fields_of(caplog, "job.failed") == fields_of(caplog, "attempt.failed") == []


@virtual_time
async def test_expired_jobs_are_sampled_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    queue = JobQueue()

    @queue.handler
    async def late() -> None: ...

    async with queue:
        await queue.pause("default")
        jobs = [await queue.submit("late", start_by_s=5) for _ in range(20)]
        for job in jobs:
            assert (await job.wait()).state is JobState.EXPIRED
    lines = fields_of(caplog, "job.expired")
    assert len(lines) < 20
    assert lines[0][1]["type"] == "late"


@pytest.mark.parametrize("run_in", ["thread", "process"])
async def test_failures_in_threads_and_processes_are_logged_alike(
    caplog: pytest.LogCaptureFixture, run_in: Any
) -> None:
    queue = JobQueue()
    for handler in (blocking.reject, blocking.fail, blocking.wait_until_cancelled):
        queue.handler(run_in=run_in, timeout_s=None)(handler)
    async with queue:
        for type, timeout_s in (("reject", None), ("fail", None), ("wait_until_cancelled", 0.2)):
            await (await queue.submit(type, timeout_s=timeout_s)).wait()
    assert [(fields["type"], fields["code"]) for _, fields in fields_of(caplog, "job.failed")] == [
        ("reject", "rejected"),
        ("fail", "handler_error"),
        ("wait_until_cancelled", "timed_out"),
    ]


async def test_a_process_that_dies_is_logged_as_job_failed(caplog: pytest.LogCaptureFixture) -> None:
    queue = JobQueue()
    queue.handler(run_in="process")(blocking.kill_itself)
    async with queue:
        await (await queue.submit("kill_itself")).wait()
    ((level, fields),) = fields_of(caplog, "job.failed")
    assert (level, fields["code"]) == (logging.WARNING, "worker_crashed")
    assert "SIGKILL" in fields["message"]


def telling(**options: Any) -> JobQueue:
    queue = JobQueue(Settings(log=LogSettings(**options)), drain_s=0.0)

    @queue.handler(attempts_max=2)
    async def second_time(ctx: JobContext) -> None:
        if ctx.attempt == 1:
            raise Retry(after_s=60)

    @queue.handler
    async def fail() -> None:
        raise Reject("never")

    @queue.handler
    async def hold() -> None:
        await asyncio.sleep(3600)

    return queue


@virtual_time
async def test_with_all_each_start_and_end_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    async with telling(jobs="all") as queue:
        job = await queue.submit("second_time", delay_s=5)
        await job.wait()
        await (await queue.submit("fail")).wait()
        held = await queue.submit("hold")
        await asyncio.sleep(1)
        await held.cancel()
        await held.wait()
        await queue.submit("hold", delay_s=5)

    named = {"job_id": job.id, "type": "second_time", "queue": "default"}
    started, ended = fields_of(caplog, "job.started"), fields_of(caplog, "job.ended")
    assert started[:2] == [
        (logging.INFO, {**named, "attempt": 1, "wait_s": 0.0}),
        (logging.INFO, {**named, "attempt": 2, "wait_s": 0.0}),
    ]
    assert [fields["type"] for _, fields in started[2:]] == ["fail", "hold"]
    assert ended[0] == (logging.INFO, {**named, "state": "succeeded", "attempt": 2, "run_s": 0.0})
    ends = [(fields["state"], fields.get("run_s")) for _, fields in ended[1:]]
    assert ends == [("cancelled", 1.0), ("cancelled", None)]
    assert len(fields_of(caplog, "job.failed")) == 1


@virtual_time
async def test_by_default_starts_and_ends_have_no_line(caplog: pytest.LogCaptureFixture) -> None:
    async with telling() as queue:
        await (await queue.submit("second_time")).wait()

    assert fields_of(caplog, "job.started") == fields_of(caplog, "job.ended") == []


@virtual_time
async def test_lines_beyond_the_rate_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    async with telling(jobs="all", lines_per_s_max=3) as queue:
        jobs = [await queue.submit("fail") for _ in range(20)]
        for job in jobs:
            await job.wait()

    written = len(fields_of(caplog, "job.started"))
    assert 3 <= written < 20
    assert fields_of(caplog, "job.unlogged")
    assert len(fields_of(caplog, "job.failed")) == 20
