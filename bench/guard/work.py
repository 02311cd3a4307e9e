"""The guard's workload: requests to the server, and operations of the core, without sockets.

    python -m bench.guard.work PART UNITS ...    # such as HEAD 1000 HEAD 2000

Each pair runs in a child, forked from one warm process, so that two children of a part differ only
in the number of units: the difference is their cost. Each child is one line on stdout.

A connection of the server is fed bytes, and its answers go nowhere: no socket, no other process and no clock has a part
in it, so the same code takes the same instructions each time, but for half a hundredth (addresses differ).
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import traceback
from enum import StrEnum
from itertools import cycle, islice
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast
from uuid import UUID

import msgspec
import uvloop
from msgspec.structs import replace

from bench.load.answer import header
from bench.load.driving import end_with_parent
from bench.peers.contenders import BATCH as MANY
from bench.peers.contenders import STATUS, SUBMISSION, Kind, request
from bench.speed.operations import ORDERS, EngineBench, make_jobs, measure_order
from jobqueue import JobQueue
from jobqueue.config import AuthSettings, JournalSettings, KeySettings, LimitsSettings, Settings
from jobqueue.demo import echo, queue
from jobqueue.http import api
from jobqueue.http.assembly import FAST_PATH
from jobqueue.http.resources import submissions
from jobqueue.http.transport.job_server import JobServer
from jobqueue.keys import Key
from jobqueue.runtime import workers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aiohttp import web

    from jobqueue.errors import JournalFailed

ENGINE = "engine, a round of operations"
ORDER = "a round of order: "
REQUESTS = 1000
ROUNDS = 2
JOBS = 1000
HELD = 300
BATCH = 50  # requests per loop iteration, as with many connections
TURNS = 20
"""Jobs that wait at once where jobs are run, and loop iterations until the next: more than enough."""

SILENT_S = 3600.0
SYNC_S = 60.0
WAIT = {"Prefer": "wait=10"}
KEYS = 2 * REQUESTS + BATCH
"""Idempotency-Keys of each kind: those of the longer child, and of the warm-up."""


class Life(StrEnum):
    """A job's whole life, on a connection of its own: submitted, run, and known to be over."""

    HEAD = "life by HEAD"
    WAIT = "life by POST and wait"
    WAIT_REPEATABLE = "life by POST and wait, Idempotency-Key"
    EVENTS = "life by POST and events"

    @property
    def code(self) -> bytes:
        """The status of its POST."""
        return b"200" if self in (Life.WAIT, Life.WAIT_REPEATABLE) else b"202"


class Kept(StrEnum):
    """A life by HEAD on a server with a journal, by when that promises that a job is kept."""

    INTERVAL = "life by HEAD, journal interval"
    ALWAYS = "life by HEAD, journal always"

    @property
    def settings(self) -> JournalSettings:
        """Those of its journal, without a folder: no sync comes but those that are waited for."""
        return JournalSettings(sync="always" if self is Kept.ALWAYS else "interval", interval_s=SYNC_S)


class Repeatable(StrEnum):
    """Requests with an Idempotency-Key, a new one each, as the clients of this project send them."""

    RUN = "POST, run, Idempotency-Key"

    @property
    def kind(self) -> Kind:
        """The same request without a key."""
        return Kind(self.removesuffix(", Idempotency-Key"))


class Keyed(StrEnum):
    """Requests with a key, to a server that asks for one, for the jobs of that key."""

    HEAD = "HEAD, with a key"
    GET = "GET, with a key"
    HELD = "POST, held, with a key"

    @property
    def kind(self) -> Kind:
        """The same request without a key."""
        return Kind(self.removesuffix(", with a key"))


KEY = Key("guardkey", "guardkey" * 6 + "guar")


class Child(msgspec.Struct, frozen=True):
    """A child process, and the units of a part that it did."""

    pid: int
    part: str
    units: int


def parts() -> list[str]:
    return [*Kind, *Keyed, *Repeatable, *Life, *Kept, ENGINE, *(f"{ORDER}{name}" for name in ORDERS)]


def units_of(part: str) -> int:
    """Return how many units of a part are worth counting."""
    if part in set(Kind):
        return REQUESTS // Kind(part).jobs
    return REQUESTS if part in {*Life, *Kept, *Keyed, *Repeatable} else ROUNDS


