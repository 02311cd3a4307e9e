"""The server under test: its handlers, and raw connections to it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from typing import TYPE_CHECKING, Any

import msgspec
import uvloop
from aiohttp import web

from jobqueue.app import JobQueue
from jobqueue.config import Settings
from jobqueue.config.reload import Reloaded
from jobqueue.context import JobContext
from jobqueue.findings.sight import ProcessCounts
from jobqueue.http.assembly import FAST_PATH, Api
from jobqueue.http.resources.server import Figures
from jobqueue.http.response.descriptors import DESCRIPTORS
from jobqueue.http.transport.access_log import access_log_of
from jobqueue.http.transport.job_server import JobServer
from jobqueue.log_ring import LogRing
from tests.http.declared import ANSWERS
from tests.streams import connected

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jobqueue.config.load import Loaded
    from jobqueue.http.streams.waiters import Waiters
    from jobqueue.log_ring import Line
    from jobqueue.recorder import Recorder
    from tests.streams import Streams

DEFAULTS: dict[str, dict[str, object]] = {
    "server": {"hosts": ["h", "a", "b"]},
    "limits": {"body_bytes": 64 * 1024, "files": 3, "files_bytes": 1024 * 1024},
}


class Serving:
    def __init__(self, spool_dir: Path, settings: dict[str, dict[str, object]], backend: str = "memory") -> None:
        merged = {name: {**DEFAULTS.get(name, {}), **settings.get(name, {})} for name in {*DEFAULTS, *settings}}
        if backend == "memory":
            merged.setdefault("spool", {}).setdefault("dir", str(spool_dir))
        self.queue = JobQueue(msgspec.convert({"backend": backend, **merged}, Settings))
        self.service = self.queue.service
        self.gate = asyncio.Event()
        self.spool_dir = spool_dir
        self.lag_s = 0.0
        self._add_handlers()

    def _add_handlers(self) -> None:
        queue, gate = self.queue, self.gate

        @queue.handler
        async def echo(value: Any = None) -> Any:
            return value

        @queue.handler(timeout_s=10 * 86_400.0)
        async def hold(ctx: JobContext, note: str | None = None) -> str:
            """Run until the test sets `gate`."""
            if note is not None:
                ctx.progress(0.5, note)
            await gate.wait()
            return "held"

        @queue.handler
        async def fail() -> None:
            raise ValueError("it can't be done")

        @queue.handler
        async def big(size: int) -> str:
            return "x" * size

        @queue.handler
        async def sizes(ctx: JobContext) -> dict[str, int]:
            return {name: path.stat().st_size for name, path in ctx.files.items()}

        @queue.handler
        async def named(ctx: JobContext) -> dict[str, list[Any]]:
            return {
                name: [[file.filename, file.media_type, file.size_bytes] for file in ctx.files.getall(name)]
                for name in ctx.files
            }

        @queue.handler
        async def report(ctx: JobContext, size: int = 5, media_type: str = "text/plain") -> None:
            ctx.result_file(media_type).write_bytes(b"r" * size)

    async def start(self) -> None:
        await self.queue.start()
        settings = self.queue.settings
        app = web.Application()
        api = Api(self.service, lambda: self.lag_s)
        self.api, self.process = api, FakeProcess()
        api.process = self.process
        api.add_to(app)
        app.on_response_prepare.append(ANSWERS.on_response_prepare)
        self.waiting: Waiters = api.waiters
        self.recorder: Recorder = api.recorder
        self.recorder.start()
        self.descriptors = app[DESCRIPTORS]
        fast_path = app[FAST_PATH] if settings.server.fast_path else None
        self.server = JobServer(
            app,
            settings.limits,
            connections_max=settings.server.connections_max,
            proxies=settings.server.proxies,
            fast_path=fast_path,
            access_log=access_log_of(settings.log, api.access),
        )
        loop = asyncio.get_running_loop()
        self.listener = await loop.create_server(self.server, "127.0.0.1", 0, backlog=1024)
        for listening in self.listener.sockets:
            self.server.prepare(listening)
        self.port = self.listener.sockets[0].getsockname()[1]
        api.listens_on([("127.0.0.1", self.port)])
        self.url = f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        self.gate.set()
        self.listener.close()
        await self.server.close(0.2)
        await self.queue.stop()

    def connect(self) -> contextlib.AbstractAsyncContextManager[Streams]:
        return connected(self.port)

    async def talk(self, *data: bytes) -> bytes:
        """Send the pieces, and read until the server closes the connection."""
        async with self.connect() as (reader, writer):
            for piece in data:
                writer.write(piece)
                await asyncio.sleep(0)
            return await asyncio.wait_for(reader.read(), 20)


class FakeProcess:
    """The server process of the tests, which runs on.

    Attributes:
        error: Raised by the next reloads.
        commands: Those that have come.
        ring: The lines of its log.
        readings, restart_required: As of `Reload`.
        counted: What it counts.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.commands: list[str] = []
        self.level = "info"
        self.ring = LogRing()
        self.readings: list[Loaded] = []
        self.restart_required: dict[str, str] = {}
        self.counted = ProcessCounts(connections=1, connections_max=2)

    @property
    def log_level(self) -> str:
        return self.level

    def latest_lines(self) -> tuple[list[Line], int]:
        return self.ring.lines(), 3

    def figures(self) -> Figures:
        return Figures(
            connections=1,
            connections_max=2,
            lag_s_p50=0.001,
            lag_s_max=0.002,
            rss_bytes=3,
            open_files=4,
            log_level=self.level,
            log_dropped=0,
            config="no file",
            config_at=0.0,
            config_ok=self.error is None,
        )

    def counts(self) -> ProcessCounts:
        return self.counted

    async def reload(self) -> Reloaded:
        self.commands.append("reload")
        if self.error is not None:
            raise self.error
        return Reloaded(["log.level"], ["server.port"])

    def drain(self) -> None:
        self.commands.append("drain")

    def set_log_level(self, level: str) -> None:
        self.level = level


