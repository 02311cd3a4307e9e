"""The event stream of a flow: the flow as it is, the events of its jobs, and its end."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.http.keyed import ANN, BOB, auth, bearer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import aiohttp

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


async def submitted(http: aiohttp.ClientSession, *jobs: dict[str, Any], **headers: str) -> str:
    async with http.post("/v1/flows", json={"jobs": jobs}, headers=headers) as response:
        assert response.status == 202, await response.text()
        return str((await response.json())["id"])


async def events(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    """Yield the id, name and data of each event."""
    assert response.status == 200
    frame: dict[str, str] = {}
    async for line in response.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            frame[name] = value
        elif "event" in frame:
            yield frame.get("id", ""), frame["event"], json.loads(frame["data"])
            frame = {}


HOLD = {"name": "a", "type": "hold"}
LATER = {"name": "b", "type": "echo", "after": ["a"]}


async def test_a_stream_begins_with_the_flow_has_the_events_of_its_jobs_and_ends_with_it(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    other = await submitted(http, HOLD)
    flow_id = await submitted(http, HOLD, LATER)
    async with http.get(f"/v1/flows/{flow_id}/events") as response:
        heard = events(response)
        _, name, flow = await anext(heard)
        assert (name, flow["id"], flow["state"]) == ("flow", flow_id, "running")
        ids = {job["name"]: job["id"] for job in flow["jobs"]}
        serving.gate.set()
        told = [(name, data) async for _, name, data in heard]
    *of_jobs, (last, ended) = told
    assert (last, ended["state"], ended["jobs"]) == ("flow", "succeeded", [])
    assert {data["id"] for _, data in of_jobs} == set(ids.values())
    assert [name for name, data in of_jobs if data["id"] == ids["b"]][-1] == "succeeded"
    async with http.get(f"/v1/flows/{other}", headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200


async def test_a_stream_of_a_flow_that_has_ended_is_the_flow_alone(http: aiohttp.ClientSession) -> None:
    flow_id = await submitted(http, {"name": "a", "type": "echo"})
    async with http.get(f"/v1/flows/{flow_id}", headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200
    async with http.get(f"/v1/flows/{flow_id}/events") as response:
        ((last_id, name, flow),) = [each async for each in events(response)]
        assert (name, flow["state"]) == ("flow", "succeeded")
    async with http.get(f"/v1/flows/{flow_id}/events", headers={"Last-Event-ID": last_id}) as response:
        assert response.status == 204


@pytest.mark.parametrize("known", ["1", "end-1", "x" * 1000])
async def test_a_client_that_has_missed_the_end_gets_it(http: aiohttp.ClientSession, known: str) -> None:
    flow_id = await submitted(http, {"name": "a", "type": "echo"})
    async with http.get(f"/v1/flows/{flow_id}", headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200
    async with http.get(f"/v1/flows/{flow_id}/events", headers={"Last-Event-ID": known}) as response:
        ((_, name, flow),) = [each async for each in events(response)]
    assert (name, flow["state"]) == ("flow", "succeeded")


async def test_a_client_that_comes_back_gets_the_flow_as_it_is(serving: Serving, http: aiohttp.ClientSession) -> None:
    flow_id = await submitted(http, HOLD, LATER)
    for _ in range(2):
        async with http.get(f"/v1/flows/{flow_id}/events", headers={"Last-Event-ID": "7"}) as response:
            _, name, flow = await anext(events(response))
            assert (name, flow["counts"]["waiting"]) == ("flow", 1)
    serving.gate.set()


@pytest.mark.parametrize(("count", "shown"), [(200, 201), (500, 0)])
async def test_a_stream_of_a_large_flow_begins_without_its_jobs(
    serving: Serving, http: aiohttp.ClientSession, count: int, shown: int
) -> None:
    flow_id = await submitted(http, HOLD, *[{**LATER, "name": f"b{n}"} for n in range(count)])
    async with http.get(f"/v1/flows/{flow_id}/events") as response:
        id, name, flow = await anext(events(response))
        assert (id, name, flow["counts"]["waiting"], len(flow["jobs"])) == ("1", "flow", count, shown)
    serving.gate.set()


async def test_a_retried_job_goes_on_in_the_stream_of_its_flow(http: aiohttp.ClientSession) -> None:
    flow_id = await submitted(http, HOLD, {"name": "c", "type": "fail"})
    async with http.get(f"/v1/flows/{flow_id}/events") as response:
        heard = events(response)
        _, _, flow = await anext(heard)
        (failing,) = (job["id"] for job in flow["jobs"] if job["name"] == "c")
        async with http.get(f"/v1/jobs/{failing}", headers={"Prefer": "wait=5"}) as failed:
            assert (await failed.json())["state"] == "failed"
        async with http.post(f"/v1/jobs/{failing}:retry") as retried:
            assert retried.status == 202
        names = [name async for _, name, _ in _until(heard, "queued")]
        names += [name async for _, name, _ in _until(heard, "failed")]
        assert names[-3:] == ["queued", "started", "failed"]
        async with http.post(f"/v1/flows/{flow_id}:cancel") as cancelled:
            assert cancelled.status in (200, 202)
        *_, (_, name, flow) = [each async for each in heard]
        assert (name, flow["state"]) == ("flow", "failed")


async def _until(
    heard: AsyncIterator[tuple[str, str, dict[str, Any]]], last: str
) -> AsyncIterator[tuple[str, str, dict[str, Any]]]:
    async for event in heard:
        yield event
        if event[1] == last:
            return


@pytest.mark.parametrize("count", [20])
async def test_many_streams_of_one_flow_end_with_it(serving: Serving, http: aiohttp.ClientSession, count: int) -> None:
    flow_id = await submitted(http, HOLD, LATER)

    async def last_of_stream() -> str:
        async with http.get(f"/v1/flows/{flow_id}/events") as response:
            heard = events(response)
            await anext(heard)
            opened.release()
            return [data["state"] async for _, _, data in heard][-1]

    opened = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        streams = [group.create_task(last_of_stream()) for _ in range(count)]
        for _ in range(count):
            await opened.acquire()
        serving.gate.set()
    assert {each.result() for each in streams} == {"succeeded"}


async def test_the_stream_of_another_keys_flow_is_not_found(start: Start, http_to: Open) -> None:
    http = await http_to(await start(auth=auth()))
    flow_id = await submitted(http, HOLD, **bearer(ANN))
    async with http.get(f"/v1/flows/{flow_id}/events", headers=bearer(BOB)) as response:
        assert response.status == 404
