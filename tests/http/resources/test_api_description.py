"""The description of the API as a resource: access by setting, entity tags, and the types of this server."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest
from aiohttp import web

from jobqueue import JobQueue
from jobqueue.config import Settings
from jobqueue.http import application
from jobqueue.http.openapi import describe
from tests.http.keyed import READER, SUB, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


async def test_the_description_is_that_of_the_code(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with http.get("/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        assert (await response.read()).rstrip(b"\n") == describe(serving.service.settings)


async def test_a_description_with_types_has_the_arguments_of_each_handler(http: aiohttp.ClientSession) -> None:
    async with http.get("/openapi.json?types=1") as response:
        schemas = (await response.json())["components"]["schemas"]
    assert set(schemas["Submission"]["discriminator"]["mapping"]) >= {"echo", "hold", "big"}
    big = schemas["big.Submission"]
    assert big["properties"]["type"]["const"] == "big"
    assert big["properties"]["args"]["properties"] == {"size": {"type": "integer"}}
    assert big["required"] == ["type", "args"]
    assert schemas["hold.Submission"]["properties"]["timeout_s"]["maximum"] == 10 * 86_400


async def test_a_known_tag_saves_the_description_until_it_changes(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    async with http.get("/openapi.json?types=1") as response:
        known = {"If-None-Match": response.headers["ETag"]}
    async with http.get("/openapi.json?types=1", headers=known) as response:
        assert (response.status, await response.read()) == (304, b"")
    async with http.get("/openapi.json", headers=known) as response:
        assert response.status == 200

    @serving.queue.handler
    async def later() -> None: ...

    async with http.get("/openapi.json?types=1", headers=known) as response:
        assert "later.Submission" in (await response.json())["components"]["schemas"]


@pytest.mark.parametrize("query", ["types=2", "types=", "types=1&types=1", "type=1"])
async def test_a_query_that_is_not_known_is_rejected(query: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"/openapi.json?{query}") as response:
        assert response.status == 400


@pytest.mark.parametrize(
    ("setting", "without", "submitting", "reading"),
    [("read", 401, 403, 200), ("open", 200, 200, 200), ("off", 401, 403, 404)],
)
async def test_the_setting_decides_which_requests_may_read_it(
    setting: str, without: int, submitting: int, reading: int, start: Start, http_to: Open
) -> None:
    http = await http_to(await start(auth=auth("sub", "reader"), server={"openapi": setting}))
    for key, status in ((None, without), (SUB, submitting), (READER, reading)):
        async with http.get("/openapi.json", headers=bearer(key)) as response:
            assert response.status == status


async def test_a_mounted_api_has_its_prefix_in_the_description() -> None:
    app = web.Application()
    app.add_subapp("/jobs", application(JobQueue(Settings())))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url_of(runner)}/jobs/openapi.json") as response:
            assert [server["url"] for server in (await response.json())["servers"]] == ["/jobs"]
    finally:
        await runner.cleanup()


def url_of(runner: web.AppRunner) -> str:
    host, port = runner.addresses[0][:2]
    return f"http://{host}:{port}"


def test_a_server_imports_nothing_of_it_before_it_is_asked() -> None:
    script = "import sys, jobqueue.server, jobqueue.http; sys.exit('jobqueue.http.openapi' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
