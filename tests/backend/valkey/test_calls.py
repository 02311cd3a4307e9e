"""Calls by asynchronous connections to a real store, through a proxy that does what networks do."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgpack
import pytest

from jobqueue.backend.valkey import library
from jobqueue.backend.valkey.calls import CALLS_MAX, CallFailed, StoreFull
from jobqueue.backend.valkey.opening import store_calls
from jobqueue.config import ValkeySettings
from jobqueue.errors import Overloaded, StoreUnavailable
from jobqueue.log import EventLogger
from tests.backend.valkey.faulty_proxy import FaultyProxy
from tests.backend.valkey.function_client import codes_of, pairs
from tests.backend.valkey.stored import stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import redis

    from bench.store import Store
    from jobqueue.backend.valkey.store_calls import StoreCalls

TIMEOUT_S = 0.5
SPEC = msgpack.packb(["mail", "", 0, 5, 0, None, None, None, 1, None])
QUEUE = ("default", "", 0, b"blob", 1000, 10, 1, "fifo", -1, 0)
NEW, THERE = 1, 2


class Heard:
    """Notes what a watcher is told."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self.losses: list[str] = []
        self.woken_by: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.again = asyncio.Event()

    def connected(self, server_id: str) -> None:
        self.connections.append(server_id)
        self.again.set()

    def disconnected(self, reason: str) -> None:
        self.losses.append(reason)

    def woken(self, channel: str, message: bytes) -> None:
        self.woken_by.put_nowait((channel, message))


@asynccontextmanager
async def opened(url: str, **changes: Any) -> AsyncIterator[StoreCalls]:
    settings = ValkeySettings(url=url, namespace="t", **{"call_timeout_s": TIMEOUT_S, **changes})
    calls = store_calls(settings)
    await calls.open()
    try:
        yield calls
    finally:
        await calls.close()


@pytest.fixture
async def proxy(store: Store, tmp_path: Path) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(tmp_path, store.url) as proxy:
        yield proxy


@pytest.fixture
async def calls(proxy: FaultyProxy) -> AsyncIterator[StoreCalls]:
    async with opened(proxy.url) as calls:
        await calls.call("set_queue", QUEUE)
        yield calls


def submit(calls: StoreCalls, job_id: str, **options: Any) -> asyncio.Future[list[Any]]:
    return calls.call("submit", ("default", 0, 1, job_id, 100, SPEC, b"{}", b""), **options)


async def code_of(submitted: asyncio.Future[list[Any]]) -> int:
    """Return the code of a submission: 1 new, 2 there already."""
    return codes_of(await submitted)[0]


async def totals(calls: StoreCalls) -> dict[str, int]:
    """Return the counts of the store by name."""
    return pairs((await calls.call("counts", ()))[1])


