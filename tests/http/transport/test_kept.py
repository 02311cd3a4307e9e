"""Answers that wait until what they promise is kept: their order, what happens meanwhile, and the same bytes as the
stock path.
"""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import replace
from functools import partialmethod
from typing import TYPE_CHECKING, Any, cast

import pytest

from jobqueue.core.job_filter import JobFilter
from jobqueue.http.transport.connection import Connection
from jobqueue.http.transport.deferred import CommitWait, JobWait
from tests.backend.keeping import HeldKeeper, LateKeeper
from tests.http.held_time import HeldTime
from tests.http.serving import Answer, post, read_answer
from tests.http.streams.test_waiters import until_waiting
from tests.http.transport.test_deferred import HOLD, WAIT, Wire, agree_on, codes, comparable, connected, look, turns
from tests.http.transport.test_fast_path import (
    CORPUS,
    CUT,
    END,
    LATER,
    SETTINGS,
    Client,
    Pair,
    head,
    same_ids,
)
from tests.http.transport.test_fast_path import agree_on as agree_on_streams

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from jobqueue.config import Settings
    from jobqueue.surroundings import Surroundings
    from tests.http.serving import Serving

    Start = Callable[..., Awaitable[Serving]]

ECHO = b'{"type":"echo","args":{"value":1}}'
SLOW = {"server": {"fast_path": False}, "spool": {"dir": None}}


def held(settings: Settings) -> Surroundings:
    return replace(same_ids(settings), journal=HeldKeeper())


def late(settings: Settings) -> Surroundings:
    return replace(same_ids(settings), journal=LateKeeper())


def keeper_of(serving: Serving) -> HeldKeeper:
    return cast("HeldKeeper", cast("Any", serving.service.backend)._keeper)


async def both(start: Start, script: Callable[[Serving], Awaitable[list[bytes]]], **sections: Any) -> list[bytes]:
    """Run a script on a server with the fast path and one without; return the received bytes, which are the same."""
    fast = await script(await start(held, **sections))
    stock = await script(await start(held, **sections, **SLOW))
    assert [*map(comparable, fast)] == [*map(comparable, stock)]
    return fast


async def until_held(serving: Serving, count: int = 1) -> HeldKeeper:
    """Wait until answers wait for the keeper."""
    keeper = keeper_of(serving)
    async with asyncio.timeout(10):
        while len(keeper.waiting) < count:
            await asyncio.sleep(0)
    await turns()
    return keeper


def received(wire: Wire) -> bytes:
    return bytes(cast("Client", cast("Any", wire)._client).received)


async def submitted(serving: Serving, **given: Any) -> str:
    """Submit a job in-process and keep it."""
    task = asyncio.create_task(serving.queue.submit("echo", **given))
    (await until_held(serving)).release()
    return (await task).id


async def test_a_submission_is_answered_once_its_job_is_kept(start: Start) -> None:
    async def script(serving: Serving) -> list[bytes]:
        wire = await connected(serving)
        for number in range(3):  # parsed, parsed and learned, from the head cache
            before = received(wire)
            await wire.send(post(LATER))
            keeper = await until_held(serving)
            assert received(wire) == before, number
            keeper.release()
            await turns()
            assert received(wire) != before
        await wire.send(END)
        return [await wire.received()]

    (answers,) = await both(start, script)
    assert codes(answers) == [202, 202, 202, 200]


async def test_a_submission_that_waits_for_its_job_waits_for_both(start: Start) -> None:
    async def script(serving: Serving) -> list[bytes]:
        wires = [await connected(serving) for _ in range(3)]
        await wires[0].send(post(HOLD, WAIT))
        (await until_held(serving)).release()
        await until_waiting(serving, 1)
        assert received(wires[0]) == b""
        serving.gate.set()
        await wires[1].send(post(ECHO, WAIT))  # over before it is kept
        keeper = await until_held(serving)
        assert received(wires[1]) == b""
        keeper.release()
        await wires[2].send(post(LATER, "Prefer: wait=0"))
        (await until_held(serving)).release()
        await until_waiting(serving, 0)
        for wire in wires:
            await wire.send(END)
        return [await wire.received() for wire in wires]

    first, over, now = await both(start, script)
    assert (codes(first), codes(over), codes(now)) == ([200, 200], [200, 200], [202, 200])
    assert b"Preference-Applied: wait=50" in over
    assert b'"result":1' in over


