"""One client in several event loops, in several threads, and without aiohttp."""

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


async def test_one_client_serves_one_loop_after_another(serving: Serving) -> None:
    client = Client(serving.url)

    def twice() -> list[Any]:
        return [asyncio.run(client.run("echo", {"value": n}, wait_s=10)) for n in (1, 2)]

    assert await asyncio.to_thread(twice) == [1, 2]
    assert await client.run("echo", {"value": 3}, wait_s=10) == 3
    await client.close()
    assert client._sessions._open == {}


async def test_one_client_serves_loops_that_run_at_once_and_closes_them_all(serving: Serving) -> None:
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


async def test_a_session_is_closed_with_its_loop(serving: Serving) -> None:
    client = Client(serving.url)
    await asyncio.to_thread(lambda: asyncio.run(client.submit("echo")))
    assert client._sessions._open == {}
    while serving.server.open:  # no connection outlives the loop
        await asyncio.sleep(0.01)


async def test_a_closed_client_opens_again(serving: Serving) -> None:
    async with Client(serving.url) as client:
        await client.submit("echo")
    assert (await client.submit("echo")).type == "echo"
    await client.close()


async def test_the_blocking_client_is_used_with_with_and_needs_no_aiohttp(serving: Serving) -> None:
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


# -- where the server is


@pytest.mark.parametrize(
    ("user", "sent"),
    [("ada:secret@", "ada:secret"), ("a%40b:p%3Aw%C3%A9@", "a@b:p:wé"), ("ada@", "ada:"), (":secret@", ":secret")],
)
async def test_a_user_and_a_password_in_the_url_are_sent(kind: str, user: str, sent: str) -> None:
    async with Script(answer(200, document("queued"))).serving() as script:
        async with calling(kind, script.url.replace("http://", f"http://{user}")) as call:
            await call("get", "j")
        expected = "basic " + base64.b64encode(sent.encode()).decode().lower()
        assert script.header("authorization") == [expected]
        assert "@" not in script.heads[0].partition("Host: ")[2].partition("\r\n")[0]


async def test_a_header_of_one_s_own_wins(kind: str) -> None:
    async with Script(answer(200, document("queued"))).serving() as script:
        url = script.url.replace("http://", "http://ada:secret@")
        async with calling(kind, url, headers={"authorization": "Bearer x"}) as call:
            await call("get", "j")
        assert script.header("authorization") == ["bearer x"]


@pytest.mark.parametrize("kind", [Client, SyncClient])
def test_a_client_shows_its_url_and_no_password(kind: Any) -> None:
    assert repr(kind("http://host:8080/jobs/")) == f"{kind.__name__}('http://host:8080/jobs')"
    assert repr(kind("http://ada:secret@host")) == f"{kind.__name__}('http://ada@host')"


async def test_an_error_shows_no_password(kind: str) -> None:
    async with Script().serving() as script:
        url = script.url
    async with calling(kind, url.replace("http://", "http://ada:secret@")) as call:
        with pytest.raises(Exception, match="can't be reached") as raised:
            await call("submit", "t")
    assert "secret" not in str(raised.value)
