"""Socket activation: inherited sockets in place of the server's own, and those that don't fit its settings."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest

from jobqueue.activation import Activation
from jobqueue.config import Settings
from jobqueue.config.metrics import MetricsSettings
from jobqueue.config.settings import ServerSettings
from jobqueue.errors import ConfigError
from jobqueue.process.inherited_sockets import InheritedSocket, InheritedSockets
from tests.authority import Authority
from tests.e2e.activated import activated
from tests.e2e.processes import ROOT, ServerProcess

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

POST = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 30\r\nConnection: close\r\n\r\n{"type":"echo","args":{"a":1}}'
)


@pytest.fixture
def keep() -> Iterator[Callable[[socket.socket], socket.socket]]:
    """Closes what it was given at the end of the test."""
    kept: list[socket.socket] = []

    def keep(wire: socket.socket) -> socket.socket:
        kept.append(wire)
        return wire

    yield keep
    for wire in kept:
        wire.close()


def tcp(host: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)


def unix(path: Path, mode: int = 0o600) -> socket.socket:
    wire = socket.socket(socket.AF_UNIX)
    wire.bind(str(path))
    path.chmod(mode)
    wire.listen()
    return wire


def port_of(wire: socket.socket) -> int:
    port: int = wire.getsockname()[1]
    return port


def answer_of(client: socket.socket) -> bytes:
    client.settimeout(30)
    return b"".join(iter(lambda: client.recv(65_536), b""))


# -- servers


def test_a_connection_between_two_servers_waits_for_the_second(
    tmp_path: Path, keep: Callable[[socket.socket], socket.socket]
) -> None:
    wire = keep(tcp())
    port = f"server.port={port_of(wire)}"
    with activated(tmp_path, {"jobqueue.socket": wire}, port) as first:
        assert first.wait_for("server.listening")["inherited"] is True
        with socket.create_connection(wire.getsockname()) as client:
            client.sendall(POST)
            assert answer_of(client).startswith(b"HTTP/1.1 202 ")
        assert first.stop() == 0
    with socket.create_connection(wire.getsockname()) as client:
        client.sendall(POST)
        with activated(tmp_path, {"jobqueue.socket": wire}, port) as second:
            assert answer_of(client).startswith(b"HTTP/1.1 202 ")
            assert second.stop() == 0


def test_an_inherited_port_has_tls(tmp_path: Path, keep: Callable[[socket.socket], socket.socket]) -> None:
    authority, wire = Authority(tmp_path / "authority"), keep(tcp())
    cert, key = authority.issue("server")
    settings = (f"server.port={port_of(wire)}", f"server.tls.cert={cert}", f"server.tls.key={key}")
    with activated(tmp_path, {"web": wire}, *settings) as server:
        assert server.url == f"https://127.0.0.1:{port_of(wire)}"
        client = http.client.HTTPSConnection("127.0.0.1", port_of(wire), context=authority.client_context(), timeout=30)
        with closing(client):
            client.request("GET", "/livez")
            assert client.getresponse().status == 200


def test_the_file_of_an_inherited_unix_socket_stays_when_the_server_stops(
    tmp_path: Path, keep: Callable[[socket.socket], socket.socket]
) -> None:
    path = tmp_path / "s.sock"
    wire = keep(unix(path, 0o660))
    settings = ("server.port=null", f"server.socket={path}", "server.socket_mode=0660")
    with activated(tmp_path, {"web": wire}, *settings) as server:
        assert server.url == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            client.sendall(POST)
            assert answer_of(client).startswith(b"HTTP/1.1 202 ")
        assert server.stop() == 0
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_the_socket_named_metrics_is_the_port_of_the_metrics(
    tmp_path: Path, keep: Callable[[socket.socket], socket.socket]
) -> None:
    wire, metrics = keep(tcp()), keep(tcp())
    settings = (f"server.port={port_of(wire)}", f"metrics.listen=127.0.0.1:{port_of(metrics)}")
    with activated(tmp_path, {"metrics": metrics, "web": wire}, *settings) as server:
        assert server.wait_for("metrics.listening")["port"] == port_of(metrics)
        for port, path, status in (
            (port_of(metrics), "/metrics", 200),
            (port_of(metrics), "/livez", 404),
            (port_of(wire), "/livez", 200),
        ):
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
                client.request("GET", path)
                assert client.getresponse().status == status


def test_a_server_with_a_socket_that_does_not_fit_does_not_start(
    tmp_path: Path, keep: Callable[[socket.socket], socket.socket]
) -> None:
    wire = keep(tcp())
    with activated(tmp_path, {"web": wire}, "server.port=1") as server:
        reason = server.wait_for("server.failed")["reason"]
        assert server.exit_code() == 1
    told = f"127.0.0.1:{port_of(wire)} (web)"
    assert reason == f"server.port: {told} was inherited, and the port is set to 1: make them the same"


def test_sockets_for_another_process_are_left_alone(tmp_path: Path) -> None:
    with ServerProcess(tmp_path, environment={"LISTEN_FDS": "1", "LISTEN_PID": "1"}) as server:
        assert server.wait_for("server.sockets_ignored")["reason"].startswith("LISTEN_FDS=1 is for process 1, and ")
        assert server.wait_for("server.listening")["inherited"] is False


def test_the_reloading_server_refuses_inherited_sockets(
    tmp_path: Path, keep: Callable[[socket.socket], socket.socket]
) -> None:
    wire = keep(tcp())
    code = (
        "import os, sys; os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid())); "
        "os.dup2(int(sys.argv[1]), 3); "
        "os.execv(sys.executable, [sys.executable, '-m', 'jobqueue', 'serve', '--reload'])"
    )
    command = [sys.executable, "-c", code, str(wire.fileno())]
    done = subprocess.run(
        command, cwd=ROOT, pass_fds=[wire.fileno()], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("--reload can't serve inherited sockets")


def test_systemd_starts_a_server_at_its_first_connection(tmp_path: Path) -> None:
    program = shutil.which("systemd-socket-activate")
    if program is None:
        pytest.skip("systemd-socket-activate is not installed (package systemd)")
    with tcp() as free:
        port = port_of(free)
    under = [program, f"--listen=127.0.0.1:{port}", "--fdname=jobqueue.socket"]
    wrapped = subprocess.Popen(
        [*under, sys.executable, "-m", "jobqueue", "serve", f"--port={port}", f"--set=spool.dir={tmp_path}"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        with closing(_connected(port)) as client:
            client.sendall(POST)
            assert answer_of(client).startswith(b"HTTP/1.1 202 ")
        wrapped.terminate()
        assert wrapped.stderr is not None
        lines = wrapped.stderr.read().splitlines()
        assert wrapped.wait(30) == 0
    finally:
        with suppress(ProcessLookupError):
            wrapped.kill()
        wrapped.wait()
        assert wrapped.stderr is not None
        wrapped.stderr.close()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    [listening] = [each for each in events if each["event"] == "server.listening"]
    assert listening["inherited"] is True


def _connected(port: int) -> socket.socket:
    """Connect as soon as systemd listens."""
    until = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port))
        except ConnectionRefusedError:
            assert time.monotonic() < until
            time.sleep(0.02)


# -- variables


def test_taken_sockets_are_inherited_by_no_child() -> None:
    with tcp() as wire:
        os.set_inheritable(wire.fileno(), True)
        environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "PATH": "/bin"}
        sockets = InheritedSockets()
        sockets.take(environ, first=wire.fileno())
        assert sockets.all == [InheritedSocket("web", wire.fileno())]
        assert not os.get_inheritable(wire.fileno())
    assert environ == {"PATH": "/bin"}


@pytest.mark.parametrize(
    ("count", "names", "fault"),
    [
        ("x", "web", "LISTEN_FDS=x: not a number of sockets from 1 to 64"),
        ("0", "", "LISTEN_FDS=0: not a number of sockets from 1 to 64"),
        ("65", "", "LISTEN_FDS=65: not a number of sockets from 1 to 64"),
        ("-1", "", "LISTEN_FDS=-1: not a number of sockets from 1 to 64"),
        ("\u0661", "", "LISTEN_FDS=\u0661: not a number of sockets from 1 to 64"),
        ("2", "web", "LISTEN_FDNAMES has 1 names, and LISTEN_FDS=2"),
        ("1", "", "LISTEN_FDS=1, and descriptor 1000000 (unknown) is not open"),
    ],
)
def test_a_wrong_variable_is_a_fault(count: str, names: str, fault: str) -> None:
    sockets = InheritedSockets()
    sockets.take({"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": count, "LISTEN_FDNAMES": names}, first=1_000_000)
    assert sockets.fault == fault
    with pytest.raises(ConfigError, match="LISTEN_FD"):
        Activation(sockets, Settings())


# -- sockets and settings


def faults_of(settings: Settings, **sockets: socket.socket) -> list[str]:
    """Return the faults of a server that inherits sockets, by name, with the ports left out."""
    inherited = InheritedSockets()
    # Copies: they belong to the activation.
    inherited.all = [InheritedSocket(name, os.dup(wire.fileno())) for name, wire in sockets.items()]
    try:
        Activation(inherited, settings).close()
    except ConfigError as error:
        return list(error.faults)
    return []


def server(
    host: str = "127.0.0.1", port: int | None = 0, socket: Path | None = None, socket_mode: str = "0600"
) -> Settings:
    path = None if socket is None else str(socket)
    return Settings(server=ServerSettings(host=host, port=port, socket=path, socket_mode=socket_mode))


def test_sockets_that_equal_the_settings_fit(tmp_path: Path, keep: Callable[[socket.socket], socket.socket]) -> None:
    path = tmp_path / "s.sock"
    wire, of_unix = keep(tcp()), keep(unix(path))
    assert faults_of(server(port=port_of(wire), socket=path), web=wire, local=of_unix) == []
    assert faults_of(server(), web=wire) == []
    assert faults_of(server("localhost"), web=wire) == []
    assert faults_of(server("0.0.0.0"), web=keep(tcp("0.0.0.0"))) == []
    assert faults_of(server("0.0.0.0"), web=keep(tcp("::"))) == []


def test_an_address_that_is_not_the_hosts_is_a_fault(keep: Callable[[socket.socket], socket.socket]) -> None:
    wire = keep(tcp("::"))
    [fault] = faults_of(server(), web=wire)
    assert fault == (
        f"server.host: [::]:{port_of(wire)} (web) was inherited, and the host is set to 127.0.0.1: set it to ::, or "
        f"ListenStream=127.0.0.1:{port_of(wire)} in the socket unit"
    )


def test_a_port_is_inherited_if_anything_is(tmp_path: Path, keep: Callable[[socket.socket], socket.socket]) -> None:
    path = tmp_path / "s.sock"
    wire = keep(unix(path))
    [fault] = faults_of(server(port=8080, socket=path), web=wire)
    assert fault == (
        f"server.port: is 8080, and only {path} (web) was inherited: add ListenStream=127.0.0.1:8080 to the socket "
        "unit, or set server.port to null"
    )


def test_a_port_that_is_not_set_is_not_inherited(
    tmp_path: Path, keep: Callable[[socket.socket], socket.socket]
) -> None:
    path = tmp_path / "s.sock"
    wire, of_unix = keep(tcp()), keep(unix(path))
    [fault] = faults_of(server(port=None, socket=path), web=wire, local=of_unix)
    assert fault.startswith(f"server.port: is null, and 127.0.0.1:{port_of(wire)} (web) was inherited: ")


def test_a_unix_socket_is_inherited_if_anything_is(
    tmp_path: Path, keep: Callable[[socket.socket], socket.socket]
) -> None:
    path = tmp_path / "s.sock"
    [fault] = faults_of(server(socket=path), web=keep(tcp()))
    assert fault.startswith(f"server.socket: is {path}, and only 127.0.0.1:")


def test_a_unix_socket_has_the_path_and_the_mode_that_are_set(
    tmp_path: Path, keep: Callable[[socket.socket], socket.socket]
) -> None:
    path, wire = tmp_path / "s.sock", keep(unix(tmp_path / "s.sock", 0o666))
    [fault] = faults_of(server(port=None, socket=path), web=wire)
    assert fault == (
        f"server.socket_mode: is 0600, and {path} (web) has 0666: make it the same as SocketMode= in the socket "
        "unit, which is 0666 by default"
    )
    [fault] = faults_of(server(port=None, socket=tmp_path / "other", socket_mode="0666"), web=wire)
    assert fault == (
        f"server.socket: {path} (web) was inherited, and the path is set to {tmp_path / 'other'}: make them the same"
    )
    [fault] = faults_of(server(port=0), web=keep(tcp()), local=wire)
    assert fault == (
        f"server.socket: is not set, and {path} (local) was inherited: set it to that path, or remove it from the "
        "socket unit"
    )


def test_a_second_unix_socket_is_a_fault(tmp_path: Path, keep: Callable[[socket.socket], socket.socket]) -> None:
    first, second = keep(unix(tmp_path / "s.sock")), keep(unix(tmp_path / "other.sock"))
    [fault] = faults_of(server(port=None, socket=tmp_path / "s.sock"), a=first, b=second)
    assert fault.endswith("(b) is a second Unix socket: the server has one, server.socket")


def test_metrics_are_inherited_where_they_are_set(keep: Callable[[socket.socket], socket.socket]) -> None:
    wire, metrics = keep(tcp()), keep(tcp())
    [fault] = faults_of(server(), web=wire, metrics=metrics)
    assert fault.startswith(f"127.0.0.1:{port_of(metrics)} (metrics) is named metrics, and metrics.listen is not set")
    settings = Settings(server=ServerSettings(port=0), metrics=MetricsSettings(listen="127.0.0.1:1"))
    [fault] = faults_of(settings, web=wire, metrics=metrics)
    assert fault.startswith("metrics.listen: ")
    assert fault.endswith("and the port is set to 1: make them the same")


def test_anything_but_a_listening_stream_socket_is_a_fault(keep: Callable[[socket.socket], socket.socket]) -> None:
    accepted, other = socket.socketpair()
    keep(other)
    [fault] = faults_of(server(), web=keep(accepted))
    assert fault.endswith("(web) does not listen: set Accept=no in the socket unit")
    datagrams = keep(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    [fault] = faults_of(server(), web=datagrams)
    assert fault.endswith("(web) is no stream socket: use ListenStream= in the socket unit")
    inherited = InheritedSockets()
    reader, writer = os.pipe()
    inherited.all = [InheritedSocket("web", reader)]
    with pytest.raises(ConfigError, match="is no socket: the unit may have ListenStream= only"):
        Activation(inherited, server())
    os.close(reader)
    os.close(writer)