async def until(condition: Any, within_s: float = 10.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_calls_of_one_turn_are_one_write_and_each_gets_its_own_reply(
    calls: StoreCalls, proxy: FaultyProxy
) -> None:
    proxy.writes.clear()
    codes = [submit(calls, "a"), calls.call("look", (0, "a")), submit(calls, "a"), calls.call("look", (0, "b"))]
    first, looked, second, unknown = await asyncio.gather(*codes)
    assert codes_of(first) + codes_of(second) == [NEW, THERE]
    assert stored(looked[1])["A"] == b"{}"
    assert unknown[1] is None
    assert len(proxy.writes) == 1


async def test_a_call_with_a_lost_reply_is_sent_again_and_done_once(calls: StoreCalls, proxy: FaultyProxy) -> None:
    proxy.swallow_replies()
    submitted = submit(calls, "a")
    await until(lambda: calls.figures.errors.get("timeout"))
    proxy.swallow_replies(False)
    assert await code_of(submitted) == THERE
    assert calls.figures.reconnects == 1


async def test_calls_on_the_way_when_the_connection_is_cut_are_sent_again(
    calls: StoreCalls, proxy: FaultyProxy, client: redis.Redis
) -> None:
    heard = Heard()
    calls.listen(heard)
    proxy.swallow_replies()
    many = [submit(calls, f"job-{number}") for number in range(20)]
    await until(lambda: client.exists("{t}:j:job-19"))
    proxy.swallow_replies(False)
    proxy.cut()
    assert [await code_of(each) for each in many] == [THERE] * 20
    assert (len(heard.losses), len(heard.connections)) == (1, 1)


async def test_a_frozen_store_does_a_call_once(calls: StoreCalls, proxy: FaultyProxy) -> None:
    proxy.freeze()
    submitted = submit(calls, "a", patience_s=10.0)
    await until(lambda: calls.figures.errors.get("timeout"))
    proxy.thaw()
    assert await code_of(submitted) in (NEW, THERE)
    assert (await totals(calls))["accepted"] == 1


async def test_calls_of_a_store_that_is_down_fail_after_their_patience_and_then_at_once(
    calls: StoreCalls, proxy: FaultyProxy
) -> None:
    heard = Heard()
    calls.listen(heard)
    assert calls.up
    assert calls.refusal() is None
    await proxy.refuse()
    patient = submit(calls, "a", patience_s=30.0)
    started = asyncio.get_running_loop().time()
    with pytest.raises(StoreUnavailable, match=r"the store has not answered within \d\.\d s: ") as caught:
        await submit(calls, "b")
    assert 1.0 <= caught.value.retry_after_s <= 5.0
    took_s = asyncio.get_running_loop().time() - started
    assert 1.9 * TIMEOUT_S < took_s < 20 * TIMEOUT_S
    assert not calls.up
    assert heard.losses
    refusal = calls.refusal()
    assert refusal is not None
    at_once = submit(calls, "c")
    assert at_once.done()
    with pytest.raises(StoreUnavailable, match="the store doesn't answer"):
        await at_once
    await proxy.listen()
    assert await code_of(patient) == NEW
    assert calls.refusal() is None
    assert heard.connections


async def test_an_abandoned_call_takes_no_reply_of_another(calls: StoreCalls) -> None:
    abandoned = calls.call("look", (0, "x"))
    waiting = asyncio.ensure_future(asyncio.wait_for(submit(calls, "a"), 5))
    await asyncio.sleep(0)
    abandoned.cancel()
    assert codes_of(await waiting) == [NEW]
    assert await code_of(submit(calls, "a")) == THERE


async def test_an_abandoned_call_is_not_sent_again(calls: StoreCalls, proxy: FaultyProxy, client: redis.Redis) -> None:
    await proxy.refuse()
    abandoned, wanted = submit(calls, "abandoned"), submit(calls, "wanted", patience_s=30.0)
    await until(lambda: not calls.up)
    abandoned.cancel()
    await proxy.listen()
    assert await code_of(wanted) == NEW
    assert not client.exists("{t}:j:abandoned")


async def test_no_more_calls_wait_than_there_may(calls: StoreCalls, proxy: FaultyProxy) -> None:
    proxy.freeze()
    waiting = [calls.call("look", (0, "x"), patience_s=10.0) for _ in range(CALLS_MAX)]
    with pytest.raises(Overloaded, match="4,096 calls wait for the store"):
        await calls.call("look", (0, "x"))
    proxy.thaw()
    await asyncio.gather(*waiting)
    assert (await calls.call("look", (0, "x")))[1] is None


async def test_no_more_bytes_wait_than_there_may(calls: StoreCalls, proxy: FaultyProxy) -> None:
    proxy.freeze()
    large = b"x" * (16 * 2**20)
    waiting = [calls.call("look", (0, large), patience_s=20.0) for _ in range(3)]
    with pytest.raises(Overloaded):
        await calls.call("look", (0, large))
    with pytest.raises(Overloaded):
        await calls.call("look", (0, large))
    for each in waiting:
        each.cancel()


async def test_bytes_that_have_been_answered_count_no_more(calls: StoreCalls) -> None:
    large = b"x" * (16 * 2**20)
    for _ in range(6):
        assert (await calls.call("look", (0, large), patience_s=20.0))[1] is None


async def test_a_full_store_takes_no_jobs_and_still_hears_verdicts(calls: StoreCalls, client: redis.Redis) -> None:
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(StoreFull, match="OOM"):
            await submit(calls, "a")
        assert (await calls.call("beat", ("p", 1000)))[1] == 0
    finally:
        client.config_set("maxmemory", "0")
    assert await code_of(submit(calls, "a")) == NEW


async def test_a_store_that_lost_the_library_gets_it_again(calls: StoreCalls, client: redis.Redis) -> None:
    client.function_flush()
    codes = [submit(calls, "a"), submit(calls, "b"), submit(calls, "c")]
    assert [await code_of(each) for each in codes] == [NEW] * 3
    client.function_delete(library.library_name())
    assert await code_of(submit(calls, "a")) == THERE


async def test_a_library_that_another_server_has_loaded_meanwhile_will_do(
    calls: StoreCalls, proxy: FaultyProxy
) -> None:
    proxy.lie(b"submit", b"-ERR Function not found\r\n")
    assert await code_of(submit(calls, "a")) == NEW


async def test_the_failure_of_a_function_has_the_words_of_the_store_and_is_logged(
    calls: StoreCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, object]] = []
    monkeypatch.setattr(
        EventLogger, "sampled", lambda self, event, **fields: logged.append((event, fields["function"]))
    )
    with pytest.raises(CallFailed, match="the function submit failed in the store: ERR jobqueue: ") as caught:
        await calls.call("submit", ("default", 0, 65))
    assert caught.value.function == "submit"
    assert logged == [("store.call_failed", "submit")]
    assert await code_of(submit(calls, "a")) == NEW


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        (b"-BUSY Redis is busy running a script. You can only call FUNCTION KILL or SHUTDOWN NOSAVE.\r\n", "busy"),
        (b"-MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist\r\n", "misconf"),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", "noreplicas"),
        (b"-READONLY You can't write against a read only replica.\r\n", "readonly"),
        (b"-NOAUTH Authentication required.\r\n", "noauth"),
        (b"-NOPERM User default has no permissions to run the 'fcall' command\r\n", "noperm"),
    ],
)
async def test_a_call_that_is_refused_for_a_while_is_sent_again(
    calls: StoreCalls, proxy: FaultyProxy, reply: bytes, kind: str
) -> None:
    proxy.lie(b"submit", reply)
    assert await code_of(submit(calls, "a")) == NEW
    assert calls.figures.errors[kind] == 1
    assert calls.up


