"""The load generator: framing, scripts, counts and measurements of processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from bench.load.answer import header
from bench.load.driving import ROOT, Generator, Process
from bench.load.generator import Driver, Order, Unmeasured
from bench.load.scripts import Batch, Cycle, Later, Life, Visit, id_in
from bench.load.wire import Wire
from bench.measure.meter import cpu_s, rss_bytes, rss_bytes_max

GET = b"GET /v1/jobs/{id} HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"HEAD /v1/jobs/{id} HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST /v1/jobs HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"

NO_CONTENT = b"HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n"
LIVE = b"HTTP/1.1 202 Accepted\r\nContent-Length: 4\r\n\r\nlive"
OVER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nover"
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nLocation: /v1/jobs/abc\r\nContent-Length: 0\r\n\r\n"
TAGGED = b'HTTP/1.1 202 Accepted\r\nETag: W/"7"\r\nContent-Length: 0\r\n\r\n'
NOT_MODIFIED = b"HTTP/1.1 304 Not Modified\r\n\r\n"
REFUSED = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
HEAD_ONLY = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
STREAM = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\ndata:\r\n5\r\n 1\n\n\n\r\n0\r\n\r\n"
)  # fmt: skip


class Silent(asyncio.Transport):
    def write(self, data: object) -> None:
        pass


def responses_in(pieces: list[bytes], request: bytes = GET) -> list[tuple[bytes, bytes]]:
    """Return the status and bytes of each response that a wire finds in the received pieces."""
    got: list[tuple[bytes, bytes]] = []
    wire = Wire(lambda wire, status, answer: got.append((status, answer)), lambda wire: None)
    wire.connection_made(Silent())
    wire.ask(request)
    for piece in pieces:
        wire.data_received(piece)
    assert wire.busy is (not got)
    return got


@pytest.mark.parametrize("answer", [NO_CONTENT, LIVE, OVER, REFUSED, STREAM], ids=lambda answer: answer[9:12].decode())
def test_a_response_is_complete_at_its_last_byte_wherever_it_is_split(answer: bytes) -> None:
    assert responses_in([answer]) == [(answer[9:12], answer)]
    for at in range(1, len(answer)):
        assert responses_in([answer[:at]]) == []
        assert responses_in([answer[:at], answer[at:]]) == [(answer[9:12], answer)]


def test_a_response_to_head_has_no_body_despite_its_content_length() -> None:
    assert responses_in([HEAD_ONLY], HEAD) == [(b"200", HEAD_ONLY)]
    assert responses_in([HEAD_ONLY], GET) == []


def test_a_response_without_a_length_raises_an_error() -> None:
    with pytest.raises(ValueError, match="neither a Content-Length nor chunks"):
        responses_in([b"HTTP/1.1 200 OK\r\nServer: s\r\n\r\n"])


def test_header_lookup_ignores_case_and_the_body() -> None:
    answer = b"HTTP/1.1 202 Accepted\r\nlOcation: /jobs/x\r\n\r\nbody\r\nserver: s"
    assert header(answer, b"Location") == b"/jobs/x"
    assert header(answer, b"Server") is None
    with pytest.raises(ValueError, match="without a Location"):
        id_in(OVER)


# -- scripts


def test_a_cycle_spreads_its_ids_over_all_connections_in_order() -> None:
    first, second = Cycle(request=b"GET /{id} HTTP/1.1", ids=("a", "b", "c")).parts(2)
    asked = [part.first()[5:6] for part in (first, first, second, first, second)]
    assert asked == [b"a", b"b", b"c", b"a", b"b"]
    assert first.next(b"200", OVER) is None


def test_a_cycle_has_one_iterator_for_thousands_of_connections() -> None:
    parts = Cycle(request=GET, ids=tuple(map(str, range(10_000)))).parts(8000)
    assert len(parts) == 8000
    assert parts[0] is parts[-1]


def test_a_life_polls_with_growing_pauses_until_the_job_is_terminal() -> None:
    life = Life(submit=POST, look=GET).parts(1)[0]
    look = GET.replace(b"{id}", b"abc")
    assert life.first() == POST
    assert life.next(b"202", ACCEPTED) == look
    assert [life.next(b"202", LIVE) for _ in range(3)] == [Later(pause, look) for pause in (0.001, 0.002, 0.004)]
    assert life.next(b"200", OVER) is None
    assert life.first() == POST
    life.next(b"202", ACCEPTED)
    assert life.next(b"202", LIVE) == Later(0.001, look)


def test_a_rejected_submission_ends_a_life() -> None:
    life = Life(submit=POST, look=GET).parts(1)[0]
    life.first()
    assert life.next(b"503", REFUSED) is None


def test_a_life_by_long_polling_ends_with_the_first_response() -> None:
    waiting = Life(submit=POST, look=GET, via="answer").parts(1)[0]
    waiting.first()
    waiting.next(b"202", ACCEPTED)
    assert waiting.next(b"200", STREAM) is None
    at_once = Life(submit=POST, via="submission").parts(1)[0]
    at_once.first()
    assert at_once.next(b"200", OVER) is None


def test_a_batch_ends_when_all_its_accepted_jobs_are_terminal() -> None:
    batch = Batch(submit=POST, look=b"GET /v1/jobs?ids={id} HTTP/1.1", size=2).parts(1)[0]
    batch.first()
    look = batch.next(b"207", b'HTTP/1.1 207\r\n\r\n{"jobs":[{"status":202,"id":"a"},{"status":202,"id":"b"}]}')
    assert look == b"GET /v1/jobs?ids=a,b HTTP/1.1"
    assert batch.next(b"200", b'{"state":"succeeded"},{"state":"running"}') == Later(0.001, look)
    assert batch.next(b"200", b'{"state":"succeeded"},{"state":"failed"}') is None
    batch.first()
    assert batch.next(b"207", b'HTTP/1.1 207\r\n\r\n{"jobs":[{"status":202,"id":"a"},{"status":503}]}') is None


def test_a_visitor_polls_its_job_to_the_end_with_every_fourth_poll_conditional() -> None:
    visit = Visit(submit=POST, look=b"HEAD /{id}", changed=b"GET /{id} if-none-match {etag}")
    visitor = visit.parts(1)[0]
    asked = []
    for answer in (ACCEPTED, TAGGED, TAGGED, TAGGED, NOT_MODIFIED, OVER, REFUSED, ACCEPTED):
        asked.append(visitor.first())
        assert visitor.next(answer[9:12], answer) is None
    head = b"HEAD /abc"
    assert asked == [POST, head, head, head, b'GET /abc if-none-match W/"7"', head, POST, POST]


# -- the driver


class Stub(asyncio.Protocol):
    """Responds to each request with the value of `answer`, after a pause; None closes the connection."""

    requests: list[bytes]

    def __init__(self, requests: list[bytes], answer: Callable[[bytes], bytes | None], pause_s: float) -> None:
        self.requests = requests
        self._answer = answer
        self._pause_s = pause_s

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self.requests.append(data)
        answer = self._answer(data)
        if answer is None:
            self._transport.close()
        else:
            asyncio.get_running_loop().call_later(self._pause_s, self._transport.write, answer)


@asynccontextmanager
async def driving(
    answer: Callable[[bytes], bytes | None], *, connections: int = 3, pause_s: float = 0.0
) -> AsyncIterator[tuple[Driver, list[bytes]]]:
    requests: list[bytes] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Stub(requests, answer, pause_s), "127.0.0.1", 0)
    driver = Driver()
    assert await driver.open(server.sockets[0].getsockname()[1], connections) == connections
    yield driver, requests
    driver.close()
    server.close()
    await server.wait_closed()


async def test_an_order_of_n_units_sends_n_requests() -> None:
    async with driving(lambda request: ACCEPTED) as (driver, requests):
        report = await driver.run(Order(script=Cycle(request=POST), units=100, collect=True))
        assert (report.done, len(requests), report.answers) == (100, 100, {"202": 100})
        assert report.ids == ("abc",) * 100
        assert report.latency["all"].count == 100


async def test_an_order_of_fewer_units_than_connections_sends_no_more_requests() -> None:
    async with driving(lambda request: ACCEPTED, connections=8) as (driver, requests):
        report = await driver.run(Order(script=Cycle(request=POST), units=3))
        assert (report.done, len(requests)) == (3, 3)


async def test_an_order_starts_with_every_connection_idle() -> None:
    async with driving(lambda request: LIVE if b"POST" in request else OVER, pause_s=0.005) as (driver, requests):
        await driver.run(Order(script=Cycle(request=POST), seconds=0.03, warm_s=0.0))
        posts = len(requests)
        report = await driver.run(Order(script=Cycle(request=GET), units=9))
        assert report.answers == {"200": 9}
        assert len(requests) == posts + 9
        assert report.lost == 0


async def test_requests_of_the_warm_up_are_not_counted() -> None:
    async with driving(lambda request: LIVE) as (driver, requests):
        report = await driver.run(Order(script=Cycle(request=GET), seconds=0.02, warm_s=0.1))
        assert 0 < report.done < len(requests) / 2
        assert sum(report.answers.values()) == report.done


async def test_latency_counts_from_the_intended_start_when_no_connection_is_idle() -> None:
    """One connection at 20 ms per request completes 50 requests per second; 200 are due."""
    async with driving(lambda request: LIVE, connections=1, pause_s=0.02) as (driver, _):
        order = Order(script=Cycle(request=GET), rate=200.0, seconds=0.5, warm_s=0.0)
        report = await driver.run(order)
        closed = await driver.run(Order(script=Cycle(request=GET), units=10))
    assert closed.latency["all"].p50 < 100
    assert report.latency["202"].p50 > 100
    assert report.latency["all"].p50 > 150
    assert report.latency["all"].count == pytest.approx(100, abs=5)
    assert report.latency["none"].count > 50  # due, without a response at the end


async def test_the_driver_keeps_an_achievable_rate() -> None:
    async with driving(lambda request: OVER) as (driver, _):
        report = await driver.run(Order(script=Cycle(request=GET), rate=500.0, seconds=0.4, warm_s=0.0))
    assert report.latency["all"].count == pytest.approx(500 * report.seconds, abs=5)
    assert report.done > 150


async def test_a_timed_order_counts_a_lost_connection_and_continues_on_the_others() -> None:
    rest = iter([OVER, None, *[OVER] * 10_000])
    async with driving(lambda request: next(rest)) as (driver, _):
        report = await driver.run(Order(script=Cycle(request=GET), seconds=0.05, warm_s=0.0))
        assert report.lost == 1
        assert report.done > 10


async def test_a_lost_connection_fails_an_order_of_n_units() -> None:
    rest = iter([OVER, None, *[OVER] * 10_000])
    async with driving(lambda request: next(rest)) as (driver, _):
        with pytest.raises(Unmeasured, match="the server closed a connection"):
            await driver.run(Order(script=Cycle(request=GET), units=10_000))


async def test_an_unusable_response_fails_the_order_and_is_quoted() -> None:
    async with driving(lambda request: REFUSED) as (driver, _):
        with pytest.raises(Unmeasured, match=r"without a Location: b'HTTP/1.1 503"):
            await driver.run(Order(script=Cycle(request=POST), seconds=5.0, collect=True))


# -- processes


def test_cpu_s_matches_the_process_clock_and_rejects_an_ended_process() -> None:
    before, own = cpu_s(os.getpid()), time.process_time()
    sum(range(300_000))
    assert cpu_s(os.getpid()) - before == pytest.approx(time.process_time() - own, abs=0.002)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(ProcessLookupError, match=f"no process {child.pid}"):
        cpu_s(child.pid)


def test_resident_memory_is_in_bytes() -> None:
    assert 10_000_000 < rss_bytes(os.getpid()) <= rss_bytes_max(os.getpid()) < 10_000_000_000


def test_the_generator_loads_another_process_and_measures_its_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
    with (
        Process("bare", [sys.executable, "-m", "bench.peers.bare"]) as server,
        Generator(server.port(), 4) as generator,
    ):
        report = generator.run(Order(script=Cycle(request=request), seconds=0.2, pids=(server.pid,)))
        again = generator.run(Order(script=Cycle(request=request), units=50))
    assert report.answers == {"204": report.done}
    assert report.lost == 0
    assert 0 < report.cpu_s[0] < report.seconds * 1.1
    assert again.done == 50
    with pytest.raises(ProcessLookupError):
        cpu_s(server.pid)


def test_processes_of_a_bench_end_when_the_bench_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from bench.load.driving import Process\n"
        "with Process('bare', [sys.executable, '-m', 'bench.peers.bare']) as server:\n"
        "    server.port(); print(server.pid, flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE) as bench:
        assert bench.stdout is not None
        server = psutil.Process(int(bench.stdout.readline()))
        bench.kill()
    server.wait(10)
    assert not server.is_running()


def test_a_failed_start_of_a_server_raises_its_exit_code_and_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        Process("broken", [sys.executable, "-c", "raise SystemExit('no, thanks')"]) as server,
        pytest.raises(RuntimeError, match="broken ended with code 1:\nno, thanks"),
    ):
        server.port()
