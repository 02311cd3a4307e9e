"""One interface for both clients, and a server with scripted responses."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from jobqueue.client import Client, SyncClient

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable

    Call = Callable[..., Awaitable[Any]]


YIELDING = ("events", "flow_events", "iter_all", "iter_flow_jobs", "iter_flows", "listen")


def caller(kind: str, client: Any) -> Call:
    """Return a function that calls a method of the client, in a thread if it is blocking.

    A call of one of `YIELDING` returns a list of all that it yields, or of the `first` ones.
    """

    async def call(name: str, /, *args: Any, first: int | None = None, **options: Any) -> Any:
        method = getattr(client, name)
        if kind == "sync":
            if name in YIELDING:
                return await asyncio.to_thread(lambda: list(itertools.islice(method(*args, **options), first)))
            return await asyncio.to_thread(method, *args, **options)
        if name in YIELDING:
            return await collect(method(*args, **options), first)
        return await method(*args, **options)

    return call


async def collect(events: AsyncGenerator[Any, None], first: int | None) -> list[Any]:
    taken: list[Any] = []
    async with aclosing(events):
        async for event in events:
            taken.append(event)
            if len(taken) == first:
                break
    return taken


@asynccontextmanager
async def calling(kind: str, url: str, **options: Any) -> AsyncIterator[Call]:
    if kind == "sync":
        yield caller(kind, SyncClient(url, **options))
    else:
        async with Client(url, **options) as client:
            yield caller(kind, client)


class Script:
    """Sends its scripted responses in order, one per request, and closes the connection after `Connection: close`.

    None closes the connection without a response, and b"" sends nothing.
    """

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.times: list[float] = []
        self.url = ""

    def header(self, name: str) -> list[str | None]:
        """Return the value of a header in each request."""
        fields = [
            {name.lower(): value for name, _, value in (line.partition(": ") for line in head.split("\r\n"))}
            for head in self.heads
        ]
        return [each.get(name) for each in fields]

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Script]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(
                    (line for line in head.split("\r\n") if line.lower().startswith("content-length:")), ": 0"
                )
                self.bodies.append(await reader.readexactly(int(length.partition(":")[2])))
                self.requests.append(head.partition(" HTTP")[0])
                self.heads.append(head)
                self.times.append(time.monotonic())
                answer = self.answers.pop(0) if self.answers else None
                if answer is None:
                    break
                writer.write(answer if not head.startswith("HEAD ") else answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                if b"Connection: close" in answer:
                    break
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


def answer(status: int, body: dict[str, Any] | None = None, **headers: str) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([f"HTTP/1.1 {status} -", f"Content-Length: {len(content)}", *lines, "", ""]).encode() + content


def document(state: str, **changes: Any) -> dict[str, Any]:
    absent = dict.fromkeys(
        ("group", "run_at", "started_at", "finished_at", "progress", "position", "eta_s", "poll_after_ms", "result")
    )
    now = "2026-01-01T00:00:00.000Z"
    counts = {"attempt": 0, "attempts_max": 1, "priority": 0, "created_at": now, "error": None}
    return {"id": "j", "type": "t", "queue": "default", "state": state, **absent, **counts, **changes}


def refusal(name: str, header_s: int, status: int = 503, **members: Any) -> bytes:
    return answer(status, {"type": f"/problems/{name}", "detail": name, **members}, Retry_After=str(header_s))


def page(status: int, text: str = "<html><h1>Bad Gateway</h1></html>", **headers: str) -> bytes:
    """Return a response of a proxy: an HTML page."""
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    head = "\r\n".join([f"HTTP/1.1 {status} -", "Content-Type: text/html", f"Content-Length: {len(text)}", *lines])
    head += "\r\nConnection: close"
    return f"{head}\r\n\r\n{text}".encode()


def stream(*frames: str, then: str = "Connection: close") -> bytes:
    """Return an event stream that ends with its connection."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{then}\r\n\r\n"
    return head.encode() + "".join(frame + "\n\n" for frame in frames).encode()


def event(number: int, state: str, **members: Any) -> str:
    data = json.dumps({"id": "j", "state": state, **members})
    return f"id: x-{number}\nevent: {state}\ndata: {data}"


@asynccontextmanager
async def scripted(kind: str, *answers: bytes | None, **options: Any) -> AsyncIterator[tuple[Call, Script]]:
    options = {"timeout_s": 2.0, "retry_reads_for_s": 0.0, **options}
    async with Script(*answers).serving() as script, calling(kind, script.url, **options) as call:
        yield call, script
