"""What a client sees while the store fails: a refusal that says so, and never that its job is not there."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.backend.valkey.faulty_proxy import FaultyProxy
from tests.http.serving import Serving
from tests.stores import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    import redis

    from bench.store import Store

TIMEOUT_S = 0.8
TTL_S = 3.0
PATIENCE_S = 30.0


@pytest.fixture
def client(store: Store) -> Iterator[redis.Redis]:
    client = client_of(store)
    yield client
    client.close()


@pytest.fixture
async def proxy(store: Store, tmp_path: Path) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(tmp_path, store.url) as proxy:
        yield proxy


@pytest.fixture
async def serving(proxy: FaultyProxy, tmp_path: Path) -> AsyncIterator[Serving]:
    valkey: dict[str, object] = {"url": proxy.url, "call_timeout_s": TIMEOUT_S, "ttl_s": TTL_S, "cache_s": 0.0}
    serving = Serving(tmp_path / "spool", {"valkey": valkey}, "valkey")
    await serving.start()
    yield serving
    await serving.stop()


class Answer:
    def __init__(self, status: int, headers: Any, document: Any) -> None:
        self.status = status
        self.headers = headers
        self.problem = document.get("type", "").removeprefix("/problems/") if isinstance(document, dict) else ""
        self.document = document


async def ask(http: aiohttp.ClientSession, method: str, path: str, **options: Any) -> Answer:
    async with http.request(method, path, **options) as answer:
        text = await answer.read()
        return Answer(answer.status, answer.headers, await answer.json(content_type=None) if text else None)


async def submit(http: aiohttp.ClientSession, type_: str = "echo") -> Answer:
    return await ask(http, "POST", "/v1/jobs", json={"type": type_})


async def until(asked: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await asked():
            await asyncio.sleep(0.05)


async def ended(http: aiohttp.ClientSession, job_id: str) -> dict[str, Any]:
    """Return the document of a job once it is over."""
    found: list[dict[str, Any]] = []

    async def over() -> bool:
        answer = await ask(http, "GET", f"/v1/jobs/{job_id}")
        if answer.status == 200:
            found.append(answer.document)
        return answer.status == 200 and answer.document["state"] not in ("queued", "running", "delayed")

    await until(over)
    return found[-1]


async def test_while_the_store_is_down_all_but_the_process_is_unavailable(
    serving: Serving, http: aiohttp.ClientSession, proxy: FaultyProxy
) -> None:
    held = (await submit(http, "hold")).document["id"]
    assert (await ask(http, "GET", "/readyz")).status == 200
    await proxy.refuse()

    first = await submit(http)
    assert (first.status, first.problem) == (503, "store-unavailable")
    assert 1 <= int(first.headers["Retry-After"]) <= 5
    started = asyncio.get_running_loop().time()
    again = await submit(http)
    assert (again.status, again.problem) == (503, "store-unavailable")
    assert asyncio.get_running_loop().time() - started < 2 * TIMEOUT_S  # at once, but for the machine

    for method in ("GET", "HEAD"):
        assert (await ask(http, method, f"/v1/jobs/{held}")).status == 503
    waited = await ask(http, "GET", f"/v1/jobs/{held}", headers={"Prefer": "wait=1"})
    assert (waited.status, waited.problem) == (503, "store-unavailable")
    assert (await ask(http, "POST", f"/v1/jobs/{held}:cancel")).problem == "store-unavailable"
    assert (await ask(http, "DELETE", f"/v1/jobs/{held}")).problem == "store-unavailable"
    assert (await ask(http, "GET", "/v1/jobs")).problem == "store-unavailable"
    assert (await ask(http, "GET", "/readyz")).problem == "store-unavailable"
    assert (await ask(http, "GET", "/livez")).status == 200

    await proxy.listen()
    await until(lambda: ready(http))
    serving.gate.set()
    assert (await ended(http, held))["state"] == "succeeded"


async def ready(http: aiohttp.ClientSession) -> bool:
    return (await ask(http, "GET", "/readyz")).status == 200


async def test_an_id_that_was_never_issued_is_not_found_though_the_store_is_down(
    http: aiohttp.ClientSession, proxy: FaultyProxy
) -> None:
    await proxy.refuse()
    assert (await ask(http, "GET", "/v1/jobs/0123456789012345678901")).status == 404


async def test_a_handler_goes_on_while_the_store_is_away_and_its_outcome_counts(
    serving: Serving, http: aiohttp.ClientSession, proxy: FaultyProxy
) -> None:
    held = (await submit(http, "hold")).document["id"]
    await until(lambda: state_is(http, held, "running"))
    await proxy.refuse()
    serving.gate.set()
    await asyncio.sleep(TIMEOUT_S)
    await proxy.listen()
    job = await ended(http, held)
    assert (job["state"], job["attempt"]) == ("succeeded", 1)


async def state_is(http: aiohttp.ClientSession, job_id: str, state: str) -> bool:
    return bool((await ask(http, "GET", f"/v1/jobs/{job_id}")).document["state"] == state)


@pytest.mark.parametrize("fault", ["swallow", "freeze"])
async def test_a_submission_is_accepted_once_though_its_answer_was_lost(
    http: aiohttp.ClientSession, proxy: FaultyProxy, client: redis.Redis, fault: str
) -> None:
    if fault == "freeze":
        proxy.freeze()
    else:
        proxy.swallow_replies()
    submitting = asyncio.ensure_future(submit(http))
    if fault != "freeze":
        await until(lambda: exists(client, "{jobqueue}:i"))
    await asyncio.sleep(0.1)
    proxy.thaw()
    proxy.swallow_replies(False)
    proxy.cut()
    answer = await submitting
    assert answer.status == 202
    await ended(http, answer.document["id"])
    assert len((await ask(http, "GET", "/v1/jobs")).document["jobs"]) == 1


async def exists(client: redis.Redis, key: str) -> bool:
    return bool(client.exists(key))


async def test_a_full_store_refuses_submissions_and_ends_running_jobs(
    serving: Serving, http: aiohttp.ClientSession, client: redis.Redis
) -> None:
    held = (await submit(http, "hold")).document["id"]
    await until(lambda: state_is(http, held, "running"))
    client.config_set("maxmemory", "1")
    try:
        refused = await submit(http)
        assert (refused.status, refused.problem) == (503, "statuses-full")
        assert "Retry-After" in refused.headers
        serving.gate.set()
        assert (await ended(http, held))["state"] == "succeeded"
    finally:
        client.config_set("maxmemory", "0")
    assert (await submit(http)).status == 202


async def test_a_store_that_may_not_write_refuses_submissions_and_answers_looks(
    serving: Serving, http: aiohttp.ClientSession, client: redis.Redis
) -> None:
    held = (await submit(http, "hold")).document["id"]
    await until(lambda: state_is(http, held, "running"))
    client.config_set("min-replicas-to-write", "1")
    try:
        refused = await submit(http)
        assert (refused.status, refused.problem) == (503, "store-unavailable")
        assert (await ask(http, "HEAD", f"/v1/jobs/{held}")).status == 202
        assert (await ask(http, "GET", "/readyz")).status == 503
    finally:
        client.config_set("min-replicas-to-write", "0")
    await until(lambda: ready(http))
    serving.gate.set()
    assert (await ended(http, held))["state"] == "succeeded"


async def test_a_store_that_lost_its_functions_gets_them_without_a_refusal(
    http: aiohttp.ClientSession, client: redis.Redis
) -> None:
    client.function_flush()
    answer = await submit(http)
    assert answer.status == 202
    assert (await ended(http, answer.document["id"]))["state"] == "succeeded"


async def test_the_jobs_of_an_emptied_store_are_gone_and_new_ones_run(
    http: aiohttp.ClientSession, client: redis.Redis
) -> None:
    lost = (await submit(http)).document["id"]
    await ended(http, lost)
    client.flushall()
    client.function_flush()

    async def accepts() -> bool:
        answer = await submit(http)
        return answer.status == 202 and (await ended(http, answer.document["id"]))["state"] == "succeeded"

    await until(accepts)
    gone = await ask(http, "GET", f"/v1/jobs/{lost}")
    assert (gone.status, gone.document["reason"]) == (410, "earlier-run")