async def test_a_long_result_that_is_there_before_its_job_is_kept_is_awaited_alike(start: Start) -> None:
    async def script(serving: Serving) -> list[bytes]:
        wire = await connected(serving)
        await wire.send(post(b'{"type":"big","args":{"size":300000}}', WAIT))
        (await until_held(serving)).release()
        await until_waiting(serving, 0)
        await wire.send(END)
        return [await wire.received()]

    (answers,) = await both(start, script, limits={"result_bytes": 2**20})
    assert codes(answers) == [200, 200]
    assert len(answers) > 300_000


async def test_requests_behind_a_submission_are_answered_after_it(start: Start) -> None:
    async def script(serving: Serving) -> list[bytes]:
        job_id = await submitted(serving, delay_s=1000)
        wire = await connected(serving)
        await wire.send(look(job_id) + post(LATER) + look(job_id, method="HEAD") + post(LATER) + head("GET", "/livez"))
        await wire.send(look("nope"))
        for _ in range(2):
            keeper = await until_held(serving)
            keeper.release()
            await turns()
        await wire.send(END)
        return [await wire.received()]

    (answers,) = await both(start, script)
    assert codes(answers) == [202, 202, 202, 202, 200, 404, 200]


async def test_a_submission_that_can_not_be_kept_is_rejected_and_leaves_no_job(start: Start) -> None:
    async def script(serving: Serving) -> list[bytes]:
        wires = [await connected(serving) for _ in range(3)]
        key = 'Idempotency-Key: "k"'
        await wires[0].send(post(LATER, key))
        await until_held(serving)
        await wires[1].send(post(LATER, key))  # the same job, which is not kept yet
        await wires[2].send(post(LATER, WAIT))
        keeper = await until_held(serving, 3)
        keeper.broken = True
        keeper.release()
        await turns()
        assert serving.service.backend.stats()[0].live == 0
        await wires[0].send(post(LATER, key))
        keeper.broken = False
        await turns()
        await wires[1].send(post(LATER, key))
        (await until_held(serving)).release()
        assert serving.service.backend.stats()[0].live == 1
        for wire in wires:
            await wire.send(END)
        return [await wire.received() for wire in wires]

    first, second, waited = await both(start, script)
    assert (codes(first), codes(second), codes(waited)) == ([503, 503, 200], [503, 202, 200], [503, 200])
    answer = Answer(first)
    assert (answer.kind, answer.headers["retry-after"]) == ("journal-failed", "10")
    assert b"Job-Deduplicated" not in second


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_lost_client_leaves_its_job_accepted(start: Start, fast_path: bool) -> None:
    serving = await start(held, server={"fast_path": fast_path})
    for lines in ((), (WAIT,)):
        wire = await connected(serving)
        await wire.send(post(LATER, *lines))
        keeper = await until_held(serving)
        await wire.cut()
        keeper.release()
        await turns()
    assert serving.service.backend.stats()[0].live == 2
    assert serving.waiting.count == 0


async def test_a_lost_client_leaves_nothing_of_its_wait(start: Start) -> None:
    serving = await start(held)
    wire = await connected(serving)
    await wire.send(post(LATER, WAIT))
    keeper = await until_held(serving)
    gc.disable()
    try:
        await wire.cut()
        await turns()
        keeper.release()
        assert [each for each in gc.get_objects() if isinstance(each, CommitWait | JobWait | Connection)] == []
    finally:
        gc.enable()


