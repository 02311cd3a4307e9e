"""The servers that are measured beside each other over HTTP, and the handles by which a bench sets the scene in each.

A contender is started once, fills itself with finished jobs, and is then asked by the generator. The scenes:
`held`, where submissions are accepted and none starts; `full`, where every submission is rejected.
"""

from __future__ import annotations

import http.client
import re
import shutil
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING

import msgspec

from bench.load.driving import FOLDER, ROOT, Generator, Process
from bench.load.generator import Order
from bench.load.scripts import Cycle
from bench.measure.builds import Build, available
from bench.measure.meter import family
from jobqueue.config import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

CAPACITY = 4_000_000
BATCH_JOBS = 100
FILL_CONNECTIONS = 64
SETTLE_S = 60.0
ASKED = 10_000
"""Number of held jobs that are read in turn, so that a record is rarely still in a cache."""

KEPT = b'{"type":"sleep","args":{"min_s":0}}'
SUBMISSION = b'{"type":"echo","args":{"value":1}}'
BATCH = b'{"jobs":[' + b",".join([SUBMISSION] * BATCH_JOBS) + b"]}"


_BUILD = re.compile(rb'"build": ?"(\w+)"')


class Kind(StrEnum):
    """Kinds of requests. The figures of RUN include the jobs' runs; those of HELD and BATCH wait in a paused queue."""

    HEAD = "HEAD"
    GET = "GET"
    NOT_MODIFIED = "GET 304"
    MISSING = "GET 404"
    HELD = "POST, held"
    RUN = "POST, run"
    REFUSED = "POST refused"
    BATCH = f"POST, batch of {BATCH_JOBS}"

    @property
    def jobs(self) -> int:
        """Number of jobs of a request."""
        return BATCH_JOBS if self is Kind.BATCH else 1

    @property
    def held(self) -> bool:
        """Whether its queue is paused meanwhile."""
        return self in (Kind.HELD, Kind.REFUSED, Kind.BATCH)


STATUS = {
    Kind.HEAD: "200",
    Kind.GET: "200",
    Kind.NOT_MODIFIED: "304",
    Kind.MISSING: "404",
    Kind.HELD: "202",
    Kind.RUN: "202",
    Kind.REFUSED: "503",
    Kind.BATCH: "207",
}


