"""aiohttp's C parser and private fields: the server's needs beyond the documented interface.

Every private field that the server touches is named here; a test compares the tables with the code. Rules:

1. Without the C parser the server does not start.
2. Without a field of `FAST_PATH_FIELDS` the server starts without its fast path.
3. The fields of `OTHER_FIELDS` are needed by every request, so a release without one of them fails the tests.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web, web_protocol
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader

from jobqueue.errors import ConfigError
from jobqueue.log import event_logger

if TYPE_CHECKING:
    from jobqueue.http.transport.parsed_head import ParsedHead

HEAD_READ_BYTES = 64 * 1024

log = event_logger(__name__)


def require_c_parser() -> None:
    """Raise ConfigError unless aiohttp parses with its C extension: the other one is slower and less strict."""
    if _parser_type().__module__ != "aiohttp._http_parser":
        raise ConfigError(
            "aiohttp runs without its C parser: install a wheel of aiohttp for this Python, "
            "and unset AIOHTTP_NO_EXTENSIONS"
        )


def _parser_type() -> Any:
    # aiohttp: the name under which its protocol finds the parser, a private one.
    found: Any = vars(web_protocol)["HttpRequestParser"]
    return found


def parse_head(head: bytes) -> ParsedHead:
    """Parse the head of a request that a parser has accepted before, whatever limit that one had."""
    loop, size = asyncio.get_running_loop(), len(head)
    parser = _parser_type()(BaseProtocol(loop), loop, HEAD_READ_BYTES, max_line_size=size, max_field_size=size)
    ((message, _), *_), _, _ = parser.feed_data(head)
    return cast("ParsedHead", message)


FAST_PATH_FIELDS: dict[type, tuple[str, ...]] = {
    web.RequestHandler: (
        "start",
        "_task_handler",
        "_waiter",
        "_messages",
        "_max_msg_queue_size",
        "_message_tail",
        "_parser",
        "_buffer_paused",
        "_pause_reading_for_buffer",
        "_paused",
        "_close",
        "_force_close",
        "_upgraded",
        "_next_keepalive_close_time",
        "_keepalive_timeout",
        "_keepalive_handle",
        "_process_keepalive",
        "_pause_transport_reading",
        "_resume_transport_reading",
        "_reading_paused",
        "_handle_request",
        "_current_request",
        "_request_in_progress",
        "_make_error_handler",
        "_loop",
    ),
    StreamReader: ("_buffer", "_size", "_waiter"),
}

OTHER_FIELDS: dict[object, tuple[str, ...]] = {
    web.Application: ("_set_loop", "_make_request", "_handle"),
    web.Server: ("_kwargs", "_loop"),
    web.BaseRequest: ("_cancel", "_version"),
    web_protocol: ("_ErrInfo",),
}


def fast_path_fits() -> bool:
    """Return whether this aiohttp has the fields of the fast path; if not, log the missing ones."""
    fields = ((owner, name) for owner, names in FAST_PATH_FIELDS.items() for name in names)
    missing = [f"{owner.__name__}.{name}" for owner, name in fields if not hasattr(owner, name)]
    if not hasattr(_parser_type(), "message_consumed"):
        missing.append("message_consumed")
    if missing:
        log.warning("http.fast_path_off", reason="this release of aiohttp lacks fields that it needs", missing=missing)
    return not missing
