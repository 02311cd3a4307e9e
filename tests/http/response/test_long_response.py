"""Long and unread responses: they hold little memory, in the process and in the kernel."""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import struct
from typing import TYPE_CHECKING, Any, cast

import pytest

from jobqueue.http.cut import UNSENT_BYTES_MAX
from tests.http.serving import CLOSE, Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from jobqueue.http.transport.connection import Connection
    from tests.http.serving import Serving

SIZE = 800_000
TCP_INFO, CLOSED = 11, 7


async def large(serving: Serving, size: int = SIZE) -> str:
    """Run a job with a large result; return its id."""
    handle = await serving.queue.submit("big", {"size": size})
    await handle.result()
    return handle.id


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    lines = "".join(f"{line}\r\n" for line in headers)
    return f"{method} {path} HTTP/1.1\r\nHost: h\r\n{lines}\r\n".encode()


@pytest.fixture(params=[True, False], ids=["fast", "stock"])
async def serving(start: Callable[..., Awaitable[Serving]], request: pytest.FixtureRequest) -> Serving:
    return await start(server={"fast_path": request.param})


@pytest.mark.parametrize("size", [100, 70_000, 262_000, SIZE])
async def test_a_document_is_valid_json_for_results_of_any_length(serving: Serving, size: int) -> None:
    job_id = await large(serving, size)
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/result"):
        answer = Answer(await serving.talk(get(path, CLOSE)))
        assert answer.status == 200
        assert len(answer.rest) == int(answer.headers["content-length"])
        assert answer.rest.endswith(b"\n")
        document = json.loads(answer.rest)
        result = document["result"] if isinstance(document, dict) else document
        assert len(result) == size
        head = Answer(await serving.talk(get(path, CLOSE, method="HEAD")))
        assert (head.status, head.rest) == (200, b"")
        assert head.headers.get("content-length", answer.headers["content-length"]) == answer.headers["content-length"]


async def test_text_like_a_result_member_is_not_mistaken_for_the_result(serving: Serving) -> None:
    serving.gate.set()
    handle = await serving.queue.submit("big", {"size": SIZE}, group='"result":null,"result":null')
    await handle.result()
    answer = Answer(await serving.talk(get(f"/v1/jobs/{handle.id}", CLOSE)))
    document = json.loads(answer.rest)
    assert (document["group"], len(document["result"])) == ('"result":null,"result":null', SIZE)


async def test_long_responses_keep_the_connection_and_the_order(serving: Serving) -> None:
    job_id = await large(serving)
    async with serving.connect() as (reader, writer):
        writer.write(get(f"/v1/jobs/{job_id}/result") + get("/livez") + get(f"/v1/jobs/{job_id}") + get("/livez"))
        lengths = [len((await read_answer(reader)).rest) for _ in range(4)]
    assert [length > SIZE for length in lengths] == [True, False, True, False]


async def test_a_long_response_to_a_waiting_submission_has_the_quota(start: Any) -> None:
    serving = await start(limits={"caller_jobs_max": 10})
    body = json.dumps({"type": "big", "args": {"size": SIZE}}).encode()
    answer = Answer(await serving.talk(post(body, "Prefer: wait=10", CLOSE)))
    assert answer.status == 200
    assert "ratelimit-policy" in answer.headers
    assert len(json.loads(answer.rest)["result"]) == SIZE


async def unread(serving: Serving, request: bytes) -> socket.socket:
    """Send a request over a connection with a small receive buffer that is never read."""
    wire = socket.socket()
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.setblocking(False)
    await asyncio.get_running_loop().sock_connect(wire, ("127.0.0.1", serving.port))
    wire.send(request)
    return wire


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def in_process(serving: Serving) -> list[int]:
    """Return the unsent bytes of each connection in this process."""
    connections = cast("list[Connection]", serving.server.connections)
    return [connection._wire.get_write_buffer_size() for connection in connections]


@pytest.mark.parametrize("path", ["/v1/jobs/{0}", "/v1/jobs/{0}/result", "/v1/jobs?ids={0},{1},{2}", "/v1/jobs"])
async def test_an_unread_response_holds_little_memory(serving: Serving, path: str) -> None:
    ids = [await large(serving) for _ in range(3)]
    wires = [await unread(serving, get(path.format(*ids))) for _ in range(5)]
    await until(lambda: sum(size > 0 for size in in_process(serving)) == 5)
    await asyncio.sleep(0.05)
    assert max(in_process(serving)) <= 70 * 1024
    for wire in wires:
        wire.close()


async def test_evicting_a_job_while_it_is_sent_frees_it_and_resets_the_connection(
    serving: Serving,
) -> None:
    job_id = await large(serving)
    wires = [await unread(serving, get(path.format(job_id))) for path in ("/v1/jobs/{0}", "/v1/jobs?ids={0},x")]
    await until(lambda: sum(size > 0 for size in in_process(serving)) == 2)
    await serving.service.backend.delete(job_id)
    gc.collect()
    held = [each for each in gc.get_objects() if type(each).__name__ == "Job" and each.id == job_id]
    assert held == []
    for wire in wires:
        reader, writer = await asyncio.open_connection(sock=wire)
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(reader.read(), 20)
        writer.close()


