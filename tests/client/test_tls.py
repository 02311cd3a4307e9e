"""Both clients over TLS and over a Unix socket: what they trust, show, and say when a handshake fails."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.certificates import load_context
from jobqueue.client import Client, SyncClient, Unreachable, address_of
from jobqueue.config.tls import TlsSettings
from jobqueue.http.transport.accept import Acceptor
from tests.authority import Authority, openssl
from tests.client.calling import calling
from tests.http.secure import Secure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.http.serving import Serving

    Starting = Callable[..., Awaitable[Secure]]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("URL", "KEY", "CA_FILE", "CERT_FILE", "CERT_KEY_FILE"):
        monkeypatch.delenv(f"JOBQUEUE_{name}", raising=False)


@pytest.fixture(params=[Client, SyncClient])
def make(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
async def secure(start: Callable[..., Awaitable[Serving]], authority: Authority) -> AsyncIterator[Starting]:
    opened: list[Secure] = []

    async def secure(name: str = "DNS:localhost", client_ca: Path | None = None) -> Secure:
        cert, key = authority.issue("server", names=name)
        files = TlsSettings(cert=str(cert), key=str(key), client_ca=str(client_ca) if client_ca else None)
        context = load_context(files)
        assert context is not None
        server = Secure(await start(server={"hosts": ["localhost"]}), authority, context)
        opened.append(server)
        await server.listen()
        return server

    yield secure
    for each in opened:
        each.close()


# -- TLS


async def test_a_client_trusts_the_given_authority(kind: str, secure: Starting, authority: Authority) -> None:
    server = await secure()
    async with calling(kind, f"https://localhost:{server.port}", ca_file=authority.cert) as call:
        assert await call("run", "echo", {"value": 1}) == 1
        job = await call("submit", "echo", {"value": 2})
        assert [event.state for event in await call("events", job.id)][-1] == "succeeded"


async def test_a_client_takes_files_from_the_environment(
    kind: str, secure: Starting, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await secure(client_ca=authority.cert)
    cert, key = authority.issue("client", "/CN=ci", "")
    monkeypatch.setenv("JOBQUEUE_CA_FILE", str(authority.cert))
    monkeypatch.setenv("JOBQUEUE_CERT_FILE", str(cert))
    monkeypatch.setenv("JOBQUEUE_CERT_KEY_FILE", str(key))
    async with calling(kind, f"https://localhost:{server.port}") as call:
        job = await call("submit", "echo")
    assert (await server.serving.service.backend.get(job.id)).caller == "cert:ci"


async def test_a_certificate_and_its_key_may_be_in_one_file(
    kind: str, secure: Starting, authority: Authority, tmp_path: Path
) -> None:
    server = await secure(client_ca=authority.cert)
    cert, key = authority.issue("both", "/CN=both", "")
    both = tmp_path / "both.pem"
    await asyncio.to_thread(both.write_bytes, key.read_bytes() + cert.read_bytes())
    async with calling(kind, f"https://localhost:{server.port}", ca_file=authority.cert, cert_file=both) as call:
        assert await call("run", "echo", {"value": 3}) == 3


@pytest.mark.parametrize(
    ("name", "trusted", "why"),
    [("DNS:localhost", False, "certificate verify failed"), ("DNS:jobs.example.com", True, "localhost")],
    ids=["unknown authority", "another name"],
)
async def test_a_server_that_is_not_trusted_is_unreachable(
    kind: str, secure: Starting, authority: Authority, name: str, trusted: bool, why: str
) -> None:
    server = await secure(name)
    options = {"ca_file": authority.cert} if trusted else {}
    async with calling(kind, f"https://localhost:{server.port}", **options) as call:
        with pytest.raises(Unreachable, match=why):
            await call("submit", "echo")


async def test_the_rejection_of_a_client_without_a_certificate_names_the_reason(
    kind: str, secure: Starting, authority: Authority
) -> None:
    server = await secure(client_ca=authority.cert)
    async with calling(kind, f"https://localhost:{server.port}", ca_file=authority.cert) as call:
        with pytest.raises(Unreachable, match="rejects the client's certificate, or wants one"):
            await call("submit", "echo")


async def test_the_error_of_a_client_without_tls_names_https(kind: str, secure: Starting) -> None:
    server = await secure()
    async with calling(kind, f"http://localhost:{server.port}", retry_reads_for_s=0.0) as call:
        with pytest.raises(Exception, match="https://"):
            await call("queues")


def test_files_that_cannot_be_used_are_an_error_that_names_them(
    make: Any, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = authority.issue("used", "/CN=used", "")
    locked, junk, missing = tmp_path / "locked.key", tmp_path / "junk", tmp_path / "missing"
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)
    junk.write_text("junk")
    url = "https://localhost:1"
    for options, message in (
        ({"ca_file": missing}, f"{missing} can't be read: No such file"),
        ({"ca_file": junk}, f"{junk} has no certificate"),
        ({"cert_file": missing}, f"{missing} can't be read: No such file"),
        ({"cert_file": cert, "cert_key_file": missing}, f"{missing} can't be read: No such file"),
        ({"cert_file": cert}, f"{cert}: no certificate with its private key"),
        ({"cert_file": cert, "cert_key_file": locked}, f"the private key in {locked} is encrypted"),
        ({"cert_key_file": key}, "a cert_key_file needs a cert_file"),
    ):
        with pytest.raises(ValueError, match=message):
            make(url, **options)
    for other in ("http://localhost:1", "unix:/run/s.sock"):
        with pytest.raises(ValueError, match="ca_file need a URL that begins with https://"):
            make(other, ca_file=authority.cert)
    monkeypatch.setenv("JOBQUEUE_CA_FILE", str(missing))
    make("http://localhost:1")
    with pytest.raises(ValueError, match="can't be read"):
        make(url)


# -- Unix sockets


async def test_a_client_uses_a_unix_socket(kind: str, serving: Serving, tmp_path: Path) -> None:
    listener = await Acceptor(serving.server.on_unix).listen_at(str(tmp_path / "s.sock"), 0o600)
    for url in (f"unix:{tmp_path}/s.sock", f"unix://{tmp_path}/s.sock"):
        async with calling(kind, url, headers={"Host": "h"}) as call:
            assert await call("run", "echo", {"value": 1}) == 1
            job = await call("submit", "echo", {"value": 2})
            assert [event.state for event in await call("events", job.id)][-1] == "succeeded"
            assert (await serving.service.backend.get(job.id)).caller == f"uid:{os.getuid()}"
    listener.close()


async def test_a_unix_socket_without_a_server_is_unreachable(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "none.sock"
    async with calling(kind, f"unix:{path}") as call:
        with pytest.raises(Unreachable, match=f"unix:{path} can't be reached: No such file or directory"):
            await call("submit", "echo")


@pytest.mark.parametrize("url", ["unix:", "unix://", "unix://host/s.sock", "unix:/run/", "unix:/a\nb", "unix:///run/"])
def test_a_unix_url_is_a_path(make: Any, url: str) -> None:
    with pytest.raises(ValueError, match=r"not (a server URL|the URL of a Unix socket)"):
        make(url)


def test_a_unix_url_has_a_key_and_headers_like_others() -> None:
    address = address_of("unix:/run/s.sock", {"X": "1"}, "jq_7f3k_abc")
    assert (address.socket, address.name, repr(address)) == (
        "/run/s.sock",
        "unix:/run/s.sock",
        "Address('unix:/run/s.sock', headers: X, Authorization)",
    )
    with pytest.raises(ValueError, match="two credentials"):
        address_of("unix:/run/s.sock", {"Authorization": "Bearer x"}, "jq_7f3k_abc")
