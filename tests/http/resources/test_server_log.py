"""The latest lines of the log, over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.log_ring import LINES_MAX
from tests.http.keyed import ANN, OPS, auth, bearer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import aiohttp

    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]
    Open = Callable[[Serving], Awaitable[aiohttp.ClientSession]]


def fill(serving: Serving) -> None:
    """Log three lines."""
    for level, name, event in (
        (20, "info", "job.started"),
        (30, "warning", "job.failed"),
        (40, "error", "spool.failed"),
    ):
        line = {"time": "2026-01-01T00:00:00Z", "level": name, "event": event, "logger": "jobqueue"}
        serving.process.ring.add(level, event, json.dumps(line).encode() + b"\n")


async def read(http: aiohttp.ClientSession, query: str = "") -> dict[str, Any]:
    async with http.get(f"/v1/server/log{query}") as response:
        assert response.status == 200, await response.text()
        document: dict[str, Any] = await response.json()
        return document


@pytest.mark.parametrize(
    ("query", "events"),
    [
        ("", ["spool.failed", "job.failed", "job.started"]),
        ("?level=debug", ["spool.failed", "job.failed", "job.started"]),
        ("?level=warning", ["spool.failed", "job.failed"]),
        ("?level=error", ["spool.failed"]),
        ("?event=job.failed", ["job.failed"]),
        ("?event=job.", ["job.failed", "job.started"]),
        ("?event=job", []),
        ("?event=job.&level=warning", ["job.failed"]),
        ("?limit=1", ["spool.failed"]),
        ("?limit=1&event=job.", ["job.failed"]),
    ],
)
async def test_the_latest_lines_come_first_by_level_and_event(
    serving: Serving, http: aiohttp.ClientSession, query: str, events: list[str]
) -> None:
    fill(serving)
    document = await read(http, query)
    assert [line["event"] for line in document["lines"]] == events
    assert document["dropped"] == 3


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("?level=warn", "did you mean 'warning'?"),
        ("?level=", "level is one of"),
        ("?event=", "event has 1 to 100 characters"),
        (f"?event={'x' * 101}", "event has 1 to 100 characters"),
        ("?limit=0", "limit is a whole number from 1 to 500"),
        ("?limit=501", "limit is a whole number from 1 to 500"),
        ("?limit=1e2", "limit is a whole number from 1 to 500"),
        ("?limit=-1", "limit is a whole number from 1 to 500"),
        ("?limits=1", "did you mean 'limit'?"),
        ("?level=info&level=error", "duplicate"),
    ],
)
async def test_an_invalid_query_names_the_valid_values(
    serving: Serving, http: aiohttp.ClientSession, query: str, words: str
) -> None:
    async with http.get(f"/v1/server/log{query}") as response:
        problem = await response.json(content_type="application/problem+json")
    assert (response.status, problem["type"]) == (400, "/problems/malformed-request")
    assert words in problem["detail"]


async def test_secrets_of_keys_are_left_out(serving: Serving, http: aiohttp.ClientSession) -> None:
    line = {"event": "log", "message": f"got {OPS.text} and {ANN.text}"}
    serving.process.ring.add(20, "log", json.dumps(line).encode())
    async with http.get("/v1/server/log") as response:
        text = await response.text()
    assert f"jq_{OPS.id}_***" in text
    assert OPS.secret not in text
    assert ANN.secret not in text


@pytest.mark.parametrize("line", [b'{"event": "log", "huge": 99999999999999999999999}', b'{"lone": "\\ud800"}', b"NaN"])
async def test_a_line_that_is_no_plain_json_is_a_text(
    serving: Serving, http: aiohttp.ClientSession, line: bytes
) -> None:
    serving.process.ring.add(20, "log", line + b"\n")
    (told,) = (await read(http))["lines"]
    assert "text" not in told or told["text"] == line.decode()


async def test_a_full_ring_is_an_answer_of_bounded_size(serving: Serving, http: aiohttp.ClientSession) -> None:
    line = json.dumps({"event": "log", "message": "x" * 10_000}).encode()
    for _ in range(LINES_MAX):
        serving.process.ring.add(20, "log", line)
    async with http.get(f"/v1/server/log?limit={LINES_MAX}") as response:
        body = await response.read()
    assert 1_000_000 < len(body) < 1_100_000


async def test_only_an_admin_reads_the_log_and_not_where_the_api_is_mounted(start: Start, http_to: Open) -> None:
    serving = await start(auth=auth())
    http = await http_to(serving)
    for path in ("/v1/server/log", "/v1/server/settings"):
        for key, status in ((None, 401), (ANN, 403), (OPS, 200)):
            async with http.get(path, headers=bearer(key)) as response:
                assert response.status == status
    serving.api.process = None
    async with http.get("/v1/server/log", headers=bearer(OPS)) as response:
        assert response.status == 409
