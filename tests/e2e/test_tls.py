"""TLS and the Unix socket of a server process, as openssl and curl see them, and the reload of certificates."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.authority import Authority
from tests.e2e.processes import ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    started: list[ServerProcess] = []

    def serve(*settings: str) -> ServerProcess:
        started.append(ServerProcess(tmp_path, None, *settings))
        return started[-1]

    yield serve
    for server in started:
        with server:
            pass


def secure(serve: Callable[..., ServerProcess], authority: Authority, *more: str) -> ServerProcess:
    cert, key = authority.issue("server")
    return serve(f"server.tls.cert={cert}", f"server.tls.key={key}", *more)


def curl(*arguments: object) -> subprocess.CompletedProcess[str]:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    return subprocess.run(
        ["curl", "-sS", "-m", "20", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def serial_of(url: str, authority: Authority) -> str:
    host, port = url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as wire,
        authority.client_context().wrap_socket(wire, server_hostname=host) as tls,
    ):
        shown = tls.getpeercert()
    assert shown is not None
    return str(shown["serialNumber"])


def test_openssl_verifies_the_server_and_reads_its_answer(
    serve: Callable[..., ServerProcess], authority: Authority
) -> None:
    server = secure(serve, authority)
    address = server.url.removeprefix("https://")
    request = f"GET /livez HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    client = ["openssl", "s_client", "-connect", address]
    command = [*client, "-CAfile", str(authority.cert), "-verify_return_error", "-ign_eof"]
    seen = subprocess.run(command, input=request, capture_output=True, text=True, timeout=20, check=False).stdout
    assert "Verify return code: 0 (ok)" in seen
    assert "HTTP/1.1 200 OK" in seen
    assert '{"status":"alive"}' in seen
    command = [*client, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0"]
    too_old = subprocess.run(command, input="", capture_output=True, text=True, timeout=20, check=False)
    assert too_old.returncode != 0


def test_curl_needs_a_client_certificate_where_an_authority_of_clients_is_set(
    serve: Callable[..., ServerProcess], authority: Authority
) -> None:
    server = secure(serve, authority, f"server.tls.client_ca={authority.cert}")
    cert, key = authority.issue("client", "/CN=ci", "")
    trusting = ("--cacert", authority.cert, f"{server.url}/v1/jobs")
    submission = ("-H", "Content-Type: application/json", "-H", "Prefer: wait=5", "-d", '{"type": "echo"}')
    answered = curl("--cert", cert, "--key", key, "-w", "%{http_code}", *submission, *trusting)
    assert answered.stdout.endswith("200"), answered
    refused = curl("-w", "%{http_code}", *submission, *trusting)
    assert refused.returncode != 0
    assert refused.stdout == "000"
    assert "tls.handshake_failed" in [event["event"] for event in [server.wait_for("tls.handshake_failed")]]


def test_curl_reaches_a_server_that_has_only_a_unix_socket(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    server = serve("server.port=null", f"server.socket={path}", "server.socket_mode=0660")
    assert server.url == f"unix:{path}"
    answered = curl("--unix-socket", path, "-w", "%{http_code}", "http://localhost/readyz")
    assert answered.stdout.endswith("200"), answered
    assert path.stat().st_mode & 0o777 == 0o660
    os.kill(server.pid, signal.SIGTERM)
    assert server.process.wait(20) == 0
    assert not path.exists()


def test_a_killed_server_is_followed_on_its_socket_and_a_running_one_is_not(
    serve: Callable[..., ServerProcess], tmp_path: Path
) -> None:
    setting = f"server.socket={tmp_path / 's.sock'}"
    first = serve(setting)
    first.wait_for("server.listening")
    second = serve(setting)
    assert "is in use" in second.wait_for("server.failed")["reason"]
    first.process.kill()
    first.process.wait(20)
    third = serve("server.port=null", setting)
    assert third.url == f"unix:{tmp_path / 's.sock'}"


def test_a_hangup_gives_new_certificates_to_new_connections_and_keeps_the_old_ones_where_a_file_is_faulty(
    serve: Callable[..., ServerProcess], authority: Authority
) -> None:
    cert, key = authority.issue("served")
    server = serve(f"server.tls.cert={cert}", f"server.tls.key={key}")
    before = serial_of(server.url, authority)
    whole = key.read_bytes()

    host, port = server.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port))) as wire,
        authority.client_context().wrap_socket(wire, server_hostname=host) as kept,
    ):
        key.write_text("no key")
        os.kill(server.pid, signal.SIGHUP)
        assert f"server.tls.key: {key}: no private key" in server.wait_for("config.invalid")["fault"]
        assert serial_of(server.url, authority) == before

        key.write_bytes(whole)
        authority.issue("served")
        os.kill(server.pid, signal.SIGHUP)
        server.wait_for("config.reloaded")
        assert serial_of(server.url, authority) != before

        kept.sendall(f"GET /livez HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
        assert kept.recv(64).startswith(b"HTTP/1.1 200 ")


def test_a_start_with_a_faulty_certificate_names_it(serve: Callable[..., ServerProcess], tmp_path: Path) -> None:
    server = serve(f"server.tls.cert={tmp_path / 'none.pem'}", f"server.tls.key={tmp_path / 'none.key'}")
    reason = server.wait_for("server.failed")["reason"]
    assert f"server.tls.cert: {tmp_path / 'none.pem'}: No such file or directory" in reason
    assert server.process.wait(20) == 1
