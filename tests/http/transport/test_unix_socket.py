"""The Unix socket: its file, its requests and its callers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import aiohttp
import pytest

from jobqueue.errors import ConfigError
from jobqueue.folder_lock import locked
from jobqueue.http.transport import unix_socket
from jobqueue.http.transport.accept import Acceptor
from jobqueue.http.transport.unix_socket import UnixSocket
from tests.http.serving import post, read_answer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from tests.http.serving import Serving


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "s.sock"


def fault_of(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        UnixSocket(str(path), 0o600)
    [fault] = raised.value.faults
    return fault.removeprefix(f"server.socket: {path}: ")


@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666])
def test_the_file_has_the_mode_that_is_set(path: Path, mode: int) -> None:
    mask = os.umask(0o077)
    try:
        made = UnixSocket(str(path), mode)
        assert os.umask(0o077) == 0o077
    finally:
        os.umask(mask)
    with made.wire:
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_the_socket_of_a_server_that_is_gone_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    made = UnixSocket(str(path), 0o600)
    made.wire.listen()
    with made.wire, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_socket_in_use_is_a_fault(path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        if kind is socket.SOCK_STREAM:
            other.listen()
        assert fault_of(path) == "is in use: another server listens there"
        assert path.exists()


def test_of_servers_that_start_at_once_one_at_a_time_looks_and_binds(path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, socket.socket(socket.AF_UNIX) as other:
        with locked(path.parent, wait_s=5):
            fault = pool.submit(fault_of, path)
            other.bind(str(path))
            other.listen()
        assert fault.result(5) == "is in use: another server listens there"


def test_a_socket_is_in_use_from_its_begin(path: Path) -> None:
    with UnixSocket(str(path), 0o600).wire:
        assert fault_of(path) == "is in use: another server listens there"


def test_a_lock_that_is_never_released_keeps_no_server_from_starting(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_socket, "LOCK_S", 0.01)
    with locked(path.parent, wait_s=5), UnixSocket(str(path), 0o600).wire:
        assert path.exists()


def test_a_socket_with_a_full_backlog_is_in_use(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(str(path))
        other.listen(0)
        client.connect(str(path))
        assert fault_of(path) == "is in use: another server listens there"


def test_another_kind_of_file_is_a_fault_and_is_kept(path: Path) -> None:
    path.write_text("precious")
    assert fault_of(path) == "exists, and is no socket: it is not overwritten"
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to("elsewhere")
    assert fault_of(path) == "exists, and is no socket: it is not overwritten"


def test_a_path_that_can_have_no_socket_is_a_fault(tmp_path: Path) -> None:
    assert fault_of(tmp_path / "none" / "s.sock") == "can't be made: No such file or directory"
    assert "a socket's may have 107" in fault_of(tmp_path / ("x" * 120))


def test_the_file_is_removed_unless_it_is_another_ones(path: Path) -> None:
    first = UnixSocket(str(path), 0o600)
    first.remove()
    assert not path.exists()
    second = UnixSocket(str(path), 0o600)
    path.unlink()
    third = UnixSocket(str(path), 0o600)
    second.remove()
    assert path.exists()
    for each in (first, second, third):
        each.wire.close()


@pytest.mark.parametrize("fast_path", [True, False], ids=["fast", "stock"])
async def test_requests_over_the_socket_belong_to_the_user_of_the_process(
    start: Callable[..., Awaitable[Serving]], path: Path, fast_path: bool
) -> None:
    serving = await start(server={"fast_path": fast_path, "hosts": ["h"]})
    listener = await Acceptor(serving.server.on_unix).listen_at(str(path), 0o600)
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(post(b'{"type": "echo", "args": {"value": 1}}', "Prefer: wait=5"))
    answer = await read_answer(reader)
    writer.close()
    listener.close()
    assert (answer.status, json.loads(answer.rest)["result"]) == (200, 1)
    job = await serving.service.backend.get(json.loads(answer.rest)["id"])
    assert job.caller == f"uid:{os.getuid()}"


async def test_the_host_over_the_socket_is_localhost_or_a_listed_name(
    start: Callable[..., Awaitable[Serving]], path: Path
) -> None:
    serving = await start(server={"hosts": []})
    listener = await Acceptor(serving.server.on_unix).listen_at(str(path), 0o600)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session:
        async with session.get("http://localhost/livez") as answer:
            assert answer.status == 200
        async with session.get("http://rebound.example.com/livez") as answer:
            assert answer.status == 421
    listener.close()


async def test_a_client_that_reads_nothing_over_the_socket_is_cut(
    start: Callable[..., Awaitable[Serving]], path: Path
) -> None:
    serving = await start(limits={"write_timeout_s": 0.2, "body_bytes": 2**20})
    listener = await Acceptor(serving.server.on_unix).listen_at(str(path), 0o600)
    reader, writer = await asyncio.open_unix_connection(path, limit=2**20)
    body = json.dumps({"type": "echo", "args": {"value": "x" * 500_000}}).encode()
    writer.write(post(body, "Prefer: wait=5"))
    location = (await read_answer(reader)).headers["location"]
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(f"GET {location} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 40)
    while serving.server.open:
        await asyncio.sleep(0.01)
    writer.close()
    listener.close()
