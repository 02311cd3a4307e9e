"""A cluster in the model: clients, server processes that batch their calls by turns of their loops, and one store.

Rules:

1. A process works in turns: it takes all that has come (requests, replies), works it off, and then makes its calls, of
   at most `BATCH` jobs each: one for each function, and none while one is on its way, but for full ones. What comes
   meanwhile waits.
2. The store does the same with one call after the other; its replies leave at the end of a turn.
3. A core runs one process at a time, those that wait in their order. Nothing else takes time but `Costs.latency_us`.
4. A client submits a job, looks at it at once and then after 1, 2, 4 … 64 ms, and submits the next one when it is over.
5. Jobs are empty: a process runs what it has leased within the turn that hears of it, and acknowledges it in that turn.
6. A process asks for jobs when it is told that there are some: by the reply to a submission of its own, by what a lease
   has left, by a wake-up (a lease that got fewer than it wanted waits for one), and once a second.
7. A look at a job that has just been submitted to a process waits for its next `LEASES` leases. If one brings the job,
   the look waits for the answer to its acknowledgement; else the store is asked. Of a job that has ended in a process,
   that process knows.
"""

from __future__ import annotations

import heapq
import statistics
from collections import Counter, deque
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 64
LEASES = 2
LOOK_MS = (0, 1, 2, 4, 8, 16, 32, 64)
POLL_US = 1_000_000.0


class Call(StrEnum):
    """The functions of a job's life."""

    SUBMIT = "submit"
    LEASE = "lease"
    ACK = "ack"
    LOOK = "look"


class Linear(msgspec.Struct, frozen=True):
    """CPU of a call, and of each job in it, in microseconds."""

    call_us: float
    job_us: float

    def of(self, jobs: float) -> float:
        return self.call_us + self.job_us * jobs


class Costs(msgspec.Struct, frozen=True, kw_only=True):
    """What is measured, in microseconds of CPU.

    Attributes:
        post_us, look_us: Of a server for a request, without the store.
        run_us: Of a server for an empty job, without the store.
        client: Of a server for a call of the store.
        store: Of the store for a call, by function.
        request_us: Of the clients for a request; 0: they are on other machines.
        latency_us: From one process to another, without CPU.
        memory_us: What a life takes of a server without a store, for comparison; None: not measured.
    """

    post_us: float
    look_us: float
    run_us: float
    client: Linear
    store: dict[Call, Linear]
    request_us: float = 0.0
    latency_us: float = 20.0
    memory_us: float | None = None


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """What is put together.

    Attributes:
        clients: Of all servers, each with one job at a time.
        cores: Of the servers; None: each has its own. The store and the clients have one each.
        shared: The store is on the servers' cores.
    """

    servers: int
    clients: int
    cores: int | None = None
    shared: bool = False


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a run of the model shows.

    Attributes:
        server_us, store_us: CPU for each life.
        looks: Requests for each life beside its submission.
        batches: Mean number of jobs of a call, by function.
        store_busy, servers_busy: Shares of the time; of the servers, their mean.
    """

    lives_per_s: float
    server_us: float
    store_us: float
    looks: float
    life_ms: float
    batches: dict[Call, float]
    store_busy: float
    servers_busy: float


def simulate(costs: Costs, shape: Shape, seconds: float = 1.0, warm_s: float = 0.2) -> Figures:
    """Run a cluster for a while, and measure after `warm_s`."""
    return _Cluster(costs, shape).run(seconds, warm_s)


class _Core:
    """Runs one turn at a time."""

    def __init__(self, cluster: _Cluster) -> None:
        self._cluster = cluster
        self._waiting: deque[_Actor] = deque()
        self._busy = False

    def ask(self, actor: _Actor) -> None:
        self._waiting.append(actor)
        if not self._busy:
            self._next()

    def _next(self) -> None:
        self._busy = bool(self._waiting)
        if self._waiting:
            actor = self._waiting.popleft()
            cost_us = actor.turn()
            actor.cpu_us += cost_us
            self._cluster.after(cost_us, lambda: self._end(actor))

    def _end(self, actor: _Actor) -> None:
        actor.finish()
        self._next()


class _Actor:
    """A process: what has come to it waits for its next turn."""

    def __init__(self, cluster: _Cluster, core: _Core) -> None:
        self.cluster = cluster
        self.core = core
        self.inbox: list[Any] = []
        self.outbox: list[tuple[_Actor, Any]] = []
        self.cpu_us = 0.0
        self._asked = False

    def take(self, message: Any) -> None:
        self.inbox.append(message)
        if not self._asked:
            self._asked = True
            self.core.ask(self)

    def send(self, to: _Actor, message: Any) -> None:
        """Send it when the turn ends."""
        self.outbox.append((to, message))

    def turn(self) -> float:
        """Work off what has come; return its CPU."""
        inbox, self.inbox = self.inbox, []
        return sum(map(self.work, inbox)) + self.close()

    def work(self, message: Any) -> float:
        """Work off one message; return its CPU. Each kind of actor has its own."""
        raise NotImplementedError

    def close(self) -> float:
        """Do what is left to the end of a turn; return its CPU."""
        return 0.0

    def finish(self) -> None:
        outbox, self.outbox = self.outbox, []
        for to, message in outbox:
            self.cluster.after(self.cluster.costs.latency_us, partial(to.take, message))
        self._asked = False
        if self.inbox:
            self._asked = True
            self.core.ask(self)


class _Clients(_Actor):
    """All clients: a message is one's answer, or the end of its pause."""

    def begin(self, client: int) -> None:
        self.send(self._server(client), ("post", client))
        self.cluster.began[client] = self.cluster.now

    def work(self, message: Any) -> float:
        kind, client, *rest = message
        cluster = self.cluster
        if kind == "accepted":
            cluster.looked[client] = 0
            self._look(client)
        elif kind == "pause over":
            self._look(client)
        elif rest[0]:
            cluster.ended(client)
            self.begin(client)
        else:
            cluster.looked[client] += 1
            pause_ms = LOOK_MS[min(cluster.looked[client], len(LOOK_MS) - 1)]
            cluster.after(pause_ms * 1000.0, lambda: self.take(("pause over", client)))
            return 0.0
        return cluster.costs.request_us

    def _look(self, client: int) -> None:
        self.cluster.looks += 1
        self.send(self._server(client), ("look", client))

    def _server(self, client: int) -> _Actor:
        return self.cluster.servers[client % len(self.cluster.servers)]


