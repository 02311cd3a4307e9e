"""The log: one line per event, through a bounded buffer and a writer thread.

Lines are JSON, text, or text for a terminal. The buffer keeps a stuck pipe from blocking the loggers; `sampling` counts
events that are too frequent for a line each.

Rules:

1. Logging never blocks and never raises: lines that can't be buffered are dropped, counted, and reported
   as `log.dropped` once the pipe takes lines again.
2. An event's name is a constant (`job.failed`); variable parts are fields.
3. Invisible characters (control characters, bidirectional controls) are escaped in every form of line.
4. A record of a handler's code has the job's fields: `current_attempt` is the attempt, in each task and thread that has
   the attempt's context.
5. Without `configure` (embedded in another program), events are ordinary `logging` records,
   and that program's own handlers show them.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import queue
import re
import select
import threading
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

import orjson

from jobqueue.log_ring import LINE_BYTES_MAX, NAME_CHARACTERS, LogRing, shortened
from jobqueue.sampling import Sample, Samples

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

BUFFER_BYTES_MAX = 4 * 2**20
"""Bytes that may wait for the pipe before lines are dropped."""

# Past whatever an exception's own class makes of the name.
_TRACEBACK = BaseException.__dict__["__traceback__"].__get__
_WRITE_BYTES = 64 * 2**10
_ORJSON = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
_PLAIN = re.compile(r"[\w.:/+@%-]+", re.ASCII)
_RESERVED = frozenset({"time", "level", "event", "logger"})
# Every control character but the line feed, bidirectional controls, separators of lines, what has no width, and tags: a
# terminal or a viewer acts on them, or shows nothing, so with them a text can look like something that it is not.
_UNSEEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U000e0000-\U000e007f]"
)

Form = Literal["json", "text", "terminal", "colour"]


class LogOptions(Protocol):
    """The options of `configure`, such as `Settings.log`."""

    @property
    def level(self) -> str: ...
    @property
    def format(self) -> str: ...


class Attempt(Protocol):
    """An attempt of a job, as far as log lines need it."""

    @property
    def job_id(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def attempt(self) -> int: ...
    @property
    def traceparent(self) -> str | None: ...


current_attempt: ContextVar[Attempt | None] = ContextVar("jobqueue_attempt", default=None)
"""The attempt that the current code belongs to; None outside of handlers."""

ATTEMPT_FIELDS = ("job_id", "type", "attempt", "traceparent")


def fields_of(attempt: Attempt) -> dict[str, Any]:
    """Return the fields of an attempt, those that it has."""
    return {name: value for name in ATTEMPT_FIELDS if (value := getattr(attempt, name)) is not None}


class AttemptLogger(logging.LoggerAdapter[logging.Logger]):
    """The logger of one attempt: its records have the job's fields even in threads without the attempt's context.

    They have `job_id`, `type`, `attempt` and, if there is one, `traceparent` as attributes, for the formatters of a
    program with logging of its own.
    """

    def __init__(self, attempt: Attempt) -> None:
        fields = fields_of(attempt)
        super().__init__(logging.getLogger(f"job.{attempt.type}"), fields)

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


class EventMessage:
    """An event as the message of a `logging` record, readable with any log handler."""

    __slots__ = ("event", "fields")

    def __init__(self, event: str, fields: Mapping[str, object]) -> None:
        self.event = event
        self.fields = fields

    def __str__(self) -> str:
        return _told(self.event, self.fields)


class EventLogger:
    """A logger of events: a constant name and fields, instead of a sentence.

    A field `exc` that holds an exception becomes its traceback.
    """

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **fields: object) -> None:
        self._emit(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: object) -> None:
        self._emit(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: object) -> None:
        self._emit(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: object) -> None:
        self._emit(logging.ERROR, event, fields)

    def sampled(self, event: str, /, *, every_s: float = 1.0, **fields: object) -> None:
        """Count a frequent event: at most one warning every `every_s`, with the `count` since the last.

        The first is written at once, the counts add up to the number of calls, and the fields
        are those of the latest one.
        """
        count = _samples.add(self, event, fields, every_s)
        if count:
            self.tell(event, fields, count)

    def counter(self, event: str, /, *, every_s: float = 1.0, **fields: object) -> Counter:
        """Return a counter of a frequent event with constant fields: each `add` counts one, as a call of `sampled`."""
        return Counter(Sample(self, event, every_s, fields))

    def tell(self, event: str, fields: Mapping[str, object], count: int) -> None:
        """Write the count of a sampled event. For the sampler."""
        self._emit(logging.WARNING, event, {**fields, "count": count})

    def _emit(self, level: int, event: str, fields: dict[str, object]) -> None:
        # Not `Logger.log`: that walks the stack for a file and line which no event needs.
        logger = self._logger
        if logger.isEnabledFor(level):
            exc = fields.pop("exc", None)
            exc_info = (type(exc), exc, _TRACEBACK(exc)) if isinstance(exc, BaseException) else None
            logger.handle(logger.makeRecord(logger.name, level, "", 0, EventMessage(event, fields), (), exc_info))


class Counter:
    """Counts one frequent event with constant fields, at a third of the cost of `EventLogger.sampled`."""

    __slots__ = ("_sample",)

    def __init__(self, sample: Sample) -> None:
        self._sample = sample

    @property
    def total(self) -> int:
        """The count of all."""
        return self._sample.total

    def add(self) -> None:
        """Count one, and write the count if it is due."""
        count = _samples.count(self._sample)
        if count:
            sample = self._sample
            sample.log.tell(sample.event, sample.fields, count)


def event_logger(name: str) -> EventLogger:
    """Return the event logger of a module: `log = event_logger(__name__)`."""
    return EventLogger(logging.getLogger(name))


def configure(options: LogOptions, *, fd: int = 2) -> LogWriter:
    """Write every `logging` record of this process to `fd`; the caller closes the returned writer.

    The form `auto` is that of a terminal if `fd` is one, and JSON otherwise. Colours are left out where the
    environment has `NO_COLOR` (https://no-color.org), or `TERM=dumb`.
    """
    writer = LogWriter(fd, form=_form(options.format, fd))
    writer.open(options.level)
    return writer


def _form(asked: str, fd: int) -> Form:
    if asked != "auto":
        return "json" if asked == "json" else "text"
    if not os.isatty(fd):
        return "json"
    return "terminal" if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else "colour"


class LogWriter(logging.Handler):
    """The buffer, and the thread that empties it into a file descriptor.

    Attributes:
        on_terminal: Whether the lines are for a terminal.
        ring: The latest lines.
    """

    def __init__(self, fd: int, *, form: Form) -> None:
        super().__init__()
        self._fd = fd
        self._render = _RENDERS[form]
        self._is_json = form == "json"
        self.ring = LogRing()
        self.on_terminal = form in ("terminal", "colour")
        # A SimpleQueue, because its put may be interrupted by a put of the same thread (a finalizer that logs).
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Each counter has one writer: emit (under the handler's lock), or the thread.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._dropped = 0
        self._lost = 0
        self._lines_of: dict[str, int] = dict.fromkeys(("debug", "info", "warning", "error", "critical"), 0)
        self._reported = 0
        self._closed = False
        self._level_before = logging.NOTSET
        self._thread = threading.Thread(target=self._run, name="jobqueue-log", daemon=True)

    @property
    def dropped(self) -> int:
        """Number of lines dropped so far."""
        return self._dropped + self._lost

    @property
    def lines_by_level(self) -> dict[str, int]:
        """Number of lines so far by level, dropped ones too; lines of other levels are none of ours."""
        return dict(self._lines_of)

    def open(self, level: str) -> None:
        root = logging.getLogger()
        self._level_before = root.level
        self.set_level(level)
        root.addHandler(self)
        logging.captureWarnings(True)
        _samples.nudge = self._nudge
        self._thread.start()

    @property
    def level_name(self) -> str:
        """The minimum level of the events that are written."""
        return logging.getLevelName(logging.getLogger().level).lower()

    def set_level(self, level: str) -> None:
        """Write no event below this level from now on."""
        logging.getLogger().setLevel(level.upper())

    def close(self, timeout_s: float = 1.0) -> None:
        """Write the buffered lines, for `timeout_s` at most: a stuck pipe must not hold up the exit.

        Called again, it waits again.
        """
        if not self._closed:
            self._closed = True
            self._detach()
            self._lines.put(None)
        self._thread.join(timeout_s)
        super().close()

    def _detach(self) -> None:
        _samples.nudge = None
        _samples.flush()
        root = logging.getLogger()
        root.removeHandler(self)
        root.setLevel(self._level_before)
        logging.captureWarnings(False)

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        if level in self._lines_of:
            self._lines_of[level] += 1
        if self._put_bytes - self._taken_bytes >= BUFFER_BYTES_MAX:
            self._dropped += 1
            return
        try:
            line = self._render(record)
        except (Exception, SystemExit) as failure:
            # A field's repr raised, or an exception's attribute. `handleError` would write to the stuck pipe.
            record = _unloggable(record, failure)
            line = self._render(record)
        self._put_bytes += len(line)
        self._lines.put(line)
        self._keep(record, line)

    def _keep(self, record: logging.LogRecord, line: bytes) -> None:
        """Add a line to the ring."""
        event = record.msg.event if isinstance(record.msg, EventMessage) else "log"
        try:
            line = line if self._is_json else _json_line(record)
            self.ring.add(record.levelno, event, line if len(line) <= LINE_BYTES_MAX else _cut_line(record))
        except (Exception, SystemExit):  # the line is in the log, whatever a field does when it is asked again
            return

    def say(self, text: str) -> None:
        """Write lines unchanged at any level: for a terminal."""
        line = f"{text}\n".encode("utf-8", "backslashreplace")
        self.acquire()
        try:
            self._put_bytes += len(line)
            self._lines.put(line)
        finally:
            self.release()

    def compact_ring(self) -> None:
        """Copy the latest lines into adjacent memory (`LogRing.compact`)."""
        assert self.lock is not None
        with self.lock:
            self.ring.compact()

    def _nudge(self) -> None:
        self._lines.put(b"")

    def _run(self) -> None:
        closing = False
        while not closing:
            _samples.flush_due()
            lines, closing = self._next_lines()
            if lines:
                self._write_lines(lines)

    def _next_lines(self) -> tuple[list[bytes], bool]:
        """Wait for lines, or for a sample to fall due; return also whether they are the last ones."""
        lines: list[bytes] = []
        size_bytes = 0
        try:
            line = self._lines.get(timeout=_samples.due_in_s())
            while line is not None:
                lines.append(line)
                size_bytes += len(line)
                if size_bytes >= _WRITE_BYTES:
                    return lines, False
                line = self._lines.get_nowait()
        except queue.Empty:
            return lines, False
        return lines, True

    def _write_lines(self, lines: list[bytes]) -> None:
        data = b"".join(lines)
        if self._write(data):
            self._report_drops()
        else:
            self._lost += len(lines)
        self._taken_bytes += len(data)

    def _report_drops(self) -> None:
        dropped = self.dropped
        if dropped > self._reported:
            record = _record("log.dropped", {"count": dropped - self._reported})
            if self._write(self._render(record)):
                self._reported = dropped

    def _write(self, data: bytes) -> bool:
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._fd, left) :]
            except BlockingIOError:  # the descriptor is non-blocking, as one shared with another program may be
                poll = select.poll()
                poll.register(self._fd, select.POLLOUT)
                poll.poll()
            except OSError:  # the reading end is closed
                return False
        return True


_samples = Samples()


def _record(event: str, fields: Mapping[str, object]) -> logging.LogRecord:
    message = EventMessage(event, fields)
    return logging.LogRecord(__name__, logging.WARNING, "", 0, message, (), None)


def _unloggable(record: logging.LogRecord, failure: BaseException) -> logging.LogRecord:
    event = record.msg.event if isinstance(record.msg, EventMessage) else "log"
    return _record("log.unprintable", {"of": event, "from": record.name, "reason": type(failure).__name__})


def _parts(record: logging.LogRecord) -> tuple[datetime, str, dict[str, object]]:
    """Take a record apart: when, the event's name, the fields."""
    if isinstance(record.msg, EventMessage):
        event = record.msg.event
        fields = {f"{name}_" if name in _RESERVED else name: value for name, value in record.msg.fields.items()}
    else:  # a line of another program's logging
        event, fields = "log", {"message": record.getMessage(), **_attempt_of(record)}
    if record.exc_info and record.exc_info[1] is not None:
        fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
    elif record.exc_text:  # it comes from a process, where the exception stayed
        fields["traceback"] = record.exc_text
    return datetime.fromtimestamp(record.created, UTC), event, fields


def _attempt_of(record: logging.LogRecord) -> dict[str, object]:
    """Return the fields of a record's attempt: the one that it names, or the current one."""
    source = record if hasattr(record, "job_id") else current_attempt.get()
    return {name: value for name in ATTEMPT_FIELDS if (value := getattr(source, name, None)) is not None}


def _json_line(record: logging.LogRecord) -> bytes:
    at, event, fields = _parts(record)
    line = {"time": at, "level": record.levelname.lower(), "event": event, "logger": record.name, **fields}
    try:
        encoded = orjson.dumps(line, default=str, option=_ORJSON)
        return encoded if encoded.isascii() and b"\x7f" not in encoded else _escaped(encoded.decode()).encode()
    except TypeError:  # an integer over 64 bits, a lone surrogate, a key that is no string: rare, and still a line
        line["time"] = at.isoformat()
        return json.dumps(line, default=str, skipkeys=True).encode() + b"\n"


def _cut_line(record: logging.LogRecord) -> bytes:
    """Return a line of JSON without what makes it long."""
    _, event, fields = _parts(record)
    short = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None})
    short.name = record.name[:NAME_CHARACTERS]

    def line(fields: Mapping[str, object]) -> bytes:
        short.msg = EventMessage(event, fields)
        return _json_line(short)

    return shortened(fields, line)


