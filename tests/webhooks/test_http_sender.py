"""Messages over HTTP, to servers on loopback: which address is connected to, and what counts as an answer."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from jobqueue.config.webhooks import ENDPOINTS_MAX
from jobqueue.webhooks.addresses import Allowed
from jobqueue.webhooks.http_sender import LOOKUPS_MAX, HttpSender
from jobqueue.webhooks.message import AddressRefused, Answer, Message, Undelivered
from tests.authority import Authority

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Receiver:
    """A server that gives each connection the same bytes as its answer.

    Attributes:
        requests: The heads and bodies that it got.
        closed: Set when the client has closed a connection.
    """

    def __init__(self, answer: bytes) -> None:
        self.requests: list[bytes] = []
        self.closed = asyncio.Event()
        self.port = 0
        self._answer = answer

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-len"))
        self.requests.append(head + await reader.readexactly(length))
        writer.write(self._answer)
        with suppress(ConnectionError):
            await reader.read()
        self.closed.set()
        writer.close()


@asynccontextmanager
async def receiver(answer: bytes = NO_CONTENT, host: str = "127.0.0.1") -> AsyncIterator[Receiver]:
    made = Receiver(answer)
    server = await asyncio.start_server(made.answer, host)
    made.port = server.sockets[0].getsockname()[1]
    async with server:
        yield made


def message(url: str, *allow: str, timeout_s: float = 10.0) -> Message:
    return Message(url=url, headers={"webhook-id": "msg_1"}, body=b"{}", allowed=Allowed(allow), timeout_s=timeout_s)


class Names:
    """Answers lookups: the addresses of each call in turn, the last ones again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)

    def __call__(self, host: str, port: None = None, **options: Any) -> list[Any]:
        self.asked.append(host)
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        families = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in found]
        return [
            (family, socket.SOCK_STREAM, 6, "", (address, 0)) for family, address in zip(families, found, strict=True)
        ]


async def test_a_message_is_posted_with_its_headers_and_its_body() -> None:
    async with receiver() as there:
        answer = await HttpSender().send(message(f"http://127.0.0.1:{there.port}/hooks?a=1", "127.0.0.1"))
        assert answer == Answer(204)
        (request,) = there.requests
        assert request.startswith(b"POST /hooks?a=1 HTTP/1.1\r\n")
        assert b"\r\nwebhook-id: msg_1\r\n" in request
        assert request.endswith(b"\r\n\r\n{}")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "[fe80::1]", "10.0.0.1"]
)
async def test_no_connection_is_made_to_an_address_that_is_not_listed(host: str) -> None:
    async with receiver() as there:
        with pytest.raises(AddressRefused, match=r"webhooks\.allow does not list it"):
            await HttpSender().send(message(f"http://{host}:{there.port}/"))
        assert there.requests == []


@pytest.mark.parametrize("host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost"])
async def test_no_notation_of_loopback_gets_past_the_check_of_addresses(host: str) -> None:
    async with receiver() as there:
        with pytest.raises(Undelivered):
            await HttpSender().send(message(f"http://{host}:{there.port}/"))
        assert there.requests == []


async def test_a_name_is_looked_up_once_for_a_message_and_refused_if_a_later_lookup_differs() -> None:
    names = Names(["127.0.0.2"], ["127.0.0.1"])
    async with receiver(host="127.0.0.2") as there:
        sender, asked = HttpSender(names), message(f"http://crm.test:{there.port}/", "127.0.0.2")
        assert await sender.send(asked) == Answer(204)
        assert names.asked == ["crm.test"]
        with pytest.raises(AddressRefused, match=r"127\.0\.0\.1 is a loopback address"):
            await sender.send(asked)
        assert len(there.requests) == 1


async def test_of_several_addresses_only_an_allowed_one_is_connected_to() -> None:
    async with receiver(host="127.0.0.2") as there:
        sender = HttpSender(Names(["169.254.169.254", "::1", "127.0.0.2"]))
        assert await sender.send(message(f"http://crm.test:{there.port}/", "127.0.0.2")) == Answer(204)
        assert b"\r\nHost: crm.test:" in there.requests[0]


@pytest.mark.parametrize("status", [200, 301, 302, 307, 308, 410, 500])
async def test_an_answer_is_returned_as_it_is_and_no_redirect_is_followed(status: int) -> None:
    async with receiver() as elsewhere:
        head = f"HTTP/1.1 {status} X\r\nLocation: http://127.0.0.1:{elsewhere.port}/\r\nContent-Length: 0\r\n\r\n"
        async with receiver(head.encode()) as there:
            answer = await HttpSender().send(message(f"http://127.0.0.1:{there.port}/", "127.0.0.1"))
            assert answer == Answer(status)
            assert len(there.requests) == 1
        assert elsewhere.requests == []


async def test_the_pause_that_a_receiver_asks_for_is_returned() -> None:
    for asked, told in (("120", 120.0), ("1e9999", None), ("99999999", 86_400.0), ("soon", None)):
        async with receiver(f"HTTP/1.1 503 X\r\nRetry-After: {asked}\r\n\r\n".encode()) as there:
            url = f"http://127.0.0.1:{there.port}/"
            assert await HttpSender().send(message(url, "127.0.0.1")) == Answer(503, told)


