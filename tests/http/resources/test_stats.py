"""The history of queues and types, as clients read it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.core.counting.history import History
from jobqueue.core.counting.series import FIRST_REASON, FIRST_RUN, FIRST_SUM, FIRST_TOTAL, FIRST_WAIT
from jobqueue.core.histogram import BOUNDS_S, BUCKETS
from tests.http.keyed import ANN, OPS, READER, SUB, auth, bearer

if TYPE_CHECKING:
    import aiohttp

    from tests.http.serving import Serving

SERIES = [("queue", "default"), ("queue", "idle"), ("type", "echo"), ("type", "other")]


async def read(http: aiohttp.ClientSession, status: int = 200, **query: str) -> dict[str, Any]:
    async with http.get("/v1/stats", params=query) as response:
        document: dict[str, Any] = await response.json()
        assert response.status == status, document
        return document


def filled(serving: Serving, seconds: int = 100) -> History:
    """Replace the history of a server by one that ends now: each second a job of the type echo, a sixth of it late."""
    recorder = serving.recorder
    recorder.stop()
    history = History(SERIES, 16 * 1024 * 1024)
    last = int(serving.service.backend.now())
    for tick in range(last - seconds + 1, last + 1):
        queue = {0: 2, FIRST_TOTAL: 1, FIRST_SUM: 5, FIRST_REASON: 3, FIRST_WAIT + 2: 1, FIRST_RUN: 1}
        history.add(tick, {2: queue, 4: {1: 1, FIRST_TOTAL: 1, FIRST_RUN: 1}})
    recorder.history = history
    return history


async def test_a_series_has_a_number_for_each_point_and_no_member_that_is_always_0(
    serving: Serving, http: aiohttp.ClientSession
) -> None:
    filled(serving)
    stats = await read(http, step="10", since=str(unix_s(serving) - 50))
    points = len(stats["covered_s"])
    assert 5 <= points <= 7
    assert (stats["by"], stats["step_s"], stats["bounds_s"]) == ("queue", 10, list(BOUNDS_S))
    assert stats["covered_s"][1:-1] == [10] * (points - 2)
    (series,) = stats["series"]
    assert series["name"] == "default"
    assert series["submitted"] == stats["covered_s"]
    assert series["waiting"] == [2] * points
    assert series["refused"] == {"queue-full": [3 * each for each in stats["covered_s"]]}
    assert series["wait_ms"] == [5 * each for each in stats["covered_s"]]
    assert series["waits"][2] == series["runs"][0] == stats["covered_s"]
    assert [len(series[each]) for each in ("waits", "runs")] == [BUCKETS] * 2
    assert set(series) == {"name", "submitted", "waiting", "refused", "wait_ms", "waits", "runs"}
    began, ended = (datetime.fromisoformat(stats[name]) for name in ("since", "until"))
    assert (points - 1) * 10 <= (ended - began).total_seconds() <= points * 10


async def test_types_are_series_by_request_and_one_by_its_name(serving: Serving, http: aiohttp.ClientSession) -> None:
    filled(serving)
    for query in ({"by": "type"}, {"by": "type", "name": "echo"}):
        (series,) = (await read(http, **query))["series"]
        assert (series["name"], max(series["running"])) == ("echo", 1)
    assert (await read(http, by="type", name="other"))["series"] == []


async def test_series_without_room_are_one_without_a_name(serving: Serving, http: aiohttp.ClientSession) -> None:
    history = filled(serving)
    history.folded.add(2)
    history.add((history.last or 0) + 1, {2: {FIRST_TOTAL: 7}})
    stats = await read(http)
    assert [series["name"] for series in stats["series"]] == ["default", None]
    kept, folded = (sum(series["submitted"]) for series in stats["series"])
    assert (kept + folded, folded >= 7) == (107, True)


def unix_s(serving: Serving) -> float:
    return serving.service.wall(serving.service.backend.now())


@pytest.mark.parametrize(
    ("seconds", "back_s", "step_s"),
    [(700, None, 2), (100, None, 1), (700, 60, 1), (700, 3600, 10), (20_000, 3600, 20), (20_000, 1e6, 120)],
)
async def test_a_step_is_chosen_for_at_most_300_points(
    serving: Serving, http: aiohttp.ClientSession, seconds: int, back_s: float | None, step_s: int
) -> None:
    filled(serving, seconds)
    stats = await read(http, **({} if back_s is None else {"since": str(max(0.0, unix_s(serving) - back_s))}))
    assert stats["step_s"] == step_s
    assert len(stats["covered_s"]) <= 301


async def test_a_since_in_the_future_has_no_points(serving: Serving, http: aiohttp.ClientSession) -> None:
    filled(serving)
    stats = await read(http, since="2100-01-01T00:00:00Z")
    assert (stats["covered_s"], stats["series"]) == ([], [])


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"by": "queues"}, "did you mean 'queue'?"),
        ({"by": "type", "name": "eco"}, "did you mean 'echo'?"),
        ({"name": "nope"}, "known: default, idle"),
        ({"step": "0"}, "from 1 to 86400"),
        ({"step": "1.5"}, "from 1 to 86400"),
        ({"step": "99999999999"}, "from 1 to 86400"),
        ({"since": "yesterday"}, "RFC 3339"),
        ({"step": "1", "since": "1000000000"}, "ask for a step of "),
        ({"stepp": "1"}, "did you mean 'step'?"),
        ({"step": "10", "back_s": "10700"}, "too many, 1000 are allowed"),
    ],
)
async def test_an_invalid_query_gets_400_with_the_right_one(
    serving: Serving, http: aiohttp.ClientSession, query: dict[str, str], says: str
) -> None:
    filled(serving, 12_000)
    if back_s := query.pop("back_s", ""):
        query["since"] = str(unix_s(serving) - float(back_s))
    problem = await read(http, 400, **query)
    assert says in problem["detail"]


async def test_a_server_records_its_own_history(serving: Serving, http: aiohttp.ClientSession) -> None:
    async with asyncio.timeout(10):
        while serving.recorder.history is None or serving.recorder.history.last is None:
            await asyncio.sleep(0.01)
    async with http.post("/v1/jobs", json={"type": "echo"}, headers={"Prefer": "wait=5"}) as response:
        assert response.status == 200
    async with asyncio.timeout(10):
        while not (stats := await read(http, by="type", name="echo"))["series"]:
            await asyncio.sleep(0.05)
    (series,) = stats["series"]
    assert (sum(series["submitted"]), sum(series["succeeded"]), sum(series["started"])) == (1, 1, 1)


async def test_without_a_history_there_is_nothing_to_read(start: Any, http_to: Any) -> None:
    http = await http_to(await start(stats={"bytes_max": 0}))
    problem = await read(http, 404)
    assert problem["type"] == "/problems/not-found"
    assert "stats.bytes_max" in problem["detail"]


@pytest.mark.parametrize("shared", [False, True])
async def test_a_key_reads_the_numbers_of_all_callers_only_if_it_sees_all_jobs(
    start: Any, http_to: Any, shared: bool
) -> None:
    serving = await start(auth=auth(shared=shared))
    filled(serving)
    http = await http_to(serving)
    for key, status in ((OPS, 200), (ANN, 200 if shared else 403), (READER, 200 if shared else 403), (SUB, 403)):
        async with http.get("/v1/stats", headers=bearer(key)) as response:
            assert response.status == status, key
            if status == 403:
                assert ("admin" if key != SUB else "read") in response.headers["WWW-Authenticate"]
