"""The load generator: a process of its own that drives N keep-alive connections, and measures both sides meanwhile.

    python -m bench.load.generator PORT CONNECTIONS      # then one order a line on stdin, one report a line on stdout

Closed loop, where each connection asks again as soon as it is answered; or at an intended rate, where each unit of
work has an instant at which it was to begin, and its latency counts from then on, even if no connection was free (no
coordinated omission). One exchange at a time a connection, so nothing is pipelined. About 5 µs of CPU a request.

It ends with its stdin, and every order ends by itself. bench.load.driving is the other end.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

import msgspec
import uvloop
from hdrh.histogram import HdrHistogram

from bench.load.scripts import Batch, Cycle, Later, Life, Visit, id_in
from bench.load.wire import Wire
from bench.measure.meter import cpu_s
from clients.counters import Latency

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOST = "127.0.0.1"
OPENING_MAX = 500  # connections that are being opened at once
OPEN_S = 60.0
UNITS_S = 300.0  # how long a given number of units may take
REST_S = 60.0  # how long answers may take that are under way at the end
FINE_US = 100_000  # latencies below this are kept to the microsecond, longer ones to a tenth of a millisecond
LONGEST_US = 3600 * 1_000_000
UNANSWERED = b"none"


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement.

    Attributes:
        warm_s: How long it runs before what happens counts.
        units: Ends after this number of units instead of after `seconds`; all of them count.
        rate: Units to begin a second; None: a closed loop.
        pids: Processes to measure the CPU of.
        collect: Report the ids in the answers' Locations.
    """

    script: Cycle | Life | Batch | Visit
    seconds: float = 1.0
    warm_s: float = 0.2
    units: int | None = None
    rate: float | None = None
    pids: tuple[int, ...] = ()
    collect: bool = False


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Measurements over `seconds`.

    Attributes:
        done: Requests, or jobs; a unit of work may be of many jobs.
        answers: By status code.
        cpu_s: By process, in the order of the pids.
        own_cpu_s: Of the generator. At a rate it spins, to be on time, and takes a whole core.
        late_ms: At a rate: the 99th percentile of how late it began a unit although a connection was free.
        lost: Connections that ended, since the start.
        latency: From a unit's intended start where there is a rate, else from the first byte sent; by the status code
            of its last answer, and of all together under "all". At a rate, what was
            due but not answered by the end counts as if it had been answered then, under "none".
    """

    seconds: float
    done: int
    answers: dict[str, int]
    cpu_s: tuple[float, ...]
    own_cpu_s: float
    late_ms: float
    lost: int
    latency: dict[str, Latency]
    ids: tuple[str, ...] = ()


class Unmeasured(Exception):
    """The order can't be measured."""


