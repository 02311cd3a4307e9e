"""The Python client, in both its forms, against the real server; rare answers come from a script."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import errors
from jobqueue.client import Client, ErrorAnswer, FateUnknown, NoAnswer, SyncClient, Unreachable
from jobqueue.core.job import JobState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.http.serving import Serving

    Call = Callable[..., Awaitable[Any]]

NEVER_ISSUED = "x" * 22


def caller(kind: str, client: Any) -> Call:
    """Call a method of either client; the blocking one in a thread."""

    async def call(name: str, *args: Any, **options: Any) -> Any:
        method = getattr(client, name)
        if kind == "sync":
            return await asyncio.to_thread(method, *args, **options)
        return await method(*args, **options)

    return call


@asynccontextmanager
async def calling(kind: str, url: str, **options: Any) -> AsyncIterator[Call]:
    if kind == "sync":
        yield caller(kind, SyncClient(url, **options))
    else:
        async with Client(url, **options) as client:
            yield caller(kind, client)


@pytest.fixture(autouse=True)
async def no_idle_threads() -> AsyncIterator[None]:
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


@pytest.fixture(params=["async", "sync"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def call(kind: str, serving: Serving) -> AsyncIterator[Call]:
    async with calling(kind, serving.url) as call:
        yield call


# -- against the real server


async def test_a_job_is_submitted_waited_for_and_its_result_read(call: Call) -> None:
    job = await call("submit", "echo", {"value": [1, "zwei", None]}, group="g", priority=3)
    assert (job.type, job.group, job.priority, job.error) == ("echo", "g", 3, None)

    job = await call("wait", job.id, timeout_s=10)
    assert job.state is JobState.SUCCEEDED
    assert job.over
    assert job.result == [1, "zwei", None]
    assert job.created_at <= job.started_at <= job.finished_at
    assert await call("result", job.id) == [1, "zwei", None]


async def test_a_status_tells_whether_the_job_lives_and_when_to_look_again(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold", {"note": "half way"})

    status = await call("status", job.id)
    assert (status.code, status.over, status.retry_after_s) == (202, False, 1.0)
    assert status.etag is not None

    serving.gate.set()
    await serving.queue.backend.wait(job.id)
    status = await call("status", job.id)
    assert (status.code, status.over, status.state, status.retry_after_s) == (200, True, JobState.SUCCEEDED, None)


async def test_a_wait_ends_as_soon_as_a_poll_finds_the_job_over(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold")
    asyncio.get_running_loop().call_later(0.1, serving.gate.set)

    began = time.monotonic()
    job = await call("wait", job.id)

    assert job.result == "held"
    assert 0.9 <= time.monotonic() - began < 3.0  # the server asks to come back after a second


async def test_a_wait_that_takes_too_long_is_a_timeout(call: Call) -> None:
    job = await call("submit", "hold")
    with pytest.raises(TimeoutError, match=r"is still \w+ after 0.2 s"):
        await call("wait", job.id, timeout_s=0.2)


async def test_a_failed_job_says_why(call: Call) -> None:
    job = await call("submit", "fail")
    job = await call("wait", job.id, timeout_s=10)
    assert job.state is JobState.FAILED
    assert (job.error.code, "it can't be done" in job.error.message) == ("handler_error", True)
    with pytest.raises(errors.WrongState) as raised:
        await call("result", job.id)
    assert raised.value.state == "failed"


async def test_files_go_up_and_a_result_file_comes_down(call: Call, tmp_path: Path) -> None:
    small, large = tmp_path / 'a "quoted" name.bin', tmp_path / "b.wav"
    small.write_bytes(b"")
    large.write_bytes(b"\x00\xff" * 300_000)

    job = await call("submit", "sizes", files={"small": small, "large": str(large)})
    assert (await call("wait", job.id, timeout_s=10)).result == {"small": 0, "large": 600_000}

    job = await call("submit", "report", {"size": 500_000})
    await call("wait", job.id, timeout_s=10)
    path = tmp_path / "report.txt"
    assert await call("result", job.id, to=path) == path
    assert path.read_bytes() == b"r" * 500_000
    with pytest.raises(ValueError, match="is a file of text/plain: fetch it with to=path"):
        await call("result", job.id)
    assert not any(name.endswith(".part") for name in os.listdir(tmp_path))


async def test_many_jobs_are_read_at_once(call: Call) -> None:
    jobs = [await call("submit", "echo", {"value": n}) for n in range(3)]
    for job in jobs:
        await call("wait", job.id, timeout_s=10)

    found = await call("get_many", [*(job.id for job in jobs), NEVER_ISSUED])

    assert [found[job.id].result for job in jobs] == [0, 1, 2]
    assert isinstance(found[NEVER_ISSUED], errors.JobNotFound)


async def test_more_ids_than_one_request_takes_are_read_in_several(call: Call) -> None:
    found = await call("get_many", [f"{n:022}" for n in range(150)])
    assert len(found) == 150
    assert all(isinstance(error, errors.JobNotFound) for error in found.values())


async def test_a_list_is_read_page_by_page(call: Call) -> None:
    submitted = [(await call("submit", "hold", group="g")).id for _ in range(3)]
    await call("submit", "hold")

    first = await call("list", group="g", limit=2)
    second = await call("list", group="g", limit=2, cursor=first.next_cursor)

    assert [job.id for job in (*first.jobs, *second.jobs)] == submitted[::-1]
    assert second.next_cursor is None


async def test_a_live_job_is_cancelled_and_an_ended_one_forgotten(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold")
    with pytest.raises(errors.WrongState):
        await call("delete", job.id)

    await call("cancel", job.id)
    assert (await call("wait", job.id, timeout_s=10)).state is JobState.CANCELLED
    with pytest.raises(errors.WrongState):
        await call("cancel", job.id)

    await call("delete", job.id)
    for method in ("get", "status", "wait", "result", "cancel", "delete"):
        with pytest.raises(errors.JobGone) as raised:
            await call(method, job.id)
        assert raised.value.reason == "evicted"


async def test_an_id_that_was_never_issued_is_not_found(call: Call) -> None:
    for id in (NEVER_ISSUED, "a/b c?d#e"):
        for method in ("get", "status", "wait", "result", "cancel"):
            with pytest.raises((errors.JobNotFound, ErrorAnswer)):
                await call(method, id)
    with pytest.raises(errors.JobNotFound):
        await call("status", NEVER_ISSUED)


async def test_what_can_not_be_accepted_says_where_and_why(call: Call) -> None:
    with pytest.raises(errors.InvalidSubmission) as raised:
        await call("submit", "big", {"size": "many"})
    assert [fault.pointer for fault in raised.value.errors] == ["/args/size"]
    with pytest.raises(errors.UnknownType):
        await call("submit", "no-such-type")
    with pytest.raises(ErrorAnswer) as too_large:
        await call("submit", "echo", {"value": "x" * 100_000})
    assert too_large.value.status == 413


async def test_numbers_that_are_no_json_are_not_sent_as_null(call: Call) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await call("submit", "echo", {"value": float("nan")})


async def test_the_queues_tell_what_they_hold(call: Call) -> None:
    await call("submit", "hold")
    (queue,) = await call("queues")
    assert (queue["name"], queue["submitted_total"]) == ("default", 1)


async def test_a_full_queue_refuses_with_the_time_to_come_back(
    kind: str, start: Callable[..., Awaitable[Serving]]
) -> None:
    serving = await start(queues={"default": {"workers": 1, "capacity": 1}})
    async with calling(kind, serving.url) as call:
        await call("submit", "hold")
        with pytest.raises(errors.QueueFull) as raised:
            await call("submit", "hold")
        assert raised.value.retry_after_s >= 1

        asyncio.get_running_loop().call_later(0.1, serving.gate.set)
        job = await call("submit", "echo", {"value": 7}, retry_for_s=30)
        assert (await call("wait", job.id, timeout_s=10)).result == 7


# -- against a script


class Script:
    """Gives its answers in turn, one a request, and closes where an answer says so.

    None breaks the connection instead, and b"" says nothing.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []
        self.heads: list[str] = []
        self.times: list[float] = []
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Script]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (line for line in head.split("\r\n") if line.lower().startswith("content-length:")), ": 0"
                )
                await reader.readexactly(int(length.partition(":")[2]))
                self.requests.append(head.partition(" HTTP")[0])
                self.heads.append(head)
                self.times.append(time.monotonic())
                answer = self.answers.pop(0) if self.answers else None
                if answer is None:
                    break
                writer.write(answer)
                if b"Connection: close" in answer:
                    break
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def answer(status: int, body: dict[str, Any] | None = None, **headers: str) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status} -", f"Content-Length: {len(content)}", *lines, "", ""]).encode() + content


