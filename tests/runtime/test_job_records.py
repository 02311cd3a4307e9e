"""Log records of handlers keep their logger and job, on the loop, in threads and in processes."""

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
    """Return the log lines of a queue that runs while `act` uses it."""
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    writer = configure(LogSettings(level="info", format=form), fd=fd)  # type: ignore[arg-type]  # a str, not the literals
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
async def test_a_json_record_has_its_logger_and_job(tmp_path: Path, type_: str) -> None:
    ids: list[str] = []

    async def act(queue: JobQueue) -> None:
        ids.append(await do(queue, type_))

    lines = [json.loads(line) for line in await logged(tmp_path, act)]
    found = {line["message"]: line for line in lines if line["event"] == "log"}
    expected = {
        "one of 2": ("app.audio", "info"),
        "at the root": ("root", "info"),
        "by the context": (f"job.{type_}", "warning"),
        "with its traceback": ("root", "error"),
    }
    if type_ == "loop":
        expected |= {"from a task": ("root", "info"), "from asyncio's thread": ("root", "info")}
    for message, (logger, level) in expected.items():
        line = found[message]
        assert (line["logger"], line["level"]) == (logger, level)
        assert (line["job_id"], line["type"], line["attempt"]) == (ids[0], type_, 1)
    assert found["with its traceback"]["traceback"].endswith("LookupError: no such colour\n")
    assert "too little" not in found


async def test_a_record_of_a_thread_in_a_process_has_the_running_job(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in await logged(tmp_path, lambda queue: do(queue, "process"))]
    from_thread = next(line for line in lines if line.get("message") == "from a thread")
    assert from_thread["type"] == "process"


@pytest.mark.parametrize("type_", FORMS)
async def test_a_text_record_has_its_logger_and_job(tmp_path: Path, type_: str) -> None:
    lines = await logged(tmp_path, lambda queue: do(queue, type_), form="text")
    line = next(line for line in lines if "one of 2" in line)
    assert ' INFO log logger=app.audio message="one of 2" job_id=' in line
    assert line.endswith(f" type={type_} attempt=1")


async def test_a_record_outside_of_handlers_has_no_job(tmp_path: Path) -> None:
    async def act(queue: JobQueue) -> None:
        for form in FORMS:
            await do(queue, form)
        logging.info("mine")

    lines = [json.loads(line) for line in await logged(tmp_path, act)]
    assert all("job_id" not in line for line in lines if line.get("message") == "mine")
    assert current_attempt.get() is None


async def test_a_changed_log_level_reaches_the_processes(caplog: pytest.LogCaptureFixture) -> None:
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


async def test_records_of_a_process_over_the_limit_are_dropped_and_counted(tmp_path: Path) -> None:
    count = log_relay.RECORDS_BURST * 5
    lines = [json.loads(line) for line in await logged(tmp_path, lambda queue: do(queue, "log_a_flood", records=count))]
    found = [line for line in lines if line.get("message", "").startswith("record ")]
    dropped = [line for line in lines if line["event"] == "process.log_dropped"]
    assert len(found) + sum(line["count"] for line in dropped) == count
    assert log_relay.RECORDS_BURST <= len(found) < count / 2
    assert {line["type"] for line in (*found, *dropped)} == {"log_a_flood"}


async def test_invalid_and_oversized_records_are_logged_in_part(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    pool = ProcessPool(size=1)
    call = msgspec.structs.replace(call_of(blocking.log_invalid_records), log_level=logging.INFO)
    await pool.run(call, on_progress=lambda fraction, note: None)
    found = {record.getMessage(): record.name for record in caplog.records if record.process in pool.pids}
    assert "(its text is not available: TypeError)" in found
    assert "x" * log_relay.MESSAGE_LENGTH_MAX in found
    assert found["?"] == "y" * log_relay.NAME_LENGTH_MAX
    assert found["with more"] == "job.some-type"
    assert "y" * log_relay.NAME_LENGTH_MAX not in logging.root.manager.loggerDict
    await pool.close()


async def test_output_of_processes_becomes_log_lines_of_their_job(tmp_path: Path) -> None:
    pool = ProcessPool(size=1)
    fd = os.open(tmp_path / "log", os.O_RDWR | os.O_CREAT)
    writer = configure(LogSettings(), fd=fd)
    await run(pool, blocking.complain_and_exit)
    await pool.close()
    writer.close()
    os.close(fd)
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    (found,) = (line for line in lines if line["event"] == "process.stderr")
    assert found["text"] == "a first line\nno more colours"
    assert (found["job_id"], found["type"], found["attempt"]) == ("some-job", "some-type", 3)


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
def test_an_invalid_record_of_a_process_raises_an_error(said: object) -> None:
    with pytest.raises(InvalidMessage):
        record_of(msgspec.msgpack.encode(said), pid=1, attempt=None)


def test_a_record_without_a_job_gets_the_job_of_its_process() -> None:
    body = msgspec.msgpack.encode(Record(20, "app", 1.5, "100 %"))
    record: Any = record_of(body, pid=7, attempt=call_of(blocking.echo))
    assert (record.getMessage(), record.created, record.process) == ("100 %", 1.5, 7)
    assert (record.job_id, record.type, record.attempt) == ("some-job", "some-type", 3)
