"""Calls of both Python clients against the real server, and against scripted responses."""
# ruff: noqa: ASYNC230, ASYNC240 - a test may block its loop to access files

from __future__ import annotations

import asyncio
import io
import os
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue import errors
from jobqueue.client import Client, ErrorAnswer, FateUnknown, NoAnswer, SyncClient, Unreachable
from jobqueue.core.job import JobState
from tests.client.calling import answer, calling, document, refusal, scripted

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.client.calling import Call
    from tests.http.serving import Serving

NEVER_ISSUED = "x" * 22


# -- against the real server


async def test_a_client_submits_a_job_waits_for_it_and_reads_its_result(call: Call) -> None:
    job = await call("submit", "echo", {"value": [1, "zwei", None]}, group="g", priority=3)
    assert (job.type, job.group, job.priority, job.error) == ("echo", "g", 3, None)

    job = await call("wait", job.id, timeout_s=10)
    assert job.state is JobState.SUCCEEDED
    assert job.over
    assert job.result == [1, "zwei", None]
    assert job.created_at <= job.started_at <= job.finished_at
    assert await call("result", job.id) == [1, "zwei", None]


async def test_status_returns_the_state_etag_and_retry_after(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold", {"note": "half way"})

    status = await call("status", job.id)
    assert (status.code, status.over, status.retry_after_s) == (202, False, 1.0)
    assert status.etag is not None

    serving.gate.set()
    await serving.service.backend.wait(job.id)
    status = await call("status", job.id)
    assert (status.code, status.over, status.state, status.retry_after_s) == (200, True, JobState.SUCCEEDED, None)


async def test_a_failed_job_raises_job_failed_with_its_error(call: Call) -> None:
    job = await call("submit", "fail")
    job = await call("wait", job.id, timeout_s=10)
    assert job.state is JobState.FAILED
    assert (job.error.code, "it can't be done" in job.error.message) == ("handler_error", True)
    for ask in (lambda: call("result", job.id), lambda: call("run", "fail")):
        with pytest.raises(errors.JobFailed, match="it can't be done") as raised:
            await ask()
        assert (raised.value.state, raised.value.code) == ("failed", "handler_error")
    with pytest.raises(errors.JobFailed, match="it can't be done"):
        job.unwrap()


async def test_run_and_unwrap_return_the_result(call: Call) -> None:
    assert await call("run", "echo", {"value": [1, None]}) == [1, None]
    job = await call("submit", "echo", {"value": 2}, wait_s=10)
    assert job.unwrap() == 2


async def test_a_live_or_cancelled_job_has_no_result(call: Call, serving: Serving) -> None:
    with pytest.raises(TimeoutError, match="is still running after"):
        await call("run", "hold", wait_s=0.1)
    job = await call("submit", "hold")
    with pytest.raises(errors.WrongState, match="no result"):
        await call("result", job.id)
    with pytest.raises(errors.WrongState, match="no result yet"):
        job.unwrap()
    await call("cancel", job.id)
    await serving.service.backend.wait(job.id)
    with pytest.raises(errors.JobFailed, match="cancelled"):
        await call("result", job.id)


async def test_the_in_process_handle_raises_the_same_error_for_a_failed_job(call: Call, serving: Serving) -> None:
    handle = await serving.queue.submit("fail")
    with pytest.raises(errors.JobFailed) as here:
        await handle.result(timeout_s=10)
    with pytest.raises(errors.JobFailed) as there:
        await call("run", "fail")
    assert (here.value.code, here.value.message) == (there.value.code, there.value.message)


async def test_a_client_uploads_files_and_downloads_a_result_file(call: Call, tmp_path: Path) -> None:
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


async def test_every_kind_of_file_argument_is_uploaded_with_its_name_and_type(call: Call, tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b'/caf\xe9 "quoted".txt'))
    odd.write_bytes(b"1")
    with odd.open("rb") as opened:
        files = {
            "path": odd,
            "open": opened,
            "several": [b"22", io.BytesIO(b"333"), ("ü;\r\n.csv", b"4444"), ("x", bytearray(b"5"), "text/x-y")],
        }
        with pytest.raises(ErrorAnswer):  # the limit of the server under test is three
            await call("submit", "named", files=files)
        files["several"] = files["several"][2:]
        del files["open"]
        job = await call("submit", "named", files=files, wait_s=10)
    assert job.result == {
        "path": [['caf\ufffd "quoted".txt', "text/plain", 1]],
        "several": [["ü;\ufffd\ufffd.csv", "text/csv", 4], ["x", "text/x-y", 1]],
    }