class _Server(_Actor):
    """A server process; a job has the number of its client."""

    def __init__(self, cluster: _Cluster, core: _Core) -> None:
        super().__init__(cluster, core)
        self._pending: dict[Call, list[int]] = {call: [] for call in Call}
        self._on_way: Counter[Call] = Counter()
        self._wants_jobs = True
        self._expected: dict[int, int] = {}  # leases since a job's submission
        self._acknowledged: set[int] = set()
        self._ended: set[int] = set()
        self._looked_at: set[int] = set()

    def work(self, message: Any) -> float:
        kind, *rest = message
        costs = self.cluster.costs
        if kind == "post":
            self._pending[Call.SUBMIT].append(rest[0])
            self._ended.discard(rest[0])
            return costs.post_us
        if kind == "look":
            self._look(rest[0])
            return costs.look_us
        if kind == "wake":
            self._wants_jobs = True
            return 0.0
        call, reply = rest
        self._on_way[call] -= 1
        return self._hear(call, reply)

    def _look(self, job: int) -> None:
        if job in self._ended:
            self.send(self.cluster.clients, ("status", job, True))
        elif job in self._acknowledged or job in self._expected:
            self._looked_at.add(job)
        else:
            self._pending[Call.LOOK].append(job)

    def _hear(self, call: Call, reply: Any) -> float:
        cluster = self.cluster
        if call is Call.SUBMIT:
            self._wants_jobs = True
            for job in reply:
                self._expected[job] = 0
                self.send(cluster.clients, ("accepted", job))
        elif call is Call.LOOK:
            for job, over in reply:
                self.send(cluster.clients, ("status", job, over))
        elif call is Call.LEASE:
            jobs, left = reply
            self._wants_jobs |= left
            self._pending[Call.ACK] += jobs
            self._note_lease(jobs)
            return cluster.costs.run_us * len(jobs)
        else:
            self._acknowledged.difference_update(reply)
            self._ended.update(reply)
            for job in self._looked_at.intersection(reply):
                self.send(cluster.clients, ("status", job, True))
            self._looked_at.difference_update(reply)
        return 0.0

    def _note_lease(self, jobs: list[int]) -> None:
        self._acknowledged.update(jobs)
        for job in jobs:
            self._expected.pop(job, None)
        for job in self._expected:
            self._expected[job] += 1
        for job in [job for job, leases in self._expected.items() if leases == LEASES]:
            del self._expected[job]  # another process has it, or will have it
            if job in self._looked_at:
                self._looked_at.remove(job)
                self._pending[Call.LOOK].append(job)

    def close(self) -> float:
        cost_us = 0.0
        for call, items in self._pending.items():
            while items and (not self._on_way[call] or len(items) >= BATCH):
                cost_us += self._call(call, items[:BATCH])
                del items[:BATCH]
        if self._wants_jobs and not self._on_way[Call.LEASE]:
            self._wants_jobs = False
            cost_us += self._call(Call.LEASE, [])
        return cost_us

    def _call(self, call: Call, items: list[int]) -> float:
        self._on_way[call] += 1
        self.send(self.cluster.store, (call, self, items))
        jobs = self.cluster.leased_at_once if call is Call.LEASE else len(items)
        return self.cluster.costs.client.of(jobs)