def document(state: str, **changes: Any) -> dict[str, Any]:
    absent = dict.fromkeys(
        ("group", "run_at", "started_at", "finished_at", "progress", "position", "eta_s", "poll_after_ms", "result")
    )
    now = "2026-01-01T00:00:00.000Z"
    counts = {"attempt": 0, "attempts_max": 1, "priority": 0, "created_at": now, "error": None}
    return {"id": "j", "type": "t", "queue": "default", "state": state, **absent, **counts, **changes}


def refusal(name: str, retry_after_s: int, status: int = 503) -> bytes:
    return answer(status, {"type": f"/problems/{name}", "detail": name}, Retry_After=str(retry_after_s))


@asynccontextmanager
async def scripted(kind: str, *answers: bytes | None) -> AsyncIterator[tuple[Call, Script]]:
    async with Script(*answers).serving() as script, calling(kind, script.url, timeout_s=2.0) as call:
        yield call, script


async def test_a_submission_whose_connection_breaks_is_of_unknown_fate_and_not_sent_again(kind: str) -> None:
    async with scripted(kind, None, answer(202, document("queued"))) as (call, script):
        with pytest.raises(FateUnknown, match="it may have taken effect"):
            await call("submit", "t", retry_for_s=60)
        assert script.requests == ["POST /v1/jobs"]


