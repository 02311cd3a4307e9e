"""Access to a real server: which addresses it refuses, and keys that change at SIGHUP."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from typing import TYPE_CHECKING

import aiohttp
import pytest

from jobqueue.config.auth import is_loopback
from jobqueue.config.load import load
from jobqueue.errors import ConfigError
from tests.e2e.test_server import running, submit
from tests.http.keyed import ANN, BOB, auth, bearer

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1"])
def test_another_address_without_keys_is_a_fault_of_the_settings(tmp_path: Path, host: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"server": {"host": host}}))
    with pytest.raises(ConfigError, match=r"config\.yaml:1:21: server\.host: other machines can reach this address"):
        load(path, environ={})
    for section in ({"none": True}, {"keys_file": str(tmp_path / "keys.yaml")}, auth("ann")):
        (tmp_path / "keys.yaml").touch()
        path.write_text(json.dumps({"server": {"host": host}, "auth": section}))
        assert load(path, environ={}).server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", "localhost"])
def test_a_loopback_address_needs_no_keys(tmp_path: Path, host: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(json.dumps({"server": {"host": host}}))
    assert load(path, environ={}).server.host == host


async def test_a_server_without_keys_does_not_start_on_a_name_of_another_address(tmp_path: Path) -> None:
    name = socket.gethostname()
    try:
        addresses = {str(entry[4][0]) for entry in socket.getaddrinfo(name, 0)}
    except OSError:
        addresses = set()
    if not addresses or all(map(is_loopback, addresses)):
        pytest.skip(f"the name of this machine, {name}, has no other address than loopback ones")
    async with running(tmp_path, server={"host": name}) as server:
        assert await server.exit_code() == 1
    reason = (await server.event("server.failed"))["reason"]
    for word in ("auth.keys", "auth.none", "server.host"):
        assert word in reason


async def test_the_command_line_names_the_flag_of_an_open_address() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "jobqueue", "serve", "--host", "0.0.0.0"), stderr=asyncio.subprocess.PIPE
    )
    _, told = await process.communicate()
    assert process.returncode == 2
    assert told.startswith(b"--host: other machines can reach this address")


async def test_keys_reload_at_sighup_and_a_faulty_file_changes_nothing(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(json.dumps(auth("ann")["keys"]))
    settings = {"server": {"host": "0.0.0.0"}, "auth": {"keys_file": str(keys)}}
    async with running(tmp_path, **settings) as server, aiohttp.ClientSession(await server.url()) as http:
        async with http.get("/v1/queues") as response:
            assert response.status == 401
        assert (await server.event("auth.failed"))["count"] == 1
        http.headers.update(bearer(ANN))
        job_id = await submit(http, "sleep", seconds=60)
        wait = asyncio.create_task(http.get(f"/v1/jobs/{job_id}", headers={"Prefer": "wait=50"}))

        keys.write_text("ann: {scopes: [reed]}")
        server.process.send_signal(signal.SIGHUP)
        assert "did you mean 'read'" in (await server.event("config.invalid"))["fault"]
        async with http.get(f"/v1/jobs/{job_id}") as response:
            assert response.status == 202
        assert not wait.done()

        keys.write_text(json.dumps(auth("bob")["keys"]))
        server.process.send_signal(signal.SIGHUP)
        changed = (await server.event("config.reloaded"))["changed"]
        assert {"auth.keys.ann": "removed", "auth.keys.bob": "added"}.items() <= changed.items()
        async with await wait as response:
            assert response.status == 401
        for key, status in ((ANN, 401), (BOB, 404)):
            async with http.get(f"/v1/jobs/{job_id}", headers=bearer(key)) as response:
                assert response.status == status
        assert ANN.secret not in json.dumps(server.log)


async def test_a_reload_never_opens_an_address_to_requests_without_a_key(tmp_path: Path) -> None:
    settings = {"server": {"host": "0.0.0.0"}, "auth": auth("ann")}
    async with running(tmp_path, **settings) as server, aiohttp.ClientSession(await server.url()) as http:
        assert "server.exposed" not in {entry["event"] for entry in server.log}
        path = tmp_path / "settings.yaml"
        found = json.loads(path.read_text())
        del found["auth"]
        path.write_text(json.dumps(found))
        server.process.send_signal(signal.SIGHUP)
        assert "auth.keys" in (await server.event("config.invalid"))["fault"]
        async with http.get("/v1/queues") as response:
            assert response.status == 401