async def test_a_long_poll_of_a_list_holds_no_results(serving: Serving) -> None:
    live = await serving.queue.submit("hold")
    job_id = await large(serving)
    async with serving.connect() as (reader, writer):
        writer.write(get(f"/v1/jobs?ids={job_id},{live.id}", "Prefer: wait=20"))
        await until(lambda: serving.waiting.count == 1)
        await serving.service.backend.delete(job_id)
        gc.collect()
        held = [each for each in gc.get_objects() if type(each).__name__ == "Job" and each.id == job_id]
        assert held == []
        serving.gate.set()
        assert (await read_answer(reader)).status == 200


async def test_the_kernel_buffers_little_of_an_unread_response(serving: Serving) -> None:
    job_id = await large(serving, 60_000)
    wire = await unread(serving, get(f"/v1/jobs/{job_id}") * 60)
    await until(lambda: max(in_process(serving), default=0) > 0)
    (connection,) = cast("list[Connection]", serving.server.connections)
    server_socket = connection._wire.get_extra_info("socket")
    assert server_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT) == UNSENT_BYTES_MAX
    wire.close()


async def test_a_cut_connection_is_reset_and_closed(start: Any) -> None:
    serving = await start(limits={"write_timeout_s": 0.2})
    job_id = await large(serving)
    wire = await unread(serving, get(f"/v1/jobs/{job_id}"))
    await until(lambda: serving.server.open == 1)
    await until(lambda: serving.server.open == 0)
    state = struct.unpack("B", wire.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 1))[0]
    assert state == CLOSED, "a reset closes both sides immediately, despite unread bytes"
    wire.close()


async def test_long_responses_are_rejected_while_the_in_flight_budget_is_full(start: Any) -> None:
    serving = await start(limits={"in_flight_bytes": 2**21})
    job_id = await large(serving)
    share = serving.server.in_flight.share(lambda: False)
    share.hold(2_000_000)
    for path in (f"/v1/jobs/{job_id}", f"/v1/jobs/{job_id}/result", f"/v1/jobs?ids={job_id}", "/v1/jobs"):
        answer = Answer(await serving.talk(get(path, CLOSE)))
        assert (answer.status, answer.kind) == (503, "overloaded")
        assert answer.headers["retry-after"] == "1"
    assert Answer(await serving.talk(get("/v1/queues", CLOSE))).status == 200
    share.close()
    assert Answer(await serving.talk(get(f"/v1/jobs/{job_id}", CLOSE))).status == 200


async def test_unread_responses_of_100_clients_stay_within_the_budget(start: Any) -> None:
    serving = await start(limits={"in_flight_bytes": 2**21})
    ids = [await large(serving, 250_000) for _ in range(3)]
    wires = [await unread(serving, get(f"/v1/jobs?ids={','.join(ids)}")) for _ in range(100)]
    await asyncio.sleep(0.2)
    assert sum(in_process(serving)) <= 2**21
    assert Answer(await serving.talk(get(f"/v1/jobs/{ids[0]}", CLOSE, method="HEAD"))).status == 200
    for wire in wires:
        wire.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        post(b'{"type":"echo"}', CLOSE),
        post(b'{"type":"echo"}', "Prefer: wait=5", CLOSE),
        post(b'{"type":"nope"}', CLOSE),
        post(b"nonsense", CLOSE),
        get("/v1/jobs", CLOSE),
        get("/v1/jobs?limit=0", CLOSE),
        get("/v1/jobs?ids=x", CLOSE),
        get("/v1/jobs/x", CLOSE),
        get("/v1/queues", CLOSE),
        get("/v1/queues/default", CLOSE),
        get("/livez", CLOSE),
        get("/readyz", CLOSE),
        get("/nope", CLOSE),
        get("/nope", CLOSE, method="DELETE"),
        get("/livez", CLOSE, method="DELETE"),
        b"G@T / HTTP/1.1\r\n\r\n",
    ],
)
async def test_every_json_response_ends_with_a_newline(serving: Serving, request_bytes: bytes) -> None:
    answer = Answer(await serving.talk(request_bytes))
    assert answer.headers["content-type"] in ("application/json", "application/problem+json")
    assert answer.rest.endswith(b"}\n")
    assert int(answer.headers["content-length"]) == len(answer.rest)


@pytest.mark.parametrize(
    "path", ["/livez", "/v1/queues/default", "/v1/jobs", "/nope", "/v1/jobs/x", "/v1/jobs?limit=0"]
)
async def test_head_has_the_content_length_of_get(serving: Serving, path: str) -> None:
    whole = Answer(await serving.talk(get(path, CLOSE)))
    head = Answer(await serving.talk(get(path, CLOSE, method="HEAD")))
    assert head.rest == b""
    assert head.headers["content-length"] == whole.headers["content-length"] == str(len(whole.rest))


async def test_a_result_file_has_no_added_newline(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/jobs", json={"type": "report"}, headers={"Prefer": "wait=5"}) as response:
        job = await response.json()
    async with http.get(f"/v1/jobs/{job['id']}/result") as response:
        assert await response.read() == b"rrrrr"