async def test_a_read_whose_connection_breaks_has_no_answer(kind: str) -> None:
    async with scripted(kind) as (call, _):
        with pytest.raises(NoAnswer) as raised:
            await call("get", "j")
        assert not isinstance(raised.value, FateUnknown)


async def test_a_server_that_is_not_there_was_sent_nothing(kind: str) -> None:
    async with scripted(kind) as (_, script):
        url = script.url
    async with calling(kind, url) as call:
        with pytest.raises(Unreachable, match="can't be reached"):
            await call("submit", "t")


async def test_a_server_that_stays_silent_is_given_up(kind: str) -> None:
    async with scripted(kind, b"") as (_, script), calling(kind, script.url, timeout_s=0.2) as call:
        with pytest.raises(FateUnknown):
            await call("submit", "t")


async def test_a_refused_submission_comes_back_when_the_server_says_so(kind: str) -> None:
    answers = (refusal("queue-full", 1), refusal("draining", 1), answer(202, document("queued")))
    async with scripted(kind, *answers) as (call, script):
        job = await call("submit", "t", retry_for_s=10)

    assert job.id == "j"
    first, second, third = script.times
    assert second - first >= 1.0
    assert third - second >= 1.0


async def test_a_refused_submission_does_not_come_back_unless_it_is_asked_to(kind: str) -> None:
    async with scripted(kind, refusal("rate-limited", 1, 429), refusal("queue-full", 60)) as (call, script):
        with pytest.raises(errors.RateLimited) as raised:
            await call("submit", "t")
        assert raised.value.retry_after_s == 1.0
        with pytest.raises(errors.QueueFull):  # a minute is more than it may wait
            await call("submit", "t", retry_for_s=5)
        assert len(script.requests) == 2


async def test_a_wait_asks_with_the_etag_it_knows_and_as_often_as_the_server_suggests(kind: str) -> None:
    answers = (
        answer(202, document("queued", poll_after_ms=100), ETag='W/"1"', Retry_After="1"),
        answer(304, ETag='W/"1"'),
        refusal("overloaded", 1),
        answer(200, document("succeeded", result=5), ETag='W/"3"'),
    )
    async with scripted(kind, *answers) as (call, script):
        job = await call("wait", "j", timeout_s=30)

    assert job.result == 5
    assert ["If-None-Match" in head for head in script.heads] == [False, True, True, True]
    pauses = [after - before for before, after in zip(script.times, script.times[1:], strict=False)]
    assert 0.09 <= pauses[0] < 0.9  # a timer may round by a millisecond
    assert 0.1 <= pauses[1] < 0.9
    assert pauses[2] >= 1.0


async def test_an_answer_that_is_no_job_is_an_error_of_the_answer(kind: str) -> None:
    strange = (answer(200, {"hello": 1}), answer(200), answer(502, None), answer(500, {"type": "/problems/internal"}))
    async with scripted(kind, *strange) as (call, _):
        for method, status in (("get", 200), ("status", 200), ("get", 502), ("get", 500)):
            with pytest.raises(ErrorAnswer) as raised:
                await call(method, "j")
            assert raised.value.status == status


async def test_a_result_file_that_breaks_off_leaves_nothing_behind(kind: str, tmp_path: Path) -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n" + b"x" * 10
    async with scripted(kind, cut, None) as (call, _):
        with pytest.raises(NoAnswer):
            await call("result", "j", to=tmp_path / "out.wav")
    assert os.listdir(tmp_path) == []


async def test_an_upload_that_is_refused_before_its_end_still_gets_its_reason(
    kind: str, start: Callable[..., Awaitable[Serving]], tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"\x00" * 8_000_000)
    serving = await start()  # takes 1 MiB
    async with calling(kind, serving.url) as call:
        with pytest.raises(ErrorAnswer) as raised:
            await call("submit", "sizes", files={"large": path})
    assert raised.value.status == 413


async def test_an_answer_that_comes_before_the_upload_is_over_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"\x00" * 50_000_000)

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(refusal("spool-full", 3).replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        await writer.drain()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    try:
        async with calling(kind, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as call:
            with pytest.raises(errors.SpoolFull):
                await call("submit", "t", files={"large": path})
    finally:
        server.close()


async def test_a_file_that_shrinks_while_it_is_sent_is_told(kind: str, tmp_path: Path, serving: Serving) -> None:
    from jobqueue.client import Multipart

    path = tmp_path / "shrinking.bin"
    path.write_bytes(b"x" * 1000)
    form = Multipart(b"{}", {"file": path})
    path.write_bytes(b"x" * 10)
    with pytest.raises(OSError, match="shrank while it was sent: its last 990 bytes are missing"):
        b"".join(form.chunks())


def test_a_url_that_is_none_says_what_one_looks_like() -> None:
    for url in ("127.0.0.1:8080", "ftp://host", "http://", "http://host/?a=b"):
        with pytest.raises(ValueError, match="one looks like http://"):
            SyncClient(url)
