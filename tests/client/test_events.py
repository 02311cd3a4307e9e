"""Event streams of the Python clients: up to the terminal event, across broken connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from jobqueue import errors
from jobqueue.client import Client, ErrorAnswer, JobEvent, NoAnswer
from jobqueue.core.job import JobState
from tests.client.calling import answer as plain
from tests.client.calling import calling, document, event, refusal, scripted, stream

if TYPE_CHECKING:
    from tests.client.calling import Call
    from tests.http.serving import Serving


def states(events: list[JobEvent]) -> list[str | None]:
    return [each.state for each in events]


# -- against the real server


async def test_events_of_a_job_lead_from_its_current_state_to_its_terminal_state(call: Call, serving: Serving) -> None:
    job = await call("submit", "hold", {"note": "half way"})
    asyncio.get_running_loop().call_later(0.3, serving.gate.set)

    events = await call("events", job.id)

    assert {each.data["id"] for each in events} == {job.id}
    assert states(events)[-1] == JobState.SUCCEEDED
    assert [each.over for each in events] == [False] * (len(events) - 1) + [True]
    assert JobState.RUNNING in states(events)
    assert len({each.id for each in events}) == len(events)


async def test_a_terminal_job_has_one_event(call: Call) -> None:
    job = await call("submit", "fail", wait_s=10)

    (last,) = await call("events", job.id)

    assert (last.name, last.state, last.over) == ("failed", JobState.FAILED, True)
    assert last.data["error"] == {"code": "handler_error"}


async def test_events_of_all_jobs_continue_after_a_job_ends(call: Call, serving: Serving) -> None:
    hearing = asyncio.create_task(call("events", first=6))
    await asyncio.sleep(0.2)  # for the stream to begin
    ids = {(await call("submit", "echo")).id for _ in range(2)}

    events = await asyncio.wait_for(hearing, 10)

    assert {each.data["id"] for each in events} == ids
    assert sum(each.over for each in events) == 2


async def test_events_of_an_unknown_job_raise_not_found(call: Call) -> None:
    with pytest.raises(errors.JobNotFound):
        await call("events", "x" * 22)


async def test_a_stream_may_be_silent_for_longer_than_the_timeout_of_the_client(kind: str, serving: Serving) -> None:
    opened: list[str] = []
    options = {"after_answer": lambda request, answer: opened.append(request.target)}
    async with calling(kind, serving.url, timeout_s=0.2, **options) as call:
        job = await call("submit", "hold")
        opened.clear()
        asyncio.get_running_loop().call_later(0.8, serving.gate.set)
        events = await call("events", job.id)
    assert states(events)[-1] == JobState.SUCCEEDED
    assert len(opened) == 1


async def test_closing_the_event_iterator_closes_the_connection(serving: Serving) -> None:
    async with Client(serving.url) as client:
        job = await client.submit("hold")
        events = client.events(job.id)
        await anext(events)
        assert len(serving.server.connections) == 1
        await events.aclose()
        await asyncio.sleep(0.1)  # for the server to notice
        assert len(serving.server.connections) == 0


# -- against scripted responses


async def test_a_broken_stream_resumes_after_the_last_received_event(kind: str) -> None:
    broken = stream("retry: 100", event(1, "queued"), event(2, "running")) + b"id: x-3\nevent: lost\n"
    async with scripted(kind, broken, stream(": nothing"), None, stream(event(3, "succeeded"))) as (call, script):
        events = await call("events", "j")

    assert states(events) == ["queued", "running", "succeeded"]
    assert script.requests == ["GET /v1/jobs/j/events"] * 4
    assert script.header("last-event-id") == [None, "x-2", "x-2", "x-2"]
    assert 0.1 <= script.times[1] - script.times[0] < 0.6


async def test_events_end_at_the_terminal_event_without_waiting_for_the_stream(kind: str) -> None:
    endless = stream(event(1, "cancelled"), event(2, "queued"), then="Content-Length: 100000")
    async with scripted(kind, endless) as (call, _):
        assert states(await asyncio.wait_for(call("events", "j"), 2)) == ["cancelled"]


async def test_events_start_after_a_given_last_event_id(kind: str) -> None:
    async with scripted(kind, stream(event(8, "failed"))) as (call, script):
        await call("events", "j", last_event_id="x-7")
    assert script.header("last-event-id") == ["x-7"]


async def test_events_after_the_terminal_event_are_empty(kind: str) -> None:
    async with scripted(kind, plain(204)) as (call, script):
        assert await call("events", "j", last_event_id="x-7") == []
        assert len(script.requests) == 1


async def test_a_rejected_stream_is_retried_after_retry_after_within_retry_for_s(kind: str) -> None:
    busy = refusal("too-many-long-polls", 1, retry_after_s=0.2)
    async with scripted(kind, busy, stream(event(1, "expired"))) as (call, script):
        assert states(await call("events", "j")) == ["expired"]
    assert script.times[1] - script.times[0] >= 0.2

    async with scripted(kind, refusal("too-many-long-polls", 60)) as (call, _):
        with pytest.raises(errors.Refused, match="too-many-long-polls"):
            await call("events", "j", retry_for_s=5)


async def test_retry_for_s_starts_when_the_stream_breaks(kind: str) -> None:
    answers = [stream("retry: 10", event(1, "running")), refusal("too-many-long-polls", 1, retry_after_s=0.2)]
    answers.append(stream(event(2, "succeeded")))

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        if len(answers) == 2:
            await asyncio.sleep(0.8)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with calling(kind, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as call:
            assert states(await call("events", "j", retry_for_s=0.5)) == ["running", "succeeded"]
    finally:
        server.close()


async def test_events_raise_no_answer_when_the_server_stays_unreachable(kind: str) -> None:
    async with scripted(kind) as (_, script):
        url = script.url
    async with calling(kind, url) as call:
        with pytest.raises(NoAnswer):
            await call("events", "j", retry_for_s=0.5)


async def test_a_broken_stream_of_all_jobs_resumes(kind: str) -> None:
    first, second = stream(event(1, "succeeded")), stream("retry: 10", event(2, "failed"), event(3, "queued"))
    async with scripted(kind, first, second) as (call, _):
        assert states(await call("events", first=3)) == ["succeeded", "failed", "queued"]


@pytest.mark.parametrize(
    "strange", [stream("data: [1"), stream('data: "text"'), plain(200, document("queued")), plain(418)]
)
async def test_a_response_that_is_not_an_event_stream_raises_error_answer(kind: str, strange: bytes) -> None:
    async with scripted(kind, strange) as (call, _):
        with pytest.raises(ErrorAnswer):
            await call("events", "j")
