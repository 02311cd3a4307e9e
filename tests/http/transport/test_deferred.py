"""Deferred answers: the same bytes as the stock path, whatever happens meanwhile, and nothing left behind.

Scripts run on two servers, one with the fast path, one without: what each connection receives is compared.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobqueue.backend.waits import TOLD_AT_ONCE
from jobqueue.core.job_filter import JobFilter
from jobqueue.errors import JobGone, WrongState
from jobqueue.http.cut import cut
from jobqueue.http.response.list_reply import IDS_END, list_tag
from jobqueue.http.streams import deadlines
from jobqueue.http.transport.connection import Connection
from jobqueue.http.transport.deferred import JobWait
from jobqueue.http.transport.list_wait import ListWait
from jobqueue.http.transport.store_answers import Pending, StoreWait
from tests.backend.far import FarBackend
from tests.http.serving import Serving, post, read_answer
from tests.http.streams.test_waiters import until_waiting
from tests.http.transport.test_fast_path import _MEASURED, END, LATER, Client, connect, forget, head, same_ids

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from jobqueue.config import Settings
    from jobqueue.surroundings import Surroundings

ON_EACH_BACKEND = True

TURNS = 30
"""Loop iterations after which a request has arrived, and is answered if it can be."""

WAIT = "Prefer: wait=50"
OF_WAITS = JobWait | ListWait | Pending | StoreWait | Connection
HOLD = b'{"type":"hold"}'


class Wire:
    """One client's connection."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._transport = client.transport
        self.over = False

    async def send(self, data: bytes) -> None:
        if not self.over and not self._transport.is_closing():
            self._transport.write(data)
        await turns()

    async def shut(self) -> None:
        """Shut the sending side."""
        if not self.over and not self._transport.is_closing():
            self.over = True
            self._transport.write_eof()
        await turns()

    async def cut(self) -> None:
        """Disconnect; what is received does not count any more."""
        self.over = True
        if not self._transport.is_closing():
            self._reset()
        await turns()

    def _reset(self) -> None:
        cut(self._transport)  # the end of the client's data would end the wait otherwise

    async def received(self) -> bytes:
        """Return all data until the server closes the connection."""
        await asyncio.wait_for(self._client.ended.wait(), 20)
        return bytes(self._client.received)


class PairedWire(Wire):
    """One client's connection by a socket pair, so that generated steps happen in their order on any machine."""

    def _reset(self) -> None:
        cut(self._client.far)  # as the server sees a reset, which a socket pair doesn't have
        self._transport.abort()


async def turns(count: int = TURNS) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def connected(serving: Serving) -> Wire:
    _, client = await asyncio.get_running_loop().create_connection(Client, "127.0.0.1", serving.port)
    return Wire(client)


def comparable(received: bytes) -> bytes:
    return _MEASURED.sub(b"", received)


async def both(
    start: Callable[..., Awaitable[Serving]], script: Callable[[Serving], Awaitable[list[bytes]]], **sections: Any
) -> list[bytes]:
    """Run a script on both servers; return the received bytes, which are the same."""
    fast = await script(await start(same_ids, **sections))
    stock = await script(await start(same_ids, **sections, server={"fast_path": False}, spool={"dir": None}))
    assert [*map(comparable, fast)] == [*map(comparable, stock)]
    return fast


def look(job_id: str, *lines: str, method: str = "GET") -> bytes:
    return head(method, f"/v1/jobs/{job_id}", *lines)