async def test_a_store_that_refuses_to_write_is_down_for_writes_alone(calls: StoreCalls, client: redis.Redis) -> None:
    client.config_set("min-replicas-to-write", "1")
    try:
        patient = submit(calls, "a", patience_s=30.0)
        with pytest.raises(StoreUnavailable, match="fewer replicas than it needs"):
            await submit(calls, "b")
        await until(calls.refusal)
        assert calls.trouble is not None
        assert "NOREPLICAS" in calls.trouble
        assert (await calls.call("look", (0, "x")))[1] is None
        assert calls.refusal() is not None
        with pytest.raises(StoreUnavailable, match="the store refuses to write"):
            await submit(calls, "c")
    finally:
        client.config_set("min-replicas-to-write", "0")
    assert await code_of(patient) == NEW
    assert calls.refusal() is None


async def test_a_store_that_became_a_replica_is_asked_again_until_it_is_a_primary(
    calls: StoreCalls, client: redis.Redis
) -> None:
    client.replicaof("127.0.0.1", 1)
    submitted = submit(calls, "a", patience_s=30.0)
    await until(lambda: calls.figures.errors.get("readonly", 0) > 1)
    assert "replica" in str(calls.trouble)
    client.replicaof("NO", "ONE")
    assert await code_of(submitted) == NEW


async def test_wake_ups_are_heard_also_after_a_cut(calls: StoreCalls, proxy: FaultyProxy, client: redis.Redis) -> None:
    heard = Heard()
    calls.listen(heard, "{t}:wake:me")
    await until(lambda: client.publish("{t}:wake:me", b"lease") == 1)
    assert await asyncio.wait_for(heard.woken_by.get(), 5) == ("{t}:wake:me", b"lease")
    proxy.cut()  # the store may not have noticed yet, and publish to the lost connection
    await until(lambda: client.publish("{t}:wake:me", b"stop") and not heard.woken_by.empty())
    assert heard.woken_by.get_nowait() == ("{t}:wake:me", b"stop")


async def test_a_watcher_learns_whether_the_store_was_started_anew(calls: StoreCalls, proxy: FaultyProxy) -> None:
    heard = Heard()
    calls.listen(heard)
    proxy.cut()
    await asyncio.wait_for(heard.again.wait(), 5)
    assert heard.connections == [calls.server_id]
    assert len(calls.server_id) == 40


async def test_calls_that_wait_fail_when_the_connection_is_closed(proxy: FaultyProxy) -> None:
    async with opened(proxy.url) as calls:
        proxy.freeze()
        waiting = calls.call("look", (0, "x"), patience_s=60.0)
        await asyncio.sleep(0)
    for each in (waiting, calls.call("look", (0, "x"))):
        with pytest.raises(StoreUnavailable, match="closed"):
            await each


async def test_figures_count_calls_and_their_time(calls: StoreCalls) -> None:
    await submit(calls, "a")
    await calls.call("look", (0, "a"))
    figures = calls.figures
    assert (figures.calls["submit"], figures.calls["look"]) == (1, 1)
    assert sum(figures.counts) == sum(figures.calls.values())
    assert 0 < figures.sum_s < 5
    assert figures.p50_s() is not None
    assert figures.server.startswith(("Valkey ", "Redis "))