def _text_line(record: logging.LogRecord) -> bytes:
    """One line of text; a field of several lines follows it, indented, so that no field can forge a line."""
    at, event, fields = _parts(record)
    return _lines_of(f"{at.isoformat(timespec='milliseconds')} {record.levelname} {event}", record, fields)


def _terminal_line(record: logging.LogRecord, *, colour: bool) -> bytes:
    """As `_text_line`, for a terminal: local time of day, and colours."""
    at, event, fields = _parts(record)
    time_of_day, level = at.astimezone().strftime("%H:%M:%S"), record.levelname
    if colour:
        time_of_day, level = f"\x1b[2m{time_of_day}\x1b[0m", f"\x1b[{_COLOURS.get(level, 32)}m{level}\x1b[0m"
        event = f"\x1b[1m{event}\x1b[0m"
    return _lines_of(f"{time_of_day} {level} {event}", record, fields)


_COLOURS = {"DEBUG": 36, "WARNING": 33, "ERROR": 31, "CRITICAL": 31}
_RENDERS: dict[Form, Callable[[logging.LogRecord], bytes]] = {
    "json": _json_line,
    "text": _text_line,
    "terminal": functools.partial(_terminal_line, colour=False),
    "colour": functools.partial(_terminal_line, colour=True),
}