async def test_a_body_is_not_waited_for() -> None:
    async with receiver(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 100_000) as there:
        assert await HttpSender().send(message(f"http://127.0.0.1:{there.port}/", "127.0.0.1")) == Answer(200)
        await there.closed.wait()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 " + b"x" * 100_000,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * 100_000,
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\0" * 99 + b"\r\n\r\n",
    ],
)
async def test_an_answer_that_is_too_long_or_not_http_fails_without_being_quoted(answer: bytes) -> None:
    async with receiver(answer) as there:
        with pytest.raises(Undelivered, match=r"^127\.0\.0\.1 has not answered with HTTP/1\.1, or with a head that is"):
            await HttpSender().send(message(f"http://127.0.0.1:{there.port}/?token=secret", "127.0.0.1"))


async def test_a_receiver_that_does_not_answer_in_time_is_given_up() -> None:
    async with receiver(b"") as there:
        with pytest.raises(Undelivered, match=r"has not answered within 0\.2 s"):
            await HttpSender().send(message(f"http://127.0.0.1:{there.port}/", "127.0.0.1", timeout_s=0.2))


async def test_a_lookup_that_hangs_takes_no_longer_than_the_timeout() -> None:
    let_go = threading.Event()

    def hangs(*args: object, **options: object) -> list[Any]:
        let_go.wait(30)
        raise OSError

    try:
        with pytest.raises(Undelivered, match=r"has not answered within 0\.1 s"):
            await HttpSender(hangs).send(message("https://example.com/", timeout_s=0.1))
    finally:
        let_go.set()


async def test_a_receiver_with_a_slow_lookup_holds_up_no_other() -> None:
    let_go, asked = threading.Event(), []
    found = Names(["127.0.0.1"])

    def slow(host: str, port: None, **options: Any) -> list[Any]:
        asked.append(host)
        if host == "slow.test":
            let_go.wait(30)
        return found(host)

    async with receiver() as there:
        sender = HttpSender(slow)
        many = [sender.send(message(f"http://slow.test:{there.port}/", "127.0.0.1")) for _ in range(16)]
        waiting = [asyncio.ensure_future(each) for each in many]
        try:
            for host in ("crm.test", "127.0.0.1"):
                assert await sender.send(message(f"http://{host}:{there.port}/", "127.0.0.1")) == Answer(204)
            waiting[0].cancel()  # the lookup goes on for the others
        finally:
            let_go.set()
        assert await asyncio.gather(*waiting[1:]) == [Answer(204)] * 15
        assert sorted(asked) == ["crm.test", "slow.test"]


async def test_slow_lookups_of_all_other_names_hold_up_no_message() -> None:
    let_go, found = threading.Event(), Names(["127.0.0.1"])

    def hangs(host: str, port: None, **options: object) -> list[Any]:
        if host == "crm.test":
            return found(host)
        let_go.wait(30)
        raise OSError

    async with receiver() as there:
        sender = HttpSender(hangs)
        waiting = [
            asyncio.ensure_future(sender.send(message(f"https://slow-{number}.test/")))
            for number in range(2 * ENDPOINTS_MAX - 1)  # there may be as many hosts of callbacks
        ]
        await asyncio.sleep(0)
        try:
            for host in ("crm.test", "127.0.0.1"):
                assert await sender.send(message(f"http://{host}:{there.port}/", "127.0.0.1")) == Answer(204)
        finally:
            let_go.set()
        assert {type(each) for each in await asyncio.gather(*waiting, return_exceptions=True)} == {Undelivered}


async def test_lookups_go_on_after_threads_could_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async with receiver() as there:
        sender, asked = HttpSender(Names(["127.0.0.1"])), message(f"http://crm.test:{there.port}/", "127.0.0.1")
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", fails)
            for _ in range(LOOKUPS_MAX):
                with pytest.raises(Undelivered, match=r"crm\.test can't be reached"):
                    await sender.send(asked)
        assert await sender.send(asked) == Answer(204)


async def test_a_name_without_an_address_fails_with_that_reason() -> None:
    def unknown(*args: object, **options: object) -> list[Any]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(Undelivered, match=r"^example\.com can't be reached: its name can't be looked up$"):
        await HttpSender(unknown).send(message("https://example.com/?token=secret"))


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver() as proxy, receiver() as there:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        await HttpSender().send(message(f"http://127.0.0.1:{there.port}/", "127.0.0.1"))
        assert proxy.requests == []


async def test_interim_answers_come_before_the_answer_and_not_without_an_end() -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    async with receiver(early * 2 + NO_CONTENT) as there:
        assert await HttpSender().send(message(f"http://127.0.0.1:{there.port}/", "127.0.0.1")) == Answer(204)
    async with receiver(early * 1000) as there:
        with pytest.raises(Undelivered, match=r"has not answered with HTTP/1\.1"):
            await HttpSender().send(message(f"http://127.0.0.1:{there.port}/", "127.0.0.1"))


async def test_a_certificate_that_no_authority_has_issued_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    made = authority.issue("server", names="DNS:crm.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made)
    server = await asyncio.start_server(Receiver(NO_CONTENT).answer, "127.0.0.1", ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url, sender = f"https://crm.test:{port}/", HttpSender(Names(["127.0.0.1"]))
        with pytest.raises(Undelivered, match=r"^crm\.test can't be reached: its certificate is not valid for it$"):
            await sender.send(message(url, "crm.test"))
        sender._tls.load_verify_locations(authority.cert)
        assert await sender.send(message(url, "crm.test")) == Answer(204)
        with pytest.raises(Undelivered, match=r"its certificate is not valid for it$"):
            await sender.send(message(url.replace("crm", "erp"), "erp.test"))


async def test_a_receiver_without_tls_fails_with_that_reason() -> None:
    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(Undelivered, match=r"^127\.0\.0\.1 can't be reached: it speaks no TLS"):
            await HttpSender().send(message(f"https://127.0.0.1:{port}/", "127.0.0.1"))
