"""Sessions of the clients: several event loops, several threads, no aiohttp, credentials in URLs."""

from __future__ import annotations

import asyncio
import base64
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.client import Client, SyncClient
from tests.client.calling import Script, answer, calling, document

if TYPE_CHECKING:
    from tests.http.serving import Serving


async def test_one_client_works_in_consecutive_event_loops(serving: Serving) -> None:
    client = Client(serving.url)

    def twice() -> list[Any]:
        return [asyncio.run(client.run("echo", {"value": n}, wait_s=10)) for n in (1, 2)]

    assert await asyncio.to_thread(twice) == [1, 2]
    assert await client.run("echo", {"value": 3}, wait_s=10) == 3
    await client.close()
    assert client._sessions._open == {}


async def test_one_client_works_in_concurrent_event_loops_and_closes_all_sessions(serving: Serving) -> None:
    client = Client(serving.url)
    ran, may_end = threading.Event(), threading.Event()

    async def elsewhere() -> Any:
        result = await client.run("echo", {"value": 1}, wait_s=10)
        ran.set()
        await asyncio.to_thread(may_end.wait, 10)
        return result

    other = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(elsewhere())))
    assert await client.run("echo", {"value": 2}, wait_s=10) == 2
    await asyncio.to_thread(ran.wait, 10)
    assert len(client._sessions._open) == 2
    await client.close()
    may_end.set()
    assert await other == 1
    assert client._sessions._open == {}


async def test_a_session_closes_with_its_event_loop(serving: Serving) -> None:
    client = Client(serving.url)
    await asyncio.to_thread(lambda: asyncio.run(client.submit("echo")))
    assert client._sessions._open == {}
    while serving.server.open:  # no connection outlives the loop
        await asyncio.sleep(0.01)


async def test_a_closed_client_reopens_on_use(serving: Serving) -> None:
    async with Client(serving.url) as client:
        await client.submit("echo")
    assert (await client.submit("echo")).type == "echo"
    await client.close()


async def test_the_sync_client_is_a_context_manager_and_needs_no_aiohttp(serving: Serving) -> None:
    code = f"""
import sys
sys.modules["aiohttp"] = None  # its import fails
from jobqueue.client import SyncClient
with SyncClient({serving.url!r}) as client:
    print(client.run("echo", {{"value": 7}}, wait_s=10))
client.close()
try:
    from jobqueue.client import Client
except ImportError:
    print("no aiohttp")
"""
    child = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (child.stdout, child.stderr) == ("7\nno aiohttp\n", "")


# -- credentials


@pytest.mark.parametrize(
    ("user", "sent"),
    [("ada:secret@", "ada:secret"), ("a%40b:p%3Aw%C3%A9@", "a@b:p:wé"), ("ada@", "ada:"), (":secret@", ":secret")],
)
async def test_credentials_in_the_url_are_sent_as_basic_authorization(kind: str, user: str, sent: str) -> None:
    async with Script(answer(200, document("queued"))).serving() as script:
        async with calling(kind, script.url.replace("http://", f"http://{user}")) as call:
            await call("get", "j")
        expected = "Basic " + base64.b64encode(sent.encode()).decode()
        assert script.header("authorization") == [expected]
        assert "@" not in script.heads[0].partition("Host: ")[2].partition("\r\n")[0]


async def test_a_given_authorization_header_overrides_the_url(kind: str) -> None:
    async with Script(answer(200, document("queued"))).serving() as script:
        url = script.url.replace("http://", "http://ada:secret@")
        async with calling(kind, url, headers={"authorization": "Bearer x"}) as call:
            await call("get", "j")
        assert script.header("authorization") == ["Bearer x"]


@pytest.mark.parametrize("kind", [Client, SyncClient])
def test_the_repr_of_a_client_has_its_url_without_the_password(kind: Any) -> None:
    assert repr(kind("http://host:8080/jobs/")) == f"{kind.__name__}('http://host:8080/jobs')"
    assert repr(kind("http://ada:secret@host")) == f"{kind.__name__}('http://ada@host')"


async def test_an_error_message_has_no_password(kind: str) -> None:
    async with Script().serving() as script:
        url = script.url
    async with calling(kind, url.replace("http://", "http://ada:secret@")) as call:
        with pytest.raises(Exception, match="can't be reached") as raised:
            await call("submit", "t")
    assert "secret" not in str(raised.value)