async def test_an_error_of_one_answer_does_not_reach_the_answers_beside_it(start: Start) -> None:
    serving = await start(held)
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context["message"]))
    wires = [await connected(serving) for _ in range(3)]
    for wire in wires:
        await wire.send(post(LATER))
    keeper = await until_held(serving, 3)
    broken = cast("Any", next(iter(serving.server.connections)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(broken), "finish", partialmethod(fails_for, broken, type(broken).finish))
        keeper.release()
        await turns()
    assert raised == ["an answer could not be sent"]
    assert sorted(bool(received(wire)) for wire in wires) == [False, True, True]


def fails_for(connection: Any, broken: Any, finish: Any, *args: Any) -> None:
    if connection is broken:
        raise ZeroDivisionError
    finish(connection, *args)


async def test_a_repetition_that_can_not_be_kept_leaves_the_job_of_the_first(start: Start) -> None:
    async def script(serving: Serving) -> list[bytes]:
        wire = await connected(serving)
        await wire.send(post(LATER, "Idempotency-Key: first"))
        (await until_held(serving)).release()
        await turns()
        other = await connected(serving)
        await other.send(post(LATER))
        await wire.send(post(LATER, "Idempotency-Key: first"))
        keeper = await until_held(serving, 2)
        keeper.broken = True
        keeper.release()
        await turns()
        assert serving.service.backend.stats()[0].live == 1
        keeper.broken = False
        await wire.send(END)
        return [await wire.received()]

    (answers,) = await both(start, script)
    assert codes(answers) == [202, 503, 200]


async def test_a_client_that_shuts_its_side_gets_its_answer(start: Start) -> None:
    async def script(serving: Serving) -> list[bytes]:
        wires = [await connected(serving) for _ in range(2)]
        for wire, lines in zip(wires, ((), (WAIT,)), strict=True):
            await wire.send(post(LATER, *lines))
        keeper = await until_held(serving, 2)
        for wire in wires:
            await wire.shut()
            assert received(wire) == b""
        keeper.release()
        return [await wire.received() for wire in wires]

    plain, waited = await both(start, script)
    assert (codes(plain), codes(waited)) == ([202], [202])
    assert b"Preference-Applied: wait=50" in waited


@pytest.mark.parametrize("fast_path", [True, False])
async def test_a_server_that_closes_waits_for_commits(start: Start, fast_path: bool) -> None:
    serving = await start(held, server={"fast_path": fast_path})
    wires = [await connected(serving) for _ in range(2)]
    for wire, lines in zip(wires, ((), (WAIT,)), strict=True):
        await wire.send(post(LATER, *lines))
    keeper = await until_held(serving, 2)
    closing = asyncio.create_task(serving.server.close(5.0))
    await turns()
    assert not closing.done()
    keeper.release()
    assert [codes(await wire.received()) for wire in wires] == [[202], [202]]
    await closing


async def test_few_requests_behind_a_submission_are_read(start: Start) -> None:
    serving = await start(held)
    job_id = await submitted(serving, delay_s=1000)
    async with serving.connect() as (reader, writer):
        writer.write(post(LATER))
        keeper = await until_held(serving)
        writer.write(look(job_id, method="HEAD") * 10_000)
        await turns(200)
        (connection,) = cast("list[Connection]", serving.server.connections)
        assert len(connection._messages) == connection._max_msg_queue_size
        assert not connection._wire.is_reading()  # type: ignore[union-attr]  # it is connected
        keeper.release()
        assert (await read_answer(reader)).status == 202
        for _ in range(10_000):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")


async def test_a_repeated_key_of_a_kept_job_waits_for_nothing(start: Start) -> None:
    async def script(serving: Serving) -> list[bytes]:
        wire = await connected(serving)
        request = post(LATER, 'Idempotency-Key: "k"')
        await wire.send(request)
        (await until_held(serving)).release()
        await wire.send(request)
        await wire.send(END)
        return [await wire.received()]

    (answers,) = await both(start, script)
    assert codes(answers) == [202, 202, 200]
    assert answers.count(b"Job-Deduplicated: true") == 1


STEERING: dict[str, tuple[str, str, bytes, int]] = {
    "cancel": ("POST", "/v1/jobs/{}:cancel", b"", 200),
    "run": ("POST", "/v1/jobs/{}:run", b"", 202),
    "bulk": ("POST", "/v1/jobs:cancel", b'{"state":"delayed"}', 200),
    "pause": ("POST", "/v1/queues/default:pause", b"", 200),
    "batch": ("POST", "/v1/jobs:batch", b'{"jobs":[%b,{"type":"nope"}]}' % LATER, 207),
}


@pytest.mark.parametrize("name", STEERING)
async def test_a_change_is_answered_once_it_is_kept(start: Start, name: str) -> None:
    serving = await start(held)
    method, path, body, status = STEERING[name]
    for broken in (False, True):
        job_id = await submitted(serving, delay_s=1000)
        wire = await connected(serving)
        lines = ("Content-Type: application/json", f"Content-Length: {len(body)}") if body else ()
        await wire.send(head(method, path.format(job_id), *lines) + body)
        keeper = await until_held(serving)
        assert received(wire) == b""
        keeper.broken = broken
        keeper.release()
        keeper.broken = False
        await turns()
        await wire.send(END)
        answers = await wire.received()
        if name == "batch":
            assert codes(answers) == [207, 200]
            assert (b'{"status":503,"problem":{"type":"/problems/journal-failed"' in answers) == broken
            assert b'{"status":422,' in answers
        else:
            assert codes(answers) == [503 if broken else status, 200]
        if name == "pause":
            resuming = asyncio.create_task(serving.service.backend.resume("default"))
            (await until_held(serving)).release()
            await resuming


async def test_no_job_is_left_of_a_batch_that_can_not_be_kept(start: Start) -> None:
    serving = await start(held)
    wire = await connected(serving)
    body = b'{"jobs":[%b]}' % b",".join([LATER] * 3)
    await wire.send(
        head("POST", "/v1/jobs:batch", "Content-Type: application/json", f"Content-Length: {len(body)}") + body
    )
    keeper = await until_held(serving)
    keeper.broken = True
    keeper.release()
    await turns()
    await wire.send(END)
    assert (await wire.received()).count(b'{"status":503') == 3
    assert serving.service.backend.stats()[0].live == 0


async def test_the_jobs_of_a_large_batch_wait_for_the_disk_together(start: Start) -> None:
    serving = await start(held)
    wire = await connected(serving)
    body = b'{"jobs":[%b]}' % b",".join([LATER] * 300)
    await wire.send(
        head("POST", "/v1/jobs:batch", "Content-Type: application/json", f"Content-Length: {len(body)}") + body
    )
    (await until_held(serving, 10)).release()
    await turns()
    await wire.send(END)
    answers = await wire.received()
    assert answers.count(b'{"status":202') == 300
    shown = json.loads(answers[answers.index(b'{"jobs"') :].split(b"HTTP/1.1")[0])["jobs"]
    ids = [each["id"] for each in shown]
    assert ids == sorted(ids)


async def test_the_files_of_a_job_that_can_not_be_kept_are_removed(start: Start) -> None:
    serving = await start(held)
    wire = await connected(serving)
    form = b'--b\r\nContent-Disposition: form-data; name="job"\r\n\r\n%b\r\n' % LATER
    form += b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\ncontent\r\n--b--\r\n'
    await wire.send(post(form, media_type="multipart/form-data; boundary=b"))
    keeper = await until_held(serving)
    assert serving.service.spool.bytes_used == 7
    keeper.broken = True
    keeper.release()
    await turns()
    await wire.send(END)
    assert codes(await wire.received()) == [503, 200]
    assert serving.service.spool.bytes_used == 0
    assert (await serving.service.backend.page(JobFilter(), limit=1, cursor=None)).jobs == []


# -- the same bytes on both paths, where all is kept a little later


@pytest.fixture
async def late_pair(start: Start, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    with monkeypatch.context() as patch:
        yield await prepared(start, HeldTime(patch))


async def prepared(start: Start, held_time: HeldTime) -> Pair:
    pair = Pair(await start(late, **SETTINGS), await start(late, **SETTINGS, **SLOW), held_time)
    await pair.prepare()
    return pair


async def test_both_paths_answer_alike_where_a_commit_takes_a_while(late_pair: Pair) -> None:
    for request in CORPUS:
        for _ in range(2):
            raw = await late_pair.same(request + CUT + END, turns=30)
            assert raw.startswith(b"HTTP/1.")


async def test_both_paths_answer_generated_streams_alike_where_a_commit_takes_a_while(late_pair: Pair) -> None:
    await agree_on_streams(late_pair, 60)


async def test_both_paths_agree_on_generated_scripts_where_a_commit_takes_a_while(start: Start) -> None:
    await agree_on(start, 60, late)