async def test_a_resubmitted_open_file_starts_at_its_original_position(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        file.seek(5)
        async with scripted(kind, None, answer(202, document("queued"))) as (call, script):
            await call("submit", "t", files={"a": file}, retry_for_s=10)
    assert script.bodies[0] == script.bodies[1]
    assert b"\r\n\r\n56789\r\n--" in script.bodies[0]


async def test_an_invalid_file_argument_raises_before_any_request(kind: str) -> None:
    async with scripted(kind) as (call, script):
        with pytest.raises(TypeError, match="open as text"):
            await call("submit", "t", files={"a": io.StringIO("x")})
        with pytest.raises(ValueError, match="it is the submission"):
            await call("submit", "t", files={"job": b"x"})
    assert script.requests == []


async def test_get_many_returns_documents_and_an_error_per_missing_job(call: Call) -> None:
    jobs = [await call("submit", "echo", {"value": n}) for n in range(3)]
    for job in jobs:
        await call("wait", job.id, timeout_s=10)

    found = await call("get_many", [*(job.id for job in jobs), NEVER_ISSUED])

    assert [found[job.id].result for job in jobs] == [0, 1, 2]
    assert isinstance(found[NEVER_ISSUED], errors.JobNotFound)


async def test_get_many_splits_more_ids_than_one_request_allows(call: Call) -> None:
    found = await call("get_many", [f"{n:022}" for n in range(150)])
    assert len(found) == 150
    assert all(isinstance(error, errors.JobNotFound) for error in found.values())


async def test_list_returns_pages_newest_first(call: Call) -> None:
    submitted = [(await call("submit", "hold", group="g")).id for _ in range(3)]
    await call("submit", "hold")

    first = await call("list", group="g", limit=2)
    second = await call("list", group="g", limit=2, cursor=first.next_cursor)

    assert [job.id for job in (*first.jobs, *second.jobs)] == submitted[::-1]
    assert second.next_cursor is None


async def test_list_takes_all_filters_and_tells_the_total(call: Call) -> None:
    numbers = [await call("submit", "echo", {"value": value}, delay_s=60) for value in (17, "17", {"id": 17})]
    ids = [job.id for job in numbers]

    async def found(**filters: Any) -> list[str]:
        return [job.id for job in (await call("list", **filters)).jobs]

    assert await found(args={"value": 17}) == ids[1::-1]
    assert await found(args={"value": "17"}) == ids[1:2]
    assert await found(args={"value.id": 17}, sort="oldest", since=numbers[0].created_at) == ids[2:]
    assert await found(id_prefix=ids[1]) == ids[1:2]
    assert await found(error="timed_out", message="x") == []
    assert await found(until=datetime(2020, 1, 1, tzinfo=UTC)) == []
    page = await call("list", count=True, limit=1)
    assert (page.total, page.total_complete, page.unsearched) == (3, True, 0)
    assert (await call("list")).total is None


async def test_a_bulk_action_can_be_tried_and_limited(call: Call) -> None:
    ids = [(await call("submit", "echo", delay_s=60)).id for _ in range(3)]
    dry = await call("cancel_all", args={"value": "none"}, dry_run=True)
    assert (dry.count, dry.sample) == (0, ())
    since = datetime.now(UTC) - timedelta(hours=1)
    dry = await call("cancel_all", since=since, dry_run=True, sort="oldest", limit=2)
    assert (dry.count, dry.sample) == (2, tuple(ids[:2]))
    assert (await call("cancel_all", type="echo", limit=2)).count == 2
    assert (await call("get", ids[0])).state is JobState.DELAYED


async def test_cancel_applies_to_live_jobs_and_delete_to_terminal_ones(call: Call, serving: Serving) -> None:
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


async def test_an_unknown_id_raises_not_found(call: Call) -> None:
    for id in (NEVER_ISSUED, "a/b c?d#e"):
        for method in ("get", "status", "wait", "result", "cancel"):
            with pytest.raises((errors.JobNotFound, ErrorAnswer)):
                await call(method, id)
    with pytest.raises(errors.JobNotFound):
        await call("status", NEVER_ISSUED)


async def test_an_invalid_submission_raises_an_error_with_its_pointers_or_status(call: Call) -> None:
    with pytest.raises(errors.InvalidSubmission) as raised:
        await call("submit", "big", {"size": "many"})
    assert [fault.pointer for fault in raised.value.errors] == ["/args/size"]
    with pytest.raises(errors.UnknownType):
        await call("submit", "no-such-type")
    with pytest.raises(ErrorAnswer) as too_large:
        await call("submit", "echo", {"value": "x" * 100_000})
    assert too_large.value.status == 413


async def test_submitting_nan_raises_value_error(call: Call) -> None:
    with pytest.raises(ValueError, match="JSON"):
        await call("submit", "echo", {"value": float("nan")})


async def test_queues_returns_the_name_and_counts_of_each_queue(call: Call) -> None:
    await call("submit", "hold")
    (queue,) = await call("queues")
    assert (queue["name"], queue["submitted_total"]) == ("default", 1)


# -- against scripted responses


async def test_a_read_on_a_broken_connection_raises_no_answer(kind: str) -> None:
    async with scripted(kind) as (call, _):
        with pytest.raises(NoAnswer) as raised:
            await call("get", "j")
        assert not isinstance(raised.value, FateUnknown)


async def test_a_refused_connection_or_unknown_host_raises_unreachable(kind: str) -> None:
    async with scripted(kind) as (_, script):
        url = script.url
    async with calling(kind, url) as call:
        with pytest.raises(Unreachable) as raised:
            await call("submit", "t")
    assert str(raised.value) == f"{url} can't be reached: Connection refused"
    async with calling(kind, "http://nowhere.invalid") as call:
        with pytest.raises(Unreachable, match=r"http://nowhere.invalid can't be reached: its name can't be resolved"):
            await call("submit", "t")


@pytest.mark.parametrize("url", [b"http://127.0.0.1", 8080])
def test_a_url_that_is_not_a_string_raises_type_error(url: Any) -> None:
    for client in (Client, SyncClient):
        with pytest.raises(TypeError, match=r"a server URL is a string, not .*; expected a URL such as http://127"):
            client(url)


async def test_a_silent_server_raises_fate_unknown_after_the_timeout(kind: str) -> None:
    async with scripted(kind, b"") as (_, script), calling(kind, script.url, timeout_s=0.2) as call:
        with pytest.raises(FateUnknown, match=r"no answer came \(timed out\): it may have taken effect"):
            await call("submit", "t")


async def test_an_unexpected_response_raises_error_answer_with_its_status(kind: str) -> None:
    strange = (answer(200, {"hello": 1}), answer(200), answer(500, {"type": "/problems/internal"}))
    async with scripted(kind, *strange) as (call, _):
        for method, status in (("get", 200), ("status", 200), ("get", 500)):
            with pytest.raises(ErrorAnswer) as raised:
                await call(method, "j")
            assert raised.value.status == status


async def test_an_interrupted_download_leaves_no_file(kind: str, tmp_path: Path) -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n" + b"x" * 10
    async with scripted(kind, cut, None) as (call, _):
        with pytest.raises(NoAnswer):
            await call("result", "j", to=tmp_path / "out.wav")
    assert os.listdir(tmp_path) == []


async def test_an_upload_over_the_limit_raises_error_answer_with_413(
    kind: str, start: Callable[..., Awaitable[Serving]], tmp_path: Path
) -> None:
    path = tmp_path / "large.bin"
    path.write_bytes(b"\x00" * 8_000_000)
    serving = await start()  # its limit is 1 MiB
    async with calling(kind, serving.url) as call:
        with pytest.raises(ErrorAnswer) as raised:
            await call("submit", "sizes", files={"large": path})
    assert raised.value.status == 413


async def test_a_rejection_during_an_upload_is_read(kind: str, tmp_path: Path) -> None:
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


async def test_a_file_that_shrinks_during_its_upload_raises_os_error(
    kind: str, tmp_path: Path, serving: Serving
) -> None:
    from jobqueue.client import Multipart

    path = tmp_path / "shrinking.bin"
    path.write_bytes(b"x" * 1000)
    form = Multipart(b"{}", {"file": path})
    path.write_bytes(b"x" * 10)
    with pytest.raises(OSError, match="shrank while it was sent: its last 990 bytes are missing"):
        b"".join(form.chunks())


def test_an_invalid_url_raises_an_error_with_an_example_and_without_the_password() -> None:
    for url in (
        *("127.0.0.1:8080", "ftp://host", "http://", "http://host/?a=b", "http://host:99999", "http://host:0"),
        *("http://host/a b", "http://ada:secret@host/\r\nX-Evil: 1", "http://host/é", "http://[::1"),
    ):
        for kind in (SyncClient, Client):
            with pytest.raises(ValueError, match="expected a URL such as http://") as raised:
                kind(url)
            assert "secret" not in str(raised.value)
