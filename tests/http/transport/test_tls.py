"""TLS: handshakes, bytes, limits and client certificates, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import ssl
from typing import TYPE_CHECKING

import pytest

from jobqueue.certificates import load_context
from jobqueue.config.tls import TlsSettings
from jobqueue.http.transport import tls as tls_module
from jobqueue.http.transport.read_budget import PORTION
from tests.authority import Authority, Certificate
from tests.http.secure import Secure
from tests.http.serving import Answer, post, read_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.http.serving import Serving

    Starting = Callable[..., Awaitable[Secure]]

GET = b"GET /livez HTTP/1.1\r\nHost: h\r\n\r\n"
CLOSE = "Connection: close"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Certificate:
    return authority.issue("server")


class Client:
    """A client that sends bytes of its own choice: TLS in memory, over a plain connection."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")

    async def shake_hands(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, piece: int = 65536) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._send(writer, piece)
                self.incoming.write(await reader.read(65536))
            else:
                await self._send(writer, piece)
                return

    async def _send(self, writer: asyncio.StreamWriter, piece: int) -> None:
        data = self.outgoing.read()
        for at in range(0, len(data), piece):
            writer.write(data[at : at + piece])
            await asyncio.sleep(0)

    def key_update(self) -> bytes:
        """Return a record that changes the client's key."""
        library, inner = self.library()
        assert library.SSL_key_update(inner, 0) == 1
        library.SSL_do_handshake(inner)
        return self.outgoing.read()

    def library(self) -> tuple[ctypes.CDLL, ctypes.c_void_p]:
        """Return libssl and its object, for what Python's ssl has no function for."""
        with open("/proc/self/maps") as maps:
            libraries = [line.split()[-1] for line in maps if "libssl" in line]
        if not libraries:
            pytest.skip("needs a libssl that is a library of its own")
        library = ctypes.CDLL(libraries[0])
        # CPython: an SSLObject's own object is a head of two words, the socket, and the SSL of libssl.
        inner = ctypes.c_void_p.from_address(id(self.tls._sslobj) + 3 * ctypes.sizeof(ctypes.c_void_p))  # type: ignore[attr-defined]
        return library, inner

    async def read_to_end(self, reader: asyncio.StreamReader) -> bytes:
        """Return all plain bytes up to the server's close_notify."""
        plain = b""
        while True:
            try:
                got = self.tls.read(65536)
            except ssl.SSLWantReadError:
                data = await asyncio.wait_for(reader.read(65536), 20)
                assert data, "the connection ended without a close_notify"
                self.incoming.write(data)
            except ssl.SSLZeroReturnError:
                return plain
            else:
                if not got:
                    return plain
                plain += got


@pytest.fixture
async def secure(
    start: Callable[..., Awaitable[Serving]], authority: Authority, certificate: Certificate
) -> AsyncIterator[Starting]:
    """Start a server with TLS."""
    opened: list[Secure] = []

    async def secure(client_ca: Path | None = None, **settings: dict[str, object]) -> Secure:
        serving = await start(**settings)
        files = TlsSettings(
            cert=str(certificate.cert), key=str(certificate.key), client_ca=str(client_ca) if client_ca else None
        )
        context = load_context(files)
        assert context is not None
        made = Secure(serving, authority, context)
        opened.append(made)
        await made.listen()
        return made

    yield secure
    for each in opened:
        each.close()


@pytest.fixture(params=[True, False], ids=["fast", "stock"])
def path(request: pytest.FixtureRequest) -> dict[str, object]:
    return {"fast_path": request.param}


# -- requests


async def test_a_job_is_submitted_and_read_over_tls(secure: Starting, path: dict[str, object]) -> None:
    server = await secure(server={"hosts": ["h"], **path})
    async with server.connect() as (reader, writer):
        writer.write(post(b'{"type": "echo", "args": {"value": 7}}', "Prefer: wait=5"))
        answer = await read_answer(reader)
        assert (answer.status, json.loads(answer.rest)["result"]) == (200, 7)
        for _ in range(3):
            writer.write(f"HEAD {answer.headers['location']} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")


