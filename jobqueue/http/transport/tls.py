"""TLS: the transport between a connection and its socket, and the handshakes under way.

OpenSSL works on memory (`ssl.MemoryBIO`); what it makes goes through the plain transport, so that the limits of
`connection` on reading, writing and bytes in flight hold as without TLS.

Rules:

1. A connection exists, and counts, from the end of its handshake. Handshakes must end within `idle_timeout_s`; they and
   the connections are together at most `connections_max` and `REJECTED_MAX` more, which get the 503 over TLS. Further
   sockets are reset before any cryptography.
   Where connections are limited for each peer, so are its handshakes, by a count of their own.
2. A handshake costs as much of the read budget as `HANDSHAKE_COST` answers: its signature takes about a millisecond.
   Received bytes without content cost it, too, and a client that sends nothing else is cut: a record that changes keys
   has 27 bytes, and takes 15 microseconds.
3. OpenSSL's buffers keep the size of the largest piece that they have held, so they get pieces of `PIECE_BYTES`.
4. A client that sends HTTP without TLS is told so, in HTTP. If a handshake fails, its client is sent the alert.
5. A change of the context concerns new connections only.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from jobqueue.http.cut import cut
from jobqueue.http.errors import MalformedRequest
from jobqueue.http.request.peer import peer_at
from jobqueue.http.response.problems import problem_of
from jobqueue.http.response.reply import problem_reply, raw_reply
from jobqueue.http.transport.rejected import REJECTED_MAX, Rejected
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobqueue.http.transport.buffers import CountingServer
    from jobqueue.http.transport.read_budget import Reader

PIECE_BYTES = 8 * 1024
"""OpenSSL is given, and asked for, so many bytes at once."""

RECORD_BYTES = 16 * 1024
"""The most that one record holds (RFC 8446, section 5.1)."""

HANDSHAKE_COST = 64

RECORD_COST_BYTES = 32
"""Received bytes without content that cost as much as an answer."""

EMPTY_BYTES_MAX = 64 * 1024
"""Such bytes in a row, above which a client is cut."""

REPLIES_BYTES_MAX = 64 * 1024
"""Unsent bytes above which a client is cut that makes OpenSSL answer (key updates) and reads nothing."""

NAME_LENGTH_MAX = 200

_HANDSHAKE_RECORD = 22
_HINT = "this port speaks TLS, and HTTP within it: use a URL that begins with https://"
_PLAIN = raw_reply(problem_reply(problem_of(MalformedRequest(_HINT))), b"Connection: close\r\n\r\n")

log = event_logger(__name__)


class TlsServer:
    """Begins TLS for each accepted socket: a factory of protocols.

    Args:
        server: Its connections.
        make: Makes the protocol of a connection.

    Attributes:
        context: For the next connections; may be replaced.
        handshakes: Those under way.
        by_peer: Their number, where connections are limited for each peer.
    """

    def __init__(
        self, server: CountingServer, make: Callable[[], asyncio.BaseProtocol], context: ssl.SSLContext
    ) -> None:
        self.server = server
        self.make = make
        self.context = context
        self.handshakes: set[TlsTransport] = set()
        self.by_peer: Counter[str] = Counter()

    def __call__(self) -> TlsTransport:
        return TlsTransport(self)

    @property
    def has_room(self) -> bool:
        return self.server.open + len(self.handshakes) < self.server.connections_max + REJECTED_MAX

    def close(self) -> None:
        """Cut the handshakes under way."""
        for transport in list(self.handshakes):
            transport.abort()


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """A transport with TLS, for a connection; and for its socket's transport the protocol."""

    def __init__(self, tls: TlsServer) -> None:
        super().__init__()
        self._tls = tls
        self._wire: asyncio.Transport
        self._protocol: asyncio.Protocol | None = None
        self._incoming = self._outgoing = cast("ssl.MemoryBIO", None)
        self._ssl = cast("ssl.SSLObject", None)
        self._timer: asyncio.TimerHandle | None = None
        self._greeted = False  # the first bytes have come
        self._closing = False  # close_notify is sent, or the socket reset; nothing is read any more
        self._ended = False  # the client's end has come
        self._uncharged_bytes = 0  # received without content, less what was counted as work
        self._empty_bytes = 0  # received since the last content
        self._counted_for: str | None = None  # the peer that this handshake counts for

    # -- the socket's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._wire = wire = cast("asyncio.Transport", transport)
        tls = self._tls
        if not tls.has_room:
            log.sampled("http.too_many_connections", every_s=10.0, open=tls.server.open)
            cut(wire)
            return
        if not self._count_in(wire):
            cut(wire)
            return
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = tls.context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        tls.handshakes.add(self)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(tls.server.limits.idle_timeout_s, self._give_up)

    def data_received(self, data: bytes) -> None:
        if self._closing or self._ended:
            return
        if self._protocol is None:
            self._handshake(data)
        else:
            plain = self._decrypt(data)
            self._deliver(plain)
            self._judge(len(data), len(plain))

    def eof_received(self) -> bool:
        if self._protocol is None:
            return False
        return self._ended or self._tell_end()

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_handshake()
        self._closing = True
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(exc)

    # -- the handshake

    def _handshake(self, data: bytes) -> None:
        if not self._greeted:
            self._greeted = True
            if data[0] != _HANDSHAKE_RECORD and data[:1].isalpha():
                self._refuse(_PLAIN, "HTTP without TLS")
                return
        pieces = [data[at : at + PIECE_BYTES] for at in range(0, len(data), PIECE_BYTES)]
        for number, piece in enumerate(pieces, 1):
            self._incoming.write(piece)
            try:
                self._ssl.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError as error:
                reason = getattr(error, "verify_message", None) or (error.reason or str(error)).lower().replace(
                    "_", " "
                )
                self._refuse(self._outgoing.read(), reason)
                return
            self._flush()
            self._begin()
            self._deliver(self._decrypt(b"".join(pieces[number:])))
            return
        if self._outgoing.pending:  # the signature was made
            self._flush()
            self._charge(HANDSHAKE_COST, self)

    def _begin(self) -> None:
        """Let the connection begin: the handshake is complete."""
        self._end_handshake()
        self._protocol = cast("asyncio.Protocol", self._tls.make())
        self._protocol.connection_made(self)

    def _count_in(self, wire: asyncio.Transport) -> bool:
        """Count a handshake for its peer; False: it has too many under way, or was reset."""
        server = self._tls.server
        callers = server.caller_connections
        if callers is None or self._tls.context.verify_mode is not ssl.CERT_NONE:
            return True  # callers with certificates may share an address
        peer = peer_at(wire, server.proxies)
        if peer is None:
            return False
        maximum = callers.handshakes_max(peer)
        if maximum is None:
            return True
        if self._tls.by_peer[peer.caller] >= maximum:
            log.sampled("http.too_many_connections", every_s=10.0, open=server.open)
            return False
        self._tls.by_peer[peer.caller] += 1
        self._counted_for = peer.caller
        return True

    def _charge(self, cost: int, reader: Reader) -> None:
        budget = self._tls.server.read_budget
        budget.left -= cost
        if budget.left < 0:
            budget.use_up(reader, cost)

    def _judge(self, came_bytes: int, plain_bytes: int) -> None:
        """Count the work of bytes without content, and cut a client that sends too many."""
        empty_bytes = came_bytes - plain_bytes
        # Reset by any content: padded records (RFC 8446, section 5.4) have little of it.
        self._empty_bytes = 0 if plain_bytes else self._empty_bytes + came_bytes
        self._uncharged_bytes += empty_bytes
        over_bytes = self._uncharged_bytes - RECORD_BYTES  # of a record that is yet incomplete
        if over_bytes < RECORD_COST_BYTES or self._closing:
            return
        self._uncharged_bytes = RECORD_BYTES
        if self._empty_bytes > EMPTY_BYTES_MAX:
            log.sampled("tls.broken", every_s=10.0, reason="records without content")
            self.abort()
            return
        # The connection, since it has reasons of its own to pause reading.
        self._charge(over_bytes // RECORD_COST_BYTES, cast("Reader", self._protocol))

    def hold(self) -> None:
        """Pause reading until `release`."""
        if not self._wire.is_closing():
            self._wire.pause_reading()

    def release(self) -> None:
        if not self._wire.is_closing():
            self._wire.resume_reading()

    def _give_up(self) -> None:
        log.sampled("tls.handshake_failed", every_s=10.0, reason="not complete within limits.idle_timeout_s")
        self.abort()

    def _refuse(self, answer: bytes, reason: str) -> None:
        log.sampled("tls.handshake_failed", every_s=10.0, reason=reason)
        self._end_handshake()
        self._closing = True
        Rejected(self._tls.server.rejected, answer).connection_made(self._wire)

    def _end_handshake(self) -> None:
        self._tls.handshakes.discard(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._counted_for is not None:
            by_peer, peer, self._counted_for = self._tls.by_peer, self._counted_for, None
            by_peer[peer] -= 1
            if not by_peer[peer]:
                del by_peer[peer]

    # -- bytes

    def _decrypt(self, data: bytes) -> bytes:
        """Return the plain bytes in received ones, and so far; a broken record ends the connection."""
        incoming, tls = self._incoming, self._ssl
        plain: list[bytes] = []
        try:
            for at in range(0, len(data) or 1, PIECE_BYTES):  # also for what came with the end of the handshake
                incoming.write(data if len(data) <= PIECE_BYTES else data[at : at + PIECE_BYTES])
                try:
                    while incoming.pending or tls.pending():
                        got = tls.read(RECORD_BYTES)
                        if not got:  # close_notify
                            self._ended = True
                            return b"".join(plain)
                        plain.append(got)
                except ssl.SSLWantReadError:
                    pass
        except ssl.SSLError as error:
            log.sampled("tls.broken", every_s=10.0, reason=error.reason or str(error))
            self._send_rest()
            self.abort()
            return b""
        if self._outgoing.pending:
            self._flush()
            if self._wire.get_write_buffer_size() > REPLIES_BYTES_MAX:
                self.abort()
        return plain[0] if len(plain) == 1 else b"".join(plain)

    def _deliver(self, plain: bytes) -> None:
        if plain and self._protocol is not None:
            self._protocol.data_received(plain)
        if self._ended:
            self._tell_end()

    def _tell_end(self) -> bool:
        """Tell the connection that the client sends no more; return whether it has answers left."""
        self._ended = True
        stays = self._protocol is not None and bool(self._protocol.eof_received())
        if not stays:
            self.close()
        return stays

    def _flush(self) -> None:
        self._wire.write(self._outgoing.read())

    def _send_rest(self) -> None:
        if self._outgoing.pending:
            self._flush()

    # -- the connection's transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or not data:
            return
        tls, outgoing = self._ssl, self._outgoing
        try:
            if len(data) <= PIECE_BYTES:
                tls.write(data)
                self._wire.write(outgoing.read())
                return
            view = memoryview(data)
            records = []
            for at in range(0, len(view), PIECE_BYTES):
                tls.write(view[at : at + PIECE_BYTES])
                records.append(outgoing.read())
        except ssl.SSLError:
            self.abort()
            return
        self._wire.write(b"".join(records))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Send the end of this side; what the client still sends is dropped."""
        if not self._closing:
            self._shut()
            self._wire.write_eof()

    def close(self) -> None:
        if not self._closing:
            self._shut()
        self._wire.close()

    def _shut(self) -> None:
        self._closing = True
        with suppress(ssl.SSLError):  # the client's own close_notify may come, or not: it is not waited for
            self._ssl.unwrap()
        self._send_rest()

    def abort(self) -> None:
        self._closing = True
        cut(self._wire)

    def is_closing(self) -> bool:
        return self._closing or self._wire.is_closing()

    def pause_reading(self) -> None:
        self._wire.pause_reading()

    def resume_reading(self) -> None:
        self._wire.resume_reading()

    def is_reading(self) -> bool:
        return self._wire.is_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._wire.set_write_buffer_limits(high, low)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._wire.get_write_buffer_limits()

    def get_write_buffer_size(self) -> int:
        return self._wire.get_write_buffer_size()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._ssl
        if name == "sslcontext":
            return self._ssl.context
        if name == "client_name":
            return _name_in(self._ssl)
        return self._wire.get_extra_info(name, default)


def _name_in(tls: ssl.SSLObject) -> str | None:
    """Return the name in the client's certificate: its subject's common name, or else its first alternative name.

    A certificate without both, or with a name that is too long, is named by its SHA-256. None: there is none.
    """
    shown: dict[str, Any] | None = tls.getpeercert()
    if not shown:
        return None
    names = [value for group in shown.get("subject", ()) for kind, value in group if kind == "commonName"]
    names += [value for kind, value in shown.get("subjectAltName", ()) if kind in ("URI", "DNS", "email")]
    if names and len(names[0]) <= NAME_LENGTH_MAX:
        return str(names[0])
    whole = tls.getpeercert(binary_form=True)
    return "sha256:" + hashlib.sha256(whole or b"").hexdigest()
