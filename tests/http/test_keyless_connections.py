"""Connections without a key, where requests need one: each address has a bound of them, over both paths and TLS."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.certificates import load_context
from jobqueue.config.tls import TlsSettings
from tests.authority import Authority
from tests.http.keyed import ANN, STRANGER, auth, reload, request
from tests.http.secure import Secure
from tests.http.serving import read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from jobqueue.http.transport.caller_connections import CallerConnections
    from jobqueue.keys import Key
    from tests.http.serving import Serving
    from tests.streams import Streams

    Start = Callable[..., Awaitable[Serving]]

EVERY_PATH = pytest.mark.parametrize("fast", [True, False], ids=["fast path", "stock path"])
JOB = b'{"type":"echo"}'


async def serve(start: Start, fast: bool = True, maximum: int | None = 2, **server: Any) -> Serving:
    settings = {"server": {"fast_path": fast, "hosts": ["h"], **server}}
    return await start(**settings, auth=auth(), limits={"keyless_connections_max": maximum})


async def ask(streams: Streams, method: str, path: str, key: Key | None = None, body: bytes = b"") -> int:
    reader, writer = streams
    writer.write(request(method, path, key, body=body))
    return (await read_answer(reader)).status


async def rejected(serving: Serving) -> bool:
    """Whether a further connection is rejected at once."""
    async with serving.connect() as (reader, writer):
        writer.write(request("GET", "/livez", None))
        answer = await read_answer(reader)
        if answer.status == 200:
            return False
        assert (answer.status, answer.kind) == (429, "quota-exceeded")
        assert "limits.keyless_connections_max" in answer.problem["detail"]
        assert (answer.headers["retry-after"], answer.headers["connection"]) == ("1", "close")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        return True


def connections_of(serving: Serving) -> CallerConnections:
    found = serving.server.caller_connections
    assert found is not None
    return found


@EVERY_PATH
async def test_an_address_has_a_bound_of_connections_without_a_key(start: Start, fast: bool) -> None:
    serving = await serve(start, fast)
    async with serving.connect() as silent:
        async with serving.connect() as alive:
            assert await ask(alive, "GET", "/livez") == 200
            assert await ask(alive, "GET", "/v1/jobs/x", STRANGER) == 401
            assert await rejected(serving)
            assert await ask(silent, "GET", "/livez") == 200
        async with asyncio.timeout(5):
            while serving.server.open > 1:
                await asyncio.sleep(0)
        assert not await rejected(serving)
    async with asyncio.timeout(5):
        while serving.server.open:
            await asyncio.sleep(0)
    assert not connections_of(serving)._keyless


@EVERY_PATH
@pytest.mark.parametrize(("method", "path"), [("POST", "/v1/jobs"), ("GET", "/v1/queues"), ("GET", "/v1/jobs/a:b")])
async def test_a_connection_counts_until_its_first_request_with_a_key(
    start: Start, fast: bool, method: str, path: str
) -> None:
    serving = await serve(start, fast)
    body = JOB if method == "POST" else b""
    async with contextlib.AsyncExitStack() as opened:
        for _ in range(5):
            wire = await opened.enter_async_context(serving.connect())
            assert await ask(wire, "GET", "/livez") == 200
            assert await ask(wire, method, path, ANN, body) in (200, 202, 404)
        assert connections_of(serving)._keyless == {}
        for _ in range(2):
            await ask(await opened.enter_async_context(serving.connect()), "GET", "/livez")
        assert await rejected(serving)


async def test_a_cached_head_shows_the_key_of_a_connection(start: Start) -> None:
    serving = await serve(start, maximum=1)
    async with serving.connect() as first:
        assert await ask(first, "POST", "/v1/jobs", ANN, JOB) == 202
        async with serving.connect() as second:
            answers = serving.server.fast_answers
            assert await ask(second, "POST", "/v1/jobs", ANN, JOB) == 202
            assert serving.server.fast_answers == answers + 1
            assert not await rejected(serving)


async def test_a_wait_with_a_key_counts_no_more_before_its_answer(start: Start) -> None:
    serving = await serve(start, maximum=1)
    async with serving.connect() as (_, writer):
        writer.write(request("POST", "/v1/jobs", ANN, "Prefer: wait=10", body=b'{"type":"hold"}'))
        async with asyncio.timeout(5):
            while not serving.waiting.count:
                await asyncio.sleep(0)
        assert not await rejected(serving)
        serving.gate.set()


async def test_the_bound_is_off_without_keys_and_by_null(start: Start) -> None:
    serving = await serve(start, maximum=None)
    without = await start(limits={"keyless_connections_max": 1})
    for each in (serving, without):
        async with each.connect() as one, each.connect() as other:
            assert [await ask(wire, "GET", "/livez") for wire in (one, other)] == [200] * 2


async def test_the_connections_of_a_listed_proxy_do_not_count(start: Start) -> None:
    serving = await serve(start, maximum=1, proxies=["127.0.0.1"])
    async with serving.connect() as one, serving.connect() as other:
        assert [await ask(wire, "GET", "/livez") for wire in (one, other)] == [200] * 2


async def test_connections_that_were_open_before_keys_were_needed_do_not_count(start: Start) -> None:
    serving = await start(limits={"keyless_connections_max": 1})
    async with serving.connect() as before, serving.connect() as other:
        assert [await ask(wire, "GET", "/livez") for wire in (before, other)] == [200] * 2
        await reload(serving, auth())
        async with serving.connect() as after:
            assert await ask(after, "GET", "/livez") == 200
            assert await rejected(serving)
            await reload(serving, {})
            assert await ask(after, "GET", "/v1/queues") == 200
            assert not await rejected(serving)
    async with asyncio.timeout(5):
        while serving.server.open:
            await asyncio.sleep(0)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
async def secure(start: Start, authority: Authority) -> AsyncIterator[Secure]:
    """A server's port with TLS, for one connection without a key from each address."""
    certificate = authority.issue("server")
    context = load_context(TlsSettings(cert=str(certificate.cert), key=str(certificate.key)))
    assert context is not None
    server = Secure(await serve(start, maximum=1), authority, context)
    await server.listen()
    yield server
    server.close()


async def test_handshakes_and_connections_without_a_key_share_the_bound(secure: Secure) -> None:
    async with secure.connect_plainly():
        async with asyncio.timeout(5):
            while not secure.tls.handshakes:
                await asyncio.sleep(0)
        async with secure.connect_plainly() as (reader, _):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    async with asyncio.timeout(5):
        while secure.tls.handshakes:
            await asyncio.sleep(0)
    async with secure.connect() as wire:
        assert await ask(wire, "GET", "/livez") == 200
        async with secure.connect_plainly() as (reader, _):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert await ask(wire, "GET", "/v1/queues", ANN) == 200
        async with secure.connect() as other:
            assert await ask(other, "GET", "/livez") == 200
    assert not secure.tls.by_peer
