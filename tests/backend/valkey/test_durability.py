"""What an accepted job survives: a replica has it, or the disk, before the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.store import Store, free_ports
from jobqueue.errors import StoreUnavailable
from tests.backend.valkey.faulty_proxy import FaultyProxy
from tests.backend.valkey.test_calls import NEW, QUEUE, THERE, Heard, code_of, opened, submit, until
from tests.stores import client_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def primary() -> Iterator[Store]:
    (port,) = free_ports(1)
    with Store("--repl-diskless-sync-delay", "0", port=port) as store:
        yield store


@pytest.fixture
def replica(primary: Store) -> Iterator[Store]:
    """A replica that follows the primary."""
    with Store("--replicaof", f"127.0.0.1 {primary.port}") as store:
        client = client_of(primary)
        client.set("{t}:probe", 1)
        assert client.wait(1, 10_000) == 1
        client.close()
        yield store


async def test_a_durable_submission_is_on_the_replica_when_it_is_answered(primary: Store, replica: Store) -> None:
    async with opened(primary.url, durability="replica", call_timeout_s=2.0) as calls:
        await calls.call("set_queue", QUEUE)
        many = [submit(calls, f"job-{number}", durable=True) for number in range(100)]
        assert [await code_of(each) for each in many] == [NEW] * 100
        primary.kill()
        client = client_of(replica)
        assert all(client.exists(f"{{t}}:j:job-{number}") for number in range(100))
        client.close()


async def test_a_submission_that_no_replica_confirms_is_not_accepted(primary: Store, replica: Store) -> None:
    async with opened(primary.url, durability="replica", call_timeout_s=0.4) as calls:
        await calls.call("set_queue", QUEUE)
        replica.freeze()
        with pytest.raises(StoreUnavailable, match="has not confirmed that it is kept: only 0 of 1 confirmed in time"):
            await submit(calls, "a", durable=True)
        assert (await calls.call("look", (0, "a")))[1] is not None  # it may exist all the same
        assert calls.figures.errors == {"unconfirmed": 1}
        replica.thaw()
        client = client_of(primary)
        await until(lambda: client.wait(1, 100) == 1)
        client.close()
        assert await code_of(submit(calls, "a", durable=True)) == THERE


async def test_a_lost_durable_connection_is_the_reason_of_a_rejection(
    primary: Store, replica: Store, caplog: pytest.LogCaptureFixture
) -> None:
    client = client_of(primary)
    async with opened(primary.url, durability="replica", call_timeout_s=0.4) as calls:
        await calls.call("set_queue", QUEUE)
        assert await code_of(submit(calls, "a", durable=True)) == NEW
        client.config_set("maxclients", 1)
        (kept,) = [each["id"] for each in client.client_list() if each["cmd"] == "wait"]
        client.client_kill_filter(_id=kept)
        with pytest.raises(StoreUnavailable, match="max number of clients reached"):
            await submit(calls, "b", durable=True)
        assert (await calls.call("look", (0, "a")))[1] is not None
        client.config_set("maxclients", 10_000)
        assert await code_of(submit(calls, "b", durable=True, patience_s=30.0)) == NEW
    client.close()
    assert caplog.text.count("store.keeps_nothing") == 1


async def test_submissions_wait_for_one_confirmation_together(primary: Store, replica: Store) -> None:
    client = client_of(primary)
    async with opened(primary.url, durability="replica", call_timeout_s=10.0) as calls:
        await calls.call("set_queue", QUEUE)
        replica.freeze()
        many = []
        for number in range(6):
            many.append(submit(calls, f"job-{number}", durable=True))
            await calls.call("look", (0, "x"))  # a turn, and a reply
        replica.thaw()
        assert [await code_of(each) for each in many] == [NEW] * 6
    assert client.info("commandstats")["cmdstat_wait"]["calls"] <= 1 + 2  # that of the fixture, the first, the others
    client.close()


async def test_an_unconfirmed_submission_is_sent_again_when_its_connection_is_lost(
    primary: Store, replica: Store, tmp_path: Path
) -> None:
    proxy = FaultyProxy(tmp_path, replica.url)
    proxy.lead_to(f"127.0.0.1:{primary.port}")
    async with proxy, opened(proxy.url, durability="replica", call_timeout_s=5.0) as calls:
        await calls.call("set_queue", QUEUE)
        replica.freeze()
        submitted = submit(calls, "a", durable=True, patience_s=30.0)
        client = client_of(primary)
        await until(lambda: client.exists("{t}:j:a"))
        client.close()
        proxy.cut()
        await until(lambda: calls.figures.reconnects)
        replica.thaw()
        assert await code_of(submitted) == THERE


async def test_a_durable_submission_is_on_disk_when_it_is_answered(valkey_program: Path, tmp_path: Path) -> None:
    flags = ("--appendonly", "yes", "--appendfsync", "always")
    with Store(*flags, folder=tmp_path, program=valkey_program) as store:
        async with opened(store.url, durability="aof", call_timeout_s=5.0) as calls:
            await calls.call("set_queue", QUEUE)
            many = [submit(calls, f"job-{number}", durable=True) for number in range(100)]
            assert [await code_of(each) for each in many] == [NEW] * 100
            store.kill()
            store.start()
            assert [await code_of(submit(calls, f"job-{number}", patience_s=20.0)) for number in range(100)] == [
                THERE
            ] * 100


async def test_a_replica_that_takes_over_is_followed(primary: Store, replica: Store, tmp_path: Path) -> None:
    """The address stays, as that of a service or a name does, and leads to another server."""
    proxy = FaultyProxy(tmp_path, replica.url)
    proxy.lead_to(f"127.0.0.1:{primary.port}")
    async with proxy, opened(proxy.url) as calls:
        heard = Heard()
        calls.listen(heard)
        await calls.call("set_queue", QUEUE)
        assert await code_of(submit(calls, "a")) == NEW
        before = calls.server_id
        client = client_of(primary)
        assert client.wait(1, 5000) == 1
        client.close()
        primary.kill()
        follower = client_of(replica)
        follower.replicaof("NO", "ONE")
        follower.close()
        proxy.lead_to(None)
        proxy.cut()
        assert await code_of(submit(calls, "a", patience_s=20.0)) == THERE
        assert calls.server_id != before
        assert heard.connections[-1] == calls.server_id