class Contender(ABC):
    """A running server; it ends with the block.

    Attributes:
        name: As in tables.
        kinds: The requests that it supports.
        cwd, environment: Of its process.
    """

    name: str
    cwd = ROOT
    environment: Mapping[str, str] = {}
    kinds: Sequence[Kind] = tuple(kind for kind in Kind if kind not in (Kind.NOT_MODIFIED, Kind.BATCH))
    jobs = "/jobs"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            process = Process(slug(self.name), self.command(), cwd=self.cwd, environment=self.environment)
            self.process = stack.enter_context(process)
            self.port = self.process.port()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    @abstractmethod
    def command(self) -> Sequence[str]: ...

    @property
    def pids(self) -> tuple[int, ...]:
        return tuple(family([self.process.pid]))

    def fill(self, records: int) -> None:
        """Submit and finish this number of jobs; some of their ids are read from then on."""
        with Generator(self.port, FILL_CONNECTIONS) as generator:
            script = Cycle(request=self._post(KEPT))
            report = generator.run(Order(script=script, units=records, collect=True))
        if report.answers != {"202": records}:
            raise RuntimeError(f"{self.name} did not take {records} jobs: {report.answers}")
        # In an order that has nothing to do with the one in which they lie in memory.
        self.ids = tuple(Random(1).sample(report.ids, min(ASKED, records)))
        self.settle()

    @abstractmethod
    def settle(self) -> None:
        """Wait until no job is live."""

    @contextmanager
    def scene(self, kind: Kind) -> Iterator[None]:
        """Set the scene that this kind of request needs, and remove its jobs afterwards."""
        if kind.held:
            self.hold(full=kind is Kind.REFUSED)
        try:
            yield
        finally:
            if kind.held:
                self.release()
            if kind.held or kind is Kind.RUN:
                self.settle()
                self.clear()

    @abstractmethod
    def hold(self, *, full: bool) -> None: ...

    @abstractmethod
    def release(self) -> None:
        """Undo `hold`; waiting jobs are dropped, not run."""

    @abstractmethod
    def clear(self) -> None:
        """Forget the jobs that did not come from `fill`."""

    def script(self, kind: Kind) -> Cycle:
        """Return a connection's script."""
        match kind:
            case Kind.HEAD:
                return Cycle(request=request("HEAD", f"{self.jobs}/{{id}}"), ids=self.ids)
            case Kind.GET:
                return Cycle(request=request("GET", f"{self.jobs}/{{id}}"), ids=self.ids)
            case Kind.NOT_MODIFIED:
                tag = self.call("GET", f"{self.jobs}/{self.ids[0]}").headers["ETag"]
                return Cycle(request=request("GET", f"{self.jobs}/{{id}}", {"If-None-Match": tag}), ids=self.ids)
            case Kind.MISSING:
                return Cycle(request=request("GET", f"{self.jobs}/{'x' * len(self.ids[0])}"))
            case Kind.BATCH:
                return Cycle(request=request("POST", f"{self.jobs}:batch", body=BATCH))
            case _:
                return Cycle(request=self._post(SUBMISSION))

    def expects(self, kind: Kind) -> str:
        return STATUS[kind]

    def call(self, method: str, path: str, body: bytes | None = None) -> Answer:
        """Make one request, and return its answer. Raises RuntimeError unless its status is 2xx."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SETTLE_S)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"} if body is not None else {})
            response = connection.getresponse()
            answer = Answer(dict(response.getheaders()), response.read())
        finally:
            connection.close()
        if not 200 <= response.status < 300:
            raise RuntimeError(f"{self.name}: {method} {path} was answered {response.status}: {answer.body.decode()}")
        return answer

    def _post(self, body: bytes) -> bytes:
        return request("POST", self.jobs, body=body)


class Answer(msgspec.Struct, frozen=True):
    headers: dict[str, str]
    body: bytes


class Ours(Contender):
    """This server with its default features, in one of its builds; `fast_path=False` turns the fast path off.

    Bounds are wide, to measure submissions and not rejections: 8,000 connections that ask again as soon as they
    are answered make every loop late, and over `limits.loop_lag_max_s` submissions are rejected. How late it runs is
    measured and compared as ever. Statuses stay for `ttl_s`.
    """

    kinds = tuple(Kind)
    jobs = "/v1/jobs"

    def __init__(self, *, fast_path: bool = True, build: Build = Build.PURE, ttl_s: float = 3600.0) -> None:
        self.name = name_of(build) if fast_path else f"{name_of(build)}, stock path"
        self.cwd = build.root
        self.environment = build.environment
        self._build = build
        self._fast_path = fast_path
        self._ttl_s = ttl_s

    def __enter__(self) -> Self:
        super().__enter__()
        with ExitStack() as stack:
            stack.push(self.__exit__)
            # A copy with unloadable extension modules would run its sources, and be told as the compiled build.
            told = self.process.told(_BUILD)[1].decode()
            if told != self._build:
                raise RuntimeError(f"{self.name} says that its build is {told}")
            stack.pop_all()
        return self

    def command(self) -> list[str]:
        settings = {
            "queues.default.capacity": CAPACITY,
            "statuses.jobs_max": CAPACITY,
            "statuses.ttl_s": self._ttl_s,
            "limits.loop_lag_max_s": "60s",
            "server.drain_s": 0,
            "server.linger_s": 0,
        }
        if not self._fast_path:
            settings["server.fast_path"] = "false"
        flags = [f"--set={name}={value}" for name, value in settings.items()]
        return [sys.executable, "-m", "jobqueue", "serve", "--port", "0", *flags]

    def settle(self) -> None:
        give_up_at = time.monotonic() + SETTLE_S
        while True:
            queue = msgspec.json.decode(self.call("GET", "/v1/queues/default").body)
            if not queue["delayed"] + queue["queued"] + queue["running"]:
                return
            if time.monotonic() > give_up_at:
                raise RuntimeError(f"{self.name} did not finish its jobs in {SETTLE_S:.0f} s: {queue}")
            time.sleep(0.05)

    def hold(self, *, full: bool) -> None:
        self.call("POST", "/v1/queues/default:pause")
        if full:
            self._submit_one()
            self.call("PATCH", "/v1/queues/default", b'{"capacity":1}')

    def _submit_one(self) -> None:
        """Submit a job, and repeat it while the server is overloaded."""
        give_up_at = time.monotonic() + SETTLE_S
        while True:
            try:
                self.call("POST", "/v1/jobs", SUBMISSION)
                return
            except RuntimeError:
                if time.monotonic() > give_up_at:
                    raise
            time.sleep(0.2)

    def release(self) -> None:
        self.call("POST", "/v1/jobs:cancel", b'{"type":"echo"}')
        self.call("PATCH", "/v1/queues/default", b'{"capacity":%d}' % CAPACITY)
        self.call("POST", "/v1/queues/default:resume")

    def clear(self) -> None:
        self.call("POST", "/v1/jobs:delete", b'{"type":"echo"}')


class Peer(Contender):
    """A queue of another project, with the handles of bench/peers."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        self._command = command

    def command(self) -> Sequence[str]:
        return self._command

    def settle(self) -> None:
        time.sleep(0.3)  # they run nothing but echoes

    def hold(self, *, full: bool) -> None:
        self.call("POST", f"/control?held=1&capacity={0 if full else CAPACITY}")

    def release(self) -> None:
        self.call("POST", "/control?clear=1")
        self.call("POST", f"/control?held=0&capacity={CAPACITY}")

    def clear(self) -> None:
        self.call("POST", "/control?clear=1")