def codes(received: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1.1 (\d{3})", received)]


async def delete(serving: Serving, job_id: str) -> None:
    await serving.service.backend.cancel(job_id)
    await serving.service.backend.delete(job_id)


async def finish(serving: Serving, job_id: str) -> None:
    serving.gate.set()


async def cancel(serving: Serving, job_id: str) -> None:
    await serving.service.backend.cancel(job_id)


async def drain(serving: Serving, job_id: str) -> None:
    await serving.queue.drain(0.0)


async def stop(serving: Serving, job_id: str) -> None:
    serving.waiting.end()


async def wait_over(serving: Serving, job_id: str) -> None:
    await until_waiting(serving, 0)


@pytest.mark.parametrize(
    ("happens", "code"), [(finish, 200), (cancel, 200), (delete, 200), (stop, 202), (wait_over, 202)]
)
async def test_a_wait_is_answered_as_on_the_stock_path(
    start: Callable[..., Awaitable[Serving]], happens: Callable[[Serving, str], Awaitable[None]], code: int
) -> None:
    await wait_is_answered_alike(start, happens, code)


@pytest.mark.in_process  # jobs in a store live on
async def test_a_wait_for_a_job_that_a_drain_ends_is_answered_as_on_the_stock_path(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    await wait_is_answered_alike(start, drain, 200)


async def wait_is_answered_alike(
    start: Callable[..., Awaitable[Serving]], happens: Callable[[Serving, str], Awaitable[None]], code: int
) -> None:
    kind = LATER if happens is delete or happens is cancel else HOLD

    async def script(serving: Serving) -> list[bytes]:
        job_id = (await serving.queue.submit("hold")).id if kind is HOLD else ""
        if not job_id:
            job_id = (await serving.queue.submit("echo", delay_s=1000)).id
        tag = 'If-None-Match: W/"1"'
        requests = [
            look(job_id, WAIT),
            look(job_id, WAIT, method="HEAD"),
            look(job_id, "Prefer: wait=50, x", tag),
            look(job_id, WAIT, 'If-None-Match: W/"2"'),
            head("GET", f"/v1/jobs?ids={job_id},nope", WAIT),
            head("HEAD", f"/v1/jobs?ids={job_id}", WAIT),
        ]
        if happens is not delete and happens is not cancel:  # which concern one job
            requests.append(post(kind, WAIT))
        for _ in range(2):  # parsed, and from the head cache
            requests.append(look(job_id, WAIT))
        wires = [await connected(serving) for _ in requests]
        for wire, request in zip(wires, requests, strict=True):
            await wire.send(request)
        await until_waiting(serving, len(wires))
        await happens(serving, job_id)
        await until_waiting(serving, 0)
        await turns()
        for wire in wires:
            await wire.send(END)
        return [await wire.received() for wire in wires]

    wait_s = 0.3 if happens is wait_over else 60.0
    received = await both(start, script, limits={"long_poll_max_s": wait_s})
    assert all(codes(each)[-1] == 200 for each in received)
    assert codes(received[0]) == [code, 200]
    applied = b"wait=0" if happens is wait_over else b"wait=50"
    assert all(b"Preference-Applied: " + applied in each for each in received)


@pytest.mark.parametrize("size", [50_000, 100_000, 300_000, 900_000])
async def test_a_result_of_any_size_is_awaited_alike(start: Callable[..., Awaitable[Serving]], size: int) -> None:
    """From 64 KiB on it is sent in pieces, by the stock path, before the requests behind it."""

    async def script(serving: Serving) -> list[bytes]:
        body = json.dumps({"type": "big", "args": {"size": size}, "delay_s": 1000}).encode()
        submitting, looking = await connected(serving), await connected(serving)
        await submitting.send(post(body, WAIT))
        await until_waiting(serving, 1)
        (job,) = (await serving.service.backend.page(JobFilter(), limit=1, cursor=None)).jobs
        for _ in range(2):
            await looking.send(look(job.id))
        await looking.send(look(job.id, WAIT))
        await until_waiting(serving, 2)
        await looking.send(look(job.id, method="HEAD"))
        await submitting.send(look(job.id, method="HEAD"))
        await serving.service.backend.run_now(job.id)
        await until_waiting(serving, 0)
        await submitting.send(END)
        await looking.send(END)
        return [await submitting.received(), await looking.received()]

    submitted, looked = await both(start, script, limits={"result_bytes": 2**20})
    assert codes(submitted) == [200, 200, 200]
    assert codes(looked) == [202, 202, 200, 200, 200]
    assert min(len(submitted), len(looked)) > size


async def test_a_list_of_large_results_is_awaited_alike(start: Callable[..., Awaitable[Serving]]) -> None:
    async def script(serving: Serving) -> list[bytes]:
        first = await serving.queue.submit("big", {"size": 200_000})
        await first.wait()
        second = await serving.queue.submit("big", {"size": 100_000}, delay_s=1000)
        wire = await connected(serving)
        for method in ("GET", "HEAD"):
            await wire.send(head(method, f"/v1/jobs?ids={first.id},{second.id}", WAIT))
        await until_waiting(serving, 1)
        await second.cancel()
        await until_waiting(serving, 0)
        await wire.send(END)
        return [await wire.received()]

    (received,) = await both(start, script)
    assert codes(received) == [200, 200, 200]
    assert received.count(b"Preference-Applied: wait=50") == 2
    assert len(received) > 200_000


async def test_a_list_of_long_ids_and_large_results_is_awaited_alike(start: Callable[..., Awaitable[Serving]]) -> None:
    async def script(serving: Serving) -> list[bytes]:
        large = [await serving.queue.submit("big", {"size": 60_000}) for _ in range(2)]
        for job in large:
            await job.wait()
        held = await serving.queue.submit("hold")
        wires = [await connected(serving) for _ in range(2)]
        ids = ",".join([held.id, *(job.id for job in large), *("x" * 3000 + digit for digit in "123")])
        await wires[0].send(head("GET", f"/v1/jobs?ids={ids}", WAIT))
        await wires[1].send(head("GET", f"/v1/jobs?ids={held.id}", WAIT))
        await until_waiting(serving, 2)
        serving.gate.set()
        await until_waiting(serving, 0)
        for wire in wires:
            await wire.send(END)
        return [await wire.received() for wire in wires]

    long, short = await both(start, script)
    assert (codes(long), codes(short)) == ([200, 200], [200, 200])


async def test_an_answer_that_fails_holds_up_no_other_wait(
    start: Callable[..., Awaitable[Serving]], monkeypatch: pytest.MonkeyPatch
) -> None:
    serving = await start()
    finish, broken = Connection.finish, set[int]()

    def fail_once(self: Connection, answer: bytes, now: float) -> None:
        if not broken:
            broken.add(1)
            raise RuntimeError("a fault of the server")
        finish(self, answer, now)

    monkeypatch.setattr(Connection, "finish", fail_once)
    for wait in ("wait=1", "wait=50"):
        broken.clear()
        job_id = (await serving.queue.submit("hold")).id
        wires = [await connected(serving) for _ in range(3)]
        for wire in wires:
            await wire.send(head("GET", f"/v1/jobs?ids={job_id}", f"Prefer: {wait}"))
        if wait == "wait=50":
            await cancel(serving, job_id)
        await until_waiting(serving, 0)
        for wire in wires[1:]:
            await wire.send(END)
            assert codes(await wire.received()) == [200, 200]


async def test_many_waits_for_a_job_that_is_deleted_at_its_end_get_its_end(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    count = 2 * TOLD_AT_ONCE + 20

    async def script(serving: Serving) -> list[bytes]:
        job_id = (await serving.queue.submit("echo", delay_s=1000)).id
        wires = [await connected(serving) for _ in range(count)]
        for wire in wires:
            wire._transport.write(look(job_id, WAIT))
        await until_waiting(serving, count)
        await delete(serving, job_id)
        await until_waiting(serving, 0)
        for wire in wires:
            wire._transport.write(END)
        return [await wire.received() for wire in wires]

    received = await both(start, script)
    assert all(codes(each) == [200, 200] and b'"state":"cancelled"' in each for each in received)


@pytest.mark.parametrize("fast_path", [True, False])
async def test_waits_over_and_jobs_gone_in_the_same_moment_get_the_end(
    start: Callable[..., Awaitable[Serving]], fast_path: bool
) -> None:
    """The waits that are told in later loop iterations are over before, and their job is evicted."""
    count = 5 * TOLD_AT_ONCE + 20
    serving = await start(server={"fast_path": fast_path})
    job_id = (await serving.queue.submit("echo", delay_s=1000)).id
    wires = [await connected(serving) for _ in range(count)]
    for wire in wires:
        wire._transport.write(look(job_id, WAIT))
    await until_waiting(serving, count)
    await delete(serving, job_id)
    serving.waiting.end()
    await turns(100)
    for wire in wires:
        await wire.send(END)
    for wire in wires:
        assert codes(await wire.received()) == [200, 200]


async def test_a_submission_with_a_job_evicted_at_the_end_of_its_wait_gets_the_end(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    """On the stock path, where the wait is cancelled in the iteration in which the job ends."""
    serving = await start(server={"fast_path": False})
    wire = await connected(serving)
    await wire.send(post(LATER, WAIT))
    await until_waiting(serving, 1)
    (job,) = (await serving.service.backend.page(JobFilter(), limit=1, cursor=None)).jobs
    serving.waiting.end()
    await delete(serving, job.id)
    await wire.send(END)
    received = await wire.received()
    assert codes(received) == [200, 200]
    assert b'"state":"cancelled"' in received


async def test_waits_beyond_the_limit_are_answered_at_once_on_both_paths(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    async def script(serving: Serving) -> list[bytes]:
        job_id = (await serving.queue.submit("hold")).id
        first, second = await connected(serving), await connected(serving)
        await first.send(look(job_id, WAIT))
        await until_waiting(serving, 1)
        await second.send(look(job_id, WAIT) + post(LATER, WAIT) + look(job_id, WAIT, method="HEAD"))
        serving.gate.set()
        await until_waiting(serving, 0)
        await first.send(END)
        await second.send(END)
        return [await first.received(), await second.received()]

    first, second = await both(start, script, limits={"long_polls_max": 1})
    assert (codes(first), codes(second)) == ([200, 200], [202, 202, 202, 200])
    assert (b"Preference-Applied" in first, b"Preference-Applied" in second) == (True, False)


async def test_ten_thousand_requests_behind_a_wait_are_answered_after_it_and_few_are_read_before(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await start()
    job_id = (await serving.queue.submit("hold")).id
    async with serving.connect() as (reader, writer):
        writer.write(look(job_id, WAIT))
        await until_waiting(serving, 1)
        writer.write(look(job_id, method="HEAD") * 10_000)
        await turns(200)
        (connection,) = cast("list[Connection]", serving.server.connections)
        assert len(connection._messages) == connection._max_msg_queue_size
        assert not connection._wire.is_reading()  # type: ignore[union-attr]  # it is connected
        serving.gate.set()
        assert (await read_answer(reader)).headers["preference-applied"] == "wait=50"
        for _ in range(10_000):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_lost_connection_leaves_nothing_of_its_wait(
    start: Callable[..., Awaitable[Serving]], place: str
) -> None:
    serving = await start()
    job_id = (await serving.queue.submit("hold")).id
    for _ in range(3):
        requests = [look(job_id, WAIT), look(job_id, WAIT, "X: y"), post(HOLD, WAIT)]
        if place == "memory":  # else on the stock path, whose task has a cycle
            requests.append(head("GET", f"/v1/jobs?ids={job_id},nope", WAIT))
        for request in requests:
            wire = await connected(serving)
            await wire.send(request)
            await until_waiting(serving, 1)
            gc.disable()
            try:
                await wire.cut()
                await until_waiting(serving, 0)
                await turns()
                left = [each for each in gc.get_objects() if isinstance(each, OF_WAITS)]
                assert left == [], "freed without the collector"
            finally:
                gc.enable()
    assert_that_no_one_waits(serving)


async def test_an_idle_connection_with_a_wait_is_closed_only_after_the_answer(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await start(limits={"idle_timeout_s": 0.2})
    job_id = (await serving.queue.submit("hold")).id
    for before in (b"", head("GET", "/livez")):  # without aiohttp's task, and with it
        serving.gate.clear()
        job_id = (await serving.queue.submit("hold")).id
        async with serving.connect() as (reader, writer):
            writer.write(before)
            if before:
                await read_answer(reader)
            writer.write(look(job_id, WAIT))
            await until_waiting(serving, 1)
            await asyncio.sleep(0.5)
            assert serving.waiting.count == 1
            serving.gate.set()
            assert (await read_answer(reader)).status == 200
            assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_a_server_that_closes_answers_waits_and_then_closes_their_connections(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await start()
    job_id = (await serving.queue.submit("hold")).id
    wires = [await connected(serving) for _ in range(2)]
    await wires[1].send(head("GET", "/livez"))
    for wire in wires:
        await wire.send(look(job_id, WAIT))
    await until_waiting(serving, 2)
    await serving.server.close(1.0)
    assert codes(await wires[0].received()) == [202]
    assert codes(await wires[1].received()) == [200, 202]
    assert serving.server.open == 0


async def test_a_server_that_closes_answers_waits_before_their_turn(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await start()
    job_id = (await serving.queue.submit("hold")).id
    wires = [await connected(serving) for _ in range(3 * TOLD_AT_ONCE)]
    for number, wire in enumerate(wires):
        wire._transport.write(look(job_id, WAIT) if number % 2 else head("GET", f"/v1/jobs?ids={job_id}", WAIT))
    await until_waiting(serving, len(wires))
    serving.gate.set()
    while serving.waiting.count == len(wires):
        await asyncio.sleep(0)
    await serving.server.close(1.0)
    assert [codes(await wire.received()) for wire in wires] == [[200]] * len(wires)


async def test_a_closing_connection_is_closed_with_its_deferred_answer(
    start: Callable[..., Awaitable[Serving]],
) -> None:
    serving = await start()
    job_id = (await serving.queue.submit("hold")).id
    wire = await connected(serving)
    await wire.send(look(job_id, WAIT))
    (connection,) = serving.server.connections
    connection.close()
    await turns()
    assert serving.server.open == 1, "it has to be answered first"
    serving.gate.set()
    assert codes(await wire.received()) == [200]


# -- deadlines


class Noted:
    """A wait that notes the time of its end."""

    def __init__(self) -> None:
        self.over_at = 0.0
        self.caller = None

    def time_over(self) -> None:
        self.over_at = asyncio.get_running_loop().time()

    def leave(self) -> None:
        raise AssertionError("not the end of the server")


async def test_waits_of_one_duration_share_a_timer_and_end_at_their_own_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "ENDED_AT_ONCE", 2)
    loop, all_waits = asyncio.get_running_loop(), deadlines.Deadlines()
    began, queues = dict[Noted, float](), set[deadlines.DurationQueue]()
    for _ in range(3):
        for _ in range(5):
            wait = Noted()
            began[wait] = loop.time()
            queues.add(all_waits.add(wait, 0.05, began[wait]))
        await asyncio.sleep(0.02)
    (queue,) = queues
    first = next(iter(began))
    assert queue.remove(first) or first.over_at
    assert not queue.remove(first)
    async with asyncio.timeout(5):
        while all_waits.count:
            await asyncio.sleep(0.01)
    del began[first]
    assert all(wait.over_at - at > 0.048 for wait, at in began.items())
    assert sorted(began, key=lambda wait: wait.over_at) == list(began)
    await turns()
    assert all_waits.queues == {}


# -- generated scripts

WIRES = st.integers(0, 2)
JOBS = st.integers(0, 1)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), WIRES, JOBS, st.sampled_from(["GET", "HEAD"]), st.booleans()),
        st.tuples(st.just("list"), WIRES, st.sampled_from(["GET", "HEAD"]), st.integers(1, 3), st.booleans()),
        st.tuples(st.just("submit"), WIRES, st.sampled_from([LATER, b'{"type":"echo"}', b'{"type":"nope"}'])),
        st.tuples(st.just("look"), WIRES, JOBS, st.sampled_from(["GET", "HEAD"])),
        st.tuples(st.just("part"), WIRES),
        st.tuples(st.just("nonsense"), WIRES),
        st.tuples(st.sampled_from(["shut", "cut", "close"]), WIRES),
        st.tuples(st.sampled_from(["run", "cancel", "delete"]), JOBS),
    ),
    min_size=2,
    max_size=9,
)


async def play(serving: Serving, steps: list[tuple[Any, ...]]) -> list[bytes]:
    """Do the steps one after the other, then end all jobs; return what each connection has received."""
    backend = serving.service.backend
    jobs = [(await serving.queue.submit("echo", {"value": 1}, delay_s=1000)).id for _ in range(2)]
    wires = [PairedWire(await connect(serving)) for _ in range(3)]
    lost = set()
    for name, of, *more in steps:
        match name:
            case "wait":
                job, method, tagged = more
                lines = (WAIT, 'If-None-Match: W/"1"') if tagged else (WAIT,)
                await wires[of].send(look(jobs[job], *lines, method=method))
            case "list":
                method, chosen, tagged = more
                ids = ",".join(job for number, job in enumerate(jobs) if chosen & 1 << number)
                tag = fresh_tag(serving, ids.split(",")) if tagged else '"x"'
                lines = (WAIT, f"If-None-Match: {tag}") if tagged or chosen == 3 else (WAIT,)
                await wires[of].send(head(method, f"/v1/jobs?ids={ids}", *lines))
            case "submit":
                await wires[of].send(post(more[0], WAIT))
            case "look":
                await wires[of].send(look(jobs[more[0]], method=more[1]))
            case "part":
                await wires[of].send(b"GET /livez HTTP/1.1\r\nHost: h\r\n")
            case "nonsense":
                await wires[of].send(b"nonsense\r\n\r\n")
            case "close":
                await wires[of].send(END)
            case "shut":
                await wires[of].shut()
            case "cut":
                lost.add(of)
                await wires[of].cut()
            case "run":
                await unless_over(backend.run_now(jobs[of]))
                await turns()
            case "cancel" | "delete":
                await unless_over(backend.cancel(jobs[of]))
                if name == "delete":
                    await unless_over(backend.delete(jobs[of]))
                await turns()
    await backend.bulk("cancel", JobFilter())
    await turns()
    for wire in wires:
        await wire.send(b"X: y\r\n\r\n" + END)
    for wire in wires:
        await wire.shut()
    received = [await wire.received() for number, wire in enumerate(wires) if number not in lost]
    assert serving.waiting.count == 0
    assert_that_no_one_waits(serving)
    return received


def in_this_process(serving: Serving) -> Any:
    """Return the backend in this process, which that of a store stands before."""
    backend = cast("Any", serving.service.backend)
    return backend._memory if isinstance(backend, FarBackend) else backend


def assert_that_no_one_waits(serving: Serving) -> None:
    waits, backend = in_this_process(serving)._waits, serving.service.backend
    assert (waits.ends, waits.changes) == ({}, {})
    if isinstance(backend, FarBackend):
        assert backend._ends == {}


def fresh_tag(serving: Serving, ids: list[str]) -> str:
    """Return the tag of a list as it is now."""
    local = in_this_process(serving)
    return list_tag([local.find(job_id) or (job_id, local.missing(job_id)) for job_id in ids], IDS_END)


async def unless_over(act: Awaitable[object]) -> None:
    with contextlib.suppress(WrongState, JobGone):
        await act


def without_ids(received: bytes) -> bytes:
    """As `comparable`, also for jobs of several connections that are submitted in the same moment, in any order."""
    return re.sub(rb"0-[\w-]{20}", b"ID", comparable(received))


async def agree_on(
    start: Callable[..., Awaitable[Serving]],
    examples: int,
    surroundings: Callable[[Settings], Surroundings] = same_ids,
) -> None:
    fast = await start(surroundings)
    stock = await start(surroundings, server={"fast_path": False}, spool={"dir": None})
    loop = asyncio.get_running_loop()

    @settings(max_examples=examples, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(STEPS)
    @example([("wait", 0, 0, "GET", False), ("shut", 0), ("list", 1, "GET", 3, False), ("shut", 1)])
    @example([("submit", 0, LATER), ("shut", 0), ("wait", 1, 0, "HEAD", True), ("look", 1, 0, "GET"), ("shut", 1)])
    @example([("wait", 0, 0, "GET", False), ("part", 0), ("shut", 0), ("wait", 1, 1, "GET", False), ("nonsense", 1)])
    @example([("wait", 0, 0, "GET", False), ("look", 0, 0, "GET"), ("cut", 0), ("delete", 0)])
    def run(steps: list[tuple[Any, ...]]) -> None:
        asyncio.run_coroutine_threadsafe(compare(steps), loop).result(300)

    async def compare(steps: list[tuple[Any, ...]]) -> None:
        forget(fast)
        one, other = await play(fast, steps), await play(stock, steps)
        assert [*map(without_ids, one)] == [*map(without_ids, other)], steps

    with ThreadPoolExecutor(1) as executor:
        await loop.run_in_executor(executor, run)


async def test_both_paths_agree_on_generated_scripts_with_waits(start: Callable[..., Awaitable[Serving]]) -> None:
    await agree_on(start, 150)


@pytest.mark.slow
@pytest.mark.timeout(1800)
async def test_both_paths_agree_on_two_thousand_generated_scripts(start: Callable[..., Awaitable[Serving]]) -> None:
    await agree_on(start, 2_000)