class LoggedErrors(logging.Handler):
    """Collects the errors that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextlib.contextmanager
def in_a_loop_of_its_own(serving: Serving) -> Iterator[tuple[asyncio.Runner, list[logging.LogRecord]]]:
    """Run a server beside a test without a loop; yield the runner of its loop, and the errors that are logged."""
    errors = LoggedErrors()
    logging.getLogger().addHandler(errors)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serving.start())
            yield runner, errors.records
            runner.run(serving.stop())
    finally:
        logging.getLogger().removeHandler(errors)


class FailingBackend:
    """A backend of which some methods raise an error. The methods of a compiled backend can't be patched."""

    def __init__(self, backend: Any, error: Exception, *methods: str) -> None:
        self._backend = backend
        self._error = error
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._fail if name in self._methods else getattr(self._backend, name)

    def _fail(self, *_: object) -> None:
        raise self._error


class Answer:
    """The first response in received bytes."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.rest = raw.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        self.version, status, self.reason = status_line.split(" ", 2)
        self.status = int(status)
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}

    @property
    def problem(self) -> dict[str, Any]:
        assert self.headers["content-type"] == "application/problem+json"
        problem: dict[str, Any] = json.loads(self.rest[: int(self.headers["content-length"])])
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["detail"]
        return problem

    @property
    def kind(self) -> str:
        kind: str = self.problem["type"]
        return kind.removeprefix("/problems/")


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read one response with a Content-Length or without a body."""
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    answer = Answer(head)
    if answer.status >= 200:
        answer.rest = await reader.readexactly(int(answer.headers.get("content-length", 0)))
    return answer


def post(body: bytes, *headers: str, media_type: str = "application/json") -> bytes:
    """Return the bytes of a submission."""
    lines = [f"Content-Type: {media_type}", f"Content-Length: {len(body)}", *headers]
    head = "".join(f"{line}\r\n" for line in lines)
    return f"POST /v1/jobs HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode("utf-8", "surrogateescape") + body


CLOSE = "Connection: close"
