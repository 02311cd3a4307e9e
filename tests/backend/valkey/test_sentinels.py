"""Sentinels tell the store's address, also of the replica that has taken over."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from bench.store import Store, free_ports, is_taken
from jobqueue.backend.valkey.opening import store_calls
from jobqueue.config import ValkeySettings
from jobqueue.errors import ConfigError
from tests.backend.valkey.test_calls import NEW, QUEUE, THERE, Heard, code_of, opened, submit, until
from tests.stores import client_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "jobs"


@contextmanager
def sentinel(store: Store, folder: Path, more: str = "") -> Iterator[str]:
    """Run a sentinel that watches a store, with some more of its settings; yield its address."""
    (port,) = free_ports(1)
    file = folder / "sentinel.conf"
    file.write_text(f"""\
port {port}
bind 127.0.0.1
dir {folder}
sentinel monitor {NAME} 127.0.0.1 {store.port} 1
sentinel down-after-milliseconds {NAME} 300
sentinel failover-timeout {NAME} 3000
{more}
""")
    with (folder / "sentinel.log").open("ab") as log:
        child = subprocess.Popen([store.program, file, "--sentinel"], stdout=log, stderr=log)
    try:
        give_up_at = time.monotonic() + 10
        while not is_taken(port):
            assert time.monotonic() < give_up_at, (folder / "sentinel.log").read_text()
            time.sleep(0.02)
        yield f"127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()


async def test_a_failover_by_sentinels_is_followed(tmp_path: Path) -> None:
    ports = free_ports(2)
    with (
        Store("--repl-diskless-sync-delay", "0", port=ports[0]) as primary,
        Store("--replicaof", f"127.0.0.1 {primary.port}", port=ports[1]) as replica,
        sentinel(primary, tmp_path) as address,
    ):
        client = client_of(primary)
        client.set("probe", 1)
        assert client.wait(1, 10_000) == 1
        # The sentinel learns of the replica by asking the primary now and then.
        watching = client_of(Store(port=int(address.rpartition(":")[2])))
        await until(lambda: any(each["flags"] == "slave" for each in watching.sentinel_slaves(NAME)), 20)
        options = {"sentinels": ("127.0.0.1:1", address), "sentinel_name": NAME, "call_timeout_s": 1.0}
        async with opened("redis://not-used/0", **options) as calls:
            heard = Heard()
            calls.listen(heard)
            await calls.call("set_queue", QUEUE)
            assert await code_of(submit(calls, "a")) == NEW
            assert client.wait(1, 5000) == 1
            before = calls.server_id
            primary.kill()
            assert await code_of(submit(calls, "a", patience_s=40.0)) == THERE
            assert calls.server_id != before
            assert heard.losses
        follower = client_of(replica)
        assert follower.role()[0] == b"master"
        for each in (client, watching, follower):
            each.close()


async def test_sentinels_that_do_not_know_the_store_are_a_fault(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    with Store(port=port) as store, sentinel(store, tmp_path) as address:
        calls = store_calls(ValkeySettings(sentinels=(address,), sentinel_name="other"))
        with pytest.raises(ConfigError, match=f"valkey.url: other by the sentinels {address}: No master found for"):
            await calls.open(0.3)
        await calls.close()


async def test_a_sentinel_is_asked_as_its_user_with_the_password_of_a_file(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    file = tmp_path / "password"
    file.write_text("secret\n")
    users = "user default off\nuser jobs on >secret ~* &* +@all"
    with Store(port=port) as store, sentinel(store, tmp_path, users) as address:
        options = {"sentinels": (address,), "sentinel_name": NAME, "sentinel_user": "jobs"}
        async with opened("redis://not-used/0", **options, sentinel_password_file=str(file)) as calls:
            await calls.call("set_queue", QUEUE)
        calls = store_calls(ValkeySettings(**options, sentinel_password="other"))  # type: ignore[arg-type]  # its own
        with pytest.raises(ConfigError, match=f"by the sentinels {address}"):
            await calls.open(0.3)
        await calls.close()
