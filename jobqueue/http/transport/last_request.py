"""The last request of a connection: answered with `Connection: close`, since none can follow it.

Rules:

1. A client that shuts its sending side gets its responses (RFC 9293, section 3.6). A disconnected one
   looks the same until bytes are written to it, so no request waits for such a client: a wait or an event stream ends
   at once, and is answered with the present state.
2. An upgrade request that is answered without the upgrade is the last one if bytes follow it: aiohttp's
   parser loses them, unless aiohttp supports the protocol.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web_protocol

from jobqueue.http.errors import MalformedRequest
from jobqueue.http.streams.waiters import LEAVE

if TYPE_CHECKING:
    from jobqueue.http.transport.buffers import Buffers


def answer_rest(connection: Buffers) -> bool:
    """Close the connection after its last unanswered request; False: there is none.

    An incomplete body counts as broken, and is answered so.
    """
    # aiohttp: requests that are parsed and not begun, and the one that is being answered.
    messages, current = connection._messages, connection._current_request
    # The newest request's body; a request that was just begun is in neither for one loop iteration.
    connection.break_body(connection._body, MalformedRequest("the body ended before it was complete"))
    if messages:
        _make_last(connection)
    elif connection._at_rest():
        return False
    else:
        connection.close()
    if current is not None and (leave := current.get(LEAVE)) is not None:
        leave()
    if connection.deferred is not None:
        connection.deferred.leave()
    return True


def close_after_upgrade(connection: Buffers, data: bytes) -> None:
    """Make the newest request the last if it asks for an unsupported upgrade, and bytes follow it.

    Args:
        data: The piece with its end.
    """
    message = connection._messages[-1][0]
    # aiohttp: for supported protocols it upgrades, and keeps the bytes that follow.
    if isinstance(message, web_protocol._ErrInfo) or not message.upgrade or connection._upgraded:
        return
    if not data.endswith(b"\r\n\r\n") or data.count(b"\r\n\r\n") > 1:
        _make_last(connection)


def _make_last(connection: Buffers) -> None:
    message, payload = connection._messages[-1]
    if not isinstance(message, web_protocol._ErrInfo):  # after which it is closed anyway
        connection._messages[-1] = (message._replace(should_close=True), payload)
