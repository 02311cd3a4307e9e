"""Log relay: carries log records from the pool's processes to the server's log.

Rules:

1. A process has one handler at the root of its `logging`, which sends records to the pool; the level is the server's,
   and follows it with each call.
2. A flood is cut where it arises: `RECORDS_BURST` records at once, `RECORDS_PER_S` after that. What is dropped is
   counted, and the count is sent with the next record or at the end of the call.
3. A record that comes from a process is input: each value is checked, and cut to its bound where it was made.
4. In the server it goes to the logger of its name, if there is one, or to the nearest above: no name that a process
   makes up stays in the server's memory.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
import traceback
from typing import TYPE_CHECKING

import msgspec

from jobqueue.context import printable
from jobqueue.handlers.result import TRACE_LENGTH_MAX
from jobqueue.log import ATTEMPT_FIELDS, Attempt, current_attempt, event_logger, fields_of
from jobqueue.runtime.pools.messages import InvalidMessage

if TYPE_CHECKING:
    from collections.abc import Callable

log = event_logger(__name__)

RECORDS_BURST = 1000
RECORDS_PER_S = 200.0
MESSAGE_LENGTH_MAX = 8000
NAME_LENGTH_MAX = 200


class Record(msgspec.Struct, frozen=True, array_like=True):
    """A log record on its way. The fields of the attempt are None where the process doesn't know them."""

    level: int
    logger: str
    created: float
    message: str
    traceback: str | None = None
    job_id: str | None = None
    type: str | None = None
    attempt: int | None = None
    traceparent: str | None = None


_decode = msgspec.msgpack.Decoder(Record).decode
_decode_count = msgspec.msgpack.Decoder(int).decode


class RelayHandler(logging.Handler):
    """The handler in a process.

    Args:
        send, send_dropped: Send an encoded record, or the count of dropped ones, to the pool.
    """

    def __init__(self, send: Callable[[bytes], None], send_dropped: Callable[[bytes], None]) -> None:
        super().__init__()
        self._send = send
        self._send_dropped = send_dropped
        self._room = float(RECORDS_BURST)
        self._filled_at = time.monotonic()
        self._dropped = 0
        self._level: int | None = None

    def install(self) -> None:
        root = logging.getLogger()
        root.addHandler(self)
        logging.captureWarnings(True)

    def follow(self, level: int) -> None:
        """Adopt the server's level, if it has changed: otherwise a level set by the application stays."""
        if level != self._level:
            self._level = level
            logging.getLogger().setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        self._room = min(float(RECORDS_BURST), self._room + (now - self._filled_at) * RECORDS_PER_S)
        self._filled_at = now
        if self._room < 1.0:
            self._dropped += 1
            return
        self._room -= 1.0
        with contextlib.suppress(OSError):  # the server has closed the socket
            self.tell_dropped()
            self._send(msgspec.msgpack.encode(_packed(record)))

    def tell_dropped(self) -> None:
        """Send the count of dropped records, if any."""
        dropped, self._dropped = self._dropped, 0
        if dropped:
            self._send_dropped(msgspec.msgpack.encode(dropped))


def _packed(record: logging.LogRecord) -> Record:
    try:
        message = printable(record.getMessage()[:MESSAGE_LENGTH_MAX])
    except Exception as error:  # a faulty call, or an argument that can't be printed
        message = f"(its text is not available: {type(error).__name__})"
    trace = None
    if record.exc_info and record.exc_info[1] is not None:
        with contextlib.suppress(Exception):
            lines = traceback.format_exception(record.exc_info[1], limit=-20)
            trace = printable("".join(lines)[-TRACE_LENGTH_MAX:])
    attempt = current_attempt.get()
    known = {} if attempt is None else fields_of(attempt)
    name = printable(str(record.name)[:NAME_LENGTH_MAX])
    return Record(max(0, min(record.levelno, 100)), name, record.created, message, trace, **known)


def record_of(body: bytes, *, pid: int, attempt: Attempt | None) -> logging.LogRecord:
    """Check a record that came from a process, and make one of this process of it.

    Args:
        attempt: The process's present call, for a record without one.

    Raises:
        InvalidMessage: It is none.
    """
    try:
        said = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidMessage(f"an invalid log record: {error}") from None
    trace = said.traceback
    if (
        not 0 <= said.level <= 100
        or not math.isfinite(said.created)
        or not 0 <= said.created < 1e11
        or len(said.logger) > NAME_LENGTH_MAX
        or len(said.message) > MESSAGE_LENGTH_MAX
        or (trace is not None and len(trace) > TRACE_LENGTH_MAX)
        or len(said.job_id or "") > NAME_LENGTH_MAX
        or len(said.type or "") > NAME_LENGTH_MAX
        or len(said.traceparent or "") > NAME_LENGTH_MAX
    ):
        raise InvalidMessage("a log record outside its bounds")
    record = logging.LogRecord(said.logger, said.level, "", 0, said.message, None, None)
    record.created, record.msecs = said.created, said.created % 1 * 1000
    record.process, record.exc_text = pid, trace
    for name in ATTEMPT_FIELDS:
        setattr(record, name, getattr(attempt if said.job_id is None else said, name, None))
    return record


def dropped_of(body: bytes) -> int:
    """Check a count of dropped records. Raises InvalidMessage."""
    try:
        return _decode_count(body)
    except msgspec.DecodeError as error:
        raise InvalidMessage(f"an invalid count: {error}") from None


def hand_on(record: logging.LogRecord) -> None:
    """Pass a record to its logger."""
    known = logging.root.manager.loggerDict
    name, logger = record.name, logging.getLogger()
    while name:
        found = known.get(name)
        if isinstance(found, logging.Logger):
            logger = found
            break
        name = name.rpartition(".")[0]
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)
