"""Event streams over HTTP: their start, resumption and end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.http.resources.test_jobs import ended, submit
from tests.http.serving import CLOSE, Answer, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


ON_EACH_BACKEND = True


class Event(dict[str, str]):
    @property
    def data(self) -> dict[str, Any]:
        data: dict[str, Any] = json.loads(self["data"])
        return data


async def block(response: aiohttp.ClientResponse) -> list[str] | None:
    """Return the lines up to the next empty one; None at the end of the stream."""
    lines: list[str] = []
    while True:
        line = await asyncio.wait_for(response.content.readline(), 5)
        if not line:
            assert not lines, "the stream ends between two events"
            return None
        if line == b"\n":
            return lines
        lines.append(line.decode().removesuffix("\n"))


async def next_event(response: aiohttp.ClientResponse) -> Event | None:
    """Return the next event with data, as an EventSource dispatches it."""
    while (lines := await block(response)) is not None:
        event = Event(line.split(": ", 1) for line in lines if not line.startswith(":"))
        if "data" in event:
            return event
    return None


async def all_events(response: aiohttp.ClientResponse) -> list[Event]:
    events = []
    while (event := await next_event(response)) is not None:
        events.append(event)
    return events


async def names(http: aiohttp.ClientSession, path: str, last_id: str | None = None) -> list[str]:
    headers = {} if last_id is None else {"Last-Event-ID": last_id}
    async with http.get(path, headers=headers) as response:
        assert response.status == 200, await response.text()
        return [event["event"] for event in await all_events(response)]


async def test_a_stream_has_headers_against_buffering_and_caching(http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/events") as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"
        (retry,) = await block(response) or [""]
        assert 1000 <= int(retry.removeprefix("retry: ")) <= 4000
        (first_id,) = await block(response) or [""]
        assert first_id.startswith("id: ")


async def test_a_stream_of_a_job_starts_with_its_state_and_ends_with_its_terminal_event(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="hold", args={"note": "half"})
    await asyncio.sleep(0.05)
    async with http.get(f"/v1/jobs/{job['id']}/events") as response:
        first = await next_event(response)
        assert first is not None
        assert (first["event"], first.data["state"], first.data["progress"]["note"]) == ("started", "running", "half")
        serving.gate.set()
        (last,) = await all_events(response)
    assert (last["event"], last.data["state"], last.data["id"]) == ("succeeded", "succeeded", job["id"])
    assert last["id"] > first["id"]


async def test_a_stream_has_every_event_of_a_job(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/events") as response:
        await block(response)
        await submit(http, type="fail", attempts_max=2, delay_s=0.01)
        events = []
        while (event := await next_event(response)) is not None:
            events.append(event)
            if event["event"] == "failed":
                break
    assert [event["event"] for event in events] == [
        *("submitted", "queued", "started", "retrying", "queued", "started", "failed"),
    ]
    assert [event.data["attempt"] for event in events] == [0, 0, 1, 1, 1, 2, 2]
    assert events[-1].data["error"] == {"code": "handler_error"}
    assert len({event["id"] for event in events}) == len(events)


async def test_the_stream_of_a_terminal_job_has_its_terminal_event_and_ends(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    job = await submit(http, type="echo")
    await ended(serving, job)
    assert await names(http, f"/v1/jobs/{job['id']}/events") == ["succeeded"]


async def test_a_reconnection_after_the_terminal_event_gets_204(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")
    path = f"/v1/jobs/{job['id']}/events"
    async with http.get(path) as response:
        await next_event(response)
        serving.gate.set()
        (last,) = await all_events(response)
    async with http.get(path, headers={"Last-Event-ID": last["id"]}) as response:
        assert (response.status, await response.read()) == (204, b"")
    assert serving.waiting.count == 0


async def test_a_broken_stream_resumes_after_the_last_event(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")
    path = f"/v1/jobs/{job['id']}/events"
    async with http.get(path) as response:
        first = await next_event(response)
        assert first is not None
    serving.gate.set()
    await ended(serving, job)
    await submit(http, type="echo")
    assert await names(http, path, first["id"]) == ["succeeded"]


async def test_a_stream_broken_before_its_first_event_resumes(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with http.get("/v1/events") as response:
        await block(response)
        (line,) = await block(response) or [""]
    job = await submit(http, type="echo")
    await ended(serving, job)
    async with http.get("/v1/events", headers={"Last-Event-ID": line.removeprefix("id: ")}) as response:
        events = [await next_event(response) for _ in range(3)]
    assert [event["event"] for event in events if event is not None] == ["submitted", "started", "succeeded"]


@pytest.mark.parametrize("last_id", ["nonsense", "0123456789ab-7", "", "é"])
async def test_an_unknown_last_event_id_gets_a_reset_event(
    serving: Serving, http: aiohttp.ClientSession, last_id: str
) -> None:
    async with http.get("/v1/events", headers={"Last-Event-ID": last_id}) as response:
        event = await next_event(response)
        assert event is not None
        assert event["event"] == "reset"
        assert "fetch the jobs" in event.data["reason"]
    job = await submit(http, type="echo")
    await ended(serving, job)
    # For one job, its current state is complete.
    assert await names(http, f"/v1/jobs/{job['id']}/events", last_id) == ["succeeded"]


async def test_an_idle_stream_sends_comments(start: Any, http_to: Any) -> None:
    serving = await start(limits={"heartbeat_s": 0.1})
    http = await http_to(serving)
    async with http.get("/v1/events") as response:
        await block(response)
        await block(response)
        assert [await block(response) for _ in range(3)] == [[":"]] * 3


@pytest.mark.in_process  # jobs in a store live on
async def test_streams_end_with_complete_events_when_the_server_stops(start: Any, http_to: Any) -> None:
    serving = await start()
    http = await http_to(serving)
    job = await submit(http, type="hold")
    async with http.get("/v1/events") as every, http.get(f"/v1/jobs/{job['id']}/events") as one:
        await next_event(one)
        await serving.queue.drain(0.05)
        assert [event["event"] for event in await all_events(one)] == ["stopping", "cancelled"]
        closing = asyncio.create_task(serving.server.close(0.5))
        names_of_all = [event["event"] for event in await all_events(every)]
        assert names_of_all[-1] == "cancelled"
        await closing
    assert serving.server.open == 0


async def test_streams_can_be_opened_during_a_drain(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="hold")
    serving.service.stop_admitting()
    async with http.get(f"/v1/jobs/{job['id']}/events") as response:
        assert response.status == 200


async def test_a_subscriber_that_does_not_read_is_cut_without_delaying_others(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.http.streams.subscriber.BACKLOG_BYTES_MAX", 10_000)
    async with serving.connect() as (_, idle), serving.connect() as (reader, writer):
        idle.transport.pause_reading()
        idle.write(b"GET /v1/events HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(10):
            while serving.waiting.count != 1:
                await asyncio.sleep(0.005)
            while serving.waiting.count:  # the kernel buffers some megabytes first
                for _ in range(500):
                    await serving.queue.submit("echo", {"value": 1})
                await asyncio.sleep(0)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await read_answer(reader)).status == 200
    async with asyncio.timeout(5):
        while serving.server.open:
            await asyncio.sleep(0.01)


async def test_streams_of_all_jobs_have_their_own_limit(
    start: Start, http_to: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobqueue.http.resources.events.ALL_MAX", 1)
    http = await http_to(await start())
    job = await submit(http, type="hold")
    async with http.get("/v1/events") as first:
        assert first.status == 200
        async with http.get("/v1/events") as second:
            assert (second.status, (await second.json())["type"]) == (503, "/problems/too-many-long-polls")
        async with http.get(f"/v1/jobs/{job['id']}/events") as one:
            assert one.status == 200


async def test_the_stream_of_an_unknown_job_gets_404(serving: Serving) -> None:
    for path, status in (("/v1/jobs/nope/events", 404), ("/v1/jobs/a:b/events", 404)):
        answer = Answer(await serving.talk(f"GET {path} HTTP/1.1\r\nHost: h\r\n{CLOSE}\r\n\r\n".encode()))
        assert answer.status == status
    assert serving.waiting.count == 0


async def test_a_stream_over_http_1_0_ends_with_its_connection(serving: Serving, http: aiohttp.ClientSession) -> None:
    job = await submit(http, type="echo")
    await ended(serving, job)
    raw = await serving.talk(f"GET /v1/jobs/{job['id']}/events HTTP/1.0\r\n\r\n".encode())
    assert b"transfer-encoding" not in raw.lower()
    assert raw.endswith(b"\n\n")
    assert b"event: succeeded\n" in raw


async def test_a_stream_with_a_maximum_rate_says_where_events_are_left_out(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async with http.get("/v1/events?rate_max=4") as response:
        for _ in range(6):
            await submit(http, type="echo")
        assert (await next_event(response) or {})["event"] == "submitted"
        skipped = await next_event(response)
        assert skipped is not None
        assert skipped["event"] == "skipped"
        assert "rate_max" in skipped.data["reason"]


@pytest.mark.parametrize("query", ["rate_max=0", "rate_max=10001", "rate_max=-1", "rate_max=%D9%A3", "rate_mx=5"])
async def test_a_maximum_rate_out_of_its_bounds_is_rejected(http: aiohttp.ClientSession, query: str) -> None:
    async with http.get(f"/v1/events?{query}") as response:
        assert response.status == 400
        assert "rate_max" in (await response.json())["detail"]