class Bare(Contender):
    """aiohttp's own floor: no queue, so nothing to set."""

    name = "aiohttp"
    kinds = (Kind.HEAD, Kind.GET, Kind.HELD)

    def command(self) -> list[str]:
        return [sys.executable, "-m", "bench.peers.bare"]

    def script(self, kind: Kind) -> Cycle:
        return Cycle(request=self._post(SUBMISSION) if kind is Kind.HELD else request(kind.value, "/"))

    def expects(self, kind: Kind) -> str:
        return "202" if kind is Kind.HELD else "204"

    def fill(self, records: int) -> None: ...

    def settle(self) -> None: ...

    def hold(self, *, full: bool) -> None: ...

    def release(self) -> None: ...

    def clear(self) -> None: ...


def contenders() -> tuple[list[Contender], list[str]]:
    """Return the contenders that can be measured here, and the reasons for those that can't."""
    builds, skipped = available()
    found: list[Contender] = [Ours(build=build) for build in builds]
    if "fast_path" in ServerSettings.__struct_fields__:
        found.append(Ours(fast_path=False))
    else:
        skipped.append("jobqueue, stock path: there is no setting server.fast_path")
    found.append(Bare())
    found.append(Peer("naive", [sys.executable, "-m", "bench.peers.naive"]))
    if (program := build_go()) is not None:
        found.append(Peer("go", [program]))
    else:
        skipped.append("go: there is no `go`; install it (Debian: apt-get install golang-go)")
    return found, skipped


def name_of(build: Build) -> str:
    """Return the name of this server in tables."""
    return "jobqueue" if build is Build.PURE else f"jobqueue, {build}"


def build_go() -> str | None:
    """Build the Go queue; None if there is no Go."""
    if shutil.which("go") is None:
        return None
    program = FOLDER.resolve() / "go-queue"
    FOLDER.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", program, "."], cwd=ROOT / "bench" / "peers" / "go", check=True)
    return str(program)


def request(method: str, path: str, headers: Mapping[str, str] | None = None, *, body: bytes | None = None) -> bytes:
    """Return a request as it goes over the wire, with the headers that curl sends."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "User-Agent: bench/1", "Accept: */*"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def slug(name: str) -> str:
    """Return a name as a file's."""
    return name.replace(", ", "-").replace(" ", "-")
