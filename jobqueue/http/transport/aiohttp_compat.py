"""What the server needs of aiohttp beyond its documented interface: its C parser, and private fields.

It owns the checks at the start; what is done with the fields is `connection`'s. A field that the fast path begins to
touch is named here, so that a release without it turns the fast path off instead of breaking requests.
"""

from __future__ import annotations

from aiohttp import web, web_protocol
from aiohttp.streams import StreamReader

from jobqueue.errors import ConfigError
from jobqueue.log import event_logger

log = event_logger(__name__)


def require_c_parser() -> None:
    """Raise ConfigError unless aiohttp parses with its C extension: the other one is slower and less strict."""
    if _parser_type().__module__ != "aiohttp._http_parser":
        raise ConfigError(
            "aiohttp runs without its C parser: install a wheel of aiohttp for this Python, "
            "and unset AIOHTTP_NO_EXTENSIONS"
        )


def _parser_type() -> type:
    # aiohttp: the name under which its protocol finds the parser; it is there for nobody else.
    found: type = vars(web_protocol)["HttpRequestParser"]
    return found


FAST_PATH_FIELDS = (
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
)


def fast_path_fits() -> bool:
    """Tell whether this aiohttp has what the fast path touches of it; if not, say so and do without."""
    missing = [name for name in FAST_PATH_FIELDS if not hasattr(web.RequestHandler, name)]
    if not hasattr(_parser_type(), "message_consumed"):
        missing.append("message_consumed")
    missing += [f"StreamReader.{name}" for name in ("_buffer", "_size", "_waiter") if not hasattr(StreamReader, name)]
    if missing:
        log.warning("http.fast_lane_off", reason="this release of aiohttp lacks fields that it needs", missing=missing)
    return not missing