async def test_requests_of_any_size_and_in_any_pieces_arrive_whole(secure: Starting) -> None:
    server = await secure(limits={"body_bytes": 2**20})
    value = "x" * 300_000
    body = json.dumps({"type": "echo", "args": {"value": value}}).encode()
    async with server.connect() as (reader, writer):
        writer.write(post(body, "Prefer: wait=5"))
        answer = await read_answer(reader)
        assert json.loads(answer.rest)["result"] == value
        request = post(b'{"type": "echo"}', "Prefer: wait=5")
        for at in range(len(request)):
            writer.write(request[at : at + 1])
            await asyncio.sleep(0)
        assert (await read_answer(reader)).status == 200
    async with server.connect() as (reader, writer):
        writer.write(GET * 500)
        for _ in range(500):
            assert (await read_answer(reader)).status == 200


async def test_a_result_file_is_sent_over_tls(secure: Starting) -> None:
    server = await secure()
    async with server.connect() as (reader, writer):
        writer.write(post(b'{"type": "report", "args": {"size": 2000000}}', "Prefer: wait=5"))
        location = (await read_answer(reader)).headers["location"]
        writer.write(f"GET {location}/result HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        assert (await read_answer(reader)).rest == b"r" * 2_000_000


async def test_only_http_1_1_is_agreed_on_and_tls_1_1_is_rejected(secure: Starting) -> None:
    server = await secure()
    context = server.authority.client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with server.connect(context) as (_, writer):
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        assert (tls.selected_alpn_protocol(), tls.version(), tls.compression()) == ("http/1.1", "TLSv1.3", None)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with server.connect(context) as (_, writer):
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    old = server.authority.client_context()
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with server.connect(old):
            pass


async def test_a_client_that_ends_its_side_gets_its_answers_and_then_the_end(
    secure: Starting,
) -> None:
    server = await secure()
    client = Client(server.authority.client_context())
    async with server.connect_plainly() as (reader, writer):
        await client.shake_hands(reader, writer)
        client.tls.write(GET + GET)
        with contextlib.suppress(ssl.SSLWantReadError):
            client.tls.unwrap()  # close_notify
        writer.write(client.outgoing.read())
        plain = await client.read_to_end(reader)
        assert plain.count(b"HTTP/1.1 200 OK") == 2


async def test_a_hello_may_come_byte_by_byte(secure: Starting) -> None:
    server = await secure()
    client = Client(server.authority.client_context())
    async with server.connect_plainly() as (reader, writer):
        await client.shake_hands(reader, writer, piece=1)
        client.tls.write(post(b"{}", CLOSE))
        writer.write(client.outgoing.read())
        assert Answer(await client.read_to_end(reader)).status == 422


# -- what is not TLS


async def test_http_without_tls_is_answered_with_the_way_to_use_it(secure: Starting) -> None:
    server = await secure()
    async with server.connect_plainly() as (reader, writer):
        writer.write(GET)
        answer = Answer(await reader.read())
        assert (answer.status, answer.kind) == (400, "malformed-request")
        assert "https://" in answer.problem["detail"]


@pytest.mark.parametrize(
    "data", [b"\x00" * 100, b"\x80\x2e\x01\x03\x01" + b"\x00" * 60, b"\x16\x03\x01\xff\xff" + b"\xff" * 300]
)
async def test_bytes_that_are_neither_tls_nor_http_end_the_connection(secure: Starting, data: bytes) -> None:
    server = await secure()
    async with server.connect_plainly() as (reader, writer):
        writer.write(data)
        writer.write_eof()
        await reader.read()
    assert not server.tls.handshakes
    assert server.serving.server.open == 0


async def test_a_broken_record_ends_its_connection_only(secure: Starting) -> None:
    server = await secure()
    client = Client(server.authority.client_context())
    async with server.connect() as (other, others), server.connect_plainly() as (reader, writer):
        await client.shake_hands(reader, writer)
        writer.write(b"\x17\x03\x03\x00\x20" + b"\x00" * 32)
        with contextlib.suppress(ConnectionError):
            await reader.read()
        others.write(GET)
        assert (await read_answer(other)).status == 200


async def test_a_hello_on_a_port_without_tls_is_answered_as_malformed(serving: Serving, authority: Authority) -> None:
    client = Client(authority.client_context())
    async with serving.connect() as (reader, writer):
        with pytest.raises(ssl.SSLWantReadError):
            client.tls.do_handshake()
        writer.write(client.outgoing.read())
        answer = Answer(await reader.read())
        assert (answer.status, answer.kind) == (400, "malformed-request")
        assert answer.problem["detail"] == "Received HTTPS traffic on an HTTP port"


# -- bounds


async def test_a_stalled_handshake_is_cut_after_the_idle_timeout(secure: Starting) -> None:
    server = await secure(limits={"idle_timeout_s": 0.1})
    async with server.connect_plainly() as (reader, writer):
        writer.write(b"\x16\x03\x01")
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
    assert not server.tls.handshakes


async def test_stalled_handshakes_take_no_connection_from_others(
    secure: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_module, "REJECTED_MAX", 5)
    server = await secure(server={"hosts": ["h"], "connections_max": 2})
    async with contextlib.AsyncExitStack() as stalled:
        for _ in range(4):
            await stalled.enter_async_context(server.connect_plainly())
        async with server.connect() as (reader, writer):
            writer.write(GET)
            assert (await read_answer(reader)).status == 200


async def test_stalled_handshakes_of_a_peer_over_its_connections_take_no_room(secure: Starting) -> None:
    server = await secure(server={"hosts": ["h"]}, limits={"caller_connections_max": 2})
    async with contextlib.AsyncExitStack() as stalled:
        for _ in range(2):
            await stalled.enter_async_context(server.connect_plainly())
        async with asyncio.timeout(5):
            while len(server.tls.handshakes) < 2:
                await asyncio.sleep(0)
        async with server.connect_plainly() as (reader, _):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
    async with asyncio.timeout(5):
        while server.tls.handshakes:
            await asyncio.sleep(0)
    assert not server.tls.by_peer
    async with server.connect() as (reader, writer), server.connect():
        writer.write(GET)
        assert (await read_answer(reader)).status == 200
        async with server.connect() as (rejected, _):
            assert Answer(await rejected.read()).status == 429


async def test_handshakes_are_not_limited_by_address_where_clients_have_certificates(
    secure: Starting, authority: Authority
) -> None:
    limits: dict[str, object] = {"caller_connections_max": 1}
    server = await secure(authority.cert, server={"hosts": ["h"]}, limits=limits)
    shown = authority.client_context(authority.issue("ann"))
    async with server.connect_plainly(), server.connect_plainly(), server.connect(shown) as (reader, writer):
        writer.write(GET)
        assert (await read_answer(reader)).status == 200


async def test_a_listed_proxy_has_any_number_of_handshakes(secure: Starting) -> None:
    limits: dict[str, object] = {"caller_connections_max": 1}
    server = await secure(server={"hosts": ["h"], "proxies": ["127.0.0.1"]}, limits=limits)
    async with server.connect_plainly(), server.connect_plainly(), server.connect() as (reader, writer):
        writer.write(GET)
        assert (await read_answer(reader)).status == 200


async def test_a_client_that_changes_its_keys_without_end_is_cut(secure: Starting, authority: Authority) -> None:
    server = await secure(server={"hosts": ["h"]})
    client = Client(authority.client_context())
    async with server.connect_plainly() as (reader, writer):
        await client.shake_hands(reader, writer)
        updates = b"".join(client.key_update() for _ in range(4000))
        client.tls.write(GET)
        writer.write(updates[: 27 * 1000])
        writer.write(updates[27 * 1000 :])
        with contextlib.suppress(ConnectionError):
            while await asyncio.wait_for(reader.read(65536), 10):
                pass
    async with server.connect() as (reader, writer):
        writer.write(GET)
        assert (await read_answer(reader)).status == 200


async def test_a_few_changes_of_keys_and_the_smallest_records_are_no_fault(
    secure: Starting, authority: Authority
) -> None:
    server = await secure(server={"hosts": ["h"]})
    client = Client(authority.client_context())
    async with server.connect_plainly() as (reader, writer):
        await client.shake_hands(reader, writer)
        for _ in range(100):
            writer.write(client.key_update())
            for byte in GET:
                client.tls.write(bytes([byte]))
            writer.write(client.outgoing.read())
        client.tls.write(GET.replace(b"\r\n\r\n", f"\r\n{CLOSE}\r\n\r\n".encode()))
        writer.write(client.outgoing.read())
        assert (await client.read_to_end(reader)).count(b"HTTP/1.1 200 ") == 101


async def test_padded_records_are_no_fault(secure: Starting, authority: Authority) -> None:
    server = await secure(server={"hosts": ["h"]})
    client = Client(authority.client_context())
    library, inner = client.library()
    assert library.SSL_set_block_padding(inner, 8192) == 1
    async with server.connect_plainly() as (reader, writer):
        await client.shake_hands(reader, writer)
        for _ in range(99):
            client.tls.write(GET)
        client.tls.write(GET.replace(b"\r\n\r\n", f"\r\n{CLOSE}\r\n\r\n".encode()))
        data = client.outgoing.read()
        assert len(data) > 100 * 8192
        writer.write(data)
        assert (await client.read_to_end(reader)).count(b"HTTP/1.1 200 ") == 100


async def test_records_without_content_are_work_of_the_read_budget(secure: Starting, authority: Authority) -> None:
    server = await secure(server={"hosts": ["h"]})
    client = Client(authority.client_context())
    async with server.connect_plainly() as (reader, writer):
        await client.shake_hands(reader, writer)
        left = server.serving.server.read_budget.left
        writer.write(b"".join(client.key_update() for _ in range(1500)))
        async with asyncio.timeout(5):
            while server.serving.server.read_budget.left == left:
                await asyncio.sleep(0)


async def test_sockets_beyond_all_handshakes_are_reset(secure: Starting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_module, "REJECTED_MAX", 1)
    server = await secure(server={"hosts": ["h"], "connections_max": 1})
    async with contextlib.AsyncExitStack() as stalled:
        for _ in range(2):
            await stalled.enter_async_context(server.connect_plainly())
        while len(server.tls.handshakes) < 2:
            await asyncio.sleep(0)
        async with server.connect_plainly() as (reader, _):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        assert len(server.tls.handshakes) == 2


async def test_a_connection_over_the_limit_reads_its_503(secure: Starting) -> None:
    server = await secure(server={"hosts": ["h"], "connections_max": 1})
    async with server.connect() as (reader, writer):
        writer.write(GET)
        await read_answer(reader)
        async with server.connect() as (rejected, _):
            answer = Answer(await rejected.read())
        assert (answer.status, answer.kind) == (503, "too-many-connections")


async def test_a_client_that_reads_nothing_is_cut(secure: Starting) -> None:
    server = await secure(limits={"write_timeout_s": 0.2, "body_bytes": 2**20})
    body = json.dumps({"type": "echo", "args": {"value": "x" * 500_000}}).encode()
    async with server.connect() as (reader, writer):
        writer.write(post(body, "Prefer: wait=5"))
        location = (await read_answer(reader)).headers["location"]
    client = Client(server.authority.client_context())
    async with server.connect_plainly() as (reader, writer):
        await client.shake_hands(reader, writer)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        client.tls.write(f"GET {location} HTTP/1.1\r\nHost: h\r\n\r\n".encode() * 40)
        writer.write(client.outgoing.read())
        while server.serving.server.open:
            await asyncio.sleep(0.01)


async def test_handshakes_of_one_loop_iteration_share_the_read_budget(
    secure: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_module, "HANDSHAKE_COST", 2 * PORTION)
    server = await secure()
    async with contextlib.AsyncExitStack() as connected:
        for _ in range(5):
            await connected.enter_async_context(server.connect_plainly())
        while len(server.tls.handshakes) < 5:
            await asyncio.sleep(0)
        handshakes = list(server.tls.handshakes)
        for handshake in handshakes:
            client = Client(server.authority.client_context())
            with contextlib.suppress(ssl.SSLWantReadError):
                client.tls.do_handshake()
            handshake.data_received(client.outgoing.read())
        assert [handshake.is_reading() for handshake in handshakes] == [True] + 4 * [False]
        while not all(handshake.is_reading() for handshake in handshakes):
            await asyncio.sleep(0)


async def test_a_page_of_this_server_has_the_scheme_of_its_connection(secure: Starting) -> None:
    server = await secure()
    async with server.connect() as (reader, writer):
        for origin, status in (("https://h", 200), ("http://h", 403)):
            writer.write(GET.replace(b"\r\n\r\n", f"\r\nOrigin: {origin}\r\n\r\n".encode()))
            assert (await read_answer(reader)).status == status


# -- certificates


async def test_a_new_context_concerns_new_connections_only(secure: Starting) -> None:
    server = await secure()
    other = server.authority.issue("renewed")
    async with server.connect() as (reader, writer):
        before = writer.get_extra_info("ssl_object").getpeercert()["serialNumber"]
        context = load_context(TlsSettings(cert=str(other.cert), key=str(other.key)))
        assert context is not None
        server.tls.context = context
        async with server.connect() as (_, new):
            assert new.get_extra_info("ssl_object").getpeercert()["serialNumber"] != before
        writer.write(GET)
        assert (await read_answer(reader)).status == 200


@pytest.mark.parametrize(
    ("subject", "names", "caller"),
    [
        ("/O=Example/CN=ci-runner", "DNS:ci.example.com", "cert:ci-runner"),
        ("/O=Example", "URI:spiffe://example.com/ci,DNS:ci.example.com", "cert:spiffe://example.com/ci"),
        ("/O=Example", "email:ci@example.com", "cert:ci@example.com"),
    ],
)
async def test_the_name_in_a_client_certificate_is_the_caller(
    secure: Starting,
    authority: Authority,
    path: dict[str, object],
    subject: str,
    names: str,
    caller: str,
) -> None:
    server = await secure(client_ca=authority.cert, server={"hosts": ["h"], **path})
    certificate = server.authority.issue(f"client-{len(names)}", subject, names)
    async with server.connect(server.authority.client_context(certificate)) as (reader, writer):
        writer.write(post(b'{"type": "echo"}'))
        id = json.loads((await read_answer(reader)).rest)["id"]
    job = await server.serving.service.backend.get(id)
    assert job.caller == caller


async def test_a_client_certificate_without_a_name_or_with_a_long_one_is_named_by_its_digest(
    secure: Starting, authority: Authority
) -> None:
    server = await secure(client_ca=authority.cert)
    long_name = f"URI:spiffe://example.com/{'x' * 200}"
    for file, names in (("nameless", ""), ("long", long_name)):
        certificate = authority.issue(file, "/O=Example", names)
        async with server.connect(authority.client_context(certificate)) as (reader, writer):
            writer.write(post(b'{"type": "echo"}'))
            id = json.loads((await read_answer(reader)).rest)["id"]
        caller = (await server.serving.service.backend.get(id)).caller
        assert caller is not None
        assert caller.startswith("cert:sha256:")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_client_without_a_certificate_or_with_a_foreign_one_is_rejected(
    secure: Starting, authority: Authority, tmp_path: Path, version: ssl.TLSVersion
) -> None:
    server = await secure(client_ca=authority.cert)
    foreign = Authority(tmp_path / "foreign", "foreign").issue("client", "/CN=ci-runner", "")
    expired = authority.issue("expired", "/CN=ci-runner", "", days=-1)
    for certificate in (None, foreign, expired):
        context = authority.client_context(certificate)
        context.minimum_version = context.maximum_version = version
        # In TLS 1.3 the client's handshake is over before the server has seen its certificate.
        with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
            await ask(server, context)
    assert server.serving.server.requests_count == server.serving.server.fast_answers == 0
    assert not server.tls.handshakes


async def ask(server: Secure, context: ssl.SSLContext) -> None:
    async with server.connect(context) as (reader, writer):
        writer.write(GET)
        await read_answer(reader)


async def test_a_certificate_is_shown_anew_by_each_connection(secure: Starting, authority: Authority) -> None:
    server = await secure(client_ca=authority.cert)
    context = authority.client_context(authority.issue("again", "/CN=again", ""))
    for version in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2):
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
        for _ in range(2):
            async with server.connect(context) as (reader, writer):
                writer.write(GET)
                await read_answer(reader)
                tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
                assert not tls.session_reused
                assert tls.session is None or not tls.session.has_ticket
