"""Another program overwrites a key of the store: what a client sees, and what the log says. Other queues go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.backend.valkey.overwritten_keys import ELSEWHERE
from jobqueue.log import EventMessage
from tests.http.serving import Serving
from tests.http.test_store_failures import ask, ended, until
from tests.stores import client_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    import aiohttp
    import redis

    from bench.store import Store

PREFIX = "{jobqueue}:"


@pytest.fixture
def client(store: Store) -> Iterator[redis.Redis]:
    client = client_of(store)
    yield client
    client.close()


@pytest.fixture
async def serving(store: Store, tmp_path: Path) -> AsyncIterator[Serving]:
    valkey: dict[str, object] = {"url": store.url, "call_timeout_s": 0.8, "ttl_s": 3.0, "cache_s": 0.0}
    settings = {"valkey": valkey, "queues": {"default": {}, "other": {}}, "runtime": {"shares": "strict"}}
    serving = Serving(tmp_path / "spool", settings, "valkey")
    await serving.start()
    yield serving
    await serving.stop()


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    messages = [record.msg for record in caplog.records if isinstance(record.msg, EventMessage)]
    return [message.fields for message in messages if message.event == "store.key_overwritten"]


async def submit(http: aiohttp.ClientSession, queue: str) -> Any:
    return await ask(http, "POST", "/v1/jobs", json={"type": "echo", "queue": queue})


@pytest.mark.parametrize(("name", "right"), [("q:default", "hash"), ("a:default", "zset"), ("r:default:~", "zset")])
async def test_a_queue_with_an_overwritten_key_is_unavailable_and_the_others_go_on(
    http: aiohttp.ClientSession, client: redis.Redis, caplog: pytest.LogCaptureFixture, name: str, right: str
) -> None:
    caplog.set_level("INFO")
    before = (await submit(http, "default")).document["id"]
    await ended(http, before)
    client.set(f"{PREFIX}{name}", "of another program")

    async def is_known() -> bool:
        return "key_overwritten" in (await submit(http, "default")).document.get("detail", "")

    await until(is_known)
    refused = await submit(http, "default")
    assert (refused.status, refused.problem) == (503, "store-unavailable")
    assert "holds a value of another program" in refused.document["detail"]
    for _ in range(3):
        accepted = await submit(http, "other")
        assert accepted.status == 202
        assert (await ended(http, accepted.document["id"]))["state"] == "succeeded"
    assert (await ask(http, "GET", f"/v1/jobs/{before}")).status == 200
    (told_once,) = told(caplog)
    assert told_once["keys"] == f"{PREFIX}{name} is a string and should be a {right}"
    assert client.get(f"{PREFIX}{name}") == b"of another program", "it is left alone"


@pytest.mark.parametrize("name", ["d", "e", "k", "meta", "a:default", "r:default:~", "types"])
async def test_no_status_is_denied_because_of_an_overwritten_key(
    http: aiohttp.ClientSession, client: redis.Redis, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    caplog.set_level("INFO")
    job = (await submit(http, "default")).document["id"]
    await ended(http, job)
    client.delete(f"{PREFIX}{name}")
    client.set(f"{PREFIX}{name}", "of another program")

    async def is_told() -> bool:
        for method, path in (("GET", f"/v1/jobs/{job}"), ("HEAD", f"/v1/jobs/{job}"), ("GET", "/v1/jobs")):
            assert (await ask(http, method, path)).status in (200, 503)
        body, headers = {"type": "echo"}, {"Idempotency-Key": '"k"'}
        assert (await ask(http, "POST", "/v1/jobs", json=body, headers=headers)).status in (200, 202, 503)
        return bool(told(caplog))

    await until(is_told)
    assert f"{PREFIX}{name} is a string and should be a" in told(caplog)[0]["keys"]
    assert len(told(caplog)) == 1


async def test_a_status_of_an_overwritten_record_is_unavailable(
    http: aiohttp.ClientSession, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    job = (await submit(http, "default")).document["id"]
    await ended(http, job)
    (key,) = client.keys(f"{PREFIX}j:*")
    client.delete(key)
    client.hset(key, "field", "of another program")
    answer = await ask(http, "GET", f"/v1/jobs/{job}")
    assert (answer.status, answer.problem) == (503, "store-unavailable")
    await until(lambda: _has(told(caplog)))
    assert told(caplog)[0]["keys"] == ELSEWHERE


async def _has(found: list[Any]) -> bool:
    return bool(found)
