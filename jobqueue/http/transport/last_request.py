"""The last request of a connection: it is answered with `Connection: close`, since none can follow it.

Rules:

1. A client that shuts its sending side gets what it has asked for (RFC 9293, section 3.6). One that is gone altogether
   looks the same until something is written to it, so nothing waits for such a client: a wait or an event stream ends
   at once, and is answered as it stands.
2. A request to upgrade that is answered as if it had not asked is the last one if something came with it: aiohttp's
   parser loses that, unless the protocol is one that aiohttp speaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web_protocol

from jobqueue.http.errors import MalformedRequest
from jobqueue.http.streams.waiters import LEAVE

if TYPE_CHECKING:
    from jobqueue.http.transport.buffers import Buffers


def answer_rest(connection: Buffers) -> bool:
    """Have the connection closed after the last answer that it owes; False: it owes none.

    A body that is not whole by now is broken, and answered so.
    """
    # aiohttp: requests that are parsed and not begun, and the one that is being answered.
    messages, current = connection._messages, connection._current_request
    # Of the newest request; not by way of either, since one that was just begun is in neither for a turn of the loop.
    connection.break_body(connection._body, MalformedRequest("the body ended before it was complete"))
    if messages:
        _make_last(connection)
    elif connection._at_rest():
        return False
    else:
        connection.close()
    if current is not None and (leave := current.get(LEAVE)) is not None:
        leave()
    return True


def close_after_upgrade(connection: Buffers, data: bytes) -> None:
    """Make the newest request the last if it asks for an upgrade that is not taken, and something came with it.

    Args:
        data: The piece that it came with.
    """
    message = connection._messages[-1][0]
    # aiohttp: it is upgraded, and keeps what follows, for the protocols that it speaks.
    if isinstance(message, web_protocol._ErrInfo) or not message.upgrade or connection._upgraded:
        return
    if not data.endswith(b"\r\n\r\n") or data.count(b"\r\n\r\n") > 1:
        _make_last(connection)


def _make_last(connection: Buffers) -> None:
    message, payload = connection._messages[-1]
    if not isinstance(message, web_protocol._ErrInfo):  # after which it is closed anyway
        connection._messages[-1] = (message._replace(should_close=True), payload)
