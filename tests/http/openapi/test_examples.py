"""The examples of the description: requests of the tour, which are answered as the description shows."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web

from jobqueue.demo import queue
from jobqueue.http import application
from jobqueue.http.openapi.examples import ANSWERS, REQUESTS
from jobqueue.http.routes import ROUTES
from tests.docs.page import ROOT
from tests.http.openapi.described import description, resolved

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROWS = {row.name: row for row in ROUTES}
EXAMPLES = [(name, key) for name, examples in REQUESTS.items() for key in examples]
ANY = ("id", "created_at", "run_at", "started_at", "finished_at", "ended_at", "eta_s", "poll_after_ms", "position")
"""Members that differ from time to time."""
STATES = {"queued": "queued", "running": "queued"}


def bodies_of_the_tour() -> list[Any]:
    """Return the JSON that the commands on both pages send."""
    pages = [(ROOT / name).read_text() for name in ("README.md", "docs/how-to/curl.md")]
    return [json.loads(body) for page in pages for body in re.findall(r"-d '(\{.*?\})'(?= |$)", page, re.MULTILINE)]


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    runner = web.AppRunner(application(queue), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    async with aiohttp.ClientSession(f"http://{host}:{port}") as session:
        yield session
    await queue.stop()  # at once: a delayed job is among the examples
    await runner.cleanup()


@pytest.mark.parametrize(("name", "key"), EXAMPLES)
def test_a_request_is_one_of_the_tour(name: str, key: str) -> None:
    assert REQUESTS[name][key][1] in bodies_of_the_tour()


@pytest.mark.parametrize(("name", "key"), EXAMPLES)
async def test_a_request_is_answered_as_described(name: str, key: str, http: aiohttp.ClientSession) -> None:
    row = ROWS[name]
    statuses = [status for (of, status), answers in ANSWERS.items() if of == name and key in answers]
    headers = {"Prefer": "wait=5"} if statuses == [200] and name == "submit_job" else {}
    url = row.path.replace("{name}", "default")
    async with http.request(row.method, url, json=REQUESTS[name][key][1], headers=headers) as response:
        document = await response.json(content_type=None)
        assert response.status in (statuses or [200])
    for status in statuses:
        assert without_changing_members(document) == without_changing_members(ANSWERS[name, status][key])


def without_changing_members(part: Any) -> Any:
    """Return a document with the members that differ from time to time as whether they are there."""
    if isinstance(part, list):
        return [without_changing_members(each) for each in part]
    if not isinstance(part, dict):
        return part
    kept = {name: name if name in ANY else without_changing_members(value) for name, value in part.items()}
    if kept.get("state") in STATES:  # it may have begun meanwhile
        kept |= {"state": "queued", "attempt": 0}
    return kept | ({"count": 0} if "count" in kept else {})


def test_the_description_has_all_examples() -> None:
    for name, examples in REQUESTS.items():
        operation = description()["paths"][ROWS[name].path][ROWS[name].method.lower()]
        assert set(operation["requestBody"]["content"]["application/json"]["examples"]) == set(examples)
    for (name, status), examples in ANSWERS.items():
        operation = description()["paths"][ROWS[name].path][ROWS[name].method.lower()]
        (content,) = resolved(operation["responses"][str(status)], description())["content"].values()
        assert set(content["examples"]) == set(examples)