def _lines_of(head: str, record: logging.LogRecord, fields: Mapping[str, object]) -> bytes:
    if not isinstance(record.msg, EventMessage):  # an event's name implies its logger
        head = f"{head} logger={_text_value(record.name)}"
    return f"{_told(head, fields)}\n".encode("utf-8", "backslashreplace")


def _told(head: str, fields: Mapping[str, object]) -> str:
    """Return one line, and after it the texts of several lines, indented, so that no field can forge a line."""
    blocks = {name: value for name, value in fields.items() if isinstance(value, str) and "\n" in value}
    pairs = (f"{name}={_text_value(value)}" for name, value in fields.items() if name not in blocks)
    rows = (row for block in blocks.values() for row in block.removesuffix("\n").split("\n"))
    return "\n".join([" ".join([head, *pairs]), *(f"    {_escaped(row)}" for row in rows)])


def _text_value(value: object) -> str:
    if isinstance(value, Mapping):
        value = ", ".join(f"{name}: {each}" for name, each in value.items())
    elif isinstance(value, list | tuple):
        value = ", ".join(str(each) for each in value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) else _escaped(json.dumps(text, ensure_ascii=False))


def _escaped(text: str) -> str:
    """Escape invisible characters as JSON does in ASCII, so that a line of JSON keeps its meaning."""
    return _UNSEEN.sub(lambda match: json.dumps(match[0])[1:-1], text)
