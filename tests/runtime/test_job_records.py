"""What handlers log reaches the log with its logger and its job, wherever they run."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from jobqueue import JobContext, JobQueue
from jobqueue.config import LogSettings, RuntimeSettings, Settings, SpoolSettings
from jobqueue.log import configure, current_attempt
from jobqueue.runtime.pools import log_relay
from jobqueue.runtime.pools.log_relay import Record, record_of
from jobqueue.runtime.pools.messages import InvalidMessage
from jobqueue.runtime.pools.processes import ProcessPool
from tests.runtime.pools import blocking
from tests.runtime.pools.calling import call_of, run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

FORMS = ["loop", "thread", "process"]


async def log_on_the_loop(ctx: JobContext) -> None:
    blocking.log_something(ctx)
    await asyncio.create_task(log_in_a_task())
    await asyncio.to_thread(logging.info, "from asyncio's thread")


async def log_in_a_task() -> None:
    logging.info("from a task")


def make_queue(tmp_path: Path) -> JobQueue:
    settings = Settings(runtime=RuntimeSettings(processes=1), spool=SpoolSettings(dir=str(tmp_path / "spool")))
    queue = JobQueue(settings)
    queue.handler(name="loop")(log_on_the_loop)
    queue.handler(name="thread", run_in="thread")(blocking.log_something)
    queue.handler(name="process", run_in="process")(blocking.log_something)
    queue.handler(run_in="process")(blocking.log_a_flood)
    return queue


async def logged(tmp_path: Path, act: Callable[[JobQueue], Awaitable[object]], form: str = "json") -> list[str]:
    """Return the lines of the log that come into being while a queue runs and something is done with it."""
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    writer = configure(LogSettings(level="info", format=form), fd=fd)  # type: ignore[arg-type]
    try:
        async with make_queue(tmp_path) as queue:
            await act(queue)
        await asyncio.get_running_loop().shutdown_default_executor()
    finally:
        writer.close()
        os.close(fd)
    return (tmp_path / "log").read_text().splitlines()


async def do(queue: JobQueue, type_: str, **args: Any) -> str:
    job = await queue.submit(type_, args)
    assert await job.result() is None
    return str(job.id)


@pytest.mark.parametrize("type_", FORMS)
async def test_a_record_tells_its_logger_and_its_job(tmp_path: Path, type_: str) -> None:
    ids: list[str] = []

    async def act(queue: JobQueue) -> None:
        ids.append(await do(queue, type_))

    lines = [json.loads(line) for line in await logged(tmp_path, act)]
    told = {line["message"]: line for line in lines if line["event"] == "log"}
    expected = {
        "one of 2": ("app.audio", "info"),
        "at the root": ("root", "info"),
        "by the context": (f"job.{type_}", "warning"),
        "with its traceback": ("root", "error"),
    }
    if type_ == "loop":
        expected |= {"from a task": ("root", "info"), "from asyncio's thread": ("root", "info")}
    for message, (logger, level) in expected.items():
        line = told[message]
        assert (line["logger"], line["level"]) == (logger, level)
        assert (line["job_id"], line["type"], line["attempt"]) == (ids[0], type_, 1)
    assert told["with its traceback"]["traceback"].endswith("LookupError: no such colour\n")
    assert "too little" not in told


async def test_in_a_process_a_thread_without_context_is_of_the_job_that_runs(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in await logged(tmp_path, lambda queue: do(queue, "process"))]
    from_thread = next(line for line in lines if line.get("message") == "from a thread")
    assert from_thread["type"] == "process"


@pytest.mark.parametrize("type_", FORMS)
async def test_in_text_a_record_tells_them_as_well(tmp_path: Path, type_: str) -> None:
    lines = await logged(tmp_path, lambda queue: do(queue, type_), form="text")
    line = next(line for line in lines if "one of 2" in line)
    assert ' INFO log logger=app.audio message="one of 2" job_id=' in line
    assert line.endswith(f" type={type_} attempt=1")


async def test_outside_of_handlers_a_record_tells_no_job(tmp_path: Path) -> None:
    async def act(queue: JobQueue) -> None:
        for form in FORMS:
            await do(queue, form)
        logging.info("mine")

    lines = [json.loads(line) for line in await logged(tmp_path, act)]
    assert all("job_id" not in line for line in lines if line.get("message") == "mine")
    assert current_attempt.get() is None


async def test_a_level_that_changes_reaches_the_processes(caplog: pytest.LogCaptureFixture) -> None:
    pool = ProcessPool(size=1)
    root = logging.getLogger()
    for level, count in [(logging.DEBUG, 6), (logging.WARNING, 2), (logging.ERROR, 1)]:
        caplog.clear()
        root.setLevel(level)
        call = msgspec.structs.replace(call_of(blocking.log_something), log_level=level)
        await pool.run(call, on_progress=lambda fraction, note: None)
        mine = [record for record in caplog.records if record.process in pool.pids and not hasattr(record.msg, "event")]
        assert len([record for record in mine if record.getMessage() != "from a thread"]) in (count, count - 1)
    root.setLevel(logging.WARNING)
    await pool.close()


async def test_of_a_flood_from_a_process_the_rest_is_counted(tmp_path: Path) -> None:
    count = log_relay.RECORDS_BURST * 5
    lines = [json.loads(line) for line in await logged(tmp_path, lambda queue: do(queue, "log_a_flood", records=count))]
    told = [line for line in lines if line.get("message", "").startswith("record ")]
    dropped = [line for line in lines if line["event"] == "process.log_dropped"]
    assert len(told) + sum(line["count"] for line in dropped) == count
    assert log_relay.RECORDS_BURST <= len(told) < count / 2
    assert {line["type"] for line in (*told, *dropped)} == {"log_a_flood"}


async def test_what_can_not_be_told_is_told_as_far_as_it_can(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pool = ProcessPool(size=1)
    call = msgspec.structs.replace(call_of(blocking.log_what_can_not_be), log_level=logging.INFO)
    await pool.run(call, on_progress=lambda fraction, note: None)
    told = {record.getMessage(): record.name for record in caplog.records if record.process in pool.pids}
    assert "(its text is not available: TypeError)" in told
    assert "x" * log_relay.MESSAGE_LENGTH_MAX in told
    assert told["?"] == "y" * log_relay.NAME_LENGTH_MAX
    assert told["with more"] == "job.some-type"
    assert "y" * log_relay.NAME_LENGTH_MAX not in logging.root.manager.loggerDict
    await pool.close()


async def test_what_processes_print_never_stands_between_the_lines_of_the_log(tmp_path: Path) -> None:
    pool = ProcessPool(size=1)
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    writer = configure(LogSettings(), fd=fd)
    await run(pool, blocking.complain_and_exit)
    await pool.close()
    writer.close()
    os.close(fd)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (told,) = (line for line in lines if line["event"] == "process.stderr")
    assert told["text"] == "a first line\nno more colours"
    assert (told["job_id"], told["type"], told["attempt"]) == ("some-job", "some-type", 3)


@pytest.mark.parametrize(
    "said",
    [
        [20, "app"],
        [101, "app", 1.0, "m"],
        [20, "app", float("nan"), "m"],
        [20, "app", 1e300, "m"],
        [20, "x" * 201, 1.0, "m"],
        [20, "app", 1.0, "m" * 8001],
        [20, "app", 1.0, "m", "t" * 10_001],
        [20, "app", 1.0, "m", None, "j" * 201],
        "text",
    ],
)
def test_a_record_that_no_process_sends_is_refused(said: object) -> None:
    with pytest.raises(InvalidMessage):
        record_of(msgspec.msgpack.encode(said), pid=1, attempt=None)


def test_a_record_without_a_job_is_of_the_call_that_the_process_has() -> None:
    body = msgspec.msgpack.encode(Record(20, "app", 1.5, "100 %"))
    record: Any = record_of(body, pid=7, attempt=call_of(blocking.echo))
    assert (record.getMessage(), record.created, record.process) == ("100 %", 1.5, 7)
    assert (record.job_id, record.type, record.attempt) == ("some-job", "some-type", 3)