class Driver:
    """All connections, and one order at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wires: list[Wire] = []
        self._lost = 0
        self._over = True
        self._under_way = 0  # at the end of an order
        self._rested: asyncio.Future[None] | None = None

    async def open(self, port: int, connections: int) -> int:
        """Open the connections, some at a time; return how many there are."""
        async with asyncio.timeout(OPEN_S):
            while len(self._wires) < connections:
                portion = min(OPENING_MAX, connections - len(self._wires))
                opening = [self._loop.create_connection(self._wire, HOST, port) for _ in range(portion)]
                self._wires += [wire for _, wire in await asyncio.gather(*opening)]
        return len(self._wires)

    async def run(self, order: Order) -> Report:
        """Carry an order out.

        Raises:
            Unmeasured: An answer made no sense; or a connection was lost, or it took too long, and the order is
                for a number of units.
        """
        self._prepare(order)
        self._start(order)
        if order.units is None:
            await self._run_for(order.warm_s)
            self._forget()
        began, own, cpu = time.perf_counter(), time.process_time(), [cpu_s(pid) for pid in order.pids]
        await self._run_for(order.seconds if order.units is None else UNITS_S)
        self._over = True
        if order.units is not None and not self._ended.done():
            raise Unmeasured(f"{self._due} of {order.units} are not done after {UNITS_S:.0f} s")
        seconds, own = time.perf_counter() - began, time.process_time() - own
        cpu = [cpu_s(pid) - before for pid, before in zip(order.pids, cpu, strict=True)]
        if self._pace is not None:
            self._pace.stop()
        await self._rest()
        return Report(
            seconds=seconds,
            done=self._done,
            answers={status.decode(): count for status, count in sorted(self._answers.items())},
            cpu_s=tuple(cpu),
            own_cpu_s=own,
            late_ms=0.0 if self._pace is None else _latency([self._pace.late]).p99,
            lost=self._lost,
            latency=self._latencies(),
            ids=tuple(self._ids),
        )

    def close(self) -> None:
        """Cut all connections."""
        self._over = True
        for wire in self._wires:
            wire.close()

    # -- one order

    def _prepare(self, order: Order) -> None:
        for wire, part in zip(self._wires, order.script.parts(len(self._wires)), strict=True):
            wire.script = part
        self._left = self._due = order.units if order.units is not None else sys.maxsize
        self._collect = order.collect
        self._pace = Pace(self, order.rate) if order.rate is not None else None
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._over = False
        self._ids: list[str] = []
        self._forget()

    async def _run_for(self, seconds: float) -> None:
        """Run for at most `seconds`; raise the error of a failed exchange."""
        await asyncio.wait([self._ended], timeout=seconds)
        if self._ended.done():
            self._ended.result()

    def _fail(self, error: Unmeasured) -> None:
        self._over = True
        if not self._ended.done():
            self._ended.set_exception(error)

    def _forget(self) -> None:
        self._done = 0
        self._answers: dict[bytes, int] = {}
        self._times: dict[bytes, dict[int, int]] = {}

    def _start(self, order: Order) -> None:
        if self._pace is not None:
            self._pace.start(self._wires)
            return
        now = time.perf_counter()
        for wire in self._wires:
            self.begin(wire, now)

    def begin(self, wire: Wire, at: float) -> None:
        """Begin a unit with this intended start."""
        if self._left > 0:
            self._left -= 1
            wire.at = at
            wire.ask(wire.script.first())

    def _on_answer(self, wire: Wire, status: bytes, answer: bytes) -> None:
        if self._over:
            self._on_rest()
            return
        self._answers[status] = self._answers.get(status, 0) + 1
        try:
            following = wire.script.next(status, answer)
            if following is None:
                self._end(wire, status, answer)
                return
        except ValueError as error:
            self._fail(Unmeasured(str(error)))
            return
        if isinstance(following, Later):
            wire.busy = True
            self._loop.call_later(following.after_s, self._ask_late, wire, following.request)
        else:
            wire.ask(following)

    def _ask_late(self, wire: Wire, request: bytes) -> None:
        if self._over:
            wire.busy = False
            self._on_rest()
        else:
            wire.ask(request)

    def _end(self, wire: Wire, status: bytes, answer: bytes) -> None:
        now = time.perf_counter()
        self._note(status, now - wire.at)
        self._done += wire.script.size
        if self._collect:
            self._ids.append(id_in(answer).decode())
        if self._pace is not None:
            self._pace.free.append(wire)
            return
        self._due -= 1
        if self._due == 0:
            self._ended.set_result(None)
        else:
            self.begin(wire, now)

    def _note(self, status: bytes, seconds: float) -> None:
        us = int(seconds * 1e6)
        if us >= FINE_US:
            us -= us % 100
        times = self._times.get(status)
        if times is None:
            times = self._times[status] = {}
        times[us] = times.get(us, 0) + 1

    # -- the end of an order

    def note_unanswered(self, waits_s: Iterable[float]) -> None:
        """Count units that were due but are not answered, those under way included."""
        now = time.perf_counter()
        for wait_s in (*waits_s, *(now - wire.at for wire in self._wires if wire.busy)):
            self._note(UNANSWERED, wait_s)

    async def _rest(self) -> None:
        """Wait for the answers that are under way, so that the next order finds every connection free."""
        self._under_way = sum(wire.busy for wire in self._wires)
        if self._under_way:
            self._rested = self._loop.create_future()
            await asyncio.wait([self._rested], timeout=REST_S)
            self._rested = None
        for wire in [wire for wire in self._wires if wire.busy]:
            wire.close()

    def _on_rest(self) -> None:
        self._under_way -= 1
        if self._under_way == 0 and self._rested is not None:
            self._rested.set_result(None)

    def _latencies(self) -> dict[str, Latency]:
        if not self._times:
            return {}
        by_status = {status.decode(): _latency([times]) for status, times in sorted(self._times.items())}
        return {"all": _latency(self._times.values()), **by_status}

    # -- connections

    def _wire(self) -> Wire:
        return Wire(self._on_answer, self._on_lost)

    def _on_lost(self, wire: Wire) -> None:
        self._lost += 1
        self._wires.remove(wire)
        if self._over:
            if wire.busy:
                self._on_rest()
        elif self._left < sys.maxsize // 2:
            self._fail(Unmeasured("the server closed a connection"))


class Pace:
    """Begins units at their instants: `rate` a second, evenly.

    It spins, because a timer of the loop is up to a millisecond late, which would count as latency.
    """

    def __init__(self, driver: Driver, rate: float) -> None:
        self.free: deque[Wire] = deque()
        self.late: dict[int, int] = {}
        self._driver = driver
        self._rate = rate
        self._begun = 0
        self._starved = False
        self._spinning: asyncio.Handle | None = None

    def start(self, wires: Iterable[Wire]) -> None:
        self.free.extend(wires)
        self._start_at = time.perf_counter()
        self._spin()

    def stop(self) -> None:
        if self._spinning is not None:
            self._spinning.cancel()
        now = time.perf_counter()
        due = int((now - self._start_at) * self._rate)
        self._driver.note_unanswered(now - self._due_at(number) for number in range(self._begun, due))

    def _due_at(self, number: int) -> float:
        return self._start_at + number / self._rate

    def _spin(self) -> None:
        now = time.perf_counter()
        due = int((now - self._start_at) * self._rate)
        while self._begun < due and self.free:
            at = self._due_at(self._begun)
            self._begun += 1
            if not self._starved:
                us = int((now - at) * 1e6)
                self.late[us] = self.late.get(us, 0) + 1
            self._driver.begin(self.free.popleft(), at)
        self._starved = self._begun < due
        self._spinning = asyncio.get_running_loop().call_soon(self._spin)


def _latency(parts: Iterable[dict[int, int]]) -> Latency:
    histogram = HdrHistogram(1, LONGEST_US, 3)
    for times in parts:
        for us, count in times.items():
            histogram.record_value(max(1, us), count)
    p50, p95, p99 = (histogram.get_value_at_percentile(p) / 1e3 for p in (50.0, 95.0, 99.0))
    count = histogram.get_total_count()
    return Latency(count=count, p50=p50, p95=p95, p99=p99, max=histogram.get_max_value() / 1e3 if count else 0.0)


async def _serve(port: int, connections: int) -> None:
    driver = Driver()
    _tell(msgspec.json.encode(await driver.open(port, connections)))
    gc.collect()
    gc.freeze()
    # Blocking is right here: between orders there is nothing else to do, and nothing may take the server's CPU.
    while line := sys.stdin.buffer.readline():
        _tell(msgspec.json.encode(await driver.run(msgspec.json.decode(line, type=Order))))


def _tell(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main(arguments: Iterator[str]) -> None:
    port, connections = (int(argument) for argument in arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            runner.run(_serve(port, connections))
        except Unmeasured as error:
            sys.exit(f"the load generator: {error}")


if __name__ == "__main__":
    main(iter(sys.argv[1:]))
