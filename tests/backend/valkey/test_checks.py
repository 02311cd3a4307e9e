"""A store that does not fit is refused at the start, with every fault and what would be right."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench.store import Store, free_ports
from jobqueue.backend.valkey import checks, library
from jobqueue.backend.valkey.opening import store_calls
from jobqueue.config import ValkeySettings
from jobqueue.errors import ConfigError
from tests.backend.valkey.faulty_proxy import FaultyProxy

if TYPE_CHECKING:
    import redis

ROOT = Path(__file__).parents[3]


async def faults_of(url: str, *, start_s: float = 10.0, **changes: Any) -> list[str]:
    """Open a store; return why it is refused, without the name of the setting's address."""
    calls = store_calls(ValkeySettings(url=url, namespace="t", **changes))
    try:
        await calls.open(start_s)
    except ConfigError as error:
        return [*error.faults]
    finally:
        await calls.close()
    return []


async def test_a_store_that_fits_is_accepted(store: Store) -> None:
    assert await faults_of(store.url) == []


async def test_a_store_that_is_not_there_is_tried_for_a_while(tmp_path: Path) -> None:
    (fault,) = await faults_of(f"unix://{tmp_path}/none.sock", start_s=0.2)
    assert fault.startswith(f"valkey.url: unix://{tmp_path}/none.sock: ")
    assert fault.endswith(": start the store, or correct the address (tried for 0.2 s)")
    (fault,) = await faults_of("redis://user:secret@127.0.0.1:1/0", start_s=0.1)
    assert "redis://user:***@127.0.0.1:1/0" in fault


async def test_a_store_that_comes_up_late_is_accepted(store: Store, tmp_path: Path) -> None:
    proxy = FaultyProxy(tmp_path, store.url)
    calls = store_calls(ValkeySettings(url=proxy.url, namespace="t"))
    try:
        opening = asyncio.ensure_future(calls.open())
        await asyncio.sleep(0.1)
        assert not opening.done()
        await proxy.listen()
        await opening
    finally:
        await calls.close()
        await proxy.__aexit__()


async def test_all_faults_are_reported_at_once(store: Store, client: redis.Redis) -> None:
    client.config_set("maxmemory-policy", "allkeys-lru")
    client.hset("{t}:meta", "format", "9")
    try:
        found = await faults_of(store.url, durability="replica")
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    assert found == [
        "valkey.url: its maxmemory-policy is allkeys-lru, so it would throw jobs away when its memory is full: set "
        "maxmemory-policy noeviction there",
        "valkey.durability: replica needs a replica of the store, and none is connected: connect one (after a failover "
        "the old primary), or set async until there is one",
        "valkey.namespace: t has jobs in format 9, and this version knows 1: run the version that made them, or take "
        "another namespace",
    ]


@pytest.mark.parametrize(("off_s", "side"), [(-4000.0, "ahead of"), (4000.0, "behind")])
async def test_a_clock_that_is_off_by_an_hour_is_a_fault(
    store: Store, monkeypatch: pytest.MonkeyPatch, off_s: float, side: str
) -> None:
    now = checks.time.time
    monkeypatch.setattr(checks.time, "time", lambda: now() + off_s)
    (fault,) = await faults_of(store.url)
    assert fault in [
        f"valkey.url: its clock is {seconds} s {side} this machine's: set both, by NTP"
        for seconds in ("4,000", "3,999")
    ]


async def test_a_clock_that_is_off_by_seconds_is_a_warning(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = checks.time.time
    monkeypatch.setattr(checks.time, "time", lambda: now() - 60)
    assert await faults_of(store.url) == []
    assert "store.clock_differs" in caplog.text


async def test_a_replica_is_refused(store: Store, client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", 1)
    try:
        (fault,) = await faults_of(store.url)
    finally:
        client.replicaof("NO", "ONE")
    assert fault.endswith("it is a replica, and no primary: give the address of the primary, or set valkey.sentinels")


async def test_a_cluster_is_refused(shared_store: Store) -> None:
    (port,) = free_ports(1)
    with Store("--cluster-enabled", "yes", "--cluster-port", str(port)) as cluster:
        found = await faults_of(cluster.url)
    assert found == [
        "valkey.url: it is a cluster; use a server that is none, with replicas and sentinels for availability"
    ]


async def test_an_old_version_is_refused(store: Store, tmp_path: Path) -> None:
    text = b"redis_version:6.2.14\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n"
    async with FaultyProxy(tmp_path, store.url) as proxy:
        proxy.lie(b"memory", b"$%d\r\n%b\r\n" % (len(text), text))
        found = await faults_of(proxy.url)
    assert found == ["valkey.url: it is Redis 6.2.14; version 7.0 or later is needed, of Valkey or Redis"]


async def test_a_server_of_another_protocol_is_refused(store: Store, tmp_path: Path) -> None:
    async with FaultyProxy(tmp_path, store.url) as proxy:
        for _ in range(20):
            proxy.lie(b"SETNAME", b"HTTP/1.1 400 Bad Request\r\n\r\n")
        (fault,) = await faults_of(proxy.url, start_s=0.2)
    assert "valkey.url: " in fault


@pytest.mark.parametrize(
    ("flags", "found"),
    [
        ((), "valkey.durability: aof needs appendonly yes in the store's configuration, and it is no"),
        (
            ("--appendonly", "yes", "--appendfsync", "everysec"),
            "valkey.durability: aof needs appendfsync always in the store's configuration, not everysec",
        ),
    ],
)
async def test_durability_on_disk_needs_a_store_that_syncs_always(
    valkey_program: Path, flags: tuple[str, ...], found: str
) -> None:
    with Store(*flags, program=valkey_program) as store:
        assert await faults_of(store.url, durability="aof") == [found]


async def test_a_setting_that_a_service_does_not_tell_is_a_warning(
    valkey_program: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = ("--appendonly", "yes", "--appendfsync", "always", "--rename-command", "CONFIG", "")
    with Store(*flags, program=valkey_program) as store:
        assert await faults_of(store.url, durability="aof") == []
    assert "store.unchecked" in caplog.text


async def test_the_library_of_another_build_is_replaced(
    store: Store, client: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    other = f"#!lua name={library.library_name()}\nredis.register_function('jq1_old', function() return 1 end)\n"
    client.function_load(other)
    assert await faults_of(store.url) == []
    assert "store.library_replaced" in caplog.text
    caplog.clear()
    assert await faults_of(store.url) == []
    assert "store.library_replaced" not in caplog.text


@pytest.mark.parametrize("name", ["redis", "hiredis"])
def test_a_server_without_the_extra_says_how_to_install_it(name: str) -> None:
    script = f"""
from tests.packaging.blocked import block
block({name!r})
import jobqueue.http, jobqueue.server, jobqueue.backend.valkey.calls
from jobqueue.backend.valkey.opening import store_calls
from jobqueue.config import ValkeySettings
from jobqueue.errors import ConfigError
try:
    store_calls(ValkeySettings())
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == (
        f"backend: valkey needs {name}, which is not installed: pip install 'ephemeral-jobqueue[valkey]'\n"
    ), done.stderr


def test_the_format_is_that_of_the_library() -> None:
    """The number is in Lua, which writes it, and here, where it is compared."""
    parts = ROOT / "jobqueue/backend/valkey/lua/processes.lua"
    assert f"local FORMAT = {checks.FORMAT}\n" in parts.read_text()