class Deaf(asyncio.Transport):
    """The other end of a connection: keeps the last bytes that were sent."""

    def __init__(self) -> None:
        super().__init__()
        self.last = b""

    def write(self, data: object) -> None:
        self.last = cast("bytes", data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Served:
    """The server of a queue without sockets, with some finished jobs."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._transport = Deaf()
        self._others: list[tuple[web.RequestHandler, Deaf]] = []
        # Of their own, since the stock path leaves a connection a task.
        self._streaming: list[tuple[web.RequestHandler, Deaf]] = []
        self._ids: list[str] = []
        self._headers: dict[str, str] = {}
        self._post = request("POST", "/v1/jobs", body=SUBMISSION)
        self._post_and_wait = request("POST", "/v1/jobs", WAIT, body=SUBMISSION)
        # Made before anything is counted.
        self._repeatable, self._repeatable_waits = (
            [request("POST", "/v1/jobs", {**headers, **_key(number)}, body=SUBMISSION) for number in numbers]
            for headers, numbers in (({}, range(KEYS)), (WAIT, range(KEYS, 2 * KEYS)))
        )
        self._tag = ""

    async def start(self) -> None:
        """Serve, and do each part that needs nothing else, so that what is made once is made."""
        await self._serve(JournalSettings())
        await self.ask(Kind.RUN, HELD)
        first = await self._exchange(request("GET", f"/v1/jobs/{self._ids[0]}"))
        self._tag = (header(first, b"etag") or b"").decode()
        for kind in Kind:
            if not kind.held:
                await self.ask(kind, BATCH)
        await self.ask(Kind.RUN, BATCH, self._repeatable)
        for life in Life:
            if life is not Life.EVENTS:  # after a stream, events are recorded for a while
                await self.live(life, BATCH)

    async def start_kept(self, journal: JournalSettings) -> None:
        """Serve with a journal, and have some jobs live."""
        await self._serve(journal)
        await self.live(Life.HEAD, BATCH)

    async def _serve(self, journal: JournalSettings) -> None:
        # While instructions are counted, a second takes a minute: the connection was not silent, a worker's row of
        # jobs ends by their number, and a batch is one turn.
        workers.ROW_S = submissions.BATCH_TURN_S = SILENT_S
        queue = self._queue
        queue.configure(Settings(limits=LimitsSettings(idle_timeout_s=SILENT_S), journal=journal))
        await queue.start()
        app = api(queue, lag=lambda: 0.0)
        server = JobServer(app, queue.settings.limits, connections_max=3 * BATCH, fast_path=app[FAST_PATH])
        self._connection = server()
        self._connection.connection_made(self._transport)
        self._others, self._streaming = ([(server(), Deaf()) for _ in range(BATCH)] for _ in range(2))
        for connection, transport in (*self._others, *self._streaming):
            connection.connection_made(transport)

    async def ask_for_keys(self) -> None:
        """Take requests with the key only, from now on, and run some jobs for it."""
        key = KeySettings(id=KEY.id, sha256=KEY.digest, scopes=("read", "submit"))
        await self._queue.reload(replace(self._queue.settings, auth=AuthSettings(keys={"bench": key})))
        self._headers = {"Authorization": f"Bearer {KEY.text}"}
        self._post = request("POST", "/v1/jobs", self._headers, body=SUBMISSION)
        self._ids.clear()
        await self.ask(Kind.RUN, HELD)

    async def live(self, life: Life, count: int) -> None:
        """Have `count` jobs live, one on each connection at a time."""
        connections = self._streaming if life is Life.EVENTS else self._others
        answer = b"HTTP/1.1 %b " % life.code
        # New requests where each has a key of its own; else the same one.
        new, post = life is Life.WAIT_REPEATABLE, self._post_and_wait if life is Life.WAIT else self._post
        for _ in range(count // BATCH):
            if life is Life.EVENTS:
                await self._queue.pause("default")
            for connection, transport in connections:
                transport.last = b""
                connection.data_received(self._repeatable_waits.pop() if new else post)
            if life is Life.EVENTS:
                await self._begin_streams()
                await self._queue.resume("default")
            await self._kept()
            await self._settle()
            for connection, transport in connections:
                if life is Life.EVENTS:
                    assert transport.last.endswith(b"0\r\n\r\n"), transport.last
                    continue
                assert transport.last.startswith(answer), transport.last
                if life is Life.HEAD:
                    connection.data_received(request("HEAD", f"/v1/jobs/{_job_id(transport.last)}"))
                    assert transport.last.startswith(b"HTTP/1.1 200 "), transport.last

    async def _begin_streams(self) -> None:
        """Open the event stream of each connection's job, which waits."""
        for connection, transport in self._streaming:
            connection.data_received(request("GET", f"/v1/jobs/{_job_id(transport.last)}/events"))
        for _ in range(TURNS):
            await asyncio.sleep(0)
        for _, transport in self._streaming:
            assert b"event: submitted" in transport.last, transport.last

    async def ask(self, kind: Kind, count: int, new: list[bytes] | None = None) -> None:
        """Send `count` requests, and check their answers. Args: new: Requests that are sent once."""
        expected = f"HTTP/1.1 {STATUS[kind]} ".encode()
        if kind.held:
            await self._queue.pause("default")
        if kind is Kind.REFUSED:
            await self._exchange(self._post)
            await self._queue.change("default", capacity=1)
        requests = cycle(self._requests(kind)) if new is None else (new.pop() for _ in range(count))
        for number, text in enumerate(islice(requests, count), 1):
            answer = await self._exchange(text)
            assert answer.startswith(expected), answer
            if kind is Kind.RUN:
                self._ids.append(_job_id(answer))
            if number % BATCH == 0:
                await (self._settle() if kind is Kind.RUN else asyncio.sleep(0))

    async def ask_repeatable(self, repeatable: Repeatable, count: int) -> None:
        """As `ask`, with keys."""
        await self.ask(repeatable.kind, count, self._repeatable)

    async def _exchange(self, text: bytes) -> bytes:
        self._transport.last = b""
        self._connection.data_received(text)
        for _ in range(TURNS):
            if self._transport.last:
                return self._transport.last
            await asyncio.sleep(0)  # it was left to a task
        raise RuntimeError(f"no answer to {text!r}")

    async def _kept(self) -> None:
        """Wait until the answers that wait for the journal are sent."""
        local = self._queue.service.local
        if local.defers:
            kept: asyncio.Future[JournalFailed | None] = asyncio.get_running_loop().create_future()
            local.when_kept(kept.set_result)
            assert await kept is None

    async def _settle(self) -> None:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert not self._queue.service.backend.stats()[0].live

    def _requests(self, kind: Kind) -> Sequence[bytes]:
        if kind is Kind.BATCH:
            return [request("POST", "/v1/jobs:batch", body=MANY)]
        if kind.held or kind is Kind.RUN:
            return [self._post]
        method = "HEAD" if kind is Kind.HEAD else "GET"
        if kind is Kind.MISSING:
            return [request(method, f"/v1/jobs/{'x' * 22}")]
        # All have the same tag: the number of a job's changes.
        headers = {"If-None-Match": self._tag} if kind is Kind.NOT_MODIFIED else self._headers
        return [request(method, f"/v1/jobs/{job_id}", headers) for job_id in self._ids[:HELD]]


def _key(number: int) -> dict[str, str]:
    return {"Idempotency-Key": f'"{UUID(int=number)}"'}


def _job_id(answer: bytes) -> str:
    """Return the id in the Location of an answer."""
    return answer.partition(b"/v1/jobs/")[2][:22].decode()


def act(served: Served, loop: asyncio.AbstractEventLoop, part: str, units: int) -> None:
    """Do the units of a part."""
    if part in set(Kind):
        loop.run_until_complete(served.ask(Kind(part), units))
    elif part in set(Keyed):
        loop.run_until_complete(served.ask_for_keys())
        loop.run_until_complete(served.ask(Keyed(part).kind, units))
    elif part in set(Repeatable):
        loop.run_until_complete(served.ask_repeatable(Repeatable(part), units))
    elif part in set(Kept):
        live_kept(loop, Kept(part), units)
    elif part in set(Life):
        loop.run_until_complete(served.live(Life(part), units))
    elif part == ENGINE:
        EngineBench(JOBS).run(units)
    else:
        measure_order(part.removeprefix(ORDER), make_jobs(JOBS), units)


def live_kept(loop: asyncio.AbstractEventLoop, kept: Kept, units: int) -> None:
    """Have jobs live on a server with a journal, in a folder that ends with it."""
    jobs = JobQueue()
    jobs.handler(echo)
    served = Served(jobs)
    with TemporaryDirectory() as folder:
        loop.run_until_complete(served.start_kept(replace(kept.settings, dir=f"{folder}/journal")))
        loop.run_until_complete(served.live(Life.HEAD, units))  # not stopped: that would write a snapshot of all jobs


def main(arguments: Sequence[str]) -> None:
    logging.disable()  # what is logged once a second depends on the clock
    loop = uvloop.new_event_loop()
    served = Served(queue)
    loop.run_until_complete(served.start())
    gc.collect()
    gc.freeze()
    gc.disable()  # when it runs depends on what else lives in the process
    for part, units in zip(arguments[::2], map(int, arguments[1::2]), strict=True):
        print(msgspec.json.encode(Child(_fork(served, loop, part, units), part, units)).decode(), flush=True)
    # Not the ordinary way: the loop's system handles are shared with its children, which have used them since.
    os._exit(0)


def _fork(served: Served, loop: asyncio.AbstractEventLoop, part: str, units: int) -> int:
    """Do the units of a part in a child; return its pid once it has exited."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            end_with_parent()
            act(served, loop, part, units)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if status:
        sys.exit(f"{part}: it failed, and has said why")
    return child


if __name__ == "__main__":
    main(sys.argv[1:])