class _Store(_Actor):
    """The store: which jobs wait, and which are over."""

    def __init__(self, cluster: _Cluster, core: _Core) -> None:
        super().__init__(cluster, core)
        self.ready: deque[int] = deque()
        self.over: set[int] = set()
        self.calls: Counter[Call] = Counter()
        self.jobs: Counter[Call] = Counter()
        self._idle: deque[_Server] = deque()

    def work(self, message: Any) -> float:
        call, server, items = message
        reply: Any = items
        jobs = len(items)
        if call is Call.SUBMIT:
            self.over.difference_update(items)
            self.ready += items
            if self._idle:
                self.send(self._idle.popleft(), ("wake",))
        elif call is Call.LEASE:
            given = [self.ready.popleft() for _ in range(min(BATCH, len(self.ready)))]
            jobs = len(given)
            if jobs < BATCH and server not in self._idle:
                self._idle.append(server)
            reply = given, bool(self.ready)
        elif call is Call.ACK:
            self.over.update(items)
        else:
            reply = [(job, job in self.over) for job in items]
        self.calls[call] += 1
        self.jobs[call] += jobs
        self.send(server, ("reply", call, reply))
        return self.cluster.costs.store[call].of(jobs)


class _Cluster:
    """All of it, and the time."""

    def __init__(self, costs: Costs, shape: Shape) -> None:
        self.costs = costs
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        cores = [_Core(self) for _ in range(shape.cores or shape.servers)]
        self.servers = [_Server(self, cores[number % len(cores)]) for number in range(shape.servers)]
        self.store = _Store(self, cores[0] if shape.shared else _Core(self))
        self.clients = _Clients(self, _Core(self))
        self.began: dict[int, float] = {}
        self.looked: dict[int, int] = {}
        self.looks = 0
        self.lives_us: list[float] = []
        self._shape = shape

    @property
    def leased_at_once(self) -> float:
        """Mean number of jobs of a lease so far: its reply is what costs the process that asked."""
        calls = self.store.calls[Call.LEASE]
        return self.store.jobs[Call.LEASE] / calls if calls else 0.0

    def after(self, delay_us: float, act: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (self.now + delay_us, self._number, act))

    def ended(self, client: int) -> None:
        self.lives_us.append(self.now - self.began[client])

    def run(self, seconds: float, warm_s: float) -> Figures:
        for client in range(self._shape.clients):
            self.clients.begin(client)
        self.clients.finish()
        for server in self.servers:
            self._poll(server)
        self._until(warm_s * 1e6)
        self.looks, self.lives_us = 0, []
        self.store.calls.clear()
        self.store.jobs.clear()
        for actor in (*self.servers, self.store):
            actor.cpu_us = 0.0
        self._until((warm_s + seconds) * 1e6)
        return self._figures(seconds)

    def _poll(self, server: _Server) -> None:
        server.take(("wake",))
        self.after(POLL_US, lambda: self._poll(server))

    def _until(self, end_us: float) -> None:
        while self._events and self._events[0][0] <= end_us:
            self.now, _, act = heapq.heappop(self._events)
            act()
        self.now = end_us

    def _figures(self, seconds: float) -> Figures:
        lives = len(self.lives_us)
        servers_us = sum(server.cpu_us for server in self.servers)
        return Figures(
            lives_per_s=lives / seconds,
            server_us=servers_us / lives,
            store_us=self.store.cpu_us / lives,
            looks=self.looks / lives,
            life_ms=statistics.median(self.lives_us) / 1000,
            batches={call: self.store.jobs[call] / max(1, self.store.calls[call]) for call in Call},
            store_busy=self.store.cpu_us / seconds / 1e6,
            servers_busy=servers_us / seconds / 1e6 / len(self.servers),
        )
